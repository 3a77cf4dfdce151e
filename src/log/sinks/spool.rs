//! Options of outputs to segments: where their files go in the end, and how much may wait.

use super::rotation::{FILE_BYTES_MIN, size};
use crate::time::durations::length_ns;
use std::path::{Path, PathBuf};

/// The name of a sensor without one.
const NAMELESS: &str = "sensor";
/// The longest name of a sensor.
const NAME_MAX: usize = 64;
/// The spool of a bucket without `spool-dir=`.
const SPOOL: &str = "/var/lib/synledger/spool";
/// The spool within a folder of Parquet files: readers skip names with a dot.
const IN_FOLDER: &str = ".spool";

const SENSOR_ALLOWED: &str = "sensor=NAME (1 to 64 of A-Z a-z 0-9 . _ -)";
const SIZE_ALLOWED: &str = "size=SIZE (1MiB to 1GiB)";
const AGE_ALLOWED: &str = "age=TIME (1s to 1d: s, m, h, d)";
const SPOOL_ALLOWED: &str = "spool=SIZE (4MiB to 1024TiB, at least four times size=)";
const SPOOL_DIR_ALLOWED: &str = "spool-dir=DIR";

/// Help of outputs to segments.
pub(super) const HELP: &str = "\
Options of parquet: sensor=NAME (default: --sensor); size=SIZE (1MiB to 1GiB, default 64MiB) and age=TIME (1s to 1d, \
default 1m): when a segment is closed; spool=SIZE (at least four times size=, default 1GiB): so much waits while the store is \
away, then new records are dropped and counted; spool-dir=DIR of buckets (default /var/lib/synledger/spool; of a folder \
DIR/.spool). The program synledger-parquet turns segments into files; it is started where it lies beside this one.
";

/// An output's spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// Where files go in the end: a folder, or `s3://BUCKET/PREFIX`.
    pub to: String,
    /// `sensor=`.
    pub sensor: Option<String>,
    /// `size=`: a segment is closed at this size.
    pub segment_bytes: u64,
    /// `age=`: a segment is closed so long after its first record.
    pub age_ns: i64,
    /// `spool=`: so much may wait.
    pub bytes_max: u64,
    /// `spool-dir=`.
    folder: Option<PathBuf>,
}

impl Spool {
    /// Of files that go there, with the defaults of all options.
    ///
    /// # Errors
    ///
    /// What is wrong with the place.
    pub(super) fn of(to: &str) -> Result<Self, String> {
        if let Some(bucket) = to.strip_prefix("s3://") {
            if bucket.is_empty() || bucket.starts_with('/') {
                return Err("names no bucket".into());
            }
        } else if to.contains("://") {
            return Err("is neither a folder nor s3://BUCKET/PREFIX".into());
        } else if matches!(to, "-" | "/dev/stdout" | "/dev/stderr") {
            return Err("it writes several files: name a folder".into());
        }
        Ok(Self {
            to: to.to_owned(),
            sensor: None,
            segment_bytes: 64 << 20,
            age_ns: 60_000_000_000,
            bytes_max: 1 << 30,
            folder: None,
        })
    }

    /// Whether files go to a bucket.
    pub fn is_bucket(&self) -> bool {
        self.to.starts_with("s3://")
    }

    /// Where segments lie.
    pub fn folder(&self) -> PathBuf {
        match &self.folder {
            Some(folder) => folder.clone(),
            None if self.is_bucket() => SPOOL.into(),
            None => Path::new(&self.to).join(IN_FOLDER),
        }
    }

    /// The name for the paths of files where `sensor=` gives none: this one, with `-` for letters that a path cannot have.
    pub fn set_default_sensor(&mut self, name: &str) {
        let letters = name.chars().take(NAME_MAX);
        let name: String = letters
            .map(|letter| if is_letter(letter) { letter } else { '-' })
            .collect();
        self.sensor.get_or_insert_with(|| {
            if name.is_empty() {
                NAMELESS.into()
            } else {
                name
            }
        });
    }

    /// The sensor's name, for the paths of files.
    pub fn sensor_name(&self) -> &str {
        self.sensor.as_deref().unwrap_or(NAMELESS)
    }

    /// Allowed values of its options.
    pub(super) fn allowed(&self) -> Vec<&'static str> {
        let mut all = vec![SENSOR_ALLOWED, SIZE_ALLOWED, AGE_ALLOWED, SPOOL_ALLOWED];
        if self.is_bucket() {
            all.push(SPOOL_DIR_ALLOWED);
        }
        all
    }

    /// Sets an option. False: there is no such option.
    ///
    /// # Errors
    ///
    /// What is wrong, and what is allowed.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<bool, (String, String)> {
        let wrong = |allowed: &str| {
            let wrong = format!("{name}: \"{value}\" is out of range");
            (wrong, allowed.to_owned())
        };
        match name {
            "sensor" => {
                let fits = (1..=NAME_MAX).contains(&value.len()) && value.chars().all(is_letter);
                let name = fits.then(|| value.to_owned());
                self.sensor = Some(name.ok_or_else(|| wrong(SENSOR_ALLOWED))?);
            }
            "size" => {
                let bytes = size(value).filter(|bytes| (FILE_BYTES_MIN..=1 << 30).contains(bytes));
                self.segment_bytes = bytes.ok_or_else(|| wrong(SIZE_ALLOWED))?;
            }
            "age" => {
                let allowed = 1_000_000_000..=86_400_000_000_000;
                let ns = length_ns(value).filter(|ns| allowed.contains(ns));
                self.age_ns = ns.ok_or_else(|| wrong(AGE_ALLOWED))?;
            }
            "spool" => {
                let bytes = size(value).filter(|bytes| (4 << 20..=1 << 50).contains(bytes));
                self.bytes_max = bytes.ok_or_else(|| wrong(SPOOL_ALLOWED))?;
            }
            "spool-dir" if self.is_bucket() => {
                let folder = (!value.is_empty()).then(|| PathBuf::from(value));
                self.folder = Some(folder.ok_or_else(|| wrong(SPOOL_DIR_ALLOWED))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Checks options against one another.
    ///
    /// # Errors
    ///
    /// What is wrong, and what is allowed.
    pub(super) fn fit(&self) -> Result<(), (String, String)> {
        match self.bytes_max / 4 < self.segment_bytes {
            true => Err((
                "spool: is less than four segments of size=".to_owned(),
                SPOOL_ALLOWED.to_owned(),
            )),
            false => Ok(()),
        }
    }
}

fn is_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-')
}
