//! Several captures as one stream of frames.
//!
//! Files are put in the order of their first time stamps, each is opened when that time comes, and those that overlap
//! are merged by time. A stream (standard input, a named pipe, a device) cannot be looked into before it is read: it
//! keeps its place among the arguments, and the files before and behind it are put in order by themselves.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::batch::{Batch, FRAMES_MAX, Record};
use super::lanes::{Lanes, Mapping};
use super::lookahead::Lookahead;
use super::series::series_of;
use super::{CaptureReader, ReadError, ReadErrorKind, STDIN_NAME};
use crate::capture::frame::LinkType;
use crate::words::shown;

/// Files that are open at a time. Another one that overlaps all of them waits until one has ended.
pub const OPEN_MAX: usize = 16;

/// Memory of an open file: what is read ahead of it, stored and unpacked, and the state of an inflater. The window of a
/// zstd frame comes on top.
pub const OPEN_BYTES: u64 = 576 << 10;

/// What comes next.
#[derive(Debug)]
pub enum Next<'a> {
    /// Frames.
    Frames(Batch<'a>),
    /// A stream has given nothing for a while. Call again.
    Pause,
    /// All captures have ended.
    End,
}

/// A capture that is not open yet.
#[derive(Debug)]
struct Waiting {
    /// Its place among the arguments, from 1 on.
    number: usize,
    path: PathBuf,
    /// Files of one group are sorted among themselves. A stream is a group of its own.
    group: usize,
    /// See [`series_of`].
    series: usize,
    /// Time of its first frame; not known of a group's only file.
    first_ns: i64,
    /// The only one of its group.
    is_alone: bool,
}

/// A capture that is open.
struct Open {
    number: usize,
    group: usize,
    series: usize,
    reader: Lookahead,
    /// `None` before its first frame.
    mapping: Option<Mapping>,
    /// Time of its next frame or, if that is not known, of the last one.
    head_ns: i64,
    /// Index of the last frame's interface.
    interface: u16,
    frames: u64,
}

/// What was read of a capture.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its place among the arguments, from 1 on.
    pub number: usize,
    /// As [`CaptureReader::name`].
    pub name: String,
    /// Frames that were read.
    pub frames: u64,
}

impl Open {
    fn ended(&self) -> Ended {
        Ended {
            number: self.number,
            name: self.reader.reader.name().to_owned(),
            frames: self.frames,
        }
    }
}

/// The frames of several captures.
pub struct Files {
    count: usize,
    waiting: VecDeque<Waiting>,
    open: Vec<Open>,
    /// Index in `open` of the capture whose frame was given out, or that has to give its first one.
    current: usize,
    /// `current` has to step to its next frame.
    steps: bool,
    /// Up to this time it has the next frame, whatever the others have.
    alone_until_ns: i64,
    /// The frames that are given out.
    records: Vec<Record>,
    lanes: Lanes,
    overlap_ns: i64,
    errors: Vec<(usize, ReadError)>,
    notices: Vec<String>,
    is_full_noted: bool,
    /// Captures that have ended.
    ended: Vec<Ended>,
    /// Stored bytes of captures that have ended.
    bytes_done: u64,
    total_bytes: Option<u64>,
}

impl Files {
    /// These captures; `-` is standard input. Captures that overlap by at most `overlap_ns` follow one another.
    pub fn new(paths: &[PathBuf], overlap_ns: i64) -> Self {
        let mut files = Self {
            count: paths.len(),
            ..Self::empty(overlap_ns)
        };
        let lens = paths.iter().map(|path| regular_bytes(path));
        files.total_bytes = lens.sum();
        let mut group = 0;
        let mut all = Vec::new();
        for (number, path) in (1..).zip(paths) {
            let is_stream = is_stream(path);
            group += usize::from(is_stream);
            all.push(Waiting {
                number,
                path: path.clone(),
                group,
                series: 0,
                first_ns: i64::MIN,
                is_alone: true,
            });
            group += usize::from(is_stream);
        }
        let mut sizes = vec![0; group + 1];
        for one in &all {
            sizes[one.group] += 1;
        }
        for mut one in all {
            one.is_alone = sizes[one.group] == 1;
            if !one.is_alone {
                match first_stamp(&one.path) {
                    Ok(Some(first_ns)) => one.first_ns = first_ns,
                    Ok(None) => continue,
                    Err(error) => {
                        files.errors.push((one.number, error));
                        continue;
                    }
                }
            }
            files.waiting.push_back(one);
        }
        let order = |one: &Waiting| (one.group, one.first_ns, one.number);
        files.waiting.make_contiguous().sort_by_key(order);
        let names: Vec<_> = files.waiting.iter().map(|one| name_of(&one.path)).collect();
        for (one, series) in files.waiting.iter_mut().zip(series_of(&names)) {
            one.series = series;
        }
        files
    }

    /// One capture that is open already.
    pub fn of_reader(reader: CaptureReader) -> Self {
        let mut files = Self::empty(0);
        files.count = 1;
        files.enter(Lookahead::new(reader, false), 1, (0, 0));
        files
    }

    fn empty(overlap_ns: i64) -> Self {
        Self {
            count: 0,
            waiting: VecDeque::new(),
            open: Vec::new(),
            current: 0,
            steps: false,
            alone_until_ns: i64::MIN,
            records: Vec::with_capacity(FRAMES_MAX),
            lanes: Lanes::default(),
            overlap_ns,
            errors: Vec::new(),
            notices: Vec::new(),
            is_full_noted: false,
            ended: Vec::new(),
            bytes_done: 0,
            total_bytes: None,
        }
    }

    /// The next frames. Their interface is an index of [`Files::interfaces`].
    pub fn next_batch(&mut self) -> Next<'_> {
        self.records.clear();
        let following = self.following();
        if following.is_none()
            && let Some(none) = self.choose()
        {
            return none;
        }
        let open = &mut self.open[self.current];
        let (bytes, link) = match following {
            Some(link) => (open.reader.reader.taken(), link),
            None => {
                self.steps = true;
                let described = open.reader.reader.interfaces();
                let frame = open.reader.frame().expect("stepped to one");
                let mapping = open.mapping.as_mut().expect("it was chosen");
                open.interface = mapping.index(&frame, described, &mut self.lanes);
                self.records.push(Record::all_of(&frame));
                (frame.bytes, frame.link)
            }
        };
        open.frames += self.records.len() as u64;
        Next::Frames(Batch {
            bytes,
            records: &self.records,
            link,
            interface: open.interface,
            file: open.number,
        })
    }

    /// Takes frames that follow the last one in its capture and in the buffer, before those of all others. `None`: there
    /// are none.
    fn following(&mut self) -> Option<LinkType> {
        let open = self.open.get_mut(self.current).filter(|_| self.steps)?;
        let link = open.reader.batch(self.alone_until_ns, &mut self.records);
        open.head_ns = self.records.last()?.ts_ns;
        link
    }

    /// Makes the capture with the earliest frame the current one. Where there is none, returns what comes instead.
    fn choose(&mut self) -> Option<Next<'static>> {
        loop {
            if self.steps && self.step().is_none() {
                return Some(Next::Pause);
            }
            let head = self.earliest();
            if self.open_due(head.map(|(_, head_ns)| head_ns)) {
                continue;
            }
            let Some((at, head_ns)) = head else {
                return Some(Next::End);
            };
            self.current = at;
            self.alone_until_ns = self.alone_until(at);
            let open = &mut self.open[at];
            if open.mapping.is_none() {
                let name = (open.reader.reader.name(), open.series);
                let lane = self.lanes.enter(name, head_ns, self.overlap_ns);
                open.mapping = Some(Mapping::new(lane));
            }
            return None;
        }
    }

    /// Steps the current capture to its next frame, or closes it; `None` where a stream has to be waited for.
    fn step(&mut self) -> Option<()> {
        let open = &mut self.open[self.current];
        match open.reader.advance() {
            Ok(Some(head_ns)) => open.head_ns = head_ns,
            Ok(None) => self.close(),
            Err(error) if error.kind() == ReadErrorKind::NotYet => return None,
            Err(error) => {
                self.errors.push((open.number, error));
                self.close();
            }
        }
        self.steps = false;
        Some(())
    }

    /// Frames of this open capture up to this time come before those of all others, and before another one is due.
    fn alone_until(&self, at: usize) -> i64 {
        let Open { number, group, .. } = self.open[at];
        let others = self.open.iter().filter(|other| other.number != number);
        // Of equal times, the first argument is first.
        let heads = others.map(|other| match other.number < number {
            true => other.head_ns.saturating_sub(1),
            false => other.head_ns,
        });
        let next = self.waiting.front().filter(|next| next.group == group);
        let due = next.map(|next| next.first_ns.saturating_sub(1));
        heads.chain(due).min().unwrap_or(i64::MAX)
    }

    /// Index and time of the earliest frame of the open captures; of equal ones that of the first argument.
    #[inline]
    fn earliest(&self) -> Option<(usize, i64)> {
        match &self.open[..] {
            [one] => Some((0, one.head_ns)),
            all => {
                let heads = all.iter().enumerate();
                let (at, open) = heads.min_by_key(|(_, open)| (open.head_ns, open.number))?;
                Some((at, open.head_ns))
            }
        }
    }

    /// Opens the next capture, if it is due before a frame of this time. False: nothing was done.
    #[inline]
    fn open_due(&mut self, head_ns: Option<i64>) -> bool {
        let Some(next) = self.waiting.front() else {
            return false;
        };
        if let (Some(head_ns), [open, ..]) = (head_ns, &self.open[..]) {
            if next.group != open.group || head_ns < next.first_ns || !self.is_due(next, head_ns) {
                return false;
            }
            if self.open.len() >= OPEN_MAX {
                self.note_full();
                return false;
            }
        }
        self.open_next();
        true
    }

    /// Whether a capture that begins before a frame of this time is to be opened. It may continue an open one that ends
    /// soon, unless it continues one that has ended.
    fn is_due(&self, next: &Waiting, head_ns: i64) -> bool {
        let latest_ns = next.first_ns.saturating_add(self.overlap_ns);
        head_ns > latest_ns || self.lanes.continues(next.series, latest_ns)
    }

    /// Says once that a capture that is due has to wait.
    #[inline]
    fn note_full(&mut self) {
        if !std::mem::replace(&mut self.is_full_noted, true)
            && let Some(waits) = self.waiting.front()
        {
            let name = name_of(&waits.path);
            self.notices.push(format!(
                "{OPEN_MAX} captures overlap in time, and no more are merged: {name} waits until one of them ends, and \
                 its frames may be late; merge such captures first (mergecap)"
            ));
        }
    }

    #[cold]
    fn open_next(&mut self) {
        let Some(next) = self.waiting.pop_front() else {
            return;
        };
        match open(&next.path) {
            Ok(reader) => {
                let reader = Lookahead::new(reader, !next.is_alone);
                self.enter(reader, next.number, (next.group, next.series));
            }
            Err(error) => self.errors.push((next.number, error)),
        }
    }

    fn enter(&mut self, reader: Lookahead, number: usize, (group, series): (usize, usize)) {
        self.open.push(Open {
            number,
            group,
            series,
            reader,
            mapping: None,
            head_ns: i64::MIN,
            interface: 0,
            frames: 0,
        });
        (self.current, self.steps) = (self.open.len() - 1, true);
    }

    /// Closes the current capture, which has ended.
    #[cold]
    fn close(&mut self) {
        let open = self.open.remove(self.current);
        self.bytes_done += open.reader.reader.bytes_read();
        self.ended.push(open.ended());
        if let Some(mapping) = open.mapping {
            self.lanes.leave(mapping.lane, open.series, open.head_ns);
        }
    }

    /// Names of the interfaces so far, by the index that frames have; empty where there is none.
    pub fn interfaces(&self) -> &[String] {
        self.lanes.names()
    }

    /// The frame that was given out last, in words; where no capture is open, frame 0 of the next one.
    pub fn place(&self) -> Option<String> {
        let (frames, name, number) = match self.open.get(self.current) {
            Some(open) => {
                let name = open.reader.reader.name().to_owned();
                (open.frames, name, open.number)
            }
            None => {
                let next = self.waiting.front()?;
                (0, name_of(&next.path), next.number)
            }
        };
        let mut place = format!("frame {frames} of {name}");
        if self.count > 1 {
            place += &format!(" (file {number} of {})", self.count);
        }
        Some(place)
    }

    /// Takes the errors so far, each with the number of its capture.
    pub fn take_errors(&mut self) -> Vec<(usize, ReadError)> {
        std::mem::take(&mut self.errors)
    }

    /// What was read of each capture that was opened.
    pub fn read(&self) -> impl Iterator<Item = Ended> {
        let open = self.open.iter().map(Open::ended);
        self.ended.iter().cloned().chain(open)
    }

    /// Takes what a person should know and is no error.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Bytes read of the stored captures so far; ahead of the frames.
    pub fn bytes_read(&self) -> u64 {
        let open = self.open.iter().map(|open| open.reader.reader.bytes_read());
        self.bytes_done + open.sum::<u64>()
    }

    /// Length of all stored captures; `None` if one of them is no regular file.
    pub fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }
}

/// As [`CaptureReader::name`].
fn name_of(path: &Path) -> String {
    match path.as_os_str() == "-" {
        true => STDIN_NAME.to_owned(),
        false => shown(path),
    }
}

fn open(path: &Path) -> Result<CaptureReader, ReadError> {
    match path.as_os_str() == "-" {
        true => CaptureReader::from_stdin(),
        false => CaptureReader::open(path),
    }
}

/// Whether looking into it would lose its bytes. What is not there is no stream: opening it gives the error.
fn is_stream(path: &Path) -> bool {
    let about = std::fs::metadata(path);
    path.as_os_str() == "-" || about.is_ok_and(|about| !about.is_file() && !about.is_dir())
}

fn regular_bytes(path: &Path) -> Option<u64> {
    let about = std::fs::metadata(path).ok();
    about
        .filter(|about| about.is_file())
        .map(|about| about.len())
}

/// The time of a file's first frame; `None` if it has none.
fn first_stamp(path: &Path) -> Result<Option<i64>, ReadError> {
    Lookahead::new(CaptureReader::open(path)?, true).advance()
}
