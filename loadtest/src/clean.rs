//! Removes what runs made: namespaces, control groups, folders, captures.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::lab::stop::Removed;
use crate::lab::{self, Scratch, throttle};
use crate::send;

/// Removes what processes made that have ended without removing it; gives the names.
///
/// # Errors
///
/// When a namespace cannot be removed.
pub fn left_behind() -> Result<Vec<String>> {
    let mut gone = lab::clean()?;
    gone.extend(throttle::clean());
    gone.extend(Scratch::clean());
    Ok(gone)
}

/// Removes what this process made. It is about to end: its programs, `ended`, were killed already.
pub fn own(ended: &BTreeSet<i32>) -> Removed {
    let groups = ended.iter().filter(|pid| throttle::clean_of(**pid)).count();
    let namespaces = lab::clean_own().len();
    send::remove_capture();
    let folders = Scratch::clean_own().len() + groups;
    Removed {
        namespaces,
        folders,
    }
}
