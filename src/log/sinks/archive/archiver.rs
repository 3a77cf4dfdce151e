//! The archiver's thread.

use super::compress::{compress, plain_bytes};
use super::ledger::Closed;
use super::names::{Form, Names, Place};
use super::{Archive, COMPRESSED, FILES_AHEAD, REMOVED, Stop, conclude, path_of, unlink};
use crate::time::clock::monotonic_ns;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

/// Folders are looked at so often, whatever happens.
const INTERVAL_NS: u64 = 10_000_000_000;
/// A file that could not be compressed is tried again after this time.
const RETRY_NS: i64 = 60_000_000_000;

/// The closed files of a name, by place.
///
/// # Errors
///
/// The folder cannot be read.
pub(super) fn closed_files(names: &Names) -> io::Result<Vec<Closed>> {
    Ok(look(names)?.closed)
}

/// What lies in a folder.
#[derive(Default)]
struct Found {
    closed: Vec<Closed>,
    /// What a killed run left: compressed files that are not whole, and plain ones beside their compressed form.
    useless: Vec<PathBuf>,
}

fn look(names: &Names) -> io::Result<Found> {
    let mut all: Vec<(Place, Form, u64)> = Vec::new();
    for entry in fs::read_dir(names.folder())? {
        let entry = entry?;
        let Some((place, form)) = names.parse(&entry.file_name()) else {
            continue;
        };
        // Not followed.
        let Ok(about) = entry.metadata() else {
            continue;
        };
        if about.is_file() {
            all.push((place, form, about.len()));
        }
    }
    all.sort_unstable_by_key(|(place, ..)| *place);
    let of_form = |wanted| {
        let of_form = all.iter().filter(move |(_, form, _)| *form == wanted);
        of_form
            .map(|(place, ..)| *place)
            .collect::<BTreeSet<Place>>()
    };
    let whole = of_form(Form::Gzip);
    let is_useless = |place: &Place, form: Form| match form {
        Form::Part => true,
        Form::Plain => whole.contains(place),
        Form::Gzip => false,
    };
    let (useless, closed): (Vec<_>, Vec<_>) =
        (all.iter()).partition(|(place, form, _)| is_useless(place, *form));
    let path = |(place, form, _): &(Place, Form, u64)| names.path(*place, *form);
    let file = |(place, form, bytes): &(Place, Form, u64)| Closed {
        place: *place,
        begun_ns: place.second.saturating_mul(1_000_000_000),
        bytes: *bytes,
        plain_bytes: (*form == Form::Plain).then_some(*bytes),
        form: *form,
        leaving: false,
    };
    Ok(Found {
        useless: useless.into_iter().map(path).collect(),
        closed: closed.into_iter().map(file).collect(),
    })
}

impl Archive {
    /// Compresses and removes closed files until [`Archive::stop`].
    pub fn run(&self) {
        let mut looked_ns = None;
        let mut failed: Option<(i64, u64)> = None;
        loop {
            let now_ns = monotonic_ns();
            let is_old = |looked_ns: i64| now_ns.abs_diff(looked_ns) >= INTERVAL_NS;
            if looked_ns.is_none_or(is_old) {
                self.look();
                looked_ns = Some(now_ns);
            }
            self.make_room();
            let stop = self.state().stop;
            if stop == Some(Stop::Now) {
                return;
            }
            let rests = failed.is_some_and(|(failed_ns, changes)| {
                now_ns - failed_ns < RETRY_NS && changes == self.changes()
            });
            if !rests {
                match self.compress_one() {
                    Some(true) => continue,
                    Some(false) => failed = Some((now_ns, self.changes())),
                    None => failed = None,
                }
            }
            if stop.is_some() {
                return;
            }
            let rests = failed.is_some();
            let state = self.state();
            let ledger = &state.ledger;
            let is_done = ledger.surplus(FILES_AHEAD).is_none();
            if state.stop.is_none() && is_done && (rests || ledger.plain().is_none()) {
                let woken = self
                    .0
                    .changed
                    .wait_timeout(state, Duration::from_nanos(INTERVAL_NS));
                drop(woken.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// Everything that there is to do now, in the calling thread.
    #[cfg(test)]
    pub(crate) fn tend(&self) {
        self.stop(Stop::WhenDone);
        self.run();
        self.state().stop = None;
    }

    /// Looks at the folders: other programs may have removed files, or the folder itself.
    fn look(&self) {
        let count = self.state().ledger.series.len();
        for at in 0..count {
            let (names, changes, is_unpressed) = {
                let state = self.state();
                let series = &state.ledger.series[at];
                if series.is_forgotten() {
                    continue;
                }
                (series.names.clone(), series.changes, series.is_unpressed())
            };
            let mut found = match look(&names) {
                Err(error) if error.kind() == ErrorKind::NotFound => Found::default(),
                // Not ours to read now.
                Err(_) => continue,
                Ok(found) => found,
            };
            let mut gone = found.useless.iter().map(|path| (path, unlink(path)));
            let refused = gone.find_map(|(path, done)| Some((path, done.err()?)));
            let mut pressed = found.closed.iter_mut().rev();
            if let Some(newest) = pressed.find(|one| is_unpressed && one.form == Form::Gzip) {
                newest.plain_bytes = plain_bytes(&names.path(newest.place, Form::Gzip));
            }
            let mut state = self.state();
            if let Some((path, error)) = refused {
                state.fail(path, REMOVED, &error);
            }
            let series = &mut state.ledger.series[at];
            // A file that was closed meanwhile may be missing in what was found: next time.
            if series.changes == changes {
                series.take(found.closed);
            }
        }
    }

    /// Removes files until what comes next has room.
    fn make_room(&self) {
        loop {
            let mut state = self.state();
            let Some((at, place)) = state.ledger.surplus(FILES_AHEAD) else {
                return;
            };
            let Some(path) = path_of(&state.ledger, at, place) else {
                return;
            };
            if let Some(file) = state.ledger.series[at].at(place) {
                file.leaving = true;
            }
            drop(state);
            // Without the lock: a large file takes a while.
            let done = unlink(&path);
            conclude(&mut self.state(), at, place, Some((&path, done)));
        }
    }

    /// Files that this run has closed.
    fn changes(&self) -> u64 {
        let state = self.state();
        state.ledger.series.iter().map(|one| one.changes).sum()
    }

    /// Compresses a file. `None`: there is none; false: it failed.
    fn compress_one(&self) -> Option<bool> {
        let (at, place, names) = {
            let state = self.state();
            let (at, place) = state.ledger.plain()?;
            (at, place, state.ledger.series[at].names.clone())
        };
        let [plain, part, gzip] =
            [Form::Plain, Form::Part, Form::Gzip].map(|form| names.path(place, form));
        let done = compress([&plain, &part, &gzip], || {
            self.make_room();
            let mut state = self.state();
            // Removed meanwhile, or the run ends.
            state.stop != Some(Stop::Now) && state.ledger.series[at].at(place).is_some()
        });
        let mut state = self.state();
        match done {
            Ok(Some((before, bytes))) => {
                state.succeed(&plain, COMPRESSED);
                let series = &mut state.ledger.series[at];
                let is_forgotten = series.is_forgotten();
                match series.at(place) {
                    Some(file) => {
                        (file.bytes, file.form) = (bytes, Form::Gzip);
                        file.plain_bytes = Some(before);
                    }
                    None if is_forgotten => {}
                    // The logger has removed it in the last moment.
                    None => drop(unlink(&gzip)),
                }
                Some(true)
            }
            Ok(None) => Some(true),
            Err(_) if !plain.exists() => {
                // Removed by another program.
                let closed = &mut state.ledger.series[at].closed;
                closed.retain(|one| one.place != place);
                Some(true)
            }
            Err(error) => {
                state.fail(&plain, COMPRESSED, &error);
                Some(false)
            }
        }
    }
}
