//! The state that one worker owns, and a frame's way through it: decode → flow → inspect → outbox.

pub mod contacts;
pub mod outbox;
pub mod policy;

use crate::books::horizons::Horizons;
use crate::books::shard::ShardCounts;
use crate::capture::bpf::fanout::{self, Keys};
use crate::capture::frame::{Class, Frame};
use crate::decode::packet::{Packet, Reach, Tcp, Transport};
use crate::decode::{self};
use crate::flow::key::Hasher;
use crate::flow::record::{FlowEvent, Outcome, When};
use crate::flow::{Flows, Limits, Lookup};
use crate::inspect::contact::{Contact, ContactKind};
use crate::inspect::port_scan::{PortScan, Rule};
use crate::log::event::{Body, Event, Step};
use crate::log::fold::Folds;
use crate::log::queue::Producer;
use crate::shard::contacts::Mesh;
use crate::shard::outbox::Outbox;
use crate::shard::policy::Policy;
use crate::time::timeline::{At, Timeline};
use std::net::IpAddr;

/// Live: timers that one settlement moves or ends. More than twice the frames between two settlements, so
/// that a flood's own timers never pile up.
const SWEEP_STEPS_MAX: usize = 16_384;

/// Frames that are decoded before the first of them is looked up: what one needs from memory comes while the
/// others are read.
const BATCH: usize = 32;

/// Contacts taken from the queues at once.
const CONTACTS: usize = 128;

/// Contacts between one that is decided on and one whose pair is asked for.
const CONTACTS_AHEAD: usize = 16;

/// A packet whose lines of memory are on their way.
#[derive(Clone, Copy)]
struct Pending {
    packet: Packet,
    lookup: Lookup,
    position: u64,
    watermark_ns: i64,
    /// The witness's filter reaches it.
    in_reach: Option<bool>,
}

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
    /// The scan rule and its room.
    pub rule: Rule,
    /// What is asked for.
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

/// One shard.
pub struct Shard {
    id: usize,
    keys: Keys,
    owner_hash: Hasher,
    /// Connections.
    pub flows: Flows,
    /// The detector.
    pub port_scan: PortScan,
    /// What is asked for; the worker renews it when addresses change.
    pub policy: Policy,
    mesh: Mesh,
    pending: Vec<Pending>,
    contacts: Vec<Contact>,
    /// What waits for the log.
    pub outbox: Outbox,
    /// What it did.
    pub counts: ShardCounts,
}

impl Shard {
    /// Takes all its memory.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            id,
            keys,
            table_keys,
            flows,
            rule,
            policy,
            mesh,
            flow_records,
            log,
            folds,
            live,
        } = parts;
        let mut flows = Flows::new(flows, table_keys);
        flows.tell_ends(flow_records);
        Self {
            id,
            keys,
            owner_hash: Hasher::new([table_keys[0], !table_keys[1]]),
            flows,
            port_scan: PortScan::new(rule),
            policy,
            mesh,
            pending: Vec::with_capacity(BATCH),
            contacts: Vec::with_capacity(CONTACTS),
            outbox: Outbox::new(log, folds, live),
            counts: ShardCounts::default(),
        }
    }

    /// Bytes of what a shard holds beside its tables, `events_max` events of each kind among them.
    pub fn memory_bytes(events_max: usize) -> u64 {
        Outbox::memory_bytes(events_max)
            + (BATCH * size_of::<Pending>() + CONTACTS * size_of::<Contact>()) as u64
    }

    /// Writes to every page of its tables and queues, so that no packet waits for one. For live runs,
    /// before the first packet.
    pub fn prefault(&mut self) {
        self.flows.prefault();
        self.port_scan.prefault();
        self.mesh.prefault();
        self.outbox.prefault();
    }

    /// What it has said: the worker tells it what is shed.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Reads one frame.
    pub fn on_frame(&mut self, frame: &Frame<'_>, at: &At<'_>) {
        self.counts.frames += 1;
        if let Some(ring) = at.ring {
            self.check_member(frame, ring);
        }
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
            Err(why) => {
                // Cut by our own filter, it may have been anything.
                let cut = frame.bytes.len() < frame.wire_len as usize;
                self.counts.frames_cut_by_depth +=
                    u64::from(cut && why.is_truncated() && self.outbox.is_live());
                self.counts.on_unread(why);
            }
        }
    }

    /// Keeps a packet until the batch is full.
    #[inline(always)]
    fn hold(&mut self, packet: Packet, frame: &Frame<'_>, at: &At<'_>) {
        self.counts.packets += 1;
        self.counts.late_packets += u64::from(packet.ts_ns < at.watermark_ns);
        self.pending.push(Pending {
            packet,
            lookup: self.flows.announce(&packet),
            position: at.position,
            watermark_ns: at.watermark_ns,
            in_reach: self.outbox.in_reach(frame, &packet),
        });
        if self.pending.len() == BATCH {
            self.look_up(&at.timeline);
        }
    }

    /// Looks up the packets that were decoded, in their order.
    fn look_up(&mut self, timeline: &Timeline<'_>) {
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

    #[inline(never)]
    fn check_member(&mut self, frame: &Frame<'_>, ring: Class) {
        let workers = u32::try_from(self.mesh.workers()).expect("at most 64");
        let (class, worker) = fanout::demux(&self.keys, frame).member(workers);
        if (class, worker as usize) != (ring, self.id) {
            self.counts.misrouted_frames += 1;
        }
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
        let owner = (u128::from(contact.pair) * self.mesh.workers() as u128) >> 64;
        self.mesh.send(
            usize::try_from(owner).expect("below the number of workers"),
            contact,
        );
    }

    /// Says that all frames at or before `position` were read.
    pub fn publish_contacts(&mut self, position: u64, timeline: &Timeline<'_>) {
        self.look_up(timeline);
        self.outbox.tell_reached(timeline.watermark_at(position));
        self.mesh.publish(position);
    }

    /// The position whose contacts have all been sent, by every worker.
    pub fn contacts_limit(&self) -> u64 {
        self.mesh.limit()
    }

    /// Decides on the contacts up to `limit`, ends what is due at `watermark_ns`, and hands the log all
    /// events up to `limit`. Live, only so many flows end at once; false while some are left.
    pub fn settle(&mut self, limit: u64, watermark_ns: i64, timeline: &Timeline<'_>) -> bool {
        self.decide(limit, watermark_ns, timeline);
        let Self {
            outbox,
            counts,
            flows,
            ..
        } = self;
        outbox.close_folds(watermark_ns, counts);
        outbox.sort();
        let steps_max = if outbox.is_live() {
            SWEEP_STEPS_MAX
        } else {
            usize::MAX
        };
        let unswept_ns = flows.expire_some(watermark_ns, steps_max, &mut |when, event| {
            if let (FlowEvent::Ended(record), When::Deadline(deadline)) = (event, when) {
                let event = Event {
                    position: timeline.position_of(deadline),
                    step: Step::Timer(deadline),
                    body: Body::Flow(record),
                };
                outbox.push_in_order(event, counts);
            }
        });
        // What is not swept yet may still say something at its deadline: the log waits for that.
        let limit = unswept_ns.map_or(limit, |deadline| {
            limit.min(timeline.position_of(deadline).saturating_sub(1))
        });
        outbox.push_until(limit, counts);
        outbox.publish(limit);
        self.take_counts();
        unswept_ns.is_none()
    }

    /// Decides on the contacts up to `limit` and ends the scans that are over at `watermark_ns`.
    fn decide(&mut self, limit: u64, watermark_ns: i64, timeline: &Timeline<'_>) {
        let Self {
            mesh,
            port_scan,
            outbox,
            counts,
            policy,
            contacts,
            ..
        } = self;
        port_scan.contact_lost_ns = mesh
            .newest_lost()
            .map(|position| timeline.watermark_at(position));
        loop {
            contacts.clear();
            mesh.take(limit, CONTACTS, contacts);
            if contacts.is_empty() {
                break;
            }
            for contact in contacts.iter().take(CONTACTS_AHEAD) {
                port_scan.announce(contact);
            }
            for (index, contact) in contacts.iter().enumerate() {
                if let Some(soon) = contacts.get(index + CONTACTS_AHEAD) {
                    port_scan.announce(soon);
                }
                let target = policy.scan_target(contact.dst);
                port_scan.on_contact(contact, target, timeline, &mut |found| {
                    let step = Step::Contact(u16::from(contact.number), contact.ts_ns);
                    let place = (contact.position, step);
                    outbox.hold_detection(found, place, (policy, timeline), counts);
                });
            }
        }
        port_scan.expire(watermark_ns, &mut |found| {
            outbox.hold_detection(
                found,
                (limit, Step::End(watermark_ns)),
                (policy, timeline),
                counts,
            );
        });
    }

    /// Copies what the parts count to where others see it.
    fn take_counts(&mut self) {
        let Self {
            mesh,
            port_scan,
            counts,
            flows,
            outbox,
            ..
        } = self;
        counts.contacts_sent = mesh.sent;
        counts.contacts_merged = mesh.merged;
        counts.contacts_dropped = mesh.dropped;
        counts.flow = *flows.counts();
        counts.port_scan = port_scan.counts;
        counts.horizons = Horizons::new(flows.dedup_horizon_ns(), port_scan.detectable_gap_ns());
        let [attempts, established, others] = flows.held();
        counts.connections_folding = outbox.folding();
        counts.held =
            [attempts, established, others, port_scan.occupancy().0].map(|held| held as u64);
    }

    /// Ends what is open and closes the log queue. No packet waits for this shard any more, so it waits for
    /// the logger: a table full of open flows ends at once, and no queue holds them all.
    pub fn finish(&mut self, position: u64, timeline: &Timeline<'_>) {
        let Self {
            port_scan,
            outbox,
            counts,
            policy,
            flows,
            ..
        } = self;
        let place = (position, Step::End(timeline.watermark_at(position)));
        port_scan.finish(&mut |(_, detection)| {
            outbox.hold_detection((None, detection), place, (policy, timeline), counts);
        });
        outbox.wait_for_log();
        outbox.close_all_folds(place, counts);
        outbox.sort();
        flows.finish(&mut |_, event| {
            if let FlowEvent::Ended(record) = event {
                let event = Event {
                    position,
                    step: place.1,
                    body: Body::Flow(record),
                };
                outbox.push_in_order(event, counts);
            }
        });
        outbox.push_until(u64::MAX, counts);
        counts.connections_folding = outbox.folding();
        counts.flow = *flows.counts();
        counts.port_scan = port_scan.counts;
        outbox.close();
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
