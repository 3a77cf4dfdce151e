//! The ring of a frame: one rule, implemented twice.
//!
//! The kernel runs [`program`], classic BPF; user space runs [`demux`] on the captured bytes. Both give the same class
//! and the same worker for every frame; tests compare them. A fanout group has `3 × workers` members, in this
//! order: `class × workers + worker`, where [`worker`] picks by the hash.
//!
//! The program reads the first [`DEPTH`] bytes of a frame only, so a capture that keeps that many can be checked
//! frame by frame. A load beyond the frame ends the program with 0: class data, worker 0.
//!
//! The hash is symmetric and keyed, for an attacker who cannot see the worker of a flow; it does not protect against
//! others. All multipliers are secret and odd, sums and products are modulo 2^32:
//!
//! ```text
//! end(address, port) = (start + key·port + Σ fold[i]·((word[i]·address[i]) >> 16)) | 1
//! hash = mix(end(source)·end(destination))·last
//! ```
//!
//! - Each word is multiplied and shifted by itself, before anything is added. A sum of whole words times keys would
//!   not do: words that differ in their top bits alone add 2^31 each, whatever the keys, and two of them cancel out.
//! - Two words of an attacker's choice have the same upper half for at most 2 of 2^16 keys (multiply-shift), and the
//!   sum over 16-bit numbers is the same for at most 1 of 2^16: that is multilinear hashing. So two ends are alike for
//!   at most 3 of 2^16 keys.
//! - The ends are multiplied, not added: parts of one end that go to the other would leave a sum as it is.
//!   Odd ends lose nothing in a product.
//! - `mix` and `last` spread arithmetic progressions, such as one source's ports in turn: their products are
//!   progressions, too, which for some keys meet few workers.

mod builder;
mod kernel;
mod plain;
mod user;

use std::fmt;
use std::io;

use crate::capture::frame::Class;
use crate::splitmix::splitmix64;

pub use builder::Mode;
pub use kernel::{program, program_with};
pub use user::{demux, demux_with, flow_hash, pair_hash, whole};

/// Bytes of a frame, from its link header on, that decide its class and its worker.
pub const DEPTH: usize = 192;

/// The most workers that a hash can pick from.
pub const WORKERS_MAX: u32 = 1 << 16;

/// The fewest bytes of a TCP header that hold its flags.
const TCP_FLAGS: u32 = 14;
/// The longest IPv6 extension header that is skipped, in its own unit: 48 bytes.
pub(crate) const EXTENSION: u8 = 5;
/// IPv6 extension headers, fragment header included, that are skipped.
pub(crate) const EXTENSIONS: usize = 3;
/// The farthest an upper header may start from its IPv6 header: 14 bytes of TCP behind two
/// tags still end within [`DEPTH`].
pub(crate) const UPPER: u32 = 156;
/// The same for an ICMPv6 error, with the header and the ports it quotes.
const QUOTING: u32 = 118;

/// The secrets of the hash: odd multipliers, drawn anew at each start.
#[derive(Clone, Copy, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Keys {
    /// One for each 32-bit word of an address, before the shift.
    word: [u32; 4],
    /// One for each word, behind the shift.
    fold: [u32; 4],
    /// For the ports.
    port: u32,
    /// Where the sum of an end begins: no end is known to be 0.
    start: u32,
    /// For the product of both ends.
    last: u32,
}

impl Keys {
    /// Fresh secrets.
    ///
    /// # Errors
    ///
    /// If the kernel has no random numbers to give.
    pub fn random() -> io::Result<Self> {
        Ok(Self::from_words(random_words::<11>()?))
    }

    /// The same secrets for the same seed: for tests, and for `read --seed`.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self::from_words(seeded_words(seed))
    }

    fn from_words(words: [u32; 11]) -> Self {
        let [a, b, c, d, e, f, g, h, port, start, last] = words;
        Self {
            word: [a, b, c, d],
            fold: [e, f, g, h],
            port,
            start,
            last,
        }
    }
}

/// Odd numbers from the kernel's random source.
pub(super) fn random_words<const N: usize>() -> io::Result<[u32; N]> {
    let mut words = [0; N];
    for word in &mut words {
        *word = getrandom::u32().map_err(|error| io::Error::other(error.to_string()))? | 1;
    }
    Ok(words)
}

/// Odd numbers, the same for the same seed.
pub(super) fn seeded_words<const N: usize>(mut seed: u64) -> [u32; N] {
    std::array::from_fn(|_| (splitmix64(&mut seed) >> 32) as u32 | 1)
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(secret)")
    }
}

/// The same as [`super::asm::Asm::mix`].
#[inline]
pub(super) fn mix(v: u32) -> u32 {
    v ^ v >> 15
}

/// The worker, of `workers`, that a hash picks. Its upper half decides, which has the better bits, by a multiplication:
/// a division is the slowest instruction that the kernel's program could have.
///
/// # Panics
///
/// If `workers` is 0 or above [`WORKERS_MAX`].
#[inline]
#[must_use]
pub fn worker(hash: u32, workers: u32) -> u32 {
    assert!((1..=WORKERS_MAX).contains(&workers), "{workers} workers");
    ((hash >> 16) * workers) >> 16
}

/// The input of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashKind {
    /// Both addresses and both ports, of the frame or of the packet an ICMP error quotes.
    Flow,
    /// Both addresses: no ports, or none in reach.
    Pair,
    /// Nothing: not IP, or cut too short. The hash is 0.
    None,
}

/// Class and hash of a frame: they give its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demux {
    /// The class of its ring.
    pub class: Class,
    /// The hash that picks the worker.
    pub hash: u32,
    /// The input of the hash.
    pub key: HashKind,
    /// False if a needed field lies beyond the bytes. Class and hash are then 0, as the kernel gives for a frame that
    /// ends there.
    pub is_in_depth: bool,
}

impl Demux {
    /// The class and the worker, of `workers`.
    ///
    /// # Panics
    ///
    /// If `workers` is 0 or above [`WORKERS_MAX`].
    #[must_use]
    pub fn member(&self, workers: u32) -> (Class, u32) {
        (self.class, worker(self.hash, workers))
    }
}
