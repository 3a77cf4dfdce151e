//! Findings about interfaces and their drivers.

use super::{Facts, Finding, Level, fanout};
use crate::capture::mode::FanoutMode;
use crate::host::nic::Interface;
use crate::host::nic::ethtool::{Ethtool, Rss};
use crate::words::many;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let interfaces = match &facts.interfaces {
        Ok(interfaces) => interfaces,
        Err(error) if facts.awaited => {
            let why = "`synledger run` waits until there is one.";
            return vec![Finding::new(Level::Warn, error, why, "")];
        }
        Err(error) => {
            let why = "Without an interface there is nothing to watch.";
            return vec![Finding::new(
                Level::Fail,
                error,
                why,
                "name an interface: -i NAME",
            )];
        }
    };
    let mut found = Vec::new();
    for name in &facts.unreadable {
        let why =
            "Its type is not supported: Ethernet, loopback, PPP, tun and IP tunnel devices are.";
        found.push(Finding::new(
            Level::Warn,
            format!("{name} is left out"),
            why,
            "",
        ));
    }
    for (interface, answers) in interfaces {
        found.push(link(facts, interface));
        found.extend(drops(interface, answers));
        found.extend(merging(interface, answers));
        found.extend(queues(facts, interface, answers));
        found.extend(fanout::findings(facts, interface, answers));
    }
    found
}

fn link(facts: &Facts, interface: &Interface) -> Finding {
    let Interface { name, mtu, .. } = interface;
    if !interface.up {
        let level = match facts.older_than(6, 13) {
            true => Level::Fail,
            false => Level::Warn,
        };
        let why = "Nothing is seen on it, and before Linux 6.13 the sensor cannot start on it.";
        let change = format!("sudo ip link set dev {name} up");
        return Finding::new(level, format!("{name} is down"), why, change);
    }
    if !interface.running {
        let why = "Nothing is seen until it has one.";
        let change = "check the cable or the other end";
        return Finding::new(Level::Warn, format!("{name} has no carrier"), why, change);
    }
    Finding::ok(format!("{name} is up, MTU {mtu}"))
}

fn drops(interface: &Interface, answers: &Ethtool) -> Option<Finding> {
    let drops = interface.counters.nic_drops();
    if drops == 0 {
        return None;
    }
    let name = &interface.name;
    let change = match answers.rx_ring {
        Some((now, max)) if now < max => format!("sudo ethtool -G {name} rx {max}   (now {now})"),
        Some((now, _)) => {
            format!("its ring is at its largest ({now}): spread its queues over more CPUs")
        }
        None => format!("see which counter grows: ethtool -S {name}"),
    };
    Some(Finding::new(
        Level::Warn,
        format!(
            "{name} lost {drops} of {} packets so far",
            interface.counters.rx_packets
        ),
        "Packets lost in the NIC reach no tap.",
        change,
    ))
}

fn merging(interface: &Interface, answers: &Ethtool) -> Option<Finding> {
    let name = &interface.name;
    if answers.lro == Some(true) {
        return Some(Finding::new(
            Level::Warn,
            format!("{name}: LRO is on"),
            "The NIC merges received segments, and headers of all but the first are lost.",
            format!("sudo ethtool -K {name} lro off"),
        ));
    }
    let on: Vec<&str> = [
        ("GRO", answers.gro),
        ("TSO", answers.tso),
        ("GSO", answers.gso),
    ]
    .into_iter()
    .filter_map(|(word, state)| (state == Some(true)).then_some(word))
    .collect();
    // Loopback has no wire.
    (!on.is_empty() && !interface.loopback).then(|| {
        Finding::new(
            Level::Note,
            format!("{name}: {} on", on.join(", ")),
            "One frame at the tap may be many on the wire. Connections, scans and payload bytes are \
             exact; packet counts are the tap's.",
            format!("only to count packets as on the wire: sudo ethtool -K {name} gro off tso off gso off"),
        )
    })
}

fn queues(facts: &Facts, interface: &Interface, answers: &Ethtool) -> Vec<Finding> {
    let name = &interface.name;
    let mut found = Vec::new();
    if interface.loopback {
        return found;
    }
    let (now, max) = answers
        .rx_channels
        .unwrap_or((interface.rx_queues, interface.rx_queues));
    let cpus = u32::try_from(facts.cpus_online).unwrap_or(u32::MAX);
    let queues = many(usize::try_from(now).unwrap_or(usize::MAX), "receive queue");
    let what = format!("{name}: {queues}, {}", many(facts.cpus_online, "CPU"));
    if now == 1 && cpus > 1 {
        let why = "One CPU takes in all packets before they are spread over the workers.";
        let change = match max {
            // veth, tun and some virtual NICs have only one queue: RPS spreads its packets.
            0 | 1 => format!(
                "at high rates: echo {} | sudo tee /sys/class/net/{name}/queues/rx-0/rps_cpus",
                cpu_mask(facts.cpus_online)
            ),
            _ => {
                let kind = if answers.rx_only { "rx" } else { "combined" };
                format!("sudo ethtool -L {name} {kind} {}", max.min(cpus))
            }
        };
        found.push(Finding::new(Level::Note, what, why, change));
        return found;
    }
    found.push(Finding::ok(what));
    let (what, why) = match answers.rss {
        // `fanout::findings` is more precise.
        _ if now <= 1 || matches!(facts.needs.fanout, FanoutMode::Cpu | FanoutMode::Qm) => {
            return found;
        }
        Rss::Symmetric => {
            found.push(Finding::ok(format!("{name}: receive hashing is symmetric")));
            return found;
        }
        Rss::Asymmetric => (
            format!("{name}: receive hashing is not symmetric"),
            "The default fanout does not need it. --fanout cpu and qm would split connections between workers.",
        ),
        Rss::Unknown => (
            format!("{name}: cannot tell whether receive hashing is symmetric"),
            "The driver does not say. The default fanout does not need it; do not use --fanout cpu or qm.",
        ),
    };
    let change = format!("only for --fanout cpu or qm: synledger check -i {name} --fanout qm");
    found.push(Finding::new(Level::Note, what, why, change));
    found
}

/// The mask of the first `cpus` CPUs as `rps_cpus` takes it: 32-bit words with commas.
pub(super) fn cpu_mask(cpus: usize) -> String {
    let first = match cpus % 32 {
        0 => "ffffffff".to_owned(),
        rest => format!("{:x}", (1_u64 << rest) - 1),
    };
    let words = cpus.div_ceil(32).max(1);
    let rest = (1..words).map(|_| "ffffffff".to_owned());
    std::iter::once(first)
        .chain(rest)
        .collect::<Vec<_>>()
        .join(",")
}
