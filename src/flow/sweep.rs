//! Ends what fell due, in the order of deadlines, across the three tables.

use super::Flows;
use super::record::{EndReason, FlowEvent, When};
use super::timers::{BEHIND_MAX, slot_of, slot_start};

/// A table, in the order in which equals are ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Table {
    Attempts,
    Established,
    Others,
}

/// What orders timers: deadline, then content.
type Order = (i64, i64, super::key::Key, u32, Table);

impl Flows {
    /// Moves the watermark; sweeps where the wheels would otherwise be overrun.
    pub(super) fn advance(
        &mut self,
        watermark_ns: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> i64 {
        self.now_ns = self.now_ns.max(watermark_ns);
        let slot = slot_of(self.now_ns);
        if slot > self.swept.saturating_add(BEHIND_MAX) {
            self.expire(self.now_ns, out);
        }
        self.now_ns
    }

    /// Nothing falls due before this time of the watermark; `None` while no timer runs.
    ///
    /// A lower bound, up to 134 ms or a lazily moved timer early.
    pub fn next_due(&self) -> Option<i64> {
        self.next_slot().map(slot_start)
    }

    fn next_slot(&self) -> Option<i64> {
        let wheels = [
            &self.attempts.slab.wheel,
            &self.established.slab.wheel,
            &self.others.slab.wheel,
        ];
        let slots = wheels.iter().filter_map(|w| w.next_taken(self.swept));
        slots.min()
    }

    /// Ends every flow whose deadline is at most `watermark_ns`, in the order of (deadline, start, tuple,
    /// initial sequence number).
    pub fn expire(&mut self, watermark_ns: i64, out: &mut impl FnMut(When, FlowEvent)) {
        self.now_ns = self.now_ns.max(watermark_ns);
        let target = slot_of(self.now_ns);
        while let Some(slot) = self.next_slot() {
            if slot > target {
                break;
            }
            self.swept = slot;
            if self.prepared != Some(slot) {
                self.prepare(slot);
            }
            if !self.sweep(slot, out) {
                return;
            }
        }
        self.swept = self.swept.max(target);
    }

    fn prepare(&mut self, slot: i64) {
        self.attempts.slab.settle_slot(slot, |e| e.deadline());
        self.attempts.sort_slot(slot, true);
        for table in [&mut self.established, &mut self.others] {
            table.slab.settle_slot(slot, |conn| conn.deadline());
            table.slab.sort_slot(slot, |_, a, _, b| {
                let deadlines = a.deadline().cmp(&b.deadline());
                deadlines.then_with(|| a.cmp_content(b)).is_le()
            });
        }
        self.prepared = Some(slot);
    }

    /// Ends what is due in a sorted slot; `false` when something there is not due yet.
    fn sweep(&mut self, slot: i64, out: &mut impl FnMut(When, FlowEvent)) -> bool {
        while let Some((order, at)) = self.first(slot, true) {
            let (deadline, .., table) = order;
            if slot_of(deadline) > slot {
                self.relink(table, at, deadline);
                continue;
            }
            if deadline > self.now_ns {
                return false;
            }
            let now = self.now_ns;
            match table {
                Table::Attempts => {
                    // One step at a time: the end of the wait, and later that of the horizon.
                    if self.attempts.settle(at, deadline, &mut self.counts, out) {
                        let later = self.attempts.slab.get(at).deadline();
                        self.relink(table, at, later);
                    }
                }
                Table::Established => {
                    self.established.settle(at, now, &mut self.counts, out);
                }
                Table::Others => {
                    self.others.settle(at, now, &mut self.counts, out);
                }
            }
        }
        true
    }

    /// The first timer of a slot among the three tables; one that has moved to a later slot comes first.
    fn first(&self, slot: i64, timed: bool) -> Option<(Order, u32)> {
        let mut best: Option<(Order, u32)> = None;
        let mut offer = |order: Order, at: u32| {
            let moved = timed && slot_of(order.0) > slot;
            if moved || best.is_none_or(|(least, _)| order < least) {
                best = Some((order, at));
            }
            moved
        };
        if let Some(at) = self.attempts.slab.wheel.first(slot) {
            let entry = self.attempts.slab.get(at);
            let deadline = if timed { entry.deadline() } else { 0 };
            let start = self.attempts.start_ns(at, entry);
            let order = (deadline, start, entry.key(), entry.isn, Table::Attempts);
            if offer(order, at) {
                return best;
            }
        }
        let tables = [
            (&self.established, Table::Established),
            (&self.others, Table::Others),
        ];
        for (conns, table) in tables {
            if let Some(at) = conns.slab.wheel.first(slot) {
                let conn = conns.slab.get(at);
                let deadline = if timed { conn.deadline() } else { 0 };
                let order = (deadline, conn.start_ns, conn.key, conn.isn, table);
                if offer(order, at) {
                    return best;
                }
            }
        }
        best
    }

    fn relink(&mut self, table: Table, at: u32, deadline: i64) {
        let wheel = match table {
            Table::Attempts => &mut self.attempts.slab.wheel,
            Table::Established => &mut self.established.slab.wheel,
            Table::Others => &mut self.others.slab.wheel,
        };
        wheel.unlink(at);
        wheel.link(at, slot_of(deadline));
    }

    /// Ends every open flow with [`EndReason::Eof`], in the order of (start, tuple, initial sequence
    /// number), after what fell due, and leaves the tables empty.
    pub fn finish(&mut self, out: &mut impl FnMut(When, FlowEvent)) {
        self.expire(self.now_ns, out);
        let slot = self.swept;
        self.attempts.slab.wheel.gather(slot);
        self.attempts.sort_slot(slot, false);
        for table in [&mut self.established, &mut self.others] {
            table.slab.wheel.gather(slot);
            table
                .slab
                .sort_slot(slot, |_, a, _, b| a.cmp_content(b).is_le());
        }
        self.prepared = None;
        let (reason, when) = (EndReason::Eof, When::End);
        while let Some(((.., table), at)) = self.first(slot, false) {
            match table {
                Table::Attempts => {
                    if self.attempts.slab.get(at).open() {
                        self.attempts.end(at, reason, when, &mut self.counts, out);
                    }
                    self.attempts.remove(at);
                }
                Table::Established => {
                    self.established
                        .end(at, reason, when, &mut self.counts, out);
                }
                Table::Others => self.others.end(at, reason, when, &mut self.counts, out),
            }
        }
    }
}
