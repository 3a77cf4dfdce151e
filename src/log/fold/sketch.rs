//! Sketches of a fold in fixed memory: estimates of sources and ports, and the top source prefixes.
//!
//! None of it decides anything, so the hash has a fixed, published seed: the same packets give the same figures
//! on every run and shard.

use crate::decode::key::Address;
use crate::hyperloglog::HyperLogLog;
use crate::sys::compare::equal_bytes;
use ipnet::IpNet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Registers of a [`Sources`].
const REGISTERS: usize = 1024;
/// Standard error of [`Sources::estimate`] in percent: 104 / sqrt(1024).
pub const SOURCES_ERROR_PCT: f64 = 3.25;
/// Bits of a [`Ports`].
const PORT_BITS: usize = 8192;
/// Prefixes that are counted at once.
const PREFIXES: usize = 16;

/// The seed of the hashes here: the first bits of pi's fraction.
const SEED: u64 = 0x243f_6a88_85a3_08d3;

/// MurmurHash3's finalizer (Austin Appleby, public domain) over the seeded value.
fn mix(value: u64) -> u64 {
    let mut z = value ^ SEED;
    z = (z ^ (z >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    z = (z ^ (z >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    z ^ (z >> 33)
}

/// Estimates distinct sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Sources(HyperLogLog<REGISTERS>);

impl Sources {
    /// Adds a source.
    #[allow(clippy::cast_possible_truncation, reason = "both halves of an address")]
    #[inline]
    pub fn add(&mut self, Address { v6, bits }: Address) {
        self.0.add(match v6 {
            false => mix(bits as u64),
            true => mix(mix((bits >> 64) as u64) ^ bits as u64),
        });
    }

    /// Adds the items of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }

    /// Estimated number of distinct items.
    pub fn estimate(&self) -> u64 {
        self.0.estimate()
    }
}

/// An estimate as a whole number.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "estimates are finite, not negative, and far below 2^53"
)]
fn round(estimate: f64) -> u64 {
    estimate.round() as u64
}

/// Estimates distinct ports: linear counting (Whang et al., 1990); at 65,536 ports the standard error is 8 %.
#[derive(Clone, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Ports([u64; PORT_BITS / 64]);

impl Default for Ports {
    fn default() -> Self {
        Self([0; PORT_BITS / 64])
    }
}

impl Ports {
    /// Adds a port.
    #[allow(clippy::cast_possible_truncation, reason = "below the number of bits")]
    #[inline]
    pub fn add(&mut self, port: u16) {
        let bit = mix(u64::from(port)) as usize % PORT_BITS;
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    /// Adds the items of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (bits, theirs) in self.0.iter_mut().zip(other.0) {
            *bits |= theirs;
        }
    }

    /// Estimated number of distinct items.
    pub fn estimate(&self) -> u64 {
        let ones: u32 = self.0.iter().map(|bits| bits.count_ones()).sum();
        let m = PORT_BITS as f64;
        // Without a zero bit the estimate is the maximum.
        let zeros = (m - f64::from(ones)).max(1.0);
        round(m * (m / zeros).ln()).min(65_536)
    }
}

/// A source prefix: /24 or /64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Prefix {
    v6: bool,
    bits: u64,
}

impl Prefix {
    /// The prefix of a source.
    #[allow(clippy::cast_possible_truncation, reason = "the upper half")]
    #[inline]
    pub fn of(Address { v6, bits }: Address) -> Self {
        let bits = match v6 {
            true => (bits >> 64) as u64,
            false => bits as u64 >> 8,
        };
        Self { v6, bits }
    }

    /// Its first address.
    fn address(self) -> Address {
        let bits = u128::from(self.bits);
        Address {
            v6: self.v6,
            bits: if self.v6 { bits << 64 } else { bits << 8 },
        }
    }

    /// As a network.
    pub(crate) fn network(self) -> IpNet {
        let first = self.address().into();
        let length = if self.v6 { 64 } else { 24 };
        IpNet::new(first, length).expect("within the length of an address")
    }

    #[allow(clippy::cast_possible_truncation, reason = "one byte of the product")]
    fn tag(self) -> u8 {
        (self.bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
    }
}

impl fmt::Display for Prefix {
    #[allow(clippy::cast_possible_truncation, reason = "24 bits")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.v6 {
            write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(self.bits) << 64))
        } else {
            write!(f, "{}/24", Ipv4Addr::from_bits((self.bits as u32) << 8))
        }
    }
}

/// A source prefix and its attempts: at least `count - error`, at most `count`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct PrefixCount {
    /// The prefix.
    pub prefix: Prefix,
    /// Attempts at most.
    pub count: u64,
    /// How many of them may be of other prefixes.
    pub error: u64,
}

/// The top source prefixes: Space-Saving (Metwally et al., 2005). A prefix with more than a sixteenth of all attempts
/// is among them.
///
/// In a flood from random sources each attempt has a new prefix. So misses are found by a tag, one byte of the
/// prefix's hash, and the prefix to replace by a clock hand: all with the least count are replaced before any that
/// has one more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Senders {
    kept: [PrefixCount; PREFIXES],
    tags: [u8; PREFIXES],
    len: usize,
    /// The least count, once all places are taken.
    least: u64,
    /// Place at which the search for it continues.
    hand: usize,
}

impl Senders {
    /// Gives each prefix that of another address: `other` preserves prefixes.
    pub fn rename(&mut self, other: impl Fn(Address) -> Address) {
        for at in 0..self.len {
            let prefix = Prefix::of(other(self.kept[at].prefix.address()));
            (self.kept[at].prefix, self.tags[at]) = (prefix, prefix.tag());
        }
    }

    #[inline(always)]
    fn find(&self, prefix: Prefix) -> Option<usize> {
        let mut equal = equal_bytes(&self.tags, prefix.tag());
        while equal != 0 {
            let at = equal.trailing_zeros() as usize;
            if at < self.len && self.kept[at].prefix == prefix {
                return Some(at);
            }
            equal &= equal - 1;
        }
        None
    }

    fn put(&mut self, at: usize, sender: PrefixCount) {
        self.kept[at] = sender;
        self.tags[at] = sender.prefix.tag();
    }

    /// The next place with the least count, to be replaced.
    #[inline(always)]
    fn weakest(&mut self) -> usize {
        loop {
            if self.hand == PREFIXES {
                self.hand = 0;
                self.least = self.unseen();
            }
            let at = self.hand;
            self.hand += 1;
            if self.kept[at].count == self.least {
                return at;
            }
        }
    }

    /// Counts an attempt.
    #[inline]
    pub fn add(&mut self, prefix: Prefix) {
        if let Some(known) = self.find(prefix) {
            self.kept[known].count += 1;
            return;
        }
        // A new prefix takes a free place, or that of the weakest with its count as error.
        let at = if self.len < PREFIXES {
            self.len += 1;
            self.len - 1
        } else {
            self.weakest()
        };
        let error = self.kept[at].count;
        let count = error + 1;
        self.put(
            at,
            PrefixCount {
                prefix,
                count,
                error,
            },
        );
    }

    /// Attempts at most of a prefix that is not kept.
    #[inline(never)]
    fn unseen(&self) -> u64 {
        if self.len < PREFIXES {
            return 0;
        }
        let counts = self.kept.iter().map(|sender| sender.count);
        counts.min().unwrap_or(0)
    }

    /// Adds the attempts of `other`; bounds add up (Agarwal et al., "Mergeable summaries", 2012).
    pub fn merge(&mut self, other: &Self) {
        let (mine, theirs) = (self.unseen(), other.unseen());
        let mut all: Vec<PrefixCount> = self.kept[..self.len].to_vec();
        for sender in &mut all {
            let same = other.kept[..other.len]
                .iter()
                .find(|s| s.prefix == sender.prefix);
            sender.count += same.map_or(theirs, |s| s.count);
            sender.error += same.map_or(theirs, |s| s.error);
        }
        for sender in &other.kept[..other.len] {
            if !self.kept[..self.len]
                .iter()
                .any(|s| s.prefix == sender.prefix)
            {
                all.push(PrefixCount {
                    prefix: sender.prefix,
                    count: sender.count + mine,
                    error: sender.error + mine,
                });
            }
        }
        sort(&mut all);
        *self = Self::default();
        for (at, &sender) in all.iter().take(PREFIXES).enumerate() {
            self.put(at, sender);
            self.len += 1;
        }
        self.hand = PREFIXES;
    }

    /// The top `most` prefixes, by count and then by lower bound.
    pub fn top(&self, most: usize) -> Vec<PrefixCount> {
        let mut all = self.kept[..self.len].to_vec();
        sort(&mut all);
        all.truncate(most);
        all
    }
}

fn sort(senders: &mut [PrefixCount]) {
    senders.sort_unstable_by_key(|sender| {
        let least = sender.count - sender.error;
        (std::cmp::Reverse((sender.count, least)), sender.prefix)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn v4(bits: u32) -> Address {
        Address {
            v6: false,
            bits: u128::from(bits),
        }
    }

    #[test]
    fn sources_are_estimated_within_four_standard_errors_at_any_number() {
        for seed in 0..8_u32 {
            let mut sources = Sources::default();
            let mut added = 0_u32;
            for goal in [1, 2, 10, 100, 1000, 5000, 100_000, 1_000_000_u32] {
                while added < goal {
                    // Each twice: a source counts once.
                    for _ in 0..2 {
                        sources.add(v4((added + 1).wrapping_mul(0x9e37_79b1) ^ seed << 7));
                    }
                    added += 1;
                }
                let (estimate, goal) = (sources.estimate() as f64, f64::from(goal));
                let allowed = (4.0 * SOURCES_ERROR_PCT / 100.0 * goal).max(1.0);
                assert!(
                    (estimate - goal).abs() <= allowed,
                    "{estimate} of {goal}, seed {seed}"
                );
            }
        }
        assert_eq!(Sources::default().estimate(), 0);
    }

    #[test]
    fn ports_are_estimated_up_to_all_of_them() {
        let mut ports = Ports::default();
        assert_eq!(ports.estimate(), 0);
        for port in 0..=u16::MAX {
            ports.add(port);
            if [0, 99, 9999, u16::MAX].contains(&port) {
                let (estimate, goal) = (ports.estimate() as f64, f64::from(port) + 1.0);
                assert!(
                    (estimate - goal).abs() <= 0.32 * goal,
                    "{estimate} of {goal}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn merged_parts_keep_what_the_whole_promises(
            attempts in prop::collection::vec((0_u32..40, any::<bool>()), 0..600),
        ) {
            let prefix = |number: u32| Prefix::of(v4((number * number) << 8));
            let (mut parts, mut truth) = ([Senders::default(), Senders::default()], BTreeMap::new());
            let (mut sources, mut whole) = ([Sources::default(), Sources::default()], Sources::default());
            for &(number, second) in &attempts {
                parts[usize::from(second)].add(prefix(number));
                sources[usize::from(second)].add(v4(number));
                whole.add(v4(number));
                *truth.entry(prefix(number)).or_insert(0_u64) += 1;
            }
            let [mut merged, other] = parts;
            merged.merge(&other);
            for sender in merged.top(PREFIXES) {
                let real = truth.get(&sender.prefix).copied().unwrap_or(0);
                prop_assert!(sender.count - sender.error <= real && real <= sender.count);
            }
            let kept = merged.top(PREFIXES);
            let share = attempts.len() as u64 / PREFIXES as u64 * 2;
            for (prefix, &real) in &truth {
                let is_kept = kept.iter().any(|sender| sender.prefix == *prefix);
                prop_assert!(is_kept || real <= share + 1, "{real} of {}", attempts.len());
            }
            let [mut a, b] = sources;
            a.merge(&b);
            prop_assert_eq!(a, whole);
        }
    }

    #[test]
    fn prefixes_have_an_address_and_a_length() {
        let of = |text: &str| {
            let address: std::net::IpAddr = text.parse().expect("an address");
            Prefix::of(address.into())
        };
        for (source, first, len) in [
            ("192.0.2.77", "192.0.2.0", 24),
            ("2001:db8:1:2:3::9", "2001:db8:1:2::", 64),
            ("255.255.255.255", "255.255.255.0", 24),
        ] {
            assert_eq!(of(source).to_string(), format!("{first}/{len}"));
        }
        assert_ne!(of("0.0.0.0"), of("::"));
    }
}
