//! Expiry: ends flows across the three tables in the order of deadlines.

use super::Flows;
use super::conn::Conns;
use super::record::{EndReason, FlowEvent, When};
use super::table::timers::{BEHIND_MAX, slot_of, slot_start};

/// A table, in the order in which flows with equal deadlines end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Table {
    Attempts,
    Established,
    Others,
}

/// The outcome of sweeping one slot.
enum Swept {
    /// The slot is empty.
    All,
    /// The rest of the slot is not due yet.
    NotDue,
    /// A lower bound of the deadlines left.
    NoStepsLeft(i64),
}

/// Sort key of timers: deadline, then content.
type Order = (i64, i64, super::key::Key, u32, Table);

impl Flows {
    /// Moves the watermark; sweeps if the wheels would otherwise wrap.
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
        let left = self.expire_some(watermark_ns, usize::MAX, out);
        debug_assert_eq!(left, None, "steps without limit");
    }

    /// As [`Flows::expire`], in at most `steps_max` steps (moving or ending a timer is one). Returns a lower bound of
    /// the deadlines left if the steps did not suffice.
    pub fn expire_some(
        &mut self,
        watermark_ns: i64,
        mut steps_max: usize,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> Option<i64> {
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
            match self.sweep(slot, &mut steps_max, out) {
                Swept::All => {}
                Swept::NotDue => return None,
                Swept::NoStepsLeft(deadline) => return Some(deadline),
            }
        }
        self.swept = self.swept.max(target);
        None
    }

    fn prepare(&mut self, slot: i64) {
        self.attempts.slab.settle_slot(slot, |e| e.deadline());
        self.attempts.sort_slot(slot, true);
        for table in [&mut self.established, &mut self.others] {
            table.slab.settle_slot(slot, |conn| conn.deadline());
            table.sort_slot(slot, true);
        }
        self.prepared = Some(slot);
    }

    /// Ends the due flows of a sorted slot.
    fn sweep(
        &mut self,
        slot: i64,
        steps_max: &mut usize,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> Swept {
        let alone = |conns: &Conns| conns.slab.wheel.first(slot).is_none();
        if alone(&self.established) && alone(&self.others) {
            return self.sweep_attempts(slot, steps_max, out);
        }
        while let Some((order, at)) = self.first(slot, true) {
            let (deadline, .., table) = order;
            if *steps_max == 0 {
                // A timer with a later deadline comes first and is no bound for the others.
                let moved = slot_of(deadline) > slot;
                let least = if moved { slot_start(slot) } else { deadline };
                return Swept::NoStepsLeft(least);
            }
            *steps_max -= 1;
            if slot_of(deadline) > slot {
                self.relink(table, at, deadline);
                continue;
            }
            if deadline > self.now_ns {
                return Swept::NotDue;
            }
            let now = self.now_ns;
            match table {
                Table::Attempts => {
                    // Two steps: the end of the wait for an answer, later the end of the dedup horizon.
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
        Swept::All
    }

    /// [`Flows::sweep`] for a slot with attempts only, as a flood fills it.
    fn sweep_attempts(
        &mut self,
        slot: i64,
        steps_max: &mut usize,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> Swept {
        let attempts = &mut self.attempts;
        while let Some(at) = attempts.slab.wheel.first(slot) {
            let deadline = attempts.slab.get(at).deadline();
            let moved = slot_of(deadline) > slot;
            if *steps_max == 0 {
                let least = if moved { slot_start(slot) } else { deadline };
                return Swept::NoStepsLeft(least);
            }
            *steps_max -= 1;
            let later = if moved {
                Some(deadline)
            } else if deadline > self.now_ns {
                return Swept::NotDue;
            } else {
                let stays = attempts.settle(at, deadline, &mut self.counts, out);
                stays.then(|| attempts.slab.get(at).deadline())
            };
            if let Some(later) = later {
                attempts.slab.wheel.relink(at, slot_of(later));
            }
        }
        Swept::All
    }

    /// The first timer of a slot among the three tables. A timer whose deadline lies in a later slot comes first.
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
            let start = self.attempts.start_ns(entry);
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
                let (start_ns, key, isn) = conns.order(at);
                let order = (deadline, start_ns, key, isn, table);
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
        wheel.relink(at, slot_of(deadline));
    }

    /// Ends every open flow with [`EndReason::Eof`], in the order of (start, tuple, initial sequence
    /// number), after the due ones, and leaves the tables empty.
    pub fn finish(&mut self, out: &mut impl FnMut(When, FlowEvent)) {
        self.expire(self.now_ns, out);
        let slot = self.swept;
        self.attempts.slab.wheel.gather(slot);
        self.attempts.sort_slot(slot, false);
        for table in [&mut self.established, &mut self.others] {
            table.slab.wheel.gather(slot);
            table.sort_slot(slot, false);
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
