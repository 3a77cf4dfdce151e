//! Attempts leave in their order, however many at a time, and whoever asks for records.

use super::*;
use crate::flow::record::{Basis, ConnState, EndReason};

#[test]
fn a_flood_evicts_last_who_waits_for_the_clients_proof() {
    let limits = Limits {
        attempts: 64,
        ..ROOMY
    };
    for answered in [1, 8, 15] {
        let mut trace = Vec::new();
        for i in 0..answered {
            let (client, at) = ((1, 1000 + i), i64::from(i));
            trace.push((segment(at, client, D, S, 10, 0), at));
            trace.push((segment(at, D, client, S | A, 20, 11), at));
        }
        for i in 0..3000_u16 {
            let at = 100 + i64::from(i);
            trace.push((segment(at, (3, i), D, S, u32::from(i), 0), at));
        }
        for i in 0..answered {
            trace.push((segment(4000, (1, 1000 + i), D, A, 11, 21), 4000));
        }
        let (said, counts) = run(&trace, limits, [3, 9], |_| false);
        assert_eq!(counts.established_connections, u64::from(answered));
        assert_eq!(counts.evicted_attempts, 2936 + u64::from(answered));
        let proven = |r: &&FlowRecord| r.basis == Basis::Handshake && r.conn_state == ConnState::S1;
        assert_eq!(
            records(&said).iter().filter(proven).count(),
            usize::from(answered)
        );
    }
}

#[test]
fn few_steps_at_a_time_end_the_same_flows_in_the_same_order() {
    for seed in 0..40 {
        let trace = random_mix(seed, 600);
        let (all, counts) = run(&trace, ROOMY, [1, 2], |_| true);
        for steps_max in [1, 2, 7] {
            let mut flows = Flows::new(ROOMY, [1, 2]);
            let mut said = Vec::new();
            for (packet, now) in &trace {
                flows.on_packet(packet, *now, &mut |when, event| said.push((when, event)));
                let mut bound = Some(i64::MIN);
                while let Some(least) = bound {
                    bound = flows.expire_some(*now, steps_max, &mut |when, event| {
                        if let When::Deadline(deadline) = when {
                            assert!(deadline >= least, "{deadline} after a bound of {least}");
                        }
                        said.push((when, event));
                    });
                }
            }
            flows.finish(&mut |when, event| said.push((when, event)));
            assert_eq!(said, all, "seed {seed}, {steps_max} steps at a time");
            assert_eq!(*flows.counts(), counts);
        }
    }
}

#[test]
fn without_records_the_counts_are_the_same() {
    for seed in 0..20 {
        let trace = random_mix(seed, 600);
        let (_, expected) = run(&trace, ROOMY, [1, 2], |_| true);
        let mut flows = Flows::new(ROOMY, [1, 2]);
        flows.record_ends(false);
        let no_end = |_, event| assert!(!matches!(event, FlowEvent::Ended(_)));
        for (packet, now) in &trace {
            flows.on_packet(packet, *now, &mut { no_end });
            while flows.expire_some(*now, 2, &mut { no_end }).is_some() {}
        }
        flows.finish(&mut { no_end });
        let counts = FlowCounts {
            flows_untold: 0,
            ..*flows.counts()
        };
        assert_eq!(counts, expected, "seed {seed}");
        assert_eq!(flows.held(), [0; 3]);
    }
}

#[test]
fn who_waits_for_proof_through_a_flood_ends_at_its_horizon() {
    let limits = Limits {
        attempts: 64,
        ..ROOMY
    };
    let mut flows = Flows::new(limits, [3, 9]);
    let mut said = Vec::new();
    let mut feed = |packet: Packet| {
        let now = packet.ts_ns;
        flows.on_packet(&packet, now, &mut |when, event| said.push((when, event)));
        flows.expire_some(now, 64, &mut |when, event| said.push((when, event)));
    };
    for (client, at) in [((1, 1000), 0), ((1, 2000), 100 * SECOND)] {
        feed(segment(at, client, D, S, 10, 0));
        feed(segment(at, D, client, S | A, 20, 11));
    }
    for i in 0..63 {
        feed(segment(101 * SECOND, (3, i), D, S, 7, 0));
    }
    flows.expire(131 * SECOND, &mut |when, event| said.push((when, event)));
    let ends = said.iter().filter_map(|(when, event)| match event {
        FlowEvent::Ended(record) if record.tuple.src_port == 1000 => Some((*when, record.reason)),
        _ => None,
    });
    let expected = (When::Deadline(130 * SECOND), EndReason::Timeout);
    assert_eq!(ends.collect::<Vec<_>>(), [expected]);
    assert_eq!(flows.counts().evicted_attempts, 1);
}
