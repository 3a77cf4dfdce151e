//! Timers: a wheel of doubly linked lists over positions, eight bytes a timer.
//!
//! A timer may lie in an earlier slot than its deadline: an extended deadline does not move the timer, the sweep
//! does. A shortened deadline moves its timer at once.

use super::prefault;
use crate::snapshot::snapshot;
use crate::sys::huge_pages::with_room;
use crate::time::durations::TCP_IDLE_NS;

/// No position.
pub const NIL: u32 = u32::MAX;
/// Bit of a link: it names a slot's end, not a timer.
const END: u32 = 1 << 31;
/// Slots of a wheel, a power of two: 550 s.
const SLOTS: usize = 4096;
/// A slot is 2^27 ns: 134 ms.
const SLOT_BITS: u32 = 27;
/// Slots that the sweep may lag before a packet sweeps. [`AHEAD_MAX`] must still fit into the wheel.
pub const BEHIND_MAX: i64 = 1024;
/// How far ahead a timer lies at most: the usual time-out of TCP. One with a later deadline moves on when its turn comes.
const AHEAD_MAX: i64 = TCP_IDLE_NS >> SLOT_BITS;
const _: () = assert!(AHEAD_MAX + BEHIND_MAX + 2 < SLOTS as i64);

pub fn slot_of(time_ns: i64) -> i64 {
    time_ns >> SLOT_BITS
}

/// The slot in which a timer with this deadline waits, seen from slot `from`.
pub fn slot_ahead(deadline_ns: i64, from: i64) -> i64 {
    slot_of(deadline_ns).min(from.saturating_add(AHEAD_MAX))
}

/// The first nanosecond of a slot.
pub fn slot_start(slot: i64) -> i64 {
    slot.saturating_mul(1 << SLOT_BITS)
}

/// The last nanosecond of a slot.
pub fn slot_end(slot: i64) -> i64 {
    slot_start(slot) | ((1 << SLOT_BITS) - 1)
}

/// Timers of one table.
pub struct Wheel {
    next: Vec<u32>,
    prev: Vec<u32>,
    heads: Vec<u32>,
    tails: Vec<u32>,
    taken: [u64; SLOTS / 64],
    linked: usize,
}

snapshot! {
    [] Wheel;
    values: taken, linked;
    lists: next, prev, heads, tails;
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "masked to the number of slots"
)]
fn place(slot: i64) -> usize {
    (slot & (SLOTS as i64 - 1)) as usize
}

#[allow(clippy::cast_possible_truncation, reason = "a place is below 4096")]
fn end_of(place: usize) -> u32 {
    END | place as u32
}

impl Wheel {
    pub fn new(capacity: usize) -> Self {
        Self {
            next: with_room(capacity),
            prev: with_room(capacity),
            heads: (0..SLOTS).map(end_of).collect(),
            tails: (0..SLOTS).map(end_of).collect(),
            taken: [0; SLOTS / 64],
            linked: 0,
        }
    }

    pub fn memory_bytes(capacity: usize) -> usize {
        2 * size_of::<u32>() * (capacity + SLOTS)
    }

    pub fn prefault(&mut self, capacity: usize) {
        prefault(&mut self.next, capacity, NIL);
        prefault(&mut self.prev, capacity, NIL);
    }

    /// Adds room for the next position.
    pub fn push(&mut self) {
        self.next.push(NIL);
        self.prev.push(NIL);
    }

    /// The position after `at` in the list of free positions.
    pub fn free_next(&self, at: u32) -> u32 {
        self.next[at as usize]
    }

    /// Puts `at` before `next` in the list of free positions.
    pub fn set_free(&mut self, at: u32, next: u32) {
        self.next[at as usize] = next;
    }

    /// Links a timer at the end of a slot.
    pub fn link(&mut self, at: u32, slot: i64) {
        let place = place(slot);
        let last = self.tails[place];
        self.prev[at as usize] = last;
        self.next[at as usize] = end_of(place);
        if last & END == 0 {
            self.next[last as usize] = at;
        } else {
            self.heads[place] = at;
            self.taken[place / 64] |= 1 << (place % 64);
        }
        self.tails[place] = at;
        self.linked += 1;
    }

    pub fn unlink(&mut self, at: u32) {
        let (prev, next) = (self.prev[at as usize], self.next[at as usize]);
        if prev & END == 0 {
            self.next[prev as usize] = next;
        } else {
            self.heads[(prev & !END) as usize] = next;
        }
        if next & END == 0 {
            self.prev[next as usize] = prev;
        } else {
            self.tails[(next & !END) as usize] = prev;
        }
        if prev & next & END != 0 {
            let place = (prev & !END) as usize;
            self.taken[place / 64] &= !(1 << (place % 64));
        }
        self.linked -= 1;
    }

    /// Moves a timer to the end of another slot.
    pub fn relink(&mut self, at: u32, slot: i64) {
        self.unlink(at);
        self.link(at, slot);
    }

    /// The first timer of a slot.
    pub fn first(&self, slot: i64) -> Option<u32> {
        let head = self.heads[place(slot)];
        (head & END == 0).then_some(head)
    }

    /// The timer after `at` in its slot.
    pub fn after(&self, at: u32) -> Option<u32> {
        let next = self.next[at as usize];
        (next & END == 0).then_some(next)
    }

    /// The first slot from `from` on that holds a timer.
    pub fn next_taken(&self, from: i64) -> Option<i64> {
        if self.linked == 0 {
            return None;
        }
        let start = place(from);
        let words = self.taken.len();
        for step in 0..=words {
            let word = (start / 64 + step) % words;
            let mut bits = self.taken[word];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            }
            if bits != 0 {
                let found = word * 64 + bits.trailing_zeros() as usize;
                let distance = (found + SLOTS - start) % SLOTS;
                return Some(from + i64::try_from(distance).expect("below 4096"));
            }
        }
        None
    }

    /// Moves every timer of every slot into `slot`.
    pub fn gather(&mut self, slot: i64) {
        let target = place(slot);
        for place in 0..SLOTS {
            while place != target && self.heads[place] & END == 0 {
                self.relink(self.heads[place], slot);
            }
        }
    }

    /// Sorts a slot; `ordered(a, b)` is `a <= b`.
    ///
    /// A natural merge sort on the links: runs that are already in order cost one comparison each, and
    /// timers come nearly in order.
    pub fn sort(&mut self, slot: i64, mut ordered: impl FnMut(u32, u32) -> bool) {
        let place = place(slot);
        let mut rest = self.heads[place];
        let mut runs = [NIL; 32];
        while rest & END == 0 {
            let mut run = rest;
            rest = self.cut_run(run, &mut ordered);
            let mut level = 0;
            while level < runs.len() - 1 && runs[level] != NIL {
                run = self.merge(runs[level], run, &mut ordered);
                runs[level] = NIL;
                level += 1;
            }
            if runs[level] != NIL {
                run = self.merge(runs[level], run, &mut ordered);
            }
            runs[level] = run;
        }
        let mut all = NIL;
        for run in runs {
            if run != NIL {
                all = if all == NIL {
                    run
                } else {
                    self.merge(run, all, &mut ordered)
                };
            }
        }
        self.link_back(place, all);
    }

    /// Ends the run that starts at `head` and returns what follows it.
    fn cut_run(&mut self, head: u32, ordered: &mut impl FnMut(u32, u32) -> bool) -> u32 {
        let mut last = head;
        loop {
            let next = self.next[last as usize];
            if next & END != 0 || !ordered(last, next) {
                self.next[last as usize] = NIL;
                return next;
            }
            last = next;
        }
    }

    fn merge(&mut self, mut a: u32, mut b: u32, ordered: &mut impl FnMut(u32, u32) -> bool) -> u32 {
        let (mut head, mut last) = (NIL, NIL);
        while a != NIL && b != NIL {
            let side = if ordered(a, b) { &mut a } else { &mut b };
            let taken = *side;
            *side = self.next[taken as usize];
            if last == NIL {
                head = taken;
            } else {
                self.next[last as usize] = taken;
            }
            last = taken;
        }
        self.next[last as usize] = if a == NIL { b } else { a };
        head
    }

    /// Restores the backward links of a slot after a sort.
    fn link_back(&mut self, place: usize, head: u32) {
        if head == NIL {
            return;
        }
        self.heads[place] = head;
        let (mut last, mut at) = (end_of(place), head);
        while at != NIL {
            self.prev[at as usize] = last;
            last = at;
            at = self.next[at as usize];
        }
        self.next[last as usize] = end_of(place);
        self.tails[place] = last;
    }
}
