//! What the helper refuses, whatever it is told, and what it may do.

use super::common::netns::{SENDER, SENSOR, ip};
use super::host::{
    Host, PATIENCE, add, add_others_rules, is_alive, kill_hard, nft, nft_json, others_rules,
    program, refuses_what_is_new_when_full, try_nft, wait_until, with_nftables,
};
use ipnet::IpNet;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use synledger::capture::bpf::counted::RejectCounter;
use synledger::firewall::{Firewall, Order, Refused};
use synledger::helper::{give_up_net_admin, holds};
use synledger::nft::{Kernel, Limits, METHOD};

/// Addresses of this host in these tests.
const OURS: [&str; 3] = ["192.0.2.1", "2001:db8:0:7::1", "203.0.113.5"];

/// What is never blocked there.
pub const PROTECTED: [&str; 30] = [
    OURS[0],
    OURS[1],
    OURS[2],
    "192.0.2.0/24",
    "192.0.2.0/31",
    // Broadcast addresses of the host's networks: the last one, and one that is set.
    "192.0.2.255",
    "192.0.2.128/25",
    "198.18.0.255",
    "198.18.0.77",
    "203.0.113.4/30",
    "2001:db8:0:7::/64",
    "2001:db8::/48",
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "0.0.0.0",
    "::",
    "224.0.0.251",
    "239.0.0.0/16",
    "255.255.255.255",
    "ff02::1",
    "ff00::/32",
    "169.254.1.1",
    "fe80::1",
    "::ffff:198.51.100.7",
    "::/64",
    "198.0.0.0/15",
    "0.0.0.0/0",
    "2001::/31",
    "::/0",
];

pub fn with_addresses() {
    ip(&format!("link add {SENDER} type veth peer name {SENSOR}"));
    ip(&format!("link set {SENSOR} up"));
    ip(&format!("link set {SENDER} up"));
    ip(&format!("addr add {}/24 dev {SENSOR}", OURS[0]));
    ip(&format!("addr add {}/64 dev {SENSOR} nodad", OURS[1]));
    ip(&format!("addr add {}/32 dev {SENDER}", OURS[2]));
    ip(&format!(
        "addr add 198.18.0.1/24 brd 198.18.0.77 dev {SENDER}"
    ));
}

/// Gives the host two addresses that are blocked: they are let in and refused from then on.
pub fn lets_in_what_the_host_gets(host: &mut Host) {
    host.done(add("198.51.100.9", 60));
    host.done(add("2001:db8:5:5::/64", 60));
    host.done(add("198.51.100.10", 60));
    ip(&format!("addr add 198.51.100.9/32 dev {SENSOR}"));
    ip(&format!("addr add 2001:db8:5:5::1/128 dev {SENSOR} nodad"));
    let again = [add("198.51.100.9", 60), add("2001:db8:5:5::/64", 60)];
    assert_eq!(host.order(&again), [Err(Refused::Protected); 2]);
    host.wait("notice", |host| host.has_notice("let in again"));
    assert_eq!(host.nets(), ["198.51.100.10/32"]);
}

/// Gives orders about [`PROTECTED`] between others.
pub fn refuses_what_is_protected(host: &mut Host) {
    let mut orders = vec![add("198.51.100.1", 60)];
    orders.extend(PROTECTED.map(|net| add(net, 60)));
    orders.push(add("198.51.100.2", 60));
    orders.push(add("198.51.100.3", 0));
    orders.push(add("198.51.100.4", u32::MAX));
    let mut expected = vec![Ok(())];
    expected.extend([Err(Refused::Protected); PROTECTED.len()]);
    expected.push(Ok(()));
    expected.extend([Err(Refused::Kernel(libc::ERANGE)); 2]);
    assert_eq!(host.order(&orders), expected);
    assert_eq!(host.nets(), ["198.51.100.1/32", "198.51.100.2/32"]);
}

#[test]
fn addresses_that_must_not_be_blocked_are_refused_and_the_others_of_the_batch_are_not() {
    with_nftables(|| {
        with_addresses();
        let mut host = Host::start(Kernel::Whole);
        refuses_what_is_protected(&mut host);
        host.close();
    });
}

#[test]
fn a_blocked_address_that_the_host_gets_is_let_in_and_refused_from_then_on() {
    with_nftables(|| {
        with_addresses();
        let mut host = Host::start(Kernel::Whole);
        lets_in_what_the_host_gets(&mut host);
        // Also in a table that is taken over.
        host.vanish();
        ip(&format!("addr add 198.51.100.10/32 dev {SENSOR}"));
        let mut next = Host::start(Kernel::Whole);
        assert_eq!(next.lists[0], []);
        ip(&format!("addr del 198.51.100.10/32 dev {SENSOR}"));
        next.done(add("198.51.100.10", 60));
        next.close();
    });
}

#[test]
fn a_full_set_refuses_what_is_new_and_nothing_else() {
    with_nftables(|| {
        let mut host = Host::with(Limits {
            elements_max: 3,
            kernel: Kernel::Whole,
        });
        refuses_what_is_new_when_full(&mut host);
        host.close();
    });
}

/// The capability sets of a process, and whether it has no_new_privs.
pub fn privileges(pid: u32) -> Vec<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let wanted = ["CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs"];
    let lines = status.lines().filter_map(|line| line.split_once(":\t"));
    let lines = lines.filter(|(name, _)| wanted.contains(name));
    lines
        .map(|(name, value)| format!("{name} {}", value.trim_start_matches('0')))
        .collect()
}

#[test]
fn the_helper_has_no_capability_but_that_for_the_firewall_and_no_descriptor_too_many() {
    with_nftables(|| {
        // Inherited by careless children.
        let stray = std::fs::File::open("/dev/null").expect("a file");
        let flags = nix::fcntl::FdFlag::empty();
        nix::fcntl::fcntl(&stray, nix::fcntl::FcntlArg::F_SETFD(flags)).expect("a flag");
        let mut host = Host::start(Kernel::Whole);
        host.done(add("198.51.100.1", 60));
        let pids = host.pids();
        assert_eq!(pids.len(), 2, "keeper and worker");
        let worker = privileges(pids[1]);
        // CAP_NET_ADMIN is bit 12. With no_new_privs the bounding set gives nothing.
        let expected = [
            "CapInh ",
            "CapPrm 1000",
            "CapEff 1000",
            "CapAmb ",
            "NoNewPrivs 1",
        ];
        assert_eq!(worker, expected);
        let keeper = privileges(pids[0]);
        for expected in ["CapPrm 1000", "CapEff 1000", "NoNewPrivs 1"] {
            assert!(keeper.iter().any(|line| line == expected), "{keeper:?}");
        }
        for pid in pids {
            let open: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
                .expect("it runs")
                .map(|entry| entry.expect("a descriptor").path())
                .filter_map(|path| Some(std::fs::read_link(path).ok()?.display().to_string()))
                .collect();
            let nulls = open.iter().filter(|path| *path == "/dev/null").count();
            assert_eq!(nulls, 1, "only its standard output: {open:?}");
        }
        host.close();
    });
}

#[test]
fn a_sensor_that_gave_the_capability_up_blocks_by_its_helper_alone() {
    with_nftables(|| {
        let mut host = Host::start(Kernel::Whole);
        host.done(add("198.51.100.1", 60));
        assert!(holds(METHOD.capabilities));
        give_up_net_admin().expect("it is held");
        assert!(!holds(METHOD.capabilities));
        // CAP_SYS_ADMIN would do for bpf(2), too.
        for set in [caps::CapSet::Effective, caps::CapSet::Permitted] {
            caps::drop(None, set, caps::Capability::CAP_SYS_ADMIN).expect("it is held");
        }
        assert!(try_nft("add table inet other").is_err(), "given up");
        assert!(RejectCounter::is_allowed(), "filters of rings are");
        kill_hard(host.pids()[1]);
        host.wait("new helper", |host| host.lists.len() == 2);
        host.done(add("198.51.100.2", 60));
        assert!(host.has_notice("was started again"), "{:?}", host.notices);
        assert_eq!(host.nets(), ["198.51.100.1/32", "198.51.100.2/32"]);
        // A sensor that can do no more says so when the keeper is gone as well.
        for pid in host.pids() {
            kill_hard(pid);
        }
        host.wait("words", |host| host.has_notice("it is not started again"));
        assert!(host.nft.is_over());
        assert_eq!(host.order(&[Order::Flush]), [Err(Refused::Gone)]);
    });
}

#[test]
fn a_helper_that_no_sensor_started_does_nothing() {
    with_nftables(|| {
        for stdin in [Stdio::null(), Stdio::piped()] {
            let output = Command::new(program())
                .args(["block-helper", "keep", "nft", "10", "own"])
                .stdin(stdin)
                .output()
                .expect("it starts");
            let says = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{says}");
            assert!(says.contains("is started by"), "{says}");
        }
        assert_eq!(nft("list tables"), "");
    });
}

/// Number of an order; other orders have other numbers.
const LAST_ID: u64 = 0x6c61_7374_6c61_7374;

/// A helper whose sensor is this test.
pub struct Victim {
    child: Child,
    socket: OwnedFd,
}

impl Victim {
    /// Starts it with these arguments behind the first two.
    pub fn start(arguments: &[&str]) -> Self {
        let flags = SockFlag::SOCK_CLOEXEC;
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags);
        let (socket, theirs) = pair.expect("a pair");
        let child = Command::new(program())
            .args(["block-helper", "keep"])
            .args(arguments)
            .stdin(theirs)
            .spawn();
        let child = child.expect("the helper starts");
        let victim = Self { child, socket };
        victim.drain(true);
        victim
    }

    /// Reads what the helper says; waits for the first of it, if so. Returns whether the order [`LAST_ID`] was
    /// answered.
    fn drain(&self, waits: bool) -> bool {
        let mut buffer = [0; 8_192];
        let mut flags = match waits {
            true => MsgFlags::empty(),
            false => MsgFlags::MSG_DONTWAIT,
        };
        let mut answered = false;
        while let Ok(length @ 1..) = recv(self.socket.as_raw_fd(), &mut buffer, flags) {
            flags = MsgFlags::MSG_DONTWAIT;
            let mut replies = buffer[16..length].chunks(48);
            answered |= replies.any(|one| one[0] == 2 && one[8..16] == LAST_ID.to_le_bytes());
        }
        answered
    }

    fn send(&self, datagram: &[u8]) {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        while let Err(errno) = send(self.socket.as_raw_fd(), datagram, flags) {
            assert_eq!(errno, nix::errno::Errno::EAGAIN, "the helper is there");
            self.drain(false);
        }
    }

    /// Sends many messages that may be right, and waits until all have been read.
    pub fn hear_messages(&self) {
        let mut dice = Dice(1);
        let messages = if super::is_full() { 1_000_000 } else { 20_000 };
        for number in 0..messages {
            let count = 1 + dice.below(4);
            let records: Vec<_> = (0..count).map(|_| any_record(&mut dice)).collect();
            let mut datagram = datagram(&records);
            match dice.below(8) {
                0 => {
                    let at = dice.below(datagram.len());
                    datagram[at] = dice.byte();
                }
                1 => datagram.truncate(1 + dice.below(datagram.len())),
                2 => datagram.extend(vec![dice.byte(); 1 + dice.below(6_000)]),
                _ => {}
            }
            // Not a close by a change of the last step, either.
            let closes =
                datagram.len() % 32 == 16 && datagram[16..].chunks(32).any(|record| record[0] == 5);
            if !closes {
                self.send(&datagram);
            }
            if number % 64 == 0 {
                self.drain(false);
            }
        }
        // With the answer to the last order, full or not, all before it has been read.
        let net = "198.51.100.250/32".parse().expect("a network");
        let mut last = record(1, net, 600);
        last[8..16].copy_from_slice(&LAST_ID.to_le_bytes());
        self.send(&datagram(&[last]));
        let give_up = Instant::now() + PATIENCE;
        while !self.drain(true) {
            assert!(Instant::now() < give_up, "no answer to the last order");
        }
    }

    /// Ends the sensor's side without a word.
    pub fn end(self) {
        let Victim { mut child, socket } = self;
        drop(socket);
        let status = child.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

/// A request as the protocol has it: operation, family, prefix length, time, address.
fn record(operation: u8, net: IpNet, for_s: u32) -> Vec<u8> {
    let mut bytes = vec![operation, 0, 4, net.prefix_len()];
    bytes.extend(for_s.to_le_bytes());
    bytes.extend(7_u64.to_le_bytes());
    match net.addr() {
        IpAddr::V4(address) => bytes.extend(address.octets()),
        IpAddr::V6(address) => {
            bytes[2] = 6;
            bytes.extend(address.octets());
        }
    }
    bytes.resize(32, 0);
    bytes
}

fn datagram(records: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"slb\x01".to_vec();
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(u16::try_from(records.len()).expect("few").to_le_bytes());
    bytes.resize(16, 0);
    records.iter().for_each(|record| bytes.extend(record));
    bytes
}

/// A generator of numbers that gives the same ones each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("below 256")
    }
}

/// A record that may be right, wrong in one way, or noise.
fn any_record(dice: &mut Dice) -> Vec<u8> {
    let known = [
        "192.0.2.1/32",
        "192.0.2.0/24",
        "127.0.0.1/32",
        "224.0.0.1/32",
        "198.51.100.0/24",
        "198.51.100.77/32",
        "2001:db8:0:7::1/128",
        "2001:db8:0:7::/64",
        "fe80::1/128",
        "2001:db8:a:b::/64",
        "203.0.113.5/32",
        "10.0.0.0/8",
    ];
    let net = known[dice.below(known.len())].parse().expect("a network");
    let operation = [1, 1, 1, 1, 2, 3, 4][dice.below(7)];
    let mut record = record(operation, net, [60, 600, 0, u32::MAX][dice.below(4)]);
    match dice.below(3) {
        0 => {}
        1 => {
            let at = dice.below(record.len());
            record[at] = dice.byte();
        }
        _ => record[16..].iter_mut().for_each(|byte| *byte = dice.byte()),
    }
    // A close would end the test. Its byte is tried in the unit tests.
    if record[0] == 5 {
        record[0] = 1;
    }
    record
}

#[test]
fn no_message_makes_the_helper_block_what_is_protected_or_touch_other_tables() {
    with_nftables(|| {
        with_addresses();
        add_others_rules();
        let before = others_rules();
        let victim = Victim::start(&["nft", "1000", "own"]);
        victim.hear_messages();
        check_elements();
        assert_eq!(others_rules(), before, "of others");
        victim.end();
    });
}

/// By another way than the program's: what `nft` lists holds nothing that must not be blocked.
fn check_elements() {
    let mut count = 0;
    for set in nft_json("list table inet synledger") {
        let Some(name) = set["set"]["name"].as_str() else {
            continue;
        };
        let v6 = name.contains('6') && name.starts_with("blocked6");
        let hosts = if v6 { 128 } else { 32 };
        let bits = name
            .split_once('_')
            .map_or(hosts, |(_, bits)| bits.parse().expect("bits"));
        assert!(bits >= if v6 { 32 } else { 16 }, "{name}");
        for element in set["set"]["elem"].as_array().into_iter().flatten() {
            let address = element["elem"]["val"].as_str().expect("an address");
            let net = IpNet::new(address.parse().expect("an address"), bits).expect("a prefix");
            assert_eq!(net.trunc(), net);
            let inside = |one: &str| net.contains(&one.parse::<IpAddr>().expect("an address"));
            assert!(!OURS.into_iter().any(inside), "{net} holds our address");
            let first = net.network();
            assert!(!first.is_loopback() && !first.is_multicast() && !first.is_unspecified());
            count += 1;
        }
    }
    assert!(count > 3, "the helper blocked only {count}");
    eprintln!("{count} elements, none of them protected");
}

#[test]
fn the_helper_outlives_the_signals_of_a_terminal_and_ends_with_its_sensor() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    with_nftables(|| {
        let mut host = Host::start(Kernel::Whole);
        let pids = host.pids();
        for pid in &pids {
            for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
                kill(Pid::from_raw(i32::try_from(*pid).expect("a pid")), signal).expect("sent");
            }
        }
        host.done(add("198.51.100.1", 60));
        assert_eq!(host.pids(), pids);
        drop(host);
        wait_until("the helper's end", || {
            pids.iter().all(|pid| !is_alive(*pid))
        });
        assert!(
            nft("list table inet synledger").contains("198.51.100.1"),
            "left as it was"
        );
    });
}

#[test]
fn a_run_that_keeps_its_blocks_leaves_them_to_the_next_one() {
    with_nftables(|| {
        let mut host = Host::start(Kernel::Whole);
        host.done(add("198.51.100.1", 600));
        host.nft.close(true, 10_000);
        host.listen();
        assert_eq!(host.notices, [""; 0]);
        let mut next = Host::start(Kernel::Whole);
        assert!(
            next.has_notice("taken over with 1 blocked entry"),
            "{:?}",
            next.notices
        );
        assert_eq!(next.nets(), ["198.51.100.1/32"]);
        next.close();
    });
}
