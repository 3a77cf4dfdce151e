//! Ids of a flow that other programs can compute: the community id, and EVE's `flow_id`.

use crate::flow::record::FiveTuple;
use siphasher::sip::SipHasher13;
use std::net::IpAddr;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;
const SCTP: u8 = 132;

/// Length of a community id in version 1: `1:` and 20 bytes in base64.
pub const COMMUNITY_ID_LEN: usize = 30;

/// Whether the protocol has ports. ICMP's type and code are none.
pub fn has_ports(proto: u8) -> bool {
    matches!(proto, TCP | UDP | SCTP)
}

/// Whether the protocol is ICMP or ICMPv6.
pub fn is_icmp(proto: u8) -> bool {
    matches!(proto, ICMP | ICMP6)
}

/// The counterpart of an ICMP type: request to reply and back.
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
/// The second port of ICMP is the counterpart of its type, or `dst_port` (the code) if there is none.
///
/// Source: <https://github.com/corelight/community-id-spec>.
pub fn community_id(tuple: &FiveTuple) -> [u8; COMMUNITY_ID_LEN] {
    let ports = Ports::of(tuple);
    let (low, high) = ports.ordered(tuple);
    // One block of SHA-1: the message, at most 40 bytes, then a bit, zeros, and the length in bits.
    let mut block = [0; 64];
    let mut len: u8 = 2; // The seed: 16 bits of 0.
    let mut put = |part: &[u8]| {
        let at = usize::from(len);
        block[at..at + part.len()].copy_from_slice(part);
        len += u8::try_from(part.len()).expect("an address at most");
    };
    match (low.0, high.0) {
        (IpAddr::V4(low), IpAddr::V4(high)) => {
            put(&low.octets());
            put(&high.octets());
        }
        (low, high) => [low, high].into_iter().for_each(|address| match address {
            IpAddr::V4(v4) => put(&v4.octets()),
            IpAddr::V6(v6) => put(&v6.octets()),
        }),
    }
    put(&[tuple.proto, 0]);
    if ports.present {
        put(&low.1.to_be_bytes());
        put(&high.1.to_be_bytes());
    }
    put(&[0x80]);
    block[62..].copy_from_slice(&(u16::from(len - 1) * 8).to_be_bytes());
    base64(sha1(&block))
}

/// SHA-1 of a message that fits one padded block (FIPS 180-4, section 5.1.1).
fn sha1(block: &[u8; 64]) -> [u32; 5] {
    let mut state = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    sha1::block_api::compress(&mut state, std::slice::from_ref(block));
    state
}

/// `1:` and a hash in base64 (RFC 4648, section 4).
fn base64(hash: [u32; 5]) -> [u8; COMMUNITY_ID_LEN] {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let [a, b, c, d, e] = hash.map(u64::from);
    let mut id = *b"1:============================";
    // 60 bits, 60 bits, and 40 with two bits of zeros.
    let tens = [a << 28 | b >> 4, (b & 15) << 56 | c << 24 | d >> 8];
    for (ten, text) in tens.into_iter().zip(id[2..22].chunks_exact_mut(10)) {
        for (place, letter) in (0..10).rev().zip(text) {
            *letter = LETTERS[(ten >> (6 * place) & 63) as usize];
        }
    }
    let rest = ((d & 0xff) << 32 | e) << 2;
    for (place, letter) in (0..7).rev().zip(&mut id[22..29]) {
        *letter = LETTERS[(rest >> (6 * place) & 63) as usize];
    }
    id
}

/// EVE's `flow_id`, below 2^51: a hash of the tuple, the same in both directions, and of the client's initial
/// sequence number. An attempt and its flow share it.
///
/// The key is fixed, so the same capture gives the same ids: no protection against collisions on purpose.
pub fn flow_id(tuple: &FiveTuple, isn: u32) -> u64 {
    let (low, high) = Ports::of(tuple).ordered(tuple);
    let mut bytes = [0; 42];
    for (side, at) in [(low, 0), (high, 18)] {
        match side.0 {
            IpAddr::V4(v4) => bytes[at..at + 4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => bytes[at..at + 16].copy_from_slice(&v6.octets()),
        }
        bytes[at + 16..at + 18].copy_from_slice(&side.1.to_be_bytes());
    }
    bytes[36] = tuple.proto;
    bytes[37..41].copy_from_slice(&isn.to_be_bytes());
    bytes[41] = u8::from(tuple.src.is_ipv6());
    let hasher = SipHasher13::new_with_keys(0x7379_6e6c_6564_6765, 0x7266_6c6f_7769_6473);
    hasher.hash(&bytes) >> 13
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
        // As integers, which is faster: it is done twice per record.
        let in_order = match (src.0, dst.0) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits(), src.1) <= (b.to_bits(), dst.1),
            _ => src <= dst,
        };
        if self.one_way || in_order {
            (src, dst)
        } else {
            (dst, src)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::base64::Engine;
    use ::base64::engine::general_purpose::STANDARD;
    use ::sha1::{Digest, Sha1};
    use proptest::prelude::*;
    use std::hash::Hasher;

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

    /// The message as the specification builds it, through the libraries as they are meant to be used.
    fn slow_community_id(tuple: &FiveTuple) -> String {
        let ports = Ports::of(tuple);
        let ((low, low_port), (high, high_port)) = ports.ordered(tuple);
        let mut message = vec![0, 0];
        for address in [low, high] {
            match address {
                IpAddr::V4(v4) => message.extend(v4.octets()),
                IpAddr::V6(v6) => message.extend(v6.octets()),
            }
        }
        message.extend([tuple.proto, 0]);
        if ports.present {
            message.extend(low_port.to_be_bytes());
            message.extend(high_port.to_be_bytes());
        }
        format!("1:{}", STANDARD.encode(Sha1::digest(message)))
    }

    /// The same hash, fed piece by piece.
    fn slow_flow_id(tuple: &FiveTuple, isn: u32) -> u64 {
        let (low, high) = Ports::of(tuple).ordered(tuple);
        let mut hasher = SipHasher13::new_with_keys(0x7379_6e6c_6564_6765, 0x7266_6c6f_7769_6473);
        for (address, port) in [low, high] {
            let mut bytes = [0; 16];
            match address {
                IpAddr::V4(v4) => bytes[..4].copy_from_slice(&v4.octets()),
                IpAddr::V6(v6) => bytes = v6.octets(),
            }
            hasher.write(&bytes);
            hasher.write(&port.to_be_bytes());
        }
        hasher.write(&[tuple.proto]);
        hasher.write(&isn.to_be_bytes());
        hasher.write_u8(u8::from(tuple.src.is_ipv6()));
        hasher.finish() >> 13
    }

    fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
        let v4 = any::<[[u8; 4]; 2]>().prop_map(|[a, b]| (IpAddr::from(a), IpAddr::from(b)));
        let v6 = any::<[[u8; 16]; 2]>().prop_map(|[a, b]| (IpAddr::from(a), IpAddr::from(b)));
        let one = any::<IpAddr>().prop_map(|a| (a, a));
        prop_oneof![v4, v6, one]
    }

    proptest! {
        #[test]
        fn fast_names_are_the_slow_ones(
            (src, dst) in addresses(), src_port in any::<u16>(), dst_port in any::<u16>(),
            proto in prop_oneof![Just(6), Just(17), Just(1), Just(58), any::<u8>()], isn in any::<u32>(),
        ) {
            let tuple = FiveTuple { src, dst, src_port, dst_port, proto };
            let fast = community_id(&tuple);
            prop_assert_eq!(String::from_utf8_lossy(&fast), slow_community_id(&tuple));
            prop_assert_eq!(flow_id(&tuple, isn), slow_flow_id(&tuple, isn));
            let ports = Ports::of(&tuple);
            let (low, high) = ports.ordered(&tuple);
            prop_assert!(ports.one_way || low <= high);
        }
    }
}
