//! Answers that came before their SYN: a mirror port or a tap may show both directions of a link out of order.
//!
//! A SYN+ACK, a RST, an ICMP error or a bare ACK without a flow waits for its SYN, and so does what follows it on the same
//! ports. Whatever waits too long goes the way that it would have gone at once.

use super::Flows;
use super::probes::Late;
use super::record::{FlowEvent, Waited, When};
use super::table::ring::Ring;
use crate::decode::Headers;
use crate::decode::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::snapshot::snapshot;

/// The longest wait for a SYN.
pub(super) const WAIT_NS: i64 = 1_000_000_000;
/// Packets that wait at once. In a full table the oldest waits no longer.
const CAPACITY: usize = 2048;
/// Packets that wait for one SYN.
const OF_ONE_MAX: usize = 4;
/// Outcomes of one packet at most. Two by itself: an answer and its proof, or an ICMP message and what it refuses. As many
/// of each packet that waited for its SYN, if it is that. One of each other packet that waited: they may all have waited
/// long enough.
pub const OUTCOMES_MAX: usize = 2 * (1 + OF_ONE_MAX) + CAPACITY;

/// A packet that waits.
#[derive(Clone, Copy, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
struct Waiting {
    headers: Headers,
    hash: u64,
    /// Watermark when it came.
    since_ns: i64,
    /// An ICMP error; the headers are those of the segment that it quotes.
    is_error: bool,
    /// It waits no longer.
    taken: bool,
}

impl Waiting {
    fn is_over(&self, now_ns: i64) -> bool {
        self.since_ns.saturating_add(WAIT_NS) <= now_ns
    }

    /// When it leaves, if it does so at `now_ns`: at the end of its wait, or sooner, with the packet that makes it.
    fn leaves_at(&self, now_ns: i64) -> When {
        match self.is_over(now_ns) {
            true => When::Deadline(self.since_ns.saturating_add(WAIT_NS)),
            false => When::Packet,
        }
    }

    /// It answers this SYN, or ends the handshake that the SYN begins.
    fn answers(&self, syn: &Headers) -> bool {
        let headers = &self.headers;
        if self.is_error {
            return headers.key == syn.key && headers.seq == syn.seq;
        }
        let behind = |number: u32| number.wrapping_sub(syn.seq.wrapping_add(1)) <= syn.payload_len;
        let answers =
            may_answer(headers) && headers.key == syn.key.reversed() && behind(headers.ack);
        answers || is_bare_ack(headers) && headers.key == syn.key && behind(headers.seq)
    }
}

/// A SYN+ACK, or a RST that says what it refuses.
fn may_answer(segment: &Headers) -> bool {
    let flags = segment.flags & (SYN | ACK | RST | FIN);
    flags == SYN | ACK || flags & !FIN == RST | ACK
}

/// What a client ends a handshake with.
fn is_bare_ack(segment: &Headers) -> bool {
    segment.flags & (SYN | ACK | RST | FIN) == ACK && segment.payload_len == 0
}

/// The packets that wait, in the order in which they came.
pub(crate) struct Early {
    ring: Ring<Waiting>,
    /// Packets that wait.
    count: usize,
}

snapshot! {
    [] Early;
    values: ring, count;
}

impl Early {
    pub fn new() -> Self {
        let empty = Waiting {
            headers: Headers::default(),
            hash: 0,
            since_ns: i64::MIN,
            is_error: false,
            taken: true,
        };
        Self {
            ring: Ring::new(CAPACITY, empty),
            count: 0,
        }
    }

    pub fn memory_bytes() -> u64 {
        Ring::<Waiting>::memory_bytes(CAPACITY)
    }

    pub fn prefault(&mut self) {
        self.ring.prefault();
    }

    /// The packets on the ports of this hash, in no order.
    fn each(&self, hash: u64, mut what: impl FnMut(u32, &Waiting)) {
        for &at in self.ring.hits(hash).as_slice() {
            let one = self.ring.get(at);
            if one.hash == hash && !one.taken {
                what(at, one);
            }
        }
    }

    fn count_of(&self, hash: u64) -> usize {
        let mut count = 0;
        self.each(hash, |_, _| count += 1);
        count
    }

    /// Whether anything waits on the ports of this hash.
    #[inline]
    pub fn holds(&self, hash: u64) -> bool {
        self.count > 0 && self.count_of(hash) > 0
    }

    /// Lets a packet wait. False: there is no room for it.
    fn put(&mut self, one: Waiting) -> bool {
        let put = self.count_of(one.hash) < OF_ONE_MAX
            && !self.ring.is_full()
            && self.ring.insert(one.hash, one).is_some();
        self.count += usize::from(put);
        put
    }

    /// Takes the first packet on the ports of this hash.
    fn take(&mut self, hash: u64) -> Option<Waiting> {
        let mut first = None;
        self.each(hash, |at, _| {
            let age = at.wrapping_sub(self.ring.tail());
            if first.is_none_or(|(least, _)| age < least) {
                first = Some((age, at));
            }
        });
        let one = self.ring.get_mut(first?.1);
        one.taken = true;
        self.count -= 1;
        Some(*one)
    }

    /// Takes the oldest packet, if it has waited too long at `now_ns` or, with `makes_room`, leaves none for others.
    fn due(&mut self, now_ns: i64, makes_room: bool) -> Option<Waiting> {
        while self.ring.len() > 0 {
            let oldest = *self.ring.get(self.ring.tail());
            let is_in_the_way = makes_room && self.ring.is_full();
            if !(oldest.taken || oldest.is_over(now_ns) || is_in_the_way) {
                return None;
            }
            self.ring.leave(1);
            if !oldest.taken {
                self.count -= 1;
                return Some(oldest);
            }
        }
        None
    }
}

impl Flows {
    /// Lets a segment without a flow wait, if it may be a part of a handshake or follows one that waits.
    pub(super) fn waits(
        &mut self,
        segment: &Headers,
        hash: u64,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> bool {
        let follows = self.early.holds(hash);
        if !follows && !may_answer(segment) && !is_bare_ack(segment) {
            return false;
        }
        let waits = self.early.put(Waiting {
            headers: *segment,
            hash,
            since_ns: now,
            is_error: false,
            taken: false,
        });
        self.counts.packets_waiting += u64::from(waits);
        if follows && !waits {
            self.release_all(hash, now, out);
        }
        waits
    }

    /// Sends on what waits on the ports of this hash.
    pub(super) fn release_all(
        &mut self,
        hash: u64,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        while let Some(one) = self.early.take(hash) {
            self.release(&one, one.leaves_at(now), out);
        }
    }

    /// Lets an ICMP error that quotes an unknown SYN wait.
    pub(super) fn error_waits(&mut self, quoted: Headers, hash: u64, now: i64) {
        self.early.put(Waiting {
            headers: quoted,
            hash,
            since_ns: now,
            is_error: true,
            taken: false,
        });
    }

    /// Sends on what has waited too long, and in a full table the oldest.
    #[inline]
    pub(super) fn release_due(&mut self, now: i64, out: &mut impl FnMut(When, FlowEvent)) {
        while self.early.count > 0
            && let Some(one) = self.early.due(now, true)
        {
            self.counts.packets_pushed_out += u64::from(!one.is_over(now));
            self.release(&one, one.leaves_at(now), out);
        }
    }

    /// Sends on what has waited too long. Unlike a packet, a sweep needs no room: it changes nothing.
    pub(super) fn release_over(&mut self, now: i64, out: &mut impl FnMut(When, FlowEvent)) {
        while self.early.count > 0
            && let Some(one) = self.early.due(now, false)
        {
            self.release(&one, one.leaves_at(now), out);
        }
    }

    /// Whether [`Flows::release_waiting`] has work at this watermark.
    #[inline]
    pub fn is_wait_over(&self, watermark_ns: i64) -> bool {
        let ring = &self.early.ring;
        self.early.count > 0 && ring.get(ring.tail()).is_over(watermark_ns)
    }

    /// Moves the watermark and sends on what has waited too long for its SYN. The outcomes carry the deadline
    /// ([`When::Deadline`]), and the next packet would emit them, however late it comes: call this before the positions up
    /// to the watermark are published.
    pub fn release_waiting(&mut self, watermark_ns: i64, out: &mut impl FnMut(When, FlowEvent)) {
        self.now_ns = self.now_ns.max(watermark_ns);
        self.release_over(self.now_ns, out);
    }

    /// Sends on all that waits for a SYN: none comes any more.
    pub fn release_rest(&mut self, out: &mut impl FnMut(When, FlowEvent)) {
        self.release_over(self.now_ns, out);
        while let Some(one) = self.early.due(i64::MAX, false) {
            self.release(&one, When::End, out);
        }
    }

    /// Sends a packet on: it is accounted as of the time when it came, its outcomes happen now.
    fn release(&mut self, one: &Waiting, when: When, out: &mut impl FnMut(When, FlowEvent)) {
        if !one.is_error {
            self.counts.packets_waiting -= 1;
            let segment = Waited::from(&one.headers);
            let late = Some(Late { when, segment });
            self.add_midstream(&one.headers, one.hash, one.since_ns, late, out);
        }
    }

    /// Handles the packets that wait for a SYN which has just opened an attempt, as if they came behind it.
    pub(super) fn answer_early(
        &mut self,
        syn: &Headers,
        hash: u64,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        self.release_due(now, out);
        let mut answers = false;
        self.early.each(hash, |_, one| answers |= one.answers(syn));
        if !answers {
            return;
        }
        // All first: whatever finds no flow after all waits again.
        let early = [(); OF_ONE_MAX].map(|()| self.early.take(hash));
        for one in early.into_iter().flatten() {
            self.counts.packets_early += 1;
            if one.is_error {
                self.refuse_quoted(&one.headers.key, hash, Some(one.headers.seq), now, out);
            } else {
                self.counts.packets_waiting -= 1;
                self.on_segment(&one.headers, hash, now, out);
            }
        }
    }
}
