//! `--block nft` and `--block xdp`, whole: who scans is shut out until the block's time is over, and whoever does not goes on.

use super::block::{block, out};
use super::peer::{Peer, own_mounts};
use super::sensor::{Ended, Sensor, of_type};
use crate::common::netns::{SENDER, SENSOR, alone, ip};
use crate::common::{fails, synledger};
use craft::{ACK, Flow, Ip, Link, SYN, Tcp};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::socket::sockopt::SocketError;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, connect, getsockopt, listen,
    socket,
};
use packet::TxSocket;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Addresses of a host that scans, of a neighbour in another network, and of the sensor's host.
pub const BAD: [&str; 2] = ["192.0.2.7", "2001:db8:0:7::7"];
pub const GOOD: [&str; 2] = ["198.51.100.8", "2001:db8:0:8::8"];
pub const OURS: [&str; 2] = ["192.0.2.1", "2001:db8:0:7::1"];
pub const OPEN: u16 = 80;
const CLOSED: std::ops::Range<u16> = 1000..1020;
const BLOCK_S: u64 = 15;

pub fn with_peer(test: impl FnOnce(&Peer) + Send + 'static) {
    alone(move || {
        // A helper mounts the file system for names of maps.
        own_mounts();
        ip("link set lo up");
        ip(&format!("link add {SENDER} type veth peer name {SENSOR}"));
        ip(&format!("link set {SENSOR} up"));
        let peer = Peer::new();
        give(SENSOR, &OURS);
        peer.run(|| give(SENDER, &[BAD[0], BAD[1], GOOD[0], GOOD[1]]));
        for net in ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"] {
            ip(&format!("route add {net} dev {SENSOR}"));
            peer.run(move || ip(&format!("route add {net} dev {SENDER}")));
        }
        test(&peer);
    });
}

fn give(device: &str, addresses: &[&str]) {
    for address in addresses {
        let (bits, nodad) = match address.contains(':') {
            true => (128, " nodad"),
            false => (32, ""),
        };
        ip(&format!("addr add {address}/{bits} dev {device}{nodad}"));
    }
}

/// Whether a connection from one address to another comes about.
pub fn connects(peer: &Peer, from: &str, (to, port): (&str, u16)) -> bool {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let (from, to) = (SocketAddr::new(ip(from), 0), SocketAddr::new(ip(to), port));
    peer.run(move || {
        let family = match to {
            SocketAddr::V4(_) => AddressFamily::Inet,
            SocketAddr::V6(_) => AddressFamily::Inet6,
        };
        let made = socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK, None);
        let made = made.expect("a socket");
        let fd = made.as_raw_fd();
        bind(fd, &SockaddrStorage::from(from)).expect("its own address");
        let _ = connect(fd, &SockaddrStorage::from(to));
        let mut fds = [PollFd::new(made.as_fd(), PollFlags::POLLOUT)];
        let ready = poll(&mut fds, PollTimeout::from(700_u16)).expect("poll");
        ready == 1 && getsockopt(&made, SocketError) == Ok(0)
    })
}

pub fn until(what: &str, happened: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while !happened() {
        assert!(Instant::now() < give_up, "no {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Scans, and looks who is shut out for how long.
fn shuts_out(mode: &'static str, nothing_left: fn()) {
    with_peer(move |peer| {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("sock");
        let at = socket.display().to_string();
        let times = format!("{BLOCK_S}s");
        let sensor = Sensor::start(&[
            "--block",
            mode,
            "--block-times",
            &times,
            "--status-socket",
            &at,
        ]);
        let families = [0, 1].map(|at| (BAD[at], GOOD[at], OURS[at]));
        let listeners = OURS.map(|ours| TcpListener::bind((ours, OPEN)).expect("a port"));
        for (bad, good, ours) in families {
            assert!(connects(peer, bad, (ours, OPEN)) && connects(peer, good, (ours, OPEN)));
            for port in CLOSED {
                assert!(!connects(peer, bad, (ours, port)), "{port} is closed");
            }
            let said = format!("Blocked: {bad} for {times}: port_scan of {ours} ");
            sensor.wait_for("a block", || sensor.content("log.txt").contains(&said));
            until("drop", || !connects(peer, bad, (ours, OPEN)));
            assert!(connects(peer, good, (ours, OPEN)), "{good} goes on");
        }
        let dropped = || {
            let list = out(&block(&socket, &["list", "--json"], ""));
            let list: Value = serde_json::from_str(&list).expect("JSON");
            let all = list["blocks"].as_array().expect("a list").clone();
            all.iter()
                .filter(|one| one["dropped_packets"].as_u64() > Some(0))
                .count()
        };
        until("count of what was dropped", || dropped() == 2);
        for (bad, _, ours) in families {
            until("end", || connects(peer, bad, (ours, OPEN)));
        }
        drop(listeners);
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        let dropped: Vec<u64> = of_type(&ended.eve, "block")
            .filter_map(|record| record["synledger"]["block"]["dropped_packets"].as_u64())
            .collect();
        assert!(
            dropped.len() == 2 && dropped.iter().all(|packets| *packets > 0),
            "{dropped:?}"
        );
        nothing_left();
    });
}

#[test]
fn a_scanner_is_shut_out_by_nftables_for_the_time_of_its_block_and_a_neighbour_is_not() {
    if !has_nftables() {
        return;
    }
    shuts_out("nft", || {
        let tables = Command::new("nft").args(["list", "tables"]).output();
        let tables = tables.expect("nft starts").stdout;
        let tables = String::from_utf8_lossy(&tables);
        assert_eq!(tables, "", "the table goes with the run");
    });
}

#[test]
fn a_scanner_is_shut_out_by_xdp_for_the_time_of_its_block_and_a_neighbour_is_not() {
    shuts_out("xdp", || {
        let shown = Command::new("ip").args(["link", "show", SENSOR]).output();
        let shown = shown.expect("ip starts").stdout;
        let shown = String::from_utf8_lossy(&shown);
        assert!(
            !shown.contains("xdp"),
            "the program goes with the run: {shown}"
        );
        assert!(!Path::new("/sys/fs/bpf/synledger").exists());
    });
}

/// Two addresses of a network that has nothing else.
const BAD_SUBNET: [&str; 2] = ["2001:db8:0:9::7", "2001:db8:0:9:ffff::8"];

/// Scans from one address of a /64, and looks that all of it is shut out until the block ends.
fn shuts_out_a_subnet(mode: &'static str) {
    with_peer(move |peer| {
        peer.run(|| give(SENDER, &BAD_SUBNET));
        let args = [
            "--block",
            mode,
            "--block-times",
            "8s",
            "--block-prefix6",
            "64",
        ];
        let dir = tempfile::tempdir().expect("a folder");
        let at = dir.path().join("sock").display().to_string();
        let sensor = Sensor::start(&[&args[..], &["--status-socket", &at]].concat());
        let ours = OURS[1];
        let listener = TcpListener::bind((ours, OPEN)).expect("a port");
        let enters = |from| connects(peer, from, (ours, OPEN));
        assert!(
            [BAD_SUBNET[0], BAD_SUBNET[1], BAD[1], GOOD[1]]
                .into_iter()
                .all(enters)
        );
        for (scanner, said) in [
            // It has the sensor's host for a neighbour.
            (
                BAD[1],
                "Block refused: 2001:db8:0:7::/64: own_address; port_scan by 2001:db8:0:7::7 of ",
            ),
            (
                BAD_SUBNET[0],
                "Blocked: 2001:db8:0:9::/64 for 8s: port_scan by 2001:db8:0:9::7 of ",
            ),
        ] {
            for port in CLOSED {
                assert!(!connects(peer, scanner, (ours, port)), "{port} is closed");
            }
            sensor.wait_for(said, || sensor.content("log.txt").contains(said));
        }
        until("drop", || !enters(BAD_SUBNET[0]));
        assert!(!enters(BAD_SUBNET[1]), "it is of the same /64");
        assert!(enters(GOOD[1]) && enters(BAD[1]), "others go on");
        until("end", || enters(BAD_SUBNET[0]) && enters(BAD_SUBNET[1]));
        drop(listener);
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        let block = |record: &Value| record["synledger"]["block"].clone();
        let of_net = |record: &&Value| block(record)["net"] == "2001:db8:0:9::/64";
        let records: Vec<&Value> = of_type(&ended.eve, "block").filter(of_net).collect();
        let actions: Vec<_> = records
            .iter()
            .map(|one| block(one)["action"].clone())
            .collect();
        assert_eq!(actions, ["blocked", "ended"]);
        assert!(records.iter().all(|one| one["src_ip"] == BAD_SUBNET[0]));
        let end = block(records[1]);
        assert_eq!(end["cause"], "expired");
        assert!(end["dropped_packets"].as_u64() > Some(0), "{end}");
    });
}

#[test]
fn the_subnet_of_a_proven_ipv6_scanner_is_shut_out_by_nftables_and_another_is_not() {
    if has_nftables() {
        shuts_out_a_subnet("nft");
    }
}

#[test]
fn the_subnet_of_a_proven_ipv6_scanner_is_shut_out_by_xdp_and_another_is_not() {
    shuts_out_a_subnet("xdp");
}

#[test]
fn a_run_with_no_interface_for_xdp_does_not_start_and_says_why() {
    alone(|| {
        own_mounts();
        ip("link set lo up");
        let dir = tempfile::tempdir().expect("a folder");
        let mut command = synledger();
        command.args(["run", "--no-config", "-i", "lo", "--block", "xdp"]);
        command.arg("--status-socket").arg(dir.path().join("sock"));
        let parts = [
            "--block xdp: no interface takes the XDP program",
            "lo: nothing comes in there but from this host",
        ];
        fails(command, 1, &parts);
        assert!(!Path::new("/sys/fs/bpf/synledger").exists());
    });
}

/// Says that a test is skipped where there are no nftables.
pub fn has_nftables() -> bool {
    let list = Command::new("nft").args(["list", "ruleset"]).output();
    let has = list.is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("skipped: no nftables");
    }
    has
}

/// Runs a sensor that blocks by nftables, with a listener on [`OPEN`], and returns what it has left. `test` gets the status socket,
/// too.
fn with_sensor(more: &[&str], test: impl FnOnce(&Sensor, &Path)) -> Ended {
    let listener = TcpListener::bind((OURS[0], OPEN)).expect("a port");
    // Nobody accepts.
    listen(&listener, Backlog::new(1024).expect("in range")).expect("a longer queue");
    let dir = tempfile::tempdir().expect("a folder");
    let socket = dir.path().join("sock");
    let at = socket.display().to_string();
    let sensor = Sensor::start(&[&["--block", "nft", "--status-socket", &at], more].concat());
    test(&sensor, &socket);
    drop(listener);
    let ended = sensor.stop(Signal::SIGINT);
    ended.assert_exact();
    ended
}

#[test]
fn a_scanner_that_completes_a_handshake_only_after_its_scan_was_told_is_shut_out_then() {
    if !has_nftables() {
        return;
    }
    with_peer(|peer| {
        with_sensor(&[], |sensor, _| {
            let connects_to = |port| connects(peer, BAD[0], (OURS[0], port));
            for port in CLOSED {
                assert!(!connects_to(port), "{port} is closed");
            }
            let spared = format!("Block refused: {}: unproven; ", BAD[0]);
            sensor.wait_for("a scan without proof", || {
                sensor.content("log.txt").contains(&spared)
            });
            assert!(
                connects_to(OPEN),
                "nothing has shown that it is the scanner"
            );
            let said = format!("Blocked: {} for ", BAD[0]);
            sensor.wait_for("a block", || sensor.content("log.txt").contains(&said));
            until("drop", || !connects_to(OPEN));
        });
    });
}

#[test]
fn handshakes_forged_in_the_hosts_name_do_not_shut_out_whom_they_name() {
    if !has_nftables() {
        return;
    }
    with_peer(|peer| {
        let ended = with_sensor(&[], |sensor, _| {
            let frames: Vec<Vec<u8>> = CLOSED.flat_map(forged_handshake).collect();
            peer.run(move || {
                let device = nix::net::if_::if_nametoindex(SENDER).expect("its end");
                let sender = TxSocket::open(device).expect("a packet socket");
                for frame in frames {
                    sender.send(&frame).expect("sent");
                }
            });
            let spared = format!("Block refused: {}: unproven; ", GOOD[0]);
            sensor.wait_for("a scan without proof", || {
                sensor.content("log.txt").contains(&spared)
            });
        });
        let stats = of_type(&ended.eve, "stats").last().expect("a last one");
        let martian = &stats["synledger"]["books"]["packets_martian"];
        assert_eq!(*martian, CLOSED.len() as u64, "{stats}");
        assert_eq!(ended.lines("Blocked: "), [] as [&str; 0]);
    });
}

/// A handshake of [`GOOD`] with [`OURS`], all of it from somebody else.
fn forged_handshake(port: u16) -> [Vec<u8>; 3] {
    let flow = Flow::v4([198, 51, 100, 8], 40_000 + port, [192, 0, 2, 1], port);
    let segments = [
        Tcp::new(flow, SYN, 100),
        Tcp::new(flow.reversed(), SYN | ACK, 900).ack(101),
        Tcp::new(flow, ACK, 101).ack(901),
    ];
    segments.map(|tcp| {
        let ip = Ip::new(tcp.flow.src, tcp.flow.dst, 6).bytes(&tcp.bytes());
        Link::ethernet().frame(&ip)
    })
}

/// Of 198.18.0.0/15, which no guard spares.
fn scanner(n: usize) -> String {
    format!("198.19.0.{n}")
}

#[test]
fn two_hundred_scanners_are_shut_out_beside_ten_thousand_blocks() {
    const SCANNERS: usize = 200;
    if !has_nftables() {
        return;
    }
    with_peer(|peer| {
        peer.run(|| (1..=SCANNERS).for_each(|n| give(SENDER, &[&scanner(n)])));
        ip(&format!("route add 198.19.0.0/24 dev {SENSOR}"));
        let list: String = (0..10_000_u32)
            .map(|n| format!("198.18.{}.{}\n", n >> 8, n & 255))
            .collect();
        let ended = with_sensor(
            &["--block-max", "20000", "--block-rate", "1000"],
            |sensor, socket| {
                let import = ["import", "--name", "list", "--for", "1d", "-"];
                assert!(block(socket, &import, &list).status.success());
                for n in 1..=SCANNERS {
                    let from = scanner(n);
                    assert!(connects(peer, &from, (OURS[0], OPEN)));
                    for port in CLOSED {
                        assert!(!connects(peer, &from, (OURS[0], port)));
                    }
                }
                for n in 1..=SCANNERS {
                    let said = format!("Blocked: {} for ", scanner(n));
                    sensor.wait_for(&said, || sensor.content("log.txt").contains(&said));
                }
                until("drop", || !connects(peer, &scanner(1), (OURS[0], OPEN)));
                assert!(connects(peer, GOOD[0], (OURS[0], OPEN)));
            },
        );
        let mut delays_us: Vec<u64> = of_type(&ended.eve, "block")
            .filter_map(|record| record["synledger"]["block"]["delay_us"].as_u64())
            .collect();
        delays_us.sort_unstable();
        assert_eq!(delays_us.len(), SCANNERS);
        let at = |share: usize| delays_us[(delays_us.len() - 1) * share / 100];
        eprintln!(
            "from the moment of the decision to the kernel's answer, {SCANNERS} blocks beside 10,000: median {} us, p99 \
             {} us, longest {} us",
            at(50),
            at(99),
            at(100)
        );
    });
}
