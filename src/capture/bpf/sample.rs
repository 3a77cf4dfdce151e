//! The SYNs of a sample of connections: one rule, implemented twice.
//!
//! The kernel runs [`Sample::program`], classic BPF. User space runs [`syn`] (can the program read this frame?) and
//! [`Sample::keeps`] (is the connection in the sample?). Tests compare both.
//!
//! Reach: Ethernet with at most two tags in the frame, or no link header; IPv4 with options, IPv6 without
//! extension headers; no fragments; TCP with SYN and without ACK. Lengths are ignored. The sample depends on
//! addresses and ports, not on the sequence number: it has all SYNs of a connection or none.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::sock_filter;

use super::asm::{Asm, Label};
use super::fanout::{mix, random_words, seeded_words};
use super::steps::{ETHERNET, TAGS, TAGS_MAX, header_length, ip_header};
use crate::capture::frame::{Frame, LinkType};

/// 32-bit words of two IPv6 addresses and of both ports.
const WORDS: usize = 9;
/// The word that both ports make.
const PORTS: usize = WORDS - 1;
const TCP: u8 = 6;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

// Slots of M.
const IP: u32 = 0;
const UPPER: u32 = 1;
const HASH: u32 = 2;

/// Addresses and ports of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Sender.
    pub src: IpAddr,
    /// Receiver.
    pub dst: IpAddr,
    /// The sender's port.
    pub src_port: u16,
    /// The receiver's port.
    pub dst_port: u16,
}

/// One in so many connections, by a keyed hash.
#[derive(Clone)]
pub struct Sample {
    /// Secret odd numbers: one pair for each word.
    keys: [[u32; 2]; WORDS],
    one_in: u32,
}

impl Sample {
    /// One in `one_in` connections, under fresh secrets.
    ///
    /// # Errors
    ///
    /// If the kernel has no random numbers to give.
    ///
    /// # Panics
    ///
    /// If `one_in` is 0.
    pub fn random(one_in: u32) -> io::Result<Self> {
        Ok(Self::new(one_in, random_words::<{ 2 * WORDS }>()?))
    }

    /// The same secrets for the same seed: for tests.
    #[must_use]
    pub fn from_seed(one_in: u32, seed: u64) -> Self {
        Self::new(one_in, seeded_words::<{ 2 * WORDS }>(seed))
    }

    fn new(one_in: u32, words: [u32; 2 * WORDS]) -> Self {
        assert!(one_in > 0, "one in 0 connections");
        let keys = std::array::from_fn(|at| [words[2 * at], words[2 * at + 1]]);
        Self { keys, one_in }
    }

    /// Whether the connection is in the sample.
    #[must_use]
    pub fn keeps(&self, ends: &Ends) -> bool {
        let hash = match (ends.src, ends.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                self.add(4, self.add(0, 0, src.to_bits()), dst.to_bits())
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let words = [src.octets(), dst.octets()];
                let words = words.iter().flat_map(|address| address.as_chunks().0);
                let words = words.map(|word| u32::from_be_bytes(*word));
                (0..)
                    .zip(words)
                    .fold(0, |hash, (at, word)| self.add(at, hash, word))
            }
            _ => return false,
        };
        let ports = u32::from(ends.src_port) << 16 | u32::from(ends.dst_port);
        self.add(PORTS, hash, ports).is_multiple_of(self.one_in)
    }

    fn add(&self, at: usize, hash: u32, word: u32) -> u32 {
        let [key, fold] = self.keys[at];
        let word = mix(word.wrapping_mul(key));
        mix(word.wrapping_add(hash).wrapping_mul(fold))
    }

    /// The socket filter: `snaplen` bytes of each SYN of the sample, 0 of other frames. A load beyond the frame ends
    /// it with 0.
    #[must_use]
    pub fn program(&self, link: LinkType, snaplen: u32) -> Vec<sock_filter> {
        let mut asm = Asm::default();
        let a = &mut asm;
        let (v4, v6, refuse, keep) = (a.label(), a.label(), a.label(), a.label());
        ip_header(a, link, v4, v6, refuse);
        a.bind(v4);
        version(a, 4, refuse);
        a.ldb_ind(9);
        a.jeq(TCP.into(), None, refuse);
        a.ldh_ind(6);
        a.jset(0x3fff, refuse, None);
        header_length(a, 0, refuse);
        self.upper(a, &[(0, 12), (4, 16)], refuse);
        a.ja(keep);
        a.bind(v6);
        version(a, 6, refuse);
        a.ldb_ind(6);
        a.jeq(TCP.into(), None, refuse);
        a.ld_imm(40);
        let words = [8, 12, 16, 20, 24, 28, 32, 36];
        let words: [(usize, u32); 8] = std::array::from_fn(|at| (at, words[at]));
        self.upper(a, &words, refuse);
        a.bind(keep);
        a.modulo(self.one_in);
        a.jeq(0, None, refuse);
        a.ret(snaplen);
        a.bind(refuse);
        a.ret(0);
        asm.finish()
    }

    /// In: A = the length of the IP header, X = its start. Out: A = the hash. `words`: number and offset of each word
    /// of the addresses.
    fn upper(&self, a: &mut Asm, words: &[(usize, u32)], refuse: Label) {
        a.add_x();
        a.tax();
        a.stx(UPPER);
        a.ldb_ind(13);
        a.and((SYN | ACK).into());
        a.jeq(SYN.into(), None, refuse);
        a.ld_imm(0);
        a.st(HASH);
        for &(at, offset) in words {
            self.add_word(a, at, IP, offset);
        }
        self.add_word(a, PORTS, UPPER, 0);
    }

    fn add_word(&self, a: &mut Asm, at: usize, base: u32, offset: u32) {
        let [key, fold] = self.keys[at];
        a.ldx_mem(base);
        a.ld_ind(offset);
        a.mul(key);
        a.mix();
        a.ldx_mem(HASH);
        a.add_x();
        a.mul(fold);
        a.mix();
        a.st(HASH);
    }
}

impl std::fmt::Debug for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sample(1 in {}, secret)", self.one_in)
    }
}

fn version(a: &mut Asm, version: u32, refuse: Label) {
    a.stx(IP);
    a.ldb_ind(0);
    a.rsh(4);
    a.jeq(version, None, refuse);
}

/// The ends of a SYN within the reach of [`Sample::program`]; `None` for any other frame.
///
/// Exact if `frame.bytes` hold the headers: at most 96 bytes.
#[must_use]
pub fn syn(frame: &Frame<'_>) -> Option<Ends> {
    let bytes = frame.bytes;
    let (at, v4) = ip(frame)?;
    let half = |at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let first = *bytes.get(at)?;
    let upper = if v4 {
        let header = usize::from(first & 15) * 4;
        let whole = half(at + 6)? & 0x3fff == 0;
        if first >> 4 != 4 || *bytes.get(at + 9)? != TCP || !whole || header < 20 {
            return None;
        }
        at + header
    } else {
        if first >> 4 != 6 || *bytes.get(at + 6)? != TCP {
            return None;
        }
        at + 40
    };
    if bytes.get(upper + 13)? & (SYN | ACK) != SYN {
        return None;
    }
    let address = |place: usize| -> Option<IpAddr> {
        if v4 {
            let octets: [u8; 4] = *bytes.get(at + 12 + 4 * place..)?.first_chunk()?;
            Some(IpAddr::V4(Ipv4Addr::from(octets)))
        } else {
            let octets: [u8; 16] = *bytes.get(at + 8 + 16 * place..)?.first_chunk()?;
            Some(IpAddr::V6(Ipv6Addr::from(octets)))
        }
    };
    Some(Ends {
        src: address(0)?,
        dst: address(1)?,
        src_port: half(upper)?,
        dst_port: half(upper + 2)?,
    })
}

/// The start of the IP header, and whether the header before it says IPv4.
fn ip(frame: &Frame<'_>) -> Option<(usize, bool)> {
    let bytes = frame.bytes;
    if frame.link == LinkType::RawIp {
        return match bytes.first()? >> 4 {
            4 => Some((0, true)),
            6 => Some((0, false)),
            _ => None,
        };
    }
    for tags in 0..=TAGS_MAX as usize {
        let at = ETHERNET as usize + 4 * tags;
        let ethertype = u16::from_be_bytes(*bytes.get(at - 2..)?.first_chunk()?);
        match ethertype {
            0x0800 => return Some((at, true)),
            0x86dd => return Some((at, false)),
            _ if TAGS.contains(&u32::from(ethertype)) => {}
            _ => return None,
        }
    }
    None
}
