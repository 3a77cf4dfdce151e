//! What tells of probes and loads, and what does not.

use super::super::OUTCOMES_MAX;
use super::handshakes::data;
use super::*;
use crate::flow::record::{FiveTuple, Technique, Waited};

const P: u8 = tcp_flags::PSH;
const U: u8 = tcp_flags::URG;
/// More than a segment waits for a SYN.
const LATER: i64 = 2 * SECOND;

/// Outcomes but those of attempts, who asks, and whether their segments waited.
fn told(said: &Said) -> Vec<(Outcome, FiveTuple, Option<i64>)> {
    let outcomes = said.iter().filter_map(|(when, event)| match event {
        FlowEvent::Outcome {
            outcome: Outcome::Answered | Outcome::Refused | Outcome::Established,
            ..
        } => None,
        FlowEvent::Outcome {
            tuple,
            outcome,
            waited,
        } => {
            assert_eq!(waited.is_some(), *when != When::Packet);
            Some((*outcome, *tuple, waited.map(|waited| waited.ts_ns)))
        }
        _ => None,
    });
    outcomes.collect()
}

fn outcomes(packets: &[Packet]) -> Vec<Outcome> {
    let (said, counts) = play(packets);
    assert_counted(&said, &counts);
    told(&said).iter().map(|one| one.0).collect()
}

fn probe(technique: Technique) -> Outcome {
    Outcome::Probe(technique)
}

#[test]
fn flags_that_no_stack_sends_are_a_probe_each_time() {
    let odd = tcp_flags::ECE | tcp_flags::CWR;
    for (flags, technique) in [
        (0, Technique::Null),
        (odd, Technique::Null),
        (F, Technique::Fin),
        (F | odd, Technique::Fin),
        (F | P | U, Technique::Xmas),
        (F | P | U | odd, Technique::Xmas),
        (P, Technique::Flags),
        (F | U, Technique::Flags),
        (P | U, Technique::Flags),
    ] {
        let mut again = data(1, true, flags, (10, 0), 9);
        again.interface = 1;
        let packets = [segment(0, C, D, flags, 10, 0), again];
        let (said, _) = play(&packets);
        let said = told(&said);
        assert_eq!(said.len(), 2, "{flags:#x}");
        assert!(said.iter().all(|one| one.0 == probe(technique)));
        let who = said[0].1;
        assert_eq!(
            (who.src, who.src_port, who.dst, who.dst_port),
            (host(C.0), C.1, host(D.0), D.1)
        );
    }
    for flags in [S | F, S | R, A | F, A, R, R | F] {
        let said = outcomes(&[segment(0, C, D, flags, 10, 0)]);
        assert!(!said.iter().any(|one| matches!(one, Outcome::Probe(_))));
    }
}

#[test]
fn a_known_syn_shields_its_endpoints_while_its_flow_is_open() {
    let fin = |at| segment(at, C, D, F, 5_000_000, 0);
    let back = |at| segment(at, D, C, F, 5_000_000, 0);
    let open = [
        segment(0, C, D, S, 10, 0),
        segment(2, D, C, S | A, 20, 11),
        segment(4, C, D, A, 11, 21),
    ];
    let fins = [
        segment(7, C, D, A | F, 11, 21),
        segment(8, D, C, A | F, 21, 12),
    ];
    for known in 1..=3 {
        let packets = [&open[..known], &[fin(5), back(6)]].concat();
        assert_eq!(outcomes(&packets), [], "{known} packets of a handshake");
    }
    // Answered and alive, it outlives its attempt, though it is not proven.
    let alive = segment(5, C, D, A, 11, 500);
    let packets = [&open[..2], &[alive, fin(200 * SECOND)]].concat();
    assert_eq!(outcomes(&packets), []);
    let is_probe = [probe(Technique::Fin)];
    let refused = [open[0], segment(1, D, C, R | A, 0, 11), fin(2)];
    assert_eq!(outcomes(&refused), is_probe, "a refused attempt");
    assert_eq!(outcomes(&[open[0], fin(5 * SECOND - 1)]), []);
    assert_eq!(outcomes(&[open[0], fin(5 * SECOND)]), is_probe);
    let closed = [&open[..], &fins, &[fin(SECOND)]].concat();
    assert_eq!(outcomes(&closed), [], "it lingers");
    let closed = [&open[..], &fins, &[fin(6 * SECOND)]].concat();
    assert_eq!(outcomes(&closed), is_probe, "behind a close");
    let midstream = [data(0, true, A, (1, 1), 9), fin(1)];
    assert_eq!(outcomes(&midstream), is_probe, "midstream");
}

#[test]
fn a_segment_with_ack_is_a_probe_when_a_bare_reset_with_its_number_answers_first() {
    let reset = |at| segment(at, D, C, R, 77, 0);
    for (flags, technique) in [
        (A, Technique::Ack),
        (A | P, Technique::Ack),
        (A | F, Technique::Maimon),
        (A | F | U, Technique::Maimon),
    ] {
        let asks = segment(0, C, D, flags, 5, 77);
        let (said, _) = play(&[asks, reset(LATER), reset(LATER + 1)]);
        let said = told(&said);
        assert_eq!(said.len(), 1, "{flags:#x}");
        let (outcome, who, waited) = said[0];
        assert_eq!((outcome, waited), (probe(technique), None));
        assert_eq!((who.src, who.src_port), (host(C.0), C.1));
        let spoke = data(1, true, A | P, (5, 77), 9);
        for (packets, why) in [
            (vec![asks], "unanswered"),
            (vec![asks, segment(LATER, D, C, R | A, 77, 5)], "with ACK"),
            (vec![asks, segment(LATER, D, C, R, 78, 0)], "another number"),
            (vec![asks, spoke, reset(LATER)], "payload"),
            (vec![spoke, asks, reset(LATER)], "payload first"),
            (
                vec![asks, data(1, false, A | P, (77, 5), 9), reset(LATER)],
                "not the first",
            ),
            (vec![asks, reset(301 * SECOND + 1)], "too late"),
        ] {
            let said = outcomes(&packets);
            let probes = said.iter().filter(|one| matches!(one, Outcome::Probe(_)));
            assert_eq!(probes.count(), 0, "{flags:#x}: {why}");
        }
    }
}

#[test]
fn a_connection_that_was_open_at_the_start_is_neither_probe_nor_stray() {
    let mut flows = Flows::new(ROOMY, [0, 0]);
    flows.preexisting([((host(D.0), D.1).into(), (host(C.0), C.1).into())]);
    let mut said = Said::new();
    for packet in [
        segment(0, C, D, A | F, 5, 77),
        segment(1, D, C, R, 77, 0),
        segment(10 * SECOND, C, D, R, 5, 0),
    ] {
        let now = packet.ts_ns;
        flows.on_packet(&packet, now, &mut |when, event| said.push((when, event)));
    }
    assert_eq!(told(&said), []);
}

#[test]
fn a_client_that_knows_of_no_syn_makes_a_half_open_probe() {
    let open = [segment(0, C, D, S, 10, 0), segment(1, D, C, S | A, 20, 11)];
    let with = |rest: &[Packet]| outcomes(&[&open[..], rest].concat());
    let reset = segment(2, C, D, R, 11, 0);
    let (said, counts) = play(&[open[0], open[1], reset, reset]);
    assert_eq!(told(&said)[0].1.src_port, C.1);
    assert_eq!(counts.half_open_probes, 1);
    assert_eq!(counts.established_connections, 0);
    assert_eq!(with(&[segment(2, C, D, R | A, 11, 0)]), []);
    assert_eq!(with(&[segment(2, C, D, R, 12, 0)]), []);
    assert_eq!(with(&[segment(2, D, C, R, 21, 0)]), []);
    assert_eq!(
        with(&[segment(2, C, D, A, 11, 21), segment(3, C, D, R, 11, 0)]),
        []
    );
    assert_eq!(outcomes(&[open[0], reset]), [], "not answered");
    let by_data = data(1, false, A | P, (21, 11), 9);
    assert_eq!(outcomes(&[open[0], by_data, reset]), [], "no SYN+ACK");
}

#[test]
fn a_stray_reset_waits_for_its_syn_and_tells_its_own_time() {
    let reset = segment(7, D, C, R | A, 0, 11);
    let syn = |at| segment(at, C, D, S, 10, 0);
    assert_eq!(outcomes(&[reset, syn(8)]), []);
    let (said, _) = play(&[reset, syn(SECOND + 7)]);
    let [(Outcome::StrayRst, who, Some(7))] = told(&said)[..] else {
        panic!("{said:?}");
    };
    assert_eq!((who.src, who.dst), (host(D.0), host(C.0)));
    let at = |said: &Said| {
        let mut outcomes = said.iter();
        outcomes
            .find_map(|(when, event)| matches!(event, FlowEvent::Outcome { .. }).then_some(*when))
    };
    assert_eq!(at(&said), Some(When::Deadline(SECOND + 7)));
    assert_eq!(at(&play(&[reset]).0), Some(When::End));
    let bare = segment(7, D, C, R, 0, 0);
    assert_eq!(at(&play(&[bare]).0), Some(When::Packet));
    assert_eq!(outcomes(&[bare, bare]), [Outcome::StrayRst], "of its flow");
    // Its own tags and interface, not those of the packet at hand.
    let mut flows = Flows::new(ROOMY, [1, 1]);
    flows.key_by_vlan();
    let mut said = Said::new();
    let tagged = Packet {
        vlan: [5, 0],
        vlan_count: 1,
        interface: 3,
        ..reset
    };
    let mut out = |when, event| said.push((when, event));
    flows.on_packet(&tagged, 7, &mut out);
    flows.release_waiting(SECOND + 6, &mut out);
    flows.release_waiting(SECOND + 7, &mut out);
    let waited = Waited {
        ts_ns: 7,
        interface: 3,
        tags: crate::decode::vlan::pack_key([5, 0], 1),
    };
    let [(when, FlowEvent::Outcome { waited: seen, .. })] = said[..] else {
        panic!("{said:?}");
    };
    assert_eq!((when, seen), (When::Deadline(SECOND + 7), Some(waited)));
}

#[test]
fn one_packet_makes_no_more_outcomes_than_it_may() {
    let mut flows = Flows::new(ROOMY, [1, 1]);
    for port in 0..3000 {
        let reset = segment(i64::from(port), (3, port), C, R | A, 0, 11);
        flows.on_packet(&reset, reset.ts_ns, &mut |_, _| ());
    }
    let mut outcomes = 0;
    let last = segment(LATER, D, C, R, 1, 0);
    flows.on_packet(&last, LATER, &mut |_, event| {
        outcomes += usize::from(matches!(event, FlowEvent::Outcome { .. }));
    });
    assert!((2000..=OUTCOMES_MAX).contains(&outcomes), "{outcomes}");
    assert_eq!(flows.counts().stray_resets, 3001);
}

fn udp(at: i64, src: (IpAddr, u16), dst: (IpAddr, u16)) -> Packet {
    let udp = Udp {
        src_port: src.1,
        dst_port: dst.1,
        payload_len: 3,
    };
    packet(at, src.0, dst.0, Transport::Udp(udp))
}

/// An ICMP error of this kind and code that quotes a datagram.
fn quoting(at: i64, (v6, kind, code): (bool, u8, u8), datagram: &Packet) -> Packet {
    let Transport::Udp(udp) = datagram.transport else {
        unreachable!("a datagram is UDP");
    };
    let quoted = Quoted {
        src: datagram.src,
        dst: datagram.dst,
        proto: 17,
        src_port: udp.src_port,
        dst_port: udp.dst_port,
        seq: None,
    };
    let icmp = Icmp {
        v6,
        kind,
        code,
        id: 0,
        payload_len: 0,
        quoted: Some(quoted),
    };
    packet(at, datagram.dst, datagram.src, Transport::Icmp(icmp))
}

#[test]
fn a_datagram_opens_a_flow_unless_it_is_an_answer_or_for_many() {
    let said = |src, dst: (IpAddr, u16)| {
        outcomes(&[udp(0, (host(1), src), dst), udp(1, dst, (host(1), src))])
    };
    for (src, dst) in [(1023, 1023), (1024, 1024), (1024, 53), (53, 53), (0, 0)] {
        let opens = [Outcome::UdpOpened, Outcome::UdpAnswered];
        assert_eq!(said(src, (host(2), dst)), opens, "{src} -> {dst}");
    }
    for (src, dst) in [(1023, 1024), (53, 40_000)] {
        let answers = [Outcome::StrayAnswer];
        assert_eq!(said(src, (host(2), dst)), answers, "{src} -> {dst}");
    }
    for many in [
        IpAddr::from([224, 0, 0, 1]),
        IpAddr::from([239, 255, 255, 255]),
        IpAddr::from([255; 4]),
        IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        let packets: Vec<_> = (0..200)
            .map(|at| udp(at, (host(1), 5353), (many, 5353)))
            .collect();
        assert_eq!(outcomes(&packets), [], "{many}");
        let answers = [0, 1].map(|at| udp(at, (host(1), 53), (many, 5353)));
        assert_eq!(outcomes(&answers), [], "{many}");
    }
    let ends = ((host(1), 5000), (host(2), 53));
    let again = |at| outcomes(&[udp(0, ends.0, ends.1), udp(at, ends.0, ends.1)]);
    assert_eq!(again(60 * SECOND - 1), [Outcome::UdpOpened]);
    assert_eq!(again(60 * SECOND), [Outcome::UdpOpened; 2]);
}

#[test]
fn each_64_datagrams_behind_the_first_to_a_silent_responder_are_told() {
    for (port, opening) in [(53, Outcome::StrayAnswer), (5300, Outcome::UdpOpened)] {
        assert_each_64((host(1), port), (host(2), 4000), opening);
    }
}

fn assert_each_64(from: (IpAddr, u16), to: (IpAddr, u16), opening: Outcome) {
    let count = |datagrams: i64, answer_at: Option<i64>| {
        let mut packets: Vec<_> = (0..datagrams).map(|at| udp(at, from, to)).collect();
        if let Some(at) = answer_at {
            packets.insert(usize::try_from(at).expect("small"), udp(at, to, from));
        }
        let said = outcomes(&packets);
        assert_eq!(said[0], opening);
        let more = said[1..].iter().filter(|one| **one == Outcome::Datagrams);
        let more = more.count();
        let is_answered = answer_at.is_some() && opening == Outcome::UdpOpened;
        assert_eq!(said.len(), 1 + more + usize::from(is_answered));
        // None counts twice, and at most 63 are still to count.
        let counted = 1 + more * 64;
        if answer_at.is_none() {
            let sent = usize::try_from(datagrams).expect("small");
            assert!((counted..counted + 64).contains(&sent));
        }
        more
    };
    assert_eq!(
        [64, 65, 128, 129, 1000].map(|datagrams| count(datagrams, None)),
        [0, 1, 1, 2, 15]
    );
    assert_eq!([64, 65].map(|at| count(1000, Some(at))), [0, 1]);
}

#[test]
fn a_datagram_without_payload_is_no_answer() {
    let ends = ((host(1), 53), (host(2), 4000));
    let with = |payload_len, fragment| {
        let datagram = udp(0, ends.0, ends.1);
        let Transport::Udp(udp) = datagram.transport else {
            unreachable!("a datagram is UDP");
        };
        let udp = Udp { payload_len, ..udp };
        Packet {
            fragment,
            transport: Transport::Udp(udp),
            ..datagram
        }
    };
    let probe = with(0, Fragment::Whole);
    let refused = [probe, quoting(1, (false, 3, 3), &probe)];
    let asked = [Outcome::UdpOpened, Outcome::Icmp, Outcome::UdpRefused];
    assert_eq!(outcomes(&refused), asked);
    assert_eq!(outcomes(&[probe, probe]), [Outcome::UdpOpened]);
    assert_eq!(
        outcomes(&[with(1, Fragment::Whole)]),
        [Outcome::StrayAnswer]
    );
    // The payload is in later fragments.
    assert_eq!(
        outcomes(&[with(0, Fragment::First)]),
        [Outcome::StrayAnswer]
    );
}

#[test]
fn who_refuses_an_answer_accuses_nobody() {
    let (client, resolver) = ((host(1), 5000), (host(2), 53));
    let question = udp(0, client, resolver);
    // The resolver answers when the client waits no more.
    let told = |at: i64| {
        let late = udp(at, resolver, client);
        let refusal = |at| quoting(at, (false, 3, 3), &late);
        outcomes(&[question, late, refusal(at + 1), refusal(at + 2)])
    };
    use Outcome::{Icmp, StrayAnswer, UdpAnswered, UdpOpened};
    let before = [UdpOpened, UdpAnswered, Icmp, Icmp];
    for at in [5 * SECOND, 60 * SECOND - 1] {
        assert_eq!(told(at), before);
    }
    // The flow of the question has ended; or the question went elsewhere, with the client's address as its source.
    assert_eq!(told(60 * SECOND), [UdpOpened, StrayAnswer, Icmp, Icmp]);
}

#[test]
fn an_unreachable_refuses_once_and_only_what_the_originator_sent() {
    let datagram = udp(0, (host(1), 5000), (host(2), 161));
    let answer = udp(1, (host(2), 161), (host(1), 5000));
    let refusals = |packets: &[Packet]| {
        let said = outcomes(packets);
        let is_refusal = |one: &&Outcome| **one == Outcome::UdpRefused;
        said.iter().filter(is_refusal).count()
    };
    let error = |at, kind, code, of| quoting(at, (false, kind, code), of);
    let port = error(2, 3, 3, &datagram);
    assert_eq!(refusals(&[datagram, port, port]), 1);
    assert_eq!(refusals(&[datagram, answer, port]), 1);
    assert_eq!(refusals(&[port, datagram]), 0, "no flow");
    assert_eq!(refusals(&[datagram, error(2, 3, 4, &datagram)]), 0);
    assert_eq!(refusals(&[datagram, error(2, 11, 0, &datagram)]), 0);
    assert_eq!(refusals(&[datagram, answer, error(2, 3, 3, &answer)]), 0);
    assert_eq!(
        refusals(&[datagram, error(60 * SECOND, 3, 3, &datagram)]),
        0
    );
    let from_service = udp(0, (host(1), 53), (host(2), 4000));
    assert_eq!(refusals(&[from_service, error(1, 3, 3, &from_service)]), 0);
    let v6 = |n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
    let datagram = udp(0, (v6(1), 5000), (v6(2), 161));
    let error = |kind| quoting(1, (true, kind, 4), &datagram);
    assert_eq!(refusals(&[datagram, error(1)]), 1);
    assert_eq!(refusals(&[datagram, error(3)]), 0);
}

#[test]
fn every_message_is_told_but_those_of_neighbours_and_listeners() {
    let told_of = |v6, kind| {
        let icmp = Icmp {
            v6,
            kind,
            code: 0,
            id: 7,
            payload_len: 9,
            quoted: None,
        };
        let (said, counts) = play(&[packet(0, host(1), host(2), Transport::Icmp(icmp))]);
        let said = told(&said);
        assert_eq!(said.len() as u64, counts.icmp_messages);
        assert!(said.iter().all(|one| one.1.src == host(1)));
        !said.is_empty()
    };
    let untold = |v6| (0..=255).filter(move |kind| !told_of(v6, *kind));
    assert_eq!(untold(false).count(), 0);
    let expected = [130, 131, 132, 133, 134, 135, 136, 137, 143];
    assert!(untold(true).eq(expected));
}
