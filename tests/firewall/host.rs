//! A firewall in the calling thread's namespace, and what it has said.

use super::peer::own_mounts;
use crate::common::netns::{alone, ip};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use synledger::firewall::{Answer, Element, Firewall, Heard, Order, Refused};
use synledger::helper::{Helper, Start};
use synledger::nft::{Kernel, Limits};

/// How long a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_synledger"))
}

/// Runs `test` in a namespace of its own with `lo` up; prints `skipped` without root, `nft` or nf_tables.
pub fn with_nftables(test: impl FnOnce() + Send + 'static) {
    alone(|| {
        own_mounts();
        // Where there is none, nobody knows whether a sensor that blocked by XDP left anything.
        let _ = mount(
            Some("bpf"),
            "/sys/fs/bpf",
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        );
        ip("link set lo up");
        match try_nft("list ruleset") {
            Ok(_) => test(),
            Err(why) => eprintln!("skipped: no nftables: {why}"),
        }
    });
}

/// Runs `nft` with this command; returns its output.
pub fn try_nft(command: &str) -> Result<String, String> {
    let output = Command::new("nft").arg(command).output();
    let output = output.map_err(|error| format!("nft does not start: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The same; it must succeed.
pub fn nft(command: &str) -> String {
    try_nft(command).unwrap_or_else(|why| panic!("nft {command}: {why}"))
}

/// What `nft` lists, as JSON.
pub fn nft_json(command: &str) -> Vec<serde_json::Value> {
    let output = Command::new("nft").args(["-j", command]).output();
    let output = output.expect("nft starts");
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    all["nftables"].as_array().expect("a list").clone()
}

/// The whole ruleset but our table, by the program `nft`.
pub fn others_rules() -> Vec<serde_json::Value> {
    let all = nft_json("list ruleset");
    let is_ours = |object: &serde_json::Value| {
        let of = object.as_object().and_then(|one| one.values().next());
        of.is_some_and(|of| {
            of["family"] == "inet" && (of["table"] == "synledger" || of["name"] == "synledger")
        })
    };
    let mut others: Vec<_> = all.into_iter().filter(|one| !is_ours(one)).collect();
    others.iter_mut().for_each(forget_times);
    others
}

/// Removes the time that elements have left.
fn forget_times(value: &mut serde_json::Value) {
    if let Some(object) = value.as_object_mut() {
        object.remove("expires");
        object.values_mut().for_each(forget_times);
    } else if let Some(list) = value.as_array_mut() {
        list.iter_mut().for_each(forget_times);
    }
}

/// Tables as other programs have them, which must stay as they are.
pub fn add_others_rules() {
    nft("add table inet edge");
    nft("add set inet edge scanners4 { type ipv4_addr; flags timeout; }");
    nft("add element inet edge scanners4 { 203.0.113.9 timeout 1h }");
    nft("add chain inet edge in { type filter hook input priority 0; policy accept; }");
    nft("add rule inet edge in ip saddr @scanners4 counter drop");
    nft("add table ip nat");
    nft("add chain ip nat post { type nat hook postrouting priority 100; }");
    nft("add table ip6 synledger");
}

/// A blocked address or network.
pub fn add(net: &str, for_s: u32) -> Order {
    Order::Add {
        net: net_of(net),
        for_s,
    }
}

/// The opposite.
pub fn remove(net: &str) -> Order {
    Order::Remove { net: net_of(net) }
}

fn net_of(text: &str) -> ipnet::IpNet {
    let host = || text.parse::<IpAddr>().map(ipnet::IpNet::from);
    text.parse().or_else(|_| host()).expect("a network")
}

/// The firewall and what it has said.
pub struct Host {
    pub nft: Helper,
    pub notices: Vec<String>,
    pub answers: Vec<Answer>,
    /// Every list since the start.
    pub lists: Vec<Vec<Element>>,
    /// What was counted.
    pub counts: Vec<(ipnet::IpNet, (u64, u64))>,
}

impl Host {
    /// Starts it and waits until the table is there.
    pub fn start(kernel: Kernel) -> Self {
        Self::with(Limits {
            elements_max: 10_000,
            kernel,
        })
    }

    pub fn with(start: impl Into<Start>) -> Self {
        let mut host = Self::begin(start);
        host.wait("a table", |host| !host.lists.is_empty());
        host
    }

    /// Starts it and does not wait.
    pub fn begin(start: impl Into<Start>) -> Self {
        Self {
            nft: Helper::start(program(), start.into()).expect("the helper starts"),
            notices: Vec::new(),
            answers: Vec::new(),
            lists: Vec::new(),
            counts: Vec::new(),
        }
    }

    pub fn listen(&mut self) {
        let (notices, answers, lists) = (&mut self.notices, &mut self.answers, &mut self.lists);
        let counts = &mut self.counts;
        self.nft.poll(&mut |heard| match heard {
            Heard::Answer(answer) => answers.push(answer),
            Heard::Elements(elements) => lists.push(elements),
            Heard::Counted { net, dropped } => counts.push((net, dropped)),
            Heard::Notice(notice) => notices.push(notice),
        });
    }

    pub fn wait(&mut self, what: &str, happened: impl Fn(&Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            self.listen();
            if happened(self) {
                return;
            }
            assert!(Instant::now() < give_up, "no {what}: {:?}", self.notices);
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Gives these orders; returns the answers to them.
    pub fn order(&mut self, orders: &[Order]) -> Vec<Result<(), Refused>> {
        self.answers.clear();
        let mut left = orders;
        while !left.is_empty() {
            let taken = self.nft.order(left);
            left = &left[taken..];
            self.listen();
        }
        self.wait("answers", |host| host.answers.len() >= orders.len());
        let answers = std::mem::take(&mut self.answers);
        let asked: Vec<Order> = answers.iter().map(|answer| answer.order).collect();
        assert_eq!(asked, orders, "answers come in the order of the orders");
        answers.into_iter().map(|answer| answer.result).collect()
    }

    /// Gives one order, which must be carried out.
    pub fn done(&mut self, order: Order) {
        assert_eq!(self.order(&[order]), [Ok(())], "{order:?}");
    }

    /// Every element, sorted.
    pub fn elements(&mut self) -> Vec<Element> {
        let before = self.lists.len();
        self.nft.ask();
        self.wait("list", |host| host.lists.len() > before);
        let mut elements = self.lists.last().expect("one came").clone();
        elements.sort_by_key(|element| element.net);
        elements
    }

    /// The blocked networks in words, sorted.
    pub fn nets(&mut self) -> Vec<String> {
        let elements = self.elements();
        elements.iter().map(|one| one.net.to_string()).collect()
    }

    /// Packets dropped from this network.
    pub fn dropped(&mut self, net: &str) -> u64 {
        let elements = self.elements();
        let net = net_of(net);
        let one = elements.iter().find(|element| element.net == net);
        let one = one.unwrap_or_else(|| panic!("{net} is not in {elements:?}"));
        one.dropped.expect("this kernel counts").0
    }

    /// The same of this element alone; `None`: it is not there.
    pub fn counted(&mut self, net: &str) -> Option<u64> {
        self.counts.clear();
        let net = net_of(net);
        self.nft.count(&[net]);
        // The list is asked for after it.
        self.elements();
        let all: Vec<_> = self.counts.iter().map(|(one, _)| *one).collect();
        assert!(all.is_empty() || all == [net], "{all:?}");
        self.counts.first().map(|(_, (packets, _))| *packets)
    }

    pub fn has_notice(&self, part: &str) -> bool {
        self.notices.iter().any(|notice| notice.contains(part))
    }

    /// Process ids of the keeper and, while there is one, of its worker.
    pub fn pids(&self) -> Vec<u32> {
        let Some(keeper) = self.nft.keeper() else {
            return Vec::new();
        };
        let children = format!("/proc/{keeper}/task/{keeper}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let children = children.split_whitespace().map(str::parse);
        let children = children.map(|pid| pid.expect("a number"));
        std::iter::once(keeper).chain(children).collect()
    }

    /// Ends it; the table goes.
    pub fn close(self) {
        self.end();
        assert!(!nft("list tables").contains("inet synledger"));
    }

    /// Ends it with a word, and sees that no process is left.
    pub fn end(mut self) {
        let pids = self.pids();
        self.nft.close(false, 10_000);
        self.listen();
        assert!(!self.has_notice("no last answer"), "{:?}", self.notices);
        let left: Vec<_> = pids.into_iter().filter(|pid| is_alive(*pid)).collect();
        assert!(left.is_empty(), "{left:?} of the helper are left");
    }

    /// Ends it without a word, as if the sensor had been killed, and waits until the helper is gone.
    pub fn vanish(self) {
        let pids = self.pids();
        drop(self.nft);
        wait_until("the helper's end", || {
            pids.iter().all(|pid| !is_alive(*pid))
        });
    }
}

/// Ends a process by force.
pub fn kill_hard(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
    let _ = kill(pid, Signal::SIGKILL);
}

/// Whether the process runs; one that nobody has waited for does not.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

pub fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < give_up, "no {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Fills a host with room for three.
pub fn refuses_what_is_new_when_full(host: &mut Host) {
    let full = Err(Refused::Full);
    let orders = [
        add("198.51.100.1", 60),
        add("198.51.101.0/24", 60),
        add("2001:db8::1", 60),
        add("198.51.100.4", 60),
        remove("198.51.100.1"),
        add("198.51.100.5", 60),
        add("198.51.101.0/24", 90),
        add("198.51.100.6", 60),
    ];
    let expected = [Ok(()), Ok(()), Ok(()), full, Ok(()), Ok(()), Ok(()), full];
    assert_eq!(host.order(&orders), expected);
    let there = ["198.51.100.5/32", "198.51.101.0/24", "2001:db8::1/128"];
    assert_eq!(host.nets(), there);
}
