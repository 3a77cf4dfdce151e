//! Which ring a frame goes to: one rule, written twice.
//!
//! The kernel runs [`program`], classic BPF; user space runs [`demux`] on the bytes it got.
//! Both give the same class and the same worker for every frame, which the tests hold
//! them to. A fanout group has `3 × workers` members, in this order: `class × workers +
//! hash % workers`.
//!
//! What the program touches lies in the first [`DEPTH`] bytes of the frame, so a capture that
//! keeps that many can be checked frame by frame. A load beyond the frame ends the program
//! with 0: class data, worker 0.
//!
//! The hash is symmetric and keyed. Both ends, address with port, are mixed with secret odd
//! multipliers before they are added; a sum that is mixed only afterwards would let a
//! stranger choose flows that all meet on one worker. It has 32 bits: enough against someone
//! who cannot see which worker he hits, and no more.

mod kernel;
mod user;

use std::fmt;
use std::io;

use crate::capture::frame::Class;
use crate::splitmix::splitmix64;

pub use kernel::{Mode, program};
pub use user::{demux, flow_hash, pair_hash, segment};

/// Bytes of a frame, from its link header on, that decide its class and its worker.
pub const DEPTH: usize = 192;

/// The fewest bytes of a TCP header that hold its flags.
const TCP_FLAGS: u32 = 14;
/// The longest IPv6 extension header that is stepped over, in its own unit: 48 bytes.
pub(crate) const EXTENSION: u8 = 5;
/// IPv6 extension headers, fragment header included, that are stepped over.
pub(crate) const EXTENSIONS: usize = 3;
/// The farthest an upper header may start from its IPv6 header: 14 bytes of TCP behind two
/// tags still end within [`DEPTH`].
pub(crate) const UPPER: u32 = 156;
/// The same for an ICMPv6 error, with the header and the ports it quotes.
const QUOTING: u32 = 118;

/// The secrets of the hash: odd multipliers, drawn anew at each start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// One for each 32-bit word of an address.
    word: [u32; 4],
    /// One for each word, applied when it has joined what came before.
    fold: [u32; 4],
    /// For the ports.
    port: u32,
    /// For the sum of both ends.
    last: u32,
}

impl Keys {
    /// Fresh secrets.
    ///
    /// # Errors
    ///
    /// If the kernel has no random numbers to give.
    pub fn random() -> io::Result<Self> {
        let mut seed = [0; 40];
        getrandom::fill(&mut seed).map_err(|e| io::Error::other(e.to_string()))?;
        let mut words = seed.as_chunks().0.iter().map(|c| u32::from_ne_bytes(*c));
        Ok(Self::from_words(|| words.next().unwrap_or(1)))
    }

    /// The same secrets for the same seed: for tests, and for `read --seed`.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut state = seed;
        Self::from_words(|| (splitmix64(&mut state) >> 32) as u32)
    }

    fn from_words(mut next: impl FnMut() -> u32) -> Self {
        let mut odd = || next() | 1;
        Self {
            word: [odd(), odd(), odd(), odd()],
            fold: [odd(), odd(), odd(), odd()],
            port: odd(),
            last: odd(),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(secret)")
    }
}

/// What [`asm::Asm::mix`] does in the kernel.
#[inline]
pub(super) fn mix(v: u32) -> u32 {
    v ^ v >> 15
}

/// What a hash was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashKind {
    /// Both addresses and both ports, of the frame or of the packet an ICMP error quotes.
    Flow,
    /// Both addresses only: no ports, or none in reach.
    Pair,
    /// Nothing: not IP, or cut before it could be read. The hash is 0.
    None,
}

/// Where a frame belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demux {
    /// The class of its ring.
    pub class: Class,
    /// The hash that picks the worker.
    pub hash: u32,
    /// What the hash was made of.
    pub key: HashKind,
    /// False if a field that decides lies beyond the bytes; class and hash are then 0, which
    /// is what the kernel answers if the frame itself ends there.
    pub reach: bool,
}

impl Demux {
    /// The class and the worker, of `workers`.
    ///
    /// # Panics
    ///
    /// If `workers` is 0.
    #[must_use]
    pub fn member(&self, workers: u32) -> (Class, u32) {
        (self.class, self.hash % workers)
    }
}
