//! The state that one worker owns, and a frame's way through it: decode → flow → inspect → outbox.

pub mod contacts;
mod decide;
pub mod outbox;
mod owners;
mod placement;
pub mod policy;

use crate::books::shard::ShardCounts;
use crate::capture::bpf::fanout::Keys;
use crate::capture::frame::{Class, Frame};
use crate::decode::packet::{Packet, Reach, Tcp};
use crate::decode::{self, Unread};
use crate::flow::key::Hasher;
use crate::flow::record::{FlowEvent, Outcome, When};
use crate::flow::{Flows, Limits, Lookup};
use crate::inspect::contact::{Contact, ContactKind, Owner};
use crate::inspect::{Detectors, Rules};
use crate::log::event::{Body, Event, Step};
use crate::log::fold::Folds;
use crate::log::merge::Producer;
use crate::shard::contacts::Mesh;
use crate::shard::outbox::Outbox;
use crate::shard::policy::Policy;
use crate::time::timeline::Timeline;
use decide::CONTACTS;
use owners::Owners;
use placement::Placement;
use std::net::IpAddr;

/// Frames that are decoded before the first of them is looked up: prefetches need that time.
const BATCH: usize = 32;

/// What a shard is made of.
pub struct Parts {
    /// Its number.
    pub id: usize,
    /// Keys of the fanout hash.
    pub keys: Keys,
    /// Keys of the tables and of the owners' hash; the same in every shard.
    pub table_keys: [u64; 2],
    /// Room for flows.
    pub flows: Limits,
    /// The rules of the detectors and their room.
    pub rules: Rules,
    /// What the operator asked to see.
    pub policy: Policy,
    /// Its ends of the contact queues.
    pub mesh: Mesh,
    /// Whether any output asks for the records of ended flows.
    pub flow_records: bool,
    /// Its end of the log queue.
    pub log: Producer,
    /// Live: which attempts are folded before they come to the log.
    pub folds: Option<Folds>,
    /// Live: a full log queue is counted, never waited for.
    pub live: bool,
}

/// A frame's place in the log and the packet time at it.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// `read`: the frame's number. Live: its time stamp as a position.
    pub position: u64,
    /// The newest time stamp up to and with this frame.
    pub watermark_ns: i64,
    /// Maps deadlines to positions.
    pub timeline: Timeline<'a>,
    /// The ring it came from, where rings are by class.
    pub ring: Option<Class>,
}

/// A packet whose lines of memory are being prefetched.
#[derive(Clone, Copy)]
struct Pending {
    packet: Packet,
    lookup: Lookup,
    position: u64,
    watermark_ns: i64,
    /// The witness's filter reaches it.
    in_reach: Option<bool>,
}

/// One shard.
pub struct Shard {
    placement: Placement,
    owners: Owners,
    /// Connections.
    pub flows: Flows,
    /// The detectors.
    pub detectors: Detectors,
    /// What the operator asked to see; the worker renews it when addresses change.
    pub policy: Policy,
    pending: Vec<Pending>,
    contacts: Vec<Contact>,
    /// Events held for the log.
    pub outbox: Outbox,
    /// Its counters.
    pub counts: ShardCounts,
}

impl Shard {
    /// Reads one frame.
    pub fn on_frame(&mut self, frame: &Frame<'_>, at: &At<'_>) {
        self.counts.frames += 1;
        // Two ways, so that a packet of the commonest kind is built where it is held.
        match decode::commonest(frame) {
            Some(packet) => self.hold(packet, frame, at),
            None => self.on_other_frame(frame, at),
        }
    }

    #[inline(never)]
    fn on_other_frame(&mut self, frame: &Frame<'_>, at: &At<'_>) {
        match decode::packet(frame) {
            Ok(packet) => self.hold(packet, frame, at),
            Err(why) => self.on_unread(why, frame, at),
        }
    }

    fn on_unread(&mut self, why: Unread, frame: &Frame<'_>, at: &At<'_>) {
        if let Some(ring) = at.ring {
            let misrouted = self.placement.is_misrouted(frame, None, ring);
            self.counts.misrouted_frames += u64::from(misrouted);
        }
        // Cut by our own filter, it may have been anything.
        let cut = frame.bytes.len() < frame.wire_len as usize;
        self.counts.frames_cut_by_depth +=
            u64::from(cut && why.is_truncated() && self.outbox.is_live());
        self.counts.unread_frames[why.index()] += 1;
    }

    /// Keeps a packet until the batch is full.
    #[inline(always)]
    fn hold(&mut self, packet: Packet, frame: &Frame<'_>, at: &At<'_>) {
        self.counts.packets += 1;
        self.counts.late_packets += u64::from(packet.ts_ns < at.watermark_ns);
        self.pending.push(Pending {
            packet,
            lookup: self.flows.prefetch(&packet),
            position: at.position,
            watermark_ns: at.watermark_ns,
            in_reach: self.outbox.in_reach(frame, &packet),
        });
        if let Some(ring) = at.ring {
            // The packet where it lies: a copy would cost more than the check.
            let packet = self.pending.last().map(|pending| &pending.packet);
            let misrouted = self.placement.is_misrouted(frame, packet, ring);
            self.counts.misrouted_frames += u64::from(misrouted);
        }
        if self.pending.len() == BATCH {
            self.look_up(&at.timeline);
        }
    }

    /// Hands the packets of the batch to the flow stage, in their order.
    fn look_up(&mut self, timeline: &Timeline<'_>) {
        let mut pending = std::mem::take(&mut self.pending);
        for Pending { packet, lookup, .. } in &mut pending {
            self.flows.prefetch_entries(packet, lookup);
        }
        let decides = self.owners.all_here().is_some();
        let mut touches = std::mem::take(&mut self.contacts);
        for one in &pending {
            self.flows.prefetch_elsewhere(&one.packet, &one.lookup);
            if let Some(tcp) = one.packet.tcp()
                && tcp.is_touch()
            {
                let touch = self.touch(&one.packet, tcp.dst_port, one.position);
                if decides {
                    self.detectors.prefetch(&touch);
                }
                touches.push(touch);
            }
        }
        let mut next = touches.iter();
        for one in &pending {
            if one.packet.tcp().is_some_and(Tcp::is_touch)
                && let Some(touch) = next.next()
            {
                self.give(*touch, timeline);
            }
            self.on_packet(one, timeline);
        }
        touches.clear();
        self.contacts = touches;
        pending.clear();
        self.pending = pending;
    }

    /// The contact of a SYN.
    fn touch(&mut self, packet: &Packet, port: u16, position: u64) -> Contact {
        if packet.reach != Reach::Plain {
            self.counts.syn_outside_class[packet.reach as usize] += 1;
        }
        let ends = (packet.src, packet.dst, port);
        self.contact(ends, ContactKind::Touch, packet, position)
    }

    fn on_packet(&mut self, one: &Pending, timeline: &Timeline<'_>) {
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
        let joined = flows.on_packet(packet, lookup, one.watermark_ns, &mut |when, event| {
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
                    let place = place(when, one, timeline, number);
                    return outbox.hold_attempt(place, attempt, one.in_reach, counts);
                }
                FlowEvent::Ended(record) => Body::Flow(record),
            };
            let (position, step) = place(when, one, timeline, number);
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
            let ends = (tuple.src, tuple.dst, tuple.dst_port);
            let number = 1;
            let contact = Contact {
                number,
                ..self.contact(ends, kind, packet, one.position)
            };
            self.give(contact, timeline);
        }
        if let Some(tcp) = joined
            && tcp.is_touch()
        {
            let reach = Reach::Joined;
            let joined = Packet { reach, ..*packet };
            let touch = self.touch(&joined, tcp.dst_port, one.position);
            self.give(touch, timeline);
        }
    }

    fn contact(
        &self,
        (src, dst, port): (IpAddr, IpAddr, u16),
        kind: ContactKind,
        packet: &Packet,
        position: u64,
    ) -> Contact {
        Contact {
            position,
            ts_ns: packet.ts_ns,
            pair: self.owners.pair(src, self.policy.scan_target(dst)),
            src,
            dst,
            port,
            interface: packet.interface,
            number: 0,
            kind,
        }
    }

    /// Publishes that all frames at or before `position` were read.
    pub fn publish_contacts(&mut self, position: u64, timeline: &Timeline<'_>) {
        self.look_up(timeline);
        self.outbox
            .publish_reported(timeline.watermark_at(position));
        self.owners.mesh.publish(position);
    }

    /// The position up to which every worker has sent its contacts.
    pub fn contacts_limit(&self) -> u64 {
        self.owners.mesh.limit()
    }

    /// Takes all its memory.
    pub fn new(parts: Parts) -> Self {
        let [first, second] = parts.table_keys;
        let mut flows = Flows::new(parts.flows, parts.table_keys);
        flows.record_ends(parts.flow_records);
        let hash = Hasher::new([first, !second]);
        let by_source = parts.rules.need(Owner::Source);
        Self {
            placement: Placement {
                keys: parts.keys,
                worker: parts.id,
                workers: u32::try_from(parts.mesh.workers()).expect("at most 64"),
                others: 0,
            },
            owners: Owners::new(parts.id, hash, by_source, parts.mesh),
            flows,
            detectors: Detectors::new(parts.rules, hash),
            policy: parts.policy,
            pending: Vec::with_capacity(BATCH),
            contacts: Vec::with_capacity(CONTACTS),
            outbox: Outbox::new(parts.log, parts.folds, parts.live),
            counts: ShardCounts::default(),
        }
    }

    /// Bytes of what a shard holds beside its tables, `events_max` events of each kind among them.
    pub fn memory_bytes(events_max: usize) -> u64 {
        Outbox::memory_bytes(events_max)
            + (BATCH * size_of::<Pending>() + CONTACTS * size_of::<Contact>()) as u64
    }

    /// Touches every page of its tables and queues. For live runs, before the first packet.
    pub fn prefault(&mut self) {
        self.flows.prefault();
        self.detectors.prefault();
        self.owners.mesh.prefault();
        self.outbox.prefault();
    }
}

fn place(when: When, one: &Pending, timeline: &Timeline<'_>, number: u16) -> (u64, Step) {
    match when {
        When::Packet | When::End => (one.position, Step::Frame(number, one.packet.ts_ns)),
        When::Deadline(deadline) => (timeline.position_of(deadline), Step::Timer(deadline)),
    }
}
