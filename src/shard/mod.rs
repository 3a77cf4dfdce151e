//! The state that one worker owns, and a frame's way through it: decode → flow → inspect → outbox.

mod at;
mod batch;
pub mod contacts;
mod decide;
pub mod outbox;
pub mod policy;

use crate::books::shard::ShardCounts;
use crate::capture::bpf::fanout::{self, Demux, Keys};
use crate::capture::frame::{Class, Frame};
use crate::decode::{self, Packet};
use crate::flow::key::Hasher;
use crate::flow::{Flows, Limits};
use crate::inspect::contact::{Contact, Owner};
use crate::inspect::{Detectors, Rules};
use crate::log::fold::Folds;
use crate::log::queue::Producer;
use crate::shard::contacts::Mesh;
use crate::shard::outbox::Outbox;
use crate::shard::policy::Policy;
use crate::time::timeline::Timeline;
pub use at::At;
use batch::{BATCH, Pending};
use decide::CONTACTS;

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
    /// What looks at contacts.
    pub detectors: Detectors,
    /// A rule needs all contacts of a source at one place.
    by_source: bool,
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
            rules,
            policy,
            mesh,
            flow_records,
            log,
            folds,
            live,
        } = parts;
        let mut flows = Flows::new(flows, table_keys);
        flows.tell_ends(flow_records);
        let owner_hash = Hasher::new([table_keys[0], !table_keys[1]]);
        Self {
            id,
            keys,
            owner_hash,
            flows,
            detectors: Detectors::new(rules, owner_hash),
            by_source: rules.need(Owner::Source),
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
        self.detectors.prefault();
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
                if let Some(ring) = at.ring {
                    self.count_misrouted(fanout::demux(&self.keys, frame), ring);
                }
                // Cut by our own filter, it may have been anything.
                let cut = frame.bytes.len() < frame.wire_len as usize;
                self.counts.frames_cut_by_depth +=
                    u64::from(cut && why.is_truncated() && self.outbox.is_live());
                self.counts.on_unread(why);
            }
        }
    }

    /// Live: whether the kernel put the frame where the fanout program does. What decoding found of a whole segment
    /// says so; the headers of other frames are read once more.
    #[inline(never)]
    fn check_member(&mut self, frame: &Frame<'_>, ring: Class) {
        let segment = self.newest().and_then(Packet::as_whole_segment);
        let place = match segment {
            Some((ends, tcp)) => {
                let ports = (tcp.src_port, tcp.dst_port);
                fanout::segment(&self.keys, ends, ports, tcp.flags)
            }
            None => fanout::demux(&self.keys, frame),
        };
        self.count_misrouted(place, ring);
    }

    fn count_misrouted(&mut self, place: Demux, ring: Class) {
        let workers = u32::try_from(self.mesh.workers()).expect("at most 64");
        let (class, worker) = place.member(workers);
        self.counts.misrouted_frames += u64::from((class, worker as usize) != (ring, self.id));
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
}
