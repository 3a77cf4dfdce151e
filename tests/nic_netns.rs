//! Interfaces in a namespace of their own: patterns, default routes, changes, counters.
//!
//! Prints `skipped` without root or `ip`. A namespace ends with the thread that made it, so nothing is
//! left behind.

mod common;

use common::netns::{alone, ip};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use synledger::host::nic::{
    Counters, LinkEvent, SelectError, Watch, default_route_devices, list, resolve,
};

/// Runs `test` in a namespace with `lo` alone.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    alone(|| {
        ip("link set dev lo up");
        test();
    });
}

/// Every address of the namespace.
fn own_addresses() -> BTreeSet<IpAddr> {
    let interfaces = list().expect("rtnetlink");
    let nets = interfaces.iter().flat_map(|link| &link.addresses);
    nets.map(ipnet::IpNet::addr).collect()
}

fn names(patterns: &str) -> Vec<String> {
    let found = resolve(patterns).unwrap_or_else(|error| panic!("{patterns}: {error}"));
    let mut names: Vec<_> = found.interfaces.into_iter().map(|each| each.name).collect();
    names.sort();
    names
}

#[test]
fn patterns_and_default_routes_select_interfaces() {
    in_namespace(|| {
        assert!(default_route_devices().expect("routes").is_empty());
        let error = resolve("auto").expect_err("no default route");
        assert!(
            matches!(error, SelectError::NoDefaultRoute { .. }),
            "{error}"
        );

        ip("link add ens1 type veth peer name veth1");
        ip("link add ens2 type veth peer name veth2");
        for name in ["ens1", "veth1", "ens2", "veth2"] {
            ip(&format!("link set dev {name} up"));
        }
        ip("addr add 192.0.2.1/24 dev ens1");
        ip("route add default via 192.0.2.2");
        assert_eq!(names("auto"), ["ens1"]);
        assert_eq!(names("ens*"), ["ens1", "ens2"]);
        assert_eq!(names("*,!veth*,!lo"), ["ens1", "ens2"]);
        let error = resolve("wlan0").expect_err("there is none").to_string();
        assert!(error.contains("ens2") && error.contains("veth1"), "{error}");

        if std::path::Path::new("/proc/self/net/if_inet6").exists() {
            ip("-6 addr add 2001:db8::1/64 dev ens2 nodad");
            ip("-6 route add default via 2001:db8::2 dev ens2");
            assert_eq!(names("auto"), ["ens1", "ens2"]);
            assert_eq!(names("auto,!ens1"), ["ens2"]);
            ip("-6 route del default dev ens2");
            ip("-6 route add unreachable default");
        }
        ip("route replace unreachable default");
        assert!(default_route_devices().expect("routes").is_empty());
        let ours: IpAddr = "192.0.2.1".parse().expect("an address");
        assert!(own_addresses().contains(&ours));
    });
}

/// Reads events until one of them is `wanted`, for at most 5 s.
fn wait_for(watch: &mut Watch, what: &str, wanted: impl Fn(&LinkEvent) -> bool) -> LinkEvent {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut seen = Vec::new();
    loop {
        while let Some(event) = watch.next_event().expect("rtnetlink") {
            if wanted(&event) {
                return event;
            }
            seen.push(event);
        }
        assert!(Instant::now() < deadline, "no {what}; saw {seen:#?}");
        let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(500_u16)).expect("poll");
    }
}

#[test]
fn every_change_of_a_link_is_an_event() {
    in_namespace(|| {
        let mut watch = Watch::start().expect("a watch");
        assert_eq!(
            watch.next_event().expect("rtnetlink"),
            None,
            "nothing changed yet"
        );

        ip("link add v0 type veth peer name v1");
        let created = wait_for(
            &mut watch,
            "creation",
            |event| matches!(event, LinkEvent::Created { name, .. } if name == "v0"),
        );
        let LinkEvent::Created {
            ifindex: first,
            replaces: None,
            ..
        } = created
        else {
            panic!("{created:?}: nothing was there before");
        };
        ip("link set dev v0 up");
        ip("link set dev v1 up");
        wait_for(
            &mut watch,
            "up",
            |event| matches!(event, LinkEvent::Up { ifindex, .. } if *ifindex == first),
        );
        ip("addr add 192.0.2.1/24 dev v0");
        let address: IpAddr = "192.0.2.1".parse().expect("an address");
        let added = LinkEvent::AddressAdded {
            ifindex: first,
            address,
        };
        wait_for(&mut watch, "address", |event| *event == added);
        ip("addr del 192.0.2.1/24 dev v0");
        let removed = LinkEvent::AddressRemoved {
            ifindex: first,
            address,
        };
        wait_for(&mut watch, "address's end", |event| *event == removed);
        // Without its other end, v0 loses its carrier.
        ip("link set dev v1 down");
        wait_for(
            &mut watch,
            "down",
            |event| matches!(event, LinkEvent::Down { ifindex, .. } if *ifindex == first),
        );
    });
}

#[test]
fn a_link_that_is_renamed_removed_and_recreated_replaces_the_first() {
    in_namespace(|| {
        ip("link add v0 type veth peer name v1");
        let links = list().expect("links");
        let first = links
            .iter()
            .find(|link| link.name == "v0")
            .expect("v0")
            .ifindex;
        let mut watch = Watch::start().expect("a watch");
        ip("link set dev v0 name w0");
        let renamed = LinkEvent::Renamed {
            ifindex: first,
            from: "v0".into(),
            to: "w0".into(),
        };
        wait_for(&mut watch, "new name", |event| *event == renamed);
        ip("link del w0");
        let gone = LinkEvent::Removed {
            ifindex: first,
            name: "w0".into(),
        };
        wait_for(&mut watch, "removal", |event| *event == gone);
        ip("link add w0 type veth peer name v1");
        let again = wait_for(
            &mut watch,
            "re-creation",
            |event| matches!(event, LinkEvent::Created { name, .. } if name == "w0"),
        );
        let LinkEvent::Created { replaces, .. } = again else {
            unreachable!("waited for a creation");
        };
        assert_eq!(replaces, Some(first));
    });
}

#[test]
fn a_port_that_leaves_its_bridge_is_not_removed() {
    in_namespace(|| {
        ip("link add v0 type veth peer name v1");
        let bridge = Command::new("ip")
            .args(["link", "add", "br0", "type", "bridge"])
            .output();
        if !bridge.expect("ip runs").status.success() {
            eprintln!("skipped: this kernel has no bridges");
            return;
        }
        ip("link set dev v0 master br0");
        let mut watch = Watch::start().expect("a watch");
        ip("link set dev v0 nomaster");
        ip("link del br0");
        wait_for(&mut watch, "the bridge's end", |event| {
            assert!(!matches!(event, LinkEvent::Removed { name, .. } if name == "v0"));
            matches!(event, LinkEvent::Removed { name, .. } if name == "br0")
        });
    });
}

#[test]
fn after_an_overrun_no_removed_address_is_left() {
    in_namespace(|| {
        let mut watch = Watch::start().expect("a watch");
        let mut known: BTreeSet<IpAddr> = watch.addresses().collect();
        // The socket's buffer keeps the early events; the kernel drops the late ones. Early events that are
        // applied after a fresh list would bring removed addresses back.
        let mut batch = String::new();
        for last in 1..=250 {
            batch += &format!("addr add 198.51.100.{last}/32 dev lo\n");
        }
        for _ in 0..1_500 {
            batch += "link set dev lo down\nlink set dev lo up\n";
        }
        for last in 1..=250 {
            batch += &format!("addr del 198.51.100.{last}/32 dev lo\n");
        }
        batch += "addr add 203.0.113.9/32 dev lo\n";
        ip_batch(&batch);
        while let Some(event) = watch.next_event().expect("rtnetlink") {
            match event {
                LinkEvent::AddressAdded { address, .. } => known.insert(address),
                LinkEvent::AddressRemoved { address, .. } => known.remove(&address),
                _ => false,
            };
        }
        let now = own_addresses();
        assert_eq!(known, now);
        assert!(now.contains(&"203.0.113.9".parse::<IpAddr>().expect("an address")));
    });
}

/// Runs many lines of `ip` as one batch.
fn ip_batch(lines: &str) {
    let mut child = Command::new("ip")
        .args(["-force", "-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("ip runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(lines.as_bytes()).expect("ip reads");
    drop(stdin);
    child.wait().expect("ip ends");
}

#[test]
fn counters_count_what_was_sent() {
    in_namespace(|| {
        let lo = list().expect("links")[0].ifindex;
        let mut counters = Counters::start(&[lo]).expect("counters");
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("its address");
        for _ in 0..100 {
            socket.send_to(&[0; 10], address).expect("lo takes it");
        }
        counters.update().expect("counters");
        let counted = counters.nic(lo).expect("it is counted").rx_packets;
        assert_eq!(counted, 100);
    });
}
