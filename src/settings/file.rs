//! The configuration file: TOML without tables. Keys and values with their lines.

use super::values;
use crate::error::{ConfigError, SetupError};
use crate::words::shown;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The file without `--config`.
pub const DEFAULT_PATH: &str = "/etc/synledger/synledger.toml";
/// How the parser begins its words about a text without quotes, a number with a unit, or no value at all.
const UNQUOTED: &str = "string values must be quoted";
/// Maximum size.
const BYTES_MAX: u64 = 1 << 20;

/// A configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigFile {
    pub path: Arc<PathBuf>,
    /// In the order of the file.
    pub entries: Vec<FileEntry>,
}

/// `KEY = VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileEntry {
    pub key: String,
    /// Its line, from 1.
    pub line: usize,
    pub value: EntryValue,
    /// The value as written in the file.
    pub written: String,
}

/// A value of TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntryValue {
    /// `true` or `false`.
    Switch(bool),
    /// A string, or a number in decimal.
    One(String),
    /// A list of these.
    Many(Vec<Item>),
    /// No flag takes it: a table, a date, a list of lists.
    Other(&'static str),
}

/// An item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Its line, from 1.
    pub line: usize,
    /// A string, or a number in decimal.
    pub value: String,
    /// The item as written in the file.
    pub written: String,
}

/// Reads the file that `--config` names.
///
/// # Errors
///
/// It cannot be read, is too long, or is not TOML: names path, line, and what to do.
pub(crate) fn read(path: &Path) -> Result<ConfigFile, ConfigError> {
    let bytes = bytes(path).map_err(|error| {
        let is_folder = error.kind() == ErrorKind::IsADirectory;
        let error = SetupError::new("read", subject(path), error);
        let error = match is_folder {
            true => error.hint("--config takes a file"),
            false => error,
        };
        ConfigError(error.to_string())
    })?;
    parse(path, &bytes)
}

/// Reads the file at `path` if there is one.
///
/// # Errors
///
/// Those of [`read`], except that it does not exist.
pub(crate) fn read_default(path: &Path) -> Result<Option<ConfigFile>, ConfigError> {
    match bytes(path) {
        Ok(bytes) => parse(path, &bytes).map(Some),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => {
            let error = SetupError::new("read", subject(path), error);
            let error = error.hint("--no-config goes without it");
            Err(ConfigError(error.to_string()))
        }
    }
}

fn subject(path: &Path) -> String {
    format!("configuration file {}", shown(path))
}

/// Reads at most one byte more than allowed.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = File::open(path)?.take(BYTES_MAX + 1);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Parses the text of a file.
///
/// # Errors
///
/// Those of [`read`].
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<ConfigFile, ConfigError> {
    let shown = shown(path);
    if bytes.len() as u64 > BYTES_MAX {
        let says = format!("configuration file {shown}: longer than 1 MiB");
        return Err(ConfigError(says));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = line_of(bytes, error.valid_up_to());
        ConfigError(format!("{shown} line {line}: must be UTF-8"))
    })?;
    let table = DeTable::parse(text).map_err(|error| {
        let says = error.message().replace('\n', " ");
        let place = match error.span() {
            Some(span) => format!("{shown} line {}", line_of(bytes, span.start)),
            None => shown.to_string(),
        };
        let key = error.span().map(|span| written(text, span));
        let bare = error.span().and_then(|span| bare_value(text, span.start));
        ConfigError(match (key, bare) {
            (Some(key), _) if says == "duplicate key" => {
                format!("{place}: {key} is given a second time")
            }
            (_, Some((key, ""))) => format!("{place}: {key} has no value: {key} = VALUE"),
            (_, Some((key, value))) if says.starts_with(UNQUOTED) => {
                format!(
                    "{place}: {key} = {value}: {}",
                    values::about_bare(key, value)
                )
            }
            _ => format!("{place}: no TOML: {says}"),
        })
    })?;
    let entries = table.into_inner().into_iter();
    let mut entries: Vec<(usize, FileEntry)> = entries
        .map(|(key, value)| {
            let at = key.span().start;
            let entry = FileEntry {
                key: key.into_inner().into_owned(),
                line: line_of(bytes, at),
                written: written(text, value.span()),
                value: value_of(text, value.into_inner()),
            };
            (at, entry)
        })
        .collect();
    entries.sort_by_key(|&(at, _)| at);
    Ok(ConfigFile {
        path: Arc::new(path.to_owned()),
        entries: entries.into_iter().map(|(_, entry)| entry).collect(),
    })
}

/// Key and value of the line in which the byte at `at` is: the value as it stands, without a comment.
fn bare_value(text: &str, at: usize) -> Option<(&str, &str)> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let (key, value) = text[start..].lines().next()?.split_once('=')?;
    let value = value.split('#').next().unwrap_or_default();
    let key = key.trim();
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    (!key.is_empty() && key.chars().all(is_bare)).then_some((key, value.trim()))
}

fn value_of(text: &str, value: DeValue<'_>) -> EntryValue {
    match value {
        DeValue::Boolean(on) => EntryValue::Switch(on),
        DeValue::Array(items) => {
            let items = items
                .into_iter()
                .map(|item| item_of(text, item))
                .collect::<Result<_, _>>();
            items.map_or_else(EntryValue::Other, EntryValue::Many)
        }
        other => scalar_of(other).map_or_else(EntryValue::Other, EntryValue::One),
    }
}

fn item_of(text: &str, item: Spanned<DeValue<'_>>) -> Result<Item, &'static str> {
    let span = item.span();
    Ok(Item {
        line: line_of(text.as_bytes(), span.start),
        written: written(text, span),
        value: scalar_of(item.into_inner())?,
    })
}

/// The text of a string or number. The error is the type of anything else.
fn scalar_of(value: DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.into_owned()),
        DeValue::Integer(number) => {
            let decimal = i128::from_str_radix(number.as_str(), number.radix());
            Ok(decimal.map_or_else(|_| number.to_string(), |number| number.to_string()))
        }
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(_) => Err("a list of switches"),
        DeValue::Datetime(_) => Err("a date"),
        DeValue::Array(_) => Err("a list of lists"),
        DeValue::Table(_) => Err("a table"),
    }
}

/// The text of a span in one line, shortened.
fn written(text: &str, span: Range<usize>) -> String {
    const LETTERS_MAX: usize = 80;
    let text = text.get(span).unwrap_or_default();
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(LETTERS_MAX) {
        Some((end, _)) => format!("{}...", &one_line[..end]),
        None => one_line,
    }
}

/// The line that the byte at `at` is in, from 1.
fn line_of(bytes: &[u8], at: usize) -> usize {
    let before = bytes.get(..at).unwrap_or(bytes);
    before.iter().filter(|&&byte| byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
