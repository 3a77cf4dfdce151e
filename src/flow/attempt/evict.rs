//! Insertion and eviction of attempts.

use super::bits::*;
use super::{AttemptEntry, Attempts};
use crate::flow::counts::FlowCounts;
use crate::flow::record::{EndReason, FlowEvent, When};
use crate::flow::table::timers;

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
        let slot = timers::slot_of(entry.deadline());
        // Both the pool and the buckets may be full: two evictions.
        loop {
            if let Some(at) = self.slab.insert(hash, entry, slot) {
                return at;
            }
            if self.slab.is_full() {
                self.make_room(watermark_ns, counts, out);
                continue;
            }
            let rivals = self.slab.rivals(hash);
            let mut left = false;
            for &at in rivals.as_slice() {
                left |= !self.settle(at, watermark_ns, counts, out);
            }
            if !left {
                self.evict(rivals.as_slice(), watermark_ns, counts, out);
            }
        }
    }

    /// Evicts an old entry from the full pool. Entries lie roughly in the order of arrival: the next at the hand that
    /// does not wait for the client's proof, or the oldest of 16 that do.
    fn make_room(
        &mut self,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        const LOOKED_AT_MAX: usize = 16;
        let (mut waiting, mut count) = ([0; LOOKED_AT_MAX], 0);
        for _ in 0..LOOKED_AT_MAX.min(self.slab.capacity()) {
            let at = self.slab.turn();
            if !self.settle(at, watermark_ns, counts, out) {
                return;
            }
            let entry = self.slab.get(at);
            if !(entry.open() && entry.has(ANSWERED)) {
                return self.evict(&[at], watermark_ns, counts, out);
            }
            waiting[count] = at;
            count += 1;
        }
        self.evict(&waiting[..count], watermark_ns, counts, out);
    }

    fn evict(
        &mut self,
        rivals: &[u32],
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let victim = rivals.iter().copied().min_by(|&a, &b| {
            let (x, y) = (self.slab.get(a), self.slab.get(b));
            let waits = |entry: &AttemptEntry| entry.open() && entry.has(ANSWERED);
            (waits(x), x.first_ns)
                .cmp(&(waits(y), y.first_ns))
                .then_with(|| self.cmp_content(x, y))
        });
        let victim = victim.expect("what is full holds entries");
        counts.evicted_attempts += 1;
        let first_ns = self.slab.get(victim).first_ns;
        self.pushed_out.note(watermark_ns, first_ns);
        if self.slab.get(victim).open() {
            self.end(victim, EndReason::Evicted, When::Packet, counts, out);
        }
        self.remove(victim);
    }
}
