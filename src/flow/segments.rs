//! TCP segments other than a SYN without ACK.

use super::Flows;
use super::attempt::bits::*;
use super::attempt::record::Effect;
use super::attempt::tally::Requester;
use super::attempt::{AttemptEntry, Attempts};
use super::letters;
use super::probes::is_bare_reset;
use super::record::{Basis, EndReason, FlowEvent, Outcome, When};
use super::tcp::{self, Sender};
use crate::decode::Headers;
use crate::decode::key::Key;
use crate::decode::packet::tcp_flags::{RST, SYN};
use std::cell::Cell;

impl Flows {
    /// Looks a segment up: established connections, then attempts, then midstream.
    ///
    /// The attempts come first for a SYN+ACK, a RST, and where a younger attempt on the same ports was answered.
    pub(super) fn on_segment(
        &mut self,
        segment: &Headers,
        hash: u64,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let (key, counts) = (&segment.key, &mut self.counts);
        let conn = self.established.find(hash, key, now, counts, out);
        let attempts_first = segment.flags & (SYN | RST) != 0;
        if let Some((at, sender)) = conn {
            let has_rival = self.established.slab.get(at).has_rival();
            if (attempts_first || has_rival) && self.on_attempt(segment, hash, now, out) {
                return;
            }
            let (conns, counts) = (&mut self.established, &mut self.counts);
            let nearest = match has_rival {
                true => conns.nearest(hash, segment, now, counts, out),
                false => None,
            };
            let (at, sender) = nearest.unwrap_or((at, sender));
            conns.account(at, segment, sender, now, counts);
            return;
        }
        if self.on_attempt(segment, hash, now, out) {
            return;
        }
        let open = |table: &Attempts, at, _| table.ring.get(at).open();
        let Some((at, sender)) = self.newest(hash, key, [None; 2], now, out, open) else {
            return self.on_midstream(segment, hash, now, out);
        };
        // Anybody can send a SYN on the ports of a flow that is no proven connection: its segments stay its own.
        if !self.attempts.is_near(at, segment, sender) {
            self.take_outlived(out);
            self.release_due(now, out);
            let (others, counts) = (&mut self.others, &mut self.counts);
            if let Some(found) = others.find(hash, &segment.key, now, counts, out) {
                return self.account_segment(found, segment, now, None, out);
            }
        }
        if self.attempts.comes_its_way(at, segment, sender) {
            self.counts.packets_accounted += 1;
            self.attempts.add(at, segment, sender, &mut self.counts);
            self.move_closed(at, hash, now, out);
        } else {
            self.counts.packets_other_interface += 1;
        }
    }

    /// The newest live attempt of these endpoints that `wanted` accepts, open ones first, and the side that sends
    /// packets of `key`. Attempts beyond the fourth are found only by the sequence numbers in `far`.
    pub(super) fn newest(
        &mut self,
        hash: u64,
        key: &Key,
        far: [Option<u32>; 2],
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
        wanted: impl Fn(&Attempts, u32, Sender) -> bool,
    ) -> Option<(u32, Sender)> {
        let mut best = None;
        let mut offer = |flows: &mut Self, at: u32, isn: Option<u32>, out: &mut _| {
            let entry = flows.attempts.ring.get(at);
            if entry.has(FAR) != isn.is_some() || isn.is_some_and(|isn| isn != entry.isn) {
                return;
            }
            let Some(sender) = entry.sender(key) else {
                return;
            };
            if !flows.attempts.settle(at, now, &mut flows.counts, out) {
                return;
            }
            if wanted(&flows.attempts, at, sender) {
                let entry = flows.attempts.ring.get(at);
                let rank = (entry.open(), entry.first_ns, entry.isn, entry.key());
                if best.is_none_or(|(least, _)| rank > least) {
                    best = Some((rank, (at, sender)));
                }
            }
        };
        let hits = self.attempts.ring.hits(hash);
        for &at in hits.as_slice() {
            offer(self, at, None, out);
        }
        if self.attempts.far > 0 {
            let second = far[1].filter(|isn| far[0] != Some(*isn));
            for isn in [far[0], second].into_iter().flatten() {
                let hits = self.attempts.ring.hits(self.hasher.far(hash, isn));
                for &at in hits.as_slice() {
                    offer(self, at, Some(isn), out);
                }
            }
        }
        best.map(|(_, found)| found)
    }

    /// Gives the segment to the attempt that its numbers fit; false if there is none.
    fn on_attempt(
        &mut self,
        segment: &Headers,
        hash: u64,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> bool {
        let far = [
            Some(segment.ack.wrapping_sub(1)),
            Some(segment.seq.wrapping_sub(1)),
        ];
        let named = |table: &Attempts, at: u32, sender| {
            let entry = table.ring.get(at);
            match table.effect(at, segment, sender) {
                None => false,
                Some(Effect::Prove) => entry.open(),
                Some(_) => !entry.has(MOVED),
            }
        };
        let Some((at, sender)) = self.newest(hash, &segment.key, far, now, out, named) else {
            return false;
        };
        let effect = self.attempts.effect(at, segment, sender);
        let effect = effect.expect("`named` accepted it");
        let entry = *self.attempts.ring.get(at);
        if !self.attempts.comes_its_way(at, segment, sender) {
            self.counts.packets_other_interface += 1;
            return true;
        }
        if !entry.open() {
            let late = match effect {
                Effect::Answer => !entry.has(ANSWERED),
                Effect::Refuse => !entry.has(REPORTED_REFUSED),
                Effect::Reset | Effect::Prove => false,
            };
            if !late {
                self.counts.packets_after_end += 1;
                return true;
            }
            let counts = &mut self.counts;
            self.attempts
                .reopen(at, segment.ts_ns, Requester::Answer, counts);
        }
        self.counts.packets_accounted += 1;
        match effect {
            Effect::Answer => self.on_answer(at, segment, hash, now, out),
            Effect::Refuse => {
                self.attempts.add(at, segment, sender, &mut self.counts);
                self.attempts.set_reset(at, sender);
                self.refuse(at, out);
            }
            Effect::Reset => {
                if is_half_open_reset(&entry, segment, sender) {
                    let what = (Outcome::HalfOpen, &entry.key());
                    self.report(what, None, out);
                }
                self.attempts.add(at, segment, sender, &mut self.counts);
                self.attempts.set_reset(at, sender);
                let (reason, when) = (EndReason::Rst, When::Packet);
                self.attempts.end(at, reason, when, &mut self.counts, out);
            }
            Effect::Prove => self.promote(at, segment, hash, now, out),
        }
        true
    }

    fn on_answer(
        &mut self,
        at: u32,
        segment: &Headers,
        hash: u64,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let answered = self.attempts.ring.get(at).has(ANSWERED);
        if !answered {
            self.note_answer(at, segment, out);
            if self.attempts.was_acknowledged(at, segment) {
                return self.promote(at, segment, hash, now, out);
            }
        }
        let counts = &mut self.counts;
        self.attempts.add(at, segment, Sender::Resp, counts);
        let key = &segment.key;
        if !answered && let Some((conn, _)) = self.established.find(hash, key, now, counts, out) {
            self.established.slab.get_mut(conn).set_rival();
        }
        self.move_closed(at, hash, now, out);
    }

    /// Notes an answer and emits the outcome once.
    fn note_answer(&mut self, at: u32, answer: &Headers, out: &mut impl FnMut(When, FlowEvent)) {
        self.attempts.answer(at, answer, &mut self.counts);
        let entry = self.attempts.ring.get_mut(at);
        if !entry.has(REPORTED_ANSWERED) {
            entry.flags |= REPORTED_ANSWERED;
            let tuple = entry.key().tuple();
            self.counts.answered_connections += 1;
            out(When::Packet, FlowEvent::outcome(tuple, Outcome::Answered));
        }
    }

    /// Ends an attempt as refused and emits its outcome once.
    pub(super) fn refuse(&mut self, at: u32, out: &mut impl FnMut(When, FlowEvent)) {
        let entry = self.attempts.ring.get_mut(at);
        if !entry.has(REPORTED_REFUSED) {
            entry.flags |= REPORTED_REFUSED;
            let tuple = entry.key().tuple();
            self.counts.refused_connections += 1;
            out(When::Packet, FlowEvent::outcome(tuple, Outcome::Refused));
        }
        let (reason, when) = (EndReason::Refused, When::Packet);
        self.attempts.end(at, reason, when, &mut self.counts, out);
    }

    /// Moves the flow of a proven handshake to the established connections.
    fn promote(
        &mut self,
        at: u32,
        segment: &Headers,
        hash: u64,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let entry = *self.attempts.ring.get(at);
        let other_way = entry.key().reversed();
        let key = &segment.key;
        let has_twin = Cell::new(false);
        let partner = self.newest(hash, key, [None; 2], now, out, |table, other_at, _| {
            let other = table.ring.get(other_at);
            has_twin.set(has_twin.get() || other.open() && other_at != at);
            other.open()
                && other.key() == other_way
                && other.isn == entry.server_isn()
                && !other.has(ODD)
        });
        let mut conn = self.attempts.take_flow(at, now);
        if let Some((other_at, _)) = partner {
            // Simultaneous open: one connection; the side of the first SYN is its originator.
            let mut other = self.attempts.take_flow(other_at, now);
            let other_entry = self.attempts.ring.get(other_at);
            if (other_entry.first_ns, other.key) < (entry.first_ns, conn.key) {
                std::mem::swap(&mut conn, &mut other);
            }
            conn.merge(&other);
            self.counts.flows_merged += 1;
            self.counts.flows_open -= 1;
        }
        let (conns, counts) = (&mut self.established, &mut self.counts);
        let when = (now, When::Packet);
        let lives = conns.make_way((hash, key), entry.first_ns, when, counts, out);
        conn.basis = Basis::Handshake;
        conn.twin = has_twin.get();
        conn.rival = lives || conn.twin;
        counts.established_connections += 1;
        let sender = if conn.key == *key {
            Sender::Orig
        } else {
            Sender::Resp
        };
        if sender == Sender::Resp && conn.resp.packets == 0 {
            conn.interface_resp = segment.interface;
        }
        let evicted = |counts: &mut super::FlowCounts| counts.evicted_established += 1;
        let conn_at = self
            .established
            .insert(hash, conn, now, evicted, counts, out);
        self.established.add(conn_at, segment, sender, now);
        let tuple = entry.key().tuple();
        out(
            When::Packet,
            FlowEvent::outcome(tuple, Outcome::Established),
        );
    }
}

/// A client that answers a SYN+ACK as a stack does which knows of no SYN: a scanner sent that past it.
fn is_half_open_reset(entry: &AttemptEntry, segment: &Headers, sender: Sender) -> bool {
    sender == Sender::Orig
        && entry.was_synack_seen()
        && is_bare_reset(segment)
        && segment.seq == entry.isn.wrapping_add(1)
}

impl crate::flow::conn::Conn {
    /// Adds the packets of an attempt in the other direction.
    fn merge(&mut self, other: &Self) {
        if self.resp.packets == 0 {
            self.interface_resp = other.interface;
        }
        // Each side was followed in both attempts.
        let known = [true, self.basis != Basis::None];
        let theirs = [
            (other.next[1], other.basis != Basis::None),
            (other.next[0], true),
        ];
        for ((mine, known), (theirs, may)) in self.next.iter_mut().zip(known).zip(theirs) {
            if may && (!known || tcp::after(theirs, *mine)) {
                *mine = theirs;
            }
        }
        for (mine, theirs) in [(&mut self.orig, &other.resp), (&mut self.resp, &other.orig)] {
            mine.packets += theirs.packets;
            mine.bytes += theirs.bytes;
            mine.ip_bytes += theirs.ip_bytes;
            mine.payload_bytes += theirs.payload_bytes;
            mine.tcp_flags |= theirs.tcp_flags;
        }
        for &letter in other.history.letters.iter().filter(|letter| **letter != 0) {
            let swapped = if letter.is_ascii_uppercase() {
                letter.to_ascii_lowercase()
            } else {
                letter.to_ascii_uppercase()
            };
            letters::push_letter(&mut self.history, swapped);
        }
        self.start_ns = self.start_ns.min(other.start_ns);
        self.end_ns = self.end_ns.max(other.end_ns);
        self.gso |= other.gso;
        self.fragmented |= other.fragmented;
        self.saturated |= other.saturated;
    }
}
