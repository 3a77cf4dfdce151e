//! What the sensor knows beside its shards, and what both processes must agree on.

use crate::books::HostCounts;
use crate::books::record_kind::KINDS;
use crate::books::ring::{RingCounts, RingId};
use crate::capture::frame::Class;
use crate::host::nic::Interface;
use crate::inspect::Rules;
use crate::log::logger::Progress;
use crate::sensor::RunKeys;
use crate::sensor::group::GroupState;
use crate::sensor::worker::handover::WorkerState;
use crate::settings::RunConfig;
use crate::snapshot::{Snapshot as _, layout_number};
use crate::time::clock::ClockStep;

/// The setting that a reload may change.
const RULES: &str = "a rule of detection";

/// What both processes must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub(in crate::sensor::live) struct Terms {
    layout: u64,
    /// Settings that shape the state: what a person calls them, and their values.
    settings: Vec<(String, String)>,
}

impl Terms {
    pub(in crate::sensor::live) fn new(config: &RunConfig, nics: &[Interface]) -> Self {
        let common = &config.common;
        let nics: Vec<String> = nics
            .iter()
            .map(|nic| format!("{} ({}, {:?})", nic.name, nic.ifindex, nic.link))
            .collect();
        let rooms = (common.rules.sources, common.rules.rooms());
        let settings = [
            ("interfaces", nics.join(", ")),
            ("--workers", common.workers.to_string()),
            ("--fanout", config.fanout.word().to_owned()),
            ("--capture", format!("{:?}", config.capture)),
            ("--key", format!("by VLAN: {}", common.by_vlan)),
            ("--ring-mib", format!("{:?}", config.rings)),
            ("--block-timeout-ms", config.block_timeout_ms.to_string()),
            ("--decap", format!("{:?}", common.tunnels)),
            ("--checksums", format!("verify: {}", common.verify)),
            ("--active-timeout", format!("{:?}", common.active_ns)),
            ("--promiscuous", config.promiscuous.to_string()),
            ("--shed", config.shed.to_string()),
            ("--fold", format!("{:?}", common.fold)),
            ("--scan-target", format!("host: {}", config.host_target)),
            (
                "the room of a table (--memory-mib)",
                format!("{:?} {rooms:?} {:?}", common.flows, common.room),
            ),
            (RULES, format!("{:?}", common.rules)),
        ];
        Self {
            layout: layout(),
            settings: settings
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
        }
    }

    /// A reload has put these thresholds in force. Tables keep their room.
    pub(in crate::sensor::live) fn set_rules(&mut self, rules: &Rules) {
        let values = self.settings.iter_mut();
        for (_, value) in values.filter(|(name, _)| name == RULES) {
            *value = format!("{rules:?}");
        }
    }

    /// Why `theirs` is no state for this process; `None`: it is one.
    pub(in crate::sensor::live) fn refusal(&self, theirs: &Self) -> Option<String> {
        if self.layout != theirs.layout {
            return Some(format!(
                "the layout of its state is {:016x}, here {:016x}: it is another version",
                theirs.layout, self.layout
            ));
        }
        let differs = |(name, value): &&(String, String)| {
            let other = theirs.settings.iter().find(|(other, _)| other == name);
            other.is_none_or(|(_, other)| other != value)
        };
        let names: Vec<&str> = self
            .settings
            .iter()
            .filter(differs)
            .map(|(name, _)| name.as_str())
            .collect();
        (!names.is_empty()).then(|| format!("it has other settings: {}", names.join(", ")))
    }
}

/// A number for names and types of all that is handed over.
fn layout() -> u64 {
    layout_number(|layout| {
        Terms::layout(layout);
        SensorState::layout(layout);
        WorkerState::layout(layout);
    })
}

/// What the sensor knows beside its shards.
#[derive(Clone, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub(in crate::sensor::live) struct SensorState {
    /// Who hands over.
    pub process: u32,
    /// CLOCK_MONOTONIC from when on nobody reads the rings.
    pub stopped_ns: i64,
    pub keys: RunKeys,
    pub run_time: (i64, Vec<ClockStep>),
    pub groups: GroupsState,
    pub log: Progress,
    /// Records that the sensor has sent.
    pub sent: [u64; KINDS],
}

/// All groups, without their sockets.
#[derive(Clone, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub(in crate::sensor::live) struct GroupsState {
    pub each: Vec<GroupState>,
    closed: Vec<ClosedRing>,
    pub closed_filtered: Option<u64>,
    host: [u64; 3],
}

#[derive(Clone, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
struct ClosedRing {
    interface: String,
    class: String,
    worker: u32,
    tp_packets: u64,
    tp_drops: u64,
    tp_freezes: u64,
    frames_read: u64,
    shed_data: u64,
}

impl GroupsState {
    pub(in crate::sensor::live) fn new(
        each: Vec<GroupState>,
        closed: &[RingCounts],
        closed_filtered: Option<u64>,
        host: HostCounts,
    ) -> Self {
        let closed = closed.iter().map(|ring| ClosedRing {
            interface: ring.id.interface.clone(),
            class: ring.id.class.to_owned(),
            worker: u32::try_from(ring.id.worker).unwrap_or(u32::MAX),
            tp_packets: ring.tp_packets,
            tp_drops: ring.tp_drops,
            tp_freezes: ring.tp_freezes,
            frames_read: ring.frames_read,
            shed_data: ring.shed_data,
        });
        Self {
            each,
            closed: closed.collect(),
            closed_filtered,
            host: [host.nic_drops, host.softnet_drops, host.unwatched_us],
        }
    }

    /// Counts of rings that were closed before.
    pub(in crate::sensor::live) fn closed(&self) -> Vec<RingCounts> {
        let class = |word: &str| {
            let known = Class::ALL.into_iter().map(Class::word);
            known
                .into_iter()
                .find(|class| *class == word)
                .unwrap_or("all")
        };
        let counts = |ring: &ClosedRing| RingCounts {
            id: RingId {
                interface: ring.interface.clone(),
                class: class(&ring.class),
                worker: ring.worker as usize,
            },
            tp_packets: ring.tp_packets,
            tp_drops: ring.tp_drops,
            tp_freezes: ring.tp_freezes,
            frames_read: ring.frames_read,
            shed_data: ring.shed_data,
            ..RingCounts::default()
        };
        self.closed.iter().map(counts).collect()
    }

    /// Losses before the rings, and time that interfaces were gone.
    pub(in crate::sensor::live) fn host(&self) -> HostCounts {
        let [nic_drops, softnet_drops, unwatched_us] = self.host;
        HostCounts {
            nic_drops,
            softnet_drops,
            unwatched_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let terms = |layout, workers: &str| Terms {
            layout,
            settings: vec![
                ("--workers".to_owned(), workers.to_owned()),
                ("--fold".to_owned(), "0".to_owned()),
            ],
        };
        let ours = terms(1, "2");
        assert_eq!(ours.refusal(&ours), None);
        let why = ours.refusal(&terms(2, "2")).expect("another layout");
        assert!(
            why.contains("0000000000000002, here 0000000000000001"),
            "{why}"
        );
        let why = ours.refusal(&terms(1, "3")).expect("another setting");
        assert_eq!(why, "it has other settings: --workers");
        let none = Terms {
            layout: 1,
            settings: Vec::new(),
        };
        let why = ours.refusal(&none).expect("unknown settings");
        assert_eq!(why, "it has other settings: --workers, --fold");
    }

    #[test]
    fn thresholds_of_a_reload_are_terms() {
        let terms = |rules: &Rules| Terms {
            layout: 1,
            settings: vec![(RULES.to_owned(), format!("{rules:?}"))],
        };
        let (start, mut reloaded) = (Rules::OFF, Rules::OFF);
        reloaded.port_scan.window_ns += 1;
        let mut running = terms(&start);
        running.set_rules(&reloaded);
        assert_eq!(terms(&reloaded).refusal(&running), None);
        let why = terms(&start).refusal(&running).expect("others");
        assert_eq!(why, "it has other settings: a rule of detection");
    }

    #[test]
    fn the_layout_is_the_same_each_time() {
        assert_eq!(layout(), layout());
    }
}
