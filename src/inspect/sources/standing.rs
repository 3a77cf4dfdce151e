//! The standing of one source.

use crate::inspect::contact::{Contact, ContactKind};
use crate::inspect::detection::{SourceEvidence, Technique};
use crate::inspect::distinct::firsts::First;
use crate::inspect::distinct::state::TouchState;
use crate::inspect::place::{Element, Host, Place, Way};
use crate::inspect::table::Ranked;
use crate::splitmix::mix64;

/// Bits of a set of places.
const BITS: u32 = 128;
/// What is older than two of these is forgotten (Bro's trw-impl forgets outcomes after 30 minutes).
const GENERATION_NS: i64 = 30 * 60 * 1_000_000_000;

/// A set of places, by linear counting.
type Set = [u64; 2];

/// The standing of one source over the last half hour to hour.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// Time of its newest touch.
    pub newest_ns: i64,
    /// Newest completed handshake, and whether there was one.
    proven: bool,
    /// Start of the present generation.
    since_ns: i64,
    /// Places touched, and those of them that answered: in this generation and the one before.
    touched: [Set; 2],
    answered: [Set; 2],
    /// Dark addresses touched, by linear counting.
    dark: u32,
    half_open: u16,
    /// Bits by [`Technique`].
    techniques: u8,
    /// When a detection told of it.
    told_ns: Option<i64>,
}

/// The bit of a place. `key` is secret live: who knows it, may choose ports that share a bit.
pub(super) fn bit(key: u64, place: &Place, way: Way) -> u8 {
    let what =
        place.host.bits() << 16 ^ u64::from(place.port) ^ u64::from(way == Way::Datagram) << 60;
    (mix64(what ^ key) >> 57) as u8
}

/// Number of places in a set: what linear counting gives for so many bits, in whole numbers.
fn count(set: Set) -> u32 {
    let ones = set[0].count_ones() + set[1].count_ones();
    let free = |taken: u32| (BITS - taken).max(1);
    // The expected draws until `ones` of the bits are set, in units of 2^-16.
    let draws: u32 = (0..ones).map(|taken| (BITS << 16) / free(taken)).sum();
    draws >> 16
}

fn union(sets: &[Set; 2]) -> Set {
    [sets[0][0] | sets[1][0], sets[0][1] | sets[1][1]]
}

fn add(set: &mut Set, bit: u8) {
    set[usize::from(bit >> 6 & 1)] |= 1 << (bit & 63);
}

impl Ranked for Standing {
    type Rank = (u8, i64);

    /// Whoever was proven, or is suspect, outlives a stranger.
    fn rank(&self) -> (u8, i64) {
        let is_suspect = self.dark != 0 || self.techniques != 0 || self.half_open > 2;
        let rank = u8::from(self.proven) + 2 * u8::from(is_suspect);
        (rank, self.newest_ns)
    }
}

impl Standing {
    /// Of a source whose first touch this was.
    pub fn new(first: &First<Element>, bit: u8, watermark: i64) -> Self {
        let mut standing = Self {
            newest_ns: first.newest_ns,
            since_ns: watermark,
            proven: first.proven,
            ..Self::default()
        };
        add(&mut standing.touched[0], bit);
        if first.state == TouchState::Answered {
            add(&mut standing.answered[0], bit);
        }
        standing.note_technique(first.item.way.touch());
        standing.note_dark(first.item.dark, first.item.host);
        standing
    }

    /// Takes a contact of the source.
    #[inline]
    pub fn on_contact(&mut self, contact: &Contact, bit: u8, watermark: i64) {
        self.advance(watermark);
        let kind = contact.kind();
        if ContactKind::TOUCHES.has(kind) {
            self.newest_ns = self.newest_ns.max(contact.ts_ns);
            add(&mut self.touched[0], bit);
            self.note_technique(kind);
            return;
        }
        match kind {
            ContactKind::Answered | ContactKind::UdpAnswered => add(&mut self.answered[0], bit),
            ContactKind::Established => self.proven = true,
            ContactKind::HalfOpen => self.half_open = self.half_open.saturating_add(1),
            _ => {}
        }
    }

    fn note_technique(&mut self, kind: ContactKind) {
        if let Some(technique) = Technique::of(kind) {
            self.techniques |= 1 << technique as u8;
        }
    }

    /// A detection told of it.
    pub fn note_told(&mut self, now_ns: i64) {
        self.told_ns = Some(now_ns);
    }

    /// Whether one did within the last hour.
    pub fn is_told(&self, now_ns: i64) -> bool {
        self.told_ns
            .is_some_and(|at| at.saturating_add(2 * GENERATION_NS) > now_ns)
    }

    /// Notes a touch of a dark address.
    #[inline]
    pub fn note_dark(&mut self, is_dark: bool, host: Host) {
        if is_dark {
            self.dark |= 1 << (mix64(host.bits()) >> 59);
        }
    }

    fn advance(&mut self, now_ns: i64) {
        let passed_ns = now_ns.saturating_sub(self.since_ns);
        if passed_ns < GENERATION_NS {
            return;
        }
        let one_ago = passed_ns < 2 * GENERATION_NS;
        for sets in [&mut self.touched, &mut self.answered] {
            sets[1] = if one_ago { sets[0] } else { Set::default() };
            sets[0] = Set::default();
        }
        self.since_ns = now_ns;
        (self.dark, self.half_open, self.techniques) = (0, 0, 0);
    }

    /// The numbers behind a verdict.
    pub fn evidence(&self, now_ns: i64) -> SourceEvidence {
        let mut now = *self;
        now.advance(now_ns);
        let (touched, answered) = (count(union(&now.touched)), count(union(&now.answered)));
        SourceEvidence {
            places: touched.max(answered),
            answered,
            half_open: u32::from(now.half_open),
            dark: now.dark.count_ones(),
            techniques: now.techniques,
            friendly: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_places_are_counted_exactly_and_many_within_a_tenth() {
        let mut set = Set::default();
        assert_eq!(count(set), 0);
        for bit in 0..8 {
            add(&mut set, bit * 16);
        }
        assert_eq!(count(set), 8);
        for places in [16_u64, 64, 200] {
            let off: i64 = (0..200_u64)
                .map(|key| {
                    let mut set = Set::default();
                    for n in 0..places {
                        add(&mut set, (mix64(mix64(key) ^ n) >> 57) as u8);
                    }
                    i64::from(count(set)) - places.cast_signed()
                })
                .sum();
            assert!(off.abs() <= 20 * places.cast_signed(), "{places}: {off}");
        }
        assert!(count([u64::MAX; 2]) > 600);
    }
}
