//! `synledger check`: whether this host is ready, and what to change if not.
//!
//! [`Facts::gather`] reads the host, [`listen()`] its traffic; [`findings`] judges without any access to them,
//! [`render`] prints.

mod blind;
pub mod facts;
mod fanout;
mod firewall;
mod interfaces;
mod listen;
mod paths;
pub mod render;
mod tags;

use crate::words::{many, shown};
pub use blind::spots;
pub use facts::{
    CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW, Facts, Needs, memory_level, refuse_too_much_memory,
};
pub use fanout::{CONSEQUENCE, Doubt, doubts};
pub use listen::listen;
pub use paths::Paths;

use crate::settings::descriptors;
use crate::settings::given::{Given, Origin};

words! {
    /// How much a finding matters.
    pub enum Level {
        /// As it should be.
        Ok = "ok",
        /// Worth knowing; no loss.
        Note = "note",
        /// Something may be lost or wrong.
        Warn = "warn",
        /// The sensor cannot start.
        Fail = "fail",
    }
}

/// The judgement of one fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    /// The fact, with subject and value.
    pub what: String,
    /// Why it matters; empty if it does not.
    pub why: &'static str,
    /// The command, or the act, that helps; empty if none is needed.
    pub change: String,
}

impl Finding {
    fn ok(what: impl Into<String>) -> Self {
        let what = what.into();
        Self {
            level: Level::Ok,
            what,
            why: "",
            change: String::new(),
        }
    }

    fn new(
        level: Level,
        what: impl Into<String>,
        why: &'static str,
        change: impl Into<String>,
    ) -> Self {
        let (what, change) = (what.into(), change.into());
        Self {
            level,
            what,
            why,
            change,
        }
    }
}

/// Keys of the configuration file that apply, and what of it a run refuses; none if no file was read.
pub fn configuration(given: &Given, refused: &[String]) -> Vec<Finding> {
    let read = keys_read(given);
    let why = "A run with this file would not start.";
    let refused = refused.iter();
    let refused = refused.map(|what| Finding::new(Level::Fail, what, why, ""));
    read.into_iter().chain(refused).collect()
}

fn keys_read(given: &Given) -> Option<Finding> {
    let path = shown(given.file.as_ref()?);
    let settings = given.settings.iter();
    let from_file = settings.filter(|setting| matches!(setting.origin, Origin::File { .. }));
    let keys: Vec<&str> = from_file.map(|setting| setting.key.as_str()).collect();
    Some(Finding::ok(match keys.is_empty() {
        true => format!("{path} was read; none of its flags changes what this host needs"),
        false => format!("{path} was read; from it: {}", keys.join(", ")),
    }))
}

/// Exit code of `check`: 1 if any finding fails, else 0.
pub fn exit_status(findings: &[Finding]) -> u8 {
    u8::from(findings.iter().any(|finding| finding.level == Level::Fail))
}

/// Judges the facts. The same facts give the same findings, in the same order.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = capabilities(facts);
    found.extend(kernel(facts));
    found.extend(limits(facts));
    found.extend(cpus(facts));
    found.extend(memory(facts));
    found.extend(backlog(facts));
    found.extend(interfaces::findings(facts));
    found.extend(blind::findings(facts));
    found.extend(firewall::findings(facts));
    found.extend(tags::findings(&facts.heard, facts.by_vlan));
    found
}

fn capabilities(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if facts.can(CAP_NET_RAW) {
        found.push(Finding::ok("CAP_NET_RAW is held"));
    } else {
        found.push(Finding::new(
            Level::Fail,
            "CAP_NET_RAW is missing",
            "Without it no packet socket can be opened.",
            format!("{}   # or run it as root", setcap(facts, CAP_NET_RAW)),
        ));
    }
    // Before Linux 5.8 CAP_BPF was part of CAP_SYS_ADMIN, bit 21.
    if !facts.can(CAP_BPF) && !facts.can(21) {
        found.push(Finding::new(
            Level::Note,
            "CAP_BPF is not held",
            "Optional: only with it are the packets counted that --capture control filters out.",
            setcap(facts, CAP_BPF),
        ));
    }
    found
}

/// The command that adds a capability to those of the program.
fn setcap(facts: &Facts, wanted: u32) -> String {
    let known = [
        (CAP_NET_RAW, "cap_net_raw"),
        (CAP_BPF, "cap_bpf"),
        (CAP_NET_ADMIN, "cap_net_admin"),
    ];
    let names: Vec<&str> = known
        .into_iter()
        .filter(|&(number, _)| number == wanted || number == CAP_NET_RAW || facts.can(number))
        .map(|(_, name)| name)
        .collect();
    // The path of the file: it may not be installed, and links have no capabilities.
    let program = std::env::current_exe();
    let program = program.map_or_else(
        |_| "\"$(command -v synledger)\"".to_owned(),
        |path| path.display().to_string(),
    );
    format!("sudo setcap {}+ep {program}", names.join(","))
}

fn kernel(facts: &Facts) -> Vec<Finding> {
    let Some((major, minor)) = facts.kernel else {
        let what = "the kernel's version cannot be read";
        return vec![Finding::new(
            Level::Note,
            what,
            "Linux 4.20 or later is recommended.",
            "",
        )];
    };
    let what = format!("Linux {major}.{minor}");
    vec![if facts.older_than(4, 0) {
        let why = "Linux 4.0 is the oldest whose rings and fanout programs are complete.";
        Finding::new(Level::Fail, what, why, "install a newer kernel")
    } else if facts.older_than(4, 20) {
        let why = "Before Linux 4.20 a tap on lo sees each packet twice.";
        Finding::new(
            Level::Warn,
            what,
            why,
            "install a newer kernel, or do not watch lo",
        )
    } else if facts.older_than(6, 13) {
        let why = "Before Linux 6.13 a fanout group cannot be joined while its interface is down.";
        let change = "set interfaces up before the sensor starts: ip link set dev IF up";
        Finding::new(Level::Note, what, why, change)
    } else {
        Finding::ok(what)
    }]
}

fn limits(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let needed = facts.needs.descriptors(facts.interface_count());
    if let Some(files) = facts.open_files {
        let what = descriptors::too_few(files, needed);
        found.push(if files < needed {
            let why = "Each ring is a socket, and each worker has rings on each interface.";
            Finding::new(Level::Fail, what, why, descriptors::way_out(needed))
        } else {
            Finding::ok(what)
        });
    }
    if let Some(bytes) = facts.locked_memory_bytes {
        let little = bytes < 1 << 20 && facts.older_than(5, 11) && facts.can(CAP_BPF);
        if little {
            found.push(Finding::new(
                Level::Warn,
                format!("{} of locked memory allowed", size(bytes)),
                "Before Linux 5.11 the map that counts filtered packets is taken from it.",
                "ulimit -l unlimited   # systemd: LimitMEMLOCK=infinity",
            ));
        }
    }
    found
}

fn cpus(facts: &Facts) -> Vec<Finding> {
    let (allowed, online) = (facts.cpus_allowed, facts.cpus_online);
    let workers = facts.needs.workers;
    let mut what = format!(
        "{allowed} of {online} CPUs allowed, {}",
        many(workers, "worker")
    );
    if let Some(cpuset) = &facts.cpuset {
        what += &format!(" (cpuset {})", crate::host::cpus::list_text(cpuset));
    }
    let mut found = vec![if workers > allowed {
        let why = "Workers that share a CPU take turns, and rings fill meanwhile.";
        Finding::new(Level::Warn, what, why, format!("--workers {allowed}"))
    } else if allowed == 1 {
        let why = "Worker, logger and whatever else runs here share one CPU.";
        Finding::new(
            Level::Note,
            what,
            why,
            "give it a second CPU, or use --capture control",
        )
    } else {
        Finding::ok(what)
    }];
    if let Some(milli) = facts.cpu_limit_milli {
        let needed = u64::try_from(workers)
            .unwrap_or(u64::MAX)
            .saturating_mul(1_000);
        let what = format!(
            "cgroup allows {}.{:02} CPUs of time (cpu.max)",
            milli / 1_000,
            milli % 1_000 / 10
        );
        found.push(if milli < needed {
            let why = "A throttled worker sleeps for up to a tenth of a second, and rings fill meanwhile.";
            Finding::new(Level::Warn, what, why, "raise the limit (systemd: CPUQuota=, container: --cpus)")
        } else {
            Finding::ok(what)
        });
    }
    found
}

fn memory(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let interfaces = facts.interface_count();
    let process = facts.needs.process_bytes;
    let rings = match facts.needs.ring_bytes(interfaces) {
        Ok(bytes) => bytes,
        Err(error) => {
            let why = "A ring of fewer than 8 blocks is full before its worker looks.";
            let change = "raise --ring-mib, or watch fewer interfaces";
            found.push(Finding::new(Level::Fail, error.0, why, change));
            return found;
        }
    };
    if let Some(free) = facts.memory_available_bytes {
        let what = format!(
            "{} of memory available, {} needed: {} for the process, {} for rings of {} on {}",
            size(free),
            size(process + rings),
            size(process),
            size(rings),
            many(facts.needs.workers, "worker"),
            many(interfaces, "interface"),
        );
        let change = "lower --memory-mib, --ring-mib or --workers";
        found.push(match memory_level(free, process + rings) {
            Level::Fail => {
                let why = "Rings and tables are taken at the start and are never given back.";
                Finding::new(Level::Fail, what, why, change)
            }
            Level::Warn => {
                let why = "Little is left for everything else on this host.";
                Finding::new(Level::Warn, what, why, change)
            }
            _ => Finding::ok(what),
        });
    }
    if let Some(limit) = facts.memory_limit_bytes {
        let what = format!("cgroup allows {} of memory (memory.max)", size(limit));
        found.push(if limit < facts.needs.process_bytes {
            let why =
                "The kernel ends the sensor when its tables pass the limit; rings are not counted.";
            Finding::new(
                Level::Warn,
                what,
                why,
                "raise the limit (systemd: MemoryMax=), or lower --memory-mib",
            )
        } else {
            Finding::ok(what)
        });
    }
    found
}

fn backlog(facts: &Facts) -> Vec<Finding> {
    let max = facts.backlog_max.unwrap_or(1_000);
    let Some(softnet) = facts.softnet else {
        let why = "Losses between NIC and tap are unknown.";
        return vec![Finding::new(
            Level::Note,
            "/proc/net/softnet_stat cannot be read",
            why,
            "",
        )];
    };
    let mut found = Vec::new();
    let what = format!(
        "backlog of {max} packets, {} dropped since boot",
        softnet.dropped
    );
    if softnet.dropped > 0 {
        let why = "Packets lost there reach no tap. It serves veth, lo, tun and RPS.";
        let change = format!(
            "sudo sysctl -w net.core.netdev_max_backlog={}",
            (max * 4).max(8_192)
        );
        found.push(Finding::new(Level::Warn, what, why, change));
    } else {
        found.push(Finding::ok(what));
    }
    // A few are normal on a busy host.
    if softnet.time_squeeze > softnet.processed / 1_000 {
        found.push(Finding::new(
            Level::Note,
            format!(
                "softirq budget ran out {} times since boot",
                softnet.time_squeeze
            ),
            "No loss by itself, but the NIC's ring has to hold packets for longer.",
            "sudo sysctl -w net.core.netdev_budget=600 net.core.netdev_budget_usecs=8000",
        ));
    }
    found
}

/// Bytes for a person.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..10_737_418_240 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

#[cfg(test)]
mod tests;
