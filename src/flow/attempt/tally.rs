//! Volumes, history and flags of attempts beyond their first SYN: a pool.
//!
//! A flood of single SYNs takes no place. SYNs with data or in fragments may take three quarters of the pool, so
//! that nobody can keep answered attempts from being accounted.

use crate::capture::tunnels::Inside;
use crate::decode::Headers;
use crate::decode::packet::tcp_flags::{ACK, RST, SYN};
use crate::flow::letters;
use crate::flow::record::{History, Volume};
use crate::flow::table::prefault;
use crate::flow::tcp::{self, Sender, WINDOW_MAX};
use crate::snapshot::snapshot;
use crate::sys::huge_pages::with_room;

/// Attempts per place.
const ATTEMPTS_EACH: usize = 8;
const PLACES_MIN: usize = 64;

/// Sums over the packets of one attempt, originator first.
#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub(crate) struct Tally {
    pub(super) start_ns: i64,
    pub(super) end_ns: i64,
    pub(super) bytes: [u32; 2],
    pub(super) ip_bytes: [u32; 2],
    pub(super) payload: [u32; 2],
    pub(super) packets: [u16; 2],
    /// Largest payload of a SYN, which a server may acknowledge.
    pub syn_payload: u32,
    /// How far each side was seen to send beyond its SYN, in sequence numbers.
    pub(super) sent: [u32; 2],
    /// The client's newest acknowledgment number, once `flags` has its ACK.
    pub(super) acked: u32,
    pub(super) history: History,
    pub(super) flags: [u8; 2],
    /// Of the responder's first packet.
    pub(super) interface: u16,
    pub(super) inside: Inside,
}

impl Tally {
    pub(super) fn volume(&self, sender: Sender) -> Volume {
        let i = sender as usize;
        Volume {
            packets: u64::from(self.packets[i]),
            bytes: u64::from(self.bytes[i]),
            payload_bytes: u64::from(self.payload[i]),
            tcp_flags: self.flags[i],
            ip_bytes: u64::from(self.ip_bytes[i]),
            ..Volume::default()
        }
    }

    /// Adds a segment; true if a counter reached its limit.
    pub(super) fn add(&mut self, segment: &Headers, sender: Sender) -> bool {
        let i = sender as usize;
        if sender == Sender::Resp && self.packets[i] == 0 {
            self.interface = segment.interface;
        }
        let packets = self.packets[i].checked_add(1);
        let bytes = self.bytes[i].checked_add(segment.wire_len);
        let ip_bytes = self.ip_bytes[i].saturating_add(segment.ip_len.min(segment.wire_len));
        let payload = self.payload[i].checked_add(segment.payload_len);
        self.packets[i] = packets.unwrap_or(u16::MAX);
        self.bytes[i] = bytes.unwrap_or(u32::MAX);
        self.ip_bytes[i] = ip_bytes;
        self.payload[i] = payload.unwrap_or(u32::MAX);
        self.flags[i] |= segment.flags;
        self.end_ns = self.end_ns.max(segment.ts_ns);
        if segment.flags & ACK != 0 && sender == Sender::Orig {
            self.acked = segment.ack;
        }
        if segment.is_touch() && sender == Sender::Orig {
            self.syn_payload = self.syn_payload.max(segment.payload_len);
        }
        letters::push_letters(&mut self.history, letters::letter_bit(segment, sender));
        self.inside = self.inside.max(segment.inside);
        packets.is_none() || bytes.is_none() || payload.is_none()
    }
}

impl Tally {
    /// Notes how far `sender`, whose initial sequence number is `isn`, has sent. A segment far from all before tells
    /// nothing, a RST may repeat a number that the other side guessed, and no connection has segments without ACK.
    pub(super) fn note_sent(&mut self, segment: &Headers, sender: Sender, isn: u32) {
        let other_syn = segment.flags & SYN != 0 && segment.seq != isn;
        if other_syn || segment.flags & RST != 0 || segment.flags & (SYN | ACK) == 0 {
            return;
        }
        let sent = &mut self.sent[sender as usize];
        let end = tcp::end_of(segment).wrapping_sub(isn.wrapping_add(1));
        if end.wrapping_sub(*sent) < WINDOW_MAX {
            *sent = end;
        }
    }
}

/// The packet that needs a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requester {
    /// A SYN, which anybody can send.
    Syn,
    /// Another segment of a connection that has a server.
    Answer,
}

pub(crate) struct Tallies {
    places: Vec<Tally>,
    free: Vec<u32>,
    capacity: usize,
}

snapshot! {
    [] Tallies;
    lists: places, free;
    fixed: capacity;
}

impl Tallies {
    /// Reserves all memory, for a table of so many attempts.
    pub fn new(attempts: usize) -> Self {
        let capacity = Self::capacity_for(attempts);
        Self {
            places: with_room(capacity),
            free: Vec::with_capacity(capacity),
            capacity,
        }
    }

    fn capacity_for(attempts: usize) -> usize {
        (attempts / ATTEMPTS_EACH).max(PLACES_MIN.min(attempts))
    }

    pub fn memory_bytes(attempts: usize) -> u64 {
        (Self::capacity_for(attempts) * (size_of::<Tally>() + size_of::<u32>())) as u64
    }

    pub fn prefault(&mut self) {
        prefault(&mut self.places, self.capacity, Tally::default());
        prefault(&mut self.free, self.capacity, 0);
    }

    /// Stores a tally, if there is a place for it.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "fewer places than entries, whose numbers have 31 bits"
    )]
    pub(super) fn take(&mut self, tally: Tally, who: Requester) -> Option<u32> {
        let left = self.capacity - self.places.len() + self.free.len();
        let reserved = match who {
            Requester::Syn => self.capacity / 4,
            Requester::Answer => 0,
        };
        if left <= reserved {
            return None;
        }
        if let Some(at) = self.free.pop() {
            self.places[at as usize] = tally;
            return Some(at);
        }
        self.places.push(tally);
        Some(self.places.len() as u32 - 1)
    }

    pub(super) fn give(&mut self, at: u32) {
        self.free.push(at);
    }

    pub(super) fn get(&self, at: u32) -> &Tally {
        &self.places[at as usize]
    }

    pub(super) fn get_mut(&mut self, at: u32) -> &mut Tally {
        &mut self.places[at as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syns_leave_a_quarter_of_the_pool_to_answers() {
        let mut pool = Tallies::new(1024);
        let taken = |pool: &mut Tallies, who| {
            std::iter::from_fn(|| pool.take(Tally::default(), who)).count()
        };
        assert_eq!(taken(&mut pool, Requester::Syn), 96);
        assert_eq!(taken(&mut pool, Requester::Answer), 32);
        pool.give(5);
        assert_eq!(pool.take(Tally::default(), Requester::Syn), None);
        assert_eq!(pool.take(Tally::default(), Requester::Answer), Some(5));
    }
}
