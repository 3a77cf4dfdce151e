//! SYNs without ACK: new attempts and retransmissions.

use super::Flows;
use super::attempt::NEAR_MAX;
use super::attempt::bits::*;
use super::attempt::tally::For;
use super::key::Key;
use super::record::{FlowEvent, When};
use super::tcp::Sender;
use crate::decode::packet::{Packet, Tcp};

impl Flows {
    /// A SYN without ACK.
    pub(super) fn on_touch(
        &mut self,
        packet: &Packet,
        tcp: &Tcp,
        (hash, key): (u64, &Key),
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        self.counts.syn_packets += 1;
        let (known, near) = if self.attempts.far == 0 && self.attempts.slab.lacks(hash) {
            (None, 0)
        } else {
            self.known_attempt(hash, key, tcp.seq, now, out)
        };
        match known {
            Some(at) => self.on_retransmission(at, packet, tcp, (hash, key), now, out),
            None => {
                self.counts.packets_accounted += u64::from(!key.joined);
                let far = near >= NEAR_MAX;
                let hash = if far {
                    self.hasher.far(hash, tcp.seq)
                } else {
                    hash
                };
                let counts = &mut self.counts;
                let syn = (packet, tcp);
                self.attempts.open(hash, key, far, syn, now, counts, out);
            }
        }
    }

    /// The live attempt of these endpoints and this sequence number, and how many live in their buckets.
    fn known_attempt(
        &mut self,
        hash: u64,
        key: &Key,
        isn: u32,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> (Option<u32>, usize) {
        let (mut known, mut near) = (None, 0);
        let hits = self.attempts.slab.hits(hash);
        for &at in hits.as_slice() {
            let entry = self.attempts.slab.get(at);
            let Some(sender) = entry.sender(key) else {
                continue;
            };
            if entry.has(FAR) || !self.attempts.settle(at, now, &mut self.counts, out) {
                continue;
            }
            near += 1;
            if sender == Sender::Orig && self.attempts.slab.get(at).isn == isn {
                known = Some(at);
            }
        }
        if known.is_none() && self.attempts.far > 0 {
            let hits = self.attempts.slab.hits(self.hasher.far(hash, isn));
            for &at in hits.as_slice() {
                let entry = self.attempts.slab.get(at);
                if entry.has(FAR)
                    && entry.isn == isn
                    && entry.sender(key) == Some(Sender::Orig)
                    && self.attempts.settle(at, now, &mut self.counts, out)
                {
                    known = Some(at);
                }
            }
        }
        (known, near)
    }

    fn on_retransmission(
        &mut self,
        at: u32,
        packet: &Packet,
        tcp: &Tcp,
        (hash, key): (u64, &Key),
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let entry = *self.attempts.slab.get(at);
        if entry.interface != packet.interface {
            self.counts.syn_other_interface += 1;
            self.counts.syn_joined_elsewhere += u64::from(key.joined);
            return;
        }
        self.counts.syn_retransmitted += 1;
        let counted = u64::from(!key.joined);
        if !entry.has(PROMOTED) {
            if entry.has(ENDED) {
                self.reopen(at, packet, For::Syn);
            }
            self.attempts
                .add(at, packet, tcp, Sender::Orig, &mut self.counts);
            self.counts.packets_accounted += counted;
            return;
        }
        let counts = &mut self.counts;
        let found = self.established.find(hash, key, now, counts, out);
        match found {
            Some((conn, sender)) if self.established.cold(conn).isn == entry.isn => {
                self.counts.packets_accounted += counted;
                let payload = tcp.payload_len;
                self.established
                    .add(conn, packet, Some(tcp), payload, sender, now);
            }
            _ => self.counts.packets_after_end += counted,
        }
    }

    /// Opens an ended attempt again.
    pub(super) fn reopen(&mut self, at: u32, packet: &Packet, who: For) {
        // Its place among equals changes with its start.
        self.prepared = None;
        self.attempts.reopen(at, packet, who, &mut self.counts);
    }
}
