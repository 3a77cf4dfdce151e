use super::listeners::Socket;
use super::*;
use std::collections::{HashMap, HashSet};

const OWN: [&str; 3] = ["192.0.2.1", "192.0.2.2", "2001:db8::1"];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn at(services: &Services, dst: &str, port: u16) -> Option<String> {
    let name = services.service(TCP, ip(dst), port)?;
    Some(name.to_string())
}

#[test]
fn the_most_specific_listener_of_the_family_names_a_destination() {
    let services = sample(
        &OWN,
        &[
            (TCP, 80, Bound::AnyV4, "any4"),
            (TCP, 80, Bound::AnyV6, "any6"),
            (TCP, 80, Bound::Address(ip("192.0.2.1")), "one"),
            (TCP, 443, Bound::Any, "both"),
            (TCP, 444, Bound::AnyV6, "only6"),
            (UDP, 80, Bound::Any, "udp"),
        ],
    );
    let name = |dst, port| at(&services, dst, port);
    assert_eq!(name("192.0.2.1", 80).as_deref(), Some("one"));
    assert_eq!(name("192.0.2.2", 80).as_deref(), Some("any4"));
    assert_eq!(name("::ffff:192.0.2.2", 80).as_deref(), Some("any4"));
    assert_eq!(name("2001:db8::1", 80).as_deref(), Some("any6"));
    assert_eq!(name("192.0.2.2", 443).as_deref(), Some("both"));
    assert_eq!(name("::1", 443).as_deref(), Some("both"));
    assert_eq!(name("127.9.9.9", 443).as_deref(), Some("both"));
    assert_eq!(name("192.0.2.2", 444), None);
    assert_eq!(name("2001:db8::1", 444).as_deref(), Some("only6"));
    assert_eq!(name("192.0.2.2", 81), None);
    let udp = services.service(UDP, ip("192.0.2.2"), 80);
    assert_eq!(udp.as_deref(), Some("udp"));
    assert_eq!(services.service(132, ip("192.0.2.2"), 80), None);
}

#[test]
fn a_destination_elsewhere_has_no_service() {
    let services = sample(&OWN, &[(TCP, 80, Bound::Any, "web")]);
    assert_eq!(at(&services, "192.0.2.3", 80), None);
    let all = [(0, u16::MAX)];
    assert!(services.services(TCP, ip("192.0.2.3"), &all, 8).is_empty());
    assert_eq!(services.services(TCP, ip("192.0.2.2"), &all, 8).len(), 1);
}

#[test]
fn services_of_ranges_are_those_inside_each_once_and_no_more_than_asked() {
    let mut listeners = vec![
        (TCP, 5, Bound::Any, "five"),
        (TCP, 0, Bound::Any, "zero"),
        (TCP, u16::MAX, Bound::Any, "last"),
        (TCP, 7, Bound::AnyV6, "six"),
        (TCP, 9, Bound::AnyV4, "wild"),
        (TCP, 9, Bound::Address(ip("192.0.2.1")), "one"),
        (UDP, 6, Bound::Any, "udp"),
    ];
    let services = sample(&OWN, &listeners);
    let of = |services: &Services, ranges: &[(u16, u16)], max| {
        let found = services.services(TCP, ip("192.0.2.1"), ranges, max);
        let text = |(port, name): &(u16, ServiceName)| format!("{port} {name}");
        found.iter().map(text).collect::<Vec<_>>()
    };
    let all = ["0 zero", "5 five", "9 one", "65535 last"];
    assert_eq!(of(&services, &[(0, u16::MAX)], 8), all);
    assert_eq!(
        of(&services, &[(0, 4), (6, 8), (9, 9)], 8),
        ["0 zero", "9 one"]
    );
    assert_eq!(of(&services, &[(0, u16::MAX)], 2), all[..2]);
    assert!(of(&services, &[], 8).is_empty());
    listeners.extend((100..200).map(|port| (TCP, port, Bound::Any, "many")));
    let services = sample(&OWN, &listeners);
    assert_eq!(of(&services, &[(50, 60_000)], 8).len(), 8);
}

#[test]
fn the_table_has_a_fixed_size() {
    let many: Vec<_> = (1..=u16::MAX)
        .map(|port| (TCP, port, Bound::Any, "x"))
        .collect();
    let services = sample(&OWN, &many);
    let all = services.services(TCP, ip("192.0.2.1"), &[(0, u16::MAX)], usize::MAX);
    assert_eq!(all.len(), LISTENERS_MAX);
    let shared = services.listeners.read().expect("no panic");
    assert_eq!(shared.0.capacity(), LISTENERS_MAX);
}

fn socket(port: u16, inode: u32, cgroup: u64) -> Socket {
    Socket {
        proto: TCP,
        bound: Bound::Any,
        port,
        inode,
        cgroup: Some(cgroup),
    }
}

#[test]
fn a_unit_goes_before_a_command_and_only_new_sockets_are_searched_for() {
    let mut reader = Reader::default();
    let sockets = [socket(1, 10, 100), socket(2, 20, 200), socket(3, 30, 200)];
    let table = reader.name(
        &sockets,
        |wanted| {
            assert_eq!(*wanted, HashSet::from([100, 200]));
            HashMap::from([(100, "web.service".into())])
        },
        |wanted| {
            assert_eq!(*wanted, HashSet::from([20, 30]));
            HashMap::from([(20, "cat".into())])
        },
    );
    let name = |table: &Listeners, port| {
        let found = table.find(TCP, ip("192.0.2.1"), port);
        found.map(|one| one.name.to_string())
    };
    assert_eq!(name(&table, 1).as_deref(), Some("web.service"));
    assert_eq!(name(&table, 2).as_deref(), Some("cat"));
    assert_eq!(name(&table, 3), None);

    // What was not found is not searched for again; a new socket is, and one that left is forgotten.
    let sockets = [socket(1, 10, 100), socket(3, 30, 200), socket(4, 40, 200)];
    let no_units = |_: &HashSet<u64>| panic!("every cgroup is known");
    let only_new = |wanted: &HashSet<u32>| {
        assert_eq!(*wanted, HashSet::from([40]));
        HashMap::new()
    };
    let table = reader.name(&sockets, no_units, only_new);
    assert_eq!(name(&table, 1).as_deref(), Some("web.service"));
    let table = reader.name(&[socket(2, 20, 200)], no_units, |wanted: &HashSet<u32>| {
        assert_eq!(*wanted, HashSet::from([20]));
        HashMap::from([(20, "dog".into())])
    });
    assert_eq!(name(&table, 2).as_deref(), Some("dog"));
}

#[test]
fn a_listener_of_this_process_is_found_by_its_command() {
    let listeners = ["127.0.0.1:0", "[::1]:0"].map(std::net::TcpListener::bind);
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let services = sample(&[], &[]);
    services.publish(Reader::default().read().expect("sock_diag"));
    // In a unit of systemd the name would be the unit's.
    let own = std::fs::read_to_string("/proc/self/comm").expect("a file");
    let is_own = |name: &str| name == own.trim_end() || name.ends_with(".service");
    for listener in listeners.into_iter().flatten() {
        let address = listener.local_addr().expect("an address");
        let name = services.service(TCP, address.ip(), address.port());
        assert!(name.as_deref().is_some_and(is_own), "{address}: {name:?}");
    }
    let address = udp.local_addr().expect("an address");
    let name = services.service(UDP, address.ip(), address.port());
    assert!(name.as_deref().is_some_and(is_own), "{address}: {name:?}");
}
