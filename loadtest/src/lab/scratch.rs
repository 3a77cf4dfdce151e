//! Folders for the files of one run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use super::names::{PREFIX, is_left_behind, is_own};
use super::stop;

/// A folder that is removed on drop. It is in memory if /dev/shm is there, so that no disk limits a measurement.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made.
    pub fn new() -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = Self::base().join(format!("{PREFIX}{}-{number}", std::process::id()));
        let _defer = stop::defer();
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    fn base() -> PathBuf {
        let shared = Path::new("/dev/shm");
        if shared.is_dir() {
            shared.to_owned()
        } else {
            std::env::temp_dir()
        }
    }

    /// Removes the folders of ended processes; gives their names.
    #[must_use]
    pub fn clean() -> Vec<String> {
        Self::clean_if(is_left_behind)
    }

    /// Removes the folders of this process before it ends; gives their names.
    #[must_use]
    pub fn clean_own() -> Vec<String> {
        Self::clean_if(is_own)
    }

    fn clean_if(wanted: fn(&str) -> bool) -> Vec<String> {
        let entries = fs::read_dir(Self::base()).into_iter().flatten();
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| wanted(name))
            // Retried: a call fails if another thread removes or writes files there meanwhile.
            .filter(|name| (0..5).any(|_| fs::remove_dir_all(Self::base().join(name)).is_ok()))
            .map(|name| format!("folder {name}"))
            .collect()
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
