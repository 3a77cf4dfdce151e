//! Insertion and eviction of attempts.

use super::bits::*;
use super::{AttemptEntry, Attempts, FORGOTTEN};
use crate::flow::counts::FlowCounts;
use crate::flow::record::{EndReason, FlowEvent, When};
use crate::flow::table::ring::number;

impl Attempts {
    /// Adds an entry. Without room it evicts the oldest, those that wait for the client's proof last.
    pub(super) fn insert_entry(
        &mut self,
        hash: u64,
        entry: AttemptEntry,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> u32 {
        if self.ring.is_full() {
            self.make_room(watermark_ns, counts, out);
        }
        loop {
            if let Some(at) = self.ring.insert(hash, entry) {
                return at;
            }
            let rivals = self.ring.rivals(hash);
            let mut left = false;
            for &at in rivals.as_slice() {
                if !self.settle(at, watermark_ns, counts, out) {
                    self.forget(hash, at);
                    left = true;
                }
            }
            if !left {
                let oldest = rivals.as_slice().iter().copied().min_by_key(|&at| {
                    let entry = self.ring.get(at);
                    (entry.waits_for_proof(), entry.first_ns, self.order(at))
                });
                let victim = oldest.expect("what is full holds entries");
                self.evict(victim, watermark_ns, counts, out);
                self.forget(hash, victim);
            }
        }
    }

    /// Takes an entry that has ended out of a bucket of `hash`; it stays in the ring until its turn.
    fn forget(&mut self, hash: u64, at: u32) {
        self.ring.forget(hash, at);
        self.drop_tally(at);
        self.ring.get_mut(at).vlan |= FORGOTTEN;
    }

    /// Makes room in the full ring: the oldest entry leaves, or, if that waits for the client's proof, the first of
    /// the next 15 that does not.
    fn make_room(
        &mut self,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        const LOOKED_AT_MAX: u32 = 16;
        let oldest = self.ring.tail();
        let mut victim = oldest;
        let mut is_over = false;
        for step in 0..LOOKED_AT_MAX.min(number(self.ring.len())) {
            let at = oldest.wrapping_add(step);
            let stays = self.settle(at, watermark_ns, counts, out);
            is_over = !stays || self.ring.get(at).vlan & FORGOTTEN != 0;
            if is_over || !self.ring.get(at).waits_for_proof() {
                victim = at;
                break;
            }
        }
        if !is_over {
            self.evict(victim, watermark_ns, counts, out);
        }
        // Those before it move up by one, so that the ring stays in the order of time.
        while victim != oldest {
            let before = victim.wrapping_sub(1);
            self.exchange(before, victim);
            victim = before;
        }
        self.leave();
    }

    /// Exchanges an entry with one that no lookup needs to find any more.
    fn exchange(&mut self, kept: u32, evicted: u32) {
        let hashes = [kept, evicted].map(|at| {
            let entry = self.ring.get(at);
            let hash = self.hasher.hash(&entry.key());
            match entry.has(FAR) {
                true => self.hasher.far(hash, entry.isn),
                false => hash,
            }
        });
        self.ring.exchange((kept, hashes[0]), (evicted, hashes[1]));
    }

    fn evict(
        &mut self,
        victim: u32,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        counts.evicted_attempts += 1;
        let entry = self.ring.get(victim);
        self.pushed_out.note(watermark_ns, entry.first_ns);
        if entry.open() {
            self.end(victim, EndReason::Evicted, When::Packet, counts, out);
        }
    }
}
