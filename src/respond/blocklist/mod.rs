//! `--output blocklist:PATH`: a file with the addresses of scanners, for a firewall or proxy to load.
//!
//! It is replaced atomically: live when the list has changed, at most once a second; in `read` at the end. A source
//! stays on it for a time after it was last seen.

mod entry;

use super::guard::Guard;
use super::replaced::{self, Replaced};
use super::{Plan, Registered, Responder, TimedDetection};
use crate::books::responder::ResponderCounts;
use crate::inspect::detection::{Proof, Verdict};
use crate::log::formats::stamp::Stamp;
use crate::log::notice::Notice;
use crate::log::reached::LogTime;
use crate::log::sinks::spec::read_options;
use crate::time::durations::length_ns;
use crate::words::shown;
use crate::words::{many, whole};
use entry::BlockEntry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The registry entry.
pub static BLOCKLIST: Registered = Registered {
    word: "blocklist",
    about: "blocklist:PATH: addresses of scanners, one a line, in a file that is replaced atomically, for a firewall to \
            load. Options: proof=handshake, answered or none: evidence that a source is not spoofed (default: handshake; \
            with none, spoofed packets can put any address on the list); verdict=scan, suspicious or unproven: what a \
            detection must say at least (default: scan); expire=1h: time on the list after a source was last seen; \
            max=65536 sources; comments=on or off. Never listed: this host, its gateways and name servers, and sources of \
            --allow.",
    plan: |value| Ok(Arc::new(BlocklistPlan::read(value)?)),
};

/// The syntax.
const FORMS: &str = "blocklist:PATH[,proof=handshake|answered|none][,verdict=scan|suspicious|unproven][,expire=1h][,max=65536][,comments=on|off]";
/// Default of `max=`.
const SOURCES: usize = 65_536;
const SOURCES_MAX: usize = 1 << 20;
/// Default of `expire=`.
const EXPIRE_NS: i64 = 3600 * 1_000_000_000;
const EXPIRE_MAX_NS: i64 = 365 * 24 * EXPIRE_NS;
/// Live, minimum time between two writes.
const PAUSE_NS: u64 = 1_000_000_000;

/// Checked options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlocklistPlan {
    path: PathBuf,
    /// Required proof of the source's address.
    proof: Proof,
    /// Required verdict of a detection.
    verdict: Verdict,
    expire_ns: i64,
    sources_max: usize,
    comments: bool,
}

impl BlocklistPlan {
    /// Parses the text behind `blocklist:`. A path ends at the first comma.
    fn read(value: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("{what}; allowed: {FORMS}"));
        let mut parts = value.split(',');
        let path = match parts.next().unwrap_or_default() {
            "" => return wrong("the target is empty"),
            "-" => return wrong("a list that is replaced has to be a file"),
            path if path.ends_with('/') => {
                return wrong("the target ends with a slash: name a file");
            }
            path => PathBuf::from(path),
        };
        let mut plan = Self {
            path,
            proof: Proof::Handshake,
            verdict: Verdict::Scan,
            expire_ns: EXPIRE_NS,
            sources_max: SOURCES,
            comments: true,
        };
        read_options(parts, FORMS, |name, value| plan.set(name, value))
            .map_err(|(what, allowed)| format!("{what}; allowed: {allowed}"))?;
        Ok(plan)
    }

    /// Sets an option; false for an unknown name.
    fn set(&mut self, name: &str, value: &str) -> Result<bool, (String, &'static str)> {
        let bad = |allowed| (format!("bad value \"{value}\" of {name}="), allowed);
        match name {
            "proof" => {
                self.proof = value
                    .parse()
                    .map_err(|()| bad("handshake, answered or none"))?;
            }
            "verdict" => {
                self.verdict = value
                    .parse()
                    .map_err(|()| bad("scan, suspicious or unproven"))?;
            }
            "expire" => {
                let range = PAUSE_NS.cast_signed()..=EXPIRE_MAX_NS;
                self.expire_ns = length_ns(value)
                    .filter(|ns| range.contains(ns))
                    .ok_or_else(|| bad("a time from 1s to 365d, such as 90s, 10m, 1h, 7d"))?;
            }
            "max" => {
                self.sources_max = whole(1..=SOURCES_MAX)(value)
                    .map_err(|_| bad("a whole number from 1 to 1048576"))?;
            }
            "comments" => {
                self.comments = match value {
                    "on" => true,
                    "off" => false,
                    _ => return Err(bad("on or off")),
                };
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The responder. A unique `number` names its temporary file.
    fn start(&self, sensor: &str, number: u64) -> Result<Blocklist, String> {
        let file = Replaced::at(&self.path, number)?;
        Ok(Blocklist {
            file,
            plan: self.clone(),
            // No line breaks in the file's comments.
            sensor: sensor.replace(char::is_control, "?"),
            sources: BTreeMap::new(),
            by_end: BTreeSet::new(),
            now_ns: i64::MIN,
            is_written: false,
            tried_ns: None,
            trouble: None,
            notice: None,
            counts: ResponderCounts::default(),
        })
    }
}

impl Plan for BlocklistPlan {
    fn path(&self) -> &Path {
        &self.path
    }

    fn memory_bytes(&self) -> u64 {
        let one = size_of::<(IpAddr, BlockEntry)>() + size_of::<(i64, IpAddr)>();
        // The nodes of the two trees are at least half full.
        (self.sources_max * 2 * one) as u64
    }

    fn would_open(&self) -> Result<(), String> {
        replaced::would_open(&self.path)
    }

    fn open(&self, sensor: &str) -> Result<Box<dyn Responder>, String> {
        let number = getrandom::u64().map_err(|error| format!("no random numbers: {error}"))?;
        let list = self.start(sensor, number)?;
        list.file.try_beside().map_err(|error| {
            let path = shown(&self.path);
            format!("open failed for output {path} (a file is written beside it): {error}")
        })?;
        Ok(Box::new(list))
    }
}

struct Blocklist {
    file: Replaced,
    plan: BlocklistPlan,
    sensor: String,
    sources: BTreeMap<IpAddr, BlockEntry>,
    /// Expiry of each source, in run time.
    by_end: BTreeSet<(i64, IpAddr)>,
    /// Run time that the log has reached.
    now_ns: i64,
    /// This run has written the file.
    is_written: bool,
    /// Wall clock of the last attempt to write it.
    tried_ns: Option<i64>,
    /// The last reported error.
    trouble: Option<String>,
    notice: Option<Notice>,
    counts: ResponderCounts,
}

impl Blocklist {
    fn expire(&mut self, run_ns: i64) {
        self.now_ns = self.now_ns.max(run_ns);
        while let Some(&(end_ns, source)) = self.by_end.first()
            && end_ns <= self.now_ns
        {
            self.remove(end_ns, source);
            self.counts.expired += 1;
        }
    }

    fn remove(&mut self, end_ns: i64, source: IpAddr) {
        self.by_end.remove(&(end_ns, source));
        self.sources.remove(&source);
        self.counts.waiting += 1;
    }

    fn write(&mut self, at: LogTime, now_ns: i64) {
        self.tried_ns = Some(now_ns);
        match self.file.replace(|out| self.render(out, at.wall_ns)) {
            Ok(()) => {
                self.is_written = true;
                self.counts.writes += 1;
                self.counts.waiting = 0;
                self.counts.applied = self.sources.len() as u64;
                if self.trouble.take().is_some() {
                    let text = "is written again: it is what it should be".to_owned();
                    self.set_notice("blocklist_written", text, now_ns);
                }
            }
            Err(error) => {
                self.counts.write_failures += 1;
                let error = error.to_string();
                if self.trouble.as_ref() != Some(&error) {
                    let text = format!("cannot be written, so an old list stays there: {error}");
                    self.set_notice("blocklist_failed", text, now_ns);
                    self.trouble = Some(error);
                }
            }
        }
    }

    fn set_notice(&mut self, word: &'static str, what: String, ts_ns: i64) {
        let path = shown(&self.plan.path);
        self.notice = Some(Notice::Lifecycle {
            ts_ns,
            word,
            text: format!("blocklist:{path} {what}"),
            details: Vec::new(),
        });
    }

    /// Writes sorted addresses, IPv4 first.
    fn render(&self, out: &mut dyn Write, wall_ns: i64) -> io::Result<()> {
        let mut stamp = Stamp::iso();
        let mut line = Vec::with_capacity(512);
        if self.plan.comments {
            self.head(&mut line, &mut stamp, wall_ns);
        }
        for (source, entry) in &self.sources {
            let _ = write!(line, "{source}");
            if self.plan.comments {
                entry.append_comment(&mut line, &mut stamp);
            }
            line.push(b'\n');
            out.write_all(&line)?;
            line.clear();
        }
        out.write_all(&line)
    }

    fn head(&self, out: &mut Vec<u8>, stamp: &mut Stamp, wall_ns: i64) {
        let sources = many(self.sources.len(), "source");
        let (version, sensor) = (env!("CARGO_PKG_VERSION"), &self.sensor);
        let _ = write!(out, "# synledger {version} on {sensor}: {sources}, as of ");
        entry::append_time(out, stamp, wall_ns);
        out.extend_from_slice(
            b"\n# Replaced as a whole. One address a line; behind it what it did: kinds, when it was seen first and last,\n\
              # ports, hosts (at least), what proves its address, when it leaves the list, how many detections.\n",
        );
    }
}

impl Responder for Blocklist {
    fn on_detection(&mut self, detection: &TimedDetection<'_>, guard: &Guard) {
        self.expire(detection.due.run_ns);
        self.counts.detections += 1;
        // What is refused does not extend a source's stay either: anybody can forge what is unproven.
        let at_least = (self.plan.proof, self.plan.verdict);
        if let Some(refusal) = detection.refusal(guard, at_least) {
            self.counts.refused[refusal.index()] += 1;
            return;
        }
        let Some(source) = detection.detection.subject.src() else {
            return;
        };
        self.counts.accepted += 1;
        self.counts.waiting += 1;
        let source = source.to_canonical();
        if !self.sources.contains_key(&source) {
            if self.sources.len() == self.plan.sources_max
                && let Some(&(end_ns, oldest)) = self.by_end.first()
            {
                self.remove(end_ns, oldest);
                self.counts.displaced += 1;
            }
            self.counts.added += 1;
        }
        let entry = self.sources.entry(source).or_default();
        self.by_end.remove(&(entry.end_ns, source));
        entry.add(detection, self.plan.expire_ns);
        self.by_end.insert((entry.end_ns, source));
    }

    fn on_guard(&mut self, guard: &Guard) {
        let guarded = |source: &&IpAddr| guard.refusal(**source).is_some();
        let guarded: Vec<IpAddr> = self.sources.keys().filter(guarded).copied().collect();
        for source in guarded {
            let end_ns = self.sources[&source].end_ns;
            self.remove(end_ns, source);
            self.counts.withdrawn += 1;
        }
    }

    fn tick(&mut self, at: LogTime, now_ns: i64) {
        self.expire(at.run_ns);
        let is_due = self.counts.waiting > 0 || !self.is_written;
        let paused = |tried_ns: i64| now_ns.abs_diff(tried_ns) < PAUSE_NS;
        if is_due && !self.tried_ns.is_some_and(paused) {
            self.write(at, now_ns);
        }
    }

    fn finish(&mut self, at: LogTime, now_ns: i64) {
        self.expire(at.run_ns);
        if self.counts.waiting > 0 || !self.is_written {
            self.write(at, now_ns);
        }
    }

    fn take_notice(&mut self) -> Option<Notice> {
        self.notice.take()
    }

    fn counts(&self) -> ResponderCounts {
        ResponderCounts {
            listed: self.sources.len() as u64,
            ..self.counts
        }
    }
}

#[cfg(test)]
mod tests;
