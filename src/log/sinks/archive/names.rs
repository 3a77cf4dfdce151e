//! Names of closed files: of what, since when, compressed or not. Only files with such a name are ever removed.

use crate::log::sinks::rotation::{ZEEK, stamp};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

const NS_PER_S: i64 = 1_000_000_000;
const BASIC: &str = "%Y%m%dT%H%M%SZ";

/// A file's place among those of its name: the second when it was begun, and a number within that second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Since the Unix epoch.
    pub second: i64,
    /// 0: the first.
    pub number: u32,
}

/// What a closed file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Records, as they were written.
    Plain,
    /// The same, compressed.
    Gzip,
    /// An unfinished [`Form::Gzip`].
    Part,
}

/// How the closed files of one open file are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    folder: PathBuf,
    /// Before the time.
    before: OsString,
    zeek: bool,
}

impl Names {
    /// `eve.json.20261130T101500Z.gz`, beside `path`. Names sort by time.
    pub fn of_file(path: &Path) -> Self {
        let mut before = path.file_name().unwrap_or_default().to_owned();
        before.push(".");
        Self {
            folder: super::super::spec::folder(path).to_owned(),
            before,
            zeek: false,
        }
    }

    /// `conn.2026-11-29-05-00-00.log.gz`, as Zeek has them.
    pub fn of_stream(folder: &Path, name: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            before: format!("{name}.").into(),
            zeek: true,
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a closed file.
    pub fn path(&self, place: Place, form: Form) -> PathBuf {
        let Place { second, number } = place;
        let mut name = self.before.clone();
        let (pattern, end) = match self.zeek {
            true => (ZEEK, ".log"),
            false => (BASIC, ""),
        };
        name.push(stamp(pattern, second));
        match (self.zeek, number) {
            (_, 0) => {}
            (true, number) => name.push(format!("-{number}")),
            // Behind the dot of an ending, so that names sort.
            (false, number) => name.push(format!("_{number:03}")),
        }
        name.push(end);
        name.push(match form {
            Form::Plain => "",
            Form::Gzip => ".gz",
            Form::Part => ".gz.part",
        });
        self.folder.join(name)
    }

    /// What a file of the folder is by its name; `None`: none of ours.
    pub fn parse(&self, file: &OsStr) -> Option<(Place, Form)> {
        let inner = file.as_bytes().strip_prefix(self.before.as_bytes())?;
        let inner = str::from_utf8(inner).ok()?;
        let (inner, form) = match inner.strip_suffix(".gz") {
            Some(inner) => (inner, Form::Gzip),
            None => match inner.strip_suffix(".gz.part") {
                Some(inner) => (inner, Form::Part),
                None => (inner, Form::Plain),
            },
        };
        let (pattern, inner, between) = match self.zeek {
            true => (ZEEK, inner.strip_suffix(".log")?, '-'),
            false => (BASIC, inner, '_'),
        };
        let len = if self.zeek { 19 } else { 16 };
        let (moment, number) = inner.split_at_checked(len)?;
        let number = match number.strip_prefix(between) {
            Some(number) => number.parse().ok()?,
            None if number.is_empty() => 0,
            None => return None,
        };
        let moment = DateTime::strptime(pattern, moment).ok()?;
        let second = moment.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
        let place = Place { second, number };
        // Each place has one name.
        (self.path(place, form).file_name() == Some(file)).then_some((place, form))
    }

    /// A free place for a file that was begun then, behind `last`.
    pub fn free(&self, begun_ns: i64, last: Option<Place>) -> Place {
        let second = begun_ns.div_euclid(NS_PER_S);
        let first = match last {
            Some(last) if last.second == second => last.number + 1,
            _ => 0,
        };
        let is_free = |number: &u32| {
            let place = Place {
                second,
                number: *number,
            };
            let path = |form| self.path(place, form);
            [Form::Plain, Form::Gzip]
                .iter()
                .all(|form| path(*form).symlink_metadata().is_err())
        };
        let number = (first..).find(is_free);
        Place {
            second,
            number: number.expect("numbers do not end before free names"),
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = self.before.clone().into_vec();
        name.extend_from_slice(b"*");
        f.write_str(&crate::words::shown(
            &self.folder.join(OsString::from_vec(name)),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(second: i64, number: u32) -> Place {
        Place { second, number }
    }

    #[test]
    fn names_sort_by_time_and_read_back_and_those_of_others_are_none() {
        let eve = Names::of_file(Path::new("/x/eve.json"));
        let conn = Names::of_stream(Path::new("/x"), "conn");
        let places = [
            place(0, 0),
            place(0, 1),
            place(0, 10),
            place(1, 0),
            place(1_700_000_000, 0),
            place(1_700_000_000, 123),
        ];
        for names in [&eve, &conn] {
            for form in [Form::Plain, Form::Gzip, Form::Part] {
                for one in places {
                    let path = names.path(one, form);
                    let file = path.file_name().expect("a name");
                    assert_eq!(names.parse(file), Some((one, form)), "{file:?}");
                }
            }
        }
        for form in [Form::Plain, Form::Gzip] {
            assert!(places.map(|one| eve.path(one, form)).is_sorted());
        }
        let gz = eve.path(places[4], Form::Gzip);
        assert_eq!(gz, Path::new("/x/eve.json.20231114T221320Z.gz"));
        for other in [
            "eve.json",
            "eve.json.",
            "eve.json.1",
            "eve.json.gz",
            "eve.json.20231314T221320Z",
            "eve.json.20231114T221320",
            "eve.json.20231114T221320Z.bz2",
            "eve.json.20231114T221320Z_1",
            "eve.json.20231114T221320Z_-01",
            "eve.json.20231114T221320Z_000",
            "eve.jso.20231114T221320Z",
            "eve.json.2023-11-14-22-13-20",
            "xeve.json.20231114T221320Z",
        ] {
            assert_eq!(eve.parse(OsStr::new(other)), None, "{other}");
        }
        for other in [
            "conn.log",
            "conn.2023-11-14-22-13-20",
            "conn.2023-11-14-22-13-20-0.log",
            "conn.2023-11-31-22-13-20.log",
        ] {
            assert_eq!(conn.parse(OsStr::new(other)), None, "{other}");
        }
    }

    #[test]
    fn a_free_place_is_behind_earlier_ones_compressed_or_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = Names::of_file(&folder.path().join("log"));
        assert_eq!(names.free(5 * NS_PER_S, None), place(5, 0));
        for (number, form) in [(0, Form::Plain), (1, Form::Gzip)] {
            std::fs::write(names.path(place(5, number), form), "").expect("a file");
        }
        assert_eq!(names.free(5 * NS_PER_S, None), place(5, 2));
        assert_eq!(names.free(5 * NS_PER_S, Some(place(5, 7))), place(5, 8));
        assert_eq!(names.free(6 * NS_PER_S, Some(place(5, 7))), place(6, 0));
    }
}
