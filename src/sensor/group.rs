//! The fanout group of one interface: sockets, rings, filters, counters.

mod adopt;

use super::worker::ring::{LiveRing, RingView};
use crate::books::ring::{RingCounts, RingId};
use crate::capture::bpf::counted::RejectCounter;
use crate::capture::bpf::depth::{control_only, headers, only_tunnels, without_bulk};
use crate::capture::bpf::fanout::{DEPTH, Keys, Mode, program_with};
use crate::capture::frame::{Class, LinkType};
use crate::capture::group::{Fanout, Group, GroupConfig};
use crate::capture::mode::{CaptureDepth, FanoutMode};
use crate::capture::ring::block::Origin;
use crate::capture::ring::{Reader, Ring, RingGeometry};
use crate::capture::socket::{GATE, RingStatistics, RxSocket, accept};
use crate::capture::valve::{Program, Valve};
use crate::error::SetupError;
use crate::host::cpus;
use crate::host::nic::Interface;
use crate::settings::RunConfig;
use crate::time::clock::Stamps;
pub use adopt::GroupState;
use libc::sock_filter;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

/// Bytes kept of control packets, ICMP errors and their quotes included.
const SNAPLEN_SMALL: u32 = 256;
/// Bytes kept of data packets: what the fanout program parses.
#[allow(clippy::cast_possible_truncation, reason = "192")]
const HEADERS: u32 = DEPTH as u32;
/// Bytes kept of packets with IPv6 extension headers: the chain ends within the first packet's 1,280 bytes or
/// somewhat more (RFC 7112).
const SNAPLEN_DEEP: u32 = 2048;
/// All bytes, BIG TCP included.
const SNAPLEN_FULL: u32 = 262_144;
/// The smallest record in a ring: a frame of no bytes.
const RECORD_BYTES_MIN: u64 = 88;

struct Member {
    view: Arc<RingView>,
    class: Option<Class>,
    worker: usize,
    /// As of the last update.
    counts: RingCounts,
    ring_bytes: u64,
    valve: Arc<Valve>,
}

/// Link state of a watched interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Up,
    /// Down, and never up since it is watched: no loss.
    Idle,
    /// Down after it was up.
    Down,
    /// Removed: its sockets never recover. `since_ns` is by CLOCK_MONOTONIC.
    Gone {
        since_ns: i64,
        was_up: bool,
    },
}

/// The group of one interface.
pub struct LiveGroup {
    pub name: String,
    /// Changes when the interface is re-created.
    pub ifindex: u32,
    /// Index into the run's table of interfaces.
    pub interface: u16,
    pub link: LinkState,
    /// The last reported reason why it could not be reopened.
    pub trouble: Option<String>,
    link_type: LinkType,
    /// Counts frames that data rings filter out (`--capture control`, or under load); needs CAP_BPF.
    filtered: Option<Arc<RejectCounter>>,
    /// Another group has the counter now.
    is_counted_elsewhere: bool,
    group: Arc<Group>,
    members: Vec<Member>,
    /// As of the last [`LiveGroup::take_lost`].
    lost_before: Lost,
}

/// Frames that rings lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Lost {
    /// Dropped or shed, by class; without `--fanout class` all under the first.
    pub frames: [u64; Class::COUNT],
    /// Filtered out by data rings; `u64::MAX` where they cannot be counted.
    pub filtered: u64,
}

fn geometry(config: &RunConfig, class: usize) -> RingGeometry {
    let (bytes, block_size) = (config.rings.bytes[class], config.rings.block_bytes[class]);
    RingGeometry {
        block_size,
        block_nr: u32::try_from(bytes / u64::from(block_size)).unwrap_or(u32::MAX),
        block_timeout_ms: config.block_timeout_ms,
    }
}

fn ring_id(interface: &str, class: Option<Class>, worker: usize) -> RingId {
    RingId {
        interface: interface.to_owned(),
        class: class.map_or("all", Class::word),
        worker,
    }
}

/// The filters of an interface's sockets.
struct Filters {
    /// For data rings.
    data: Program,
    others: Program,
    /// For data rings under load.
    narrow: Option<Program>,
    filtered: Option<Arc<RejectCounter>>,
}

impl Filters {
    /// `load` gives the counter of a filter, where there can be one.
    fn new(
        config: &RunConfig,
        link: LinkType,
        load: impl FnOnce(&[sock_filter]) -> Option<Arc<RejectCounter>>,
    ) -> Self {
        let classic = |program: &[sock_filter]| Program::Classic(program.into());
        let small = classic(&accept(SNAPLEN_SMALL));
        let tunnels = &config.common.tunnels;
        if config.fanout != FanoutMode::Class {
            let all = match config.capture {
                CaptureDepth::Full => classic(&accept(SNAPLEN_FULL)),
                CaptureDepth::Headers => small,
                CaptureDepth::Control => classic(&control_only(SNAPLEN_SMALL)),
            };
            return Self {
                data: all.clone(),
                others: all,
                narrow: None,
                filtered: None,
            };
        }
        let (data, others, filtering) = match config.capture {
            CaptureDepth::Full => {
                let full = classic(&accept(SNAPLEN_FULL));
                (
                    full.clone(),
                    full,
                    without_bulk(link, SNAPLEN_FULL, tunnels),
                )
            }
            CaptureDepth::Headers => {
                let headers = classic(&headers(link, HEADERS, SNAPLEN_DEEP, tunnels));
                (headers, small, without_bulk(link, SNAPLEN_DEEP, tunnels))
            }
            CaptureDepth::Control if tunnels.any() => {
                let only = only_tunnels(link, SNAPLEN_DEEP, tunnels);
                (classic(&only), small, only)
            }
            CaptureDepth::Control => (classic(&GATE), small, GATE.to_vec()),
        };
        let mut filters = Self {
            data,
            others,
            narrow: None,
            filtered: None,
        };
        if !config.filters_data() {
            return filters;
        }
        filters.filtered = load(&filtering);
        let counted = filters.filtered.clone().map(Program::Counted);
        let filtering = counted.unwrap_or_else(|| classic(&filtering));
        match config.capture {
            CaptureDepth::Control => filters.data = filtering,
            _ => filters.narrow = Some(filtering),
        }
        filters
    }

    fn valve(&self, class: Option<Class>) -> Valve {
        match class {
            Some(Class::Control | Class::Open) => Valve::new(self.others.clone(), None),
            _ => Valve::new(self.data.clone(), self.narrow.clone()),
        }
    }
}

/// Opens or adopts the sockets of `nic` and their rings.
fn with_group<T>(
    config: &RunConfig,
    keys: &Keys,
    nic: &Interface,
    interface: u16,
    open: impl FnOnce(&GroupConfig<'_>) -> T,
) -> T {
    let workers = config.common.workers;
    let link = nic.link.unwrap_or(LinkType::Ethernet);
    let demux = program_with(
        keys,
        u32::try_from(workers).expect("at most 64"),
        Mode::Fanout,
        &config.common.tunnels,
    );
    let classes = match config.fanout {
        FanoutMode::Class => Class::COUNT,
        _ => 1,
    };
    let members = (0..classes * workers)
        .map(|member| geometry(config, member / workers))
        .collect();
    let wanted = GroupConfig {
        ifindex: nic.ifindex,
        name: &nic.name,
        members,
        fanout: match config.fanout {
            FanoutMode::Class => Fanout::Cbpf(&demux),
            FanoutMode::Hash => Fanout::Hash,
            FanoutMode::Cpu => Fanout::Cpu,
            FanoutMode::Qm => Fanout::Qm,
        },
        ignore_outgoing: nic.loopback,
        promiscuous: config.promiscuous,
        origin: Origin {
            interface,
            link,
            loopback: nic.loopback,
        },
    };
    open(&wanted)
}

/// The sockets of `nic` and their rings, gated.
fn open_group(
    config: &RunConfig,
    wanted: &GroupConfig<'_>,
) -> Result<(Group, Vec<Ring>), SetupError> {
    let workers = config.common.workers;
    // A ring's memory comes from the NUMA node of its opener: run near the worker that will read it.
    cpus::keeping_affinity(|| {
        Group::open(wanted, |member| {
            if let Some(&cpu) = config.common.cores.get(member % workers) {
                // A worker that cannot be pinned reports that itself.
                let _ = cpus::pin_current_thread(cpu);
            }
        })
    })
}

impl LiveGroup {
    pub fn is_gone(&self) -> bool {
        matches!(self.link, LinkState::Gone { .. })
    }

    /// Opens the rings of `nic` behind closed gates; also returns the rings of each worker.
    pub fn open(
        config: &RunConfig,
        keys: &Keys,
        nic: &Interface,
        interface: u16,
    ) -> Result<(Self, Vec<Vec<LiveRing>>), SetupError> {
        let load = |program: &[sock_filter]| RejectCounter::new(program).ok().map(Arc::new);
        Self::open_with(config, keys, nic, interface, load)
    }

    /// The same for an interface that was re-created, with this group's counter of filtered frames: the sandbox lets
    /// nobody load another program.
    pub fn reopen(
        &self,
        config: &RunConfig,
        keys: &Keys,
        nic: &Interface,
    ) -> Result<(Self, Vec<Vec<LiveRing>>), SetupError> {
        let same_type = nic.link == Some(self.link_type);
        let counter = self.filtered.clone().filter(|_| same_type);
        Self::open_with(config, keys, nic, self.interface, |_| counter)
    }

    /// Leaves the counter of filtered frames to the group that replaces this one.
    pub fn hand_counter_to(&mut self, new: &mut Self) {
        if new.filtered.is_some() {
            self.is_counted_elsewhere = true;
            new.lost_before.filtered = self.lost_before.filtered;
        }
    }

    fn open_with(
        config: &RunConfig,
        keys: &Keys,
        nic: &Interface,
        interface: u16,
        load: impl FnOnce(&[sock_filter]) -> Option<Arc<RejectCounter>>,
    ) -> Result<(Self, Vec<Vec<LiveRing>>), SetupError> {
        let opened = with_group(config, keys, nic, interface, |wanted| {
            open_group(config, wanted)
        });
        let (group, rings) = opened?;
        let readers = rings
            .into_iter()
            .map(|ring| (Reader::new(ring), Stamps::default(), 0));
        Ok(Self::of_parts(
            config,
            nic,
            interface,
            (group, readers.collect()),
            load,
        ))
    }

    fn of_parts(
        config: &RunConfig,
        nic: &Interface,
        interface: u16,
        (group, readers): (Group, Vec<(Reader, Stamps, u64)>),
        load: impl FnOnce(&[sock_filter]) -> Option<Arc<RejectCounter>>,
    ) -> (Self, Vec<Vec<LiveRing>>) {
        let workers = config.common.workers;
        let by_class = config.fanout == FanoutMode::Class;
        let group = Arc::new(group);
        let link_type = nic.link.unwrap_or(LinkType::Ethernet);
        let filters = Filters::new(config, link_type, load);
        let mut live = Self {
            name: nic.name.clone(),
            ifindex: nic.ifindex,
            interface,
            link: match nic.up && nic.running {
                true => LinkState::Up,
                false => LinkState::Idle,
            },
            trouble: None,
            link_type,
            filtered: filters.filtered.clone(),
            is_counted_elsewhere: false,
            group: Arc::clone(&group),
            members: Vec::new(),
            lost_before: Lost::default(),
        };
        let mut per_worker: Vec<Vec<LiveRing>> = (0..workers).map(|_| Vec::new()).collect();
        for (member, (reader, stamps, losing_seen)) in readers.into_iter().enumerate() {
            let class = by_class.then(|| Class::ALL[member / workers]);
            let worker = member % workers;
            let valve = Arc::new(filters.valve(class));
            let view = live.add_member(class, worker, reader.geometry(), Arc::clone(&valve));
            per_worker[worker].push(LiveRing {
                reader,
                group: Arc::clone(&group),
                member,
                class,
                valve,
                stamps,
                view,
                losing_seen,
                dead_since_ns: None,
            });
        }
        (live, per_worker)
    }

    fn add_member(
        &mut self,
        class: Option<Class>,
        worker: usize,
        geometry: RingGeometry,
        valve: Arc<Valve>,
    ) -> Arc<RingView> {
        let view = Arc::new(RingView::default());
        self.members.push(Member {
            view: Arc::clone(&view),
            class,
            worker,
            counts: RingCounts {
                id: ring_id(&self.name, class, worker),
                capacity: geometry.bytes() as u64 / RECORD_BYTES_MIN,
                ..RingCounts::default()
            },
            ring_bytes: geometry.bytes() as u64,
            valve,
        });
        view
    }

    /// Admits frames, to the depth of `--capture`.
    pub fn open_gate(&self) -> Result<(), SetupError> {
        self.each_valve(Valve::open)
    }

    fn each_valve(
        &self,
        turn: impl Fn(&Valve, &RxSocket) -> Result<(), SetupError>,
    ) -> Result<(), SetupError> {
        let mut all = self.members.iter().zip(self.group.sockets());
        all.try_for_each(|(member, socket)| turn(&member.valve, socket))
    }

    /// Frames filtered by data rings; `None` where they cannot be counted.
    pub fn filtered(&self) -> Option<u64> {
        if self.is_counted_elsewhere {
            return Some(0);
        }
        self.filtered.as_ref()?.count().ok()
    }

    /// Filters out every frame from now on.
    pub fn close_gate(&self) -> Result<(), SetupError> {
        self.each_valve(Valve::close)
    }

    pub fn rename(&mut self, to: &str) {
        to.clone_into(&mut self.name);
        for member in &mut self.members {
            member.counts.id = ring_id(to, member.class, member.worker);
        }
    }

    /// Whether every worker has dropped its rings.
    pub fn is_released(&self) -> bool {
        let released = Arc::strong_count(&self.group) == 1;
        // Pairs with the release of each worker's drop: its last counts are visible.
        fence(Ordering::Acquire);
        released
    }

    /// Has the workers drop their rings of this group.
    pub fn abandon(&self) {
        for member in &self.members {
            member.view.dead.store(true, Ordering::Release);
        }
    }

    /// Reads the kernel's counters, which clears them, into ours.
    pub fn update(&mut self) {
        for (member, socket) in self.members.iter_mut().zip(self.group.sockets()) {
            let counts = &mut member.counts;
            // Before the kernel's counters, so that those include every frame read.
            counts.frames_read = member.view.frames_read.load(Ordering::Acquire);
            counts.shed_data = member.view.shed_data.load(Ordering::Acquire);
            let RingStatistics {
                tp_packets,
                tp_drops,
                tp_freeze_q_cnt,
            } = socket.statistics().unwrap_or_default();
            counts.tp_packets += u64::from(tp_packets);
            counts.tp_drops += u64::from(tp_drops);
            counts.tp_freezes += u64::from(tp_freeze_q_cnt);
            member.view.drops.store(counts.tp_drops, Ordering::Relaxed);
        }
    }

    /// Losses between the updates before this call and before the last one.
    pub fn take_lost(&mut self) -> Lost {
        let mut now = Lost {
            filtered: self.filtered().unwrap_or(u64::MAX),
            ..Lost::default()
        };
        for member in &self.members {
            let class = member.class.map_or(0, |class| class as usize);
            now.frames[class] += member.counts.tp_drops + member.counts.shed_data;
        }
        let before = std::mem::replace(&mut self.lost_before, now);
        for (now, then) in now.frames.iter_mut().zip(before.frames) {
            *now -= then;
        }
        if now.filtered != u64::MAX {
            now.filtered = now.filtered.saturating_sub(before.filtered);
        }
        now
    }

    /// Counters of its rings as of the last update.
    pub fn counts(&self) -> impl Iterator<Item = RingCounts> {
        self.members.iter().map(|member| member.counts.clone())
    }

    /// Share of each ring's bytes that waits to be read.
    pub fn occupancy(&self) -> impl Iterator<Item = (RingId, f64)> {
        self.members.iter().map(|member| {
            let waiting = member.view.waiting_bytes.load(Ordering::Relaxed);
            let share = waiting as f64 / member.ring_bytes.max(1) as f64;
            (member.counts.id.clone(), share)
        })
    }
}
