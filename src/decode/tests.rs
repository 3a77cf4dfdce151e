//! The fast reader against the slow one on every cut of every shape, against chance, against etherparse.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::headers::depth;
use super::key::Key;
use super::packet::{Fragment, Reach, Transport};
use super::shapes::*;
use super::shapes_odd::{WRAPPERS, macsec, nflog, typed, wrapped};
use super::{Headers, MalformedCause, NotIpCause, Packet, Unread, naive, packet};
use crate::capture::bpf::fanout::{self, HashKind, Keys};
use crate::capture::frame::{Class, Frame, LinkType, VlanTag};
use crate::capture::tunnels::Inside;

pub(super) fn frame(bytes: &[u8], wire_len: usize, link: LinkType) -> Frame<'_> {
    Frame {
        bytes,
        wire_len: u32::try_from(wire_len).unwrap(),
        ts_ns: 7,
        interface: 3,
        link,
        vlan: None,
        gso: false,
        incoming: false,
    }
}

fn read(bytes: &[u8]) -> Result<Packet, Unread> {
    packet(&frame(bytes, bytes.len(), LinkType::Ethernet))
}

/// Read the plain way, over what another frame left.
fn plain(frame: &Frame<'_>) -> Option<Headers> {
    let mut headers = Headers {
        key: Key::between(true, (9 << 99, 9 << 99), 9)
            .with_id(9)
            .with_joined(true)
            .with_tags(9),
        ts_ns: 9,
        seq: 9,
        ack: 9,
        wire_len: 9,
        payload_len: 9,
        ip_len: 9,
        vlan: [9; 2],
        interface: 9,
        vlan_count: 9,
        flags: 9,
        gso: true,
        first_fragment: true,
        reach: Reach::Mpls,
        inside: Inside::NONE,
    };
    let is_plain = headers.read_plain(frame);
    let mut lean = Headers { seq: 7, ..headers };
    if lean.read_lean(frame) || lean.read_lean_ipv6(frame) {
        assert!(is_plain, "{frame:?}");
        assert_eq!(lean, headers, "{frame:?}");
    }
    is_plain.then_some(headers)
}

fn assert_same(frame: &Frame<'_>) {
    let read = packet(frame);
    assert_eq!(read, naive::packet(frame), "{frame:?}");
    if frame.wire_len as usize >= frame.bytes.len() {
        let bytes = &frame.bytes[..depth(frame)];
        assert_eq!(read, packet(&Frame { bytes, ..*frame }), "{frame:?}");
    }
    if let Some(plain) = plain(frame) {
        let of = read.ok().as_ref().and_then(Headers::of);
        assert_eq!(of, Some(plain), "{frame:?}");
    }
}

#[test]
fn most_frames_are_read_the_plain_way() {
    let tag = VlanTag {
        tpid: 0x8100,
        tci: 5,
    };
    let flows = [
        craft::Flow::v4([192, 0, 2, 1], 1024, [10, 0, 0, 5], 80),
        craft::Flow::v6([0x2001; 8], 1024, [0x2002; 8], 80),
    ];
    for flow in flows {
        let tcp = craft::Tcp::new(flow, craft::SYN, 1).bytes();
        let udp = craft::Udp::new(flow, &[0; 9]).bytes();
        for (proto, bytes) in [(6, tcp), (17, udp)] {
            let ip = craft::Ip::new(flow.src, flow.dst, proto).bytes(&bytes);
            let bytes = craft::Link::ethernet().frame(&ip);
            for vlan in [None, Some(tag)] {
                let plain = frame(&bytes, bytes.len(), LinkType::Ethernet);
                let plain = Frame { vlan, ..plain };
                assert!(self::plain(&plain).is_some(), "{plain:?}");
                assert_same(&plain);
                let gso = Frame { gso: true, ..plain };
                assert_eq!(self::plain(&gso), None, "{gso:?}");
            }
        }
    }
}

#[test]
fn every_cut_of_every_shape_reads_like_the_slow_reader() {
    let (mut cuts, mut ok) = (0_u32, 0_u32);
    let mut met = std::collections::HashSet::new();
    for (link, bytes) in shapes() {
        for len in 0..=bytes.len() {
            for wire_len in [0, len, bytes.len(), 65_589, 65_590, 70_000] {
                for gso in [false, true] {
                    let frame = Frame {
                        gso,
                        ..frame(&bytes[..len], wire_len, link)
                    };
                    assert_same(&frame);
                    cuts += 1;
                    match packet(&frame) {
                        Ok(_) => ok += 1,
                        Err(why) => drop(met.insert(why)),
                    }
                }
            }
        }
    }
    println_to_test_log(&format!(
        "{cuts} cuts, {ok} read, {} of {} reasons met",
        met.len(),
        Unread::COUNT
    ));
    let unmet: Vec<_> = Unread::ALL
        .iter()
        .filter(|why| !met.contains(why) && !why.is_checksum())
        .collect();
    assert!(unmet.is_empty(), "no shape meets {unmet:?}");
    assert!(ok > 10_000);
}

/// A check prints what it ran on.
fn println_to_test_log(line: &str) {
    eprintln!("{line}");
}

fn any_link() -> impl Strategy<Value = LinkType> {
    prop_oneof![
        Just(LinkType::Ethernet),
        Just(LinkType::RawIp),
        Just(LinkType::LinuxSll),
        Just(LinkType::LinuxSll2),
        Just(LinkType::Null),
        Just(LinkType::Loop),
        (0..300_u32).prop_map(LinkType::Other),
    ]
}

proptest! {
    #[test]
    fn chance_bytes_read_like_the_slow_reader(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        link in any_link(), wire_len in any::<u32>(), gso in any::<bool>(),
        tci in proptest::option::of(any::<u16>()),
    ) {
        let vlan = tci.map(|tci| VlanTag { tpid: 0x8100, tci });
        assert_same(&Frame { gso, vlan, wire_len, ..frame(&bytes, 0, link) });
    }

    #[test]
    fn damaged_frames_read_like_the_slow_reader(
        which in any::<prop::sample::Index>(), cut in 0..3_usize, wire_len in 0..100_000_usize,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let all = shapes();
        let (link, mut bytes) = which.get(&all).clone();
        for (place, value) in damage {
            *place.get_mut(&mut bytes) = value;
        }
        let len = bytes.len() - bytes.len() * cut / 4;
        assert_same(&frame(&bytes[..len], wire_len, link));
    }
}

#[test]
fn plain_frames_read_like_etherparse() {
    let mut compared = 0;
    for (_, bytes) in shapes()
        .into_iter()
        // Etherparse takes MACsec's check value for payload.
        .filter(|(link, bytes)| *link == LinkType::Ethernet && bytes[12..14] != [0x88, 0xe5])
    {
        let (Ok(ours), Ok(theirs)) = (read(&bytes), LaxSlicedPacket::from_ethernet(&bytes)) else {
            continue;
        };
        let (src, dst): (std::net::IpAddr, std::net::IpAddr) = match theirs.net {
            Some(net) => match net {
                LaxNetSlice::Ipv4(ip) => (
                    ip.header().source_addr().into(),
                    ip.header().destination_addr().into(),
                ),
                LaxNetSlice::Ipv6(ip) => (
                    ip.header().source_addr().into(),
                    ip.header().destination_addr().into(),
                ),
                _ => continue,
            },
            None => continue,
        };
        assert_eq!((ours.src, ours.dst), (src, dst), "{bytes:x?}");
        match (theirs.transport, ours.transport) {
            (Some(TransportSlice::Tcp(t)), Transport::Tcp(o)) => {
                let flags = t.slice()[13];
                let theirs = (
                    t.source_port(),
                    t.destination_port(),
                    t.sequence_number(),
                    flags,
                    t.payload().len(),
                );
                assert_eq!(
                    (
                        o.src_port,
                        o.dst_port,
                        o.seq,
                        o.flags,
                        o.payload_len as usize
                    ),
                    theirs,
                    "{bytes:x?}"
                );
                compared += 1;
            }
            (Some(TransportSlice::Udp(t)), Transport::Udp(o)) => {
                assert_eq!(
                    (o.src_port, o.dst_port),
                    (t.source_port(), t.destination_port()),
                    "{bytes:x?}"
                );
                compared += 1;
            }
            _ => {}
        }
    }
    assert!(compared > 20, "compared {compared} only");
}

#[test]
fn padding_is_not_payload() {
    let bytes = ethernet(0x800, &join(&[&ip4(6, &tcp(5, b"")), &[0; 6]]));
    assert_eq!(read(&bytes).unwrap().tcp().unwrap().payload_len, 0);
}

#[test]
fn a_cut_capture_keeps_the_length_on_the_wire() {
    let bytes = ethernet(0x800, &ip4(6, &tcp(5, &[0; 1000])));
    let cut = packet(&frame(&bytes[..60], bytes.len(), LinkType::Ethernet)).unwrap();
    assert_eq!(cut.tcp().unwrap().payload_len, 1000);
}

#[test]
fn a_total_length_of_zero_is_the_length_of_the_frame() {
    let bytes = ethernet(0x800, &ip4_as(0x45, 0, 0, 6, &tcp(5, &[0; 20])));
    let big = packet(&frame(&bytes, 198_442, LinkType::Ethernet)).unwrap();
    assert_eq!(big.tcp().unwrap().payload_len, 198_442 - 54);
}

#[test]
fn an_ipv6_length_of_zero_is_believed_in_short_frames_only() {
    let bytes = ethernet(0x86dd, &ip6_as(0, 6, &tcp(5, &[0; 20])));
    assert_eq!(
        read(&bytes),
        Err(Unread::Malformed(MalformedCause::TruncatedTcp))
    );
    let big = packet(&frame(&bytes, 100_000, LinkType::Ethernet)).unwrap();
    assert_eq!(big.tcp().unwrap().payload_len, 100_000 - 74);
}

#[test]
fn a_fragmented_syn_is_seen() {
    let syn = tcp(6, &[2, 4, 5, 180]);
    let whole = read(&ethernet(0x800, &ip4_as(0x45, 40, 0x2000, 6, &syn[..20]))).unwrap();
    assert!(whole.tcp().unwrap().is_touch() && whole.fragment == Fragment::First);
    let tiny = read(&ethernet(0x800, &ip4_as(0x45, 28, 0x2000, 6, &syn[..8]))).unwrap();
    assert_eq!(
        tiny.transport,
        Transport::TinyFragment {
            id: 0xabcd,
            head: syn[..8].try_into().unwrap()
        }
    );
    let second = read(&ethernet(0x800, &ip4_as(0x45, 36, 1, 6, &syn[8..]))).unwrap();
    let tail = syn[8..14].try_into().unwrap();
    assert_eq!(
        second.transport,
        Transport::SecondFragment {
            id: 0xabcd,
            tail,
            payload_len: 16
        }
    );
}

#[test]
fn tags_are_kept_outermost_first_wherever_the_kernel_left_them() {
    let bytes = tags(2, 0x800, &ip4(6, &tcp(5, &[])));
    let vlan = Some(VlanTag {
        tpid: 0x8100,
        tci: 0xe064,
    });
    let packet = packet(&Frame {
        vlan,
        ..frame(&bytes, bytes.len(), LinkType::Ethernet)
    })
    .unwrap();
    assert_eq!(
        (packet.vlan, packet.vlan_count, packet.reach),
        ([100, 1], 2, Reach::Plain)
    );
}

#[test]
fn what_the_program_cannot_follow_is_named() {
    let (four, syn) = (ip4(6, &tcp(5, &[])), tcp(5, &[]));
    let reach = |bytes: &[u8]| read(bytes).unwrap().reach;
    assert_eq!(reach(&ethernet(0x800, &four)), Reach::Plain);
    assert_eq!(reach(&tags(3, 0x800, &four)), Reach::DeepVlan);
    assert_eq!(
        reach(&pppoe(four.len() + 2, &[0, 0x21], &four)),
        Reach::Pppoe
    );
    assert_eq!(reach(&ethernet(0x8847, &labels(1, 0, &four))), Reach::Mpls);
    let six = |kinds: &[u8]| ethernet(0x86dd, &ip6(kinds[0], &chain(kinds, 6, &syn)));
    assert_eq!(reach(&six(&[0, 60])), Reach::Plain);
    assert_eq!(reach(&six(&[0, 60, 44])), Reach::Plain);
    assert_eq!(reach(&six(&[0, 60, 43])), Reach::Plain);
    assert_eq!(reach(&six(&[0, 60, 43, 44])), Reach::DeepExtension);
    assert_eq!(reach(&six(&[51])), Reach::DeepExtension);
}

proptest! {
    #[test]
    fn behind_extension_headers_the_program_follows_what_is_plain_and_nothing_else(
        headers in prop::collection::vec((prop::sample::select(vec![0_u8, 43, 60, 44, 51, 140]), 0_u8..8), 0..5),
        tags_met in 0_usize..3,
    ) {
        let mut next = 6;
        let mut bytes = tcp(5, &[]);
        bytes[13] = 0x02;
        for (kind, units) in headers.into_iter().rev() {
            let len = match kind {
                44 => 8,
                51 => 4 * (usize::from(units) + 2),
                _ => 8 * (usize::from(units) + 1),
            };
            let mut header = vec![0; len];
            (header[0], header[1]) = (next, if kind == 44 { 0 } else { units });
            header.extend(bytes);
            (next, bytes) = (kind, header);
        }
        let ip = ip6(next, &bytes);
        let bytes = match tags_met {
            0 => ethernet(0x86dd, &ip),
            _ => tags(tags_met, 0x86dd, &ip),
        };
        let frame = frame(&bytes, bytes.len(), LinkType::Ethernet);
        let packet = packet(&frame).unwrap();
        prop_assert!(packet.tcp().is_some_and(|tcp| tcp.is_touch()));
        let demux = fanout::demux(&Keys::from_seed(1), &frame);
        let followed = (demux.class, demux.key) == (Class::Open, HashKind::Flow);
        prop_assert_eq!(packet.reach == Reach::Plain, followed);
    }
}

#[test]
fn rare_tags_lead_to_their_packet_in_any_order() {
    let (mut read_all, mut unknown) = (0, 0);
    for bytes in wrapped() {
        let [high, low] = [bytes[0], bytes[1]].map(usize::from);
        match read(&ethernet(high * 256 + low, &bytes[2..])) {
            Ok(packet) => {
                let tcp = packet.tcp().unwrap();
                assert!(tcp.is_touch() && tcp.payload_len == 3, "{bytes:x?}");
                assert_eq!(packet.reach, Reach::OddLink, "{bytes:x?}");
                read_all += 1;
            }
            Err(why) => {
                assert_eq!(why, Unread::NotIp(NotIpCause::Ethertype), "{bytes:x?}");
                unknown += 1;
            }
        }
    }
    assert_eq!((read_all, unknown), (70, 10));
}

#[test]
fn a_rare_tag_that_is_cut_says_so() {
    let four = ip4(6, &tcp(5, b""));
    let mut frames = vec![(0x88e5, 8), (0x88e5, 16)];
    frames.extend(WRAPPERS.map(|(kind, between)| (kind, between.len() + 2)));
    for (kind, tag) in frames {
        let inner = match (kind, tag) {
            (0x88e5, 8) => macsec(0, &typed(0x800, &four)),
            (0x88e5, _) => macsec(0x20, &typed(0x800, &four)),
            _ => join(&[&vec![0; tag - 2], &typed(0x800, &four)]),
        };
        let bytes = ethernet(kind, &inner);
        for len in 14..14 + tag {
            let cut = packet(&frame(&bytes[..len], bytes.len(), LinkType::Ethernet));
            let expected = Unread::Malformed(MalformedCause::TruncatedLink);
            assert_eq!(cut, Err(expected), "{kind:#x}, {len} bytes");
        }
        assert!(read(&bytes).unwrap().tcp().unwrap().is_touch(), "{kind:#x}");
    }
}

#[test]
fn macsec_is_followed_without_encryption_and_its_check_value_is_no_payload() {
    let open_end = ip4_as(0x45, 0, 0, 6, &tcp(5, b"xyz"));
    let with = |flags| read(&ethernet(0x88e5, &macsec(flags, &typed(0x800, &open_end))));
    for flags in [0, 0x01, 0x20, 0x23, 0x40, 0x50] {
        assert_eq!(with(flags).unwrap().tcp().unwrap().payload_len, 3);
    }
    for flags in [0x04, 0x08, 0x0c, 0x2c] {
        assert_eq!(with(flags), Err(Unread::NotIp(NotIpCause::Encrypted)));
    }
    assert_eq!(with(0x80), Err(Unread::NotIp(NotIpCause::Ethertype)));
}

#[test]
fn netfilters_log_is_read_in_both_byte_orders() {
    let (four, six) = (ip4(6, &tcp(5, b"xyz")), ip6(6, &tcp(5, b"xyz")));
    let of = |bytes: &[u8]| packet(&frame(bytes, bytes.len(), LinkType::Other(239)));
    for little in [true, false] {
        for (family, ethertype, ip) in [
            (2, 0x800, &four),
            (2, 0, &four),
            (10, 0, &six),
            (7, 0x86dd, &six),
        ] {
            let logged = of(&nflog(little, family, ethertype, ip)).unwrap();
            assert_eq!(logged.tcp().unwrap().payload_len, 3);
            assert!(logged.tcp().unwrap().is_touch());
        }
        let other = of(&nflog(little, 7, 0, &four));
        assert_eq!(other, Err(Unread::NotIp(NotIpCause::Family)));
        let arp = of(&nflog(little, 7, 0x806, &four));
        assert_eq!(arp, Err(Unread::NotIp(NotIpCause::Arp)));
    }
}

#[test]
fn what_is_no_packet_says_why() {
    assert_eq!(
        read(&ethernet(0x806, &[0; 28])),
        Err(Unread::NotIp(NotIpCause::Arp))
    );
    assert_eq!(
        read(&[0; 13]),
        Err(Unread::Malformed(MalformedCause::TruncatedLink))
    );
}
