//! Rotation of files: when one is closed, and how much is kept.

use crate::time::durations::{number_and_unit, unit_ns};
use jiff::Timestamp;
use std::fmt;
use std::str::FromStr;

const NS_PER_S: i64 = 1_000_000_000;

/// Time in the names of Zeek's files.
pub const ZEEK: &str = "%Y-%m-%d-%H-%M-%S";

/// `rotate=` and `keep=` of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// A file ends at each multiple of this many seconds of the log's time.
    pub every_s: Option<u32>,
    /// A file ends at this size.
    pub bytes: Option<u64>,
    /// What is kept of each name; `None`: all.
    pub keep: Option<Keep>,
}

/// `keep=` of an output: what is kept of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Closed files.
    Files(u32),
    /// Bytes on the disk: closed files, the open one, and what compression takes meanwhile.
    Bytes(u64),
}

/// Allowed values of `rotate=`.
pub const ROTATE_ALLOWED: &str = "rotate=TIME (1m to 30d: m, h, d), rotate=SIZE (1MiB to 1TiB: MiB, GiB, TiB), or both joined by +";
/// Allowed values of `keep=`.
pub const KEEP_ALLOWED: &str = "keep=N (1 to 100000 files), keep=SIZE (4MiB to 1024TiB, at least four times the SIZE of rotate=)";
/// Files whose room is never given to closed ones: the open file, the next one, and one that is being compressed.
pub const FILES_AHEAD: u64 = 3;
/// So many files fit into a limit of bytes without `rotate=SIZE`.
const FILES_IN_LIMIT: u64 = 16;
/// The smallest file that is closed for its size.
pub const FILE_BYTES_MIN: u64 = 1 << 20;

impl Rotation {
    /// Whether files are closed before the end of the run.
    pub fn is_on(&self) -> bool {
        self.every_s.is_some() || self.bytes.is_some()
    }

    /// Whether a file that was opened at `opened_ns` and has `bytes` ends before a record of `now_ns`.
    pub fn is_due(&self, opened_ns: i64, bytes: u64, now_ns: i64) -> bool {
        let of_time = self.every_s.is_some_and(|every_s| {
            let period = |ns: i64| ns.div_euclid(i64::from(every_s) * NS_PER_S);
            period(now_ns) > period(opened_ns)
        });
        of_time || self.bytes.is_some_and(|most| bytes >= most)
    }

    /// Reads `1h`, `100MiB` or `1h+100MiB`; `keep` stays as it is.
    ///
    /// # Errors
    ///
    /// What is wrong; [`ROTATE_ALLOWED`] has the allowed values.
    pub fn set_rotate(&mut self, value: &str) -> Result<(), String> {
        for part in value.split('+') {
            let (number, unit) = number_and_unit(part);
            let wrong = || format!("rotate: \"{part}\" is neither a time nor a size in range");
            let number: u64 = number.parse().map_err(|_| wrong())?;
            let scaled = |unit: u64| number.checked_mul(unit);
            let seconds = match unit {
                "m" | "h" | "d" => {
                    unit_ns(unit).and_then(|ns| scaled(ns.unsigned_abs() / 1_000_000_000))
                }
                _ => None,
            };
            match (seconds, size(part)) {
                (Some(s @ 60..=2_592_000), None) if self.every_s.is_none() => {
                    self.every_s = u32::try_from(s).ok();
                }
                (None, Some(b))
                    if self.bytes.is_none() && (FILE_BYTES_MIN..=1 << 40).contains(&b) =>
                {
                    self.bytes = Some(b);
                }
                _ => return Err(wrong()),
            }
        }
        Ok(())
    }

    /// Reads `keep`.
    ///
    /// # Errors
    ///
    /// What is wrong; [`KEEP_ALLOWED`] has the allowed values.
    pub fn set_keep(&mut self, value: &str) -> Result<(), String> {
        let keep = match (u32::from_str(value), size(value)) {
            (Ok(files @ 1..=100_000), _) => Keep::Files(files),
            (_, Some(bytes)) if (4 << 20..=1 << 50).contains(&bytes) => Keep::Bytes(bytes),
            _ => {
                return Err(format!(
                    "keep: \"{value}\" is neither a number nor a size in range"
                ));
            }
        };
        self.keep = Some(keep);
        Ok(())
    }

    /// Fits the size of a file to `keep=SIZE`.
    ///
    /// # Errors
    ///
    /// `keep` is too small; [`KEEP_ALLOWED`] has the allowed values.
    pub fn fit(&mut self) -> Result<(), String> {
        match (self.keep, self.bytes) {
            (Some(_), None) if self.every_s.is_none() => {
                Err("keep= without rotate= keeps nothing".to_owned())
            }
            (Some(Keep::Bytes(keep)), None) => {
                self.bytes = Some(share(keep, 1));
                Ok(())
            }
            (Some(Keep::Bytes(keep)), Some(bytes)) if keep < least(bytes) => Err(format!(
                "keep={} is less than four files of rotate={}",
                Size(keep),
                Size(bytes)
            )),
            _ => Ok(()),
        }
    }
}

/// The size of a file where `files` open files share a limit.
pub fn share(limit: u64, files: u64) -> u64 {
    (limit / FILES_IN_LIMIT / files.max(1)).max(FILE_BYTES_MIN)
}

/// The smallest limit with files of this size: one is closed.
pub fn least(file_bytes: u64) -> u64 {
    file_bytes * (FILES_AHEAD + 1)
}

/// Reads a size: `100MiB`, `1GiB`, `2TiB`. In bytes.
pub fn size(value: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(value);
    let unit: u64 = match unit {
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Reads `--log-budget`.
///
/// # Errors
///
/// Names the range.
pub fn budget(value: &str) -> Result<u64, String> {
    let bytes = size(value).filter(|bytes| (4 << 20..=1 << 50).contains(bytes));
    bytes.ok_or_else(|| "must be a size from 4MiB to 1024TiB (units MiB, GiB, TiB)".to_owned())
}

/// Bytes, in the largest unit that gives a whole number; below a MiB, or in between, rounded to tenths of a MiB.
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, word) in [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB")] {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{word}", self.0 / unit);
            }
        }
        write!(f, "{:.1}MiB", self.0 as f64 / f64::from(1 << 20))
    }
}

/// The time in the name of a closed file of Zeek's: `2026-11-29-05-00-00`, UTC.
pub struct NameStamp(pub i64);

impl fmt::Display for NameStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&stamp(ZEEK, self.0.div_euclid(NS_PER_S)))
    }
}

/// A second in this form of strftime(3), UTC.
pub fn stamp(form: &str, second: i64) -> String {
    match Timestamp::from_second(second) {
        Ok(moment) => moment.strftime(form).to_string(),
        // Outside the calendar's range, the number of the second.
        Err(_) => second.to_string(),
    }
}

#[cfg(test)]
impl Rotation {
    /// Of values of `rotate=`, and of `keep=` with that word before them.
    pub(super) fn of(options: &[&str]) -> Self {
        let mut rotation = Self::default();
        for option in options {
            match option.strip_prefix("keep=") {
                Some(keep) => rotation.set_keep(keep).expect("good"),
                None => rotation.set_rotate(option).expect("good"),
            }
        }
        rotation.fit().expect("good");
        rotation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Rotation, String> {
        let mut rotation = Rotation::default();
        rotation.set_rotate(value).map(|()| rotation)
    }

    #[test]
    fn times_sizes_and_both_are_read_and_what_is_neither_is_named() {
        let is = |every_s, bytes| {
            let keep = None;
            Ok(Rotation {
                every_s,
                bytes,
                keep,
            })
        };
        assert_eq!(read("1h"), is(Some(3600), None));
        assert_eq!(read("30d"), is(Some(2_592_000), None));
        assert_eq!(read("100MiB"), is(None, Some(100 << 20)));
        assert_eq!(read("1m+1GiB"), is(Some(60), Some(1 << 30)));
        for value in [
            "",
            "h",
            "1",
            "0h",
            "31d",
            "1s",
            "1KiB",
            "0MiB",
            "2000GiB",
            "1h+2h",
            "1MiB+1MiB",
            "1h+",
            "-1h",
            "99999999999999999999h",
            "1h 1MiB",
            "1TiB+",
        ] {
            let wrong = read(value).expect_err(value);
            assert!(wrong.starts_with("rotate: "), "{value}: {wrong}");
        }
        let mut rotation = Rotation::default();
        assert!(
            ["0", "100001", "-1", "x", "", "3MiB", "4KiB", "1025TiB"]
                .iter()
                .all(|value| rotation.set_keep(value).is_err())
        );
        assert!(rotation.set_keep("3").is_ok() && rotation.keep == Some(Keep::Files(3)));
        let bytes = Some(Keep::Bytes(5 << 20));
        assert!(rotation.set_keep("5MiB").is_ok() && rotation.keep == bytes);
    }

    #[test]
    fn a_file_ends_at_multiples_of_its_period_and_at_its_size() {
        let rotation = read("1h+1MiB").expect("good");
        let at = |s: i64| s * NS_PER_S;
        assert!(!rotation.is_due(at(3600), 0, at(7199)));
        assert!(rotation.is_due(at(7199), 0, at(7200)));
        assert!(
            !rotation.is_due(at(7200), 0, at(3000)),
            "a clock that goes back ends nothing"
        );
        assert!(
            rotation.is_due(at(0), 1 << 20, at(1)) && !rotation.is_due(at(0), (1 << 20) - 1, at(1))
        );
        assert!(!Rotation::default().is_due(0, u64::MAX, i64::MAX));
    }

    #[test]
    fn names_have_the_moment_in_zeeks_form() {
        assert_eq!(
            NameStamp(1_700_000_000 * NS_PER_S).to_string(),
            "2023-11-14-22-13-20"
        );
        assert_eq!(NameStamp(-1).to_string(), "1969-12-31-23-59-59");
        assert!(
            !NameStamp(i64::MAX).to_string().is_empty()
                && !NameStamp(i64::MIN).to_string().is_empty()
        );
    }
}
