//! Members of records as names and values, for formats that have such: structured data, CEF, the journal.

use super::flow_id::{self, has_ports, is_icmp};
use crate::flow::record::{FiveTuple, FlowRecord, proto_word};
use crate::inspect::detection::{Detection, Evidence, Extent, Phase, Verdict};
use crate::log::block_record::{BlockRecord, Outcome, Why};
use crate::log::event::{Body, Event};
use crate::log::fold::Fold;
use crate::log::notice::{Notice, Stats};
use std::net::IpAddr;

/// A name in each format.
#[derive(Debug)]
pub struct Name {
    /// In structured data; in upper case behind `SYNLEDGER_` in the journal.
    pub word: &'static str,
    /// CEF's key.
    pub cef: &'static str,
    /// Of a key without a meaning of its own (`cs1`): its label.
    pub label: Option<&'static str>,
}

const fn name(word: &'static str, cef: &'static str) -> Name {
    let label = None;
    Name { word, cef, label }
}

const fn custom(word: &'static str, cef: &'static str) -> Name {
    let label = Some(word);
    Name { word, cef, label }
}

static EVENT: Name = name("event", "cat");
static SRC: Name = name("src", "src");
static DST: Name = name("dst", "dst");
static SRC_PORT: Name = name("src_port", "spt");
static DST_PORT: Name = name("dst_port", "dpt");
static PROTO: Name = name("proto", "proto");
static IFACE: Name = name("iface", "deviceInboundInterface");
static FLOW_ID: Name = name("flow_id", "externalId");
static START: Name = name("start", "start");
static END: Name = name("end", "end");
static BYTES: Name = name("bytes_toserver", "in");
static BYTES_BACK: Name = name("bytes_toclient", "out");
static COUNT: Name = name("count", "cnt");
static ACTION: Name = name("action", "act");
static REASON: Name = name("reason", "reason");
static DIRECTION: Name = custom("direction", "cs1");
static STATE: Name = custom("conn_state", "cs2");
static HISTORY: Name = custom("history", "cs3");
static KIND: Name = custom("kind", "cs2");
static PHASE: Name = custom("phase", "cs3");
static VERDICT: Name = custom("verdict", "cs4");
static PROOF: Name = custom("proof", "cs5");
static PREFIX: Name = custom("src_net", "cs6");
static ICMP_TYPE: Name = custom("icmp_type", "cn1");
static PACKETS: Name = custom("pkts_toserver", "cn2");
static PACKETS_BACK: Name = custom("pkts_toclient", "cn3");
static PART: Name = custom("part", "flexNumber1");
static REFUSED: Name = custom("refused", "cn1");
static UNANSWERED: Name = custom("unanswered", "cn2");
static ANSWERED: Name = custom("answered", "cn3");
static SOURCES: Name = custom("sources", "cn1");
static MODE: Name = custom("mode", "cs6");
static WHY: Name = custom("why", "cs3");
static FOR_S: Name = custom("for_s", "cn1");
static FRAMES: Name = custom("frames", "cn1");
static MISSED: Name = custom("missed", "cn2");
static CONNECTIONS: Name = custom("new_connections", "cn3");
static WORD: Name = custom("lifecycle", "cs2");

/// A value.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Any text.
    Text(&'a str),
    /// A number.
    Number(u64),
    /// An address.
    Address(IpAddr),
    /// A time, ns since the Unix epoch.
    Time(i64),
}

/// Takes members in the order of a record.
pub trait Members {
    /// Appends one.
    fn member(&mut self, name: &'static Name, value: Value<'_>);
}

/// What a record needs beside its event.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Name of its interface; empty: none.
    pub interface: &'a str,
    /// Direction of its addresses.
    pub direction: &'static str,
}

/// How important a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Somebody should look.
    Warning,
    /// Rare.
    Notice,
    /// All else.
    Info,
}

impl Severity {
    /// RFC 5424's number.
    pub fn number(self) -> u8 {
        match self {
            Self::Warning => 4,
            Self::Notice => 5,
            Self::Info => 6,
        }
    }
}

/// What kind of record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nature {
    /// A stable word.
    pub word: &'static str,
    /// A few words.
    pub title: &'static str,
    /// How important it is.
    pub severity: Severity,
}

const fn nature(word: &'static str, title: &'static str, severity: Severity) -> Nature {
    Nature {
        word,
        title,
        severity,
    }
}

/// That of an event.
pub fn nature_of_event(event: &Event) -> Nature {
    match &event.body {
        Body::NewConnection(_) => nature("new_connection", "New connection", Severity::Info),
        Body::Folded(_) => nature("new_connections", "New connections folded", Severity::Info),
        Body::Flow(flow) if flow.interim => nature("flow", "Flow goes on", Severity::Info),
        Body::Flow(_) => nature("flow", "Flow ended", Severity::Info),
        Body::Alert(detection) => {
            let is_over = detection.phase == Phase::Ended;
            let is_vague = detection.verdict == Some(Verdict::Unproven);
            let severity = match is_over || is_vague {
                true => Severity::Notice,
                false => Severity::Warning,
            };
            nature(
                detection.kind.word(),
                detection.kind.about().title,
                severity,
            )
        }
    }
}

/// That of a notice.
pub fn nature_of_notice(notice: &Notice) -> Nature {
    match notice {
        Notice::Lifecycle { .. } => nature("lifecycle", "Sensor", Severity::Notice),
        Notice::Stats { .. } => nature("stats", "Statistics", Severity::Info),
        Notice::Block(_) => nature("block", "Block", Severity::Notice),
    }
}

/// The interface of an event and its addresses, for [`Surroundings`].
pub fn place(event: &Event) -> Option<(u16, IpAddr, IpAddr)> {
    let of = |interface, tuple: &FiveTuple| Some((interface, tuple.src, tuple.dst));
    match &event.body {
        Body::NewConnection(attempt) => of(attempt.interface, &attempt.tuple),
        Body::Flow(flow) => of(flow.interface, &flow.tuple),
        Body::Alert(detection) => {
            let (subject, interface) = (detection.subject, detection.interface);
            Some((interface, subject.src()?, subject.dst()))
        }
        Body::Folded(_) => None,
    }
}

/// Puts the members of an event.
pub fn of_event(to: &mut impl Members, event: &Event, around: Surroundings<'_>) {
    to.member(&EVENT, Value::Text(nature_of_event(event).word));
    match &event.body {
        Body::NewConnection(attempt) => {
            endpoints(to, &attempt.tuple, attempt.isn);
        }
        Body::Flow(flow) => {
            endpoints(to, &flow.tuple, flow.isn);
            of_flow(to, flow);
        }
        Body::Alert(detection) => of_detection(to, detection),
        Body::Folded(fold) => of_fold(to, fold),
    }
    if !around.interface.is_empty() {
        to.member(&IFACE, Value::Text(around.interface));
    }
    if place(event).is_some() {
        to.member(&DIRECTION, Value::Text(around.direction));
    }
}

fn endpoints(to: &mut impl Members, tuple: &FiveTuple, isn: u32) {
    to.member(&SRC, Value::Address(tuple.src));
    to.member(&DST, Value::Address(tuple.dst));
    if has_ports(tuple.proto) {
        to.member(&SRC_PORT, Value::Number(tuple.src_port.into()));
        to.member(&DST_PORT, Value::Number(tuple.dst_port.into()));
    } else if is_icmp(tuple.proto) {
        to.member(&ICMP_TYPE, Value::Number(tuple.src_port.into()));
    }
    match proto_word(tuple.proto) {
        Some(word) => to.member(&PROTO, Value::Text(word)),
        None => to.member(&PROTO, Value::Number(tuple.proto.into())),
    }
    to.member(&FLOW_ID, Value::Number(flow_id::id(tuple, isn)));
}

fn of_flow(to: &mut impl Members, flow: &FlowRecord) {
    to.member(&START, Value::Time(flow.since_ns));
    to.member(&END, Value::Time(flow.end_ns));
    to.member(&PACKETS, Value::Number(flow.orig.packets));
    to.member(&PACKETS_BACK, Value::Number(flow.resp.packets));
    to.member(&BYTES, Value::Number(flow.orig.bytes));
    to.member(&BYTES_BACK, Value::Number(flow.resp.bytes));
    to.member(&STATE, Value::Text(flow.conn_state.word()));
    let letters = &flow.history.letters[..flow.history.len()];
    to.member(&HISTORY, Value::Text(str::from_utf8(letters).unwrap_or("")));
    to.member(&REASON, Value::Text(flow.end_word()));
    if flow.is_part() {
        to.member(&PART, Value::Number(flow.part.into()));
    }
}

fn of_detection(to: &mut impl Members, detection: &Detection) {
    if let Some(src) = detection.subject.src() {
        to.member(&SRC, Value::Address(src));
        if let Some(prefix) = detection.src_prefix {
            to.member(&PREFIX, Value::Text(&format!("{src}/{prefix}")));
        }
    }
    to.member(&DST, Value::Address(detection.subject.dst()));
    if let Some(port) = detection.subject.port() {
        to.member(&DST_PORT, Value::Number(port.into()));
    }
    to.member(&PROTO, Value::Text(detection.kind.about().proto));
    to.member(&KIND, Value::Text(detection.kind.word()));
    to.member(&PHASE, Value::Text(detection.phase.word()));
    to.member(&COUNT, Value::Number(detection.extent.count()));
    to.member(&START, Value::Time(detection.first_ns));
    to.member(&END, Value::Time(detection.last_ns));
    match (detection.verdict, &detection.crowd) {
        (Some(verdict), _) => {
            to.member(&VERDICT, Value::Text(verdict.word()));
            to.member(&PROOF, Value::Text(detection.proof.word()));
            evidence(to, &detection.evidence);
        }
        (None, Some(crowd)) if matches!(detection.extent, Extent::Packets { .. }) => {
            to.member(&SOURCES, Value::Number(crowd.sources));
        }
        (None, _) => {}
    }
}

fn evidence(to: &mut impl Members, evidence: &Evidence) {
    to.member(&REFUSED, Value::Number(evidence.refused.into()));
    to.member(&UNANSWERED, Value::Number(evidence.unanswered.into()));
    to.member(&ANSWERED, Value::Number(evidence.answered.into()));
}

fn of_fold(to: &mut impl Members, fold: &Fold) {
    if let Some(dst) = fold.target.dst {
        to.member(&DST, Value::Address(dst));
    }
    if let Some(port) = fold.target.port {
        to.member(&DST_PORT, Value::Number(port.into()));
    }
    to.member(&PROTO, Value::Text("TCP"));
    to.member(&COUNT, Value::Number(fold.count));
    to.member(&START, Value::Time(fold.first_ns));
    to.member(&END, Value::Time(fold.last_ns));
    to.member(&SOURCES, Value::Number(fold.sources.estimate()));
}

/// Puts the members of a notice.
pub fn of_notice(to: &mut impl Members, notice: &Notice) {
    to.member(&EVENT, Value::Text(nature_of_notice(notice).word));
    match notice {
        Notice::Lifecycle { word, .. } => to.member(&WORD, Value::Text(word)),
        Notice::Stats { stats, .. } => of_stats(to, stats),
        Notice::Block(record) => of_block(to, record),
    }
}

fn of_stats(to: &mut impl Members, stats: &Stats) {
    let shards = &stats.now.shards;
    to.member(&FRAMES, Value::Number(shards.frames));
    to.member(&MISSED, Value::Number(stats.now.missed()));
    to.member(&CONNECTIONS, Value::Number(shards.flow.new_connections));
}

fn of_block(to: &mut impl Members, record: &BlockRecord) {
    let net = record.net;
    let is_host = net.prefix_len() == net.max_prefix_len();
    let detected = match &record.why {
        Why::Detection(cause) => cause.src,
        _ => None,
    };
    if let Some(src) = detected.or_else(|| is_host.then(|| net.addr())) {
        to.member(&SRC, Value::Address(src));
    }
    let action = match (&record.outcome, record.dry_run) {
        (Outcome::Blocked { .. }, false) => "blocked",
        (Outcome::Blocked { .. }, true) => "would_block",
        (Outcome::Refused { .. }, _) => "refused",
        (Outcome::Ended { .. }, _) => "ended",
    };
    to.member(&ACTION, Value::Text(action));
    to.member(&MODE, Value::Text(record.mode));
    to.member(&WHY, Value::Text(record.why.word()));
    match record.outcome {
        Outcome::Blocked { for_s, .. } => to.member(&FOR_S, Value::Number(for_s.into())),
        Outcome::Refused { reason, .. } => to.member(&REASON, Value::Text(reason)),
        Outcome::Ended { cause, .. } => to.member(&REASON, Value::Text(cause)),
    }
    if let Why::Detection(cause) = &record.why {
        to.member(&DST, Value::Address(cause.dst));
        to.member(&KIND, Value::Text(cause.kind.word()));
        to.member(&COUNT, Value::Number(cause.count));
        if let Some(verdict) = cause.verdict {
            to.member(&VERDICT, Value::Text(verdict.word()));
        }
        to.member(&PROOF, Value::Text(cause.proof.word()));
    }
}
