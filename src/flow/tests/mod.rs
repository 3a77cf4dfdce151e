//! Random traces against the model, and the promises of the module one by one.

use super::naive::Naive;
use super::naive::datagrams::Datagrams;
use super::record::{FlowEvent, FlowRecord, Outcome, When};
use super::{FlowCounts, Flows, Lane, Limits, Lookup};
use crate::decode::Headers;
use crate::decode::packet::*;
use std::collections::BTreeMap;
use std::net::IpAddr;
use traces::*;

mod early;
mod handshakes;
mod lasting;
mod parts;
mod probes;
mod rivals;
mod rules;
mod tenants;
mod traces;
mod waits;
mod zeek;

const SECOND: i64 = 1_000_000_000;
/// Packets that are looked up at once.
const BATCH: usize = 32;
const ROOMY: Limits = Limits {
    attempts: 8192,
    established: 1024,
    others: 4096,
    fragments: 1024,
    parts: false,
};

type Said = Vec<(When, FlowEvent)>;

fn assert_same(one: &Said, other: &Said, seed: u64) {
    let (one, other) = (sorted(one), sorted(other));
    if let Some(at) = (0..one.len().max(other.len())).find(|&i| one.get(i) != other.get(i)) {
        panic!("seed {seed}:\n{:?}\n{:?}", one.get(at), other.get(at));
    }
}

fn sorted(said: &Said) -> Vec<String> {
    let mut lines: Vec<_> = said.iter().map(|event| format!("{event:?}")).collect();
    lines.sort();
    lines
}

/// Hands packets to the tables as a shard does: looked up in batches, then one by one.
fn feed_batch(
    flows: &mut Flows,
    batch: &[(Packet, i64)],
    mut after_each: impl FnMut(&mut Flows, usize, &mut Said),
    said: &mut Said,
) {
    let mut pending: Vec<_> = batch
        .iter()
        .map(|(packet, _)| {
            let mut headers = Headers::of(packet)?;
            let mut lookup = Lookup::default();
            flows.prefetch(&mut headers, &mut lookup);
            Some((headers, lookup))
        })
        .collect();
    let mut elsewhere = Vec::new();
    for (_, lookup) in pending.iter_mut().flatten() {
        if flows.prefetch_entries(lookup) {
            elsewhere.push(*lookup);
        }
    }
    for lookup in &elsewhere {
        flows.prefetch_elsewhere(lookup);
    }
    for (i, ((packet, now), looked_up)) in batch.iter().zip(&pending).enumerate() {
        let mut out = |when, event| said.push((when, event));
        match looked_up {
            Some((segment, lookup))
                if lookup.lane == Lane::Segment && flows.add_segment(segment, lookup, *now) => {}
            Some((datagram, lookup))
                if lookup.lane == Lane::Datagram && flows.add_datagram(datagram, lookup, *now) => {}
            Some((syn, lookup))
                if lookup.lane == Lane::Touch && flows.open_attempt(syn, lookup, *now) =>
            {
                out(When::Packet, FlowEvent::Attempt(syn.into()));
            }
            Some((headers, lookup)) => flows.on_headers(headers, lookup, *now, &mut out),
            None => drop(flows.on_packet(packet, *now, &mut out)),
        }
        after_each(flows, i, said);
        flows.counts().check().expect("the books close");
    }
}

/// Runs a trace in batches; `sweep` says after which packets `expire` is called.
fn run(
    trace: &[(Packet, i64)],
    limits: Limits,
    keys: [u64; 2],
    mut sweep: impl FnMut(usize) -> bool,
) -> (Said, FlowCounts) {
    let mut flows = Flows::new(limits, keys);
    let mut said = Vec::new();
    for (number, batch) in trace.chunks(BATCH).enumerate() {
        let after_each = |flows: &mut Flows, i: usize, said: &mut Said| {
            if sweep(number * BATCH + i) {
                flows.expire(batch[i].1, &mut |when, event| said.push((when, event)));
            }
        };
        feed_batch(&mut flows, batch, after_each, &mut said);
    }
    flows.finish(&mut |when, event| said.push((when, event)));
    flows.counts().check().expect("the books close at the end");
    assert_eq!(flows.counts().flows_open, 0);
    assert_eq!(flows.held(), [0; 3], "finish leaves nothing");
    (said, *flows.counts())
}

fn play(segments: &[Packet]) -> (Said, FlowCounts) {
    let trace: Vec<_> = segments.iter().map(|p| (*p, p.ts_ns)).collect();
    run(&trace, ROOMY, [1, 1], |_| true)
}

fn records(said: &Said) -> Vec<FlowRecord> {
    let ends = said.iter().filter_map(|(_, event)| match event {
        FlowEvent::Ended(record) => Some(*record),
        _ => None,
    });
    ends.collect()
}

#[test]
fn tables_say_what_the_model_says() {
    let (mut established, mut reopened, mut merged, mut far) = (0, 0, 0, 0);
    let mut outcomes = BTreeMap::new();
    for seed in 0..400 {
        let mut trace = with_datagrams(seed, &random_segments(seed, 600));
        if seed % 4 == 0 {
            trace = alike(trace);
        }
        let (mut naive, mut datagrams) = (Naive::default(), Datagrams::default());
        for (packet, now) in &trace {
            match packet.tcp() {
                Some(_) => naive.on_packet(packet, *now),
                None => naive.on_time(*now),
            }
            datagrams.on_packet(packet, *now);
            far += naive.far();
        }
        naive.finish(trace.last().expect("not empty").1);
        let (mut said, counts) = run(&trace, ROOMY, [seed, 7], |i| i % 3 == 0);
        // The model has no records of other protocols.
        said.retain(
            |(_, event)| !matches!(event, FlowEvent::Ended(record) if record.tuple.proto != 6),
        );
        let model = [naive.said, datagrams.said].concat();
        assert_same(&said, &model, seed);
        assert_counted(&said, &counts);
        established += counts.established_connections;
        reopened += counts.flows_reopened;
        merged += counts.flows_merged;
        for (_, event) in &said {
            if let FlowEvent::Outcome {
                outcome, waited, ..
            } = event
            {
                let key = format!("{outcome:?}, late: {}", waited.is_some());
                *outcomes.entry(key).or_insert(0) += 1;
            }
        }
    }
    assert!(established > 1000, "only {established} established");
    assert!(reopened > 1000, "only {reopened} reopened");
    assert!(merged > 10, "only {merged} simultaneous opens");
    assert!(far > 1000, "only {far} beyond the fourth");
    // FIN with ACK does not wait, and where it follows what waits, that opens the flow: no late `Maimon`.
    let late = ["Null", "Fin", "Xmas", "Flags", "Ack", "StrayRst"].len();
    let kinds = 3 + 1 + 2 * late + 1 + 6;
    assert_eq!(outcomes.len(), kinds, "{outcomes:#?}");
    let rare = outcomes.iter().filter(|(_, count)| **count < 20);
    assert_eq!(rare.count(), 0, "{outcomes:#?}");
}

/// Each outcome is counted once.
fn assert_counted(said: &Said, counts: &FlowCounts) {
    let count = |wanted: fn(Outcome) -> bool| {
        let hits = said.iter().filter(
            |(_, event)| matches!(event, FlowEvent::Outcome { outcome, .. } if wanted(*outcome)),
        );
        hits.count() as u64
    };
    let told = [
        count(|one| one == Outcome::Answered),
        count(|one| one == Outcome::Refused),
        count(|one| one == Outcome::Established),
        count(|one| one == Outcome::HalfOpen),
        count(|one| matches!(one, Outcome::Probe(_))),
        count(|one| one == Outcome::UdpOpened),
        count(|one| one == Outcome::UdpAnswered),
        count(|one| one == Outcome::UdpRefused),
        count(|one| one == Outcome::Datagrams),
        count(|one| one == Outcome::StrayAnswer),
        count(|one| one == Outcome::StrayRst),
        count(|one| one == Outcome::Icmp),
    ];
    let counted = [
        counts.answered_connections,
        counts.refused_connections,
        counts.established_connections,
        counts.half_open_probes,
        counts.stealth_probes,
        counts.udp_opened,
        counts.udp_answered,
        counts.udp_refused,
        counts.datagram_marks,
        counts.stray_answers,
        counts.stray_resets,
        counts.icmp_messages,
    ];
    assert_eq!(told, counted);
}

#[test]
fn neither_keys_nor_table_size_nor_sweeps_change_what_is_said() {
    for seed in 1000..1100 {
        let trace = random_mix(seed, 500);
        let (said, counts) = run(&trace, ROOMY, [1, 2], |_| true);
        let mut dice = Dice(seed);
        let smaller = Limits {
            attempts: 2048,
            ..ROOMY
        };
        for (other, other_counts) in [
            run(&trace, ROOMY, [1, 2], |_| false),
            run(&trace, ROOMY, [3, 4], |_| dice.below(20) == 0),
            run(&trace, smaller, [5, 6], |i| i == 250),
        ] {
            assert_same(&said, &other, seed);
            assert_eq!(counts, other_counts, "seed {seed}");
        }
    }
}

#[test]
fn shards_say_together_what_one_says() {
    for seed in 2000..2100 {
        let trace = random_mix(seed, 500);
        let (mut whole, _) = run(&trace, ROOMY, [1, 2], |_| true);
        let mut parts = Vec::new();
        for shard in 0..2 {
            let part: Vec<_> = trace
                .iter()
                .filter(|(p, _)| shard_of(p) == shard)
                .copied()
                .collect();
            let mut flows = Flows::new(ROOMY, [shard, 9]);
            let mut part = part.into_iter().peekable();
            for (packet, now) in &trace {
                if part
                    .next_if(|(mine, at)| mine == packet && at == now)
                    .is_some()
                {
                    flows.on_packet(packet, *now, &mut |when, event| parts.push((when, event)));
                } else {
                    flows.expire(*now, &mut |when, event| parts.push((when, event)));
                }
            }
            flows.finish(&mut |when, event| parts.push((when, event)));
        }
        whole.sort_by_key(|event| format!("{event:?}"));
        assert_eq!(sorted(&whole), sorted(&parts), "seed {seed}");
    }
}

/// By the client's port; fragments and what has no port by one shard, as the address pair decides.
fn shard_of(packet: &Packet) -> u64 {
    let odd = |a: u16, b: u16| u64::from((a ^ b) & 1);
    match packet.transport {
        Transport::Tcp(tcp) => odd(tcp.src_port, tcp.dst_port),
        Transport::Udp(udp) => odd(udp.src_port, udp.dst_port),
        Transport::Icmp(Icmp {
            quoted: Some(q), ..
        }) => odd(q.src_port, q.dst_port),
        _ => 1,
    }
}

#[test]
fn expiry_comes_in_exact_order() {
    for seed in 3000..3040 {
        let mut flows = Flows::new(ROOMY, [seed, 1]);
        let mut said: Said = Vec::new();
        let trace = random_mix(seed, 500);
        for (packet, now) in &trace {
            let before = said.len();
            flows.expire(*now, &mut |when, event| said.push((when, event)));
            let order = |(when, event): &(When, FlowEvent)| match (when, event) {
                (When::Deadline(due), FlowEvent::Ended(r)) => {
                    assert!(due <= now);
                    Some((*due, r.start_ns, r.tuple, r.isn, r.midstream, r.reason))
                }
                // Of segments that waited, which leave before flows end.
                (When::Deadline(due), FlowEvent::Outcome { waited, .. }) => {
                    assert!(due <= now && waited.is_some());
                    None
                }
                other => panic!("{other:?} from a sweep"),
            };
            assert!(said[before..].is_sorted_by_key(order), "seed {seed}");
            flows.on_packet(packet, *now, &mut |when, event| {
                assert!(
                    !matches!(when, When::Deadline(_)),
                    "nothing due is left: {event:?}"
                );
                said.push((when, event));
            });
        }
        let before = said.len();
        flows.finish(&mut |when, event| said.push((when, event)));
        let ends = records(&said[before..].to_vec());
        assert!(ends.is_sorted_by_key(|r| (r.start_ns, r.tuple, r.isn)));
    }
}
