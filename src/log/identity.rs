//! Names of a flow that others can compute too: the community id, and EVE's `flow_id`.

use crate::flow::record::FiveTuple;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::net::IpAddr;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;
const SCTP: u8 = 132;

/// Length of a community id in version 1: `1:` and 20 bytes in base64.
pub const COMMUNITY_ID_LEN: usize = 30;

/// Whether the protocol's flows have two ports (ICMP's type and code are none).
pub fn has_ports(proto: u8) -> bool {
    matches!(proto, TCP | UDP | SCTP)
}

/// Whether the protocol is ICMP or ICMPv6.
pub fn is_icmp(proto: u8) -> bool {
    matches!(proto, ICMP | ICMP6)
}

/// The ICMP type that answers `kind`, where there is one.
///
/// Source: the reference implementation, `communityid/icmp.py` and `icmp6.py`.
pub fn icmp_counterpart(proto: u8, kind: u16) -> Option<u16> {
    let pairs: &[(u16, u16)] = match proto {
        ICMP => &[(8, 0), (13, 14), (15, 16), (10, 9), (17, 18)],
        ICMP6 => &[
            (128, 129),
            (130, 131),
            (133, 134),
            (135, 136),
            (139, 140),
            (144, 145),
        ],
        _ => &[],
    };
    pairs.iter().find_map(|&(ask, answer)| {
        if kind == ask {
            Some(answer)
        } else {
            (kind == answer).then_some(ask)
        }
    })
}

/// Community id, version 1, seed 0: the same in both directions, except for one-way ICMP.
///
/// ICMP types with a counterpart use that as their second port, whatever `dst_port` says; the
/// others use `dst_port` as the code.
///
/// Source: <https://github.com/corelight/community-id-spec>.
pub fn community_id(tuple: &FiveTuple) -> [u8; COMMUNITY_ID_LEN] {
    let ports = Ports::of(tuple);
    let (low, high) = ports.ordered(tuple);
    let mut bytes = [0; 40];
    let mut len = 2; // The seed: 16 bits of 0.
    let mut put = |part: &[u8]| {
        bytes[len..len + part.len()].copy_from_slice(part);
        len += part.len();
    };
    for address in [low.0, high.0] {
        match address {
            IpAddr::V4(v4) => put(&v4.octets()),
            IpAddr::V6(v6) => put(&v6.octets()),
        }
    }
    put(&[tuple.proto, 0]);
    if ports.present {
        put(&low.1.to_be_bytes());
        put(&high.1.to_be_bytes());
    }
    let mut id = [0; COMMUNITY_ID_LEN];
    id[..2].copy_from_slice(b"1:");
    STANDARD
        .encode_slice(Sha1::digest(&bytes[..len]), &mut id[2..])
        .expect("20 bytes are 28 letters of base64");
    id
}

/// EVE's `flow_id`, below 2^51: a hash of the tuple, whichever side is first, and the client's
/// initial sequence number, so that an attempt and its flow share it.
///
/// The key is fixed: the same capture gives the same ids. It names, it does not protect.
pub fn flow_id(tuple: &FiveTuple, isn: u32) -> u64 {
    let (low, high) = Ports::of(tuple).ordered(tuple);
    let mut hasher = SipHasher13::new_with_keys(0x7379_6e6c_6564_6765, 0x7266_6c6f_7769_6473);
    let mut bytes = [0; 41];
    for (side, at) in [(low, 0), (high, 18)] {
        match side.0 {
            IpAddr::V4(v4) => bytes[at..at + 4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => bytes[at..at + 16].copy_from_slice(&v6.octets()),
        }
        bytes[at + 16..at + 18].copy_from_slice(&side.1.to_be_bytes());
    }
    bytes[36] = tuple.proto;
    bytes[37..41].copy_from_slice(&isn.to_be_bytes());
    hasher.write(&bytes);
    hasher.write_u8(u8::from(tuple.src.is_ipv6()));
    hasher.finish() >> 13
}

type Side = (IpAddr, u16);

struct Ports {
    src: u16,
    dst: u16,
    present: bool,
    one_way: bool,
}

impl Ports {
    fn of(tuple: &FiveTuple) -> Self {
        let mut ports = Self {
            src: tuple.src_port,
            dst: tuple.dst_port,
            present: true,
            one_way: false,
        };
        if is_icmp(tuple.proto) {
            match icmp_counterpart(tuple.proto, tuple.src_port) {
                Some(answer) => ports.dst = answer,
                None => ports.one_way = true,
            }
        } else if !has_ports(tuple.proto) {
            (ports.src, ports.dst, ports.present) = (0, 0, false);
        }
        ports
    }

    fn ordered(&self, tuple: &FiveTuple) -> (Side, Side) {
        let (src, dst) = ((tuple.src, self.src), (tuple.dst, self.dst));
        if self.one_way || src <= dst {
            (src, dst)
        } else {
            (dst, src)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(src: &str, dst: &str, proto: u8, src_port: u16, dst_port: u16) -> FiveTuple {
        let (src, dst) = (src.parse().expect("address"), dst.parse().expect("address"));
        FiveTuple {
            src,
            dst,
            src_port,
            dst_port,
            proto,
        }
    }

    fn turned(t: FiveTuple) -> FiveTuple {
        FiveTuple {
            src: t.dst,
            dst: t.src,
            src_port: t.dst_port,
            dst_port: t.src_port,
            ..t
        }
    }

    #[test]
    fn community_ids_are_those_of_the_specification() {
        let (v4, v6) = ("192.168.0.89", "fe80::200:86ff:fe05:80da");
        let known = [
            (
                tuple("128.232.110.120", "66.35.250.204", 6, 34855, 80),
                "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
            ),
            (
                tuple("192.168.1.52", "8.8.8.8", 17, 54585, 53),
                "1:d/FP5EW3wiY1vCndhwleRRKHowQ=",
            ),
            (
                tuple(v4, "192.168.0.1", 1, 8, 0),
                "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=",
            ),
            (
                tuple(v6, "fe80::260:97ff:fe07:69ea", 58, 135, 0),
                "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=",
            ),
        ];
        for (tuple, id) in known {
            assert_eq!(community_id(&tuple), id.as_bytes(), "{tuple:?}");
        }
        let (there, back) = (known[0].0, turned(known[0].0));
        assert_eq!(community_id(&there), community_id(&back));
        let echo = tuple("192.168.0.1", v4, 1, 0, 0);
        assert_eq!(community_id(&echo), known[2].1.as_bytes());
    }

    #[test]
    fn one_way_icmp_is_not_turned_round() {
        let unreachable = tuple("192.168.0.89", "192.168.0.1", 1, 3, 1);
        assert_eq!(
            &community_id(&unreachable),
            b"1:LXCfhMUFbYXe+CEMrQuZCbiLY3o="
        );
        let back = FiveTuple {
            src: unreachable.dst,
            dst: unreachable.src,
            ..unreachable
        };
        assert_ne!(community_id(&unreachable), community_id(&back));
    }

    #[test]
    fn flow_ids_fit_51_bits_and_tell_flows_apart() {
        let flow = tuple("10.0.0.1", "10.0.0.2", 6, 1, 2);
        assert_eq!(flow_id(&flow, 7), flow_id(&turned(flow), 7));
        assert!(flow_id(&flow, 7) < 1 << 51);
        assert_ne!(flow_id(&flow, 7), flow_id(&flow, 8));
        let udp = FiveTuple { proto: 17, ..flow };
        assert_ne!(flow_id(&flow, 7), flow_id(&udp, 7));
        let (a, b) = (
            tuple("1.2.3.4", "1.2.3.4", 6, 1, 2),
            tuple("102:304::", "102:304::", 6, 1, 2),
        );
        assert_ne!(flow_id(&a, 7), flow_id(&b, 7));
    }
}
