//! What passes a host and no watched interface shows, or shows twice.

use super::paths::Paths;
use super::tags::Heard;
use super::{Facts, Finding, Level};
use crate::capture::tunnels::{Tunnel, Tunnels};
use crate::host::nic::{Driver, DriverLoss, Flowtable, Interface, Relation, Xdp};
use crate::words::many;

/// Kinds of devices whose packets pass another device inside tunnels, and which `--decap` must open to see inside; none
/// does for those without.
const TUNNELS: [(&str, &[Tunnel]); 14] = [
    ("gre", &[Tunnel::Gre]),
    ("gretap", &[Tunnel::Gre]),
    ("ip6gre", &[Tunnel::Gre]),
    ("ip6gretap", &[Tunnel::Gre]),
    ("erspan", &[]),
    ("ipip", &[Tunnel::Ipip]),
    ("ip6tnl", &[Tunnel::FourInSix, Tunnel::SixInSix]),
    ("sit", &[Tunnel::SixInFour]),
    ("vxlan", &[Tunnel::Vxlan]),
    ("geneve", &[Tunnel::Geneve]),
    ("wireguard", &[]),
    ("vti", &[]),
    ("xfrm", &[]),
    ("gtp", &[]),
];
/// Drivers count late: fewer may have come before.
const COUNTED_MIN: u64 = 10;
/// A driver has many counters; so many of each kind are named.
const NAMED_MAX: usize = 6;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let all = facts.interfaces.iter().flatten();
    let watched: Vec<&Interface> = all.map(|(interface, _)| interface).collect();
    let mut found = spots(&watched, &facts.paths, &facts.tunnels);
    for (interface, driver) in watched.iter().zip(&facts.paths.drivers) {
        found.extend(losses(&interface.name, driver));
    }
    for (name, heard) in &facts.heard {
        found.extend(heard.as_ref().ok().and_then(|heard| silence(name, heard)));
    }
    found
}

/// An interface on which no frame came while `check` listened.
fn silence(name: &str, heard: &Heard) -> Option<Finding> {
    match (heard.frames, heard.counted) {
        (1.., _) => None,
        (0, COUNTED_MIN..) => Some(Finding::new(
            Level::Warn,
            format!(
                "{name} took in {} that no capture saw",
                many(heard.counted, "packet")
            ),
            "Something takes them before any capture: an XDP program, AF_XDP, DPDK, the driver.",
            format!("see what it is: ip -d link show dev {name}; ethtool -S {name}"),
        )),
        (0, _) => Some(Finding::new(
            Level::Note,
            format!("{name}: nothing came while this listened, nor by its own counters"),
            "An idle network, or traffic that passes elsewhere. A mirror port needs --promiscuous; a container sees \
             only the interfaces of its own network namespace.",
            format!("listen longer: synledger check -i {name} --listen 30s"),
        )),
    }
}

/// Blind spots of these interfaces, where these tunnels are opened.
pub fn spots(watched: &[&Interface], paths: &Paths, opened: &Tunnels) -> Vec<Finding> {
    let mut found = Vec::new();
    for (interface, xdp) in watched.iter().zip(&paths.xdp) {
        found.extend(program(&interface.name, *xdp));
    }
    for interface in watched {
        found.extend(stacked(interface, watched, &paths.relations));
        found.extend(hardware(&interface.name, paths.flowtables.as_deref()));
    }
    for (interface, rdma) in watched.iter().zip(&paths.rdma) {
        found.extend(rdma.then(|| remote_memory(&interface.name)));
    }
    found.extend(tunnels(watched, &paths.relations, opened));
    found
}

fn program(name: &str, xdp: Xdp) -> Option<Finding> {
    (xdp.taken == Some(true)).then(|| {
        Finding::new(
            Level::Note,
            format!("{name}: an XDP program is attached"),
            "It runs before every capture: what it drops or redirects is not seen here.",
            format!("see what it is: ip -d link show dev {name}"),
        )
    })
}

/// Findings about an interface's master and lower device.
fn stacked(interface: &Interface, watched: &[&Interface], all: &[Relation]) -> Vec<Finding> {
    let mut found = Vec::new();
    let by_index = |index: u32| all.iter().find(|relation| relation.ifindex == index);
    let is_watched = |index: u32| watched.iter().any(|nic| nic.ifindex == index);
    let Some(own) = by_index(interface.ifindex) else {
        return found;
    };
    let name = &own.name;
    for other in [own.master, own.lower].into_iter().flatten() {
        let Some(other) = by_index(other).filter(|other| is_watched(other.ifindex)) else {
            continue;
        };
        let other = &other.name;
        found.push(Finding::new(
            Level::Warn,
            format!("{name} and {other} are both watched, and frames of {name} pass {other}, too"),
            "The sensor reads such a frame twice, and counts the second as a copy from another interface.",
            format!("watch one of them: add !{name} or !{other} to -i"),
        ));
    }
    let master = own.master.and_then(by_index);
    if let Some(bond) = master.filter(|master| ["bond", "team"].contains(&master.kind.as_str())) {
        let is_member = |relation: &&Relation| relation.master == Some(bond.ifindex);
        let left_out = all.iter().filter(is_member);
        let left_out = left_out
            .filter(|member| !is_watched(member.ifindex))
            .count();
        if !is_watched(bond.ifindex) && left_out > 0 {
            found.push(Finding::new(
                Level::Warn,
                format!("{name} is one member of {}", bond.name),
                "Other members carry other packets, also of the same connection.",
                format!("-i {}", bond.name),
            ));
        }
    }
    if own.kind == "bridge" {
        found.push(Finding::new(
            Level::Note,
            format!("{name} is a bridge"),
            "It shows what this host sends and receives; what it forwards between its ports is seen at the ports.",
            format!("to see that, watch the ports: ip link show master {name}"),
        ));
    }
    found
}

fn hardware(name: &str, flowtables: Option<&[Flowtable]>) -> Option<Finding> {
    let mut all = flowtables?.iter();
    let table = all.find(|table| table.devices.iter().any(|device| device == name))?;
    let table = &table.name;
    Some(Finding::new(
        Level::Warn,
        format!("{name}: the flowtable {table} of nftables forwards connections by hardware"),
        "Once a connection is in it, its packets pass no capture: flows lack bytes, and end late.",
        format!("remove `flags offload` from the flowtable {table}; one in software is seen"),
    ))
}

fn remote_memory(name: &str) -> Finding {
    Finding::new(
        Level::Note,
        format!("{name} can do RDMA"),
        "RDMA (RoCE, iWARP) bypasses the kernel, hence every capture; so do DPDK and AF_XDP. A sender with \
         PACKET_QDISC_BYPASS is not seen by captures of its own host.",
        "",
    )
}

/// Tunnel devices of which nothing is seen inside, and those that would be seen twice.
fn tunnels(watched: &[&Interface], all: &[Relation], opened: &Tunnels) -> Vec<Finding> {
    let is_watched =
        |relation: &Relation| watched.iter().any(|nic| nic.ifindex == relation.ifindex);
    let (mut unseen, mut twice, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for relation in all.iter().filter(|relation| relation.up) {
        let Some((_, needed)) = TUNNELS.iter().find(|(kind, _)| *kind == relation.kind) else {
            continue;
        };
        let is_opened = !needed.is_empty() && needed.iter().all(|&tunnel| opened.has(tunnel));
        match (is_watched(relation), is_opened) {
            (false, false) => {
                unseen.push(relation.name.as_str());
                kinds.extend(needed.iter().map(|tunnel| tunnel.word()));
            }
            (true, true) if watched.len() > 1 => twice.push(relation.name.as_str()),
            _ => {}
        }
    }
    let mut found = Vec::new();
    if !twice.is_empty() {
        found.push(Finding::new(
            Level::Warn,
            format!(
                "{} watched, and --decap opens what passes below",
                names_are(&twice)
            ),
            "The sensor reads such a packet twice, and counts the second as a copy from another interface.",
            format!("watch what is below alone: add !{} to -i", twice.join(",!")),
        ));
    }
    if !unseen.is_empty() && !watched.is_empty() {
        kinds.sort_unstable();
        kinds.dedup();
        let or_open = match kinds.is_empty() {
            true => String::new(),
            false => format!(", or open them below: --decap {}", kinds.join(",")),
        };
        found.push(Finding::new(
            Level::Note,
            format!("tunnels that are not watched: {}", unseen.join(", ")),
            "Below, a tunnel is one flow between its ends: connections and scans inside it are not seen there.",
            format!(
                "to see them, watch the tunnels, too: add {} to -i{or_open}",
                unseen.join(",")
            ),
        ));
    }
    found
}

/// Names as the subject of a sentence.
fn names_are(names: &[&str]) -> String {
    format!(
        "{} {}",
        names.join(", "),
        if names.len() == 1 { "is" } else { "are" }
    )
}

/// What the driver counts as lost.
fn losses(name: &str, driver: &Driver) -> Vec<Finding> {
    let of = |lost: DriverLoss, why: &'static str, change: String| {
        let all = driver.lost.iter().filter(|(kind, ..)| *kind == lost);
        let all: Vec<String> = all
            .map(|(_, name, count)| format!("{name} {count}"))
            .collect();
        (!all.is_empty()).then(|| {
            let more = match all.len().saturating_sub(NAMED_MAX) {
                0 => String::new(),
                more => format!(" (+{more} more)"),
            };
            let named = all[..all.len().min(NAMED_MAX)].join(", ");
            let driver = match driver.name.as_str() {
                "" => String::new(),
                driver => format!(" ({driver})"),
            };
            Finding::new(
                Level::Warn,
                format!("{name}{driver}: {named}{more}"),
                why,
                change,
            )
        })
    };
    let room = "Packets that found no room in the NIC or its driver reach no capture.";
    let allowance = "The hypervisor drops or delays what is above the allowance of this kind of instance, before the \
        NIC: no capture sees that.";
    let xdp = "An XDP program dropped packets: no capture sees them.";
    let found = [
        of(
            DriverLoss::Room,
            room,
            format!("more room: sudo ethtool -G {name} rx N   (ethtool -g {name} says how much)"),
        ),
        of(
            DriverLoss::Allowance,
            allowance,
            "a larger instance, or less traffic".to_owned(),
        ),
        of(
            DriverLoss::Xdp,
            xdp,
            format!("see what it is: ip -d link show dev {name}"),
        ),
    ];
    found.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::interface;

    fn nic(name: &str, ifindex: u32) -> Interface {
        Interface {
            name: name.to_owned(),
            ifindex,
            ..interface()
        }
    }

    fn relation(name: &str, ifindex: u32, kind: &str) -> Relation {
        Relation {
            name: name.to_owned(),
            ifindex,
            kind: kind.to_owned(),
            up: true,
            ..Relation::default()
        }
    }

    /// `bond0` (1) of `eth0` (2) and `eth1` (3); a VLAN (4) on the bond; a tunnel (5); a bridge (6).
    fn host() -> Vec<Relation> {
        let member = |name, ifindex| Relation {
            master: Some(1),
            ..relation(name, ifindex, "")
        };
        let vlan = Relation {
            lower: Some(1),
            ..relation("bond0.7", 4, "vlan")
        };
        vec![
            relation("bond0", 1, "bond"),
            member("eth0", 2),
            member("eth1", 3),
            vlan,
            relation("vxlan0", 5, "vxlan"),
            relation("br0", 6, "bridge"),
        ]
    }

    /// Levels and facts of all blind spots when these are watched.
    fn seen(watched: &[(&str, u32)]) -> Vec<(Level, String)> {
        let watched: Vec<Interface> = watched
            .iter()
            .map(|(name, index)| nic(name, *index))
            .collect();
        let watched: Vec<&Interface> = watched.iter().collect();
        let paths = Paths {
            relations: host(),
            ..Paths::default()
        };
        let found = spots(&watched, &paths, &Tunnels::NONE).into_iter();
        found.map(|finding| (finding.level, finding.what)).collect()
    }

    fn tunnel() -> (Level, String) {
        (
            Level::Note,
            "tunnels that are not watched: vxlan0".to_owned(),
        )
    }

    #[test]
    fn a_bond_and_its_member_or_vlan_are_not_watched_together() {
        let both = |one: &str, other: &str| {
            let what = format!(
                "{one} and {other} are both watched, and frames of {one} pass {other}, too"
            );
            (Level::Warn, what)
        };
        assert_eq!(seen(&[("bond0", 1)]), [tunnel()]);
        assert_eq!(
            seen(&[("bond0", 1), ("eth0", 2)]),
            [both("eth0", "bond0"), tunnel()]
        );
        let vlan = [("bond0.7", 4), ("bond0", 1)];
        assert_eq!(seen(&vlan), [both("bond0.7", "bond0"), tunnel()]);
        assert_eq!(seen(&[("bond0.7", 4), ("vxlan0", 5)]), []);
    }

    #[test]
    fn one_member_of_a_bond_is_half_of_it_and_all_are_the_whole() {
        let half = (Level::Warn, "eth0 is one member of bond0".to_owned());
        assert_eq!(seen(&[("eth0", 2)]), [half, tunnel()]);
        assert_eq!(seen(&[("eth0", 2), ("eth1", 3)]), [tunnel()]);
    }

    #[test]
    fn a_bridge_does_not_show_what_it_forwards() {
        let bridge = (Level::Note, "br0 is a bridge".to_owned());
        assert_eq!(seen(&[("br0", 6), ("vxlan0", 5)]), [bridge]);
    }

    #[test]
    fn tunnels_that_are_opened_are_no_blind_spot_and_not_watched_themselves() {
        let paths = Paths {
            relations: vec![
                relation("eth0", 1, ""),
                relation("vxlan0", 5, "vxlan"),
                relation("tnl0", 6, "ip6tnl"),
                relation("wg0", 7, "wireguard"),
            ],
            ..Paths::default()
        };
        let said = |watched: &[(&str, u32)], list: &str| -> Vec<String> {
            let all: Vec<Interface> = watched.iter().map(|(name, at)| nic(name, *at)).collect();
            let choices: Vec<_> = list.split(',').filter_map(|one| one.parse().ok()).collect();
            let opened = Tunnels::new(&choices).expect("sound");
            let found = spots(&all.iter().collect::<Vec<_>>(), &paths, &opened);
            found
                .into_iter()
                .map(|one| format!("{}; {}", one.what, one.change))
                .collect()
        };
        let eth0 = ("eth0", 1);
        assert_eq!(
            said(&[eth0], ""),
            [
                "tunnels that are not watched: vxlan0, tnl0, wg0; to see them, watch the tunnels, too: add \
              vxlan0,tnl0,wg0 to -i, or open them below: --decap 4in6,6in6,vxlan"
            ]
        );
        // Half of what a device carries is not all of it.
        assert_eq!(
            said(&[eth0], "vxlan,4in6"),
            [
                "tunnels that are not watched: tnl0, wg0; to see them, watch the tunnels, too: add tnl0,wg0 to -i, or \
              open them below: --decap 4in6,6in6"
            ]
        );
        assert_eq!(
            said(&[eth0, ("vxlan0", 5)], "all"),
            [
                "vxlan0 is watched, and --decap opens what passes below; watch what is below alone: add !vxlan0 to -i",
                "tunnels that are not watched: wg0; to see them, watch the tunnels, too: add wg0 to -i",
            ]
        );
        assert_eq!(said(&[("vxlan0", 5), ("wg0", 7), ("tnl0", 6)], ""), [""; 0]);
    }

    #[test]
    fn programs_hardware_and_rdma_are_named() {
        let eth0 = nic("eth0", 9);
        let paths = Paths {
            xdp: vec![Xdp {
                native: None,
                taken: Some(true),
            }],
            flowtables: Some(vec![Flowtable {
                name: "fast".to_owned(),
                devices: vec!["eth1".to_owned(), "eth0".to_owned()],
            }]),
            rdma: vec![true],
            ..Paths::default()
        };
        let found: Vec<String> = spots(&[&eth0], &paths, &Tunnels::NONE)
            .into_iter()
            .map(|one| one.what)
            .collect();
        let expected = [
            "eth0: an XDP program is attached",
            "eth0: the flowtable fast of nftables forwards connections by hardware",
            "eth0 can do RDMA",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn silence_is_told_from_packets_that_no_capture_saw() {
        let heard = |frames: u64, counted| {
            let mut heard = Heard::default().with_counted(counted);
            heard.frames = frames;
            heard
        };
        assert_eq!(silence("eth0", &heard(1, 99)), None);
        let idle = silence("eth0", &heard(0, 9)).expect("a finding");
        assert_eq!(idle.level, Level::Note);
        let taken = silence("eth0", &heard(0, 10)).expect("a finding");
        assert_eq!(taken.level, Level::Warn);
        assert_eq!(taken.what, "eth0 took in 10 packets that no capture saw");
    }

    #[test]
    fn a_drivers_losses_are_named_with_what_they_mean() {
        let lost = |name: &str, lost| (lost, name.to_owned(), 3);
        let mut driver = Driver {
            name: "ena".to_owned(),
            lost: vec![
                lost("rx_drops", DriverLoss::Room),
                lost("pps_allowance_exceeded", DriverLoss::Allowance),
                lost("queue_*_xdp_drops", DriverLoss::Xdp),
            ],
        };
        let found = losses("eth0", &driver);
        let what: Vec<&str> = found.iter().map(|one| one.what.as_str()).collect();
        let expected = [
            "eth0 (ena): rx_drops 3",
            "eth0 (ena): pps_allowance_exceeded 3",
            "eth0 (ena): queue_*_xdp_drops 3",
        ];
        assert_eq!(what, expected);
        assert!(
            found
                .iter()
                .all(|one| one.level == Level::Warn && !one.change.is_empty())
        );
        driver.lost = (0..9)
            .map(|n| lost(&format!("rx_{n}"), DriverLoss::Room))
            .collect();
        let found = losses("eth0", &driver);
        assert!(found[0].what.ends_with("rx_5 3 (+3 more)"), "{found:?}");
        assert_eq!(losses("eth0", &Driver::default()), []);
    }
}
