//! Established connections, and other flows: two tables of one type.

mod packed;
mod parts;
mod unpacked;

use super::closed::Closed;
use super::counts::FlowCounts;
use super::key::Hasher;
use super::record::{EndReason, FlowEvent, FlowRecord, When};
use super::table::bucket::Hits;
use super::table::slab::{Hint, Slab};
use super::table::{prefault, timers};
use super::tcp::Sender;
use crate::decode::Headers;
use crate::decode::key::Key;
use crate::snapshot::snapshot;
use crate::sys::huge_pages::with_room;
use crate::time::durations::{TCP_IDLE_NS, TCP_UNHEARD_NS};
pub(super) use packed::{Cold, Hot};
use parts::{Parts, Reported};
use std::cmp::Ordering;
pub(crate) use unpacked::Conn;

pub(crate) const OTHER_IDLE_NS: i64 = 60_000_000_000;
/// A closed connection waits this long for late packets.
pub(crate) const LINGER_NS: i64 = 5_000_000_000;

// IP protocol numbers.
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

/// A table of connections.
pub(crate) struct Conns {
    pub slab: Slab<Hot>,
    /// By position in `slab`.
    cold: Vec<Cold>,
    /// Ended flows get a record.
    pub record_ends: bool,
    /// Since when all packets are captured. Before, silence says nothing of a connection.
    pub heard_ns: i64,
    closed: Closed,
    pub parts: Parts,
}

snapshot! {
    [] Conns;
    values: slab, heard_ns, closed, parts;
    lists: cold;
    fixed: record_ends;
}

impl Conns {
    /// Reserves all memory for `capacity` entries, whose flows may have parts.
    pub fn new(capacity: usize, parts: bool, hasher: Hasher) -> Self {
        Self {
            parts: Parts::new(if parts { capacity } else { 0 }),
            closed: Closed::new(capacity, hasher),
            slab: Slab::new(capacity, Hot::default()),
            cold: with_room(capacity),
            record_ends: true,
            heard_ns: i64::MIN,
        }
    }

    pub fn memory_bytes(capacity: usize, parts: bool) -> u64 {
        let each = size_of::<Cold>() + if parts { Parts::BYTES } else { 0 };
        Slab::<Hot>::memory_bytes(capacity)
            + (capacity * each) as u64
            + Closed::memory_bytes(capacity)
    }

    pub fn prefault(&mut self) {
        self.slab.prefault();
        self.closed.prefault();
        prefault(&mut self.cold, self.slab.capacity(), Cold::default());
        self.parts.prefault(self.slab.capacity());
    }

    pub fn cold(&self, at: u32) -> &Cold {
        &self.cold[at as usize]
    }

    /// Sort key of its record.
    pub fn order(&self, at: u32) -> (i64, Key, u32) {
        packed::order(self.slab.get(at), self.cold(at))
    }

    /// Sorts a slot by (deadline, content), or by content alone.
    pub fn sort_slot(&mut self, slot: i64, by_deadline: bool) {
        let (cold, heard_ns, parts) = (&self.cold, self.heard_ns, &self.parts);
        let timer = |at, hot: &Hot| parts.timer(at, hot.closed(), hot.deadline(heard_ns));
        self.slab.sort_slot(slot, |a, x, b, y| {
            let deadlines = match by_deadline {
                true => timer(a, x).cmp(&timer(b, y)),
                false => Ordering::Equal,
            };
            let order = |hot, at: u32| packed::order(hot, &cold[at as usize]);
            deadlines
                .then_with(|| order(x, a).cmp(&order(y, b)))
                .is_le()
        });
    }

    /// Accounts a segment of the hinted entry, if it only adds to it. False: nothing was done.
    #[inline(always)]
    pub fn add_segment(&mut self, hint: Hint, segment: &Headers, watermark_ns: i64) -> bool {
        let Some((at, hot)) = self.slab.hinted(hint) else {
            return false;
        };
        let key = &segment.key;
        // Of an IPv6 address, and of tags, the entry's line does not know all.
        let is_whole = |sender| {
            let is_short = Key::is_short(key.kind());
            is_short || self.cold[at as usize].is_sender(sender, key)
        };
        if let Some(sender) = hot.sender_of_ends(key)
            && hot.only_adds(segment, watermark_ns)
            && is_whole(sender)
            && hot.add_here(segment, sender, watermark_ns)
        {
            return true;
        }
        self.add_to_open(hint, segment, watermark_ns, |_, _| false)
    }

    /// Accounts a packet of the hinted entry, if it only adds to it and is not one that `may_tell` more. False: nothing
    /// was done.
    #[inline(never)]
    pub fn add_to_open(
        &mut self,
        hint: Hint,
        packet: &Headers,
        watermark_ns: i64,
        may_tell: impl Fn(&Hot, Sender) -> bool,
    ) -> bool {
        let Some((at, hot)) = self.slab.hinted(hint) else {
            return false;
        };
        let cold = &mut self.cold[at as usize];
        let Some(sender) = hot.sender(cold, &packet.key) else {
            return false;
        };
        let only_adds = hot.only_adds(packet, watermark_ns) && !may_tell(hot, sender);
        if only_adds {
            hot.add(cold, packet, sender, (watermark_ns, self.heard_ns));
        }
        only_adds
    }

    /// The live entry of `key` and the side that sends; ends an expired one.
    pub fn find(
        &mut self,
        hash: u64,
        key: &Key,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> Option<(u32, Sender)> {
        let first = |conns: &Self| {
            let whose = |at: u32, hot: &Hot| hot.sender(&conns.cold[at as usize], key);
            conns.slab.find(hash, whose)
        };
        self.live(first, watermark_ns, counts, out)
    }

    /// The first entry of those that `choose` gives that lives; ends the expired ones before it.
    #[inline]
    fn live(
        &mut self,
        choose: impl Fn(&Self) -> Option<(u32, Sender)>,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> Option<(u32, Sender)> {
        loop {
            let found = choose(self)?;
            if self.settle(found.0, watermark_ns, counts, out) {
                return Some(found);
            }
        }
    }

    /// Of the live entries of a segment's key the one whose sequence numbers it continues, and the side that sends.
    pub fn nearest(
        &mut self,
        hash: u64,
        segment: &Headers,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> Option<(u32, Sender)> {
        let nearest = |conns: &Self| {
            let mut best = None;
            conns.slab.each(hash, |at, hot| {
                let one = &conns.cold[at as usize];
                if let Some(sender) = hot.sender(one, &segment.key) {
                    let rank = (hot.distance(segment, sender), packed::order(hot, one));
                    if best.is_none_or(|(least, _)| rank < least) {
                        best = Some((rank, (at, sender)));
                    }
                }
            });
            best.map(|(_, found)| found)
        };
        self.live(nearest, watermark_ns, counts, out)
    }

    /// The live entry of an attempt whose client sends packets of `key`, and that side.
    pub fn of_attempt(
        &mut self,
        (hash, key): (u64, &Key),
        isn: u32,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> Option<(u32, Sender)> {
        let own = |conns: &Self| {
            let mut youngest = None;
            conns.slab.each(hash, |at, hot| {
                let one = &conns.cold[at as usize];
                let own = one.isn == isn && hot.has_attempt();
                if own && hot.sender(one, key) == Some(Sender::Orig) {
                    youngest = youngest.max(Some((packed::order(hot, one), at)));
                }
            });
            youngest.map(|(_, at)| (at, Sender::Orig))
        };
        self.live(own, watermark_ns, counts, out)
    }

    /// Ends the entries of a key, but for a twin of the attempt whose flow comes now: a firewall that changes numbers is
    /// seen on both sides, or two networks have the same addresses. True: some live.
    pub fn make_way(
        &mut self,
        (hash, key): (u64, &Key),
        attempt_ns: i64,
        (watermark_ns, when): (i64, When),
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> bool {
        let mut hits = Hits::NONE;
        self.slab.each(hash, |at, hot| {
            if hot.sender(&self.cold[at as usize], key).is_some() {
                hits.push(at);
            }
        });
        let mut lives = false;
        for &at in hits.as_slice() {
            if !self.settle(at, watermark_ns, counts, out) {
                continue;
            }
            let hot = self.slab.get_mut(at);
            if hot.is_twin() && !hot.closed() && hot.touched_ns >= attempt_ns {
                hot.set_rival();
                lives = true;
            } else {
                let reason = hot.natural_reason();
                self.end(at, reason, when, counts, out);
            }
        }
        lives
    }

    /// When something happens to an entry without another packet: its end, or an interim record.
    pub fn deadline(&self, at: u32) -> i64 {
        let hot = self.slab.get(at);
        (self.parts).timer(at, hot.closed(), hot.deadline(self.heard_ns))
    }

    /// Moves the timers of a slot whose deadlines lie in a later one.
    pub fn settle_slot(&mut self, slot: i64) {
        let (heard_ns, parts) = (self.heard_ns, &self.parts);
        self.slab.settle_slot(slot, |at, hot| {
            let timer = parts.timer(at, hot.closed(), hot.deadline(heard_ns));
            timers::slot_ahead(timer, slot)
        });
    }

    /// Ends the entry if its deadline has passed, or a part of its flow; true if it lives.
    pub fn settle(
        &mut self,
        at: u32,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> bool {
        if self.parts.is_on() {
            self.end_part(at, watermark_ns, counts, out);
        }
        let deadline = self.slab.get(at).deadline(self.heard_ns);
        if deadline > watermark_ns {
            return true;
        }
        let reason = self.slab.get(at).natural_reason();
        self.end(at, reason, When::Deadline(deadline), counts, out);
        false
    }

    /// Emits an interim record if one is due and the part has packets.
    #[cold]
    fn end_part(
        &mut self,
        at: u32,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let (hot, due_ns) = (self.slab.get(at), self.parts.due(at));
        let end_ns = hot.deadline(self.heard_ns);
        // A flow that ended in the slot had its timer at its end.
        let is_over = end_ns <= watermark_ns && timers::slot_of(end_ns) <= timers::slot_of(due_ns);
        if due_ns > watermark_ns || hot.closed() || is_over {
            return;
        }
        let conn = packed::unpack_settled(hot, self.cold(at));
        let Some((due_ns, record)) = self.parts.cut(at, &conn, watermark_ns) else {
            return;
        };
        if self.record_ends {
            counts.flow_parts += 1;
            out(When::Deadline(due_ns), FlowEvent::Ended(record));
        }
    }

    pub fn end(
        &mut self,
        at: u32,
        reason: EndReason,
        when: When,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        if matches!(reason, EndReason::Fin | EndReason::Rst) {
            let hot = self.slab.get(at);
            let closed_ns = match when {
                When::Deadline(deadline) => deadline,
                When::Packet | When::End => hot.touched_ns,
            };
            self.closed
                .note(&packed::key(hot, self.cold(at)), closed_ns);
        }
        let conn = || packed::unpack(self.slab.get(at), self.cold(at));
        self.tell((conn, self.parts.of(at)), reason, when, counts, out);
        self.slab.remove(at);
    }

    /// Tells the end of a flow, of this table or of none, of which parts may have been reported.
    pub fn tell(
        &self,
        (conn, reported): (impl FnOnce() -> Conn, Option<Reported>),
        reason: EndReason,
        when: When,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        counts.flows_closed[reason as usize] += 1;
        counts.flows_open -= 1;
        if self.record_ends {
            let conn = conn();
            let whole = conn.record(reason, conn.state());
            let Some(reported) = reported else {
                return out(when, FlowEvent::Ended(whole));
            };
            let (total, last) = (
                FlowRecord {
                    total: true,
                    ..whole
                },
                reported.rest_of(&whole),
            );
            counts.flow_parts += 1;
            out(when, FlowEvent::Ended(total));
            out(when, FlowEvent::Ended(last));
        } else {
            counts.flows_untold += 1;
        }
    }

    /// Notes that something still comes of a connection that closed.
    pub fn note_close(&mut self, key: &Key, now_ns: i64) {
        self.closed.note(key, now_ns);
    }

    /// Whether a connection of this hash closed lately, and all of it has ended.
    pub fn closed_lately(&self, hash: u64, watermark_ns: i64) -> bool {
        self.closed.holds(hash, watermark_ns)
    }

    /// Adds an entry. Without room it evicts a closed one, else the longest idle.
    pub fn insert(
        &mut self,
        hash: u64,
        conn: Conn,
        watermark_ns: i64,
        evicted: impl Fn(&mut FlowCounts),
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> u32 {
        let (hot, cold) = packed::pack(&conn);
        let part_ns = self.parts.first_due(watermark_ns);
        let timer_ns = hot.deadline(self.heard_ns).min(part_ns);
        let slot = timers::slot_ahead(timer_ns, timers::slot_of(watermark_ns));
        // Both the pool and the buckets may be full: two evictions.
        loop {
            if let Some(at) = self.slab.insert(hash, hot, slot) {
                self.parts.begin(at, conn.start_ns, part_ns);
                match self.cold.get_mut(at as usize) {
                    Some(place) => *place = cold,
                    None => self.cold.push(cold),
                }
                return at;
            }
            let rivals = self.slab.rivals(hash);
            let mut left = false;
            for &at in rivals.as_slice() {
                left |= !self.settle(at, watermark_ns, counts, out);
            }
            if left {
                continue;
            }
            let victim = rivals.as_slice().iter().copied().min_by(|&a, &b| {
                let (x, y) = (self.slab.get(a), self.slab.get(b));
                (!x.closed(), x.touched_ns)
                    .cmp(&(!y.closed(), y.touched_ns))
                    .then_with(|| self.order(a).cmp(&self.order(b)))
            });
            let victim = victim.expect("what is full holds entries");
            evicted(counts);
            self.end(victim, EndReason::Evicted, When::Packet, counts, out);
        }
    }

    /// Accounts a packet to an entry, if it comes from the interface of its direction.
    #[inline]
    pub fn account(
        &mut self,
        at: u32,
        packet: &Headers,
        sender: Sender,
        watermark_ns: i64,
        counts: &mut FlowCounts,
    ) -> bool {
        let (hot, cold) = (self.slab.get_mut(at), &mut self.cold[at as usize]);
        if !hot.comes_its_way(cold, packet.interface, sender) {
            counts.packets_other_interface += 1;
            return false;
        }
        counts.packets_accounted += 1;
        self.add(at, packet, sender, watermark_ns);
        true
    }

    /// Accounts a packet to an entry and moves its timer if the deadline became earlier.
    #[inline]
    pub fn add(&mut self, at: u32, packet: &Headers, sender: Sender, watermark_ns: i64) {
        let (hot, cold) = (self.slab.get_mut(at), &mut self.cold[at as usize]);
        // A packet that waited for its SYN may come behind younger ones: it makes no deadline earlier.
        let watermark_ns = watermark_ns.max(hot.touched_ns);
        if hot.add(cold, packet, sender, (watermark_ns, self.heard_ns)) {
            let slot = timers::slot_of(hot.deadline(self.heard_ns));
            self.slab.wheel.relink(at, slot);
        }
    }
}
