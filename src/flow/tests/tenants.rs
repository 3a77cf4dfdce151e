//! Networks with the same addresses under different VLAN tags (`--key vlan`).

use super::*;

/// Later than every packet.
const LAST: i64 = 1_000_000 * SECOND;

/// What is said of a trace whose tags are a part of keys or not.
fn told(trace: &[(Packet, i64)], by_vlan: bool) -> (Said, FlowCounts) {
    let mut flows = Flows::new(ROOMY, [1, 2]);
    if by_vlan {
        flows.key_by_vlan();
    }
    let mut said = Vec::new();
    for batch in trace.chunks(BATCH) {
        feed_batch(&mut flows, batch, |_, _, _| (), &mut said);
    }
    flows.expire(LAST, &mut |when, event| said.push((when, event)));
    flows.finish(&mut |when, event| said.push((when, event)));
    (said, *flows.counts())
}

fn tagged(trace: &[(Packet, i64)], vlan: [u16; 2], count: u8) -> Vec<(Packet, i64)> {
    let tag = |(packet, now): &(Packet, i64)| {
        let packet = Packet {
            vlan,
            vlan_count: count,
            ..*packet
        };
        (packet, *now)
    };
    trace.iter().map(tag).collect()
}

/// Tags of which each differs from the others in one respect.
const TENANTS: [([u16; 2], u8); 6] = [
    ([0, 0], 0),
    ([10, 0], 1),
    ([11, 0], 1),
    ([11, 10], 2),
    ([10, 11], 2),
    ([11, 11], 2),
];

#[test]
fn each_network_is_told_as_if_it_were_alone() {
    let mut established = 0;
    for seed in 0..40 {
        let mut all = Vec::new();
        let (mut alone, mut counted) = (Vec::new(), 0);
        for (tenant, (vlan, count)) in (0..).zip(TENANTS) {
            // Of every second seed all networks carry the same packets at the same times.
            let own = if seed % 2 == 0 {
                seed
            } else {
                seed * 10 + tenant
            };
            let trace = tagged(&random_mix(own, 200), vlan, count);
            let (mut said, counts) = told(&trace, false);
            for (_, event) in &mut said {
                if let FlowEvent::Outcome {
                    waited: Some(waited),
                    ..
                } = event
                {
                    assert_eq!(waited.tags, 0);
                    waited.tags = crate::decode::vlan::pack_key(vlan, count);
                }
            }
            established += counts.established_connections;
            counted += counts.packets_accounted;
            alone.extend(said);
            all.extend(trace);
        }
        // Sorted by the watermark: each network has its own packets in its own order.
        all.sort_by_key(|(_, now)| *now);
        let (said, counts) = told(&all, true);
        assert_same(&said, &alone, seed);
        assert_eq!(counts.packets_accounted, counted, "seed {seed}");
    }
    assert!(established > 500, "only {established} established");
}

#[test]
fn a_priority_is_no_network() {
    for seed in 0..20 {
        let trace = random_mix(seed, 300);
        for (plain, prioritized) in [
            (([0, 0], 0), [([0, 0], 1), ([0, 0], 2)]),
            (([10, 0], 1), [([10, 0], 2), ([0, 10], 2)]),
        ] {
            let plain_trace = tagged(&trace, plain.0, plain.1);
            let mut mixed = plain_trace.clone();
            for (at, (packet, _)) in mixed.iter_mut().enumerate() {
                if let Some(tags) = prioritized.get(at % 3) {
                    (packet.vlan, packet.vlan_count) = *tags;
                }
            }
            let ((_, counts), (_, mixed_counts)) = (told(&plain_trace, true), told(&mixed, true));
            assert_eq!(counts, mixed_counts, "seed {seed}");
        }
    }
}

#[test]
fn without_the_flag_tags_tell_nothing_apart() {
    for seed in 0..20 {
        let trace = random_mix(seed, 300);
        let mut mixed = trace.clone();
        for (at, (packet, _)) in mixed.iter_mut().enumerate() {
            (packet.vlan, packet.vlan_count) = TENANTS[at % TENANTS.len()];
        }
        let ((plain, counts), (said, mixed_counts)) = (told(&trace, false), told(&mixed, false));
        assert_eq!(plain.len(), said.len(), "seed {seed}");
        assert_eq!(counts, mixed_counts, "seed {seed}");
    }
}
