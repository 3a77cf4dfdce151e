//! Values of flags in a configuration file: which ones a flag takes, and why not this one.

use super::given;
use super::program::{self, flag, is_list, is_revocable, is_switch};
use crate::words::either;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};

/// What is wrong with a value that is no TOML because it stands without quotes: what the flag refuses of it, else the
/// quotes.
pub fn about_bare(key: &str, value: &str) -> String {
    let program = program::program();
    let homes = program.get_subcommands();
    let found = homes.filter_map(|command| Some((command, flag(command, key)?)));
    let tried = found.map(|(command, arg)| match is_switch(arg) {
        true => Err(kind(arg)),
        false => trial(command, &[format!("--{key}={value}")]).map_err(|error| reason(&error)),
    });
    let tried: Vec<Result<(), String>> = tried.collect();
    match tried.into_iter().reduce(|one, other| one.or(other)) {
        Some(Err(why)) => why,
        _ => format!("a text stands in quotes: {key} = {}", given::quoted(value)),
    }
}

/// Whether a flag can be given without a value.
pub fn is_optional(arg: &Arg) -> bool {
    let least = arg.get_num_args().map(|range| range.min_values());
    is_switch(arg) || least == Some(0)
}

/// The values a flag takes, for an error.
pub fn kind(arg: &Arg) -> String {
    let value = match is_list(arg) {
        true => "a value or a list of values",
        false => "one value",
    };
    match (is_switch(arg), is_optional(arg), is_revocable(arg)) {
        (true, ..) => "must be true or false".to_owned(),
        (_, true, _) => format!("must be {value}, true or false"),
        (_, _, true) => format!("must be {value}, or false"),
        _ => format!("must be {value}"),
    }
}

/// Parses arguments on their own.
pub fn trial(command: &Command, words: &[String]) -> Result<(), clap::Error> {
    let alone = command.clone().no_binary_name(true);
    let alone = alone.mut_args(|arg| arg.required(false));
    alone.try_get_matches_from(words).map(|_| ())
}

/// clap's reason for refusing a value, without the flag.
pub fn reason(error: &clap::Error) -> String {
    let own = std::error::Error::source(error).map(ToString::to_string);
    let words = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(words)) => Some(words.iter().map(String::as_str).collect()),
        _ => None,
    };
    let words = words.map(|words: Vec<&str>| format!("must be {}", either(&words)));
    own.or(words).unwrap_or_else(|| {
        let text = error.render().to_string();
        let line = text.lines().next().unwrap_or_default();
        line.trim_start_matches("error: ").to_owned()
    })
}
