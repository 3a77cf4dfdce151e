//! Right ones, damaged ones, and etherparse's.

use super::*;
use crate::capture::frame::{LinkType, VlanTag};
use craft::{Ext, Flow, Ip, Udp};
use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use proptest::prelude::*;

fn frame(bytes: &[u8], wire_len: usize, link: LinkType) -> Frame<'_> {
    Frame {
        bytes,
        wire_len: u32::try_from(wire_len).expect("short"),
        ts_ns: 0,
        interface: 0,
        link,
        vlan: Some(VlanTag {
            tpid: 0x8100,
            tci: 7,
        }),
        gso: false,
        incoming: true,
    }
}

fn found(bytes: &[u8]) -> Result<Option<Checksum>, MalformedCause> {
    let whole = frame(bytes, bytes.len(), LinkType::Ethernet);
    verify(&whole, ChecksumState::Unknown)
}

const FOUR: Flow = Flow {
    src: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    dst: IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 255)),
    src_port: 1024,
    dst_port: 443,
};

fn six() -> Flow {
    let host = |last| [0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, last];
    Flow::v6(host(1), 1024, host(2), 443)
}

fn framed(ip: &[u8]) -> Vec<u8> {
    craft::Link::ethernet().frame(ip)
}

/// Frames whose checksums are right, and the cause if they are not.
fn right() -> Vec<(Vec<u8>, MalformedCause)> {
    let mut all = Vec::new();
    for flow in [FOUR, six()] {
        for len in [0, 1, 2, 7, 100, 1001] {
            let data: Vec<u8> = (0..len).map(|at| (at * 37 % 251) as u8).collect();
            let tcp = craft::Tcp::new(flow, craft::SYN, 7)
                .options(&[2, 4, 5, 180])
                .data(&data)
                .bytes();
            let udp = Udp::new(flow, &data).bytes();
            let ip = |proto| Ip::new(flow.src, flow.dst, proto);
            all.push((framed(&ip(6).bytes(&tcp)), MalformedCause::BadTcpChecksum));
            all.push((framed(&ip(17).bytes(&udp)), MalformedCause::BadUdpChecksum));
            let mut odd = ip(6);
            match flow.src.is_ipv4() {
                true => odd.options = vec![1; 8],
                false => {
                    odd = odd
                        .ext(Ext::padding(0, 16))
                        .ext(Ext::atomic(5))
                        .ext(Ext::padding(60, 8))
                }
            }
            all.push((framed(&odd.bytes(&tcp)), MalformedCause::BadTcpChecksum));
        }
    }
    all
}

#[test]
fn a_right_checksum_is_found_so_and_each_wrong_bit_of_what_it_covers_is_seen() {
    for (mut bytes, cause) in right() {
        assert_eq!(found(&bytes), Ok(Some(Checksum::Right)), "{bytes:02x?}");
        let is_four = bytes[12] == 0x08;
        let header = 14
            + if is_four {
                usize::from(bytes[14] & 15) * 4
            } else {
                40
            };
        for at in 14..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                match found(&bytes) {
                    Err(why) if is_four && at < header => {
                        assert_eq!(why, MalformedCause::BadIpChecksum);
                    }
                    Err(why) => assert_eq!(why, cause, "byte {at}, bit {bit}"),
                    // Another version, length or protocol, or bytes that no checksum of IPv6 covers.
                    Ok(Some(Checksum::Right)) => {
                        assert!(
                            !is_four && at < bytes.len() - 20,
                            "byte {at}, bit {bit}: {bytes:02x?}"
                        );
                    }
                    Ok(_) => assert!(
                        at < header || !is_four || at > header,
                        "byte {at}, bit {bit}"
                    ),
                }
                bytes[at] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn what_cannot_be_verified_says_why() {
    let tcp = craft::Tcp::new(FOUR, craft::SYN, 7).data(&[1; 100]).bytes();
    let ip = Ip::new(FOUR.src, FOUR.dst, 6);
    let bytes = framed(&ip.bytes(&tcp));
    let whole = frame(&bytes, bytes.len(), LinkType::Ethernet);
    for (state, outcome) in [
        (ChecksumState::Pending, Checksum::Pending),
        (ChecksumState::Proven, Checksum::Proven),
        (ChecksumState::Unknown, Checksum::Right),
    ] {
        assert_eq!(verify(&whole, state), Ok(Some(outcome)));
    }
    let merged = Frame { gso: true, ..whole };
    assert_eq!(
        verify(&merged, ChecksumState::Unknown),
        Ok(Some(Checksum::Pending))
    );
    let cut = frame(&bytes[..100], bytes.len(), LinkType::Ethernet);
    assert_eq!(
        verify(&cut, ChecksumState::Unknown),
        Ok(Some(Checksum::Cut))
    );
    for piece in ip.fragments(&tcp, &[48]) {
        assert_eq!(found(&framed(&piece)), Ok(Some(Checksum::Fragment)));
    }
    // The NIC's word is about the segment, not about the header before it.
    let mut bad = bytes.clone();
    bad[24] ^= 1;
    let bad = frame(&bad, bytes.len(), LinkType::Ethernet);
    for state in [ChecksumState::Pending, ChecksumState::Proven] {
        assert_eq!(verify(&bad, state), Err(MalformedCause::BadIpChecksum));
    }
    let ping = craft::icmp::echo((FOUR.src, FOUR.dst), false, 1, 1, &[0; 8]);
    let ping = Ip::new(FOUR.src, FOUR.dst, 1).bytes(&ping);
    assert_eq!(found(&framed(&ping)), Ok(None));
}

#[test]
fn a_datagram_needs_no_checksum_in_ipv4_and_in_tunnels() {
    for (flow, port, outcome) in [
        (FOUR, 53, Ok(Some(Checksum::Absent))),
        (six(), 53, Err(MalformedCause::BadUdpChecksum)),
        (six(), 4789, Ok(Some(Checksum::Absent))),
        (six(), 6081, Ok(Some(Checksum::Absent))),
    ] {
        let flow = Flow {
            dst_port: port,
            ..flow
        };
        let mut udp = Udp::new(flow, &[1, 2, 3]).bytes();
        udp[6..8].fill(0);
        let bytes = framed(&Ip::new(flow.src, flow.dst, 17).bytes(&udp));
        assert_eq!(found(&bytes), outcome, "port {port}");
    }
    // It ends beyond its packet: dropped. It ends before: what follows is not covered.
    let mut udp = Udp::new(FOUR, &[1, 2, 3]).bytes();
    let ip = Ip::new(FOUR.src, FOUR.dst, 17);
    let longer = [&udp[..], &[9; 5]].concat();
    assert_eq!(
        found(&framed(&ip.bytes(&longer))),
        Ok(Some(Checksum::Right))
    );
    udp[5] += 1;
    assert_eq!(
        found(&framed(&ip.bytes(&udp))),
        Err(MalformedCause::BadUdpChecksum)
    );
}

#[test]
fn ends_in_extension_headers_excuse_a_wrong_sum_and_nothing_else() {
    let flow = six();
    let last = Flow {
        dst: six().src,
        ..flow
    };
    // Computed with another destination than the one in the header.
    let tcp = craft::Tcp::new(last, craft::SYN, 7).bytes();
    let with = |ext: Ext| {
        found(&framed(
            &Ip::new(flow.src, flow.dst, 6).ext(ext).bytes(&tcp),
        ))
    };
    let routing = |left| {
        let mut body = vec![0, left, 0, 0, 0, 0];
        body.extend([0; 16]);
        Ext { kind: 43, body }
    };
    let bad = Err(MalformedCause::BadTcpChecksum);
    assert_eq!(with(routing(1)), Ok(Some(Checksum::Extension)));
    assert_eq!(with(routing(0)), bad);
    let mut home = vec![0, 1, 0, 0xc9, 16];
    home.extend([0; 17]);
    let home = Ext {
        kind: 60,
        body: home,
    };
    assert_eq!(with(home), Ok(Some(Checksum::Extension)));
    assert_eq!(with(Ext::padding(60, 24)), bad);
    assert_eq!(with(Ext::padding(0, 8)), bad);
}

/// Etherparse's judgement: of the IPv4 header, and of the segment or datagram.
fn theirs(bytes: &[u8]) -> Option<(bool, bool)> {
    let packet = LaxSlicedPacket::from_ethernet(bytes).ok()?;
    let (v4, v6) = match packet.net? {
        LaxNetSlice::Ipv4(ip) => (Some(ip), None),
        LaxNetSlice::Ipv6(ip) => (None, Some(ip)),
        _ => return None,
    };
    let header = v4.as_ref().is_none_or(|ip| {
        let header = ip.header().to_header();
        header.calc_header_checksum() == header.header_checksum
    });
    let ends4 = v4.map(|ip| (ip.header().source(), ip.header().destination()));
    let ends6 = v6.map(|ip| (ip.header().source(), ip.header().destination()));
    let segment = match packet.transport? {
        TransportSlice::Tcp(tcp) => {
            let computed = match (ends4, ends6) {
                (Some((a, b)), _) => tcp.calc_checksum_ipv4(a, b),
                (_, Some((a, b))) => tcp.calc_checksum_ipv6(a, b),
                _ => return None,
            };
            computed.ok()? == tcp.checksum()
        }
        TransportSlice::Udp(udp) => {
            let (header, payload) = (udp.to_header(), udp.payload());
            let computed = match (ends4, ends6) {
                (Some((a, b)), _) => header.calc_checksum_ipv4_raw(a, b, payload),
                (_, Some((a, b))) => header.calc_checksum_ipv6_raw(a, b, payload),
                _ => return None,
            };
            computed.ok()? == udp.checksum()
        }
        _ => return None,
    };
    Some((header, segment))
}

proptest! {
    #[test]
    fn damaged_frames_are_judged_as_by_etherparse(
        which in any::<prop::sample::Index>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let all = right();
        let mut bytes = which.get(&all).0.clone();
        for (place, value) in damage {
            *place.get_mut(&mut bytes[14..]) = value;
        }
        match (found(&bytes), theirs(&bytes)) {
            (Ok(Some(Checksum::Right)), Some(judged)) => prop_assert_eq!(judged, (true, true)),
            (Err(MalformedCause::BadIpChecksum), Some((header, _))) => prop_assert!(!header),
            (Err(_), Some((_, segment))) => prop_assert!(!segment, "{bytes:02x?}"),
            _ => {}
        }
    }

    #[test]
    fn chance_bytes_are_no_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), wire_len in 0..100_000_usize,
        gso in any::<bool>(), number in 0..300_u32,
    ) {
        for link in [LinkType::Ethernet, LinkType::RawIp, LinkType::Other(number)] {
            let frame = Frame { gso, ..frame(&bytes, wire_len, link) };
            let _ = verify(&frame, ChecksumState::Unknown);
        }
    }
}
