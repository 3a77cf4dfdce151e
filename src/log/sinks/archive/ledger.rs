//! Which closed files there are, which of them must go, and how far back they reach. Touches no file.

use super::names::{Form, Names, Place};
use super::rate::Rate;
use crate::log::sinks::rotation::{FILES_AHEAD, Keep, Rotation};

const NS_PER_S: f64 = 1e9;
/// No gauge says more.
pub const REACH_MAX_S: f64 = 10.0 * 365.0 * 86_400.0;

/// A closed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    pub place: Place,
    /// When it was begun; of files of earlier runs the second alone is known.
    pub begun_ns: i64,
    pub bytes: u64,
    /// Bytes before compression; `None`: unknown.
    pub plain_bytes: Option<u64>,
    /// [`Form::Plain`] or [`Form::Gzip`].
    pub form: Form,
    /// It is being removed, or could not be.
    pub leaving: bool,
}

/// The files of one name.
#[derive(Debug)]
pub struct Series {
    pub names: Names,
    /// The output that writes them.
    pub output: usize,
    pub rotation: Rotation,
    /// By place.
    pub closed: Vec<Closed>,
    /// When the open file was begun; `None`: none is open.
    pub open_since_ns: Option<i64>,
    pub rate: Rate,
    /// The limits have removed a file: what is left is as much as they allow.
    pub is_full: bool,
    /// Files closed by this run.
    pub changes: u64,
}

impl Series {
    pub fn new(names: Names, output: usize, rotation: Rotation) -> Self {
        Self {
            names,
            output,
            rotation,
            closed: Vec::new(),
            open_since_ns: None,
            rate: Rate::default(),
            is_full: false,
            changes: 0,
        }
    }

    /// Its output was removed: no limit is left, and nothing to be done.
    pub fn forget(&mut self) {
        let changes = self.changes + 1;
        *self = Self {
            changes,
            ..Self::new(self.names.clone(), self.output, Rotation::default())
        };
    }

    /// Whether its output was removed.
    pub fn is_forgotten(&self) -> bool {
        !self.rotation.is_on()
    }

    pub fn closed_bytes(&self) -> u64 {
        self.closed.iter().map(|one| one.bytes).sum()
    }

    /// Bytes that closed files must leave: with `files` of [`FILES_AHEAD`] for what is not closed.
    fn ahead_bytes(&self, files: u64) -> u64 {
        self.rotation.bytes.unwrap_or(0).saturating_mul(files)
    }

    /// The oldest file that may still be removed.
    fn oldest(&self) -> Option<Place> {
        let mut staying = self.closed.iter().filter(|one| !one.leaving);
        staying.next().map(|one| one.place)
    }

    /// `keep=` is exceeded, where so many files are kept free for what is not closed.
    fn exceeds(&self, files: u64) -> bool {
        match self.rotation.keep {
            None => false,
            Some(Keep::Files(keep)) => {
                let staying = self.closed.iter().filter(|one| !one.leaving).count() as u64;
                // One more until the archiver has removed it.
                staying + files > u64::from(keep) + FILES_AHEAD
            }
            Some(Keep::Bytes(keep)) => self.closed_bytes() + self.ahead_bytes(files) > keep,
        }
    }

    /// Takes what was found in the folder, and keeps what is known better.
    pub fn take(&mut self, mut found: Vec<Closed>) {
        for file in &mut found {
            if let Some(known) = self.at(file.place) {
                file.begun_ns = known.begun_ns;
                file.plain_bytes = file.plain_bytes.or(known.plain_bytes);
            }
        }
        self.is_full &= !found.is_empty();
        self.closed = found;
    }

    /// Adds or replaces a closed file.
    pub fn put(&mut self, file: Closed) {
        match self
            .closed
            .binary_search_by_key(&file.place, |one| one.place)
        {
            Ok(at) => self.closed[at] = file,
            Err(at) => self.closed.insert(at, file),
        }
    }

    pub fn at(&mut self, place: Place) -> Option<&mut Closed> {
        self.closed.iter_mut().find(|one| one.place == place)
    }

    /// Age of the oldest record, in seconds.
    fn age_s(&self, now_ns: i64) -> f64 {
        // One that is leaving may be gone: the archiver gets little CPU time.
        let mut staying = self.closed.iter().filter(|one| !one.leaving);
        let closed = staying.next().map(|one| one.begun_ns);
        let since_ns = closed.or(self.open_since_ns);
        since_ns.map_or(0.0, |since_ns| {
            now_ns.saturating_sub(since_ns).max(0) as f64 / NS_PER_S
        })
    }

    /// Bytes on the disk that a second takes once it is compressed; `None`: unknown.
    fn disk_rate(&self) -> Option<f64> {
        self.rate.disk_per_s(self.ratio(), self.prior_rate())
    }

    /// What compression leaves. A newest file that is not yet compressed does not count.
    fn ratio(&self) -> f64 {
        let newest = self.closed.last().map(|one| one.place);
        let is_known =
            |one: &&Closed| one.form == Form::Gzip || newest.is_some_and(|last| last != one.place);
        let known = self.closed.iter().filter(is_known);
        let sizes = known.filter_map(|one| Some((one.bytes, one.plain_bytes?)));
        let (left, plain) = sizes.fold((0, 0), |(left, plain), (bytes, before)| {
            (left + bytes, plain + before)
        });
        match plain {
            0 => 1.0,
            plain => left as f64 / plain as f64,
        }
    }

    /// Whether nothing is known of compression.
    pub fn is_unpressed(&self) -> bool {
        !(self.closed.iter()).any(|one| one.form == Form::Gzip && one.plain_bytes.is_some())
    }

    /// The same, by the files that are there: bytes of closed ones over the time from the first to the last.
    fn prior_rate(&self) -> Option<f64> {
        let (last, earlier) = self.closed.split_last()?;
        let seconds = last.place.second - earlier.first()?.place.second;
        let bytes: u64 = earlier.iter().map(|one| one.bytes).sum();
        (seconds > 0).then(|| bytes as f64 / seconds as f64)
    }

    /// How far `keep=` will let it reach at the present rate, in seconds; `None`: it sets no limit.
    fn projected_s(&self) -> Option<f64> {
        match self.rotation.keep? {
            Keep::Bytes(keep) => {
                let bytes = keep.saturating_sub(self.ahead_bytes(FILES_AHEAD));
                Some(bytes as f64 / self.disk_rate().unwrap_or(0.0))
            }
            Keep::Files(keep) => {
                let written = self.disk_rate().unwrap_or(0.0) / self.ratio();
                let by_size = self.rotation.bytes.map(|bytes| bytes as f64 / written);
                let by_time = self.rotation.every_s.map(f64::from);
                let span_s = by_size.unwrap_or(f64::MAX).min(by_time.unwrap_or(f64::MAX));
                // The open file is half full on average.
                Some((f64::from(keep) + 0.5) * span_s)
            }
        }
    }
}

/// All files, and their common budget.
#[derive(Debug, Default)]
pub struct Ledger {
    pub budget: Option<u64>,
    pub series: Vec<Series>,
}

impl Ledger {
    /// Adds a series and returns its place: that of the same files if they were forgotten.
    pub fn add(&mut self, series: Series) -> usize {
        let same = |known: &Series| known.is_forgotten() && known.names == series.names;
        match self.series.iter().position(same) {
            Some(at) => {
                let changes = self.series[at].changes + 1;
                self.series[at] = Series { changes, ..series };
                at
            }
            None => {
                self.series.push(series);
                self.series.len() - 1
            }
        }
    }

    /// A file to be removed: its series and place. `ahead`: files of each series, of [`FILES_AHEAD`], that need room
    /// beside the closed ones.
    pub fn surplus(&self, ahead: u64) -> Option<(usize, Place)> {
        let of_keep = |(at, series): (usize, &Series)| {
            let oldest = series.oldest()?;
            series.exceeds(ahead).then_some((at, oldest))
        };
        if let Some(found) = self.series.iter().enumerate().find_map(of_keep) {
            return Some(found);
        }
        let all = self.series.iter();
        let used: u64 = all
            .map(|series| series.closed_bytes() + series.ahead_bytes(ahead))
            .sum();
        if self.budget.is_none_or(|budget| used <= budget) {
            return None;
        }
        let all = self.series.iter().enumerate();
        let oldest = all.filter_map(|(at, series)| Some((series.oldest()?, at)));
        oldest.min().map(|(place, at)| (at, place))
    }

    /// The newest file that is not compressed: it stays longest.
    pub fn plain(&self) -> Option<(usize, Place)> {
        let each = |(at, series): (usize, &Series)| {
            let mut plain = series.closed.iter().rev();
            let file = plain.find(|one| one.form == Form::Plain && !one.leaving)?;
            Some((file.place, at))
        };
        let all = self.series.iter().enumerate().filter_map(each);
        all.max().map(|(place, at)| (at, place))
    }

    /// How far back each series reaches, in seconds: the age of the oldest record once limits remove files; before, as
    /// far as it will at the present rate. `None`: it has no limit.
    pub fn reach_s(&self, now_ns: i64) -> impl Iterator<Item = (usize, Option<f64>)> {
        let together = self.budget.map(|budget| {
            let ahead = self.series.iter().map(|one| one.ahead_bytes(FILES_AHEAD));
            let bytes = budget.saturating_sub(ahead.sum());
            let rates = self.series.iter().filter_map(Series::disk_rate);
            bytes as f64 / rates.sum::<f64>()
        });
        self.series.iter().map(move |series| {
            let own = series.projected_s();
            let limits = [own, together].into_iter().flatten();
            let projected_s = limits.reduce(f64::min);
            let age_s = series.age_s(now_ns);
            let reach_s = projected_s.filter(|_| !series.is_forgotten());
            let reach_s = reach_s.map(|projected_s| match series.is_full {
                true => age_s,
                false => projected_s.max(age_s),
            });
            (series.output, reach_s.map(|one| one.min(REACH_MAX_S)))
        })
    }
}

#[cfg(test)]
mod tests;
