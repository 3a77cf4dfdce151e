//! What one shard counts.

use crate::decode::Unread;
use crate::decode::packet::Reach;
use crate::flow::FlowCounts;
use crate::horizons::Horizons;
use crate::inspect::port_scan::PortScanCounts;
use crate::locality::Direction;
use crate::log::event::Body;
use crate::shedding::ShedCounts;
use std::net::IpAddr;

/// A scan that started in a direction that was not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfScope {
    /// Time stamp of the deciding packet.
    pub ts_ns: i64,
    /// Who scans.
    pub src: IpAddr,
    /// What is scanned.
    pub dst: IpAddr,
}

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
    /// Attempts that the shard folded; in `read` the logger does.
    pub attempts_folded: u64,
    /// Detections raised: rising edges, doublings, summaries.
    pub detections: u64,
    /// Of those, rising edges of port scans, by direction.
    pub port_scans: [u64; Direction::ALL.len()],
    /// Of those, in a direction that was not asked for.
    pub detections_out_of_scope: u64,
    /// The newest scan of those.
    pub newest_out_of_scope: Option<OutOfScope>,
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
    /// Of those, folded ones.
    pub folded_log_gone: u64,
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
            newest_out_of_scope: None,
            detections_allowed: 0,
            contacts_sent: 0,
            contacts_merged: 0,
            contacts_dropped: 0,
            attempts_log_gone: 0,
            folded_log_gone: 0,
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
            Body::Folded(fold) => {
                self.attempts_log_gone += fold.count;
                self.folded_log_gone += fold.count;
            }
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
        let newest = [self.newest_out_of_scope, other.newest_out_of_scope];
        self.newest_out_of_scope = newest.into_iter().flatten().max_by_key(|scan| scan.ts_ns);
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
            newest_out_of_scope: _,
            detections_allowed,
            contacts_sent,
            contacts_merged,
            contacts_dropped,
            attempts_log_gone,
            folded_log_gone,
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
        lend("folded_log_gone", folded_log_gone);
        lend("flows_log_gone", flows_log_gone);
        lend("detections_log_gone", detections_log_gone);
        shed.each(lend);
        flow.each(lend);
        port_scan.each(lend);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_scan_out_of_scope_of_all_shards_is_kept() {
        let with = |ts_ns: Option<i64>| ShardCounts {
            newest_out_of_scope: ts_ns.map(|ts_ns| OutOfScope {
                ts_ns,
                src: [192, 0, 2, 1].into(),
                dst: [192, 0, 2, 2].into(),
            }),
            ..ShardCounts::default()
        };
        for (one, other, newest) in [
            (None, None, None),
            (Some(1), None, Some(1)),
            (None, Some(1), Some(1)),
            (Some(3), Some(2), Some(3)),
            (Some(2), Some(3), Some(3)),
        ] {
            let mut sum = with(one);
            sum.add(&with(other));
            assert_eq!(sum.newest_out_of_scope.map(|scan| scan.ts_ns), newest);
        }
    }
}
