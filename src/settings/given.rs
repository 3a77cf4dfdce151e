//! The flags given, and their origin: command line, configuration file or preset.

use super::presets::Preset;
use crate::words::shown;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

/// Origin of a flag's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By `--preset`.
    Preset(Preset),
    /// In the configuration file.
    File {
        /// Its path.
        path: Arc<PathBuf>,
        /// The line of the key, from 1.
        line: usize,
    },
    /// On the command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset(preset) => write!(f, "preset {preset}"),
            Self::File { path, line } => write!(f, "{} line {line}", shown(path)),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// A flag's value. Prints as TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Revoked.
    Off,
    /// Given without a value.
    On,
    /// One value.
    One(String),
    /// Values of a list.
    Many(Vec<String>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("false"),
            Self::On => f.write_str("true"),
            Self::One(value) => f.write_str(&scalar(value)),
            Self::Many(values) => {
                let values: Vec<String> = values.iter().map(|value| scalar(value)).collect();
                write!(f, "[{}]", values.join(", "))
            }
        }
    }
}

/// A key as TOML: in quotes only if it needs them.
pub fn key(name: &str) -> String {
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

/// A number without, all else in quotes.
fn scalar(value: &str) -> String {
    let number = value.parse::<u64>().map(|number| number.to_string());
    match number.as_deref() == Ok(value) {
        true => value.to_owned(),
        false => quoted(value),
    }
}

/// A text as TOML.
pub fn quoted(value: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            _ if letter.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(letter));
            }
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// A flag with its value and origin.
#[allow(missing_docs, reason = "two fields need none")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Long name, without dashes in front.
    pub key: String,
    /// Short name.
    pub short: Option<char>,
    pub value: Value,
    pub origin: Origin,
}

impl Setting {
    /// The arguments of a command line with this value.
    pub fn arguments(&self) -> Vec<String> {
        let key = &self.key;
        match &self.value {
            Value::Off => Vec::new(),
            Value::On => vec![format!("--{key}")],
            Value::One(value) => vec![format!("--{key}={value}")],
            Value::Many(values) => {
                let one = |value| format!("--{key}={value}");
                values.iter().map(one).collect()
            }
        }
    }

    /// Whether `text` names the flag.
    fn is_named_in(&self, text: &str) -> bool {
        let in_a_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        let short = self.short.map(|short| format!("-{short}"));
        text.split(|letter| !in_a_name(letter)).any(|word| {
            word.strip_prefix("--") == Some(&self.key) || Some(word) == short.as_deref()
        })
    }
}

/// SHA-256 of settings, in hexadecimal digits: of the lines `KEY = VALUE` in the order of their keys, as `--dry-run` prints
/// them, each ended by a newline and without its comment. Who set a flag, and where, makes no difference.
pub fn sha256(settings: &BTreeMap<String, Value>) -> String {
    let mut hash = Sha256::new();
    for (key, value) in settings {
        hash.update(format!("{key} = {value}\n"));
    }
    let digits = hash.finalize().into_iter();
    digits.map(|byte| format!("{byte:02x}")).collect()
}

/// All flags given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// The configuration file, if one was read.
    pub file: Option<PathBuf>,
    /// Its keys that only other subcommands have.
    pub elsewhere: Vec<String>,
    /// Whether `--config` names the file.
    pub is_named: bool,
    /// The flags in force, those of the command line first.
    pub settings: Vec<Setting>,
}

impl Given {
    /// Whether a flag was given, by its long name.
    pub fn has(&self, key: &str) -> bool {
        self.settings.iter().any(|setting| setting.key == key)
    }

    /// The file's name and each flag given, as lines of TOML that a configuration file may have.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![match &self.file {
            Some(path) => format!("# configuration file: {}", shown(path)),
            None => "# configuration file: none".to_owned(),
        }];
        if !self.elsewhere.is_empty() {
            let keys = self.elsewhere.join(", ");
            lines.push(format!("# of other subcommands alone: {keys}"));
        }
        // It ends the program, so it belongs in no file.
        let shown = |setting: &&Setting| setting.key != "dry-run";
        lines.extend(self.settings.iter().filter(shown).map(|setting| {
            let Setting {
                key, value, origin, ..
            } = setting;
            format!("{key} = {value}  # {origin}")
        }));
        lines
    }

    /// A note if the file of `--config` has keys of other subcommands.
    pub fn note(&self, subcommand: &str) -> Option<String> {
        let path = shown(self.file.as_ref().filter(|_| self.is_named)?);
        let is_quiet = |setting: &Setting| setting.key == "quiet" && setting.value == Value::On;
        if self.elsewhere.is_empty() || self.settings.iter().any(is_quiet) {
            return None;
        }
        let keys = self.elsewhere.join(", ");
        Some(format!(
            "{path}: left out, for they are flags of other subcommands than {subcommand}: {keys}"
        ))
    }

    /// Appends to `text` the origin of each flag it names, unless that is the command line.
    pub fn explain(&self, text: &str) -> String {
        self.explain_about("", text)
    }

    /// As [`Self::explain`], for a text about the flag `key`, if it names none.
    pub fn explain_about(&self, key: &str, text: &str) -> String {
        let elsewhere = |setting: &&Setting| setting.origin != Origin::CommandLine;
        let named = self.settings.iter().filter(elsewhere);
        let is_named = self
            .settings
            .iter()
            .any(|setting| setting.is_named_in(text));
        let is_meant = |setting: &&Setting| match is_named {
            true => setting.is_named_in(text),
            false => setting.key == key,
        };
        let named = named.filter(is_meant);
        let named: Vec<String> = named
            .map(|Setting { key, origin, .. }| format!("--{key} is from {origin}"))
            .collect();
        match named.is_empty() {
            true => text.to_owned(),
            false => format!("{text} ({})", named.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_lines_in_order() {
        let settings = |fold: &str| {
            let fold = Value::One(fold.to_owned());
            let lists = Value::Many(vec!["192.0.2.1".to_owned()]);
            BTreeMap::from([("fold".to_owned(), fold), ("allow".to_owned(), lists)])
        };
        // printf 'allow = ["192.0.2.1"]\nfold = 5\n' | sha256sum
        let expected = "47b951d08819fd74dbcf1eed2c775a60a12d5c26b51ef049cdefe1c434563a9c";
        assert_eq!(sha256(&settings("5")), expected);
        assert_ne!(sha256(&settings("6")), expected);
    }
}
