//! The table of tools.

use super::lab::is_target;
use super::manifest::{Content, Packet};
use super::modes::Mode;
use super::rules::{DAY_US, day_us};
use super::{Alert, address_of};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

const HEAD: &str = "\
| tool | mode | sent to the target | promised | detected | at port | after | verdict |
|---|---|---|---|---|---|---|---|
";

/// A mode's run.
pub struct Run {
    pub mode: Mode,
    /// The scanner.
    pub source: IpAddr,
    pub alerts: Vec<Alert>,
    /// What was sent, in words.
    sent: String,
    /// For each kind: number of detections, and the first one.
    detected: BTreeMap<String, (usize, Detected)>,
}

/// The first detection of a kind.
struct Detected {
    /// Distinct ports, or hosts of one port, that were touched until then; of a flood: packets.
    items: usize,
    after_ns: i64,
    verdict: Option<String>,
    /// Of the last record of this kind.
    last_verdict: Option<String>,
}

impl Run {
    /// Counts what was sent, and until each detection.
    pub fn new(mode: Mode, at: usize, packets: &[Packet], alerts: Vec<Alert>) -> Self {
        let sent: Vec<&Packet> = packets.iter().filter(|one| is_target(one.dst)).collect();
        let mut detected = BTreeMap::new();
        for alert in &alerts {
            let first = || (0, first(alert, packets));
            let (times, first) = detected.entry(alert.kind.clone()).or_insert_with(first);
            *times += usize::from(alert.phase == "started");
            if alert.verdict.is_some() {
                first.last_verdict.clone_from(&alert.verdict);
            }
        }
        Self {
            mode,
            source: address_of(at, &mode),
            alerts,
            sent: in_words(&sent),
            detected,
        }
    }

    fn row(&self) -> String {
        let each = |cell: &dyn Fn(&String, usize, &Detected) -> String| {
            let cells = self.detected.iter();
            let cells = cells.map(|(kind, (times, first))| cell(kind, *times, first));
            cells.collect::<Vec<_>>().join("<br>")
        };
        let kinds = each(&|kind, times, _| match times {
            1 => kind.clone(),
            times => format!("{kind} × {times}"),
        });
        let items = each(&|kind, _, first| match kind.as_str() {
            "host_sweep" => format!("host {}", first.items),
            kind if kind.ends_with("_flood") => format!("packet {}", first.items),
            _ => first.items.to_string(),
        });
        let after = each(&|_, _, first| duration(first.after_ns));
        let verdict = each(&|_, _, first| match (&first.verdict, &first.last_verdict) {
            (Some(verdict), Some(last)) if verdict != last => format!("{verdict}, then {last}"),
            (verdict, _) => verdict.clone().unwrap_or_default(),
        });
        let promised = match self.mode.promised {
            [] => "no rule promises it".to_owned(),
            kinds => kinds.join("<br>"),
        };
        let (tool, line, sent) = (self.mode.program(), self.mode.line(), &self.sent);
        format!(
            "| {tool} | `{line}` | {sent} | {promised} | {kinds} | {items} | {after} | {verdict} |\n"
        )
    }
}

fn first(alert: &Alert, packets: &[Packet]) -> Detected {
    let from = |one: &&Packet| match alert.src {
        Some(src) => one.src == src,
        None => alert.dst.is_none_or(|dst| one.dst == dst),
    };
    let all: Vec<&Packet> = packets.iter().filter(from).collect();
    let began_us = all.first().map_or(0, |one| day_us(one.ts_ns));
    let after = |us: i64| (us - began_us).rem_euclid(DAY_US);
    let after_us = after(alert.day_us);
    // An answer may decide, or a deadline.
    let touched = all
        .iter()
        .take_while(|one| after(day_us(one.ts_ns)) <= after_us);
    let items = match alert.kind.as_str() {
        "host_sweep" => distinct(touched.map(|one| one.dst)),
        kind if kind.ends_with("_flood") => touched.count(),
        _ => distinct(touched.map(|one| one.dst_port())),
    };
    Detected {
        items,
        after_ns: after_us * 1000,
        verdict: alert.verdict.clone(),
        last_verdict: None,
    }
}

fn distinct<T: Ord>(all: impl Iterator<Item = T>) -> usize {
    all.collect::<BTreeSet<T>>().len()
}

/// `104 TCP to 100 ports in 0.3 s`.
fn in_words(sent: &[&Packet]) -> String {
    let mut by_proto: BTreeMap<&str, usize> = BTreeMap::new();
    for packet in sent {
        let proto = match packet.content {
            Content::Tcp(_) => "TCP",
            Content::Udp { .. } => "UDP",
            Content::Icmp { .. } => "ICMP",
            Content::Sctp { .. } => "SCTP",
        };
        *by_proto.entry(proto).or_default() += 1;
    }
    let counts = by_proto
        .iter()
        .map(|(proto, count)| format!("{count} {proto}"));
    let mut text = counts.collect::<Vec<_>>().join(", ");
    let ports = distinct(sent.iter().filter_map(|one| one.dst_port()));
    let hosts = distinct(sent.iter().map(|one| one.dst));
    let sources = distinct(sent.iter().map(|one| one.src));
    for (count, what) in [(ports, "ports"), (hosts, "hosts"), (sources, "sources")] {
        if count > 1 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    if let (Some(first), Some(last)) = (sent.first(), sent.last()) {
        let _ = write!(text, ", in {}", duration(last.ts_ns - first.ts_ns));
    }
    text
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn duration(ns: i64) -> String {
    let seconds = ns as f64 / 1e9;
    if seconds < 1e-3 {
        format!("{} µs", ns / 1000)
    } else if seconds < 1.0 {
        format!("{} ms", ns / 1_000_000)
    } else if seconds < 600.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.0} min", seconds / 60.0)
    }
}

/// The whole table, with what its columns mean.
pub fn table(runs: &[Run]) -> String {
    let mut text = "\
# Tools and what detects them

Each row is one run against one host (open, closed and filtered ports), recorded beside the sensor and read by
`synledger read` with its defaults. *At port*: distinct ports (hosts, packets) that the source had touched when the
first detection of this kind started; *after*: time since its first packet; *verdict*: at that moment, and at the
end. Runs of `nmap -T0`, `-T1` and `--scan-delay` of 15 s and more were recorded faster, and their time stamps
rewritten to that delay. What `-sA` and `-sW` send is reported a second later than *after* says: it waits so long for
the SYN of its connection. No rule promises to detect scans by SCTP (`-sY`), sweeps by UDP, or a scan of fewer ports
or hosts than its rule asks for. A flood is judged at the end of its second.
Times are those of this run on this machine, of no other.

"
    .to_owned();
    text += HEAD;
    text.extend(runs.iter().map(Run::row));
    text
}
