//! The text format: one line for a person, UTC.

use super::append;
use super::event::{Body, Event};
use super::fold::Fold;
use super::notice::Notice;
use super::stamp::Stamp;
use crate::flow::record::{Basis, ConnState, EndReason, FiveTuple, FlowRecord};
use crate::inspect::detection::{Detection, Kind, Phase};

/// Renders text lines.
#[derive(Clone, Debug)]
pub struct Text {
    stamp: Stamp,
}

impl Default for Text {
    fn default() -> Self {
        Self::new()
    }
}

impl Text {
    /// A renderer; it remembers the last second.
    pub fn new() -> Self {
        Self {
            stamp: Stamp::spaced(),
        }
    }

    /// Appends the line of a shard's event, with its newline.
    pub fn event(&mut self, out: &mut Vec<u8>, event: &Event) {
        self.stamp.append_seconds(out, super::notice::ts_ns(event));
        match &event.body {
            Body::NewConnection(attempt) => {
                out.extend_from_slice(b": New connection: ");
                endpoints(out, &attempt.tuple);
            }
            Body::Flow(flow) => flow_line(out, flow),
            Body::Alert(detection) => alert_line(out, detection),
            Body::Folded(fold) => fold_line(out, fold),
        }
        out.push(b'\n');
    }

    /// Appends the line of a record of the sensor's own, with its newline.
    pub fn notice(&mut self, out: &mut Vec<u8>, notice: &Notice) {
        self.stamp.append_seconds(out, notice.ts_ns());
        let text = match notice {
            Notice::Lifecycle { word, text, .. } => {
                out.extend_from_slice(b": Sensor ");
                append::one_line(out, word);
                out.extend_from_slice(b": ");
                text
            }
            Notice::Stats { text, .. } => {
                out.extend_from_slice(b": Stats: ");
                text
            }
        };
        append::one_line(out, text);
        out.push(b'\n');
    }
}

fn endpoints(out: &mut Vec<u8>, tuple: &FiveTuple) {
    append::endpoint(out, tuple.src, tuple.src_port);
    out.extend_from_slice(b" -> ");
    append::endpoint(out, tuple.dst, tuple.dst_port);
}

fn flow_line(out: &mut Vec<u8>, flow: &FlowRecord) {
    out.extend_from_slice(b": Flow ended: ");
    endpoints(out, &flow.tuple);
    out.push(b' ');
    proto(out, flow.tuple.proto);
    out.push(b' ');
    out.extend_from_slice(conn_state(flow.conn_state).as_bytes());
    out.push(b' ');
    out.extend_from_slice(end_reason(flow.reason).as_bytes());
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
    if flow.shed {
        out.extend_from_slice(b", others shed");
    }
}

/// Prefixes that a line names.
const SENDERS_LISTED: usize = 3;

fn fold_line(out: &mut Vec<u8>, fold: &Fold) {
    out.extend_from_slice(b": New connections folded: -> ");
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
    append::int(out, fold.count);
    out.extend_from_slice(b" from about ");
    append::int(out, fold.sources.estimate());
    out.extend_from_slice(b" sources (+-3.25 %) in ");
    seconds(out, fold.last_ns.saturating_sub(fold.first_ns));
    out.extend_from_slice(b" s, most from ");
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

fn alert_line(out: &mut Vec<u8>, detection: &Detection) {
    out.extend_from_slice(match detection.kind {
        Kind::PortScan => b": Port scan ",
    });
    out.extend_from_slice(match detection.phase {
        Phase::Started => b"detected: ",
        Phase::Continues => b"continues: ",
        Phase::Ended => b"ended: ",
    });
    append::ip(out, detection.src);
    out.extend_from_slice(b" -> ");
    append::ip(out, detection.dst);
    out.extend_from_slice(b" on ports ");
    let ended = detection.phase == Phase::Ended;
    let listed = if ended {
        append::ranges(out, &detection.ranges)
    } else {
        append::ports(out, &detection.ranges)
    };
    let ports = u64::from(detection.ports);
    if ports > listed {
        out.extend_from_slice(b" (+");
        append::int(out, ports - listed);
        out.extend_from_slice(b" more)");
    }
    if ended {
        out.extend_from_slice(b" (");
        append::int(out, ports);
        let evidence = &detection.evidence;
        for (before, count) in [
            (&b" ports, "[..], evidence.refused),
            (b" refused, ", evidence.unanswered),
            (b" unanswered, ", evidence.answered),
        ] {
            out.extend_from_slice(before);
            append::int(out, count);
        }
        out.extend_from_slice(b" answered");
        if evidence.pending > 0 {
            out.extend_from_slice(b", ");
            append::int(out, evidence.pending);
            out.extend_from_slice(b" may still answer");
        }
        out.push(b')');
    }
    if !detection.exact {
        out.extend_from_slice(b" (not exact)");
    }
    if !detection.complete {
        out.extend_from_slice(b" (not complete)");
    }
}

fn proto(out: &mut Vec<u8>, proto: u8) {
    match proto_word(proto) {
        Some(word) => out.extend_from_slice(word.as_bytes()),
        None => append::int(out, proto),
    }
}

/// The protocol's name as Suricata has it; the others have their number.
pub fn proto_word(proto: u8) -> Option<&'static str> {
    match proto {
        1 => Some("ICMP"),
        6 => Some("TCP"),
        17 => Some("UDP"),
        58 => Some("IPv6-ICMP"),
        132 => Some("SCTP"),
        _ => None,
    }
}

/// Zeek's word for the state.
pub fn conn_state(state: ConnState) -> &'static str {
    match state {
        ConnState::S0 => "S0",
        ConnState::S1 => "S1",
        ConnState::Sf => "SF",
        ConnState::Rej => "REJ",
        ConnState::S2 => "S2",
        ConnState::S3 => "S3",
        ConnState::Rsto => "RSTO",
        ConnState::Rstr => "RSTR",
        ConnState::Rstos0 => "RSTOS0",
        ConnState::Rstrh => "RSTRH",
        ConnState::Sh => "SH",
        ConnState::Shr => "SHR",
        ConnState::Oth => "OTH",
    }
}

/// Our word for the end of a flow.
pub fn end_reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Fin => "fin",
        EndReason::Rst => "rst",
        EndReason::Refused => "refused",
        EndReason::Unanswered => "unanswered",
        EndReason::Timeout => "timeout",
        EndReason::Evicted => "evicted",
        EndReason::Eof => "eof",
    }
}

/// Our word for how far the handshake is proven.
pub fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::None => "none",
        Basis::Synack => "synack",
        Basis::Handshake => "handshake",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::samples;

    fn line(event: &Event) -> String {
        let mut out = Vec::new();
        Text::new().event(&mut out, event);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_connection_reads_exactly_as_promised() {
        assert_eq!(
            line(&samples::connection()),
            "2021-04-28 15:28:05: New connection: 192.0.2.56:5973 -> 10.0.0.5:80\n"
        );
        assert_eq!(
            line(&samples::connection6()),
            "2021-04-28 15:28:05: New connection: [2001:db8::1]:5973 -> [2001:db8::5]:80\n"
        );
    }

    #[test]
    fn a_scan_reads_exactly_as_promised() {
        let mut scan = samples::scan(Phase::Started, vec![(80, 83)], 4);
        let head = "2021-04-28 15:28:05: Port scan";
        let pair = "192.0.2.56 -> 10.0.0.5 on ports";
        assert_eq!(
            line(&samples::alert(&scan)),
            format!("{head} detected: {pair} 80,81,82,83\n")
        );

        scan = samples::scan(Phase::Continues, vec![(1, 1000)], 1000);
        let first: Vec<_> = (1..=64).map(|port| port.to_string()).collect();
        let first = first.join(",");
        assert_eq!(
            line(&samples::alert(&scan)),
            format!("{head} continues: {pair} {first} (+936 more)\n")
        );

        scan = samples::scan(Phase::Ended, vec![(1, 1000)], 1000);
        (scan.evidence.refused, scan.evidence.answered) = (994, 6);
        let counts = "(1000 ports, 994 refused, 0 unanswered, 6 answered)";
        assert_eq!(
            line(&samples::alert(&scan)),
            format!("{head} ended: {pair} 1-1000 {counts}\n")
        );
        (scan.evidence.refused, scan.evidence.pending) = (990, 4);
        let counts = "(1000 ports, 990 refused, 0 unanswered, 6 answered, 4 may still answer)";
        assert_eq!(
            line(&samples::alert(&scan)),
            format!("{head} ended: {pair} 1-1000 {counts}\n")
        );
    }

    #[test]
    fn a_summary_stops_at_64_ranges_and_says_what_it_cannot_vouch_for() {
        let ranges: Vec<_> = (0..70).map(|i| (i * 2 + 1, i * 2 + 1)).collect();
        let mut scan = samples::scan(Phase::Ended, ranges, 70);
        (scan.exact, scan.complete) = (false, false);
        let line = line(&samples::alert(&scan));
        assert!(line.ends_with(
            ",125,127 (+6 more) (70 ports, 0 refused, 0 unanswered, 0 answered) (not exact) (not complete)\n"
        ), "{line}");
    }

    #[test]
    fn a_flow_and_a_notice_have_lines_of_the_same_shape() {
        assert_eq!(
            line(&samples::flow()),
            "2021-04-28 15:28:07: Flow ended: 192.0.2.56:5973 -> 10.0.0.5:80 TCP SF fin \
             after 2.000001 s, sent 10 packets 1234 bytes, received 8 packets 4321 bytes\n"
        );
        let mut out = Vec::new();
        let mut text = Text::new();
        text.notice(&mut out, &samples::lifecycle());
        text.notice(&mut out, &samples::stats());
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            "2021-04-28 15:28:05: Sensor start: listening on  eth0\n\
             2021-04-28 15:28:05: Stats: 5 packets\n"
        );
    }

    #[test]
    fn a_flow_whose_clock_went_backwards_is_written() {
        let mut out = Vec::new();
        seconds(&mut out, -1_500_000_000);
        assert_eq!(out, b"-1.500000");
    }
}
