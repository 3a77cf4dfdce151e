//! The standing of one source.

use crate::inspect::contact::{Contact, ContactKind};
use crate::inspect::detection::{SourceEvidence, Technique};
use crate::inspect::distinct::firsts::First;
use crate::inspect::distinct::state::TouchState;
use crate::inspect::network::Network;
use crate::inspect::place::{Element, Host, Place, Way, is_of_traceroute};
use crate::inspect::table::Ranked;
use crate::splitmix::mix64;

/// Bits of a set of places.
const BITS: u32 = 128;
/// A set with so many ones starts anew: from here on its count soon says nothing.
const FILLED: u32 = 96;
/// At most one place in 2^20 is counted.
const THINNED_MAX: u8 = 20;
/// What is older than two of these is forgotten (Bro's trw-impl forgets outcomes after 30 minutes).
const GENERATION_NS: i64 = 30 * 60 * 1_000_000_000;

/// A set of places, by linear counting.
type Set = [u64; 2];

/// What a source did in one generation.
///
/// Places touched, and those of them that answered, are counted alike, so that their ratio stays right whatever their
/// number: once one of the sets is filled, what both count is added up, both start anew, and from then on every
/// second place counts, for two. Then every fourth, and so on. Places that are touched again and again fill fewer sets
/// than others: all rounds together count each about three times at most.
#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
struct Generation {
    /// Of places touched and of those that answered.
    sets: [Set; 2],
    /// What the sets counted before they started anew.
    before: [u32; 2],
    /// Dark addresses touched, by linear counting.
    dark: u32,
    half_open: u16,
    /// Bits by [`Technique`].
    techniques: u8,
    /// One place in 2 to the power of this counts.
    thinned: u8,
}

const TOUCHED: usize = 0;
const ANSWERED: usize = 1;

impl Generation {
    fn note(&mut self, which: usize, mark: Option<Mark>) {
        let Some(mark) = mark.filter(|mark| mark.depth >= self.thinned) else {
            return;
        };
        add(&mut self.sets[which], mark.bit);
        if ones(self.sets[which]) >= FILLED {
            self.start_anew();
        }
    }

    fn start_anew(&mut self) {
        for (before, set) in self.before.iter_mut().zip(self.sets) {
            *before = before.saturating_add(count(set) << self.thinned);
        }
        self.sets = [Set::default(); 2];
        self.thinned = THINNED_MAX.min(self.thinned + 1);
    }

    fn note_technique(&mut self, kind: ContactKind) {
        if let Some(technique) = Technique::of(kind) {
            self.techniques |= 1 << technique as u8;
        }
    }
}

/// The places of two generations: touched, and answered. What is in the sets of both counts once.
fn places([new, old]: &[Generation; 2]) -> [u32; 2] {
    [TOUCHED, ANSWERED].map(|which| {
        let sets = [new, old].map(|one| one.sets[which]);
        let present = match new.thinned == old.thinned {
            true => count(union(sets)) << new.thinned,
            false => (count(sets[0]) << new.thinned) + (count(sets[1]) << old.thinned),
        };
        let before = new.before[which].saturating_add(old.before[which]);
        before.saturating_add(present)
    })
}

/// The standing of one source over the last half hour to hour.
#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Standing {
    /// Time of its newest touch.
    pub newest_ns: i64,
    /// Newest completed handshake, and whether there was one.
    proven: bool,
    /// Start of the present generation.
    since_ns: i64,
    /// The present generation, and the one before.
    generations: [Generation; 2],
    /// When a detection told of it; `i64::MIN`: never.
    told_ns: i64,
}

/// Two cache lines: there may be a million of them.
const _: () = assert!(size_of::<Standing>() == 128);

/// What stands for a place in the sets of a source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    bit: u8,
    /// It counts while at most one place in 2 to the power of this does.
    depth: u8,
}

impl Mark {
    /// `key` is secret live: who knows it, may choose ports that share a bit. `None`: the place does not count.
    pub fn new(key: u64, place: &Place, way: Way) -> Option<Self> {
        if is_of_traceroute(way, place.port) {
            return None;
        }
        let what =
            place.host.bits() << 16 ^ u64::from(place.port) ^ u64::from(way == Way::Datagram) << 60;
        Some(Self::of(mix64(what ^ key)))
    }

    #[cfg(test)]
    pub fn bit(self) -> u8 {
        self.bit
    }

    /// The bit from the top of a hash, the depth from its end.
    #[allow(clippy::cast_possible_truncation, reason = "7 bits; at most 64")]
    fn of(hash: u64) -> Self {
        Self {
            bit: (hash >> 57) as u8,
            depth: hash.trailing_zeros() as u8,
        }
    }
}

fn ones(set: Set) -> u32 {
    set[0].count_ones() + set[1].count_ones()
}

/// Number of places in a set: what linear counting gives for so many bits, in whole numbers.
fn count(set: Set) -> u32 {
    let free = |taken: u32| (BITS - taken).max(1);
    // The expected draws until so many of the bits are set, in units of 2^-16.
    let draws: u32 = (0..ones(set)).map(|taken| (BITS << 16) / free(taken)).sum();
    draws >> 16
}

fn union([one, other]: [Set; 2]) -> Set {
    [one[0] | other[0], one[1] | other[1]]
}

fn add(set: &mut Set, bit: u8) {
    set[usize::from(bit >> 6 & 1)] |= 1 << (bit & 63);
}

fn has(set: Set, bit: u8) -> bool {
    set[usize::from(bit >> 6 & 1)] >> (bit & 63) & 1 != 0
}

impl Ranked for Standing {
    type Rank = (u8, i64);

    /// Whoever was proven, or is suspect, outlives a stranger.
    fn rank(&self) -> (u8, i64) {
        let is_suspect = self.dark() != 0 || self.techniques() != 0 || self.half_open() > 2;
        let rank = u8::from(self.proven) + 2 * u8::from(is_suspect);
        (rank, self.newest_ns)
    }
}

impl Standing {
    /// Of a source whose first touch this was: its generation starts with it, and may be over at `watermark`.
    pub fn new(first: &First<Element>, mark: Option<Mark>, key: u64, watermark: i64) -> Self {
        let mut standing = Self {
            newest_ns: first.newest_ns,
            since_ns: watermark.min(first.newest_ns),
            proven: first.proven,
            told_ns: i64::MIN,
            ..Self::default()
        };
        standing.generations[0].note(TOUCHED, mark);
        if first.state == TouchState::Answered {
            standing.generations[0].note(ANSWERED, mark);
        }
        standing.generations[0].note_technique(first.item.way.touch());
        if first.item.dark {
            standing.note_dark(key, first.item.host);
        }
        standing
    }

    /// Takes a contact of the source at `place`.
    #[inline]
    pub fn on_contact(
        &mut self,
        contact: &Contact,
        (place, mark): (&Place, Option<Mark>),
        key: u64,
        now_ns: i64,
    ) {
        self.advance(now_ns);
        let kind = contact.kind();
        if ContactKind::TOUCHES.has(kind) {
            self.newest_ns = self.newest_ns.max(contact.ts_ns);
            self.generations[0].note(TOUCHED, mark);
            self.generations[0].note_technique(kind);
            if place.setting.is_dark() {
                self.note_dark(key, place.host);
            }
            return;
        }
        // A network hears no touches of addresses that were told of: their outcomes are none of its own.
        if Network::of(place.tags).is_some() && self.has_not_touched(mark) {
            return;
        }
        match kind {
            ContactKind::Answered | ContactKind::UdpAnswered => {
                self.generations[0].note(ANSWERED, mark)
            }
            ContactKind::Established => self.proven = true,
            ContactKind::HalfOpen => {
                let half_open = &mut self.generations[0].half_open;
                *half_open = half_open.saturating_add(1);
            }
            _ => {}
        }
    }

    /// Whether it has touched no such place; false where that is not known any more.
    fn has_not_touched(&self, mark: Option<Mark>) -> bool {
        let [new, old] = &self.generations;
        let touched = union([new, old].map(|one| one.sets[TOUCHED]));
        new.thinned + old.thinned == 0 && mark.is_some_and(|mark| !has(touched, mark.bit))
    }

    /// Bits of dark addresses of both generations.
    fn dark(&self) -> u32 {
        self.generations.iter().fold(0, |all, one| all | one.dark)
    }

    fn techniques(&self) -> u8 {
        let all = self.generations.iter();
        all.fold(0, |all, one| all | one.techniques)
    }

    fn half_open(&self) -> u32 {
        let all = self.generations.iter();
        all.map(|one| u32::from(one.half_open)).sum()
    }

    /// A detection told of it.
    pub fn note_told(&mut self, now_ns: i64) {
        self.told_ns = now_ns;
    }

    /// Whether one did within the last hour.
    pub fn is_told(&self, now_ns: i64) -> bool {
        self.told_ns.saturating_add(2 * GENERATION_NS) > now_ns
    }

    /// Notes a touch of a dark address. `key` is secret live: who knows it, may choose addresses that share a bit.
    fn note_dark(&mut self, key: u64, host: Host) {
        self.generations[0].dark |= 1 << (mix64(host.bits() ^ key) >> 59);
    }

    fn advance(&mut self, now_ns: i64) {
        let passed_ns = now_ns.saturating_sub(self.since_ns);
        if passed_ns < GENERATION_NS {
            return;
        }
        let one_ago = passed_ns < 2 * GENERATION_NS;
        let [new, old] = &mut self.generations;
        *old = if one_ago { *new } else { Generation::default() };
        *new = Generation::default();
        self.since_ns = now_ns;
    }

    /// The numbers behind a verdict.
    pub fn evidence(&self, now_ns: i64) -> SourceEvidence {
        let mut now = *self;
        now.advance(now_ns);
        let [touched, answered] = places(&now.generations);
        SourceEvidence {
            places: touched.max(answered),
            answered,
            half_open: now.half_open(),
            dark: now.dark().count_ones(),
            techniques: now.techniques(),
            friendly: false,
            contacted: false,
            subnet_contacted: false,
        }
    }
}

#[cfg(test)]
mod tests;
