//! Starts the helper, with one end of a socket pair as its standard input.

use super::backend::Method;
use super::{HELPER, NO_PRIVILEGE};
use crate::host::helper;
use crate::respond::block::METHODS;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ExitStatus};

/// First argument of a keeper.
pub const KEEP: &str = "keep";

/// What a helper is told at its start.
#[derive(Clone, Debug)]
pub struct Start {
    /// How it blocks.
    pub method: &'static Method,
    /// Most elements of all sets together: 1 to [`super::ELEMENTS_MAX`].
    pub elements_max: u32,
    /// For [`Method::open`].
    pub words: Vec<String>,
}

impl Start {
    /// As arguments.
    pub fn arguments(&self) -> Vec<String> {
        let first = [self.method.word.to_owned(), self.elements_max.to_string()];
        first.into_iter().chain(self.words.clone()).collect()
    }

    /// From arguments; `None`: no sensor gives these.
    pub fn parse(arguments: &[String]) -> Option<Self> {
        let [word, elements_max, words @ ..] = arguments else {
            return None;
        };
        let elements_max = elements_max.parse().ok()?;
        let method = METHODS.into_iter().find(|method| method.word == word)?;
        let is_right = (1..=super::ELEMENTS_MAX).contains(&elements_max) && (method.takes)(words);
        is_right.then(|| Self {
            method,
            elements_max,
            words: words.to_vec(),
        })
    }
}

/// Starts `program` as a keeper; returns it and the sensor's end of the pair.
///
/// The keeper is in the calling thread's network namespace.
///
/// # Errors
///
/// Those of `socketpair`, `fork` and `execve`.
pub fn start(program: &Path, start: &Start) -> io::Result<(Child, OwnedFd)> {
    let mut arguments = vec![HELPER.to_owned(), KEEP.to_owned()];
    arguments.extend(start.arguments());
    helper::start(program, &arguments)
}

/// Whether a keeper that ended so would end so again.
pub fn is_hopeless(status: ExitStatus) -> bool {
    status.code() == Some(i32::from(NO_PRIVILEGE))
}
