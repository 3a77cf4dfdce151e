//! The outer books: compares what was sent with the counters of kernel and sensor, and with the sensor's log.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;

use super::books::Books;
use super::eve::{self, LogLine};
use crate::lab::Counters;
use crate::send::Transmission;
use crate::traffic::{Attempt, Class, Ends, Load};

/// A line of the outer books: two sides, counted in different places, must be equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The equation in words.
    pub name: String,
    /// Left side.
    pub left: u64,
    /// Right side.
    pub right: u64,
}

impl Entry {
    fn new(name: impl Into<String>, left: u64, right: u64) -> Self {
        Self {
            name: name.into(),
            left,
            right,
        }
    }

    /// Both sides are equal.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.left == self.right
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} against {}", self.name, self.left, self.right)
    }
}

/// The sensor's log, compared with the attempts that were sent.
#[derive(Clone, Debug, Default)]
pub struct LogSummary {
    /// Lines of single attempts.
    pub lines: u64,
    /// Lines of attempts that were not sent.
    pub unknown: u64,
    /// Lines of attempts that have a line already.
    pub duplicates: u64,
    /// The first line of an unknown attempt or a duplicate.
    pub first_wrong: Option<String>,
    /// Folded attempts, by destination.
    pub folded: BTreeMap<(IpAddr, u16), u64>,
    /// Attempts with a line, by destination.
    written: HashMap<(IpAddr, u16), u64>,
    /// Packets of ended connections in both directions, by their ends.
    pub flows: HashMap<Ends, (u64, u64)>,
    /// The books at the end.
    pub books: Option<Books>,
    seen: Vec<u64>,
}

/// The attempts that were sent, by number and by destination.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    opened: Vec<u64>,
    by_destination: HashMap<(IpAddr, u16), u64>,
}

fn bit(number: u32) -> (usize, u64) {
    (
        usize::try_from(number / 64).expect("32 bits"),
        1 << (number % 64),
    )
}

fn destination(attempt: &Attempt) -> (IpAddr, u16) {
    let ends = attempt.ends;
    (ends.address(ends.dst), ends.dst_port)
}

impl Truth {
    /// The attempts of the first `frames` frames of `load`.
    #[must_use]
    pub fn new(load: &Load, frames: u64) -> Self {
        let mut truth = Self::default();
        for number in (0..frames).filter_map(|index| load.frame(index).opens) {
            let (word, mask) = bit(number);
            if truth.opened.len() <= word {
                truth.opened.resize(word + 1, 0);
            }
            truth.opened[word] |= mask;
            *truth
                .by_destination
                .entry(destination(&load.attempt(number)))
                .or_default() += 1;
        }
        truth
    }

    /// The number of `attempt`, if it was sent.
    fn find(&self, load: &Load, attempt: &Attempt) -> Option<u32> {
        let number = load.number(attempt.isn);
        let (word, mask) = bit(number);
        let sent = self.opened.get(word).is_some_and(|bits| bits & mask != 0);
        (sent && load.attempt(number) == *attempt).then_some(number)
    }
}

impl LogSummary {
    /// Reads the sensor's log and compares each line with the truth.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn read(path: &Path, load: &Load, truth: &Truth) -> Result<Self> {
        let mut log = Self {
            seen: vec![0; truth.opened.len()],
            ..Self::default()
        };
        let mut books = None;
        eve::read(path, |line| match line {
            LogLine::Connection(attempt) => log.connection(load, truth, &attempt),
            LogLine::Folded { to, count } => *log.folded.entry(to).or_default() += count,
            LogLine::Flow { ends, packets } => {
                let sum = log.flows.entry(ends).or_default();
                *sum = (sum.0 + packets.0, sum.1 + packets.1);
            }
            LogLine::Books(value) => books = Some(value),
            LogLine::Scan { .. } | LogLine::Other => {}
        })?;
        log.books = books.map(|value| Books::from_record(&value)).transpose()?;
        Ok(log)
    }

    fn connection(&mut self, load: &Load, truth: &Truth, attempt: &Attempt) {
        self.lines += 1;
        *self.written.entry(destination(attempt)).or_default() += 1;
        let wrong = match truth.find(load, attempt) {
            None => {
                self.unknown += 1;
                "was not sent"
            }
            Some(number) => {
                let (word, mask) = bit(number);
                let seen = &mut self.seen[word];
                if *seen & mask == 0 {
                    *seen |= mask;
                    return;
                }
                self.duplicates += 1;
                "has two lines"
            }
        };
        let text = || format!("{attempt} {wrong}");
        self.first_wrong.get_or_insert_with(text);
    }

    /// Folded attempts.
    #[must_use]
    pub fn folded(&self) -> u64 {
        self.folded.values().sum()
    }
}

/// All that a reconciliation compares.
#[derive(Clone, Debug)]
pub struct Ledger<'a> {
    /// What was sent.
    pub sent: &'a Transmission,
    /// The kernel's counters of the flood.
    pub kernel: Counters,
    /// The sensor's books.
    pub books: &'a Books,
    /// The sensor's log.
    pub log: &'a LogSummary,
    /// The attempts that were sent.
    pub truth: &'a Truth,
}

impl Ledger<'_> {
    /// All entries, in the order of a frame's path.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let mut all = self.frames();
        self.classes(&mut all);
        self.attempts(&mut all);
        self.identities(&mut all);
        let open = self.books.open_identities.len() as u64;
        all.push(Entry::new(
            "the sensor's own identities that do not hold",
            open,
            0,
        ));
        all
    }

    /// Frames lost before the sensor's sockets.
    #[must_use]
    pub fn lost_before(&self) -> u64 {
        self.sent.lost_at_interface(self.kernel.tx_dropped)
    }

    /// Frames that reached the sensor's sockets.
    fn offered(&self) -> u64 {
        self.books.all_rings(|ring| ring.tp_packets)
    }

    /// Frames that the sensor's filters rejected. If the sensor could not count them: frames received and offered to no
    /// ring.
    fn filtered(&self) -> u64 {
        let rest = || self.kernel.rx_packets.saturating_sub(self.offered());
        self.books.filtered().unwrap_or_else(rest)
    }

    fn frames(&self) -> Vec<Entry> {
        let (kernel, books) = (&self.kernel, self.books);
        let mut all = vec![
            Entry::new(
                "frames sent = passed on + dropped by the sender's interface (the kernel's backlog included)",
                self.sent.tally.frames,
                kernel.tx_packets + self.lost_before(),
            ),
            Entry::new(
                "frames passed on = frames received",
                kernel.tx_packets,
                kernel.rx_packets,
            ),
            Entry::new(
                "frames received = offered to rings + rejected by filters",
                kernel.rx_packets,
                self.offered() + self.filtered(),
            ),
        ];
        for ring in &books.rings {
            all.push(Entry::new(
                format!(
                    "ring {}: frames offered = read + dropped + shed",
                    ring.class
                ),
                ring.tp_packets,
                ring.frames_read + ring.tp_drops + ring.shed_data,
            ));
        }
        let read = books.all_rings(|ring| ring.frames_read);
        let packets = books.count("packets") + books.count("unread_frames");
        all.push(Entry::new(
            "frames read = packets + frames not decoded",
            read,
            packets,
        ));
        all
    }

    /// Frames sent of the classes of this ring.
    fn sent_for(&self, ring: &str) -> u64 {
        let class = |class| self.sent.tally.class(class);
        match ring {
            "open" => class(Class::Open),
            "control" => class(Class::Control),
            "data" => class(Class::Data) + class(Class::Unreadable),
            _ => self.sent.tally.frames,
        }
    }

    /// Frames of a ring's class that the sensor's rings or filters got; filters reject data only.
    fn offered_for(&self, ring: &str) -> u64 {
        let offered = self.books.class(ring, |ring| ring.tp_packets);
        if ring == "data" {
            offered + self.filtered()
        } else {
            offered
        }
    }

    fn classes(&self, all: &mut Vec<Entry>) {
        let mut rings: Vec<&str> = self
            .books
            .rings
            .iter()
            .map(|ring| ring.class.as_str())
            .collect();
        if self.filtered() > 0 && !rings.contains(&"data") && !rings.contains(&"all") {
            rings.push("data");
        }
        rings.sort_unstable();
        rings.dedup();
        let mut lost = 0;
        for ring in rings {
            let (sent, offered) = (self.sent_for(ring), self.offered_for(ring));
            let before = sent.saturating_sub(offered);
            lost += before;
            // The class of a frame that an interface dropped is unknown: frames sent and not offered were dropped.
            all.push(Entry::new(
                format!("class {ring}: frames sent = offered + lost before the rings ({before})"),
                sent,
                offered + before,
            ));
        }
        all.push(Entry::new(
            "frames lost before the rings, all classes = dropped by the sender's interface",
            lost,
            self.lost_before(),
        ));
        let data_lost = self.lost_before()
            + self
                .books
                .class("data", |ring| ring.tp_drops + ring.shed_data);
        let by_class = self.books.rings.iter().any(|ring| ring.class == "data");
        if by_class && data_lost == 0 && self.filtered() == 0 {
            let unreadable = self.sent.tally.class(Class::Unreadable);
            let unread = self.books.count("unread_frames");
            all.push(Entry::new(
                "malformed frames sent = frames not decoded",
                unreadable,
                unread,
            ));
        }
    }

    /// Attempts whose frames were lost, before the rings or in them.
    #[must_use]
    pub fn attempts_lost(&self) -> u64 {
        let by_class = self.books.rings.iter().any(|ring| ring.class == "open");
        let reached = self.books.count("new_connections");
        if by_class {
            let before = self
                .sent_for("open")
                .saturating_sub(self.offered_for("open"));
            before
                + self
                    .books
                    .class("open", |ring| ring.tp_drops + ring.shed_data)
        } else {
            // Without classes a lost frame may be of any kind: no more attempts are lost than frames.
            let frames =
                self.lost_before() + self.books.all_rings(|ring| ring.tp_drops + ring.shed_data);
            self.sent.tally.attempts.saturating_sub(reached).min(frames)
        }
    }

    fn attempts(&self, all: &mut Vec<Entry>) {
        let (books, logged) = (self.books, self.books.logged());
        let reached = books.count("new_connections");
        all.push(Entry::new(
            "attempts sent = new connections + lost in class open",
            self.sent.tally.attempts,
            reached + self.attempts_lost(),
        ));
        all.push(Entry::new(
            "new connections = written + folded + not asked for + dropped by the log",
            reached,
            logged.written
                + logged.folded
                + logged.not_asked
                + logged.dropped
                + books.count("connections_not_asked"),
        ));
        all.push(Entry::new(
            "attempts written = lines in the log",
            logged.written,
            self.log.lines,
        ));
        all.push(Entry::new(
            "attempts folded = counts of the log's flood records",
            logged.folded,
            self.log.folded(),
        ));
    }

    fn identities(&self, all: &mut Vec<Entry>) {
        let log = self.log;
        let first = log
            .first_wrong
            .as_ref()
            .map_or(String::new(), |wrong| format!(" (first: {wrong})"));
        let wrong = log.unknown + log.duplicates;
        all.push(Entry::new(
            format!("log lines of attempts not sent, and second lines{first}"),
            wrong,
            0,
        ));
        // The destination of a lost attempt is unknown: the sum over all destinations is compared.
        let lost = self.attempts_lost() + self.books.logged().dropped;
        let mut missing = 0;
        let mut excess = 0;
        for (to, &sent) in &self.truth.by_destination {
            let folded = log.folded.get(to).copied().unwrap_or(0);
            let logged = log.written.get(to).copied().unwrap_or(0) + folded;
            missing += sent.saturating_sub(logged);
            excess += logged.saturating_sub(sent);
        }
        let unknown = log
            .folded
            .iter()
            .filter(|(to, _)| !self.truth.by_destination.contains_key(to));
        excess += unknown.map(|(_, count)| count).sum::<u64>();
        all.push(Entry::new(
            "attempts logged and not sent, by destination",
            excess,
            0,
        ));
        all.push(Entry::new(
            "attempts not logged, by destination = lost + dropped by the log",
            missing,
            lost,
        ));
    }

    /// Frames that no entry accounts for.
    #[must_use]
    pub fn unaccounted_frames(&self) -> u64 {
        let accounted = self.lost_before() + self.offered() + self.filtered();
        let inside = self
            .books
            .all_rings(|ring| ring.frames_read + ring.tp_drops + ring.shed_data);
        self.sent.tally.frames.abs_diff(accounted) + self.offered().abs_diff(inside)
    }

    /// Attempts that no entry accounts for, by count and by identity.
    #[must_use]
    pub fn unaccounted_attempts(&self) -> u64 {
        let logged = self.books.logged();
        let in_log = self.log.lines + self.log.folded() + logged.dropped + logged.not_asked;
        let accounted = in_log + self.books.count("connections_not_asked") + self.attempts_lost();
        self.sent.tally.attempts.abs_diff(accounted) + self.log.unknown + self.log.duplicates
    }
}

#[cfg(test)]
mod tests;
