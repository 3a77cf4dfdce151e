//! The attempts of the last minutes in order of arrival, with an index by SYN.

use super::Syn;
use crate::books::witness::Fate;
use crate::capture::bpf::sample::Ends;
use siphasher::sip::SipHasher13;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};

/// Capacity of the table.
pub const ENTRIES_MAX: usize = 65_536;
/// Slots of the index, at most half full.
const SLOTS: usize = 2 * ENTRIES_MAX;
const FREE: u32 = u32::MAX;

/// What the ledger reported of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerState {
    /// No report yet.
    Unknown,
    Attempt(Fate),
    /// The ledger has it from a frame that the sample's filter cannot parse.
    OutOfReach,
}

/// An attempt. Times are run time.
#[derive(Clone, Copy, Debug)]
pub struct WitnessEntry {
    pub syn: Syn,
    pub ts_ns: i64,
    /// Start of its horizon.
    pub base_ns: i64,
    /// When it is decided.
    pub due_ns: i64,
    pub interface: u16,
    /// The witness saw it.
    pub seen: bool,
    pub ledger: LedgerState,
    /// It may be a retransmission.
    pub edge: bool,
    /// It is decided and counted.
    pub decided: bool,
    /// The index points to it; not so for a second report of an attempt.
    pub indexed: bool,
}

const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
pub(super) const FREE_ENTRY: WitnessEntry = WitnessEntry {
    syn: Syn {
        ends: Ends {
            src: NOWHERE,
            dst: NOWHERE,
            src_port: 0,
            dst_port: 0,
        },
        isn: 0,
    },
    ts_ns: 0,
    base_ns: 0,
    due_ns: 0,
    interface: 0,
    seen: false,
    ledger: LedgerState::Unknown,
    edge: false,
    decided: false,
    indexed: false,
};

/// The table: a ring of entries, numbered from 0 on, and an index with linear probing.
pub struct Table {
    entries: Vec<WitnessEntry>,
    front: u64,
    back: u64,
    index: Vec<u32>,
    hasher: SipHasher13,
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "below the number of places"
)]
fn place(number: u64) -> usize {
    (number % ENTRIES_MAX as u64) as usize
}

impl Table {
    pub fn new(keys: [u64; 2]) -> Self {
        Self {
            // Written, so that every page is mapped.
            entries: vec![FREE_ENTRY; ENTRIES_MAX],
            front: 0,
            back: 0,
            index: vec![FREE; SLOTS],
            hasher: SipHasher13::new_with_keys(keys[0], keys[1]),
        }
    }

    pub const fn memory_bytes() -> u64 {
        (ENTRIES_MAX * size_of::<WitnessEntry>() + SLOTS * size_of::<u32>()) as u64
    }

    /// Numbers of all entries, the oldest first.
    pub fn numbers(&self) -> std::ops::Range<u64> {
        self.front..self.back
    }

    pub fn get(&self, number: u64) -> &WitnessEntry {
        &self.entries[place(number)]
    }

    pub fn get_mut(&mut self, number: u64) -> &mut WitnessEntry {
        &mut self.entries[place(number)]
    }

    #[allow(clippy::cast_possible_truncation, reason = "below the number of slots")]
    fn home(&self, syn: &Syn) -> usize {
        let mut hasher = self.hasher;
        syn.hash(&mut hasher);
        (hasher.finish() % SLOTS as u64) as usize
    }

    /// The slot of `syn`, or the free one at the end of its probe sequence.
    fn slot(&self, syn: &Syn) -> usize {
        let mut slot = self.home(syn);
        while self.index[slot] != FREE && self.entries[self.index[slot] as usize].syn != *syn {
            slot = (slot + 1) % SLOTS;
        }
        slot
    }

    /// The newest entry of `syn`.
    pub fn find(&mut self, syn: &Syn) -> Option<&mut WitnessEntry> {
        let place = self.index[self.slot(syn)];
        (place != FREE).then(|| &mut self.entries[place as usize])
    }

    pub fn is_full(&self) -> bool {
        self.back - self.front == ENTRIES_MAX as u64
    }

    /// Appends an entry. The table is not full.
    pub fn push(&mut self, entry: WitnessEntry) {
        assert!(!self.is_full(), "{ENTRIES_MAX} entries");
        let place = place(self.back);
        if entry.indexed {
            let slot = self.slot(&entry.syn);
            if let Some(old) = self.entries.get_mut(self.index[slot] as usize) {
                old.indexed = false;
            }
            self.index[slot] = u32::try_from(place).expect("below the number of places");
        }
        self.entries[place] = entry;
        self.back += 1;
    }

    /// Removes the oldest entry.
    pub fn pop(&mut self) -> Option<WitnessEntry> {
        if self.front == self.back {
            return None;
        }
        let entry = *self.get(self.front);
        if entry.indexed {
            let slot = self.slot(&entry.syn);
            self.free(slot);
        }
        self.front += 1;
        Some(entry)
    }

    /// Frees a slot and moves up those whose probe sequence crosses it (Knuth, volume 3, 6.4, algorithm R).
    fn free(&mut self, mut hole: usize) {
        let mut slot = hole;
        loop {
            slot = (slot + 1) % SLOTS;
            if self.index[slot] == FREE {
                break;
            }
            let home = self.home(&self.entries[self.index[slot] as usize].syn);
            let distance = |from: usize, to: usize| (to + SLOTS - from) % SLOTS;
            if distance(home, slot) >= distance(hole, slot) {
                self.index[hole] = self.index[slot];
                hole = slot;
            }
        }
        self.index[hole] = FREE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn entry(isn: u32) -> WitnessEntry {
        WitnessEntry {
            syn: Syn {
                isn,
                ..FREE_ENTRY.syn
            },
            indexed: true,
            ..FREE_ENTRY
        }
    }

    #[test]
    fn the_index_leads_to_the_newest_entry_whatever_comes_and_goes() {
        let mut table = Table::new([1, 2]);
        let mut truth: HashMap<u32, u64> = HashMap::new();
        let mut state = 1_u32;
        for number in 0..300_000_u64 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let isn = state >> 15;
            if table.is_full() || state.is_multiple_of(3) {
                let front = table.numbers().start;
                if let Some(gone) = table.pop()
                    && truth.get(&gone.syn.isn) == Some(&front)
                {
                    truth.remove(&gone.syn.isn);
                }
            }
            truth.insert(isn, table.numbers().end);
            table.push(WitnessEntry {
                ts_ns: i64::try_from(table.numbers().end).expect("small"),
                ..entry(isn)
            });
            if number % 64 == 0 {
                let asked = (state >> 3) % (1 << 17);
                let found = table.find(&entry(asked).syn).map(|one| one.ts_ns);
                let known = truth
                    .get(&asked)
                    .map(|&at| i64::try_from(at).expect("small"));
                assert_eq!(found, known, "{asked}");
            }
        }
        assert!(table.is_full());
        while table.pop().is_some() {}
        assert!(table.index.iter().all(|slot| *slot == FREE));
    }
}
