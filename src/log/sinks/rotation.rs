//! Rotation of files: when one is closed, and its name then.

use crate::time::durations::{number_and_unit, unit_ns};
use jiff::Timestamp;
use std::fmt;
use std::str::FromStr;

const NS_PER_S: i64 = 1_000_000_000;

/// `rotate=` and `keep=` of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// A file ends at each multiple of this many seconds of the log's time.
    pub every_s: Option<u32>,
    /// A file ends at this size.
    pub bytes: Option<u64>,
    /// Closed files that are kept of each name; `None`: all.
    pub keep: Option<u32>,
}

/// Allowed values of `rotate=`.
pub const ROTATE_ALLOWED: &str = "rotate=TIME (1m to 30d: m, h, d), rotate=SIZE (1MiB to 1TiB: MiB, GiB, TiB), or both joined by +";
/// Allowed values of `keep=`.
pub const KEEP_ALLOWED: &str = "keep=N with N from 1 to 100000";

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
            let bytes = match unit {
                "MiB" => scaled(1 << 20),
                "GiB" => scaled(1 << 30),
                "TiB" => scaled(1 << 40),
                _ => None,
            };
            match (seconds, bytes) {
                (Some(s @ 60..=2_592_000), None) if self.every_s.is_none() => {
                    self.every_s = u32::try_from(s).ok();
                }
                (None, Some(b)) if self.bytes.is_none() && (1 << 20..=1 << 40).contains(&b) => {
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
        match u32::from_str(value) {
            Ok(keep @ 1..=100_000) => {
                self.keep = Some(keep);
                Ok(())
            }
            _ => Err(format!("keep: \"{value}\" is no number in range")),
        }
    }
}

/// The time in the name of a closed file, as Zeek's: `2026-11-29-05-00-00`, UTC.
pub struct NameStamp(pub i64);

impl fmt::Display for NameStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = self.0.div_euclid(NS_PER_S);
        match Timestamp::from_second(second) {
            Ok(moment) => write!(f, "{}", moment.strftime("%Y-%m-%d-%H-%M-%S")),
            // Outside the calendar's range, the number of the second.
            Err(_) => second.fmt(f),
        }
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
            ["0", "100001", "-1", "x", ""]
                .iter()
                .all(|value| rotation.set_keep(value).is_err())
        );
        assert!(rotation.set_keep("3").is_ok() && rotation.keep == Some(3));
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
