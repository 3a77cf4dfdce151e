//! Parts of flows that last: their sum is the flow, whoever sweeps and when.

use super::*;
use crate::flow::record::Volume;

const EVERY: i64 = 5 * SECOND;
const PARTS: Limits = Limits {
    parts: true,
    ..ROOMY
};

/// As [`run`], with interim records each [`EVERY`].
fn run_in_parts(
    trace: &[(Packet, i64)],
    keys: [u64; 2],
    mut sweep: impl FnMut(usize) -> bool,
) -> (Said, FlowCounts) {
    let mut flows = Flows::new(PARTS, keys);
    flows.report_parts(EVERY, true);
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
    (said, *flows.counts())
}

/// The same without records of parts.
fn whole(said: &Said) -> Said {
    let mut said = said.clone();
    said.retain_mut(|(_, event)| match event {
        FlowEvent::Ended(record) => {
            record.total = false;
            !record.is_part()
        }
        _ => true,
    });
    said
}

fn sum(a: &Volume, b: &Volume) -> Volume {
    Volume {
        packets: a.packets + b.packets,
        bytes: a.bytes + b.bytes,
        payload_bytes: a.payload_bytes + b.payload_bytes,
        ip_bytes: a.ip_bytes + b.ip_bytes,
        retransmitted_packets: a.retransmitted_packets + b.retransmitted_packets,
        retransmitted_bytes: a.retransmitted_bytes + b.retransmitted_bytes,
        missed_bytes: a.missed_bytes + b.missed_bytes,
        tcp_flags: a.tcp_flags | b.tcp_flags,
    }
}

/// Checks that the parts of each flow are its record; returns how many records of parts there are.
fn check_parts(said: &Said) -> u64 {
    let mut open: BTreeMap<_, Vec<FlowRecord>> = BTreeMap::new();
    let mut all = 0;
    let mut totals = BTreeMap::new();
    for record in records(said) {
        let key = (record.tuple, record.id, record.isn, record.start_ns);
        if record.total {
            totals.insert(key, record);
        }
        if !record.is_part() {
            continue;
        }
        all += 1;
        let before = open.entry(key).or_default();
        assert_eq!(record.part as usize, before.len(), "{record:?}");
        let packets = record.orig.packets + record.resp.packets;
        assert!(packets > 0 || !record.interim, "{record:?}");
        assert!(record.start_ns <= record.since_ns && record.since_ns <= record.end_ns);
        before.push(record);
        if record.interim {
            continue;
        }
        let parts = open.remove(&key).expect("it is there");
        let add = |(orig, resp): (Volume, Volume), one: &FlowRecord| {
            (sum(&orig, &one.orig), sum(&resp, &one.resp))
        };
        let sums = parts.iter().fold(Default::default(), add);
        let total = totals.remove(&key).expect("the whole flow comes first");
        assert_eq!(sums, (total.orig, total.resp), "{parts:?}");
        assert_eq!(parts[0].since_ns, total.start_ns);
        assert_eq!(
            (total.reason, total.conn_state, total.history, total.end_ns),
            (
                record.reason,
                record.conn_state,
                record.history,
                record.end_ns
            )
        );
    }
    assert!(open.is_empty() && totals.is_empty(), "each flow ended");
    all
}

#[test]
fn parts_sum_up_to_the_flow_and_nothing_else_changes() {
    let mut all = 0;
    for seed in 0..100 {
        let mut trace = with_datagrams(seed, &random_segments(seed, 600));
        if seed % 4 == 0 {
            trace = alike(trace);
        }
        let (without, _) = run(&trace, ROOMY, [seed, 7], |i| i % 3 == 0);
        let (said, counts) = run_in_parts(&trace, [seed, 7], |i| i % 3 == 0);
        assert_same(&whole(&said), &without, seed);
        let parts = check_parts(&said);
        assert_eq!(counts.flow_parts, parts);
        all += parts;
        for sweep in [|_| false, |_| true, |i| i % 97 == 0] as [fn(usize) -> bool; 3] {
            let (other, _) = run_in_parts(&trace, [seed + 1, 3], sweep);
            assert_same(&other, &said, seed);
        }
    }
    eprintln!("{all} records of parts");
    assert!(all > 1000, "{all}");
}

#[test]
fn a_long_connection_reports_what_came_since_the_record_before() {
    let mut packets = vec![
        segment(0, C, D, S, 10, 0),
        segment(1, D, C, S | A, 20, 11),
        segment(2, C, D, A, 11, 21),
    ];
    // Nothing comes from the 6th to the 31st second.
    for second in [1, 2, 6, 31, 32] {
        packets.push(segment(second * SECOND, C, D, A, 11, 21));
    }
    let trace: Vec<_> = packets.iter().map(|it| (*it, it.ts_ns)).collect();
    let (said, counts) = run_in_parts(&trace, [1, 2], |_| false);
    check_parts(&said);
    let parts: Vec<_> = records(&said)
        .into_iter()
        .filter(|it| it.is_part())
        .collect();
    let packets: Vec<_> = parts.iter().map(|it| it.orig.packets).collect();
    assert_eq!(packets, [4, 1, 2]);
    assert_eq!(counts.flow_parts, 3);
    assert_eq!(
        parts.iter().map(|it| it.interim).collect::<Vec<_>>(),
        [true, true, false]
    );
}
