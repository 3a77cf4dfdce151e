//! The table of (source, destination) pairs, each with its most recently touched ports.
//!
//! Buckets of eight slots chosen by a keyed hash; a full bucket gives up the pair that was touched
//! longest ago, pairs inside an episode last.

use super::episode::PortState;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::net::IpAddr;

/// The largest N of the rule.
pub const TOUCHES_MAX: usize = 16;
const WAYS: usize = 8;

/// A source and what it touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairKey {
    /// Who touches.
    pub src: IpAddr,
    /// What is touched.
    pub dst: IpAddr,
}

/// A port's newest touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Time stamp of the newest touch.
    pub ts_ns: i64,
    /// The port.
    pub port: u16,
    /// What came back.
    pub state: PortState,
}

/// What is kept of a pair: all that the rule needs.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// The pair.
    pub key: PairKey,
    /// M: the newest touch of all.
    pub newest_ns: i64,
    /// Until when the rule holds, as of the last touch at which it did.
    pub true_until_ns: Option<i64>,
    /// When an episode of it ends: W after `true_until_ns`, and never before packet time moves on. Touches
    /// stamped far behind packet time would else be due at once, at a place that depends on chunks.
    pub ends_ns: i64,
    /// The episode it is in.
    pub episode: Option<u32>,
    touches: [Touch; TOUCHES_MAX],
    count: u8,
}

impl Pair {
    /// A pair without touches.
    pub fn new(key: PairKey) -> Self {
        let none = Touch {
            ts_ns: 0,
            port: 0,
            state: PortState::Untouched,
        };
        Self {
            key,
            newest_ns: i64::MIN,
            true_until_ns: None,
            ends_ns: i64::MIN,
            episode: None,
            touches: [none; TOUCHES_MAX],
            count: 0,
        }
    }

    /// The ports kept, in no order.
    pub fn touches(&self) -> &[Touch] {
        &self.touches[..usize::from(self.count)]
    }

    /// The ports kept, in no order.
    pub fn touches_mut(&mut self) -> &mut [Touch] {
        &mut self.touches[..usize::from(self.count)]
    }

    /// Records a touch; keeps the `keep` most recently touched ports, whatever order touches come in.
    pub fn touch(&mut self, port: u16, ts_ns: i64, keep: usize) {
        self.newest_ns = self.newest_ns.max(ts_ns);
        if let Some(touch) = self
            .touches_mut()
            .iter_mut()
            .find(|touch| touch.port == port)
        {
            touch.ts_ns = touch.ts_ns.max(ts_ns);
            return;
        }
        let fresh = Touch {
            ts_ns,
            port,
            state: PortState::Touched,
        };
        if usize::from(self.count) < keep {
            self.touches[usize::from(self.count)] = fresh;
            self.count += 1;
            return;
        }
        // Of equally old touches the higher port leaves: the same one in every order of arrival.
        let oldest = self
            .touches_mut()
            .iter_mut()
            .min_by_key(|touch| (touch.ts_ns, std::cmp::Reverse(touch.port)));
        let oldest = oldest.expect("the rule keeps at least two ports");
        if (ts_ns, std::cmp::Reverse(port)) > (oldest.ts_ns, std::cmp::Reverse(oldest.port)) {
            *oldest = fresh;
        }
    }

    /// The oldest touch kept: the N-th newest port once N are kept.
    pub fn oldest_kept_ns(&self) -> i64 {
        self.touches()
            .iter()
            .map(|touch| touch.ts_ns)
            .min()
            .unwrap_or(i64::MIN)
    }

    /// Whether at least `ports` ports were touched within `window_ns` before the newest touch.
    pub fn holds(&self, ports: usize, window_ns: i64) -> bool {
        let age = i128::from(self.newest_ns) - i128::from(self.oldest_kept_ns());
        usize::from(self.count) >= ports && age < i128::from(window_ns)
    }
}

/// The table.
pub struct Pairs {
    slots: Vec<Option<Pair>>,
    occupied: usize,
    hasher: SipHasher13,
}

impl Pairs {
    /// Room for `capacity` pairs, rounded up to whole buckets.
    pub fn new(capacity: usize, key: [u64; 2]) -> Self {
        let slots = vec![None; Self::slots_for(capacity)];
        Self {
            slots,
            occupied: 0,
            hasher: SipHasher13::new_with_keys(key[0], key[1]),
        }
    }

    fn slots_for(capacity: usize) -> usize {
        capacity.div_ceil(WAYS).max(1) * WAYS
    }

    /// Bytes that a table for `capacity` pairs takes.
    pub fn memory_bytes(capacity: usize) -> u64 {
        (Self::slots_for(capacity) * size_of::<Option<Pair>>()) as u64
    }

    /// Writes to every page.
    pub fn prefault(&mut self) {
        for slot in &mut self.slots {
            if slot.is_none() {
                *slot = std::hint::black_box(None);
            }
        }
    }

    /// Pairs held, and room for them.
    pub fn occupancy(&self) -> (usize, usize) {
        (self.occupied, self.slots.len())
    }

    fn bucket(&self, key: &PairKey) -> std::ops::Range<usize> {
        let mut hasher = self.hasher;
        for address in [key.src, key.dst] {
            match address {
                IpAddr::V4(v4) => hasher.write(&v4.octets()),
                IpAddr::V6(v6) => hasher.write(&v6.octets()),
            }
        }
        let buckets = (self.slots.len() / WAYS) as u128;
        let bucket = (u128::from(hasher.finish()) * buckets) >> 64;
        let first = usize::try_from(bucket).expect("below the number of buckets") * WAYS;
        first..first + WAYS
    }

    /// The slot that holds `key`.
    pub fn find(&self, key: &PairKey) -> Option<u32> {
        let mut bucket = self.bucket(key);
        let found = bucket.find(|&slot| {
            self.slots[slot]
                .as_ref()
                .is_some_and(|pair| pair.key == *key)
        })?;
        Some(u32::try_from(found).expect("limits are checked by Config"))
    }

    /// Where `key` goes: a free slot of its bucket, or the one to give up.
    pub fn choose_slot(&self, key: &PairKey) -> u32 {
        let rank = |slot: &usize| {
            self.slots[*slot]
                .as_ref()
                .map(|pair| (pair.episode.is_some(), pair.newest_ns))
        };
        let slot = self
            .bucket(key)
            .min_by_key(rank)
            .expect("a bucket has slots");
        u32::try_from(slot).expect("limits are checked by Config")
    }

    /// The pair in `slot`, if there is one.
    pub fn occupant(&self, slot: u32) -> Option<&Pair> {
        self.slots[slot as usize].as_ref()
    }

    /// Puts `pair` into `slot`.
    pub fn replace(&mut self, slot: u32, pair: Pair) {
        if self.slots[slot as usize].replace(pair).is_none() {
            self.occupied += 1;
        }
    }

    /// The pair in a slot that holds one.
    pub fn get(&self, slot: u32) -> &Pair {
        self.slots[slot as usize]
            .as_ref()
            .expect("slots are named while they hold a pair")
    }

    /// The pair in a slot that holds one.
    pub fn get_mut(&mut self, slot: u32) -> &mut Pair {
        self.slots[slot as usize]
            .as_mut()
            .expect("slots are named while they hold a pair")
    }
}
