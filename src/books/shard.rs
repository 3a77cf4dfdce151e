//! Counters of shards.

use super::horizons::Horizons;
use super::opening::{ChecksumCounts, TunnelCounts};
use crate::counters::{State, counters};
use crate::decode::Unread;
use crate::decode::packet::Reach;
use crate::flow::FlowCounts;
use crate::host::addresses::Direction;
use crate::inspect::contact::Owner;
use crate::inspect::{AllCounts, Kind};
use crate::shedding::ShedCounts;
use crate::words::many;
use std::net::IpAddr;

/// A scan that started in a direction outside `--scan-scope`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct OutOfScope {
    /// Time stamp of the deciding packet.
    pub ts_ns: i64,
    /// Who scans.
    pub src: IpAddr,
    /// What is scanned.
    pub dst: IpAddr,
}

impl State for Option<OutOfScope> {
    fn join(&mut self, other: &Self) {
        let both = [*self, *other];
        *self = both.into_iter().flatten().max_by_key(|scan| scan.ts_ns);
    }
}

counters! {
    /// Counters of one shard. One writer; copied out whole.
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
    pub struct ShardCounts "" {
        frames: "Frames read",
        packets: "Frames that could be decoded",
        unread_frames (count by cause Unread): "Frames that could not be decoded",
        misrouted_frames: "Frames in another ring than the fanout program chooses: of all whole TCP segments and UDP datagrams, and of one in 16 others",
        late_packets: "Packets stamped before the packet time reached so far",
        frames_cut_by_depth (loss): "Frames cut by the capture depth before their transport header: each may have been an attempt",
        syn_outside_class (count by reach Reach): "SYNs without ACK in another class than open",
        connections_not_asked: "Attempts in a direction that --direction does not select",
        folded_by_shards: "Attempts that shards folded",
        detections: "Records of detections: of their begin, of their going on, of their end",
        scans (count by kind Kind, by direction Direction): "Scans that began, alerts or not",
        detections_out_of_scope: "Detections that are no alert: in a direction outside --scan-scope",
        newest_out_of_scope (state Option<OutOfScope>): "The newest scan outside --scan-scope",
        detections_allowed: "Detections that are no alert: of a source that --allow names",
        detections_below_verdict: "Detections that are no alert: their verdict is below --alert",
        contacts_sent (count by owner Owner): "Contacts sent to the owner of their source, and of their target",
        contacts_merged (count by owner Owner): "Contacts that their owner handled",
        contacts_dropped (loss by owner Owner): "Contacts lost in a full queue to their owner",
        connections_log_gone (loss): "Attempts after the logger had ended",
        folded_log_gone: "Folded attempts among connections_log_gone",
        flows_log_gone (loss): "Flow records after the logger had ended",
        detections_log_gone (loss): "Alerts after the logger had ended",
        withheld_log_gone: "Detections that are no alert, after the logger had ended",
        connections_folding (gauge): "Attempts in folds that are not sent to the logger yet",
        held (state [u64; 3]): "Entries held now: attempts, established, other flows",
        held_by_detectors (state [u64; Kind::COUNT]): "Entries that detectors hold now",
        horizons (state Horizons): "How far its tables reach now",
        tunnels (group TunnelCounts): "Tunnels",
        checksums (group ChecksumCounts): "Checksums",
        shed (group ShedCounts): "Load shedding",
        flow (group FlowCounts): "The flow stage",
        detectors (group AllCounts): "The detectors",
    }
}

impl ShardCounts {
    /// Contacts that packets made, of the kinds that concern an owner, and the names of their counters.
    pub(crate) fn contacts_made(&self, owner: Owner) -> (u64, String) {
        let flow = &self.flow;
        let both = [
            ("syn_packets", flow.syn_packets),
            ("answered_connections", flow.answered_connections),
            ("refused_connections", flow.refused_connections),
            ("established_connections", flow.established_connections),
            ("udp_opened", flow.udp_opened),
        ];
        let own: &[(&str, u64)] = match owner {
            Owner::Source => &[
                ("half_open_probes", flow.half_open_probes),
                ("stealth_probes", flow.stealth_probes),
                ("udp_answered", flow.udp_answered),
                ("udp_refused", flow.udp_refused),
            ],
            Owner::Target => &[
                ("datagram_marks", flow.datagram_marks),
                ("stray_answers", flow.stray_answers),
                ("stray_resets", flow.stray_resets),
                ("icmp_messages", flow.icmp_messages),
            ],
        };
        let all = [&both, own].concat();
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        let sum = all.iter().map(|(_, count)| count).sum();
        (sum, names.join(" + "))
    }

    /// Detections that are no alert.
    pub(crate) fn detections_withheld(&self) -> u64 {
        self.detections_out_of_scope + self.detections_allowed + self.detections_below_verdict
    }

    /// Scans by kind for people: `2 port scans, 1 host sweep`. Kinds without a scan are left out, but port scans.
    pub fn scans_said(&self) -> String {
        let kinds = Kind::ALL.into_iter().zip(self.scans);
        let counts = kinds.map(|(kind, ways)| (kind, ways.iter().sum::<u64>()));
        let counts = counts.filter(|(kind, count)| *kind == Kind::PortScan || *count > 0);
        let words = counts.map(|(kind, count)| many(count, &kind.about().title.to_lowercase()));
        words.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters as _;

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
