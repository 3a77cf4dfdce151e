//! Removes what runs made: namespaces, control groups, folders, captures.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::lab::stop::Cleanup;
use crate::lab::{self, Scratch, throttle};
use crate::send;

/// Removes what ended processes have left behind; gives the names.
///
/// # Errors
///
/// When a namespace cannot be removed.
pub fn left_behind() -> Result<Vec<String>> {
    let mut removed = lab::clean()?;
    removed.extend(throttle::clean());
    removed.extend(Scratch::clean());
    Ok(removed)
}

/// Removes what this process made, before it ends. Its child processes, `ended`, were killed already.
pub fn own(ended: &BTreeSet<i32>) -> Cleanup {
    let groups = ended.iter().filter(|pid| throttle::clean_of(**pid)).count();
    let namespaces = lab::clean_own().len();
    send::remove_capture();
    let folders = Scratch::clean_own().len() + groups;
    Cleanup {
        namespaces,
        folders,
    }
}
