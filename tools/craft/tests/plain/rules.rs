//! The naive rules, counted the slow way.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

use super::{ACK, Attempt, Body, Ends, Packet, RST, SECOND, SYN, attempts, reversed};

/// Whether at some time `count` distinct items of one subject were touched within `window`.
fn distinct<S: Hash + Eq, I: Hash + Eq + Ord + Copy>(
    touches: impl Iterator<Item = (S, I, i64)>,
    count: usize,
    window: i64,
) -> bool {
    let mut subjects: HashMap<S, Vec<(I, i64)>> = HashMap::new();
    for (subject, item, at) in touches {
        let newest = subjects.entry(subject).or_default();
        newest.retain(|(old, then)| *old != item && at - then < window);
        newest.push((item, at));
        if newest.len() >= count {
            return true;
        }
    }
    false
}

/// Whether some second has `count` events of one subject.
fn flooded<S: Hash + Eq>(events: impl Iterator<Item = (S, i64)>, count: usize) -> bool {
    let mut seconds: HashMap<(S, i64), usize> = HashMap::new();
    for (subject, at) in events {
        *seconds.entry((subject, at / SECOND)).or_default() += 1;
    }
    // Half in each of two neighbouring seconds would be as many within one second.
    seconds.values().any(|&events| events * 2 >= count)
}

/// Ends and times of SYNs.
fn syns(packets: &[Packet]) -> impl Iterator<Item = (Ends, i64)> {
    packets.iter().filter_map(|packet| match packet.body {
        Body::Tcp { ends, flags, .. } if flags & (SYN | ACK) == SYN => Some((ends, packet.at)),
        _ => None,
    })
}

/// Ends and times of datagrams.
fn udp(packets: &[Packet]) -> impl Iterator<Item = (Ends, i64)> {
    packets.iter().filter_map(|packet| match packet.body {
        Body::Udp { ends, .. } => Some((ends, packet.at)),
        _ => None,
    })
}

/// Names of the naive rules whose condition these packets meet, sorted.
pub fn met(packets: &[Packet]) -> BTreeSet<&'static str> {
    let rules = scans(packets).into_iter().chain(floods(packets));
    rules
        .filter_map(|(rule, met)| met.then_some(rule))
        .collect()
}

fn scans(packets: &[Packet]) -> [(&'static str, bool); 6] {
    const MINUTE: i64 = 60 * SECOND;
    let ports = syns(packets).map(|((src, _, dst, port), at)| ((src, dst), port, at));
    let hosts = syns(packets).map(|((src, _, dst, port), at)| ((src, port), dst, at));
    let pairs = syns(packets).map(|((src, _, dst, port), at)| (src, (dst, port), at));
    let datagrams = udp(packets).map(|((src, _, dst, port), at)| ((src, dst), port, at));
    let failed: Vec<_> = attempts(packets)
        .into_iter()
        .filter(Attempt::failed)
        .map(|attempt| (attempt.ends.2, attempt.ends.3, attempt.at))
        .collect();
    [
        ("port_scan", distinct(ports, 4, MINUTE)),
        ("host_sweep", distinct(hosts, 25, MINUTE)),
        ("slow_scan", distinct(pairs, 10, 480 * MINUTE)),
        ("udp_scan", distinct(datagrams, 10, MINUTE)),
        (
            "stealth_scan",
            distinct(strays(packets).into_iter(), 3, MINUTE),
        ),
        ("distributed_scan", distinct(failed.into_iter(), 20, MINUTE)),
    ]
}

fn floods(packets: &[Packet]) -> [(&'static str, bool); 4] {
    let targets = syns(packets).map(|((_, _, dst, port), at)| ((dst, port), at));
    let resets = packets.iter().filter_map(|packet| match packet.body {
        Body::Tcp { flags, .. } if flags & RST != 0 => Some((packet.dst, packet.at)),
        _ => None,
    });
    let datagrams = udp(packets).map(|((_, _, dst, _), at)| (dst, at));
    let messages = packets.iter().filter_map(|packet| match packet.body {
        Body::Icmp { .. } => Some((packet.dst, packet.at)),
        _ => None,
    });
    [
        ("syn_flood", flooded(targets, 1000)),
        ("rst_flood", flooded(resets, 5000)),
        ("udp_flood", flooded(datagrams, 10_000)),
        ("icmp_flood", flooded(messages, 1000)),
    ]
}

/// Source and destination, port, time.
type Stray = ((IpAddr, IpAddr), u16, i64);

/// Segments other than SYNs between ends of which no SYN was seen before.
fn strays(packets: &[Packet]) -> Vec<Stray> {
    let mut opened = HashSet::new();
    let mut out = Vec::new();
    for packet in packets {
        let Body::Tcp { ends, flags, .. } = packet.body else {
            continue;
        };
        if flags & (SYN | ACK) == SYN {
            opened.insert(ends);
        } else if !opened.contains(&ends) && !opened.contains(&reversed(ends)) {
            out.push(((ends.0, ends.2), ends.3, packet.at));
        }
    }
    out
}
