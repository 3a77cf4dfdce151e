//! The state that one worker owns, and a frame's way through it: decode → flow → inspect → outbox.

pub mod contacts;
mod decide;
pub mod opening;
pub mod outbox;
mod outcomes;
mod owners;
mod placement;
pub mod policy;
mod snapshot;

use crate::books::shard::ShardCounts;
use crate::capture::bpf::fanout::Keys;
use crate::capture::frame::{Class, Frame};
use crate::decode::key::Key;
use crate::decode::packet::Packet;
use crate::decode::{self, Headers, Unread};
use crate::flow::key::Hasher;
use crate::flow::record::{FlowEvent, Waited, When};
use crate::flow::{Flows, Lane, Limits, Lookup, OUTCOMES_MAX};
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
use opening::Opening;
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
    /// How often a flow that lasts makes an interim record; `None`: never.
    pub active_ns: Option<i64>,
    /// Its end of the log queue.
    pub log: Producer,
    /// Live: which attempts are folded before they come to the log.
    pub folds: Option<Folds>,
    /// Live: a full log queue is counted, never waited for.
    pub live: bool,
    /// VLAN identifiers are a part of keys.
    pub by_vlan: bool,
    /// What happens to frames before they are decoded.
    pub opening: Opening,
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
    lookup: Lookup,
    position: u64,
    watermark_ns: i64,
    /// It came in from outside.
    incoming: bool,
    /// The witness's filter reaches it.
    in_reach: Option<bool>,
}

/// One shard.
pub struct Shard {
    /// What happens to frames before they are decoded.
    pub opening: Opening,
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
    /// Look-ups of pending segments whose flow is not among the established connections.
    elsewhere: Vec<Lookup>,
    /// Pending packets that are no TCP segments and no UDP datagrams.
    others: Vec<Packet>,
    /// Contacts of pending SYNs; always [`BATCH`] places.
    touches: Vec<Contact>,
    /// Contacts taken from the queues.
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
    #[inline(always)]
    pub fn on_frame(&mut self, frame: &Frame<'_>, at: &At<'_>) {
        let mut one = &mut self.pending[self.held];
        if one.headers.read_lean(frame) {
            self.flows.prefetch(&mut one.headers, &mut one.lookup);
        } else {
            if !self.read_ipv6(frame) && !self.read_other(frame, at) {
                return;
            }
            one = &mut self.pending[self.held];
        }
        one.position = at.position;
        one.watermark_ns = at.watermark_ns;
        one.incoming = frame.incoming;
        if self.outbox.has_witness() {
            one.in_reach = self.outbox.in_reach(frame, &one.headers);
        }
        if let Some(ring) = at.ring {
            let headers = (one.lookup.lane != Lane::Other).then_some(&one.headers);
            let misrouted = self.placement.is_misrouted(frame, headers, ring);
            self.counts.misrouted_frames += u64::from(misrouted);
        }
        self.held += 1;
        if self.held == BATCH {
            self.look_up(&at.timeline);
        }
    }

    /// Reads a lean frame of IPv6 into the next place. False: it is none.
    #[inline(never)]
    fn read_ipv6(&mut self, frame: &Frame<'_>) -> bool {
        let one = &mut self.pending[self.held];
        let is_lean = one.headers.read_lean_ipv6(frame);
        if is_lean {
            self.flows.prefetch(&mut one.headers, &mut one.lookup);
        }
        is_lean
    }

    /// Reads what is no lean frame into the next place. False: it holds no packet.
    #[inline(never)]
    fn read_other(&mut self, frame: &Frame<'_>, at: &At<'_>) -> bool {
        let one = &mut self.pending[self.held];
        if one.headers.read_plain(frame) {
            self.flows.prefetch(&mut one.headers, &mut one.lookup);
            return true;
        }
        let packet = match decode::packet(frame) {
            Ok(packet) => packet,
            Err(why) => {
                self.on_unread(why, frame, at);
                return false;
            }
        };
        let one = &mut self.pending[self.held];
        if let Some(of) = Headers::of(&packet) {
            one.headers = of;
            self.flows.prefetch(&mut one.headers, &mut one.lookup);
        } else {
            one.headers = Headers {
                ts_ns: packet.ts_ns,
                interface: packet.interface,
                key: self.flows.key(&packet, Key::default()),
                ..Headers::default()
            };
            one.lookup = Lookup::default();
            self.others.push(packet);
        }
        true
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
        self.counts.frames += 1;
    }

    /// Hands the packets of the batch to the flow stage, in their order.
    #[inline(never)]
    fn look_up(&mut self, timeline: &Timeline<'_>) {
        let mut pending = std::mem::take(&mut self.pending);
        let batch = &mut pending[..self.held];
        self.counts.frames += batch.len() as u64;
        self.counts.packets += batch.len() as u64;
        self.find(batch);
        let contacts = std::mem::take(&mut self.touches);
        let others = std::mem::take(&mut self.others);
        let (mut touches, mut next_other) = (contacts.iter(), others.iter());
        for one in &*batch {
            let now = one.watermark_ns;
            self.counts.late_packets += u64::from(one.headers.ts_ns < now);
            if self.flows.is_wait_over(now) {
                self.release_waiting(now, one.position, timeline);
            }
            // As if-else: a jump by a table costs more than the two commonest lanes together.
            let lane = one.lookup.lane;
            let is_done = if lane == Lane::Segment {
                self.flows.add_segment(&one.headers, &one.lookup, now)
            } else if lane == Lane::Touch {
                let touch = touches.next().expect("one of each touch");
                self.hand_over(touch, timeline);
                self.open_attempt(one)
            } else {
                lane == Lane::Datagram && self.flows.add_datagram(&one.headers, &one.lookup, now)
            };
            if !is_done {
                let other = match lane {
                    Lane::Other => next_other.next(),
                    _ => None,
                };
                if one.incoming && self.is_martian(one, other) {
                    self.flows.note_martian();
                } else {
                    self.on_packet(one, other, timeline);
                }
            }
        }
        (self.touches, self.others, self.pending) = (contacts, others, pending);
        self.others.clear();
        self.held = 0;
    }

    /// Makes the contacts of the batch's SYNs, and prefetches the lines that its packets need.
    #[inline(never)]
    fn find(&mut self, batch: &mut [Pending]) {
        let mut elsewhere = std::mem::take(&mut self.elsewhere);
        let mut touches = 0;
        for one in &mut *batch {
            if self.flows.prefetch_entries(&mut one.lookup) {
                elsewhere.push(one.lookup);
            }
            touches += usize::from(one.lookup.lane == Lane::Touch);
        }
        if touches > 0 {
            self.make_touches(batch);
        }
        for lookup in elsewhere.drain(..) {
            self.flows.prefetch_elsewhere(&lookup);
        }
        self.elsewhere = elsewhere;
    }

    /// Makes the contacts of the batch's SYNs, and prefetches what decides on them.
    #[inline(never)]
    fn make_touches(&mut self, batch: &[Pending]) {
        let mut touches = std::mem::take(&mut self.touches);
        let syns = batch.iter().filter(|one| one.lookup.lane == Lane::Touch);
        let mut made = 0;
        for (place, one) in touches.iter_mut().zip(syns) {
            *place = self.touch(&one.headers, one.position);
            made += 1;
        }
        if self.owners.sole_owner().is_some() {
            for touch in &touches[..made] {
                self.detectors.prefetch(touch);
            }
            for touch in &touches[..made] {
                let is_united = || self.policy.is_united(touch.dst());
                self.detectors.prefetch_rules(touch, is_united);
            }
        }
        self.touches = touches;
    }

    /// Whether a packet that came in from outside claims to be this host's answer, as its source says. Whoever forges
    /// both sides of a handshake proves nothing, and a forged RST refuses nothing. A SYN answers nothing.
    #[inline(never)]
    fn is_martian(&self, one: &Pending, other: Option<&Packet>) -> bool {
        let of_headers = || one.headers.key.src().into();
        let src = other.map_or_else(of_headers, |packet| packet.src);
        one.lookup.lane != Lane::Touch && self.policy.is_this_host(src)
    }

    /// Takes a SYN that only opens an attempt. False: nothing was done.
    #[inline(never)]
    fn open_attempt(&mut self, one: &Pending) -> bool {
        let (syn, counts) = (&one.headers, &mut self.counts);
        if !(self.flows).open_attempt(syn, &one.lookup, one.watermark_ns) {
            return false;
        }
        if self.policy.wants_direction(syn.key.src(), syn.key.dst()) {
            let place = || (one.position, Step::Frame(1, syn.ts_ns));
            self.outbox.hold_attempt(place, syn, one.in_reach, counts);
        } else {
            counts.connections_not_asked += 1;
            self.outbox.not_asked(&syn.into(), one.in_reach);
        }
        true
    }

    /// Hands a packet to the flow stage, and what happens to the outbox and the owners. `other`: no TCP segment and no
    /// UDP datagram.
    #[inline(never)]
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
                    return outbox.hold_attempt(|| place, attempt, one.in_reach, counts);
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
        let joined = match other {
            Some(packet) => flows.on_packet(packet, one.watermark_ns, out),
            None => {
                flows.on_headers(&one.headers, &one.lookup, one.watermark_ns, out);
                None
            }
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
        if let Some(every_ns) = parts.active_ns {
            flows.report_parts(every_ns, !parts.live);
        }
        if parts.by_vlan {
            flows.key_by_vlan();
        }
        let hash = Hasher::new([first, !second]);
        // `read` prints the same whatever the keys.
        let evidence_key = if parts.live { first ^ second } else { 0 };
        Self {
            opening: parts.opening,
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
            elsewhere: Vec::with_capacity(BATCH),
            others: Vec::with_capacity(BATCH),
            touches: vec![Contact::default(); BATCH],
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
            + (BATCH * size_of::<(Pending, Packet, Lookup, Contact)>()
                + CONTACTS * size_of::<Contact>()) as u64
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
