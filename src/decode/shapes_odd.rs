//! Frames with rare tags, of serial lines and of netfilter's log, sound and not.

use super::shapes::{be, ethernet, ip4, ip4_as, ip6, join, tags, tcp};
use crate::capture::frame::LinkType;

/// The tags that wrap an EtherType, with the bytes between both.
pub(super) const WRAPPERS: [(usize, &[u8]); 3] = [
    // Cisco metadata: version, length, option, security group.
    (0x8909, &[1, 1, 0, 1, 0, 23]),
    // Palo Alto's heartbeat backup.
    (0x8988, &[0, 1, 2, 3, 4, 5]),
    // HSR: path and length, sequence number.
    (0x892f, &[0, 60, 0, 1]),
];

/// A MACsec tag with these flags, the data and a check value.
pub(super) fn macsec(flags: u8, data: &[u8]) -> Vec<u8> {
    let channel: &[u8] = match flags & 0x20 {
        0 => &[],
        _ => &[2, 0, 0, 0, 0, 1, 0, 1],
    };
    join(&[&[flags, 0, 0, 0, 0, 7], channel, data, &[0xee; 16]])
}

/// An attribute of netlink, by a host of this byte order, padded.
fn attribute(little: bool, kind: u16, value: &[u8]) -> Vec<u8> {
    let word = |word: u16| match little {
        true => word.to_le_bytes(),
        false => word.to_be_bytes(),
    };
    let len = u16::try_from(value.len() + 4).expect("values are short");
    let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
    join(&[&word(len), &word(kind), value, &padding])
}

/// A packet that netfilter logged behind a prefix, and its EtherType if that is not 0.
pub(super) fn nflog(little: bool, family: u8, ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let [high, low] = ethertype.to_be_bytes();
    let header = match ethertype {
        0 => vec![],
        _ => attribute(little, 1, &[high, low, 1, 0]),
    };
    join(&[
        &[family, 0, 0, 3],
        &header,
        &attribute(little, 10, b"in: \0"),
        &attribute(little, 9, packet),
    ])
}

/// An EtherType and what it announces.
pub(super) fn typed(ethertype: usize, payload: &[u8]) -> Vec<u8> {
    join(&[&be(ethertype), payload])
}

/// Every wrapper around both families: alone, behind and before a VLAN tag, twice, and before a tag nobody knows.
pub(super) fn wrapped() -> Vec<Vec<u8>> {
    let mut all = vec![];
    for (ethertype, ip) in [
        (0x800, ip4(6, &tcp(5, b"xyz"))),
        (0x86dd, ip6(6, &tcp(5, b"xyz"))),
    ] {
        let typed_ip = typed(ethertype, &ip);
        let vlan = typed(0x8100, &join(&[&[0x20, 7], &typed_ip]));
        let mut kinds = vec![(0x88e5, 0), (0x88e5, 0x20)];
        kinds.extend(WRAPPERS.map(|(kind, _)| (kind, 0)));
        let wrap = |(kind, flags): (usize, u8), inner: &[u8]| match kind {
            0x88e5 => macsec(flags, inner),
            _ => {
                let (_, between) = WRAPPERS.iter().find(|(of, _)| *of == kind).expect("listed");
                join(&[between, inner])
            }
        };
        for one in kinds {
            let around = |inner: &[u8]| typed(one.0, &wrap(one, inner));
            all.push(around(&typed_ip));
            all.push(around(&vlan));
            all.push(around(&around(&typed_ip)));
            all.push(around(&typed(0x1234, &ip)));
            all.push(typed(0x8100, &join(&[&[0, 7], &around(&typed_ip)])));
            for (other, between) in WRAPPERS {
                all.push(typed(other, &join(&[between, &around(&typed_ip)])));
            }
        }
    }
    all
}

pub(super) fn odd_shapes() -> Vec<(LinkType, Vec<u8>)> {
    let ether = |bytes: &[u8]| {
        let ethertype = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        (LinkType::Ethernet, ethernet(ethertype, &bytes[2..]))
    };
    let mut shapes: Vec<_> = wrapped().iter().map(|bytes| ether(bytes)).collect();
    let (four, six) = (ip4(6, &tcp(5, b"xyz")), ip6(6, &tcp(5, b"xyz")));
    for flags in (0..=255).step_by(4) {
        let open_end = ip4_as(0x45, 0, 0, 6, &tcp(5, b"xyz"));
        let tag = macsec(flags, &typed(0x800, &open_end));
        shapes.push(ether(&typed(0x88e5, &tag)));
    }
    shapes.push((
        LinkType::Ethernet,
        tags(3, 0x88e5, &macsec(0, &typed(0x800, &four))),
    ));
    let ppp4 = typed(0x21, &four);
    let hdlc = |address: u8| join(&[&[address, 0, 8, 0], &four]);
    for number in [9, 50, 204, 166] {
        let direction: &[u8] = if number > 100 { &[1] } else { &[] };
        for serial in [
            join(&[&[0xff, 3], &ppp4]),
            join(&[&[3], &ppp4]),
            ppp4.clone(),
            typed(0x57, &six),
            join(&[&[0x57], &six]),
            hdlc(0x0f),
            hdlc(0x8f),
            join(&[&[0x8f, 0, 0, 4], &four]),
        ] {
            shapes.push((LinkType::Other(number), join(&[direction, &serial])));
        }
    }
    shapes.extend(nflog_shapes(&four, &six));
    shapes
}

fn nflog_shapes(four: &[u8], six: &[u8]) -> Vec<(LinkType, Vec<u8>)> {
    let mut all = vec![];
    for little in [true, false] {
        for (family, ethertype) in [
            (2, 0x800),
            (2, 0),
            (10, 0x86dd),
            (10, 0),
            (7, 0x800),
            (7, 0x806),
            (7, 0),
            (2, 0x8100),
        ] {
            all.extend([four, six].map(|packet| nflog(little, family, ethertype, packet)));
        }
        let nested = attribute(little, 0x8000 | 20, &[0; 8]);
        let before =
            |attributes: &[u8]| join(&[&[2, 0, 0, 0], attributes, &attribute(little, 9, four)]);
        all.push(before(&nested));
        all.push(before(&nested.repeat(63)));
        all.push(before(&nested.repeat(64)));
        all.push(before(&attribute(little, 1, &[8])));
        all.push(before(&[0; 4]));
    }
    let of_it = |bytes| (LinkType::Other(239), bytes);
    all.into_iter().map(of_it).collect()
}
