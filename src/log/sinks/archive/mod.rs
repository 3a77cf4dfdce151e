//! Closed files of all outputs: compressed, and removed where limits say so.
//!
//! The logger closes files by renaming them and tells so. The archiver, a thread of its own with low priority, compresses
//! them and removes the oldest ahead of need. Only where it is late does the logger remove a file itself: limits hold at
//! any moment.

mod archiver;
mod compress;
mod ledger;
mod names;
mod rate;

use super::rotation::{FILES_AHEAD, NameStamp, Rotation, Size};
use super::spec::folder;
use crate::words::{many, shown};
use ledger::{Closed, Ledger, REACH_MAX_S, Series};
pub use names::{Form, Names, Place};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

const ROTATED: &str = "rotated";
const REMOVED: &str = "removed";
const COMPRESSED: &str = "compressed";

/// The closed files of all outputs. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Archive(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the archiver.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ledger: Ledger,
    /// What fails in which folder: it is reported once until it succeeds.
    failed: BTreeSet<(&'static str, PathBuf)>,
    /// Failures that are not yet reported.
    new: Vec<String>,
    stop: Option<Stop>,
}

/// How the archiver ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// At once: the next run compresses what is left.
    Now,
    /// Once all is compressed.
    WhenDone,
}

impl State {
    /// `what`: a participle.
    fn fail(&mut self, path: &Path, what: &'static str, error: &io::Error) {
        if self.failed.insert((what, folder(path).to_owned())) {
            let text = format!("{} cannot be {what}: {error}", shown(path));
            self.new.push(text);
        }
    }

    fn succeed(&mut self, path: &Path, what: &'static str) {
        if !self.failed.is_empty() {
            self.failed.remove(&(what, folder(path).to_owned()));
        }
    }
}

/// How far back an output reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    /// Place of the output on the command line.
    pub output: usize,
    /// Seconds.
    pub seconds: f64,
}

impl Archive {
    /// Limits the bytes of all files.
    pub fn limit(&self, budget: Option<u64>) {
        self.state().ledger.budget = budget;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same without waiting: the archiver may have lost the CPU while it held the lock. For what can come later.
    fn try_state(&self) -> Option<MutexGuard<'_, State>> {
        self.0.state.try_lock().ok()
    }

    /// Adds the files of a name. Without `rotate=` they only get their names.
    pub fn add(&self, names: Names, output: usize, rotation: Rotation) -> Shelf {
        let mut shelf = Shelf {
            names: names.clone(),
            last: None,
            series: None,
        };
        if rotation.is_on() {
            let mut series = Series::new(names, output, rotation);
            series.closed = archiver::closed_files(&series.names).unwrap_or_default();
            shelf.series = Some((self.clone(), self.state().ledger.add(series)));
        }
        shelf
    }

    /// Forgets the files of an output that was removed: they stay as they are, and count nowhere.
    pub fn forget(&self, output: usize) {
        let mut state = self.state();
        let all = state.ledger.series.iter_mut();
        all.filter(|series| series.output == output)
            .for_each(Series::forget);
    }

    /// Failures since the last call, each a sentence.
    pub fn take_failures(&self) -> Vec<String> {
        let state = self.try_state();
        state.map_or_else(Vec::new, |mut state| std::mem::take(&mut state.new))
    }

    /// How far back each output with limits reaches: of several names, the one that reaches least.
    pub fn reach(&self, now_ns: i64) -> Vec<Reach> {
        let mut all: BTreeMap<usize, f64> = BTreeMap::new();
        for (output, seconds) in self.state().ledger.reach_s(now_ns) {
            if let Some(seconds) = seconds {
                let least = all.entry(output).or_insert(seconds);
                *least = least.min(seconds);
            }
        }
        let each = |(output, seconds)| Reach { output, seconds };
        all.into_iter().map(each).collect()
    }

    /// A line for each name: which closed files there are, and how far back it will reach at their rate.
    pub fn describe(&self, now_ns: i64) -> Vec<String> {
        let state = self.state();
        let reaches = state.ledger.reach_s(now_ns).map(|(_, reach_s)| reach_s);
        let each = |(series, reach_s): (&Series, Option<f64>)| {
            let files = many(series.closed.len(), "closed file");
            let bytes = Size(series.closed_bytes());
            let names = &series.names;
            match series.closed.first() {
                None => format!("{names}: no closed file"),
                Some(first) => {
                    let since = NameStamp(first.place.second.saturating_mul(1_000_000_000));
                    let reach = reach_s.map_or("no limit".to_owned(), |reach_s| {
                        format!("limits reach {} back at their rate", days(reach_s))
                    });
                    format!("{names}: {files}, {bytes}, since {since}; {reach}")
                }
            }
        };
        state.ledger.series.iter().zip(reaches).map(each).collect()
    }

    /// Ends the archiver.
    pub fn stop(&self, how: Stop) {
        self.state().stop = Some(how);
        self.0.changed.notify_all();
    }
}

/// The closed files of one name, for the sink that writes them.
#[derive(Debug)]
pub struct Shelf {
    /// Where they are counted; `None`: nowhere.
    series: Option<(Archive, usize)>,
    names: Names,
    /// The last file that was closed.
    last: Option<Place>,
}

impl Shelf {
    /// Renames the file at `path`, which was begun at `begun_ns` and has `bytes`, to its name as a closed one.
    ///
    /// # Errors
    ///
    /// The file keeps its name.
    pub fn put(&mut self, path: &Path, begun_ns: i64) -> io::Result<Place> {
        let place = self.names.free(begun_ns, self.last);
        fs::rename(path, self.names.path(place, Form::Plain))?;
        self.last = Some(place);
        Ok(place)
    }

    /// Renames it back: no other could be opened.
    ///
    /// # Errors
    ///
    /// It keeps its name as a closed one.
    pub fn take_back(&self, place: Place, path: &Path) -> io::Result<()> {
        fs::rename(self.names.path(place, Form::Plain), path)
    }

    /// Counts a file that was put there, and makes room for the next.
    pub fn closed(&self, place: Place, begun_ns: i64) {
        let Some((archive, at)) = &self.series else {
            return;
        };
        let path = self.names.path(place, Form::Plain);
        let bytes = path.symlink_metadata().map_or(0, |about| about.len());
        let mut state = archive.state();
        let series = &mut state.ledger.series[*at];
        series.changes += 1;
        series.open_since_ns = None;
        series.put(Closed {
            place,
            begun_ns,
            bytes,
            plain_bytes: Some(bytes),
            form: Form::Plain,
            leaving: false,
        });
        // The archiver keeps one file more free, so this is rare.
        while let Some((at, place)) = state.ledger.surplus(FILES_AHEAD - 1) {
            remove(&mut state, at, place);
        }
        drop(state);
        archive.0.changed.notify_all();
    }

    /// Whether its bytes count in a limit.
    pub fn is_limited(&self) -> bool {
        self.series.as_ref().is_some_and(|(archive, at)| {
            let ledger = &archive.state().ledger;
            ledger.budget.is_some() || ledger.series[*at].rotation.keep.is_some()
        })
    }

    /// Reports the open file: begun at `begun_ns`; `total` bytes were written in this run.
    pub fn report(&self, begun_ns: i64, total: u64, now_ns: i64) {
        if let Some((archive, at)) = &self.series
            && let Some(mut state) = archive.try_state()
        {
            let series = &mut state.ledger.series[*at];
            series.open_since_ns = Some(begun_ns);
            series.rate.update(total, now_ns);
        }
    }

    /// Reports a rotation that failed, once until one succeeds.
    pub fn fail(&self, path: &Path, error: &io::Error) {
        if let Some((archive, _)) = &self.series {
            archive.state().fail(path, ROTATED, error);
        }
    }

    /// A rotation of this file succeeded.
    pub fn succeed(&self, path: &Path) {
        if let Some((archive, _)) = &self.series {
            archive.state().succeed(path, ROTATED);
        }
    }
}

/// A length of time for a person.
fn days(seconds: f64) -> String {
    match seconds {
        short if short < 7_200.0 => format!("{:.0} min", short / 60.0),
        middle if middle < 172_800.0 => format!("{:.0} h", middle / 3_600.0),
        long if long < REACH_MAX_S => format!("{:.0} days", long / 86_400.0),
        _ => "ten years".to_owned(),
    }
}

/// Removes a closed file that [`Ledger::surplus`] named.
fn remove(state: &mut State, at: usize, place: Place) {
    let series = &mut state.ledger.series[at];
    let Some(file) = series.at(place) else { return };
    file.leaving = true;
    let path = path_of(&state.ledger, at, place);
    let done = path.as_ref().map_or(Ok(()), |path| unlink(path));
    conclude(state, at, place, path.as_deref().zip(Some(done)));
}

/// Where a closed file lies.
fn path_of(ledger: &Ledger, at: usize, place: Place) -> Option<PathBuf> {
    let series = &ledger.series[at];
    let file = series.closed.iter().find(|one| one.place == place)?;
    Some(series.names.path(place, file.form))
}

/// Notes that a file was removed, or why not: it then stays `leaving` until the next look at the folder.
fn conclude(state: &mut State, at: usize, place: Place, done: Option<(&Path, io::Result<()>)>) {
    if let Some((path, Err(error))) = &done {
        return state.fail(path, REMOVED, error);
    }
    if let Some((path, _)) = done {
        state.succeed(path, REMOVED);
    }
    let series = &mut state.ledger.series[at];
    series.closed.retain(|one| one.place != place);
    series.is_full = true;
}

/// Removes a regular file. One that is gone is as good.
fn unlink(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
