//! Books of an interval: counts since its start, losses, and an upper bound of uncounted losses.

use super::Books;
use super::output::Named;
use super::ring::RingCounts;
use crate::counters::{Counter, Counters as _, Kind};
use crate::decode::{NotIpCause, Unread};
use std::collections::BTreeMap;

/// Upper bounds of losses that cannot be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissedBound {
    /// Attempts among the frames that rings lost: frames of class `open`, or of every class while SYNs were seen in
    /// another class or ring.
    pub attempts: u64,
    /// Frames lost before the kernel gave them a class: each may have been an attempt.
    pub before_rings: u64,
}

impl Books {
    /// The books of the interval since `before`. Identities hold since the start, not for an interval.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let ring = |ring: &RingCounts| {
            let then = before.rings.iter().find(|then| then.id == ring.id);
            then.map_or_else(|| ring.clone(), |then| ring.since(then))
        };
        let then = |now: Option<u64>, then: Option<u64>| {
            now.map(|now| now.saturating_sub(then.unwrap_or(0)))
        };
        Self {
            shards: self.shards.since(&before.shards),
            rings: self.rings.iter().map(ring).collect(),
            frames_offered: then(self.frames_offered, before.frames_offered),
            reading: self
                .reading
                .map(|now| now.since(&before.reading.unwrap_or_default())),
            outputs: Named::since_all(&self.outputs, &before.outputs),
            responders: Named::since_all(&self.responders, &before.responders),
            blocks: self.blocks.as_ref().map(|now| {
                let before = before.blocks.as_slice();
                Named::since_all(std::slice::from_ref(now), before).remove(0)
            }),
            own_records: std::array::from_fn(|kind| {
                self.own_records[kind].saturating_sub(before.own_records[kind])
            }),
            log: self.log.since(&before.log),
            host: self.host.since(&before.host),
            filtered: then(self.filtered, before.filtered),
            shed_in_kernel: then(self.shed_in_kernel, before.shed_in_kernel),
            witness: self
                .witness
                .map(|now| now.since(&before.witness.unwrap_or_default())),
            in_flight: self.in_flight,
            at_exit: self.at_exit,
        }
    }

    /// Losses by the name of their counter, summed over rings, outputs and responders. `--strict` forbids them.
    pub fn losses(&self) -> BTreeMap<String, u64> {
        let mut losses = BTreeMap::new();
        let mut add = |counter: Counter| {
            if counter.kind == Kind::Loss {
                *losses.entry(counter.name()).or_default() += counter.count;
            }
        };
        self.each(&mut add);
        for ring in &self.rings {
            ring.each(&mut add);
        }
        for output in &self.outputs {
            output.counts.each(&mut add);
        }
        for responder in &self.responders {
            responder.counts.each(&mut add);
        }
        losses
    }

    /// Frames of link types that are not read: each may have been an attempt.
    pub(crate) fn unread_links(&self) -> u64 {
        self.shards.unread_frames[Unread::NotIp(NotIpCause::LinkType).index()]
    }

    /// Sum of [`Books::losses`].
    pub fn missed(&self) -> u64 {
        self.losses().values().sum()
    }

    /// Whether nothing was lost, counted or not. Uncounted: bulk data filtered in the kernel without CAP_BPF, and
    /// frames of an interface that was gone.
    pub fn complete(&self) -> bool {
        let shed = &self.shards.shed;
        let filtered = shed.spent_us[1..].iter().any(|&us| us > 0);
        self.missed() == 0
            && self.host.unwatched_us == 0
            && !(filtered && self.shed_in_kernel.is_none())
    }

    /// Upper bounds of losses that cannot be counted as attempts.
    pub fn missed_bound(&self) -> MissedBound {
        let astray =
            self.shards.misrouted_frames + self.shards.syn_outside_class.iter().sum::<u64>() > 0;
        let may_hold_attempts =
            |ring: &&RingCounts| astray || matches!(ring.id.class, "open" | "all");
        let rings = self.rings.iter().filter(may_hold_attempts);
        let lost: u64 = rings.map(|ring| ring.tp_drops + ring.shed_data).sum();
        MissedBound {
            attempts: lost + self.shards.frames_cut_by_depth + self.unread_links(),
            before_rings: self.host.nic_drops + self.host.softnet_drops,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::HostCounts;
    use crate::books::ring::RingId;

    fn ring(class: &'static str, tp_drops: u64, shed_data: u64) -> RingCounts {
        let id = RingId {
            interface: "eth0".into(),
            class,
            worker: 0,
        };
        RingCounts {
            id,
            tp_packets: 100,
            tp_drops,
            shed_data,
            frames_read: 100 - tp_drops - shed_data,
            ..RingCounts::default()
        }
    }

    #[test]
    fn data_drops_belong_to_the_bound_only_while_syns_come_by_another_class() {
        let mut before = Books {
            rings: vec![
                ring("open", 1, 0),
                ring("control", 2, 0),
                ring("data", 4, 8),
            ],
            host: HostCounts {
                nic_drops: 16,
                ..HostCounts::default()
            },
            ..Books::default()
        };
        before.shards.syn_outside_class[3] = 5;
        assert_eq!(before.missed_bound().attempts, 15);
        let mut now = before.clone();
        now.rings = vec![
            ring("open", 4, 0),
            ring("control", 5, 0),
            ring("data", 9, 9),
        ];
        now.host.nic_drops = 20;
        let bound = now.since(&before).missed_bound();
        assert_eq!((bound.attempts, bound.before_rings), (3, 4));
        now.shards.syn_outside_class[3] = 6;
        assert_eq!(now.since(&before).missed_bound().attempts, 3 + 3 + 6);
        now.shards.syn_outside_class[3] = 5;
        now.shards.misrouted_frames = 1;
        assert_eq!(now.since(&before).missed_bound().attempts, 3 + 3 + 6);
        now.rings = vec![ring("all", 7, 0)];
        now.shards.misrouted_frames = 0;
        assert_eq!(now.since(&before).missed_bound().attempts, 7);
    }

    #[test]
    fn an_interval_is_complete_again_after_one_that_was_not() {
        let mut before = Books {
            rings: vec![ring("open", 3, 0)],
            ..Books::default()
        };
        before.shards.contacts_dropped[0] = 2;
        let mut now = before.clone();
        now.rings[0].tp_packets += 50;
        now.rings[0].frames_read += 50;
        now.shards.frames = 50;
        assert_eq!((before.missed(), now.missed()), (5, 5));
        let interval = now.since(&before);
        assert_eq!((interval.missed(), interval.shards.frames), (0, 50));
        assert_eq!(interval.rings[0].tp_packets, 50);
        now.rings[0].tp_drops += 1;
        assert_eq!(now.since(&before).missed(), 1);
    }
}
