//! Facts about this host, gathered once.

use std::fs;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};

use crate::capture::bpf::counted::RejectCounter;
use crate::capture::mode::{CaptureDepth, FanoutMode};
use crate::capture::tunnels::Tunnels;
use crate::error::ConfigError;
use crate::host::cpus;
use crate::host::nic::ethtool::{self, Ethtool};
use crate::host::nic::{
    Interface, SelectError, Selection, Softnet, SoftnetCounters, hardware_type,
};
use crate::respond::block::helper::holds;
use crate::respond::block::nft;
use crate::settings::flags::{RingArgs, SizeArgs};
use crate::settings::memory::{self, Memory};
use crate::settings::rings::RingBudget;
use crate::settings::{RunConfig, descriptors};
use crate::witness;

use super::Level;
use super::paths::Paths;
use super::tags::Heard;

// Bit numbers (linux/capability.h).
pub const CAP_NET_ADMIN: u32 = 12;
pub const CAP_NET_RAW: u32 = 13;
pub const CAP_BPF: u32 = 39;

/// Resources of the run that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Memory of the process.
    pub process_bytes: u64,
    /// Kernel memory, shared by the interfaces.
    pub rings: RingBudget,
    /// `--witness`.
    pub witness: Option<u32>,
    pub outputs: usize,
    pub metrics: usize,
    /// `--block`.
    pub status: bool,
    pub workers: usize,
    pub fanout: FanoutMode,
    /// The kernel allows a program that counts the packets that data rings filter, and there is such a filter.
    pub counts_filtered: bool,
}

impl Needs {
    /// Needs of a run with these flags on `allowed` CPUs, other flags at their defaults.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: `--memory-mib` is too small for the workers.
    pub fn new(size: &SizeArgs, rings: &RingArgs, allowed: usize) -> Result<Self, ConfigError> {
        let workers = size.workers(allowed);
        let users = memory::Users {
            workers,
            outputs: 1,
            buffers: 1,
            fold_tables: workers,
            ..memory::Users::default()
        };
        // Whether a budget is enough does not depend on the rules.
        Memory::divide(size.memory_mib, users, &crate::inspect::Flags::default())?;
        Ok(Self {
            process_bytes: u64::from(size.memory_mib) << 20,
            rings: RingBudget::new(rings, CaptureDepth::Headers, None),
            witness: None,
            outputs: 1,
            metrics: 0,
            status: false,
            workers,
            fanout: rings.fanout,
            counts_filtered: rings.fanout == FanoutMode::Class && RejectCounter::is_allowed(),
        })
    }

    pub fn of(config: &RunConfig) -> Self {
        Self {
            process_bytes: config.memory.bytes(),
            rings: config.ring_budget,
            witness: config.witness,
            outputs: config.common.outputs.len() + config.common.responders.len(),
            metrics: config.metrics.len(),
            status: config.status.is_some(),
            workers: config.common.workers,
            fanout: config.fanout,
            counts_filtered: config.filters_data() && RejectCounter::is_allowed(),
        }
    }

    /// Memory of all rings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: the share of an interface is too small.
    pub fn ring_bytes(&self, interfaces: usize) -> Result<u64, ConfigError> {
        let worker = self.rings.share(interfaces)?.sum();
        let interface = worker * self.workers as u64 + witness::ring_bytes(self.witness);
        Ok(interface * interfaces as u64)
    }

    pub fn descriptors(&self, interfaces: usize) -> u64 {
        let users = descriptors::Users {
            workers: self.workers,
            fanout: self.fanout,
            counts_filtered: self.counts_filtered,
            witness: self.witness.is_some(),
            outputs: self.outputs,
            metrics: self.metrics,
            status: self.status,
        };
        users.needed(interfaces)
    }
}

/// Facts about this host. `None`: unknown.
#[derive(Clone, Debug)]
pub struct Facts {
    pub needs: Needs,
    /// Effective capabilities, one bit each (`CapEff`).
    pub capabilities: Option<u64>,
    /// Hard limit of open files, up to which a run raises the soft one.
    pub open_files: Option<u64>,
    /// Soft limit of locked memory, in bytes.
    pub locked_memory_bytes: Option<u64>,
    /// Kernel version: major, minor.
    pub kernel: Option<(u32, u32)>,
    /// CPUs this process may use.
    pub cpus_allowed: usize,
    pub cpus_online: usize,
    /// CPUs of the cgroup.
    pub cpuset: Option<Vec<usize>>,
    /// CPU time of the cgroup, in thousandths of one CPU; `None`: no limit.
    pub cpu_limit_milli: Option<u64>,
    /// Memory of the cgroup; `None`: no limit.
    pub memory_limit_bytes: Option<u64>,
    /// `MemAvailable`.
    pub memory_available_bytes: Option<u64>,
    /// `net.core.netdev_max_backlog`, in packets.
    pub backlog_max: Option<u64>,
    /// Counters of the backlog since boot.
    pub softnet: Option<SoftnetCounters>,
    /// The selected interfaces and their drivers' answers, or why there are none.
    pub interfaces: Result<Vec<(Interface, Ethtool)>, String>,
    /// Where packets may pass unseen.
    pub paths: Paths,
    /// The kernel's nftables: whether tables may have owners, or why they do not answer. `None`: not asked, as
    /// CAP_NET_ADMIN is not held.
    pub nftables: Option<Result<bool, String>>,
    /// There is none, and `run` would wait for one.
    pub awaited: bool,
    /// Selected interfaces of unsupported types: name and type.
    pub unreadable: Vec<String>,
    /// `--key vlan`.
    pub by_vlan: bool,
    /// Tunnels that the run opens.
    pub tunnels: Tunnels,
    /// Interfaces that were listened to, and why one could not be.
    pub heard: Vec<(String, Result<Heard, String>)>,
}

impl Facts {
    pub fn gather(resolved: Result<Selection, SelectError>, needs: Needs) -> Self {
        let read = |path: &str| fs::read_to_string(path).ok();
        let status = read("/proc/self/status");
        let cgroup = cpus::cgroup_path();
        let of_cgroup = |name: &str| smallest(cgroup.as_deref()?, name);
        let allowed = cpus::allowed().len();
        let awaited = matches!(&resolved, Err(error) if error.may_pass(false));
        let (interfaces, unreadable) = match resolved {
            Ok(selection) => described(selection),
            Err(error) => (Err(error.to_string()), Vec::new()),
        };
        Self {
            needs,
            capabilities: status.as_deref().and_then(capabilities),
            open_files: descriptors::limits().map(|(_, hard)| hard),
            locked_memory_bytes: soft_limit(Resource::RLIMIT_MEMLOCK),
            kernel: read("/proc/sys/kernel/osrelease")
                .as_deref()
                .and_then(version),
            cpus_allowed: allowed,
            cpus_online: cpus::online().len().max(allowed),
            cpuset: cpus::cgroup_cpuset(),
            cpu_limit_milli: of_cgroup("cpu.max"),
            memory_limit_bytes: of_cgroup("memory.max"),
            memory_available_bytes: memory_available_bytes(),
            backlog_max: read("/proc/sys/net/core/netdev_max_backlog")
                .and_then(|text| text.trim().parse().ok()),
            softnet: read("/proc/net/softnet_stat").map(|text| Softnet::since_boot(&text)),
            paths: paths_of(&interfaces),
            nftables: holds(nft::METHOD.capabilities)
                .then(|| nft::has_owners().map_err(|error| error.to_string())),
            interfaces,
            awaited,
            unreadable,
            by_vlan: false,
            tunnels: Tunnels::NONE,
            heard: Vec::new(),
        }
    }

    /// Number of interfaces; 1 if none is selected.
    pub fn interface_count(&self) -> usize {
        self.interfaces.as_ref().map_or(1, Vec::len)
    }

    /// Whether the process has the capability, or may have it.
    pub fn can(&self, capability: u32) -> bool {
        self.capabilities
            .is_none_or(|bits| bits >> capability & 1 == 1)
    }

    /// Whether the kernel is known to be older than this.
    pub fn older_than(&self, major: u32, minor: u32) -> bool {
        self.kernel.is_some_and(|kernel| kernel < (major, minor))
    }
}

fn paths_of(interfaces: &Result<Vec<(Interface, Ethtool)>, String>) -> Paths {
    let all = interfaces.iter().flatten();
    Paths::of(&all.map(|(interface, _)| interface).collect::<Vec<_>>())
}

type Described = (Result<Vec<(Interface, Ethtool)>, String>, Vec<String>);

fn described(selection: Selection) -> Described {
    let ask = |interface: Interface| {
        let answers = ethtool::ask(&interface.name).unwrap_or_default();
        (interface, answers)
    };
    let unreadable = selection.unreadable.into_iter();
    let unreadable = unreadable.map(|each| {
        format!(
            "{}, of hardware type {},",
            each.name,
            hardware_type(each.arphrd)
        )
    });
    (
        Ok(selection.interfaces.into_iter().map(ask).collect()),
        unreadable.collect(),
    )
}

fn soft_limit(resource: Resource) -> Option<u64> {
    getrlimit(resource).ok().map(|(soft, _)| soft)
}

/// `CapEff` of `/proc/self/status`.
fn capabilities(status: &str) -> Option<u64> {
    let hex = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

/// Major and minor of `6.8.0-49-generic`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// `MemAvailable`: memory that can be taken without swapping.
pub fn memory_available_bytes() -> Option<u64> {
    available(&fs::read_to_string("/proc/meminfo").ok()?)
}

/// Judges a lasting reservation of `needed` bytes.
pub fn memory_level(available: u64, needed: u64) -> Level {
    // A quarter more, for everything else on this host.
    if available < needed {
        Level::Fail
    } else if available < needed + needed / 4 {
        Level::Warn
    } else {
        Level::Ok
    }
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// The smallest limit in file `name` of a cgroup and of all above it: each of them applies.
fn smallest(cgroup: &Path, name: &str) -> Option<u64> {
    cgroup
        .ancestors()
        .take_while(|path| path.starts_with("/sys/fs/cgroup"))
        .filter_map(|path| limit(&fs::read_to_string(path.join(name)).ok()?))
        .min()
}

/// Reads `max`, a number, or quota and period of `cpu.max` (in thousandths of a CPU).
fn limit(text: &str) -> Option<u64> {
    let mut numbers = text.split_whitespace();
    let limit: u64 = numbers.next()?.parse().ok()?;
    match numbers.next() {
        None => Some(limit),
        Some(period) => limit.checked_mul(1_000)?.checked_div(period.parse().ok()?),
    }
}

/// Refuses more memory than is available. `asked` names flags and amounts.
///
/// # Errors
///
/// Names what was asked for and what is available.
pub fn refuse_too_much_memory(
    bytes: u64,
    asked: impl FnOnce() -> String,
) -> Result<(), ConfigError> {
    match memory_available_bytes() {
        Some(available) if memory_level(available, bytes) == Level::Fail => {
            Err(ConfigError(format!(
                "{}; {} MiB are available: ask for less, or for fewer --workers",
                asked(),
                available >> 20
            )))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::nic;
    use crate::settings::flags::{Cli, Command};
    use clap::Parser;

    #[test]
    fn the_kernels_texts_are_read() {
        assert_eq!(
            capabilities("Name:\tx\nCapEff:\t0000000000002000\n"),
            Some(1 << 13)
        );
        assert_eq!(capabilities("CapPrm:\t0\n"), None);
        assert_eq!(version("6.8.0-49-generic"), Some((6, 8)));
        assert_eq!(version("5.15\n"), Some((5, 15)));
        assert_eq!(version("x"), None);
        assert_eq!(
            available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(limit("max 100000\n"), None);
        assert_eq!(limit("max\n"), None);
        assert_eq!(limit("150000 100000\n"), Some(1_500));
        assert_eq!(limit("1073741824\n"), Some(1 << 30));
        assert_eq!(limit("5 0\n"), None);
    }

    fn needs(args: &[&str], allowed: usize) -> Needs {
        match Cli::try_parse_from(["synledger", "check"].iter().chain(args)) {
            Ok(Cli {
                command: Command::Check(check),
            }) => Needs::new(&check.size, &check.rings, allowed).expect("enough memory"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn interfaces_share_rings_or_have_rings_of_their_own() {
        assert_eq!(needs(&[], 1).workers, 1);
        assert_eq!(needs(&[], 12).workers, 3);
        let many = needs(&[], 128);
        let mib = |needs: &Needs, interfaces| needs.ring_bytes(interfaces).map(|bytes| bytes >> 20);
        assert_eq!(
            (many.workers, mib(&many, 1), mib(&many, 4)),
            (4, Ok(256), Ok(256))
        );
        assert_eq!(many.process_bytes, 256 << 20);
        let error = mib(&many, 80).expect_err("819 KiB each");
        assert!(error.0.contains("--ring-mib 80"), "{error}");
        let each = needs(&["--ring-per-interface"], 128);
        assert_eq!(mib(&each, 80), Ok(80 * 256));
    }

    #[test]
    fn memory_is_enough_tight_or_too_little() {
        assert_eq!(memory_level(99, 100), Level::Fail);
        assert_eq!(memory_level(100, 100), Level::Warn);
        assert_eq!(memory_level(124, 100), Level::Warn);
        assert_eq!(memory_level(125, 100), Level::Ok);
    }

    #[test]
    fn flags_change_what_is_needed() {
        let few = needs(
            &["--workers", "2", "--ring-mib", "8", "--memory-mib", "64"],
            128,
        );
        assert_eq!((few.workers, few.ring_bytes(1)), (2, Ok(16 << 20)));
        assert!(few.process_bytes < needs(&[], 128).process_bytes, "{few:?}");
        assert_eq!(needs(&["--fanout", "qm"], 1).fanout, FanoutMode::Qm);
    }

    #[test]
    fn this_host_can_be_gathered() {
        let facts = Facts::gather(nic::resolve("lo"), needs(&[], 1));
        assert!(facts.kernel.is_some());
        assert!(facts.capabilities.is_some());
        assert!(facts.cpus_allowed >= 1);
        let interfaces = facts.interfaces.expect("lo is everywhere");
        assert_eq!(interfaces[0].0.name, "lo");
        assert!(
            Facts::gather(nic::resolve("not-there"), needs(&[], 1))
                .interfaces
                .is_err()
        );
    }
}
