//! Whether `--fanout cpu` or `qm` keeps both directions of a connection at one worker.
//!
//! They do if all frames arrive by receive queues that a symmetric hash selects. Frames that the host sends pass
//! the tap elsewhere: tried on virtio_net with one queue, `qm` and two workers, all of 20 connections of the host
//! were split between workers (Linux 6.18, 2026-11).

use super::{Facts, Finding, Level};
use crate::capture::mode::FanoutMode;
use crate::host::nic::Interface;
use crate::host::nic::ethtool::{Ethtool, FLOW_TYPES, Rss, fields_are_symmetric};
use ipnet::IpNet;

/// A reason why both directions of a connection may meet different workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The interface and the reason.
    pub what: String,
    /// The command, or the act, that helps.
    pub change: String,
}

/// The consequence of a doubt.
pub const CONSEQUENCE: &str = "Both directions of a connection may meet different workers: which connections are established or \
     refused, and flows, are then not promised. Frame books and scan decisions are.";

/// Doubts about one interface. None if the mode keeps directions together, or with one worker.
pub fn doubts(
    mode: FanoutMode,
    workers: usize,
    interface: &Interface,
    answers: &Ethtool,
) -> Vec<Doubt> {
    let (word, path) = match mode {
        FanoutMode::Class | FanoutMode::Hash => return Vec::new(),
        FanoutMode::Cpu => ("cpu", "the CPU that sends it"),
        FanoutMode::Qm => ("qm", "its transmit queue"),
    };
    if workers == 1 {
        return Vec::new();
    }
    let name = &interface.name;
    let without = format!("leave out --fanout {word}: with class, the default, it does not matter");
    let mut found = Vec::new();
    if sends(interface) {
        found.push(Doubt {
            what: format!("{name} also sends, and what it sends goes to a worker by {path}"),
            change: format!("{without}; {word} is for ports that only receive"),
        });
    }
    let queues = answers
        .rx_channels
        .map_or(interface.rx_queues, |(now, _)| now);
    match (mode, queues) {
        // All received frames have one queue, whatever RPS does then.
        (FanoutMode::Qm, 0 | 1) => {}
        (_, 0 | 1) => found.push(Doubt {
            what: format!("{name} has one receive queue, and nothing says which CPU serves it"),
            change: format!("--fanout qm, or {without}"),
        }),
        _ => found.extend(hashing(name, answers, &without)),
    }
    found
}

/// Whether the interface sends: it has an address, or sent over 1 % of what it received.
fn sends(interface: &Interface) -> bool {
    let counters = &interface.counters;
    let link_local = |net: &IpNet| match net {
        IpNet::V4(net) => net.addr().is_link_local(),
        IpNet::V6(net) => net.addr().is_unicast_link_local(),
    };
    interface.loopback
        || !interface.addresses.iter().all(link_local)
        || counters.tx_packets.saturating_mul(100) > counters.rx_packets
}

/// Doubts about receive hashing: its function with the key, and its fields.
fn hashing(name: &str, answers: &Ethtool, without: &str) -> Vec<Doubt> {
    let mut found = Vec::new();
    match answers.rss {
        Rss::Symmetric => {}
        Rss::Asymmetric => found.push(Doubt {
            what: format!("{name}: receive hashing is not symmetric"),
            change: symmetric_key(name, answers),
        }),
        Rss::Unknown => {
            found.push(Doubt {
                what: format!(
                    "{name}: its driver does not say whether receive hashing is symmetric"
                ),
                change: without.to_owned(),
            });
            return found;
        }
    }
    for ((flow_type, _), fields) in FLOW_TYPES.into_iter().zip(answers.hash_fields) {
        match fields {
            Some(fields) if fields_are_symmetric(fields) => {}
            Some(_) => found.push(Doubt {
                what: format!(
                    "{name}: receive hashing of {flow_type} takes fields of one direction"
                ),
                change: format!("sudo ethtool -N {name} rx-flow-hash {flow_type} sdfn"),
            }),
            None => {
                found.push(Doubt {
                    what: format!(
                        "{name}: its driver does not say which fields of {flow_type} are hashed"
                    ),
                    change: without.to_owned(),
                });
                break;
            }
        }
    }
    found
}

/// The command for a key that repeats every 16 bits, which every kernel and NIC with Toeplitz takes.
pub(super) fn symmetric_key(name: &str, answers: &Ethtool) -> String {
    let bytes = answers.rss_key_bytes.unwrap_or(40);
    let key: Vec<&str> = ["6d", "5a"]
        .into_iter()
        .cycle()
        .take(bytes as usize)
        .collect();
    format!(
        "sudo ethtool -X {name} hfunc toeplitz hkey {}",
        key.join(":")
    )
}

/// The doubts as findings, or one finding that there is none.
pub(super) fn findings(facts: &Facts, interface: &Interface, answers: &Ethtool) -> Vec<Finding> {
    let mode = facts.needs.fanout;
    if matches!(mode, FanoutMode::Class | FanoutMode::Hash) {
        return Vec::new();
    }
    let doubts = doubts(mode, facts.needs.workers, interface, answers);
    if doubts.is_empty() {
        let (name, word) = (&interface.name, mode.word());
        return vec![Finding::ok(format!(
            "{name}: --fanout {word} keeps both directions of a connection together"
        ))];
    }
    doubts
        .into_iter()
        .map(|Doubt { what, change }| Finding::new(Level::Warn, what, CONSEQUENCE, change))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::nic::{NicCounters, link_type};

    const PAIRS: u64 = 0xf0;

    fn mirror_port() -> (Interface, Ethtool) {
        let interface = Interface {
            name: "eth9".to_owned(),
            ifindex: 9,
            arphrd: 1,
            link: link_type(1),
            up: true,
            running: true,
            loopback: false,
            mtu: 1_500,
            rx_queues: 4,
            addresses: vec!["fe80::1/64".parse().expect("a network")],
            counters: NicCounters {
                rx_packets: 1_000_000,
                tx_packets: 12,
                ..NicCounters::default()
            },
        };
        let answers = Ethtool {
            rx_channels: Some((4, 8)),
            rss: Rss::Symmetric,
            rss_key_bytes: Some(6),
            hash_fields: [Some(PAIRS); 4],
            ..Ethtool::default()
        };
        (interface, answers)
    }

    /// What is said with two workers after `change`.
    fn said(mode: FanoutMode, change: impl FnOnce(&mut Interface, &mut Ethtool)) -> Vec<Doubt> {
        let (mut interface, mut answers) = mirror_port();
        change(&mut interface, &mut answers);
        doubts(mode, 2, &interface, &answers)
    }

    #[test]
    fn a_mirror_port_with_symmetric_hashing_is_proven() {
        for mode in [FanoutMode::Cpu, FanoutMode::Qm] {
            assert_eq!(said(mode, |_, _| ()), []);
        }
        let one = |_: &mut Interface, answers: &mut Ethtool| {
            *answers = Ethtool {
                rx_channels: Some((1, 1)),
                ..Ethtool::default()
            };
        };
        assert_eq!(said(FanoutMode::Qm, one), [], "one queue, one worker");
        assert!(said(FanoutMode::Cpu, one)[0].what.contains("which CPU"));
    }

    #[test]
    fn each_lack_is_named_with_the_command_that_changes_it() {
        let only = |change: &dyn Fn(&mut Interface, &mut Ethtool)| {
            let mut found = said(FanoutMode::Qm, change);
            assert_eq!(found.len(), 1, "{found:#?}");
            found.remove(0)
        };
        let key = only(&|_, answers| answers.rss = Rss::Asymmetric);
        assert_eq!(
            key.change,
            "sudo ethtool -X eth9 hfunc toeplitz hkey 6d:5a:6d:5a:6d:5a"
        );
        let fields = only(&|_, answers| answers.hash_fields[2] = Some(0x10));
        assert!(fields.what.contains("tcp6"), "{fields:?}");
        assert_eq!(fields.change, "sudo ethtool -N eth9 rx-flow-hash tcp6 sdfn");
        let silent = only(&|_, answers| answers.hash_fields = [None; 4]);
        assert!(silent.what.contains("does not say which"), "{silent:?}");
        let unknown = only(&|_, answers| answers.rss = Rss::Unknown);
        assert!(unknown.what.contains("does not say whether"), "{unknown:?}");
        assert!(
            unknown.change.contains("leave out --fanout qm"),
            "{unknown:?}"
        );
        let address = "192.0.2.7/24".parse().expect("a network");
        let sends = only(&|nic, _| nic.addresses.push(address));
        assert!(sends.what.contains("its transmit queue"), "{sends:?}");
        let bridged = only(&|nic, _| nic.counters.tx_packets = 20_000);
        assert_eq!(bridged, sends, "forwards what others send");
    }

    #[test]
    fn one_worker_and_our_own_program_need_no_proof() {
        let (mut interface, _) = mirror_port();
        interface.loopback = true;
        let silent = Ethtool::default();
        assert_eq!(doubts(FanoutMode::Qm, 1, &interface, &silent), []);
        assert_eq!(doubts(FanoutMode::Class, 8, &interface, &silent), []);
        assert_eq!(doubts(FanoutMode::Hash, 8, &interface, &silent), []);
        assert!(!doubts(FanoutMode::Qm, 8, &interface, &silent).is_empty());
    }
}
