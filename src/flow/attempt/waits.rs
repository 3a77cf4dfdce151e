//! What ends attempts if nothing more comes: the wait for an answer, and the dedup horizon. Each is as long for every
//! attempt, and attempts come in the order of time: so each is a cursor over the ring, and no attempt needs a timer.

use super::bits::{ANSWERED, ENDED, FAR, MOVED, TALLY};
use super::{AttemptEntry, Attempts};
use crate::decode::key::Key;
use crate::flow::counts::FlowCounts;
use crate::flow::record::{EndReason, When};
use crate::flow::table::ring::number;
use crate::snapshot::{List, Snapshot};
use crate::time::durations::{HORIZON_NS, UNANSWERED_NS};
use std::cmp::Reverse;
use std::io::{self, Read, Write};

/// A cursor over the ring.
pub(super) struct Wait {
    length_ns: i64,
    /// The first attempt that has not waited so long yet, as far as anybody looked.
    next: u32,
    /// Attempts before it that are still to end, all with one deadline; the first is the last of the list.
    due: Vec<u32>,
}

impl List for [Wait; 2] {
    type Element = (u32, Vec<u32>);

    fn save_list(&self, to: &mut dyn Write) -> io::Result<()> {
        for Wait {
            next,
            due,
            length_ns: _,
        } in self
        {
            next.save(to)?;
            due.save_list(to)?;
        }
        Ok(())
    }

    fn restore_list(&mut self, from: &mut dyn Read) -> io::Result<()> {
        for Wait {
            next,
            due,
            length_ns: _,
        } in self
        {
            next.restore(from)?;
            due.restore_list(from)?;
        }
        Ok(())
    }
}

const UNANSWERED: usize = 0;
const HORIZON: usize = 1;

impl Wait {
    /// Both waits over a ring that begins at `tail`.
    pub fn both(capacity: usize, tail: u32) -> [Self; 2] {
        [UNANSWERED_NS, HORIZON_NS].map(|length_ns| Self {
            length_ns,
            next: tail,
            due: Vec::with_capacity(capacity),
        })
    }

    pub fn memory_bytes(capacity: usize) -> u64 {
        (2 * capacity * size_of::<u32>()) as u64
    }
}

impl AttemptEntry {
    /// It holds a single SYN and nothing but its place in the ring.
    fn is_single(&self) -> bool {
        self.flags & (TALLY | FAR | ANSWERED | MOVED) == 0
    }

    /// The end of this wait ends its flow.
    fn waits(&self, wait: usize) -> bool {
        match wait {
            UNANSWERED => self.waits_for_answer(),
            _ => self.open(),
        }
    }

    /// The reason with which it ends when its wait is over.
    pub fn natural_reason(&self) -> EndReason {
        match self.has(ANSWERED) {
            true => EndReason::Timeout,
            false => EndReason::Unanswered,
        }
    }
}

impl Attempts {
    /// Lets the oldest entry go.
    #[inline]
    pub(super) fn leave(&mut self) {
        let oldest = self.ring.tail();
        let entry = self.ring.get(oldest);
        if !entry.is_single() {
            self.far -= usize::from(entry.has(FAR));
            self.drop_tally(oldest);
        }
        self.leave_singles(1);
    }

    /// Lets the oldest entries go, which hold nothing but their place.
    fn leave_singles(&mut self, entries: u32) {
        let oldest = self.ring.tail();
        for wait in &mut self.waits {
            if wait.next.wrapping_sub(oldest) < entries {
                wait.next = oldest.wrapping_add(entries);
            }
        }
        self.ring.leave(entries);
    }

    /// The first attempt of a wait that has not waited so long yet, and its deadline, if it lies within `limit_ns`.
    fn next(&self, wait: usize, limit_ns: i64) -> Option<(u32, i64)> {
        let Wait {
            length_ns, next, ..
        } = self.waits[wait];
        if next == self.ring.head() {
            return None;
        }
        let deadline = self.ring.get(next).first_ns.saturating_add(length_ns);
        (deadline <= limit_ns).then_some((next, deadline))
    }

    /// Ends what is due at `now_ns`, in `steps_max` steps, where nobody wants records and so nobody sees the order.
    /// Returns a deadline that is left if the steps did not suffice: no record waits for it. Stops where a flow goes on
    /// elsewhere.
    pub fn pass(
        &mut self,
        now_ns: i64,
        steps_max: &mut usize,
        counts: &mut FlowCounts,
    ) -> Option<i64> {
        for wait in [UNANSWERED, HORIZON] {
            loop {
                *steps_max -= self.pass_singles(wait, now_ns, *steps_max, counts);
                let Some((at, deadline)) = self.next(wait, now_ns) else {
                    break;
                };
                if *steps_max == 0 {
                    return Some(deadline);
                }
                *steps_max -= 1;
                self.waits[wait].next = at.wrapping_add(1);
                if self.ring.get(at).waits(wait) {
                    self.end_at(at, deadline, counts, &mut |_, _| ());
                }
                if wait == HORIZON {
                    self.leave();
                }
                if !self.outlived.is_empty() {
                    return None;
                }
            }
        }
        None
    }

    /// When the first attempt that is still to leave does so, if that is at or before `limit_ns`.
    pub fn next_horizon(&self, limit_ns: i64) -> Option<i64> {
        self.next(HORIZON, limit_ns).map(|(_, deadline)| deadline)
    }

    /// The next steps of [`Attempts::pass`] for neighbours in memory that are single SYNs, as all of a flood.
    fn pass_singles(
        &mut self,
        wait: usize,
        now_ns: i64,
        steps_max: usize,
        counts: &mut FlowCounts,
    ) -> usize {
        let Wait {
            length_ns, next, ..
        } = &mut self.waits[wait];
        let (mut passed, mut ended) = (0, 0);
        let length_ns = length_ns.cast_unsigned();
        for entry in self.ring.run_mut(*next).iter_mut().take(steps_max) {
            // No attempt came behind the watermark: their distance has no sign.
            let waited_ns = now_ns.wrapping_sub(entry.first_ns).cast_unsigned();
            if waited_ns < length_ns || !entry.is_single() {
                break;
            }
            passed += 1;
            if entry.waits(wait) {
                entry.flags |= ENDED;
                ended += 1;
            }
        }
        *next = next.wrapping_add(passed);
        counts.flows_closed[EndReason::Unanswered as usize] += ended;
        counts.flows_open -= ended;
        counts.flows_untold += ended;
        if wait == HORIZON {
            self.leave_singles(passed);
        }
        passed as usize
    }

    /// Finds the attempts that end first at or before `limit_ns`, for [`Attempts::first_due`], in `steps_max` steps.
    /// Returns a lower bound of the deadlines left if the steps did not suffice.
    pub fn collect(&mut self, limit_ns: i64, steps_max: &mut usize) -> Option<i64> {
        for wait in [UNANSWERED, HORIZON] {
            loop {
                self.drop_ended();
                if !self.waits[wait].due.is_empty() {
                    break;
                }
                if wait == HORIZON {
                    while self.ring.tail() != self.waits[HORIZON].next {
                        self.leave();
                    }
                }
                let Some((at, deadline)) = self.next(wait, limit_ns) else {
                    break;
                };
                if *steps_max == 0 {
                    let first = self.first_due().map(|(deadline, ..)| deadline);
                    let next = self.next(HORIZON, limit_ns);
                    let others = first.into_iter().chain(next.map(|(_, deadline)| deadline));
                    return others.chain([deadline]).min();
                }
                self.collect_equals(wait, at, steps_max);
            }
        }
        None
    }

    /// Drops from the lists of due attempts what comes first and has ended: a packet ended it since, or a full table
    /// evicted it.
    pub fn drop_ended(&mut self) {
        for (wait, Wait { due, .. }) in self.waits.iter_mut().enumerate() {
            while let Some(&at) = due.last()
                && !(self.ring.is_live(at) && self.ring.get(at).waits(wait))
            {
                due.pop();
            }
        }
    }

    /// Collects the attempts that came at the same time as `at`, in the order of their content.
    fn collect_equals(&mut self, wait: usize, mut at: u32, steps_max: &mut usize) {
        let Self {
            ring,
            tallies,
            waits,
            ..
        } = self;
        let Wait { next, due, .. } = &mut waits[wait];
        let first_ns = ring.get(at).first_ns;
        while at != ring.head() && ring.get(at).first_ns == first_ns {
            if ring.get(at).waits(wait) {
                due.push(at);
            }
            at = at.wrapping_add(1);
            *steps_max = steps_max.saturating_sub(1);
        }
        *next = at;
        if due.len() > 1 {
            due.sort_unstable_by_key(|&at| Reverse(super::order(tallies, ring.get(at))));
        }
    }

    /// Sort key of a record.
    pub fn order(&self, at: u32) -> (i64, Key, u32) {
        super::order(&self.tallies, self.ring.get(at))
    }

    /// The attempt that ends first of those that [`Attempts::collect`] found: its deadline, the sort key of its record,
    /// its number.
    pub fn first_due(&self) -> Option<(i64, (i64, Key, u32), u32)> {
        let due = self.waits.iter().filter_map(|wait| {
            let at = *wait.due.last()?;
            let deadline = self.ring.get(at).first_ns.saturating_add(wait.length_ns);
            Some((deadline, self.order(at), at))
        });
        due.min()
    }

    /// Makes every open attempt due, in the order of content alone.
    pub fn collect_all(&mut self) {
        let Self {
            ring,
            tallies,
            waits,
            ..
        } = self;
        let [first, Wait { due, .. }] = waits;
        first.due.clear();
        due.clear();
        let all = (0..ring.len()).map(|step| ring.tail().wrapping_add(number(step)));
        due.extend(all.filter(|&at| ring.get(at).open()));
        due.sort_unstable_by_key(|&at| Reverse(super::order(tallies, ring.get(at))));
    }

    /// Ends every open attempt where nobody wants records.
    pub fn end_all(&mut self, counts: &mut FlowCounts) {
        for step in 0..self.ring.len() {
            let at = self.ring.tail().wrapping_add(number(step));
            if self.ring.get(at).open() {
                self.end(at, EndReason::Eof, When::End, counts, &mut |_, _| ());
            }
        }
    }

    /// Empties the table.
    pub fn leave_all(&mut self) {
        while self.ring.len() > 0 {
            self.leave();
        }
    }
}
