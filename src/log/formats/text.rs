//! The text format: one line for a person, UTC.
//!
//! A line begins with its time in the log: for an event, the time at which it was due. If the event has another time
//! of its own (a scan's last touch, a flow's last packet), the line has that, too.

use super::append;
use super::context::Context;
use super::interfaces::Rendered;
use super::piece::EMPTY;
use super::stamp::Stamp;
use super::window::{Scratch, Window};
use super::{Format, OutputTraits, Registered, SinkKind};
use crate::books::record_kind::EventKind;
use crate::flow::record::{FiveTuple, FlowRecord, Volume, proto_word};
use crate::inspect::detection::{Detection, Evidence, Extent, Phase, Subject};
use crate::log::event::{Body, Event};
use crate::log::fold::Fold;
use crate::log::fold::sketch::SOURCES_ERROR_PCT;
use crate::log::notice::{Notice, Stats};
use crate::words::many;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

words! {
    /// Beginning of a text line.
    pub flag enum TextFormat {
        /// `2021-04-28 15:28:05: New connection: A -> B`: date and time to the second, UTC.
        Short = "short",
        /// `2021-04-28T15:28:05.123456Z eth0 in: New connection: A -> B`: microseconds, interface and direction (`-`:
        /// none); alerts have the answers of the ports.
        Full = "full",
    }
}

/// `text:TARGET`.
pub static TEXT: Registered = Registered {
    word: "text",
    about: "lines for people",
    renders: &EventKind::ALL,
    parts: false,
    services: false,
    sink_kind: SinkKind::Lines,
    events: &[EventKind::Connection, EventKind::Alert, EventKind::Block],
    open: |context, traits| Box::new(Text::new(chosen(traits), context.clone())),
};

/// The text format of an output. Without `--text-format`, a terminal gets the short one.
pub(crate) fn chosen(traits: &OutputTraits) -> TextFormat {
    traits.text_format.unwrap_or(match traits.person {
        true => TextFormat::Short,
        false => TextFormat::Full,
    })
}

/// The interface and both addresses of an event that has them.
type EventAddresses = Option<(u16, IpAddr, IpAddr)>;

/// Renders text lines.
#[derive(Clone)]
struct Text {
    format: TextFormat,
    context: Context,
    interfaces: Rendered,
    stamp: Stamp,
    /// Times within a line.
    inner: Stamp,
    scratch: Scratch,
}

impl Text {
    fn new(format: TextFormat, context: Context) -> Self {
        let stamp = match format {
            TextFormat::Short => Stamp::spaced(),
            TextFormat::Full => Stamp::iso(),
        };
        Self {
            format,
            interfaces: Rendered::words(context.interfaces.clone()),
            context,
            inner: stamp.clone(),
            stamp,
            scratch: Scratch::new(),
        }
    }

    /// Appends the beginning of a line, then what `more` puts. `full` has the same columns in each line, `-` if a value
    /// is missing. The colon is in both formats, so that one pattern finds a kind of line in either.
    #[inline(always)]
    fn begin(
        &mut self,
        out: &mut Vec<u8>,
        stamp_ns: i64,
        addresses: impl FnOnce() -> EventAddresses,
        more: impl FnOnce(&mut Window<'_>),
    ) {
        self.scratch.append(out, |window| {
            match self.format {
                TextFormat::Short => self.stamp.put_lead(window, stamp_ns),
                TextFormat::Full => {
                    let addresses = addresses();
                    let name = addresses.map_or(&EMPTY, |(index, ..)| self.interfaces.name(index));
                    let direction =
                        addresses.map_or("-", |(_, src, dst)| (self.context.direction)(src, dst));
                    self.stamp.put_utc(window, stamp_ns);
                    window.put(b" ");
                    match name.text() {
                        [] => window.put(b"-"),
                        _ => window.piece(name),
                    }
                    window.put(b" ");
                    window.word(direction);
                    window.put(b": ");
                }
            }
            more(window);
        });
    }

    /// Whether `ts_ns` reads the same as `stamp_ns`, with which the line begins.
    fn is_shown(&self, stamp_ns: i64, ts_ns: i64) -> bool {
        let unit_ns = match self.format {
            TextFormat::Short => 1_000_000_000,
            TextFormat::Full => 1000,
        };
        stamp_ns.div_euclid(unit_ns) == ts_ns.div_euclid(unit_ns)
    }

    /// A time within a line, without its date if that is the line's.
    fn moment(&mut self, out: &mut Vec<u8>, ts_ns: i64, stamp_ns: i64) {
        let day = |ts_ns: i64| ts_ns.div_euclid(DAY_NS);
        match self.format {
            TextFormat::Full => self.inner.append_utc(out, ts_ns),
            TextFormat::Short if day(ts_ns) == day(stamp_ns) => {
                self.inner.append_time_of_day(out, ts_ns);
            }
            TextFormat::Short => self.inner.append_seconds(out, ts_ns),
        }
    }

    fn fold(&mut self, out: &mut Vec<u8>, fold: &Fold, due_ns: i64) {
        fold_target(out, fold);
        let (count, sources) = (fold.count, fold.sources.estimate());
        let _ = write!(
            out,
            "{count} from about {sources} sources (+-{SOURCES_ERROR_PCT} %) in "
        );
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
        } else if let (Phase::Continues, Some(verdict)) = (detection.phase, detection.verdict) {
            let _ = write!(out, " (verdict: {verdict})");
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
                let of = || Some((attempt.interface, tuple.src, tuple.dst));
                let more = |window: &mut Window<'_>| {
                    endpoints(window, b"New connection: ", tuple);
                    window.put(b"\n");
                };
                return self.begin(out, due_ns, of, more);
            }
            Body::Flow(flow) => {
                let tuple = &flow.tuple;
                let of = || Some((flow.interface, tuple.src, tuple.dst));
                let more = |window: &mut Window<'_>| {
                    match flow.interim {
                        false => endpoints(window, b"Flow ended: ", tuple),
                        true => endpoints(window, b"Flow goes on: ", tuple),
                    }
                    flow_line(window, flow);
                };
                self.begin(out, due_ns, of, more);
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
                let dst = subject.dst();
                let src = subject.src().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                let of = || Some((interface, src, dst));
                self.begin(out, due_ns, of, nothing);
                self.alert(out, detection, due_ns);
            }
            Body::Folded(fold) => {
                self.begin(out, due_ns, || None, nothing);
                self.fold(out, fold, due_ns);
            }
        }
        out.push(b'\n');
    }

    /// A record whose own time is a second or more from `stamp_ns` has that time, too.
    fn notice(&mut self, out: &mut Vec<u8>, notice: &Notice, stamp_ns: i64) {
        self.begin(out, stamp_ns, || None, nothing);
        let text = match notice {
            Notice::Lifecycle { word, text, .. } => format!("Sensor {word}: {text}"),
            Notice::Stats { stats, .. } => stats_line(stats),
            Notice::Block(record) => record.sentence(),
        };
        append::one_line(out, &text);
        if notice.ts_ns().abs_diff(stamp_ns) >= APART_NS {
            out.extend_from_slice(b" (at ");
            self.moment(out, notice.ts_ns(), stamp_ns);
            out.push(b')');
        }
        out.push(b'\n');
    }
}

fn nothing(_: &mut Window<'_>) {}

/// From this difference on, a sensor record has its own time, too.
const APART_NS: u64 = 1_000_000_000;
const DAY_NS: i64 = 86_400_000_000_000;

/// The endpoints of a flow behind a word.
#[inline(always)]
fn endpoints<const LEN: usize>(window: &mut Window<'_>, word: &[u8; LEN], tuple: &FiveTuple) {
    window.put(word);
    window.endpoint(tuple.src, tuple.src_port);
    window.put(b" -> ");
    window.endpoint(tuple.dst, tuple.dst_port);
}

/// What a line says of a flow behind its endpoints.
#[inline(always)]
fn flow_line(window: &mut Window<'_>, flow: &FlowRecord) {
    window.put(b" ");
    match proto_word(flow.tuple.proto) {
        Some(word) => window.word(word),
        None => window.int(flow.tuple.proto.into()),
    }
    window.put(b" ");
    window.word(flow.conn_state.word());
    window.put(b" ");
    window.word(flow.end_word());
    window.put(b" after ");
    let duration_ns = flow.end_ns.saturating_sub(flow.start_ns);
    if duration_ns < 0 {
        window.put(b"-");
    }
    window.seconds(duration_ns.unsigned_abs() / 1000);
    window.put(b" s, sent ");
    volume(window, &flow.orig);
    window.put(b", received ");
    volume(window, &flow.resp);
    if flow.orig.is_irregular() | flow.resp.is_irregular() {
        irregular(window, flow);
    }
}

/// What each side has sent again, and what is missing of it.
#[inline(never)]
fn irregular(window: &mut Window<'_>, flow: &FlowRecord) {
    let both = |window: &mut Window<'_>, count: fn(&Volume) -> u64| {
        window.int(count(&flow.orig));
        window.put(b"+");
        window.int(count(&flow.resp));
    };
    window.put(b", retransmitted ");
    both(window, |side| side.retransmitted_packets);
    window.put(b" packets, missed ");
    both(window, |side| side.missed_bytes);
    window.put(b" bytes");
}

#[inline(always)]
fn volume(window: &mut Window<'_>, volume: &Volume) {
    window.int(volume.packets);
    window.put(b" packets ");
    window.int(volume.bytes);
    window.put(b" bytes");
}

/// Prefixes that a line lists.
const SENDERS_LISTED: usize = 3;

fn fold_target(out: &mut Vec<u8>, fold: &Fold) {
    out.extend_from_slice(b"New connections folded: -> ");
    match (fold.target.dst, fold.target.port) {
        (Some(dst), Some(port)) => append::endpoint(out, dst, port),
        (Some(IpAddr::V6(dst)), None) => drop(write!(out, "[{dst}]")),
        (Some(dst), None) => drop(write!(out, "{dst}")),
        (None, _) => out.push(b'*'),
    }
    if fold.target.port.is_none() {
        let _ = write!(out, ":* (about {} ports)", fold.ports.estimate());
    }
    out.extend_from_slice(b": ");
}

fn fold_senders(out: &mut Vec<u8>, fold: &Fold) {
    out.extend_from_slice(b", most from ");
    for (i, sender) in fold.senders.top(SENDERS_LISTED).iter().enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        let least = sender.count - sender.error;
        let _ = write!(out, "{comma}{} ({least}", sender.prefix);
        if sender.error > 0 {
            let _ = write!(out, " to {}", sender.count);
        }
        out.push(b')');
    }
    if fold.pressure > 0 {
        let _ = write!(
            out,
            " ({} of them because the log could not keep up)",
            fold.pressure
        );
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

/// The sentence of a detection, without its evidence.
pub(crate) fn sentence(out: &mut Vec<u8>, detection: &Detection) {
    let (title, verb) = (detection.kind.about().title, detection.phase.verb());
    let _ = write!(out, "{title} {verb}: ");
    let prefix = detection
        .src_prefix
        .map_or(String::new(), |prefix| format!("/{prefix}"));
    let _ = match detection.subject {
        Subject::Pair { src, dst } => write!(out, "{src}{prefix} -> {dst}"),
        Subject::SourcePort { src, port, .. } => write!(out, "{src}{prefix} on port {port}"),
        Subject::Source { src, .. } => write!(out, "{src}{prefix}"),
        Subject::Target { dst } => write!(out, "-> {dst}"),
        Subject::TargetPort { dst, port } => write!(out, "-> {}", SocketAddr::new(dst, port)),
    };
    let tags = &detection.vlan[..usize::from(detection.vlan_count).min(2)];
    for (tag, word) in tags.iter().zip([" in VLAN ", "."]) {
        let _ = write!(out, "{word}{tag}");
    }
    alert_extent(out, detection);
}

fn alert_extent(out: &mut Vec<u8>, detection: &Detection) {
    let count = detection.extent.count();
    // A set that is full or could not be had misses hosts.
    let is_bound = !detection.complete && detection.phase != Phase::Started;
    let at_least = if is_bound { "at least " } else { "" };
    let ranges = match &detection.extent {
        Extent::Hosts { .. } => return drop(write!(out, ": {at_least}{count} hosts")),
        Extent::Places { .. } => {
            return drop(write!(out, ": {at_least}{count} ports of any hosts"));
        }
        Extent::Packets { peak, .. } => {
            let sources = detection.crowd.as_ref().map_or(0, |crowd| crowd.sources);
            let _ = write!(out, ": {at_least}{count} packets, at most {peak} in ");
            append::window(out, detection.window_ns);
            return drop(write!(out, " s, of about {sources} sources"));
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
        let _ = write!(out, " (+{} more)", count - listed);
    }
}

/// Number of ports, and the answers to the touches.
fn evidence(out: &mut Vec<u8>, detection: &Detection) {
    let Some(verdict) = detection.verdict else {
        return;
    };
    out.extend_from_slice(b" (");
    if let Extent::Ports { count, .. } = detection.extent {
        let _ = write!(out, "{count} ports, ");
    }
    let Evidence {
        refused,
        unanswered,
        answered,
        pending,
        ..
    } = detection.evidence;
    let _ = write!(
        out,
        "{refused} refused, {unanswered} unanswered, {answered} answered"
    );
    if pending > 0 {
        let _ = write!(out, ", {pending} may still answer");
    }
    let _ = write!(out, "; verdict: {verdict})");
}

/// The last record is of the whole run.
fn stats_line(stats: &Stats) -> String {
    let interval = stats.now.since(&stats.before);
    let (of, books, long_s) = if stats.last {
        ("the whole run", &stats.now, stats.run_s)
    } else {
        ("the last", &interval, stats.interval_s)
    };
    format!(
        "Stats: {of} {long_s:.1} s: {}, {}, {}, {} missed; {}",
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
