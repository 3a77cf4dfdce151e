//! Sequence numbers of a connection: what was sent again, what is missing.
//!
//! [`Hot::next`] is the number behind all that a side has sent. A segment that begins there needs nothing else. One that
//! begins behind it leaves a hole; one that begins before it fills a hole, or repeats what was there. Of the holes of a
//! connection one is kept, which spans those that are open at the same time: exact for one hole, and for several that are
//! filled from the left, as TCP does.

use super::{Cold, HOLE, Hot, ORIG_HOLE, PROVEN, SATURATED};
use crate::decode::Headers;
use crate::decode::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::flow::letters::{self, letter_of};
use crate::flow::tcp::{self, Sender, WINDOW_MAX};

/// A side that has gone on for so many bytes behind a hole does not fill it any more.
const HOLE_BEHIND_MAX: u32 = 16 << 20;

/// Missing bytes that may still come, while [`HOLE`] is set.
#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Hole {
    start: u32,
    end: u32,
    /// How many bytes between them are missing.
    left: u32,
}

/// Adds to a counter that has no upper half; true: it is full.
fn add_up(counter: &mut u32, value: u32) -> bool {
    let sum = counter.checked_add(value);
    *counter = sum.unwrap_or(u32::MAX);
    sum.is_none()
}

impl Hot {
    /// Payload bytes of a side.
    pub(super) fn payload(&self, cold: &Cold, i: usize) -> u64 {
        let offset = u64::from(cold.payload_high[i]) << 32 | u64::from(cold.payload[i]);
        offset.wrapping_add(u64::from(self.next[i])) & 0xffff_ffff_ffff
    }

    /// Sets the payload bytes of a side, after any change of `next`.
    #[allow(clippy::cast_possible_truncation, reason = "parts of a word")]
    pub(super) fn set_payload(&self, cold: &mut Cold, i: usize, payload: u64) {
        let offset = payload.wrapping_sub(u64::from(self.next[i]));
        (cold.payload[i], cold.payload_high[i]) = (offset as u32, (offset >> 32) as u16);
    }

    /// How far the numbers of a segment lie from those that come next.
    pub fn distance(&self, segment: &Headers, sender: Sender) -> u64 {
        let i = sender as usize;
        let apart = |a: u32, b: u32| u64::from(a.wrapping_sub(b).cast_signed().unsigned_abs());
        let acked = match segment.flags & ACK {
            0 => 0,
            _ => apart(segment.ack, self.next[1 - i]),
        };
        apart(segment.seq, self.next[i]) + acked
    }

    /// Follows the numbers of a segment. `is_first`: nothing tells where its side began.
    pub(super) fn follow(
        &mut self,
        cold: &mut Cold,
        segment: &Headers,
        sender: Sender,
        is_first: bool,
    ) {
        let i = sender as usize;
        let payload = self.payload(cold, i) + u64::from(segment.payload_len);
        self.take_acknowledgment(cold, segment, sender);
        let (next, end) = (self.next[i], tcp::end_of(segment));
        let behind = next.wrapping_sub(segment.seq);
        if is_first {
            self.next[i] = end;
        } else if segment.flags & (SYN | RST) != 0 {
            // A RST bears any number, and a SYN that comes again none that is new.
        } else if behind == 0 {
            self.next[i] = end;
        } else if behind.cast_signed().unsigned_abs() > WINDOW_MAX {
            self.forget_hole(cold, sender);
            self.next[i] = end;
        } else if behind > WINDOW_MAX {
            self.open_hole(cold, sender, segment.seq);
            self.next[i] = end;
        } else {
            self.take_repeated(cold, segment, sender, behind);
            if tcp::after(end, next) {
                self.next[i] = end;
            }
        }
        self.set_payload(cold, i, payload);
    }

    fn has_hole_of(&self, cold: &Cold, sender: Sender) -> bool {
        self.has(HOLE) && (cold.vlan & ORIG_HOLE != 0) == (sender == Sender::Orig)
    }

    /// Bytes that a side has passed and that were not seen so far.
    pub(super) fn missed(&self, cold: &Cold, sender: Sender) -> u64 {
        let open = match self.has_hole_of(cold, sender) {
            true => u64::from(cold.hole.left),
            false => 0,
        };
        u64::from(cold.missed_bytes[sender as usize]) + open
    }

    /// Payload of this segment begins `behind` bytes before what comes next.
    fn take_repeated(&mut self, cold: &mut Cold, segment: &Headers, sender: Sender, behind: u32) {
        let i = sender as usize;
        if segment.payload_len == 0 {
            return;
        }
        let seen = segment.payload_len.min(behind);
        let filled = match self.has_hole_of(cold, sender) {
            true => cold.hole.fill(segment.seq, seen),
            false => 0,
        };
        if filled > 0 && cold.hole.left == 0 {
            self.flags &= !HOLE;
        }
        let mut full = add_up(&mut cold.retransmitted_bytes[i], seen - filled);
        // As in Zeek: whatever brings nothing new, whether it was seen before or not.
        let fin = u32::from(segment.flags & FIN != 0);
        if segment.payload_len + fin <= behind {
            let packets = &mut cold.retransmitted_packets[i];
            full |= add_up(packets, 1);
            let (count, letter) = (*packets, letter_of(b't', sender));
            if 10_u32.pow(count.ilog10()) == count {
                cold.history.push(|history| match count {
                    1 => letters::push_letter(history, letter),
                    _ => letters::append_letter(history, letter),
                });
            }
        }
        self.flags |= if full { SATURATED } else { 0 };
    }

    /// A segment of this side begins at `end`, behind what comes next.
    fn open_hole(&mut self, cold: &mut Cold, sender: Sender, end: u32) {
        let start = self.next[sender as usize];
        let missing = end.wrapping_sub(start);
        if self.has_hole_of(cold, sender) && end.wrapping_sub(cold.hole.start) <= HOLE_BEHIND_MAX {
            cold.hole.end = end;
            cold.hole.left += missing;
            return;
        }
        self.give_up_hole(cold);
        self.flags |= HOLE;
        cold.vlan = match sender {
            Sender::Orig => cold.vlan | ORIG_HOLE,
            Sender::Resp => cold.vlan & !ORIG_HOLE,
        };
        cold.hole = Hole {
            start,
            end,
            left: missing,
        };
    }

    /// What is missing stays so.
    fn give_up_hole(&mut self, cold: &mut Cold) {
        if !self.has(HOLE) {
            return;
        }
        self.flags &= !HOLE;
        let i = usize::from(cold.vlan & ORIG_HOLE == 0);
        if add_up(&mut cold.missed_bytes[i], cold.hole.left) {
            self.flags |= SATURATED;
        }
    }

    /// The numbers of a side begin anew.
    fn forget_hole(&mut self, cold: &mut Cold, sender: Sender) {
        if self.has_hole_of(cold, sender) {
            self.give_up_hole(cold);
        }
    }

    /// The other side has received what is missing here, or its sender has long gone on.
    fn take_acknowledgment(&mut self, cold: &mut Cold, segment: &Headers, sender: Sender) {
        if !self.has(HOLE) {
            return;
        }
        if self.has_hole_of(cold, sender) {
            let behind = segment.seq.wrapping_sub(cold.hole.start);
            if (HOLE_BEHIND_MAX..WINDOW_MAX).contains(&behind) {
                self.give_up_hole(cold);
            }
        } else if segment.flags & (ACK | RST) == ACK
            && segment.ack.wrapping_sub(cold.hole.end) <= WINDOW_MAX
        {
            // As in Zeek: a gap is one of a connection whose beginning was seen.
            if self.flags & PROVEN == PROVEN {
                let hole_of = match sender {
                    Sender::Orig => Sender::Resp,
                    Sender::Resp => Sender::Orig,
                };
                let letter = letter_of(b'g', hole_of);
                cold.history
                    .push(|history| letters::push_letter(history, letter));
            }
            self.give_up_hole(cold);
        }
    }
}

impl Hole {
    /// Takes `len` bytes from `seq` on, all of them passed before; returns how many were missing.
    fn fill(&mut self, seq: u32, len: u32) -> u32 {
        // From the start of the hole on; a distance behind it is small, one before it is not.
        let span = self.end.wrapping_sub(self.start);
        let from = seq.wrapping_sub(self.start);
        let (from, len) = match from <= WINDOW_MAX {
            true => (from.min(span), len),
            false => (0, len.saturating_sub(from.wrapping_neg())),
        };
        let filled = len.min(span - from).min(self.left);
        self.left -= filled;
        if from == 0 {
            self.start = self.start.wrapping_add(filled);
        }
        filled
    }
}
