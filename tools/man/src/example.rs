//! A configuration file with every flag of `run` at its default, commented out.

use clap::{Arg, Command};
use std::fmt::Write as _;
use synledger::settings::flags::HEADINGS;
use synledger::settings::given::Value;
use synledger::settings::program::{is_key, is_list, is_switch};

/// Its path in the repository; `make man` writes the current one to target/man.
pub const PLACE: &str = "contrib/synledger.toml";

const COLUMNS: usize = 100;
const BEGINNING: &str = "\
Configuration of synledger. `run` and `check` read /etc/synledger/synledger.toml if it is there, every subcommand the \
file that --config names.

A key is the name of a flag without dashes in front. A flag on the command line wins over the file, and the file over \
--preset. One file serves every subcommand, which skips the keys of others. Lines that begin with # and a \
letter show the defaults of `run`; remove the # to change one. `synledger run --dry-run` shows the result.";

/// The file's text, from the flags of `run`.
pub fn example(run: &Command) -> String {
    let mut text = comment(BEGINNING);
    for heading in HEADINGS {
        let _ = write!(text, "\n\n# {heading}\n# {}\n", "-".repeat(heading.len()));
        let flags = run.get_arguments().filter(|arg| is_key(arg));
        let flags = flags.filter(|arg| arg.get_help_heading() == Some(heading));
        for arg in flags.filter(|arg| arg.get_long() != Some("dry-run")) {
            let help = arg.get_long_help().or(arg.get_help());
            let help = help.map(ToString::to_string).unwrap_or_default();
            let _ = write!(text, "\n{}#{}\n", comment(&help), line(arg));
        }
    }
    text
}

/// `KEY = DEFAULT`; for a flag without a default, followed by the name of its value.
fn line(arg: &Arg) -> String {
    let key = arg.get_long().expect("keys have names");
    let defaults = arg.get_default_values().iter();
    let mut defaults: Vec<String> = defaults
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    let names = arg.get_value_names().unwrap_or_default();
    let takes = names.first().map(|name| format!("  # or {name}"));
    match (is_switch(arg), is_list(arg), defaults.pop()) {
        (true, ..) => format!("{key} = {}", Value::Off),
        (_, true, Some(value)) => format!("{key} = {}", Value::Many(vec![value])),
        (_, false, Some(value)) => format!("{key} = {}", Value::One(value)),
        (_, true, None) => format!("{key} = []{}", takes.unwrap_or_default()),
        (_, false, None) => format!("{key} = {}{}", Value::Off, takes.unwrap_or_default()),
    }
}

/// Paragraphs as comments, in lines of at most [`COLUMNS`].
fn comment(text: &str) -> String {
    let mut lines = Vec::new();
    for paragraph in text.split("\n\n") {
        if !lines.is_empty() {
            lines.push("#".to_owned());
        }
        let mut line = "#".to_owned();
        for word in paragraph.split_whitespace() {
            if line.len() + 1 + word.len() > COLUMNS {
                lines.push(std::mem::replace(&mut line, "#".to_owned()));
            }
            line = line + " " + word;
        }
        lines.push(line);
    }
    lines.join("\n") + "\n"
}
