//! Frames of every shape that the tests read, sound and not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::packet::tcp_flags;
use crate::capture::frame::LinkType;

pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub(super) fn be(value: usize) -> [u8; 2] {
    u16::try_from(value).unwrap().to_be_bytes()
}

pub(super) fn tcp(data_offset: u8, payload: &[u8]) -> Vec<u8> {
    let head = [
        0x04,
        0x57,
        0,
        80,
        0x11,
        0x22,
        0x33,
        0x44,
        0,
        0,
        0,
        0,
        data_offset << 4,
        tcp_flags::SYN,
        4,
        0,
        0,
        0,
        0,
        0,
    ];
    join(&[&head, payload])
}

pub(super) fn udp(len: usize, payload: &[u8]) -> Vec<u8> {
    join(&[&[0, 53, 0x99, 1], &be(len), &[0, 0], payload])
}

pub(super) fn ip4_as(
    head: u8,
    total_len: usize,
    fragment: usize,
    proto: u8,
    payload: &[u8],
) -> Vec<u8> {
    let options = vec![1; usize::from(head & 15).saturating_sub(5) * 4];
    let addresses = [10, 0, 0, 1, 10, 0, 0, 2];
    join(&[
        &[head, 0],
        &be(total_len),
        &[0xab, 0xcd],
        &be(fragment),
        &[64, proto, 0, 0],
        &addresses,
        &options,
        payload,
    ])
}

pub(super) fn ip4(proto: u8, payload: &[u8]) -> Vec<u8> {
    ip4_as(0x45, 20 + payload.len(), 0, proto, payload)
}

pub(super) fn ip6_as(len: usize, next: u8, payload: &[u8]) -> Vec<u8> {
    let address = |last| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    join(&[
        &[0x60, 0, 0, 0],
        &be(len),
        &[next, 64],
        &address(1),
        &address(2),
        payload,
    ])
}

pub(super) fn ip6(next: u8, payload: &[u8]) -> Vec<u8> {
    ip6_as(payload.len(), next, payload)
}

/// `kinds` in order, each naming the next, the last naming `last`.
pub(super) fn chain(kinds: &[u8], last: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    for (i, kind) in kinds.iter().enumerate() {
        let next = kinds.get(i + 1).copied().unwrap_or(last);
        match kind {
            51 => bytes.extend(join(&[&[next, 4], &[0; 22]])),
            44 => bytes.extend([next, 0, 0, 0, 0, 1, 2, 3]),
            _ => bytes.extend([next, 0, 1, 4, 0, 0, 0, 0]),
        }
    }
    join(&[&bytes, payload])
}

pub(crate) fn ethernet(ethertype: usize, payload: &[u8]) -> Vec<u8> {
    join(&[&[2; 6], &[4; 6], &be(ethertype), payload])
}

pub(crate) fn tags(count: usize, ethertype: usize, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    for i in 1..=count {
        bytes.extend(be(0x2000 + i));
        bytes.extend(be(if i == count { ethertype } else { 0x8100 }));
    }
    ethernet(0x88a8, &join(&[&bytes, payload]))
}

pub(super) fn labels(count: usize, last: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = (1..count).flat_map(|_| [0, 1, 0x00, 64]).collect();
    bytes.extend([0, 0, last << 4 | 1, 64]);
    join(&[&bytes, payload])
}

pub(super) fn pppoe(len: usize, protocol: &[u8], payload: &[u8]) -> Vec<u8> {
    ethernet(
        0x8864,
        &join(&[&[0x11, 0, 0, 9], &be(len), protocol, payload]),
    )
}

/// IP packets of every shape, sound and not.
pub(super) fn ip_shapes() -> Vec<Vec<u8>> {
    let (syn, long) = (tcp(5, b"payload"), tcp(8, &[1; 30]));
    let quoted4 = ip4_as(0x46, 1400, 0, 6, &syn);
    let quoted6 = ip6_as(1300, 60, &chain(&[60], 17, &udp(900, &[])));
    let icmp = |kind: u8, quoted: &[u8]| join(&[&[kind, 1, 0, 0, 0x12, 0x34, 0, 0], quoted]);
    let mut shapes = vec![
        ip4(6, &syn),
        ip4(6, &long),
        ip4(17, &udp(13, b"hello")),
        ip4(17, &udp(0, b"hello")),
        ip4(17, &udp(7, b"hello")),
        ip4(17, &udp(999, b"hello")),
        ip4(47, &syn),
        ip4(58, &syn),
        ip4(51, &chain(&[51], 6, &syn)),
        ip4(60, &chain(&[60], 6, &syn)),
        join(&[&ip4(6, &syn), &[0; 12]]),
        ip6(6, &syn),
        ip6(17, &udp(13, b"hello")),
        ip6(59, &syn),
        ip6(1, &syn),
        ip6_as(0, 6, &syn),
        ip6_as(0, 0, &chain(&[0], 6, &syn)),
        ip6_as(999, 6, &syn),
        ip6(60, &[6, 200, 0, 0, 0, 0, 0, 0]),
        ip6(
            44,
            &join(&[&[60, 0, 0, 1, 9, 9, 9, 9], &chain(&[60], 6, &syn)]),
        ),
        join(&[&ip6(6, &syn), &[0; 12]]),
    ];
    shapes.extend((0..16).map(|offset| ip4(6, &tcp(offset, b"payload"))));
    shapes.extend((0..16).map(|ihl| ip4_as(0x40 | ihl, 60, 0, 6, &syn)));
    shapes.extend((0..16).map(|version| ip4_as(version << 4 | 5, 47, 0, 6, &syn)));
    shapes.extend([0, 19, 20, 21, 33, 34, 40, 4000].map(|total| ip4_as(0x45, total, 0, 6, &syn)));
    for kind in 0..20 {
        shapes.push(ip4(1, &icmp(kind, &quoted4)));
        shapes.push(ip6(58, &icmp(kind, &quoted6)));
        shapes.push(ip6(58, &icmp(kind | 128, &quoted4)));
    }
    shapes.push(ip4(1, &icmp(3, &ip4_as(0x45, 60, 3, 6, &syn))));
    for proto in [6, 17] {
        for place in [0x2000, 0x2001, 0x0001, 0x0002, 0x4000, 0x3fff] {
            for len in [4, 8, 13, 14, 20] {
                shapes.push(ip4_as(0x45, 20 + len, place, proto, &long[..len]));
                let [high, low] = be((place & 0x1fff) << 3 | place >> 13 & 1);
                shapes.push(ip6(
                    44,
                    &join(&[&[proto, 0, high, low, 9, 8, 7, 6], &long[..len]]),
                ));
            }
        }
    }
    let chains: [&[u8]; 9] = [
        &[0],
        &[60],
        &[43, 60],
        &[0, 60, 43],
        &[44],
        &[44, 44, 60],
        &[51],
        &[140, 51, 0, 60],
        &[135],
    ];
    shapes.extend(chains.map(|kinds| ip6(kinds[0], &chain(kinds, 6, &syn))));
    shapes.extend([14, 15, 255, 256, 257].map(|n| ip6(60, &chain(&vec![60; n], 6, &syn))));
    shapes
}

/// Frames of every link header around a few packets.
pub(super) fn link_shapes() -> Vec<(LinkType, Vec<u8>)> {
    let (four, six) = (ip4(6, &tcp(5, b"xyz")), ip6(6, &tcp(5, b"xyz")));
    let snap = |kind: [u8; 2]| join(&[&[0xaa, 0xaa, 3, 0, 0, 0], &kind, &four]);
    let wrapped =
        |kind: usize, skipped: usize| ethernet(kind, &join(&[&vec![9; skipped], &[8, 0], &four]));
    let mut ether = vec![
        ethernet(0x806, &four),
        ethernet(0x1234, &four),
        ethernet(0x0800, &six),
        ethernet(0x86dd, &four),
        ethernet(0x5dd, &four),
        ethernet(snap([8, 0]).len(), &snap([8, 0])),
        ethernet(30, &snap([8, 0])),
        ethernet(1500, &snap([0x81, 0])),
        ethernet(0x8870, &snap([8, 0])),
        ethernet(80, &snap([0, 40])),
        ethernet(80, &join(&[&[6, 6, 3], &four])),
        ethernet(80, &join(&[&[0x42, 0x42, 3], &four])),
        ethernet(80, &join(&[&[0xaa, 0xaa, 3, 0, 0, 12, 8, 0], &four])),
        ethernet(80, &join(&[&[0xaa, 0xaa, 1, 0, 0, 0, 8, 0], &four])),
        pppoe(four.len() + 2, &[0, 0x21], &four),
        pppoe(four.len() + 1, &[0x21], &four),
        pppoe(20, &[0, 0x21], &four),
        pppoe(9000, &[0, 0x57], &six),
        pppoe(four.len() + 6, &[2, 0x81], &labels(1, 5, &four)),
        pppoe(four.len() + 2, &[0xc0, 0x21], &four),
        ethernet(0x8847, &labels(1, 0, &[0, 0, 0, 0, 4])),
        ethernet(0x8847, &labels(1, 13, &four)),
        ethernet(0x8848, &labels(3, 2, &six)),
        wrapped(0x8926, 4),
        wrapped(0x6558, 12),
        wrapped(0x8903, 14),
        wrapped(0x88e7, 16),
    ];
    ether.extend([1, 2, 3, 31, 32].map(|n| tags(n, 0x800, &four)));
    ether.extend([1, 2, 30, 31, 32, 33].map(|n| ethernet(0x8847, &labels(n, 1, &four))));
    let mut shapes: Vec<_> = ether
        .into_iter()
        .map(|bytes| (LinkType::Ethernet, bytes))
        .collect();
    let cooked = [
        (0x800, &four),
        (0x86dd, &six),
        (4, &snap([8, 0])),
        (7, &four),
        (1, &four),
        (0x8100, &four),
    ];
    for (protocol, packet) in cooked {
        for hatype in [1, 778, 824] {
            let head = join(&[&[0, 0], &be(hatype), &[0; 10], &be(protocol)]);
            shapes.push((LinkType::LinuxSll, join(&[&head, packet])));
            let head = join(&[&be(protocol), &[0; 6], &be(hatype), &[0; 10]]);
            shapes.push((LinkType::LinuxSll2, join(&[&head, packet])));
        }
    }
    shapes.extend(loopback_shapes(&four, &six));
    let ppp = join(&[&[0xff, 3, 0, 0x21], &four]);
    shapes.extend(
        [LinkType::Null, LinkType::Other(9), LinkType::Other(50)].map(|link| (link, ppp.clone())),
    );
    shapes.push((
        LinkType::Other(51),
        pppoe(60, &[0, 0x21], &four)[14..].to_vec(),
    ));
    shapes.push((LinkType::Other(10), join(&[&[0x50; 13], &snap([8, 0])])));
    shapes.push((LinkType::Other(104), join(&[&[0xf, 0, 8, 0], &four])));
    shapes.push((LinkType::Other(105), four));
    shapes
}

pub(crate) fn shapes() -> Vec<(LinkType, Vec<u8>)> {
    let mut all = link_shapes();
    all.extend(super::shapes_odd::odd_shapes());
    let polled = [0xaa, 0xaa, 0x13, 0, 0, 0, 8, 0];
    all.push((
        LinkType::Ethernet,
        ethernet(80, &join(&[&polled, &ip4(6, &tcp(5, &[]))])),
    ));
    // The flags end at byte 192 behind one tag, at 196 behind two.
    let long = ip6(60, &join(&[&[6, 14], &[0; 118], &tcp(5, &[])]));
    all.extend([1, 2].map(|count| (LinkType::Ethernet, tags(count, 0x86dd, &long))));
    for ip in ip_shapes() {
        let ethertype = if ip[0] >> 4 == 6 { 0x86dd } else { 0x800 };
        all.push((LinkType::Ethernet, ethernet(ethertype, &ip)));
        all.push((LinkType::RawIp, ip));
    }
    all
}

fn loopback_shapes(four: &[u8], six: &[u8]) -> Vec<(LinkType, Vec<u8>)> {
    let mut shapes = vec![];
    for family in [2, 10, 24, 28, 30, 7, 0x800, 0x86dd, 0x8100_u32] {
        for word in [family.to_be_bytes(), family.to_le_bytes()] {
            for link in [LinkType::Null, LinkType::Loop] {
                shapes.extend([four, six].map(|packet| (link, join(&[&word, packet]))));
            }
        }
    }
    shapes
}
