//! Ids of a flow that other programs can compute: the community id, and EVE's `flow_id`.

use super::siphash;
use crate::flow::record::FiveTuple;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// Ids of a flow.
pub struct Ids {
    /// EVE's `flow_id`, below 2^51: a hash of the tuple, the same in both directions, and of the client's initial
    /// sequence number. An attempt and its flow share it.
    ///
    /// The key is fixed, so the same capture gives the same ids: no protection against collisions on purpose.
    pub flow_id: u64,
    /// Community id, version 1, seed 0: the same in both directions, except for one-way ICMP.
    ///
    /// Source: <https://github.com/corelight/community-id-spec>.
    pub community_id: [u8; COMMUNITY_ID_LEN],
}

/// The ids of a flow with this client's initial sequence number.
#[inline(always)]
pub fn ids(tuple: &FiveTuple, isn: u32) -> Ids {
    let ports = Ports::of(tuple);
    match (tuple.src, tuple.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => ids4(src, dst, &ports, isn),
        // The addresses of a packet are of one version.
        (src, dst) => ids6(wide(src), wide(dst), &ports, isn),
    }
}

/// [`Ids::flow_id`] alone.
#[inline(always)]
pub fn id(tuple: &FiveTuple, isn: u32) -> u64 {
    let ports = Ports::of(tuple);
    let version = u64::from(tuple.src.is_ipv6());
    let sides = [(tuple.src, ports.src), (tuple.dst, ports.dst)];
    let wide_bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(u32::from_le_bytes(v4.octets())),
        IpAddr::V6(v6) => u128::from_le_bytes(v6.octets()),
    };
    let sides = ports.in_order(sides);
    let both = sides.map(|(_, port)| port.to_be_bytes());
    let words = sides.map(|(address, _)| wide_bits(address));
    flow_id(words, both, ports.proto, isn, version)
}

#[inline(always)]
fn ids4(src: Ipv4Addr, dst: Ipv4Addr, ports: &Ports, isn: u32) -> Ids {
    // Address and port as one integer, whose order is theirs.
    let side = |address: Ipv4Addr, port| u64::from(address.to_bits()) << 16 | u64::from(port);
    let sides = ports.in_order([side(src, ports.src), side(dst, ports.dst)]);
    let octets = sides.map(|side| (side << 16).to_be_bytes());
    let [low, high] = octets.map(|[a, b, c, d, ..]| [a, b, c, d]);
    let both = octets.map(|[_, _, _, _, e, f, ..]| [e, f]);
    let words = [low, high].map(|octets| u128::from(u32::from_le_bytes(octets)));
    Ids {
        flow_id: flow_id(words, both, ports.proto, isn, 0),
        community_id: community_id([low, high], both, ports),
    }
}

#[inline(never)]
fn ids6(src: Ipv6Addr, dst: Ipv6Addr, ports: &Ports, isn: u32) -> Ids {
    let sides = ports.in_order([(src, ports.src), (dst, ports.dst)]);
    let octets = sides.map(|(address, _)| address.octets());
    let both = sides.map(|(_, port)| port.to_be_bytes());
    Ids {
        flow_id: flow_id(octets.map(u128::from_le_bytes), both, ports.proto, isn, 1),
        community_id: community_id(octets, both, ports),
    }
}

/// An address of IPv6; one of IPv4 as IPv6 has it.
fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// The hash of 42 bytes: 16 of the address and 2 of the port of either side, protocol, number, 1 for IPv6.
#[inline(always)]
fn flow_id([low, high]: [u128; 2], ports: [[u8; 2]; 2], proto: u8, isn: u32, version: u64) -> u64 {
    let [low_port, high_port] = ports.map(|port| u64::from(u16::from_le_bytes(port)));
    let (isn, proto) = (u64::from(isn.swap_bytes()), u64::from(proto));
    const KEY: [u64; 2] = [0x7379_6e6c_6564_6765, 0x7266_6c6f_7769_6473];
    let words = [
        low_bits(low),
        low_bits(low >> 64),
        low_port | low_bits(high << 16),
        low_bits(high >> 48),
        low_bits(high >> 112) | high_port << 16 | proto << 32 | isn << 40,
        isn >> 24 | version << 8 | 42 << 56,
    ];
    siphash::of_words(KEY, words) >> 13
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the low bits are asked for"
)]
fn low_bits(bits: u128) -> u64 {
    bits as u64
}

/// The community id of both sides' addresses and ports.
#[inline(always)]
fn community_id<const LEN: usize>(
    addresses: [[u8; LEN]; 2],
    both: [[u8; 2]; 2],
    ports: &Ports,
) -> [u8; COMMUNITY_ID_LEN] {
    // One block of SHA-1: the message, at most 40 bytes, then a bit, zeros, and the length in bits. It begins with the
    // seed, 16 bits of 0.
    let mut block = [0; 64];
    block[2..2 + LEN].copy_from_slice(&addresses[0]);
    block[2 + LEN..2 + 2 * LEN].copy_from_slice(&addresses[1]);
    block[2 + 2 * LEN] = ports.proto;
    let mut end = 4 + 2 * LEN;
    if ports.present {
        block[end..end + 2].copy_from_slice(&both[0]);
        block[end + 2..end + 4].copy_from_slice(&both[1]);
        end += 4;
    }
    block[end] = 0x80;
    let bits = u16::try_from(8 * end).expect("40 bytes at most");
    block[62..].copy_from_slice(&bits.to_be_bytes());
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
#[inline(always)]
fn base64(hash: [u32; 5]) -> [u8; COMMUNITY_ID_LEN] {
    let [a, b, c, d, e] = hash.map(u64::from);
    let mut id = *b"1:============================";
    // 60 bits, 60 bits, and 40 with eight bits of zeros, of which two belong to the last letter.
    let parts = [
        (a << 28 | b >> 4, 2..12),
        ((b & 15) << 56 | c << 24 | d >> 8, 12..22),
        (((d & 0xff) << 32 | e) << 8, 22..30),
    ];
    for (bits, place) in parts {
        let letters = &mut id[place];
        for (pair, place) in letters.chunks_exact_mut(2).rev().zip(0..) {
            pair.copy_from_slice(&PAIRS[(bits >> (12 * place) & 4095) as usize]);
        }
    }
    id[29] = b'=';
    id
}

static PAIRS: [[u8; 2]; 4096] =
    pairs(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");

/// Each number below the square of `BASE` in two digits, the high one first.
pub(super) const fn pairs<const BASE: usize, const SQUARE: usize>(
    digits: &[u8; BASE],
) -> [[u8; 2]; SQUARE] {
    let mut pairs = [[0; 2]; SQUARE];
    let mut n = 0;
    while n < SQUARE {
        pairs[n] = [digits[n / BASE], digits[n % BASE]];
        n += 1;
    }
    pairs
}

/// The ports of a flow as its ids have them, and its protocol.
///
/// The second port of ICMP is the counterpart of its type. Where it has none, the ports are the type and the code, and
/// the sides keep their order.
struct Ports {
    src: u16,
    dst: u16,
    proto: u8,
    present: bool,
    one_way: bool,
}

impl Ports {
    #[inline(always)]
    fn of(tuple: &FiveTuple) -> Self {
        let ports = Self {
            src: tuple.src_port,
            dst: tuple.dst_port,
            proto: tuple.proto,
            present: true,
            one_way: false,
        };
        match has_ports(tuple.proto) {
            true => ports,
            false => ports.none(),
        }
    }

    /// Those of a protocol that has none.
    #[cold]
    #[inline(never)]
    fn none(mut self) -> Self {
        if !is_icmp(self.proto) {
            (self.src, self.dst, self.present) = (0, 0, false);
        } else if let Some(answer) = icmp_counterpart(self.proto, self.src) {
            self.dst = answer;
        } else {
            self.one_way = true;
        }
        self
    }

    /// Source and destination, the lower one first.
    #[inline(always)]
    fn in_order<T: Copy + PartialOrd>(&self, [src, dst]: [T; 2]) -> [T; 2] {
        if self.one_way || src <= dst {
            [src, dst]
        } else {
            [dst, src]
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
    use siphasher::sip::SipHasher13;
    use std::hash::Hasher;

    fn community_id(tuple: &FiveTuple) -> [u8; COMMUNITY_ID_LEN] {
        ids(tuple, 0).community_id
    }

    fn flow_id(tuple: &FiveTuple, isn: u32) -> u64 {
        ids(tuple, isn).flow_id
    }

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

    /// Both sides as the specification orders them, and whether they have ports.
    fn slow_sides(tuple: &FiveTuple) -> ([(IpAddr, u16); 2], bool) {
        let mut sides = [(tuple.src, tuple.src_port), (tuple.dst, tuple.dst_port)];
        let mut one_way = false;
        if is_icmp(tuple.proto) {
            match icmp_counterpart(tuple.proto, tuple.src_port) {
                Some(answer) => sides[1].1 = answer,
                None => one_way = true,
            }
        }
        let present = has_ports(tuple.proto) || is_icmp(tuple.proto);
        if !present {
            sides.iter_mut().for_each(|side| side.1 = 0);
        }
        if !one_way {
            sides.sort();
        }
        (sides, present)
    }

    /// The message as the specification builds it, through the libraries as they are meant to be used.
    fn slow_community_id(tuple: &FiveTuple) -> String {
        let (sides, has_ports) = slow_sides(tuple);
        let mut message = vec![0, 0];
        for (address, _) in sides {
            match address {
                IpAddr::V4(v4) => message.extend(v4.octets()),
                IpAddr::V6(v6) => message.extend(v6.octets()),
            }
        }
        message.extend([tuple.proto, 0]);
        if has_ports {
            message.extend(sides.map(|(_, port)| port.to_be_bytes()).concat());
        }
        format!("1:{}", STANDARD.encode(Sha1::digest(message)))
    }

    /// The same hash, fed piece by piece.
    fn slow_flow_id(tuple: &FiveTuple, isn: u32) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(0x7379_6e6c_6564_6765, 0x7266_6c6f_7769_6473);
        for (address, port) in slow_sides(tuple).0 {
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
        }
    }
}
