//! The state that one worker owns, and a frame's way through it: decode → flow → inspect → outbox.

pub mod contacts;
mod decide;
pub mod outbox;
mod outcomes;
mod owners;
mod placement;
pub mod policy;

use crate::books::shard::ShardCounts;
use crate::capture::bpf::fanout::Keys;
use crate::capture::frame::{Class, Frame};
use crate::decode::key::Key;
use crate::decode::packet::Packet;
use crate::decode::{self, Headers, Unread};
use crate::flow::key::Hasher;
use crate::flow::record::{FlowEvent, Waited, When};
use crate::flow::{Flows, Limits, Lookup, OUTCOMES_MAX};
use crate::inspect::contact::Contact;
use crate::inspect::{Detectors, Rules};
use crate::log::event::{Body, Event, Step};
use crate::log::fold::Folds;
use crate::log::merge::Producer;
use crate::shard::contacts::Mesh;
use crate::shard::outbox::Outbox;
use crate::shard::policy::Policy;
use crate::time::timeline::Timeline;
use decide::CONTACTS;
use outcomes::MadeOutcome;
use owners::Owners;
use placement::Placement;

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
    /// VLAN identifiers are a part of keys.
    pub by_vlan: bool,
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
#[derive(Clone, Copy, Default)]
struct Pending {
    /// Of a packet of another kind only time, interface and tags of the key.
    headers: Headers,
    /// `None`: another kind of packet, the next one of `others`.
    lookup: Option<Lookup>,
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
    /// Always [`BATCH`] places, the first `held` of which are taken.
    pending: Vec<Pending>,
    held: usize,
    /// Pending packets that are no TCP segments and no UDP datagrams.
    others: Vec<Packet>,
    contacts: Vec<Contact>,
    /// Outcomes that are not handed over yet.
    outcomes: Vec<MadeOutcome>,
    /// Contacts of packets that waited.
    late: Vec<Contact>,
    /// Events held for the log.
    pub outbox: Outbox,
    /// Its counters.
    pub counts: ShardCounts,
}

impl Shard {
    /// Reads one frame.
    pub fn on_frame(&mut self, frame: &Frame<'_>, at: &At<'_>) {
        self.counts.frames += 1;
        let headers = &mut self.pending[self.held].headers;
        if headers.read_plain(frame) {
            self.hold(frame, at);
        } else {
            self.on_other_frame(frame, at);
        }
    }

    #[inline(never)]
    fn on_other_frame(&mut self, frame: &Frame<'_>, at: &At<'_>) {
        let packet = match decode::packet(frame) {
            Ok(packet) => packet,
            Err(why) => return self.on_unread(why, frame, at),
        };
        let headers = &mut self.pending[self.held].headers;
        if let Some(of) = Headers::of(&packet) {
            *headers = of;
            return self.hold(frame, at);
        }
        *headers = Headers {
            ts_ns: packet.ts_ns,
            interface: packet.interface,
            key: self.flows.key(&packet, Key::default()),
            ..Headers::default()
        };
        self.others.push(packet);
        self.hold_with(None, frame, at);
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

    /// Keeps the headers that were read into the next pending place.
    #[inline(always)]
    fn hold(&mut self, frame: &Frame<'_>, at: &At<'_>) {
        let lookup = self.flows.prefetch(&mut self.pending[self.held].headers);
        self.hold_with(Some(lookup), frame, at);
    }

    /// Keeps a packet until the batch is full.
    #[inline(always)]
    fn hold_with(&mut self, lookup: Option<Lookup>, frame: &Frame<'_>, at: &At<'_>) {
        let one = &mut self.pending[self.held];
        self.held += 1;
        self.counts.packets += 1;
        self.counts.late_packets += u64::from(one.headers.ts_ns < at.watermark_ns);
        one.lookup = lookup;
        one.position = at.position;
        one.watermark_ns = at.watermark_ns;
        one.in_reach = self.outbox.in_reach(frame, &one.headers);
        if let Some(ring) = at.ring {
            let headers = lookup.map(|_| &one.headers);
            let misrouted = self.placement.is_misrouted(frame, headers, ring);
            self.counts.misrouted_frames += u64::from(misrouted);
        }
        if self.held == BATCH {
            self.look_up(&at.timeline);
        }
    }

    /// Hands the packets of the batch to the flow stage, in their order.
    fn look_up(&mut self, timeline: &Timeline<'_>) {
        let mut places = std::mem::take(&mut self.pending);
        let pending = &mut places[..self.held];
        for one in &mut *pending {
            if let Some(lookup) = &mut one.lookup {
                self.flows.prefetch_entries(&one.headers, lookup);
            }
        }
        let decides = self.owners.sole_owner().is_some();
        let mut touches = std::mem::take(&mut self.contacts);
        for one in &*pending {
            if one.headers.is_touch() {
                let touch = self.touch(&one.headers, one.position);
                if decides {
                    self.detectors.prefetch(&touch);
                }
                touches.push(touch);
            } else if let Some(lookup) = &one.lookup {
                self.flows.prefetch_elsewhere(&one.headers, lookup);
            }
        }
        let others = std::mem::take(&mut self.others);
        let (mut next_touch, mut next_other) = (touches.iter(), others.iter());
        if decides {
            for touch in &touches {
                let is_united = || self.policy.is_united(touch.dst());
                self.detectors.prefetch_rules(touch, is_united);
            }
        }
        for one in &*pending {
            if self.flows.is_wait_over(one.watermark_ns) {
                self.release_waiting(one.watermark_ns, one.position, timeline);
            }
            if one.headers.is_touch() {
                let touch = next_touch.next().expect("one of each touch");
                self.hand_over(touch, timeline);
                if self.open_attempt(one) {
                    continue;
                }
            } else if let Some(lookup) = &one.lookup
                && (self.flows).add_to_open(&one.headers, lookup, one.watermark_ns)
            {
                continue;
            }
            let other = match one.lookup {
                Some(_) => None,
                None => next_other.next(),
            };
            self.on_packet(one, other, timeline);
        }
        (self.contacts, self.others, self.pending) = (touches, others, places);
        self.contacts.clear();
        self.others.clear();
        self.held = 0;
    }

    /// Takes a SYN that only opens an attempt. False: nothing was done.
    fn open_attempt(&mut self, one: &Pending) -> bool {
        let (syn, counts) = (&one.headers, &mut self.counts);
        let Some(lookup) = &one.lookup else {
            return false;
        };
        if !self.flows.open_attempt(syn, lookup, one.watermark_ns) {
            return false;
        }
        if self.policy.wants_direction(syn.key.src(), syn.key.dst()) {
            let place = (one.position, Step::Frame(1, syn.ts_ns));
            self.outbox.hold_attempt(place, syn, one.in_reach, counts);
        } else {
            counts.connections_not_asked += 1;
            self.outbox.not_asked(&syn.into(), one.in_reach);
        }
        true
    }

    /// Hands a packet to the flow stage, and what happens to the outbox and the owners. `other`: no TCP segment and no
    /// UDP datagram.
    fn on_packet(&mut self, one: &Pending, other: Option<&Packet>, timeline: &Timeline<'_>) {
        let Self {
            flows,
            outbox,
            counts,
            policy,
            ..
        } = self;
        let mut outcomes = std::mem::take(&mut self.outcomes);
        let mut number = 0;
        let out = &mut |when, event| {
            number += 1;
            let body = match event {
                FlowEvent::Outcome {
                    tuple,
                    outcome,
                    waited,
                } => {
                    return outcomes.push(MadeOutcome {
                        tuple,
                        outcome,
                        when,
                        waited,
                    });
                }
                FlowEvent::Attempt(attempt) => {
                    let (src, dst) = (attempt.tuple.src.into(), attempt.tuple.dst.into());
                    if !policy.wants_direction(src, dst) {
                        counts.connections_not_asked += 1;
                        return outbox.not_asked(&attempt, one.in_reach);
                    }
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
        };
        let joined = match (&one.lookup, other) {
            (Some(lookup), _) => {
                flows.on_headers(&one.headers, lookup, one.watermark_ns, out);
                None
            }
            (None, Some(packet)) => flows.on_packet(packet, one.watermark_ns, out),
            (None, None) => None,
        };
        let packet = Waited::from(&one.headers);
        for made in &outcomes {
            let contact = self.contact_of(made, &packet, one.position, timeline);
            self.hand_over(&contact, timeline);
        }
        outcomes.clear();
        self.outcomes = outcomes;
        if let Some(syn) = joined {
            let touch = self.touch(&syn, one.position);
            self.hand_over(&touch, timeline);
        }
    }

    /// Publishes that all frames at or before `position` were read.
    pub fn publish_contacts(&mut self, position: u64, timeline: &Timeline<'_>) {
        self.look_up(timeline);
        let watermark_ns = timeline.watermark_at(position);
        if self.flows.is_wait_over(watermark_ns) {
            self.release_waiting(watermark_ns, position, timeline);
        }
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
        if parts.by_vlan {
            flows.key_by_vlan();
        }
        let hash = Hasher::new([first, !second]);
        // `read` prints the same whatever the keys.
        let evidence_key = if parts.live { first ^ second } else { 0 };
        Self {
            placement: Placement {
                keys: parts.keys,
                worker: parts.id,
                workers: u32::try_from(parts.mesh.workers()).expect("at most 64"),
                others: 0,
            },
            owners: Owners::new(parts.id, hash, &parts.rules, parts.mesh),
            flows,
            detectors: Detectors::new(parts.rules, hash, evidence_key),
            policy: parts.policy,
            pending: vec![Pending::default(); BATCH],
            held: 0,
            others: Vec::with_capacity(BATCH),
            contacts: Vec::with_capacity(CONTACTS),
            outcomes: Vec::with_capacity(OUTCOMES_MAX),
            late: Vec::with_capacity(OUTCOMES_MAX),
            outbox: Outbox::new(parts.log, parts.folds, parts.live),
            counts: ShardCounts::default(),
        }
    }

    /// Bytes of what a shard holds beside its tables, `events_max` events of each kind among them.
    pub fn memory_bytes(events_max: usize) -> u64 {
        Outbox::memory_bytes(events_max)
            + (BATCH * size_of::<(Pending, Packet)>() + CONTACTS * size_of::<Contact>()) as u64
            + (OUTCOMES_MAX * size_of::<(MadeOutcome, Contact)>()) as u64
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
        When::Packet | When::End => (one.position, Step::Frame(number, one.headers.ts_ns)),
        When::Deadline(deadline) => (timeline.position_of(deadline), Step::Timer(deadline)),
    }
}
