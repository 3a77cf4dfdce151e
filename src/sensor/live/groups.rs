//! The fanout groups of all interfaces: opened, reopened, counted. Counts of replaced groups are kept.

mod adopt;

use super::witness::Watching;
use super::workers::Workers;
use crate::books::HostCounts;
use crate::books::ring::{RingCounts, RingId, by_ring};
use crate::capture::bpf::fanout::Keys;
use crate::capture::mode::CaptureDepth;
use crate::counters::Counters as _;
use crate::error::{Failure, SetupError};
use crate::host::nic::{self, Counters, NicCounters};
use crate::observe::losses::Reason;
use crate::observe::terminal::print_to_stderr;
use crate::sensor::group::{LinkState, LiveGroup};
use crate::sensor::worker::ring::LiveRing;
use crate::settings::RunConfig;
use crate::time::clock::monotonic_ns;

/// Rings, a list for each worker.
pub(super) type RingsByWorker = Vec<Vec<LiveRing>>;

/// One group for each interface of the run.
pub(super) struct Groups<'a> {
    config: &'a RunConfig,
    keys: Keys,
    /// By the interface's index in the run.
    current: Vec<LiveGroup>,
    /// Of re-created interfaces; workers may still read from them.
    replaced: Vec<LiveGroup>,
    /// Counts of closed groups.
    closed_rings: Vec<RingCounts>,
    closed_filtered: Option<u64>,
    /// Counters of the interfaces; `None` where they cannot be read.
    nic_counters: Option<Counters>,
    /// Time that reopened interfaces were gone.
    unwatched_us: u64,
    /// Counted by another process.
    before: HostCounts,
}

impl<'a> Groups<'a> {
    /// Opens the groups of all interfaces behind closed gates; also returns the rings of each worker.
    pub(super) fn open(
        config: &'a RunConfig,
        keys: Keys,
        nics: &[nic::Interface],
    ) -> Result<(Self, RingsByWorker), Failure> {
        Self::collect(config, keys, nics, |nic, interface| {
            LiveGroup::open(config, &keys, nic, interface).map_err(Failure::run)
        })
    }

    /// `make`: a group and its rings by worker, of an interface and its index.
    fn collect(
        config: &'a RunConfig,
        keys: Keys,
        nics: &[nic::Interface],
        mut make: impl FnMut(&nic::Interface, u16) -> Result<(LiveGroup, RingsByWorker), Failure>,
    ) -> Result<(Self, RingsByWorker), Failure> {
        let mut rings: RingsByWorker = (0..config.common.workers).map(|_| Vec::new()).collect();
        let mut current = Vec::new();
        for (interface, nic) in (0..u16::MAX).zip(nics) {
            let (group, made) = make(nic, interface)?;
            current.push(group);
            for (all, new) in rings.iter_mut().zip(made) {
                all.extend(new);
            }
        }
        let indices: Vec<u32> = nics.iter().map(|nic| nic.ifindex).collect();
        let groups = Self {
            config,
            keys,
            current,
            replaced: Vec::new(),
            closed_rings: Vec::new(),
            closed_filtered: Some(0),
            nic_counters: Counters::start(&indices).ok(),
            unwatched_us: 0,
            before: HostCounts::default(),
        };
        Ok((groups, rings))
    }

    /// One group for each interface, removed ones included.
    pub(super) fn current(&self) -> &[LiveGroup] {
        &self.current
    }

    pub(super) fn current_mut(&mut self) -> &mut [LiveGroup] {
        &mut self.current
    }

    /// All groups that are not closed.
    pub(super) fn open_mut(&mut self) -> impl Iterator<Item = &mut LiveGroup> {
        self.current.iter_mut().chain(&mut self.replaced)
    }

    fn open_ones(&self) -> impl Iterator<Item = &LiveGroup> {
        self.current.iter().chain(&self.replaced)
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.current
            .iter()
            .map(|group| group.name.as_str())
            .collect()
    }

    /// The index in the run of an interface, if it is watched now.
    pub(super) fn watched(&self, ifindex: u32) -> Option<u16> {
        let own = |group: &&LiveGroup| !group.is_gone() && group.ifindex == ifindex;
        self.current.iter().find(own).map(|group| group.interface)
    }

    /// Sets the link state of an interface, if it is watched now.
    pub(super) fn set_link(&mut self, ifindex: u32, link: LinkState) {
        let own = |group: &&mut LiveGroup| !group.is_gone() && group.ifindex == ifindex;
        for group in self.current.iter_mut().filter(own) {
            group.link = link;
        }
    }

    /// Admits frames.
    pub(super) fn open_gates(&self) -> Result<(), SetupError> {
        self.current.iter().try_for_each(LiveGroup::open_gate)
    }

    /// Filters out every frame from now on.
    pub(super) fn close_gates(&self) {
        for group in &self.current {
            if let Err(error) = group.close_gate() {
                print_to_stderr(&format!("synledger: {error}\n"));
            }
        }
    }

    /// Replaces the group of a removed interface, whose sockets never recover; false while the interface is missing.
    pub(super) fn reopen(
        &mut self,
        at: usize,
        workers: &Workers<'_>,
        witness: Option<&mut Watching>,
    ) -> Result<bool, String> {
        let LiveGroup {
            name, ifindex: old, ..
        } = &self.current[at];
        let (old, all) = (*old, nic::list().map_err(|error| error.to_string())?);
        // Another watched interface may have taken the name.
        let free = |nic: &nic::Interface| self.watched(nic.ifindex).is_none();
        let Some(nic) = all.into_iter().find(|nic| nic.name == *name && free(nic)) else {
            return Ok(false);
        };
        if nic.link.is_none() {
            return Err(format!("its type ({}) cannot be read", nic.arphrd));
        }
        let opened = self.current[at].reopen(self.config, &self.keys, &nic);
        let (mut group, rings) = opened.map_err(|error| error.to_string())?;
        if let (LinkState::Idle, LinkState::Gone { was_up: true, .. }) =
            (group.link, self.current[at].link)
        {
            group.link = LinkState::Down;
        }
        group.open_gate().map_err(|error| error.to_string())?;
        if let Some(witness) = witness {
            witness.reopen(&nic, self.current[at].interface)?;
        }
        if let Some(counters) = &mut self.nic_counters {
            counters.replace(old, nic.ifindex);
        }
        workers.send_rings(rings);
        self.unwatched_us += unwatched_us(&self.current[at], monotonic_ns());
        self.current[at].hand_counter_to(&mut group);
        let lost = std::mem::replace(&mut self.current[at], group);
        lost.abandon();
        self.replaced.push(lost);
        Ok(true)
    }

    /// Reads the counters of kernel and interfaces. Closes replaced groups once every worker has dropped their rings,
    /// which may hold frames until then.
    pub(super) fn update(&mut self) {
        self.open_mut().for_each(LiveGroup::update);
        let (mut released, still) = std::mem::take(&mut self.replaced)
            .into_iter()
            .partition::<Vec<_>, _>(LiveGroup::is_released);
        self.replaced = still;
        for group in &mut released {
            group.update();
            let closed = group.counts().map(|counts| RingCounts {
                capacity: 0,
                ..counts
            });
            let before = std::mem::take(&mut self.closed_rings).into_iter();
            self.closed_rings = by_ring(before.chain(closed));
            let filtered = self.closed_filtered.zip(group.filtered());
            self.closed_filtered = filtered.map(|(a, b)| a + b);
        }
        if let Some(counters) = &mut self.nic_counters {
            let _ = counters.update();
        }
    }

    /// One entry for each ring. An interface that came back continues its old counts.
    pub(super) fn counts(&self) -> Vec<RingCounts> {
        let closed = self.closed_rings.iter().cloned();
        by_ring(self.open_ones().flat_map(LiveGroup::counts).chain(closed))
    }

    /// Whether frames are counted that data rings filter out.
    pub(super) fn counts_filtered(&self) -> bool {
        self.open_ones().any(|group| group.filtered().is_some())
    }

    /// Share of each ring's bytes that waits to be read.
    pub(super) fn occupancy(&self) -> Vec<(RingId, f64)> {
        let current = self.current.iter();
        current.flat_map(LiveGroup::occupancy).collect()
    }

    /// Frames filtered by `--capture control`, and by data rings under load; `None` where they cannot be counted.
    pub(super) fn filtered(&self) -> (Option<u64>, Option<u64>) {
        let open: Option<u64> = self.open_ones().map(LiveGroup::filtered).sum();
        let counted = open
            .zip(self.closed_filtered)
            .map(|(open, closed)| open + closed);
        match (self.config.capture, self.config.shed) {
            (CaptureDepth::Control, _) => (counted, Some(0)),
            (_, true) => (Some(0), counted),
            (_, false) => (Some(0), Some(0)),
        }
    }

    /// Frames filtered on one interface; `None`: `--capture control` filters some, which cannot be counted.
    pub(super) fn filtered_of(&self, group: &LiveGroup) -> Option<u64> {
        match self.config.capture {
            CaptureDepth::Control => group.filtered(),
            _ => Some(group.filtered().unwrap_or(0)),
        }
    }

    /// The interface's own counters since the start.
    pub(super) fn nic_counters(&self, group: &LiveGroup) -> Option<NicCounters> {
        self.nic_counters.as_ref()?.nic(group.ifindex)
    }

    /// Losses before the rings.
    pub(super) fn host_counts(&self) -> HostCounts {
        let counters = self.nic_counters.as_ref();
        let nic_drops = |group: &LiveGroup| {
            let of_nic = counters.and_then(|counters| counters.nic(group.ifindex));
            of_nic.map_or(0, |counters| counters.nic_drops())
        };
        let now_ns = monotonic_ns();
        let unwatched = self.current.iter().map(|group| unwatched_us(group, now_ns));
        let mut counts = HostCounts {
            nic_drops: self.current.iter().map(nic_drops).sum(),
            softnet_drops: counters.map_or(0, |counters| counters.softnet().total().dropped),
            unwatched_us: self.unwatched_us + unwatched.sum::<u64>(),
        };
        counts.add(&self.before);
        counts
    }

    /// Interfaces that deliver nothing: gone, or down after being up; if none is up, all.
    pub(super) fn unseen(&self) -> Vec<(Reason, String)> {
        let none_up = self.current.iter().all(|group| group.link != LinkState::Up);
        let reason = |group: &LiveGroup| {
            let state = match group.link {
                LinkState::Gone { .. } => "gone",
                LinkState::Down => "down",
                LinkState::Idle if none_up => "down",
                LinkState::Up | LinkState::Idle => return None,
            };
            let text = format!("{} is {state}: nothing is seen there", group.name);
            Some((Reason::Link, text))
        };
        self.current.iter().filter_map(reason).collect()
    }
}

/// Time that an interface has been gone.
fn unwatched_us(group: &LiveGroup, now_ns: i64) -> u64 {
    match group.link {
        LinkState::Gone { since_ns, .. } => now_ns.saturating_sub(since_ns).unsigned_abs() / 1000,
        _ => 0,
    }
}
