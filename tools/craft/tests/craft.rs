//! Crafted captures: count, repeatability, encodings.

use std::collections::HashSet;

use craft::{
    Capture, Flow, Ip, Link, LinkType, PcapFormat, Rng, SYN, Tcp, Udp, checksum, crowds, merge,
    mutate, probes, read_pcap, scenarios,
};

fn flow() -> Flow {
    Flow::v4([192, 0, 2, 1], 4711, [198, 51, 100, 2], 80)
}

#[test]
fn every_scenario_has_frames_and_a_name_of_its_own() {
    let all = scenarios(1);
    let names: HashSet<_> = all.iter().map(|capture| &capture.name).collect();
    assert_eq!((all.len(), names.len()), (220, 220));
    let soups = all
        .iter()
        .filter(|capture| capture.name.starts_with("soup-"))
        .count();
    assert!(soups >= 12, "only {soups} random ones");
    assert!(all.iter().all(|capture| !capture.frames.is_empty()));
    let fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    assert!(names.iter().all(|name| name.chars().all(fit)), "{names:?}");
}

#[test]
fn every_capture_of_probes_fits_a_pcap_file_and_has_a_name_of_its_own() {
    let all = probes(1);
    let names: HashSet<_> = all.iter().map(|capture| &capture.name).collect();
    assert_eq!((all.len(), names.len()), (200, 200));
    let mixed = |capture: &&Capture| capture.name.starts_with("mixed-");
    let mixed = all.iter().filter(mixed).count();
    assert!(mixed >= 30, "only {mixed} random ones");
    for capture in &all {
        assert!(!capture.frames.is_empty(), "{}", capture.name);
        assert_eq!(capture.interfaces(), 1, "{}", capture.name);
        let file = capture.to_pcap(PcapFormat::NANOS);
        assert_eq!(read_pcap(&capture.name, &file).as_ref(), Ok(capture));
    }
    let fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    assert!(names.iter().all(|name| name.chars().all(fit)), "{names:?}");
}

#[test]
fn a_flood_has_the_packets_of_its_name_within_a_second_each_from_another_source() {
    let all = crowds(1);
    let is_flood = |capture: &&Capture| capture.name.starts_with("flood-");
    let floods: Vec<&Capture> = all.iter().filter(is_flood).collect();
    assert_eq!((all.len(), floods.len()), (20, 16));
    for capture in floods {
        let count = capture.name.split('-').nth(2).expect("a number");
        assert_eq!(capture.frames.len().to_string(), count, "{}", capture.name);
        let times = capture.frames.iter().map(|frame| frame.ts_ns);
        let seconds: HashSet<i64> = times.map(|ts_ns| ts_ns.div_euclid(1_000_000_000)).collect();
        assert_eq!(seconds.len(), 1, "{}", capture.name);
        let source = match capture.name.ends_with("v6") {
            true => 22..38,
            false => 26..30,
        };
        let sources = capture
            .frames
            .iter()
            .map(|frame| &frame.bytes[source.clone()]);
        let sources: HashSet<&[u8]> = sources.collect();
        assert_eq!(sources.len(), capture.frames.len(), "{}", capture.name);
    }
}

#[test]
fn names_of_probes_do_not_depend_on_the_seed() {
    let names = |seed| -> Vec<_> { probes(seed).into_iter().map(|one| one.name).collect() };
    assert_eq!(names(1), names(2));
}

#[test]
fn a_touch_on_the_border_of_probes_is_one_nanosecond_from_those_before_and_after() {
    let all = probes(3);
    let span = |name: &str| {
        let capture = all.iter().find(|capture| capture.name == name);
        let frames = &capture.expect(name).frames;
        frames[frames.len() - 1].ts_ns - frames[0].ts_ns
    };
    let on = 60_000_000_000;
    for (word, ns) in [("before", on - 1), ("on", on), ("after", on + 1)] {
        let name = format!("stealth-maimon-window-{word}");
        // From the first probe, whose RST, which is the touch, comes a round trip later, to a bystander 2 s after the last.
        assert_eq!(span(&name), ns + 2_020_000_000, "{name}");
    }
}

#[test]
fn equal_seeds_give_equal_bytes_and_another_seed_gives_others() {
    for family in [scenarios, probes, crowds] {
        let bytes = |seed| -> Vec<_> {
            family(seed)
                .iter()
                .map(|capture| capture.to_pcap(PcapFormat::NANOS))
                .collect()
        };
        assert_eq!(bytes(7), bytes(7));
        assert_ne!(bytes(7), bytes(8));
    }
}

#[test]
fn a_pcap_reads_back_in_both_byte_orders_and_units() {
    for capture in scenarios(2)
        .iter()
        .filter(|capture| capture.interfaces() == 1)
    {
        for (nanos, big_endian) in [(true, false), (true, true), (false, false), (false, true)] {
            let file = capture.to_pcap(PcapFormat { nanos, big_endian });
            let mut want = capture.clone();
            if !nanos {
                want.frames
                    .iter_mut()
                    .for_each(|f| f.ts_ns -= f.ts_ns.rem_euclid(1000));
            }
            assert_eq!(read_pcap(&capture.name, &file), Ok(want));
        }
    }
}

#[test]
fn checksums_add_up_to_zero() {
    // RFC 1071, section 3: 0x0001 f203 f4f5 f6f7 sums to 0xddf2.
    assert_eq!(
        checksum(&[&[0, 1, 0xF2, 3, 0xF4, 0xF5, 0xF6, 0xF7]]),
        !0xDDF2
    );
    let flow = flow();
    let ip = Ip::new(flow.src, flow.dst, 17).bytes(&Udp::new(flow, b"odd").bytes());
    assert_eq!(checksum(&[&ip[..20]]), 0);
    let pseudo = [&ip[12..20], &[0, 17, 0, 11][..], &ip[20..]].concat();
    assert_eq!(checksum(&[&pseudo]), 0);
    let tcp = Tcp::new(flow, SYN, 5).data(b"hello").bytes();
    let pseudo = [&ip[12..20], &[0, 6, 0, 25][..], &tcp].concat();
    assert_eq!(checksum(&[&pseudo]), 0);
}

#[test]
fn fragments_carry_the_whole_payload() {
    let syn = Tcp::new(flow(), SYN, 5).bytes();
    let parts = Ip::new(flow().src, flow().dst, 6)
        .id(9)
        .fragments(&syn, &[8, 16]);
    let lens: Vec<_> = parts.iter().map(Vec::len).collect();
    assert_eq!(lens, [28, 28, 24]);
    let offsets: Vec<_> = parts.iter().map(|part| [part[6], part[7]]).collect();
    assert_eq!(offsets, [[0x20, 0], [0x20, 1], [0, 2]]);
    let joined: Vec<u8> = parts.iter().flat_map(|part| part[20..].to_vec()).collect();
    assert_eq!(joined, syn);
}

#[test]
fn link_headers_have_their_lengths() {
    let ip = Ip::new(flow().src, flow().dst, 6).bytes(&Tcp::new(flow(), SYN, 5).bytes());
    let len = |link: Link| link.frame(&ip).len() - ip.len();
    let plain = LinkType::ALL.map(|kind| len(Link::new(kind)));
    assert_eq!(plain, [4, 14, 0, 4, 16, 20]);
    assert_eq!(len(Link::ethernet().qinq(1, 2)), 22);
    assert_eq!(len(Link::ethernet().vlan(1).pppoe(2)), 26);
    assert_eq!(len(Link::ethernet().mpls(16).mpls(17)), 22);
}

#[test]
fn a_merge_keeps_every_frame_and_each_captures_order() {
    let mut captures = scenarios(3);
    captures.retain(|capture| capture.link == LinkType::Ethernet);
    captures.truncate(20);
    let merged = merge(&captures, 5);
    let total: usize = captures.iter().map(|capture| capture.frames.len()).sum();
    assert_eq!(merged.frames.len(), total);
    for capture in &captures {
        let mut rest = merged.frames.iter();
        assert!(
            capture
                .frames
                .iter()
                .all(|frame| rest.any(|other| other == frame))
        );
    }
    assert_eq!(merged, merge(&captures, 5));
}

#[test]
fn a_mutation_is_repeatable_and_usually_changes_something() {
    let file = scenarios(4)[0].to_pcap(PcapFormat::NANOS);
    let changed = (0..100).filter(|&seed| mutate(&file, seed) != file).count();
    assert!(changed > 80, "{changed}");
    assert_eq!(mutate(&file, 3), mutate(&file, 3));
    assert_eq!(mutate(&[], 3), []);
}

#[test]
fn pcapng_blocks_have_their_lengths_at_both_ends() {
    let mut capture = Capture::new("two", LinkType::Ethernet);
    capture.push_on(0, 1, vec![1; 61]);
    capture.push_on(1, 2, vec![2; 60]);
    let file = capture.to_pcapng();
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("4 bytes"));
    let (mut at, mut kinds) = (0, Vec::new());
    while at < file.len() {
        let len = word(at + 4);
        kinds.push(word(at));
        at += usize::try_from(len).expect("short");
        assert_eq!(word(at - 4), len);
    }
    assert_eq!(kinds, [0x0A0D_0D0A, 1, 1, 6, 6]);
}

#[test]
fn the_generator_is_splitmix64() {
    // First outputs for state 1234567, as published with the reference code.
    let mut rng = Rng::new(1_234_567);
    assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
    assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
}
