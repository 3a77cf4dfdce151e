//! The books: plain counters, one writer each, and the identities they obey.

use crate::decode::Unread;
use crate::decode::packet::Reach;
use crate::flow::FlowCounts;
use crate::inspect::port_scan::PortScanCounts;
use crate::log::event::Body;
use crate::log::notice::EventKind;
use crate::log::outputs::Counts;

/// What one shard did. One writer; copied out whole.
#[derive(Clone, Copy, Debug)]
pub struct ShardCounts {
    /// Frames handed to the shard.
    pub frames: u64,
    /// Frames that decode could read.
    pub packets: u64,
    /// Frames that it could not, by cause.
    pub unread: [u64; Unread::COUNT],
    /// Frames in a ring other than the fanout program's choice.
    pub misrouted: u64,
    /// Packets stamped before the packet time reached so far.
    pub late: u64,
    /// SYNs without ACK that came by another class than `open`, by reach.
    pub syn_outside_class: [u64; Reach::COUNT],
    /// Attempts in a direction that was not asked for.
    pub attempts_not_asked: u64,
    /// Detections raised: rising edges, doublings, summaries.
    pub detections: u64,
    /// Of those, in a direction that was not asked for.
    pub detections_out_of_scope: u64,
    /// Of those, about a source that `--allow` names.
    pub detections_allowed: u64,
    /// Contacts handed to owners.
    pub contacts_sent: u64,
    /// Contacts taken by this shard as owner.
    pub contacts_merged: u64,
    /// Contacts for which an owner's queue had no room.
    pub contacts_dropped: u64,
    /// Attempts for which there was no logger any more.
    pub attempts_log_gone: u64,
    /// Flow records for which there was no logger any more.
    pub flows_log_gone: u64,
    /// Detections for which there was no logger any more.
    pub detections_log_gone: u64,
    /// Entries held now: attempts, established, other flows, pairs.
    pub held: [u64; 4],
    /// The flow stage.
    pub flow: FlowCounts,
    /// The detector.
    pub port_scan: PortScanCounts,
}

impl Default for ShardCounts {
    fn default() -> Self {
        Self {
            frames: 0,
            packets: 0,
            unread: [0; Unread::COUNT],
            misrouted: 0,
            late: 0,
            syn_outside_class: [0; Reach::COUNT],
            attempts_not_asked: 0,
            detections: 0,
            detections_out_of_scope: 0,
            detections_allowed: 0,
            contacts_sent: 0,
            contacts_merged: 0,
            contacts_dropped: 0,
            attempts_log_gone: 0,
            flows_log_gone: 0,
            detections_log_gone: 0,
            held: [0; 4],
            flow: FlowCounts::default(),
            port_scan: PortScanCounts::default(),
        }
    }
}

impl ShardCounts {
    /// Counts a frame that could not be read.
    pub fn on_unread(&mut self, why: Unread) {
        self.unread[why.index()] += 1;
    }

    /// Counts an event for which there is no logger any more.
    pub fn on_log_gone(&mut self, body: &Body) {
        match body {
            Body::NewConnection(_) => self.attempts_log_gone += 1,
            Body::Flow(_) => self.flows_log_gone += 1,
            Body::Alert(_) => self.detections_log_gone += 1,
        }
    }

    /// Adds another shard's counters.
    pub fn add(&mut self, other: &Self) {
        for (sum, one) in self.unread.iter_mut().zip(other.unread) {
            *sum += one;
        }
        for (sum, one) in self
            .syn_outside_class
            .iter_mut()
            .zip(other.syn_outside_class)
        {
            *sum += one;
        }
        for (sum, one) in self.held.iter_mut().zip(other.held) {
            *sum += one;
        }
        self.frames += other.frames;
        self.packets += other.packets;
        self.misrouted += other.misrouted;
        self.late += other.late;
        self.attempts_not_asked += other.attempts_not_asked;
        self.detections += other.detections;
        self.detections_out_of_scope += other.detections_out_of_scope;
        self.detections_allowed += other.detections_allowed;
        self.contacts_sent += other.contacts_sent;
        self.contacts_merged += other.contacts_merged;
        self.contacts_dropped += other.contacts_dropped;
        self.attempts_log_gone += other.attempts_log_gone;
        self.flows_log_gone += other.flows_log_gone;
        self.detections_log_gone += other.detections_log_gone;
        self.flow.add(&other.flow);
        self.port_scan.add(&other.port_scan);
    }
}

/// What one ring's socket and its reader say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingCounts {
    /// Interface and class, for people.
    pub name: String,
    /// `tp_packets`: frames that reached the ring, drops included.
    pub tp_packets: u64,
    /// `tp_drops`: frames for which the ring had no room.
    pub tp_drops: u64,
    /// `tp_freeze_q_cnt`: how often the ring was found full.
    pub tp_freezes: u64,
    /// Frames read from its blocks.
    pub frames_read: u64,
    /// Frames returned unread to make room for opening packets.
    pub shed_data: u64,
    /// Frames that its blocks can hold at least, from the smallest frame.
    pub capacity: u64,
}

impl RingCounts {
    /// Adds what another ring of the same name counted.
    pub fn add(&mut self, other: &Self) {
        self.tp_packets += other.tp_packets;
        self.tp_drops += other.tp_drops;
        self.tp_freezes += other.tp_freezes;
        self.frames_read += other.frames_read;
        self.shed_data += other.shed_data;
        self.capacity += other.capacity;
    }
}

/// What one output did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputBooks {
    /// Its `--output`.
    pub name: String,
    /// Its counters.
    pub counts: Counts,
}

impl OutputBooks {
    /// Records of `kind` that are accounted for.
    pub fn settled(&self, kind: EventKind) -> u64 {
        let counts = &self.counts;
        let kind = kind as usize;
        let dropped: u64 = counts.dropped.iter().map(|cause| cause[kind]).sum();
        counts.written[kind] + counts.folded[kind] + counts.not_asked[kind] + dropped
    }

    /// Records written.
    pub fn written(&self) -> u64 {
        self.counts.written.iter().sum()
    }

    /// Records lost.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.iter().flatten().sum()
    }

    /// Kind, written, dropped.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        EventKind::ALL.into_iter().map(|kind| {
            let dropped = self
                .counts
                .dropped
                .iter()
                .map(|cause| cause[kind as usize])
                .sum();
            (kind.word(), self.counts.written[kind as usize], dropped)
        })
    }
}

/// Everything, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// All shards.
    pub shards: ShardCounts,
    /// Live: each ring.
    pub rings: Vec<RingCounts>,
    /// `read`: frames taken from the captures.
    pub frames_offered: Option<u64>,
    /// Each output.
    pub outputs: Vec<OutputBooks>,
    /// Frames lost before the rings, as the host's counters say: NIC and softnet.
    pub nic_drops: u64,
    /// See `nic_drops`.
    pub softnet_drops: u64,
    /// `--capture control`: frames that the filter rejected; `None` when they cannot be counted.
    pub filtered: Option<u64>,
    /// The run is over: what is in flight is nothing.
    pub at_exit: bool,
}

/// One identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it says.
    pub name: String,
    /// Left side.
    pub left: u64,
    /// Right side.
    pub right: u64,
    /// How far the sides may differ while frames or events are in flight.
    pub slack: u64,
}

impl Identity {
    fn new(name: impl Into<String>, left: u64, right: u64) -> Self {
        Self {
            name: name.into(),
            left,
            right,
            slack: 0,
        }
    }

    /// Whether the two sides agree.
    pub fn holds(&self) -> bool {
        self.left >= self.right && self.left - self.right <= self.slack
    }
}

impl Books {
    /// Every identity, in the order of a packet's way.
    pub fn identities(&self) -> Vec<Identity> {
        let shards = &self.shards;
        let unread: u64 = shards.unread.iter().sum();
        let mut all = Vec::new();
        for ring in &self.rings {
            let slack = if self.at_exit { 0 } else { ring.capacity };
            let arrived = ring.tp_packets.saturating_sub(ring.tp_drops);
            let taken = ring.frames_read + ring.shed_data;
            let name = format!(
                "ring {}: tp_packets - tp_drops = frames_read + shed_data",
                ring.name
            );
            all.push(Identity {
                slack,
                ..Identity::new(name, arrived, taken)
            });
        }
        let offered = self
            .frames_offered
            .unwrap_or_else(|| self.rings.iter().map(|ring| ring.frames_read).sum());
        if self.at_exit {
            all.push(Identity::new(
                "frames_read = frames of all shards",
                offered,
                shards.frames,
            ));
        }
        all.push(Identity::new(
            "frames = packets + not_ip + malformed",
            shards.frames,
            shards.packets + unread,
        ));
        all.extend(
            shards
                .flow
                .identities()
                .into_iter()
                .map(|(name, left, right)| Identity::new(name, left, right)),
        );
        if self.at_exit {
            let settled = shards.contacts_merged + shards.contacts_dropped;
            all.push(Identity::new(
                "contacts sent = merged + dropped",
                shards.contacts_sent,
                settled,
            ));
            self.log_identities(&mut all);
        }
        all
    }

    fn log_identities(&self, all: &mut Vec<Identity>) {
        let shards = &self.shards;
        let withheld = shards.detections_out_of_scope + shards.detections_allowed;
        let kinds = [
            (
                EventKind::Connection,
                shards.flow.attempts,
                shards.attempts_not_asked + shards.attempts_log_gone,
            ),
            (
                EventKind::Alert,
                shards.detections,
                withheld + shards.detections_log_gone,
            ),
            (
                EventKind::Flow,
                shards.flow.closed_all(),
                shards.flows_log_gone,
            ),
        ];
        for output in &self.outputs {
            for (kind, raised, before) in kinds {
                let word = kind.word();
                let name = format!(
                    "{}: {word} raised = written + folded + not_asked + dropped",
                    output.name
                );
                all.push(Identity::new(name, raised, before + output.settled(kind)));
            }
        }
    }

    /// Whether all identities hold.
    pub fn closed(&self) -> bool {
        self.identities().iter().all(Identity::holds)
    }

    /// Frames, contacts and lines that were lost with a cause: what `--strict` forbids.
    pub fn missed(&self) -> u64 {
        let rings: u64 = self
            .rings
            .iter()
            .map(|ring| ring.tp_drops + ring.shed_data)
            .sum();
        let shards = &self.shards;
        let queues = shards.attempts_log_gone + shards.flows_log_gone + shards.detections_log_gone;
        let outputs: u64 = self.outputs.iter().map(OutputBooks::dropped).sum();
        let evicted = shards.flow.evicted()
            + shards.port_scan.pair_evicted
            + shards.port_scan.episode_evicted;
        rings
            + queues
            + outputs
            + evicted
            + shards.contacts_dropped
            + self.nic_drops
            + self.softnet_drops
    }
}
