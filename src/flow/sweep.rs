//! Expiry: ends flows across the three tables in the order of deadlines.

use super::Flows;
use super::record::{EndReason, FlowEvent, When};
use super::table::timers::{slot_ahead, slot_end, slot_of, slot_start};

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
type Order = (i64, i64, crate::decode::key::Key, u32, Table);

impl Flows {
    /// Has flows that last make an interim record each `every_ns`, if its [`super::Limits`] have room for it. `exact`: between which
    /// packets that is depends on their time alone, so the first packet of each slot of the timers sweeps. Otherwise the
    /// sweep that comes next makes it. Before the first packet.
    pub fn report_parts(&mut self, every_ns: i64, exact: bool) {
        self.established.parts.set_every(every_ns);
        self.others.parts.set_every(every_ns);
        if exact {
            self.behind_max = 0;
        }
    }

    /// Moves the watermark; sweeps if the wheels would otherwise wrap.
    #[inline(always)]
    pub(super) fn advance(
        &mut self,
        watermark_ns: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> i64 {
        self.now_ns = self.now_ns.max(watermark_ns);
        self.take_outlived(out);
        if self.now_ns >= self.wraps_ns {
            self.expire(self.now_ns, out);
        }
        self.now_ns
    }

    /// The first slot with a timer, or with an attempt whose flow may go on in a table with timers.
    fn next_slot(&self) -> Option<i64> {
        let wheels = [&self.established.slab.wheel, &self.others.slab.wheel];
        let slots = wheels.iter().filter_map(|w| w.next_taken(self.swept));
        let horizon = self.attempts.next_horizon(self.now_ns).map(slot_of);
        slots.chain(horizon).min()
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
        self.take_outlived(out);
        self.release_over(self.now_ns, out);
        if self.attempts.record_ends {
            return self.expire_in_order(&mut steps_max, out);
        }
        let left = self.pass_attempts(&mut steps_max, out);
        left.or_else(|| self.pass_conns(&mut steps_max, out))
    }

    /// The rest of [`Flows::expire_some`] where somebody asks for records.
    fn expire_in_order(
        &mut self,
        steps_max: &mut usize,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> Option<i64> {
        let target = slot_of(self.now_ns);
        loop {
            // Of timers; attempts have none.
            let slot = self.next_slot().filter(|&slot| slot <= target);
            if let Some(slot) = slot {
                self.set_swept(slot);
                if self.prepared != Some(slot) {
                    self.prepare(slot);
                }
            }
            match self.sweep(slot, steps_max, out) {
                Swept::All if slot.is_some() => {}
                Swept::All => break,
                Swept::NotDue => return None,
                Swept::NoStepsLeft(deadline) => return Some(deadline),
            }
        }
        self.set_swept(target);
        None
    }

    fn pass_attempts(
        &mut self,
        steps_max: &mut usize,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> Option<i64> {
        loop {
            let (now, counts) = (self.now_ns, &mut self.counts);
            let left = self.attempts.pass(now, steps_max, counts);
            if self.attempts.outlived.is_empty() {
                return left;
            }
            self.take_outlived(out);
        }
    }

    /// Ends the flows of all slots that are over, in no order: nobody asks for records.
    fn pass_conns(
        &mut self,
        steps_max: &mut usize,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> Option<i64> {
        let over = slot_of(self.now_ns).saturating_sub(1);
        let Self {
            established,
            others,
            counts,
            now_ns,
            ..
        } = self;
        for table in [established, others] {
            let mut from = self.swept;
            while let Some(slot) = table
                .slab
                .wheel
                .next_taken(from)
                .filter(|slot| *slot <= over)
            {
                from = slot;
                while let Some(at) = table.slab.wheel.first(slot) {
                    if *steps_max == 0 {
                        return Some(slot_start(slot));
                    }
                    *steps_max -= 1;
                    let deadline = table.deadline(at);
                    if slot_of(deadline) > slot {
                        table.slab.wheel.relink(at, slot_ahead(deadline, slot));
                    } else {
                        table.settle(at, *now_ns, counts, out);
                    }
                }
            }
        }
        self.set_swept(over);
        None
    }

    /// Notes that no timer lies in an earlier slot.
    fn set_swept(&mut self, slot: i64) {
        self.swept = self.swept.max(slot);
        self.wraps_ns = slot_start(self.swept.saturating_add(self.behind_max + 1));
    }

    fn prepare(&mut self, slot: i64) {
        for table in [&mut self.established, &mut self.others] {
            table.settle_slot(slot);
            table.sort_slot(slot, true);
        }
        self.prepared = Some(slot);
    }

    /// Ends the due flows of a sorted slot, and the attempts that are due with them; without a slot, all attempts that
    /// are due.
    fn sweep(
        &mut self,
        slot: Option<i64>,
        steps_max: &mut usize,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> Swept {
        let now = self.now_ns;
        let limit = slot.map_or(now, |slot| now.min(slot_end(slot)));
        loop {
            if let Some(least) = self.attempts.collect(limit, steps_max) {
                let least = slot.map_or(least, |slot| least.min(slot_start(slot)));
                return Swept::NoStepsLeft(least);
            }
            let Some(((deadline, .., table), at)) = self.first(slot, true) else {
                return Swept::All;
            };
            let moved = slot.is_some_and(|slot| slot_of(deadline) > slot);
            if *steps_max == 0 {
                // A timer with a later deadline comes first and is no bound for the others.
                let attempt = self.attempts.first_due().map(|(deadline, ..)| deadline);
                let least = slot.filter(|_| moved).map_or(deadline, slot_start);
                return Swept::NoStepsLeft(attempt.map_or(least, |attempt| attempt.min(least)));
            }
            *steps_max -= 1;
            if !moved && deadline > now {
                return Swept::NotDue;
            }
            let counts = &mut self.counts;
            let conns = match table {
                Table::Attempts => {
                    self.attempts.end_at(at, deadline, counts, out);
                    self.take_outlived(out);
                    continue;
                }
                Table::Established => &mut self.established,
                Table::Others => &mut self.others,
            };
            if moved {
                let from = slot.unwrap_or_default();
                conns.slab.wheel.relink(at, slot_ahead(deadline, from));
            } else {
                // Not all that is due by now: other flows come first.
                conns.settle(at, deadline, counts, out);
            }
        }
    }

    /// The first flow to end among the three tables: of the attempts that are due, and of the timers of a slot. A timer
    /// whose deadline lies in a later slot comes first. Not `timed`: in the order of content alone.
    fn first(&self, slot: Option<i64>, timed: bool) -> Option<(Order, u32)> {
        let mut best = self.attempts.first_due().map(|(deadline, order, at)| {
            let (start_ns, key, isn) = order;
            let deadline = if timed { deadline } else { 0 };
            ((deadline, start_ns, key, isn, Table::Attempts), at)
        });
        let Some(slot) = slot else { return best };
        let tables = [
            (&self.established, Table::Established),
            (&self.others, Table::Others),
        ];
        for (conns, table) in tables {
            if let Some(at) = conns.slab.wheel.first(slot) {
                let deadline = if timed { conns.deadline(at) } else { 0 };
                let (start_ns, key, isn) = conns.order(at);
                let order = (deadline, start_ns, key, isn, table);
                let moved = timed && slot_of(deadline) > slot;
                if moved || best.is_none_or(|(least, _)| order < least) {
                    best = Some((order, at));
                }
                if moved {
                    return best;
                }
            }
        }
        best
    }

    /// Ends every open flow with [`EndReason::Eof`], in the order of (start, tuple, initial sequence
    /// number), after the due ones, and leaves the tables empty.
    pub fn finish(&mut self, out: &mut impl FnMut(When, FlowEvent)) {
        self.release_rest(out);
        self.expire(self.now_ns, out);
        // Also in a slot that is not over.
        let mut steps_max = usize::MAX;
        self.expire_in_order(&mut steps_max, out);
        match self.attempts.record_ends {
            true => self.end_in_order(out),
            false => self.end_untold(out),
        }
        self.attempts.leave_all();
    }

    fn end_untold(&mut self, out: &mut impl FnMut(When, FlowEvent)) {
        let Self {
            attempts,
            established,
            others,
            counts,
            ..
        } = self;
        attempts.end_all(counts);
        for table in [established, others] {
            while let Some(slot) = table.slab.wheel.next_taken(self.swept) {
                while let Some(at) = table.slab.wheel.first(slot) {
                    table.end(at, EndReason::Eof, When::End, counts, out);
                }
            }
        }
    }

    fn end_in_order(&mut self, out: &mut impl FnMut(When, FlowEvent)) {
        let slot = self.swept;
        self.attempts.collect_all();
        for table in [&mut self.established, &mut self.others] {
            table.slab.wheel.gather(slot);
            table.sort_slot(slot, false);
        }
        self.prepared = None;
        let (reason, when) = (EndReason::Eof, When::End);
        while let Some(((.., table), at)) = self.first(Some(slot), false) {
            match table {
                Table::Attempts => {
                    self.attempts.end(at, reason, when, &mut self.counts, out);
                    self.attempts.drop_ended();
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
