//! Reads a log while the sensor writes it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

/// Reads new lines of a growing file.
#[derive(Debug)]
pub struct Follower {
    file: File,
    /// The last line, if it is incomplete.
    rest: Vec<u8>,
    chunk: Vec<u8>,
}

impl Follower {
    /// Reads `path` from its beginning.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn new(path: &Path) -> Result<Self> {
        Ok(Self {
            file: File::open(path).with_context(|| path.display().to_string())?,
            rest: Vec::new(),
            chunk: vec![0; 1 << 20],
        })
    }

    /// Reads new bytes and calls `take` with each complete line and the result of `now` right after the read. Gives
    /// whether there were new bytes.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or `take` fails.
    pub fn lines<T: Copy>(
        &mut self,
        now: impl Fn() -> T,
        mut take: impl FnMut(&[u8], T) -> Result<()>,
    ) -> Result<bool> {
        let read = self.file.read(&mut self.chunk).context("the log")?;
        let (at, mut from) = (now(), 0);
        for end in memchr::memchr_iter(b'\n', &self.chunk[..read]) {
            let line = &self.chunk[from..end];
            if self.rest.is_empty() {
                take(line, at)?;
            } else {
                self.rest.extend_from_slice(line);
                take(&self.rest, at)?;
                self.rest.clear();
            }
            from = end + 1;
        }
        self.rest.extend_from_slice(&self.chunk[from..read]);
        Ok(read > 0)
    }
}

/// Nanoseconds since 1970, the clock of packet time stamps.
#[must_use]
pub fn now_ns() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_are_complete_in_whatever_parts_they_are_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let mut file = File::create(&path).expect("a file");
        let mut follower = Follower::new(&path).expect("a follower");
        let mut all = Vec::new();
        for part in ["one\ntw", "o", "\n\nfour", "\n"] {
            file.write_all(part.as_bytes()).expect("written");
            let mut take = |line: &[u8], _| {
                all.push(String::from_utf8_lossy(line).into_owned());
                Ok(())
            };
            assert!(follower.lines(|| (), &mut take).expect("read"));
            assert!(!follower.lines(|| (), &mut take).expect("read"));
        }
        assert_eq!(all, ["one", "two", "", "four"]);
    }
}
