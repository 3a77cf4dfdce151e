//! Siblings of rare headers before IP.

use super::*;

/// A pcap file of any link type, with one frame.
fn pcap(link: u32, frame: &[u8]) -> Vec<u8> {
    let len = u32::try_from(frame.len()).expect("frames are short");
    let head = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, link];
    let words = head.into_iter().chain([1_700_000_000, 0, len, len]);
    let mut bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    bytes.extend(frame);
    bytes
}

fn one_syn(talk: &Talk) -> Right {
    Right {
        outcomes: [1, 0, 0, 0],
        flows: vec![talk.flow_of("S0", &[talk.syn()])],
        counts: vec![("syn_packets", 1), ("packets", 1)],
    }
}

/// Tags that are no VLAN tags, each before the packet's own type, alone and behind VLAN tags.
#[test]
fn each_tag_before_ip() {
    let mut kind = Kind::new("tags_not_followed");
    let tags: [(&str, &[u8], &[u8]); 4] = [
        ("8988", &[0x89, 0x88, 0, 1, 2, 3, 4, 5], &[]),
        ("8909", &[0x89, 0x09, 1, 1, 0, 1, 0, 0x17], &[]),
        ("892f", &[0x89, 0x2f, 0, 0x3c, 0, 1], &[]),
        (
            "MACsec",
            &[0x88, 0xe5, 0x20, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0; 16],
        ),
    ];
    for ends in Ends::ALL {
        let talk = Talk::of(ends);
        for vlans in [&[][..], &[10, 20]] {
            let link = vlans
                .iter()
                .fold(Link::ethernet(), |link, &vlan| link.vlan(vlan));
            for (name, tag, behind) in tags {
                let mut bytes = frame(&link, &talk.syn());
                // The packet's type stands behind the VLAN tags.
                let at = 12 + 4 * vlans.len();
                bytes.splice(at..at, tag.iter().copied());
                bytes.extend(behind);
                let file = kind.file("tag.pcap", &pcap(1, &bytes));
                let what = format!("{name} behind {vlans:?}");
                kind.check(ends, &what, &[file], &one_syn(&talk));
            }
        }
    }
    kind.end();
}

/// An attribute of netfilter's log, in the byte order of its host.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + value.len()).expect("attributes are short");
    let mut bytes = [&len.to_le_bytes()[..], &kind.to_le_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What netfilter logged, with other attributes before the packet or none.
#[test]
fn packets_that_netfilter_logged() {
    let mut kind = Kind::new("nflog");
    for ends in Ends::ALL {
        let talk = Talk::of(ends);
        let ip = Ip::new(talk.flow.src, talk.flow.dst, 6);
        let packet = attribute(9, &ip.bytes(&talk.syn().bytes()));
        let (family, high, low) = match ends.v6 {
            false => (2, 0x08, 0x00),
            true => (10, 0x86, 0xdd),
        };
        let hook = attribute(1, &[high, low, 1, 0]);
        // A prefix of one byte, as in the shared case, but padded.
        let prefix = attribute(10, &[0]);
        let before: [&[&[u8]]; 4] = [&[], &[&hook], &[&hook, &prefix], &[&prefix, &hook]];
        for before in before {
            let head = [family, 0, 0, 5];
            let frame = [&head, &before.concat()[..], &packet].concat();
            let file = kind.file("nflog.pcap", &pcap(239, &frame));
            let what = format!("behind {} attributes", before.len());
            kind.check(ends, &what, &[file], &one_syn(&talk));
        }
    }
    kind.end();
}
