//! Checks the keys of a configuration file against the flags.

use super::file::{ConfigFile, EntryValue, FileEntry, Item};
use super::given::{self, Origin, Setting, Value};
use super::program::{self, flag, is_list, is_revocable, is_switch};
use super::values::{is_optional, kind, reason, trial};
use crate::error::ConfigError;
use crate::words::shown;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};
use std::sync::Arc;

/// A file's keys for one subcommand.
#[derive(Debug)]
pub struct Keys {
    pub settings: Vec<Setting>,
    /// Keys that only other subcommands have.
    pub elsewhere: Vec<String>,
}

/// The subcommand whose keys `check` reads, too: it judges whether a run would start.
const RUN: &str = "run";

/// The file's flags for the subcommand `name`. Lines for other subcommands are checked, too.
///
/// # Errors
///
/// Names file, line, key and value of the first wrong line, and what is allowed.
pub fn of(file: &ConfigFile, name: &str) -> Result<Keys, ConfigError> {
    let program = program::program();
    let own = program.find_subcommand(name);
    let mut keys = Keys {
        settings: Vec::new(),
        elsewhere: Vec::new(),
    };
    for entry in &file.entries {
        if let EntryValue::Other("a table") = entry.value {
            return Err(unknown(file, entry, &program));
        }
        let homes = program
            .get_subcommands()
            .filter_map(|command| Some((command, flag(command, &entry.key)?)));
        let homes: Vec<(&Command, &Arg)> = homes.collect();
        let own = own.and_then(|command| Some((command, flag(command, &entry.key)?)));
        let Some(&first) = homes.first() else {
            return Err(unknown(file, entry, &program));
        };
        let tried = match own {
            Some((command, arg)) => value(file, entry, command, arg),
            // One that accepts the value is enough.
            None => homes
                .iter()
                .map(|(command, arg)| value(file, entry, command, arg))
                .find(Result::is_ok)
                .unwrap_or_else(|| value(file, entry, first.0, first.1)),
        };
        let value = tried?;
        match own {
            Some((_, arg)) => keys.settings.push(Setting {
                key: entry.key.clone(),
                short: arg.get_short(),
                value,
                origin: Origin::File {
                    path: Arc::clone(&file.path),
                    line: entry.line,
                },
            }),
            None if name == "check" && homes.iter().any(|(home, _)| home.get_name() == RUN) => {}
            None => keys.elsewhere.push(entry.key.clone()),
        }
    }
    if let Some(command) = own {
        check_conflicts(file, &keys.settings, command)?;
    }
    Ok(keys)
}

/// Checks that no two lines exclude each other.
fn check_conflicts(
    file: &ConfigFile,
    settings: &[Setting],
    command: &Command,
) -> Result<(), ConfigError> {
    for (at, setting) in settings.iter().enumerate() {
        let mut before = settings[..at].iter();
        if let Some(other) = before.find(|other| exclude(command, setting, other)) {
            let line = |key: &str| file.entries.iter().find(|entry| entry.key == key);
            let line = |key: &str| line(key).map_or(0, |entry| entry.line);
            let (shown, key, first) = (shown(&file.path), &setting.key, &other.key);
            return Err(ConfigError(format!(
                "{shown} line {}: {key} cannot be used with {first} in line {}",
                line(key),
                line(first)
            )));
        }
    }
    Ok(())
}

/// Whether two settings exclude each other.
pub fn exclude(command: &Command, one: &Setting, other: &Setting) -> bool {
    let excludes = |one: &Setting, other: &Setting| {
        let arg = flag(command, &one.key);
        let all = arg.map(|arg| command.get_arg_conflicts_with(arg));
        let mut all = all.into_iter().flatten();
        all.any(|arg| arg.get_long() == Some(&other.key))
    };
    let in_force = one.value != Value::Off && other.value != Value::Off;
    in_force && (excludes(one, other) || excludes(other, one))
}

fn unknown(file: &ConfigFile, entry: &FileEntry, program: &Command) -> ConfigError {
    let FileEntry { key, line, .. } = entry;
    let (shown, name) = (shown(&file.path), given::key(key));
    if let EntryValue::Other("a table") = entry.value {
        let says = "is a table; there are none: a flag a line, KEY = VALUE";
        return ConfigError(format!("{shown} line {line}: {name} {says}"));
    }
    let near = program
        .get_subcommands()
        .find_map(|command| nearest(command, key));
    let near = near.map_or_else(
        || "the keys are the names of flags: synledger run --help".to_owned(),
        |near| format!("did you mean {near}?"),
    );
    ConfigError(format!("{shown} line {line}: unknown key {name}: {near}"))
}

/// clap's suggestion for a misspelled key.
fn nearest(command: &Command, key: &str) -> Option<String> {
    let error = trial(command, &[format!("--{key}")]).err()?;
    let near = match error.get(ContextKind::SuggestedArg)? {
        ContextValue::String(near) => near.strip_prefix("--")?,
        _ => return None,
    };
    flag(command, near).map(|_| near.to_owned())
}

/// The flag's value in the entry.
fn value(
    file: &ConfigFile,
    entry: &FileEntry,
    command: &Command,
    arg: &Arg,
) -> Result<Value, ConfigError> {
    let FileEntry { key, line, .. } = entry;
    let wrong = |line: &usize, written: &str, why: &str| {
        let shown = shown(&file.path);
        ConfigError(format!("{shown} line {line}: {key} = {written}: {why}"))
    };
    let kind = kind(arg);
    let refused = || wrong(line, &entry.written, &kind);
    let takes = |line: &usize, written: &str, value: &str| {
        let tried = trial(command, &[format!("--{key}={value}")]);
        tried.map_err(|error| wrong(line, written, &reason(&error)))
    };
    match &entry.value {
        EntryValue::Switch(false) if is_revocable(arg) => Ok(Value::Off),
        EntryValue::Switch(true) if is_optional(arg) => Ok(Value::On),
        EntryValue::One(value) if !is_switch(arg) => {
            takes(line, &entry.written, value)?;
            Ok(match is_list(arg) {
                true => Value::Many(vec![value.clone()]),
                false => Value::One(value.clone()),
            })
        }
        EntryValue::Many(items) if is_list(arg) => {
            if items.is_empty() && !is_revocable(arg) {
                let why = "an empty list; without this line it has its default";
                return Err(wrong(line, &entry.written, why));
            }
            for Item {
                line,
                value,
                written,
            } in items
            {
                takes(line, written, value)?;
            }
            Ok(match items.is_empty() {
                true => Value::Off,
                false => Value::Many(items.iter().map(|item| item.value.clone()).collect()),
            })
        }
        _ => Err(refused()),
    }
}
