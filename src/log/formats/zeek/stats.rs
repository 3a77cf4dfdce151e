//! `stats.log`: the books of an interval in Zeek's columns (policy/misc/stats). What the books do not have is unset.

use super::Field;
use crate::books::ring::RingCounts;
use crate::log::notice::Stats;
use std::io::Write as _;

pub(super) const STATS: &[Field] = &[
    ("ts", "time"),
    ("peer", "string"),
    ("mem", "count"),
    ("pkts_proc", "count"),
    ("bytes_recv", "count"),
    ("pkts_dropped", "count"),
    ("pkts_link", "count"),
    ("pkt_lag", "interval"),
    ("pkts_filtered", "count"),
    ("events_proc", "count"),
    ("events_queued", "count"),
    ("active_tcp_conns", "count"),
    ("active_udp_conns", "count"),
    ("active_icmp_conns", "count"),
    ("tcp_conns", "count"),
    ("udp_conns", "count"),
    ("icmp_conns", "count"),
    ("timers", "count"),
    ("active_timers", "count"),
    ("files", "count"),
    ("active_files", "count"),
    ("dns_requests", "count"),
    ("active_dns_requests", "count"),
    ("reassem_tcp_size", "count"),
    ("reassem_file_size", "count"),
    ("reassem_frag_size", "count"),
    ("reassem_unknown_size", "count"),
];

/// Appends the row behind its time and the sensor's name.
pub(super) fn rest_of_row(out: &mut Vec<u8>, stats: &Stats) {
    let interval = stats.now.since(&stats.before);
    let is_live = !stats.now.rings.is_empty();
    let sum = |count: fn(&RingCounts) -> u64| {
        let all: u64 = interval.rings.iter().map(count).sum();
        is_live.then_some(all)
    };
    let flow = &interval.shards.flow;
    for (name, _) in &STATS[2..] {
        let value = match *name {
            "pkts_proc" => Some(interval.shards.frames),
            "pkts_dropped" => sum(|ring| ring.tp_drops),
            "pkts_link" => sum(|ring| ring.tp_packets),
            "pkts_filtered" => interval.filtered.filter(|_| is_live),
            "tcp_conns" => Some(flow.new_connections + flow.midstream_flows),
            _ => None,
        };
        let _ = match value {
            Some(value) => write!(out, "\t{value}"),
            None => write!(out, "\t-"),
        };
    }
    out.push(b'\n');
}
