//! A plain reader of crafted frames, and what it counts: no code of the generator.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod rules;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use craft::{Benign, Capture, benign};

pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;
pub const SECOND: i64 = 1_000_000_000;

/// Source, source port, destination, destination port.
pub type Ends = (IpAddr, u16, IpAddr, u16);

/// The same conversation from the other end.
pub fn reversed((src, src_port, dst, dst_port): Ends) -> Ends {
    (dst, dst_port, src, src_port)
}

/// What an IP packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Tcp {
        ends: Ends,
        seq: u32,
        ack: u32,
        flags: u8,
        data: Vec<u8>,
    },
    Udp {
        ends: Ends,
        data: Vec<u8>,
    },
    /// An ICMP or ICMPv6 message; `quoted` are the ports and addresses in an error's quote, and
    /// its protocol.
    Icmp {
        kind: u8,
        quoted: Option<(u8, Ends)>,
    },
}

/// A packet; its time is in nanoseconds after the first frame's second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub at: i64,
    pub src: IpAddr,
    pub dst: IpAddr,
    pub body: Body,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from(bytes[at]) * 256 + u16::from(bytes[at + 1])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) * 65_536 + u32::from(u16_at(bytes, at + 2))
}

/// The Internet checksum of a message with its checksum field is 0 if it is right (RFC 1071).
fn adds_up(bytes: &[u8]) -> bool {
    let mut sum = 0_u32;
    for i in (0..bytes.len()).step_by(2) {
        sum += u32::from(bytes[i]) * 256 + u32::from(*bytes.get(i + 1).unwrap_or(&0));
    }
    while sum > 0xFFFF {
        sum = sum % 65_536 + sum / 65_536;
    }
    sum == 0xFFFF
}

/// Addresses, protocol and payload of an IP packet whose header is right.
fn ip(packet: &[u8]) -> (IpAddr, IpAddr, u8, &[u8]) {
    if packet[0] == 0x45 {
        assert!(adds_up(&packet[..20]), "checksum of IPv4");
        let address =
            |at: usize| IpAddr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).expect("4"));
        return (address(12), address(16), packet[9], &packet[20..]);
    }
    assert_eq!(packet[0] >> 4, 6, "IPv4 without options, or IPv6");
    let address = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).expect("16"));
    (address(8), address(24), packet[6], &packet[40..])
}

/// Asserts that lengths and the checksum over the pseudo-header are right.
fn check(packet: &[u8], proto: u8, payload: &[u8]) {
    let (src_dst, len) = if packet[0] == 0x45 {
        assert_eq!(usize::from(u16_at(packet, 2)), packet.len(), "IPv4 length");
        (&packet[12..20], payload.len())
    } else {
        assert_eq!(usize::from(u16_at(packet, 4)), payload.len(), "IPv6 length");
        (&packet[8..40], payload.len())
    };
    let mut whole = Vec::new();
    if proto != 1 {
        whole.extend(src_dst);
        whole.extend([0, proto]);
        whole.extend(u16::try_from(len).expect("short").to_be_bytes());
    }
    whole.extend(payload);
    assert!(adds_up(&whole), "checksum of protocol {proto}");
}

/// Protocol, addresses and ports that an ICMP error quotes.
fn quoted(message: &[u8], v6: bool) -> Option<(u8, Ends)> {
    let errors: &[u8] = if v6 { &[1, 3] } else { &[3, 11] };
    if !errors.contains(&message[0]) {
        return None;
    }
    let (src, dst, proto, rest) = ip(&message[8..]);
    Some((proto, (src, u16_at(rest, 0), dst, u16_at(rest, 2))))
}

fn packet(at: i64, frame: &[u8]) -> Packet {
    let ether_type = u16_at(frame, 12);
    let whole = &frame[14..];
    assert_eq!(ether_type, if whole[0] >> 4 == 4 { 0x800 } else { 0x86DD });
    let (src, dst, proto, payload) = ip(whole);
    check(whole, proto, payload);
    let ends = |payload: &[u8]| (src, u16_at(payload, 0), dst, u16_at(payload, 2));
    let body = match proto {
        6 => Body::Tcp {
            ends: ends(payload),
            seq: u32_at(payload, 4),
            ack: u32_at(payload, 8),
            flags: payload[13],
            data: payload[usize::from(payload[12] >> 4) * 4..].to_vec(),
        },
        17 => {
            assert_eq!(usize::from(u16_at(payload, 4)), payload.len(), "UDP length");
            Body::Udp {
                ends: ends(payload),
                data: payload[8..].to_vec(),
            }
        }
        1 | 58 => Body::Icmp {
            kind: payload[0],
            quoted: quoted(payload, proto == 58),
        },
        other => panic!("protocol {other}"),
    };
    Packet { at, src, dst, body }
}

/// All packets of a capture, whose lengths and checksums are asserted.
pub fn packets(capture: &Capture) -> Vec<Packet> {
    let begin = capture.frames[0].ts_ns / SECOND * SECOND;
    capture
        .frames
        .iter()
        .map(|frame| packet(frame.ts_ns - begin, &frame.bytes))
        .collect()
}

/// How a SYN was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    Refused,
    Rejected,
    Silent,
}

/// A SYN without ACK and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    pub at: i64,
    pub ends: Ends,
    pub isn: u32,
    pub outcome: Outcome,
    /// The number of times its SYN was sent.
    pub sent: usize,
    /// The client sent a RST without ACK at the acknowledged number, and nothing before it.
    pub half_open: bool,
    /// The client acknowledged the answer.
    pub proven: bool,
}

impl Attempt {
    pub fn failed(&self) -> bool {
        self.outcome != Outcome::Answered
    }
}

/// All attempts, in the order of their first SYN.
pub fn attempts(packets: &[Packet]) -> Vec<Attempt> {
    let mut out: Vec<Attempt> = Vec::new();
    let mut last: HashMap<Ends, usize> = HashMap::new();
    for packet in packets {
        match packet.body {
            Body::Tcp {
                ends, seq, flags, ..
            } if flags & (SYN | ACK) == SYN => match last.get(&ends) {
                Some(&known) if out[known].isn == seq => out[known].sent += 1,
                _ => {
                    last.insert(ends, out.len());
                    out.push(Attempt {
                        at: packet.at,
                        ends,
                        isn: seq,
                        outcome: Outcome::Silent,
                        sent: 1,
                        half_open: false,
                        proven: false,
                    });
                }
            },
            Body::Tcp {
                ends,
                seq,
                ack,
                flags,
                ..
            } => {
                if let Some(&of) = last.get(&reversed(ends)) {
                    note_answer(&mut out[of], ack, flags);
                } else if let Some(&of) = last.get(&ends) {
                    note_client(&mut out[of], seq, flags);
                }
            }
            Body::Icmp {
                quoted: Some((6, ends)),
                ..
            } => {
                if let Some(&of) = last.get(&ends) {
                    out[of].outcome = Outcome::Rejected;
                }
            }
            _ => {}
        }
    }
    out
}

fn note_answer(attempt: &mut Attempt, ack: u32, flags: u8) {
    let next = attempt.isn.wrapping_add(1);
    if attempt.outcome != Outcome::Silent || ack != next {
        return;
    }
    if flags & RST != 0 {
        attempt.outcome = Outcome::Refused;
    } else if flags & SYN != 0 {
        attempt.outcome = Outcome::Answered;
    }
}

fn note_client(attempt: &mut Attempt, seq: u32, flags: u8) {
    if attempt.outcome != Outcome::Answered || attempt.proven || attempt.half_open {
        return;
    }
    attempt.half_open = flags & (RST | ACK) == RST && seq == attempt.isn.wrapping_add(1);
    attempt.proven = flags & ACK != 0;
}

/// UDP conversations: who sent first, when, how many, and when the other answered.
#[derive(Clone, Copy, Debug)]
pub struct Datagrams {
    pub at: i64,
    pub ends: Ends,
    pub answered: Option<i64>,
}

/// All UDP conversations by 5-tuple, in the order of their first datagram.
pub fn datagrams(packets: &[Packet]) -> Vec<Datagrams> {
    let mut out: Vec<Datagrams> = Vec::new();
    let mut known: HashMap<Ends, usize> = HashMap::new();
    for packet in packets {
        let Body::Udp { ends, .. } = packet.body else {
            continue;
        };
        if let Some(&of) = known.get(&reversed(ends)) {
            out[of].answered.get_or_insert(packet.at);
        } else if let Entry::Vacant(first) = known.entry(ends) {
            first.insert(out.len());
            out.push(Datagrams {
                at: packet.at,
                ends,
                answered: None,
            });
        }
    }
    out
}

/// Share of those that satisfy `is`, in percent.
pub fn percent<T>(of: &[T], is: impl Fn(&T) -> bool) -> usize {
    assert!(!of.is_empty(), "a share of nothing");
    of.iter().filter(|one| is(one)).count() * 100 / of.len()
}

/// An hour of this kind.
pub fn hour(kind: &str) -> (Benign, Vec<Packet>) {
    let (capture, about) = benign(kind, 1, 60).expect("a kind");
    (about, packets(&capture))
}
