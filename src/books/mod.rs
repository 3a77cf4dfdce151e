//! The books: plain counters, one writer each, and the identities they obey.

mod rings;

use crate::decode::Unread;
use crate::decode::packet::Reach;
use crate::flow::FlowCounts;
use crate::horizons::Horizons;
use crate::inspect::port_scan::PortScanCounts;
use crate::locality::Direction;
use crate::log::event::Body;
use crate::log::notice::{EventKind, KINDS};
use crate::log::outputs::Counts;
use crate::shedding::ShedCounts;
pub use rings::{RingCounts, RingId, by_ring};

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
    /// Live: frames cut by the capture depth before their transport header; any may have been an attempt.
    pub cut_by_depth: u64,
    /// SYNs without ACK that came by another class than `open`, by reach.
    pub syn_outside_class: [u64; Reach::COUNT],
    /// Attempts in a direction that was not asked for.
    pub attempts_not_asked: u64,
    /// Attempts that the shard folded; `read` folds in the logger.
    pub attempts_folded: u64,
    /// Detections raised: rising edges, doublings, summaries.
    pub detections: u64,
    /// Of those, rising edges of port scans, by direction.
    pub port_scans: [u64; Direction::ALL.len()],
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
    /// Attempts in folds that the logger does not have yet.
    pub folding: u64,
    /// Entries held now: attempts, established, other flows, pairs.
    pub held: [u64; 4],
    /// How far its tables reach now.
    pub horizons: Horizons,
    /// What it let go of under load.
    pub shed: ShedCounts,
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
            cut_by_depth: 0,
            syn_outside_class: [0; Reach::COUNT],
            attempts_not_asked: 0,
            attempts_folded: 0,
            detections: 0,
            port_scans: [0; Direction::ALL.len()],
            detections_out_of_scope: 0,
            detections_allowed: 0,
            contacts_sent: 0,
            contacts_merged: 0,
            contacts_dropped: 0,
            attempts_log_gone: 0,
            flows_log_gone: 0,
            detections_log_gone: 0,
            folding: 0,
            held: [0; 4],
            horizons: Horizons::default(),
            shed: ShedCounts::default(),
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
            Body::Folded(fold) => self.attempts_log_gone += fold.count,
            Body::Flow(_) => self.flows_log_gone += 1,
            Body::Alert(_) => self.detections_log_gone += 1,
        }
    }

    /// Adds another shard's counters.
    pub fn add(&mut self, other: &Self) {
        self.folding += other.folding;
        for (sum, one) in self.held.iter_mut().zip(other.held) {
            *sum += one;
        }
        self.horizons = self.horizons.min(other.horizons);
        self.zip(other, |sum, one| *sum += one);
    }

    /// What was counted since `before`. What is held is no count: it stays as it is.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut counts = *self;
        counts.zip(before, |now, then| *now = now.saturating_sub(then));
        counts.flow.open = self.flow.open;
        counts.shed.held = self.shed.held;
        counts
    }

    fn zip(&mut self, other: &Self, mut apply: impl FnMut(&mut u64, u64)) {
        let (mut other, mut values) = (*other, Vec::new());
        other.each(&mut |_, value| values.push(*value));
        let mut values = values.into_iter();
        self.each(&mut |_, value| apply(value, values.next().expect("as many in both")));
    }

    /// Lends every counter with its name, in the same order each time. A new field does not compile until
    /// it has its place here: no sum and no interval can forget it.
    pub fn each(&mut self, lend: &mut dyn FnMut(&'static str, &mut u64)) {
        let Self {
            frames,
            packets,
            unread,
            misrouted,
            late,
            cut_by_depth,
            syn_outside_class,
            attempts_not_asked,
            attempts_folded,
            detections,
            port_scans,
            detections_out_of_scope,
            detections_allowed,
            contacts_sent,
            contacts_merged,
            contacts_dropped,
            attempts_log_gone,
            flows_log_gone,
            detections_log_gone,
            folding: _,
            held: _,
            horizons: _,
            shed,
            flow,
            port_scan,
        } = self;
        lend("frames", frames);
        lend("packets", packets);
        unread.iter_mut().for_each(|count| lend("unread", count));
        lend("misrouted", misrouted);
        lend("late", late);
        lend("cut_by_depth", cut_by_depth);
        syn_outside_class
            .iter_mut()
            .for_each(|count| lend("syn_outside_class", count));
        lend("attempts_not_asked", attempts_not_asked);
        lend("attempts_folded", attempts_folded);
        lend("detections", detections);
        port_scans
            .iter_mut()
            .for_each(|count| lend("port_scans", count));
        lend("detections_out_of_scope", detections_out_of_scope);
        lend("detections_allowed", detections_allowed);
        lend("contacts_sent", contacts_sent);
        lend("contacts_merged", contacts_merged);
        lend("contacts_dropped", contacts_dropped);
        lend("attempts_log_gone", attempts_log_gone);
        lend("flows_log_gone", flows_log_gone);
        lend("detections_log_gone", detections_log_gone);
        shed.each(lend);
        flow.each(lend);
        port_scan.each(lend);
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
    /// Records of `kind` that are accounted for, those that wait to be written among them.
    pub fn settled(&self, kind: EventKind) -> u64 {
        let counts = &self.counts;
        let kind = kind as usize;
        let dropped: u64 = counts.dropped.iter().map(|cause| cause[kind]).sum();
        let kept = counts.written[kind] + counts.folded[kind] + counts.not_asked[kind];
        kept + dropped + counts.pending[kind]
    }

    /// Records written.
    pub fn written(&self) -> u64 {
        self.counts.written.iter().sum()
    }

    /// Records lost.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.iter().flatten().sum()
    }
}

/// How far the two sides of an identity may be apart while the run goes on: what queues hold, and what has
/// moved since the older side was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Frames.
    pub frames: u64,
    /// Contacts between shards.
    pub contacts: u64,
    /// Records on their way through the log, by kind.
    pub records: [u64; KINDS],
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
    /// Records of the sensor's own, by kind: what the sensor and the logger itself had to say.
    pub own_records: [u64; KINDS],
    /// Records that were written behind a later one.
    pub late_records: u64,
    /// Frames lost before the rings, as the host's counters say: NIC and softnet.
    pub nic_drops: u64,
    /// See `nic_drops`.
    pub softnet_drops: u64,
    /// `--capture control`: frames that the filter rejected; `None` when they cannot be counted.
    pub filtered: Option<u64>,
    /// Under load: frames that data rings refused in the kernel; `None` when they cannot be counted.
    pub refused: Option<u64>,
    /// What may be between two counters now.
    pub in_flight: InFlight,
    /// The run is over: nothing is in flight.
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
    /// How much larger the left side may be, while something is in flight.
    pub ahead: u64,
    /// How much larger the right side may be, while one side was read before the other.
    pub behind: u64,
}

impl Identity {
    fn exact(name: impl Into<String>, left: u64, right: u64) -> Self {
        Self::within(name, left, right, 0)
    }

    fn within(name: impl Into<String>, left: u64, right: u64, slack: u64) -> Self {
        Self {
            name: name.into(),
            left,
            right,
            ahead: slack,
            behind: slack,
        }
    }

    /// Whether the two sides agree.
    pub fn holds(&self) -> bool {
        self.left <= self.right.saturating_add(self.ahead)
            && self.right <= self.left.saturating_add(self.behind)
    }
}

impl Books {
    /// Every identity, in the order of a packet's way. The sides of each are counted at different places.
    pub fn identities(&self) -> Vec<Identity> {
        let mut all = self.frame_identities();
        let (shards, flow, scan) = (&self.shards, &self.shards.flow, &self.shards.port_scan);
        all.extend(
            flow.identities()
                .into_iter()
                .map(|(name, left, right)| Identity::exact(name, left, right)),
        );
        let shed = shards.shed.identities().into_iter();
        all.extend(shed.map(|(name, left, right)| Identity::exact(name, left, right)));
        let touches = flow.syn_packets + flow.answered + flow.refused;
        all.push(Identity::exact(
            "contacts_sent = syn_packets + answered + refused",
            shards.contacts_sent,
            touches,
        ));
        all.push(Identity::within(
            "contacts_sent = contacts_merged + contacts_dropped",
            shards.contacts_sent,
            shards.contacts_merged + shards.contacts_dropped,
            self.slack(self.in_flight.contacts),
        ));
        all.push(Identity::exact(
            "contacts_merged = touches + outcomes",
            shards.contacts_merged,
            scan.touches + scan.outcomes,
        ));
        all.push(Identity::exact(
            "detections = started + continued + ended",
            shards.detections,
            scan.started + scan.continued + scan.ended,
        ));
        all.push(Identity::exact(
            "port scans started = port_scans of all directions",
            scan.started,
            shards.port_scans.iter().sum(),
        ));
        self.log_identities(&mut all);
        all
    }

    fn slack(&self, in_flight: u64) -> u64 {
        if self.at_exit { 0 } else { in_flight }
    }

    fn frame_identities(&self) -> Vec<Identity> {
        let shards = &self.shards;
        let mut all = Vec::new();
        for ring in &self.rings {
            let name = format!(
                "ring {}: tp_packets = tp_drops + frames_read + shed_data",
                ring.id
            );
            let gone = ring.tp_drops + ring.frames_read + ring.shed_data;
            all.push(Identity {
                ahead: self.slack(ring.capacity + self.in_flight.frames),
                ..Identity::exact(name, ring.tp_packets, gone)
            });
        }
        let read = self.rings.iter().map(|ring| ring.frames_read).sum();
        let capacity: u64 = self.rings.iter().map(|ring| ring.capacity).sum();
        if let Some(offered) = self.frames_offered {
            let name = "frames of the captures = frames of all shards";
            let slack = self.slack(self.in_flight.frames);
            all.push(Identity::within(name, offered, shards.frames, slack));
        } else {
            all.push(Identity::within(
                "frames_read of all rings = frames of all shards",
                read,
                shards.frames,
                self.slack(capacity + self.in_flight.frames),
            ));
        }
        all.push(Identity::exact(
            "frames = packets + unread",
            shards.frames,
            shards.packets + shards.unread.iter().sum::<u64>(),
        ));
        all.push(Identity::exact(
            "packets = packets of the flow stage",
            shards.packets,
            shards.flow.packets,
        ));
        all
    }

    /// Records of a kind that somebody had to say, and those of them that never came to the outputs.
    fn raised(&self, kind: EventKind) -> (u64, u64) {
        let shards = &self.shards;
        match kind {
            EventKind::Connection => (
                shards.flow.attempts,
                shards.attempts_not_asked + shards.attempts_log_gone,
            ),
            EventKind::Alert => (
                shards.detections,
                shards.detections_out_of_scope
                    + shards.detections_allowed
                    + shards.detections_log_gone,
            ),
            EventKind::Flow => (
                shards.flow.closed_all(),
                shards.flow.untold + shards.flows_log_gone,
            ),
            EventKind::Stats | EventKind::Lifecycle => (self.own_records[kind as usize], 0),
        }
    }

    /// Records that were raised, by kind.
    pub fn raised_all(&self) -> [u64; KINDS] {
        EventKind::ALL.map(|kind| self.raised(kind).0)
    }

    fn log_identities(&self, all: &mut Vec<Identity>) {
        for output in &self.outputs {
            for kind in EventKind::ALL {
                let (raised, before) = self.raised(kind);
                let name = format!(
                    "{}: {} raised = written + folded + not_asked + dropped",
                    output.name,
                    kind.word()
                );
                let slack = self.slack(self.in_flight.records[kind as usize]);
                let settled = before + output.settled(kind);
                all.push(Identity::within(name, raised, settled, slack));
            }
        }
    }

    /// Whether all identities hold.
    pub fn closed(&self) -> bool {
        self.identities().iter().all(Identity::holds)
    }
}
