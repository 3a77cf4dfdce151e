//! The books: plain counters, one writer each, and the identities they obey.
//!
//! A frame that cannot be read is no loss: its cause is counted in `decode/unread.rs`. What is lost is a counter marked
//! `(loss)` here, and belongs to a reason, with what helps, in `observe/losses`.

pub mod blocks;
pub mod horizons;
mod interval;
pub mod opening;
pub mod output;
pub mod reading;
pub mod record_kind;
pub mod responder;
pub mod ring;
pub mod shard;
pub mod witness;

use crate::counters::{Counter, Counters as _, Identity, Kind, counters};
use crate::inspect::contact::Owner;
use blocks::BlockBooks;
use output::{LogCounts, OutputBooks};
use reading::ReadingCounts;
use record_kind::{EventKind, KINDS};
use responder::ResponderBooks;
use ring::RingCounts;
use shard::ShardCounts;
use witness::WitnessCounts;

counters! {
    /// Losses before the rings by the host's counters, and time without a watched interface.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct HostCounts "" {
        nic_drops (loss): "Frames lost by network cards",
        softnet_drops (loss): "Frames lost in the kernel's backlog",
        unwatched_us (micros): "Time that interfaces were gone, summed over interfaces",
    }
}

/// Allowed skew of an identity's two sides while the run goes on: queue contents, and changes between the reads of
/// its sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Frames.
    pub frames: u64,
    /// Contacts between shards.
    pub contacts: u64,
    /// Records between shard and output, by kind.
    pub records: [u64; KINDS],
}

/// All counters at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Books {
    /// All shards.
    pub shards: ShardCounts,
    /// Live: each ring.
    pub rings: Vec<RingCounts>,
    /// `read`: frames taken from the captures.
    pub frames_offered: Option<u64>,
    /// `read`: what it did before the shards.
    pub reading: Option<ReadingCounts>,
    /// Each output.
    pub outputs: Vec<OutputBooks>,
    /// Each responder.
    pub responders: Vec<ResponderBooks>,
    /// `--block`.
    pub blocks: Option<BlockBooks>,
    /// Records by kind that sensor and logger wrote about themselves.
    pub own_records: [u64; KINDS],
    /// Counters of the logger.
    pub log: LogCounts,
    /// Counters of the host.
    pub host: HostCounts,
    /// `--capture control`: frames that the filter rejected; `None` when they cannot be counted.
    pub filtered: Option<u64>,
    /// `--witness`: its counters.
    pub witness: Option<WitnessCounts>,
    /// Data frames filtered in the kernel under load; `None` when they cannot be counted.
    pub shed_in_kernel: Option<u64>,
    /// Allowed skew now.
    pub in_flight: InFlight,
    /// The run is over: nothing is in flight.
    pub at_exit: bool,
}

impl Books {
    /// Every counter except those of rings, outputs and responders, whose labels depend on the run.
    pub fn each(&self, show: &mut dyn FnMut(Counter)) {
        self.shards.each(show);
        show(Counter::single(
            "frames_of_unread_links",
            "Frames of link types that are not read (unsupported_link): each may have been an attempt",
            Kind::Loss,
            self.unread_links(),
        ));
        self.log.each(show);
        self.host.each(show);
        if let Some(reading) = &self.reading {
            reading.each(show);
        }
        if let Some(filtered) = self.filtered {
            let help = "Frames that the filter of --capture control rejected";
            show(Counter::single(
                "filtered_frames",
                help,
                Kind::Count,
                filtered,
            ));
        }
        if let Some(shed) = self.shed_in_kernel {
            let help = "Data frames filtered in the kernel under load, before the copy";
            show(Counter::single("shed_in_kernel", help, Kind::Loss, shed));
        }
        if let Some(witness) = &self.witness {
            witness.each(show);
        }
        if let Some(blocks) = &self.blocks {
            blocks.counts.each(show);
        }
    }

    /// Every identity, in the order of a packet's path. The two sides of each are counted at different places.
    pub fn identities(&self) -> Vec<Identity> {
        let mut all = self.frame_identities();
        let (shards, flow) = (&self.shards, &self.shards.flow);
        let own = flow
            .identities()
            .into_iter()
            .chain(shards.shed.identities());
        all.extend(own.map(|(name, left, right)| Identity::exact(name, left, right)));
        self.detector_identities(&mut all);
        self.log_identities(&mut all);
        let witness = self.witness.iter();
        all.extend(witness.flat_map(|counts| counts.identities(self.at_exit)));
        all
    }

    /// Counts of contacts do not depend on the number of shards.
    fn detector_identities(&self, all: &mut Vec<Identity>) {
        let shards = &self.shards;
        for owner in Owner::ALL {
            let (at, word) = (owner as usize, owner.word());
            let (made, names) = shards.contacts_made(owner);
            let (sent, merged) = (shards.contacts_sent[at], shards.contacts_merged[at]);
            // Without a rule that needs them, none are sent.
            all.push(Identity::exact(
                format!("contacts_sent of the {word} = {names}"),
                sent,
                if sent > 0 { made } else { 0 },
            ));
            all.push(Identity::within(
                format!("contacts_sent of the {word} = contacts_merged + contacts_dropped"),
                sent,
                merged + shards.contacts_dropped[at],
                self.slack(self.in_flight.contacts),
            ));
        }
        let sources = &shards.detectors.sources;
        let merged = shards.contacts_merged;
        all.push(Identity::exact(
            "contacts_merged of the source = sources_held_back + sources_passed",
            merged[Owner::Source as usize],
            sources.held_back + sources.passed,
        ));
        let each = shards.detectors.all();
        for (kind, owner, counts) in each {
            let word = kind.word();
            let (name, handed) = match owner {
                Owner::Source => (
                    "sources_passed + sources_networks_passed",
                    sources.passed + sources.networks_passed,
                ),
                Owner::Target => ("contacts_merged of the target", merged[owner as usize]),
            };
            all.push(Identity::exact(
                format!("{word}_touches + {word}_outcomes + {word}_unheard = {name}"),
                counts.contacts(),
                handed,
            ));
            all.push(Identity::exact(
                format!("{word}_started = scans of all directions"),
                counts.started,
                shards.scans[kind as usize].iter().sum(),
            ));
        }
        all.push(Identity::exact(
            "detections = started + continued + ended of all kinds",
            shards.detections,
            each.iter().map(|(_, _, counts)| counts.detections()).sum(),
        ));
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
            "frames = packets + unread_frames",
            shards.frames,
            shards.packets + shards.unread_frames.iter().sum::<u64>(),
        ));
        all.push(Identity::exact(
            "packets = flow_packets",
            shards.packets,
            shards.flow.flow_packets,
        ));
        all
    }

    /// Records of `kind` that were raised, and how many of them never reached the outputs.
    fn raised(&self, kind: EventKind) -> (u64, u64) {
        let shards = &self.shards;
        match kind {
            EventKind::Connection => (
                shards.flow.new_connections,
                shards.connections_not_asked + shards.connections_log_gone,
            ),
            EventKind::Alert => (
                shards.detections,
                shards.detections_withheld() + shards.detections_log_gone,
            ),
            EventKind::Flow => (
                shards.flow.closed_all() + shards.flow.flow_parts,
                shards.flow.flows_untold + shards.flows_log_gone,
            ),
            EventKind::Stats | EventKind::Lifecycle | EventKind::Block => {
                (self.own_records[kind as usize], 0)
            }
        }
    }

    /// Raised records by kind.
    pub(crate) fn raised_all(&self) -> [u64; KINDS] {
        EventKind::ALL.map(|kind| self.raised(kind).0)
    }

    /// Attempts folded by shards or the logger.
    pub(crate) fn attempts_folded(&self) -> u64 {
        self.shards.folded_by_shards + self.log.folded_by_logger
    }

    fn log_identities(&self, all: &mut Vec<Identity>) {
        all.push(Identity::within(
            "folded_by_shards + folded_by_logger = folded_connections + folded_log_gone",
            self.attempts_folded(),
            self.log.folded_connections + self.shards.folded_log_gone,
            self.slack(self.in_flight.records[EventKind::Connection as usize]),
        ));
        let shards = &self.shards;
        let in_flight = self.slack(self.in_flight.records[EventKind::Alert as usize]);
        all.push(Identity::within(
            "detections_out_of_scope + detections_allowed + detections_below_verdict = withheld_detections + withheld_queue_full + withheld_log_gone",
            shards.detections_withheld(),
            self.log.withheld_detections + self.log.withheld_queue_full + shards.withheld_log_gone,
            in_flight,
        ));
        let lost = self.log.withheld_queue_full
            + self.log.alerts_queue_full
            + shards.withheld_log_gone
            + shards.detections_log_gone;
        let heard = shards.detections.saturating_sub(lost);
        let responders = self.responders.iter();
        all.extend(responders.flat_map(|one| one.identities(heard, in_flight)));
        let blocks = self.blocks.iter();
        all.extend(blocks.flat_map(|one| one.identities(heard, in_flight)));
        for output in &self.outputs {
            for kind in EventKind::ALL {
                let (raised, before) = self.raised(kind);
                let name = format!(
                    "{}: {} raised = written + folded + not_asked + dropped",
                    output.name,
                    kind.word()
                );
                let slack = self.slack(self.in_flight.records[kind as usize]);
                let settled = before + output.counts.settled(kind);
                all.push(Identity::within(name, raised, settled, slack));
            }
        }
    }

    /// Whether all identities hold.
    pub fn closed(&self) -> bool {
        self.identities().iter().all(Identity::holds)
    }
}
