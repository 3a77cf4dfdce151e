//! The folder of `--state`.

use super::given::{Given, Origin};
use std::path::PathBuf;

/// Where a run remembers until when it watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFolder {
    /// It is made if it is missing.
    pub path: PathBuf,
    /// Somebody named it, not a preset: a run that cannot write there does not start.
    pub is_asked: bool,
}

/// The folder of `--state`; `None`: nothing is remembered.
pub fn folder(path: Option<PathBuf>, given: &Given) -> Option<StateFolder> {
    let path = path?;
    let mut settings = given.settings.iter();
    let setting = settings.find(|setting| setting.key == "state");
    let is_asked = !setting.is_some_and(|setting| matches!(setting.origin, Origin::Preset(_)));
    Some(StateFolder { path, is_asked })
}
