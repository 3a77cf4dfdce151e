//! The text format: one line for a person, UTC.
//!
//! A line begins with the time at which it stands in the log: for an event, when it was due. Where the event has
//! another time of its own (a scan's last touch, a flow's last packet), the line says that, too.

use super::append;
use super::context::Context;
use super::interfaces::Rendered;
use super::stamp::Stamp;
use super::{Carrier, Format, Registered, Wish};
use crate::books::record_kind::EventKind;
use crate::flow::record::{FiveTuple, FlowRecord, proto_word};
use crate::inspect::detection::{Detection, Extent, Phase, Subject};
use crate::log::event::{Body, Event};
use crate::log::fold::Fold;
use crate::log::notice::{Notice, Stats};
use crate::words::many;
use std::net::IpAddr;

words! {
    /// What lines of text begin with.
    pub flag enum TextFormat {
        /// `2021-04-28 15:28:05: New connection: A -> B`: date and time to the second, UTC.
        Challenge = "challenge",
        /// `2021-04-28T15:28:05.123456Z eth0 in: New connection: A -> B`: microseconds, interface and direction (`-`:
        /// none); alerts say what the ports answered.
        Full = "full",
    }
}

/// `text:TARGET`.
pub static TEXT: Registered = Registered {
    word: "text",
    about: "lines for people",
    carries: &EventKind::ALL,
    carrier: Carrier::Lines,
    events: &[EventKind::Connection, EventKind::Alert],
    open: |context, wish| Box::new(Text::new(chosen(wish), context.clone())),
};

/// What the lines of an output hold: a person sees the time of day and nothing that repeats.
pub(crate) fn chosen(wish: &Wish) -> TextFormat {
    wish.text_format.unwrap_or(match wish.person {
        true => TextFormat::Challenge,
        false => TextFormat::Full,
    })
}

/// The interface and both addresses of an event that has them.
type Seen = Option<(u16, IpAddr, IpAddr)>;

/// Renders text lines.
#[derive(Clone)]
pub struct Text {
    format: TextFormat,
    context: Context,
    interfaces: Rendered,
    stamp: Stamp,
    /// Times within a line.
    inner: Stamp,
}

impl Text {
    /// A renderer; it remembers the last seconds.
    pub fn new(format: TextFormat, context: Context) -> Self {
        let stamp = match format {
            TextFormat::Challenge => Stamp::spaced(),
            TextFormat::Full => Stamp::iso(),
        };
        Self {
            format,
            interfaces: Rendered::words(context.interfaces.clone()),
            context,
            inner: stamp.clone(),
            stamp,
        }
    }

    /// What every line begins with. `full` has the same columns in each: `-` stands where there is nothing. The
    /// colon before the words is in both formats, so that one pattern finds a kind of line in either.
    #[inline]
    fn head(&mut self, out: &mut Vec<u8>, stamp_ns: i64, seen: impl FnOnce() -> Seen) {
        match self.format {
            TextFormat::Challenge => self.stamp.append_lead(out, stamp_ns),
            TextFormat::Full => self.full_head(out, stamp_ns, &seen()),
        }
    }

    fn full_head(&mut self, out: &mut Vec<u8>, stamp_ns: i64, seen: &Seen) {
        self.stamp.append_utc(out, stamp_ns);
        out.push(b' ');
        let name = seen.map_or(&b""[..], |(index, ..)| self.interfaces.name(index));
        out.extend_from_slice(if name.is_empty() { b"-" } else { name });
        out.push(b' ');
        let direction = seen.map_or("-", |(_, src, dst)| (self.context.direction)(src, dst));
        out.extend_from_slice(direction.as_bytes());
        out.extend_from_slice(b": ");
    }

    /// Whether a line that begins with `stamp_ns` shows this time, too.
    fn is_shown(&self, stamp_ns: i64, ts_ns: i64) -> bool {
        let unit_ns = match self.format {
            TextFormat::Challenge => 1_000_000_000,
            TextFormat::Full => 1000,
        };
        stamp_ns.div_euclid(unit_ns) == ts_ns.div_euclid(unit_ns)
    }

    /// A time within a line; without its date where that is the line's.
    fn moment(&mut self, out: &mut Vec<u8>, ts_ns: i64, stamp_ns: i64) {
        let day = |ts_ns: i64| ts_ns.div_euclid(DAY_NS);
        match self.format {
            TextFormat::Full => self.inner.append_utc(out, ts_ns),
            TextFormat::Challenge if day(ts_ns) == day(stamp_ns) => {
                self.inner.append_time_of_day(out, ts_ns);
            }
            TextFormat::Challenge => self.inner.append_seconds(out, ts_ns),
        }
    }

    fn fold(&mut self, out: &mut Vec<u8>, fold: &Fold, due_ns: i64) {
        fold_target(out, fold);
        append::int(out, fold.count);
        out.extend_from_slice(b" from about ");
        append::int(out, fold.sources.estimate());
        out.extend_from_slice(b" sources (+-3.25 %) in ");
        seconds(out, fold.last_ns.saturating_sub(fold.first_ns));
        out.extend_from_slice(b" s until ");
        self.moment(out, fold.last_ns, due_ns);
        fold_senders(out, fold);
    }

    fn alert(&mut self, out: &mut Vec<u8>, detection: &Detection, due_ns: i64) {
        let ended = detection.phase == Phase::Ended;
        sentence(out, detection);
        if ended {
            out.extend_from_slice(b", last touch ");
            self.moment(out, detection.last_ns, due_ns);
        }
        let full = self.format == TextFormat::Full;
        if ended || full {
            evidence(out, detection);
        }
        for (holds, yes, no) in [
            (detection.exact, &b" (exact)"[..], &b" (not exact)"[..]),
            (detection.complete, b" (complete)", b" (not complete)"),
        ] {
            if full || !holds {
                out.extend_from_slice(if holds { yes } else { no });
            }
        }
    }
}

impl Format for Text {
    fn event(&mut self, out: &mut Vec<u8>, event: &Event, due_ns: i64) {
        match &event.body {
            Body::NewConnection(attempt) => {
                let tuple = &attempt.tuple;
                self.head(out, due_ns, || {
                    Some((attempt.interface, tuple.src, tuple.dst))
                });
                out.extend_from_slice(b"New connection: ");
                endpoints(out, &attempt.tuple);
            }
            Body::Flow(flow) => {
                let tuple = &flow.tuple;
                self.head(out, due_ns, || Some((flow.interface, tuple.src, tuple.dst)));
                flow_line(out, flow);
                if !self.is_shown(due_ns, flow.end_ns) {
                    out.extend_from_slice(b", last packet ");
                    self.moment(out, flow.end_ns, due_ns);
                }
                if flow.shed {
                    out.extend_from_slice(b", others shed");
                }
            }
            Body::Alert(detection) => {
                let (interface, subject) = (detection.interface, detection.subject);
                self.head(out, due_ns, || {
                    Some((interface, subject.src(), subject.dst()))
                });
                self.alert(out, detection, due_ns);
            }
            Body::Folded(fold) => {
                self.head(out, due_ns, || None);
                self.fold(out, fold, due_ns);
            }
        }
        out.push(b'\n');
    }

    /// Appends the line of a record of the sensor's own, with its newline. It stands where the log was at
    /// `stamp_ns`; a time of its own that is a second or more away is said.
    fn notice(&mut self, out: &mut Vec<u8>, notice: &Notice, stamp_ns: i64) {
        self.head(out, stamp_ns, || None);
        let text = match notice {
            Notice::Lifecycle { word, text, .. } => {
                out.extend_from_slice(b"Sensor ");
                append::one_line(out, word);
                out.extend_from_slice(b": ");
                text
            }
            Notice::Stats { stats, .. } => {
                out.extend_from_slice(b"Stats: ");
                &stats_line(stats)
            }
        };
        append::one_line(out, text);
        if notice.ts_ns().abs_diff(stamp_ns) >= APART_NS {
            out.extend_from_slice(b" (at ");
            self.moment(out, notice.ts_ns(), stamp_ns);
            out.push(b')');
        }
        out.push(b'\n');
    }
}

/// A record of the sensor's own that is this far from where it stands in the log says when it was made.
const APART_NS: u64 = 1_000_000_000;
const DAY_NS: i64 = 86_400_000_000_000;

fn endpoints(out: &mut Vec<u8>, tuple: &FiveTuple) {
    append::endpoint(out, tuple.src, tuple.src_port);
    out.extend_from_slice(b" -> ");
    append::endpoint(out, tuple.dst, tuple.dst_port);
}

fn flow_line(out: &mut Vec<u8>, flow: &FlowRecord) {
    out.extend_from_slice(b"Flow ended: ");
    endpoints(out, &flow.tuple);
    out.push(b' ');
    proto(out, flow.tuple.proto);
    out.push(b' ');
    out.extend_from_slice(flow.conn_state.word().as_bytes());
    out.push(b' ');
    out.extend_from_slice(flow.reason.word().as_bytes());
    out.extend_from_slice(b" after ");
    seconds(out, flow.end_ns.saturating_sub(flow.start_ns));
    for (word, volume) in [
        (&b" s, sent "[..], &flow.orig),
        (b", received ", &flow.resp),
    ] {
        out.extend_from_slice(word);
        append::int(out, volume.packets);
        out.extend_from_slice(b" packets ");
        append::int(out, volume.bytes);
        out.extend_from_slice(b" bytes");
    }
}

/// Prefixes that a line names.
const SENDERS_LISTED: usize = 3;

fn fold_target(out: &mut Vec<u8>, fold: &Fold) {
    out.extend_from_slice(b"New connections folded: -> ");
    match fold.target.dst {
        Some(dst) if fold.target.port.is_none() && dst.is_ipv6() => {
            out.push(b'[');
            append::ip(out, dst);
            out.push(b']');
        }
        Some(dst) if fold.target.port.is_none() => append::ip(out, dst),
        Some(dst) => append::endpoint(out, dst, fold.target.port.unwrap_or(0)),
        None => out.push(b'*'),
    }
    if fold.target.port.is_none() {
        out.extend_from_slice(b":* (about ");
        append::int(out, fold.ports.estimate());
        out.extend_from_slice(b" ports)");
    }
    out.extend_from_slice(b": ");
}

fn fold_senders(out: &mut Vec<u8>, fold: &Fold) {
    out.extend_from_slice(b", most from ");
    for (i, sender) in fold.senders.top(SENDERS_LISTED).iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        append::ip(out, sender.prefix.address());
        out.push(b'/');
        append::int(out, sender.prefix.length());
        out.extend_from_slice(b" (");
        append::int(out, sender.count - sender.error);
        if sender.error > 0 {
            out.extend_from_slice(b" to ");
            append::int(out, sender.count);
        }
        out.push(b')');
    }
    if fold.pressure > 0 {
        out.extend_from_slice(b" (");
        append::int(out, fold.pressure);
        out.extend_from_slice(b" of them because the log could not keep up)");
    }
}

/// Seconds with six decimals; a clock that went backwards gives a negative time.
fn seconds(out: &mut Vec<u8>, duration_ns: i64) {
    if duration_ns < 0 {
        out.push(b'-');
    }
    let micros = duration_ns.unsigned_abs() / 1000;
    append::int(out, micros / 1_000_000);
    out.push(b'.');
    append::padded(out, micros, 6);
}

/// What was detected, of whom, how far: the sentence without evidence.
pub fn sentence(out: &mut Vec<u8>, detection: &Detection) {
    alert_subject(out, detection);
    alert_extent(out, detection);
}

fn alert_subject(out: &mut Vec<u8>, detection: &Detection) {
    out.extend_from_slice(detection.kind.about().title.as_bytes());
    out.push(b' ');
    out.extend_from_slice(detection.phase.verb().as_bytes());
    out.extend_from_slice(b": ");
    append::ip(out, detection.subject.src());
    match detection.subject {
        Subject::Pair { dst, .. } => {
            out.extend_from_slice(b" -> ");
            append::ip(out, dst);
        }
        Subject::SourcePort { port, .. } => {
            out.extend_from_slice(b" on port ");
            append::int(out, port);
        }
    }
}

fn alert_extent(out: &mut Vec<u8>, detection: &Detection) {
    let count = u64::from(detection.extent.count());
    let ranges = match &detection.extent {
        Extent::Hosts { .. } => {
            // A set that is full, or was not there, holds fewer than there were.
            let at_least = !detection.complete && detection.phase != Phase::Started;
            out.extend_from_slice(if at_least { b": at least " } else { b": " });
            append::int(out, count);
            return out.extend_from_slice(b" hosts");
        }
        Extent::Ports { ranges, .. } => ranges,
    };
    out.extend_from_slice(b" on ports ");
    let listed = if detection.phase == Phase::Ended {
        append::ranges(out, ranges)
    } else {
        append::ports(out, ranges)
    };
    if count > listed {
        out.extend_from_slice(b" (+");
        append::int(out, count - listed);
        out.extend_from_slice(b" more)");
    }
}

/// How many ports or hosts there are, and what became of them.
fn evidence(out: &mut Vec<u8>, detection: &Detection) {
    out.extend_from_slice(b" (");
    if let Extent::Ports { count, .. } = detection.extent {
        append::int(out, count);
        out.extend_from_slice(b" ports, ");
    }
    let evidence = &detection.evidence;
    for (count, after) in [
        (evidence.refused, &b" refused, "[..]),
        (evidence.unanswered, b" unanswered, "),
        (evidence.answered, b" answered"),
    ] {
        append::int(out, count);
        out.extend_from_slice(after);
    }
    if evidence.pending > 0 {
        out.extend_from_slice(b", ");
        append::int(out, evidence.pending);
        out.extend_from_slice(b" may still answer");
    }
    out.push(b')');
}

fn proto(out: &mut Vec<u8>, proto: u8) {
    match proto_word(proto) {
        Some(word) => out.extend_from_slice(word.as_bytes()),
        None => append::int(out, proto),
    }
}

/// One line for a person: the last record speaks of the whole run.
fn stats_line(stats: &Stats) -> String {
    let interval = stats.now.since(&stats.before);
    let (of, books, long_s) = if stats.last {
        ("the whole run", &stats.now, stats.run_s)
    } else {
        ("the last", &interval, stats.interval_s)
    };
    format!(
        "{of} {long_s:.1} s: {}, {}, {}, {} missed; {}",
        many(books.shards.frames, "frame"),
        many(books.shards.flow.new_connections, "new connection"),
        books.shards.scans_said(),
        books.missed(),
        if stats.now.closed() {
            "the books close"
        } else {
            "THE BOOKS DO NOT CLOSE"
        }
    )
}

#[cfg(test)]
mod tests;
