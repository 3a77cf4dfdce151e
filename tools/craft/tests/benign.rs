//! Benign captures: repeatable, right to the checksum, what naive rules find in them; backscatter.
//!
//! All is counted from the frames by a plain reader.

mod plain;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use craft::{BENIGN, Benign, PcapFormat, benign, manifest};
use plain::{ACK, Body, Ends, Outcome, Packet, RST, SECOND, SYN, attempts, hour, percent, rules};

const MINUTE: i64 = 60 * SECOND;

#[test]
fn equal_seeds_give_equal_bytes_and_another_seed_gives_others() {
    let bytes = |kind, seed| {
        let (capture, about) = benign(kind, seed, 20).expect("a kind");
        (capture.to_pcap(PcapFormat::NANOS), about)
    };
    for kind in BENIGN {
        let (first, again, other) = (bytes(kind, 7), bytes(kind, 7), bytes(kind, 8));
        assert!(first == again, "{kind}: the same seed, another capture");
        assert!(first.0 != other.0, "{kind}: another seed, the same capture");
    }
    assert!(benign("no-such-kind", 1, 1).is_none());
}

#[test]
fn each_capture_is_an_hour_in_order_with_right_checksums() {
    for kind in BENIGN {
        let (about, packets) = hour(kind);
        assert_eq!(about.frames, packets.len());
        assert!(packets.len() >= 5000, "{kind}: {} frames", packets.len());
        assert!(packets.is_sorted_by_key(|packet| packet.at), "{kind}");
        let last = packets.last().expect("5000 frames").at;
        assert!(
            (50 * MINUTE..=60 * MINUTE).contains(&last),
            "{kind}: {last}"
        );
        let seen: BTreeSet<_> = packets.iter().map(|packet| packet.src).collect();
        assert!(
            about.sources.iter().all(|source| seen.contains(source)),
            "{kind}"
        );
        eprintln!("{kind}: {} frames", packets.len());
    }
}

#[test]
fn the_naive_rules_that_are_named_are_those_whose_condition_is_met() {
    let mut wrong = Vec::new();
    for kind in BENIGN {
        let (about, packets) = hour(kind);
        let named: BTreeSet<_> = about.naive.iter().map(|naive| naive.rule).collect();
        let met = rules::met(&packets);
        if met != named {
            wrong.push(format!("{kind}: {met:?} are met, {named:?} are named"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_manifest_has_a_line_for_each_capture() {
    let all: Vec<Benign> = BENIGN
        .iter()
        .map(|kind| benign(kind, 9, 1).expect("a kind").1)
        .collect();
    let text = manifest(&all);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[lines.len() - 1]), ("[", "]"));
    assert_eq!(lines.len(), BENIGN.len() + 2);
    for (line, about) in lines[1..].iter().zip(&all) {
        let begin = format!(
            "{{\"kind\":\"{0}\",\"file\":\"{0}.pcap\",\"seed\":9,\"minutes\":1,\"frames\":{1},\"sources\":[\"{2}\"",
            about.kind, about.frames, about.sources[0]
        );
        assert!(line.starts_with(&begin), "{line}");
        assert!(line.contains(&format!("\"rule\":\"{}\"", about.naive[0].rule)));
    }
}

/// Segments of these sources between ends of which no SYN was seen, by whether they carry SYN, RST,
/// and both or neither.
fn unasked(packets: &[Packet], sources: &[IpAddr]) -> (usize, usize, usize) {
    let opened: BTreeSet<Ends> = attempts(packets).iter().map(|one| one.ends).collect();
    let (mut syn_ack, mut rst, mut other) = (0, 0, 0);
    for packet in packets
        .iter()
        .filter(|packet| sources.contains(&packet.src))
    {
        if let Body::Tcp { ends, flags, .. } = packet.body
            && !opened.contains(&plain::reversed(ends))
        {
            match flags {
                flags if flags == SYN | ACK => syn_ack += 1,
                flags if flags & RST != 0 => rst += 1,
                _ => other += 1,
            }
        }
    }
    (syn_ack, rst, other)
}

#[test]
fn a_victim_repeats_answers_that_nobody_asked_for_and_resets() {
    let (about, packets) = hour("backscatter-one-victim");
    let (syn_ack, rst, other) = unasked(&packets, &about.sources);
    assert!(
        syn_ack > 20_000 && rst > 2000 && other == 0,
        "{syn_ack}, {rst}, {other}"
    );
    let mut sent: BTreeMap<(Ends, u32), usize> = BTreeMap::new();
    for packet in packets
        .iter()
        .filter(|packet| packet.src == about.sources[0])
    {
        if let Body::Tcp {
            ends, seq, flags, ..
        } = packet.body
            && flags == SYN | ACK
        {
            *sent.entry((ends, seq)).or_default() += 1;
        }
    }
    let repeated = sent.values().filter(|&&times| times == 4).count();
    let share = repeated * 100 / sent.len();
    assert!((80..=95).contains(&share), "{share} % repeated");
    let tried = attempts(&packets);
    assert_eq!(tried.len(), 30, "clients of ours that want it meanwhile");
    let silent = percent(&tried, |one| one.outcome == Outcome::Silent);
    assert_eq!(silent, 50);
}

#[test]
fn many_victims_send_resets_errors_and_echo_replies() {
    let (about, packets) = hour("backscatter-many-victims");
    assert_eq!(about.sources.len(), 60);
    assert!(attempts(&packets).is_empty());
    let (syn_ack, rst, other) = unasked(&packets, &about.sources);
    assert!(
        syn_ack == 0 && rst > 5000 && other == 0,
        "{syn_ack}, {rst}, {other}"
    );
    let mut kinds: BTreeMap<(bool, u8), usize> = BTreeMap::new();
    for packet in &packets {
        if let Body::Icmp { kind, .. } = packet.body {
            *kinds.entry((packet.src.is_ipv6(), kind)).or_default() += 1;
        }
    }
    for kind in [
        (false, 3),
        (false, 11),
        (false, 0),
        (true, 1),
        (true, 3),
        (true, 129),
    ] {
        assert!(
            kinds.get(&kind).is_some_and(|&sent| sent > 100),
            "{kind:?} of {kinds:?}"
        );
    }
    assert_eq!(kinds.len(), 6);
}

#[test]
fn a_server_with_cookies_answers_once_and_our_hosts_reset_that() {
    let (about, packets) = hour("backscatter-cookies");
    let (syn_ack, rst, other) = unasked(&packets, &about.sources);
    assert!(
        syn_ack > 20_000 && rst == 0 && other == 0,
        "{syn_ack}, {rst}, {other}"
    );
    let mut seen = BTreeSet::new();
    let mut resets = 0;
    for packet in &packets {
        match packet.body {
            Body::Tcp {
                ends, seq, flags, ..
            } if flags == SYN | ACK => {
                assert!(seen.insert((ends, seq)), "a cookie is sent once");
            }
            Body::Tcp { flags, .. } if flags == RST => resets += 1,
            _ => {}
        }
    }
    let share = resets * 100 / syn_ack;
    assert!(
        (9..=16).contains(&share),
        "{share} % of addresses are hosts"
    );
    let tried = attempts(&packets);
    assert_eq!(tried.len(), 200);
    assert_eq!(percent(&tried, |one| one.proven), 100);
}
