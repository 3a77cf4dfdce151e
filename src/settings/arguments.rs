//! Parses command line, configuration file and preset. Values of preset and file become arguments in front of those of
//! the command line, so that one parser reads all of them.
//!
//! The command line overrides the file, the file the preset. A list is replaced, never extended.

use super::file::{self, ConfigFile};
use super::flags::{Cli, Command as Subcommand};
use super::given::{Given, Origin, Setting, Value};
use super::keys::{self, Keys};
use super::presets::Preset;
use super::program::{self, flag, is_key, is_list, is_switch, revoking};
use crate::error::ConfigError;
use crate::observe::summary::ReportSpec;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Subcommands without a configuration file: they ask a sensor that runs.
const ASKING: [&str; 2] = ["block", "top"];

/// Why parsing ended.
#[derive(Debug)]
pub enum Refused {
    /// The command line is wrong, or asks for help.
    CommandLine(clap::Error),
    /// The configuration file is wrong.
    File(ConfigError),
}

impl From<clap::Error> for Refused {
    fn from(error: clap::Error) -> Self {
        Self::CommandLine(error)
    }
}

impl From<ConfigError> for Refused {
    fn from(error: ConfigError) -> Self {
        Self::File(error)
    }
}

/// Parses a command line, its configuration file and its preset. `default_path` is the file of `run` and `check`
/// without `--config`.
///
/// # Errors
///
/// [`Refused`] names flag or key, value and range.
pub fn parse(
    words: impl IntoIterator<Item = OsString>,
    default_path: &Path,
) -> Result<Cli, Refused> {
    let words = join_reports(words);
    let mut parser = program::parser();
    let matches = parser.clone().try_get_matches_from(&words)?;
    let Some((name, line)) = matches.subcommand() else {
        return Ok(Cli::from_arg_matches(&matches)?);
    };
    if ASKING.contains(&name) {
        return Ok(Cli::from_arg_matches(&matches)?);
    }
    let command = parser.find_subcommand(name).expect("it was found");
    let mut settings = on_line(command, line);
    let (file, elsewhere) = match config_file(name, line, default_path)? {
        Some(file) => {
            let Keys {
                settings: lower,
                elsewhere,
            } = keys::of(&file, name)?;
            add(command, &mut settings, lower);
            (Some(file.path.to_path_buf()), elsewhere)
        }
        None => (None, Vec::new()),
    };
    let preset = preset(command, &settings);
    add(command, &mut settings, preset);
    let at = words.iter().skip(1).position(|word| word == name);
    let at = at.expect("it was given") + 2;
    let lower = settings
        .iter()
        .filter(|it| it.origin != Origin::CommandLine);
    let lower = lower.flat_map(Setting::arguments).map(OsString::from);
    let all = words[..at].iter().cloned().chain(lower);
    let all: Vec<OsString> = all.chain(words[at..].iter().cloned()).collect();
    let matches = parser.try_get_matches_from_mut(all)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    *given(&mut cli) = Given {
        file,
        elsewhere,
        is_named: line.contains_id("config"),
        settings,
    };
    Ok(cli)
}

/// `--report html:FILE` becomes `--report=html:FILE`: the parser takes an optional value only behind the sign.
fn join_reports(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut are_flags = true;
    for word in words {
        are_flags &= word != "--";
        match joined.last_mut() {
            Some(flag) if are_flags && flag == "--report" && ReportSpec::is_value(&word) => {
                flag.push("=");
                flag.push(word);
            }
            _ => joined.push(word),
        }
    }
    joined
}

/// The flags given on a command line, with their origin.
pub fn given(cli: &mut Cli) -> &mut Given {
    match &mut cli.command {
        Subcommand::Run(args) => &mut args.common.file.given,
        Subcommand::Read(args) => &mut args.common.file.given,
        Subcommand::Check(args) => &mut args.file.given,
        Subcommand::Block(args) => &mut args.given,
        Subcommand::Top(args) => &mut args.given,
    }
}

/// Adds settings of lower precedence, except those that are given already or conflict with one that is.
fn add(command: &Command, settings: &mut Vec<Setting>, lower: Vec<Setting>) {
    let higher = settings.len();
    for setting in lower {
        let displaces =
            |other: &Setting| other.key == setting.key || keys::exclude(command, &setting, other);
        if !settings[..higher].iter().any(displaces) {
            settings.push(setting);
        }
    }
}

/// The settings of the command line.
fn on_line(command: &Command, line: &ArgMatches) -> Vec<Setting> {
    let stands = |id: &str| line.value_source(id) == Some(ValueSource::CommandLine);
    let mut found = Vec::new();
    for arg in command.get_arguments().filter(|arg| is_key(arg)) {
        let key = arg.get_long().expect("keys have names");
        let revoking = revoking(key);
        let is_revoked = line.try_contains_id(&revoking).is_ok() && stands(&revoking);
        let value = match stands(arg.get_id().as_str()) {
            true => value(arg, line),
            false if is_revoked => Value::Off,
            false => continue,
        };
        found.push(Setting {
            key: key.to_owned(),
            short: arg.get_short(),
            value,
            origin: Origin::CommandLine,
        });
    }
    found
}

fn value(arg: &Arg, line: &ArgMatches) -> Value {
    if is_switch(arg) {
        return Value::On;
    }
    let raw = line.get_raw(arg.get_id().as_str());
    let values = raw.into_iter().flatten();
    let mut values: Vec<String> = values
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    match is_list(arg) {
        true => Value::Many(values),
        false => values.pop().map_or(Value::On, Value::One),
    }
}

/// The configuration file of a command line.
fn config_file(
    name: &str,
    line: &ArgMatches,
    default_path: &Path,
) -> Result<Option<ConfigFile>, ConfigError> {
    if line.get_flag("no_config") {
        return Ok(None);
    }
    match line.get_one::<PathBuf>("config") {
        Some(path) => file::read(path).map(Some),
        // The log of a capture must not depend on the machine that reads it.
        None if name == "read" => Ok(None),
        None => file::read_default(default_path),
    }
}

/// The flags of the preset.
fn preset(command: &Command, settings: &[Setting]) -> Vec<Setting> {
    let named = settings.iter().find(|setting| setting.key == "preset");
    let preset = match named.map(|setting| &setting.value) {
        Some(Value::One(word)) => word.parse().unwrap_or(Preset::Watch),
        _ => Preset::Watch,
    };
    let flags = preset.flags().iter();
    flags
        .filter_map(|&(key, value)| Some((flag(command, key)?, key, value)))
        .map(|(arg, key, value)| Setting {
            key: key.to_owned(),
            short: arg.get_short(),
            value: match is_list(arg) {
                true => Value::Many(vec![value.to_owned()]),
                false => Value::One(value.to_owned()),
            },
            origin: Origin::Preset(preset),
        })
        .collect()
}

#[cfg(test)]
mod tests;
