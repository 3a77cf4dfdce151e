//! Packets that wait a moment, so that what they need from memory is on its way, and then meet the flow stage.

use super::{At, Shard};
use crate::capture::frame::Frame;
use crate::decode::packet::{Packet, Reach, Tcp, Transport};
use crate::flow::Lookup;
use crate::flow::record::{FlowEvent, Outcome, When};
use crate::inspect::contact::{Contact, ContactKind, Owner};
use crate::inspect::detector::Owned;
use crate::log::event::{Body, Event, Step};
use crate::time::timeline::Timeline;
use std::net::IpAddr;

/// Frames that are decoded before the first of them is looked up: what one needs from memory comes while the
/// others are read.
pub(super) const BATCH: usize = 32;

/// A packet whose lines of memory are on their way.
#[derive(Clone, Copy)]
pub(super) struct Pending {
    packet: Packet,
    lookup: Lookup,
    position: u64,
    watermark_ns: i64,
    /// The witness's filter reaches it.
    in_reach: Option<bool>,
}

impl Shard {
    /// Keeps a packet until the batch is full.
    #[inline(always)]
    pub(super) fn hold(&mut self, packet: Packet, frame: &Frame<'_>, at: &At<'_>) {
        self.counts.packets += 1;
        self.counts.late_packets += u64::from(packet.ts_ns < at.watermark_ns);
        self.pending.push(Pending {
            packet,
            lookup: self.flows.announce(&packet),
            position: at.position,
            watermark_ns: at.watermark_ns,
            in_reach: self.outbox.in_reach(frame, &packet),
        });
        if let Some(ring) = at.ring {
            self.check_member(frame, ring);
        }
        if self.pending.len() == BATCH {
            self.look_up(&at.timeline);
        }
    }

    /// The packet that was kept last: where it is, for a copy would cost more than what is asked of it.
    pub(super) fn newest(&self) -> Option<&Packet> {
        self.pending.last().map(|pending| &pending.packet)
    }

    /// Looks up the packets that were decoded, in their order.
    pub(super) fn look_up(&mut self, timeline: &Timeline<'_>) {
        let mut pending = std::mem::take(&mut self.pending);
        for Pending { packet, lookup, .. } in &mut pending {
            self.flows.announce_entries(packet, lookup);
        }
        for Pending { packet, lookup, .. } in &pending {
            self.flows.announce_elsewhere(packet, lookup);
        }
        for one in &pending {
            let at = At {
                position: one.position,
                watermark_ns: one.watermark_ns,
                timeline: *timeline,
                ring: None,
            };
            if let Some(tcp) = one.packet.tcp().copied() {
                self.on_segment(&one.packet, &tcp, &at);
            }
            self.on_flow(one, &at);
        }
        pending.clear();
        self.pending = pending;
    }

    fn on_segment(&mut self, packet: &Packet, tcp: &Tcp, at: &At<'_>) {
        if !tcp.is_touch() {
            return;
        }
        if packet.reach != Reach::Plain {
            self.counts.syn_outside_class[packet.reach as usize] += 1;
        }
        let contact = contact(
            packet.src,
            packet.dst,
            tcp.dst_port,
            ContactKind::Touch,
            packet,
            at,
        );
        self.send(contact);
    }

    fn on_flow(&mut self, one: &Pending, at: &At<'_>) {
        let Pending { packet, lookup, .. } = one;
        let Self {
            flows,
            outbox,
            counts,
            policy,
            ..
        } = self;
        let mut outcome = None;
        let mut number = 0;
        let joined = flows.on_announced(packet, lookup, at.watermark_ns, &mut |when, event| {
            number += 1;
            let body = match event {
                FlowEvent::Outcome {
                    tuple,
                    outcome: what,
                } => {
                    outcome = Some((tuple, what));
                    return;
                }
                FlowEvent::Attempt(attempt)
                    if !policy.wants_direction(attempt.tuple.src, attempt.tuple.dst) =>
                {
                    counts.connections_not_asked += 1;
                    return outbox.not_asked(&attempt, one.in_reach);
                }
                FlowEvent::Attempt(attempt) => {
                    let place = place(when, one, at, number);
                    return outbox.hold_attempt(place, attempt, one.in_reach, counts);
                }
                FlowEvent::Ended(record) => Body::Flow(record),
            };
            let (position, step) = place(when, one, at, number);
            outbox.hold(
                Event {
                    position,
                    step,
                    body,
                },
                counts,
            );
        });
        if let Some((tuple, what)) = outcome {
            let kind = match what {
                Outcome::Answered => ContactKind::Answered,
                Outcome::Refused => ContactKind::Refused,
                Outcome::Established => ContactKind::Established,
            };
            let answer = Contact {
                number: 1,
                ..contact(tuple.src, tuple.dst, tuple.dst_port, kind, packet, at)
            };
            self.send(answer);
        }
        if let Some(tcp) = joined
            && matches!(
                packet.transport,
                Transport::TinyFragment { .. } | Transport::SecondFragment { .. }
            )
        {
            let joined = Packet {
                reach: Reach::Joined,
                ..*packet
            };
            self.on_segment(&joined, &tcp, at);
        }
    }

    fn send(&mut self, mut contact: Contact) {
        let target = self.policy.scan_target(contact.dst);
        contact.pair = self.owner_hash.pair(contact.src, target);
        let by_source = self.by_source;
        let pair = true;
        if self.mesh.workers() == 1 {
            let source = by_source;
            return self.hand(0, contact, Owned { pair, source });
        }
        let owner = self.owner(contact.pair);
        let second = by_source.then(|| self.owner(self.owner_hash.source(contact.src)));
        let source = second == Some(owner);
        self.hand(owner, contact, Owned { pair, source });
        if let Some(second) = second.filter(|&second| second != owner) {
            let (pair, source) = (false, true);
            self.hand(second, contact, Owned { pair, source });
        }
    }

    /// Hands a contact to a shard that has all contacts of its pair, of its source, or of both.
    fn hand(&mut self, to: usize, contact: Contact, owned: Owned) {
        let lost = !self.mesh.send(to, contact);
        for owner in Owner::ALL {
            let one = u64::from(owned.by(owner));
            self.counts.contacts_sent[owner as usize] += one;
            self.counts.contacts_dropped[owner as usize] += one * u64::from(lost);
        }
    }

    fn owner(&self, hash: u64) -> usize {
        let owner = (u128::from(hash) * self.mesh.workers() as u128) >> 64;
        usize::try_from(owner).expect("below the number of workers")
    }

    /// Which contacts like this one are all here.
    #[inline]
    pub(super) fn owned(&self, contact: &Contact) -> Owned {
        if self.mesh.workers() == 1 {
            let (pair, source) = (true, self.by_source);
            return Owned { pair, source };
        }
        let is_here = |hash| self.owner(hash) == self.id;
        Owned {
            pair: is_here(contact.pair),
            source: self.by_source && is_here(self.owner_hash.source(contact.src)),
        }
    }
}

fn contact(
    src: IpAddr,
    dst: IpAddr,
    port: u16,
    kind: ContactKind,
    packet: &Packet,
    at: &At<'_>,
) -> Contact {
    Contact {
        position: at.position,
        ts_ns: packet.ts_ns,
        pair: 0,
        src,
        dst,
        port,
        interface: packet.interface,
        number: 0,
        kind,
    }
}

fn place(when: When, one: &Pending, at: &At<'_>, number: u16) -> (u64, Step) {
    match when {
        When::Packet | When::End => (at.position, Step::Frame(number, one.packet.ts_ns)),
        When::Deadline(deadline) => (at.timeline.position_of(deadline), Step::Timer(deadline)),
    }
}
