use super::interfaces::cpu_mask;
use super::render::{json_text, to_json, write_text};
use super::*;
use crate::capture::mode::{CaptureDepth, FanoutMode};
use crate::host::nic::ethtool::{Ethtool, Rss};
use crate::host::nic::{Interface, NicCounters, SoftnetCounters, Xdp, link_type};
use crate::settings::flags::RingArgs;
use crate::settings::rings::RingBudget;

pub(super) fn interface() -> Interface {
    Interface {
        name: "eth0".to_owned(),
        ifindex: 2,
        arphrd: 1,
        link: link_type(1),
        up: true,
        running: true,
        loopback: false,
        mtu: 1_500,
        rx_queues: 4,
        addresses: Vec::new(),
        counters: NicCounters::default(),
    }
}

fn budget() -> RingBudget {
    let rings = RingArgs {
        fanout: FanoutMode::Class,
        ring_mib: 64,
        ring_per_interface: false,
    };
    RingBudget::new(&rings, CaptureDepth::Headers, None)
}

fn good() -> Facts {
    let answers = Ethtool {
        rx_channels: Some((4, 8)),
        rx_ring: Some((512, 4_096)),
        rss: Rss::Symmetric,
        ..Ethtool::default()
    };
    Facts {
        needs: Needs {
            process_bytes: 300 << 20,
            rings: budget(),
            witness: None,
            outputs: 1,
            metrics: 0,
            status: false,
            workers: 1,
            fanout: FanoutMode::Class,
            counts_filtered: true,
        },
        capabilities: Some(u64::MAX),
        open_files: Some(1_024),
        locked_memory_bytes: Some(8 << 20),
        kernel: Some((6, 14)),
        cpus_allowed: 4,
        cpus_online: 4,
        cpuset: None,
        cpu_limit_milli: None,
        memory_limit_bytes: None,
        memory_available_bytes: Some(8 << 30),
        backlog_max: Some(1_000),
        softnet: Some(SoftnetCounters::default()),
        interfaces: Ok(vec![(interface(), answers)]),
        paths: Paths {
            xdp: vec![Xdp {
                native: Some(true),
                taken: Some(false),
            }],
            ..Paths::default()
        },
        nftables: Some(Ok(true)),
        awaited: false,
        unreadable: Vec::new(),
        by_vlan: false,
        tunnels: crate::capture::tunnels::Tunnels::NONE,
        heard: Vec::new(),
    }
}

/// The one finding that is more than ok after `change`.
fn only(change: impl FnOnce(&mut Facts)) -> Finding {
    let mut facts = good();
    change(&mut facts);
    let mut found = findings(&facts);
    found.retain(|finding| finding.level != Level::Ok);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

fn driver(facts: &mut Facts) -> &mut (Interface, Ethtool) {
    &mut facts.interfaces.as_mut().expect("an interface")[0]
}

#[test]
fn a_good_host_gives_nothing_to_change() {
    let found = findings(&good());
    assert!(
        found.iter().all(|finding| finding.level == Level::Ok),
        "{found:#?}"
    );
    assert_eq!(exit_status(&found), 0);
}

#[test]
fn an_interface_is_given_the_firewall_that_fits_it() {
    let chosen = |change: &dyn Fn(&mut Facts)| {
        let mut facts = good();
        change(&mut facts);
        let mut found = findings(&facts);
        found.retain(|finding| finding.what.contains("to block"));
        assert!(found.len() <= 1, "{found:#?}");
        found.pop()
    };
    let fits = |change: fn(&mut Facts), part: &str, why: &str| {
        let finding = chosen(&change).expect("an interface");
        assert_eq!(finding.level, Level::Ok);
        assert!(finding.what.contains(part), "{part}: {}", finding.what);
        assert!(finding.why.contains(why), "{}", finding.why);
    };
    let nft = "This sensor sees what it drops";
    fits(
        |_| {},
        "--block xdp (its driver has XDP",
        "this sensor does not see",
    );
    fits(
        |facts| facts.paths.xdp[0].native = Some(false),
        "--block nft (its driver has no XDP",
        nft,
    );
    fits(
        |facts| facts.paths.xdp[0].native = None,
        "--block nft (the kernel does not say",
        nft,
    );
    fits(
        |facts| facts.paths.xdp[0].taken = Some(true),
        "--block nft (an XDP program is there",
        nft,
    );
    fits(
        |facts| facts.capabilities = Some(!(1 << CAP_BPF)),
        "CAP_BPF",
        nft,
    );
    fits(|facts| facts.kernel = Some((5, 8)), "needs Linux 5.9", nft);
    fits(
        |facts| driver(facts).0.link = link_type(519),
        "no Ethernet header",
        nft,
    );
    let without = |facts: &mut Facts, native| {
        facts.nftables = Some(Err("Protocol not supported".to_owned()));
        facts.paths.xdp[0].native = native;
    };
    let with_xdp = chosen(&|facts| without(facts, Some(false))).expect("an interface");
    assert!(
        with_xdp
            .what
            .contains("--block xdp (no nf_tables; generic mode)"),
        "{with_xdp:?}"
    );
    assert_eq!(chosen(&|facts| without(facts, None)), None);
    assert_eq!(chosen(&|facts| driver(facts).0.loopback = true), None);
    let real = crate::host::nic::xdp(1);
    eprintln!("this kernel says of lo: {real:?}");
    assert_ne!(real.taken, Some(true));
}

#[test]
fn a_kernel_without_nftables_or_owners_is_said() {
    let no_owners = only(|facts| facts.nftables = Some(Ok(false)));
    assert_eq!(no_owners.level, Level::Note);
    assert!(
        no_owners.what.contains("no owners (Linux 6.9)"),
        "{no_owners:?}"
    );
    let none = only(|facts| facts.nftables = Some(Err("Protocol not supported".to_owned())));
    assert_eq!(none.level, Level::Note);
    assert!(none.what.contains("(Protocol not supported)"), "{none:?}");
    assert!(none.change.contains("modprobe nf_tables"), "{none:?}");
    let mut facts = good();
    facts.nftables = None;
    let found = findings(&facts);
    let not_asked = |finding: &Finding| finding.what.contains("nf_tables was not asked");
    assert!(found.iter().any(not_asked), "{found:#?}");
    assert_eq!(exit_status(&found), 0);
}

#[test]
fn each_lack_is_found_with_the_command_that_mends_it() {
    let fail = only(|facts| facts.capabilities = Some(!(1 << CAP_NET_RAW)));
    assert_eq!(fail.level, Level::Fail);
    assert!(
        fail.change.contains("setcap cap_net_raw,cap_bpf"),
        "{fail:?}"
    );
    let counting = only(|facts| facts.capabilities = Some(!(1 << CAP_BPF | 1 << 21)));
    assert!(
        counting
            .change
            .contains("setcap cap_net_raw,cap_bpf,cap_net_admin+ep"),
        "it keeps what is held: {counting:?}"
    );
    let drops = only(|facts| driver(facts).0.counters.rx_missed_errors = 9);
    assert!(
        drops.change.contains("ethtool -G eth0 rx 4096"),
        "{drops:?}"
    );
    let lro = only(|facts| driver(facts).1.lro = Some(true));
    assert_eq!(
        (lro.level, lro.change.as_str()),
        (Level::Warn, "sudo ethtool -K eth0 lro off")
    );
    let gro = only(|facts| driver(facts).1.gro = Some(true));
    assert_eq!(gro.level, Level::Note);
    let rss = only(|facts| driver(facts).1.rss = Rss::Unknown);
    assert!(rss.what.contains("cannot tell"), "{rss:?}");
    let backlog = only(|facts| {
        facts.softnet = Some(SoftnetCounters {
            dropped: 1,
            ..Default::default()
        })
    });
    assert!(
        backlog.change.contains("netdev_max_backlog=8192"),
        "{backlog:?}"
    );
    let quota = only(|facts| facts.cpu_limit_milli = Some(505));
    assert!(quota.what.contains("0.50 CPUs"), "{quota:?}");
    assert_eq!(
        only(|facts| facts.memory_available_bytes = Some(1 << 20)).level,
        Level::Fail
    );
    assert_eq!(
        only(|facts| facts.memory_limit_bytes = Some(1 << 20)).level,
        Level::Warn
    );
    let files = only(|facts| facts.open_files = Some(76));
    assert_eq!(files.level, Level::Fail);
    assert_eq!(files.what, "76 open files allowed at most, 77 needed");
    assert!(files.change.contains("ulimit -n 77 as root"), "{files:?}");
    assert_eq!(
        only(|facts| facts.kernel = Some((3, 10))).level,
        Level::Fail
    );
    assert_eq!(
        only(|facts| facts.kernel = Some((5, 15))).level,
        Level::Note
    );
    assert_eq!(only(|facts| driver(facts).0.up = false).level, Level::Warn);
    let none =
        only(|facts| facts.interfaces = Err("-i eth7: no such interface; there are lo".into()));
    assert_eq!((none.level, exit_status(&[none])), (Level::Fail, 1));
}

#[test]
fn one_queue_is_found_with_the_channels_that_the_driver_has() {
    let one = only(|facts| driver(facts).1.rx_channels = Some((1, 8)));
    assert!(one.change.contains("ethtool -L eth0 combined 4"), "{one:?}");
    // As veth has them.
    let apart = only(|facts| {
        let answers = &mut driver(facts).1;
        (answers.rx_channels, answers.rx_only) = (Some((1, 2)), true);
    });
    assert!(apart.change.contains("ethtool -L eth0 rx 2"), "{apart:?}");
}

#[test]
fn rings_and_tables_of_all_interfaces_are_added_up() {
    let many = |facts: &mut Facts, count: usize| {
        let one = driver(facts).clone();
        facts.interfaces = Ok(vec![one; count]);
    };
    let memory = |facts: &Facts| {
        let mut found = findings(facts);
        found.retain(|finding| finding.what.contains("of memory available"));
        found.remove(0)
    };
    let mut facts = good();
    many(&mut facts, 4);
    let shared =
        "364 MiB needed: 300 MiB for the process, 64 MiB for rings of 1 worker on 4 interfaces";
    assert!(
        memory(&facts).what.ends_with(shared),
        "{:?}",
        memory(&facts)
    );
    facts.memory_available_bytes = Some(400 << 20);
    assert_eq!(memory(&facts).level, Level::Warn);
    facts.memory_available_bytes = Some(363 << 20);
    assert_eq!(memory(&facts).level, Level::Fail);
    let mut facts = good();
    many(&mut facts, 80);
    let small = findings(&facts).into_iter().find(|finding| {
        finding
            .what
            .starts_with("--ring-mib 64: shared by 80 interfaces")
    });
    assert_eq!(small.map(|finding| finding.level), Some(Level::Fail));
}

#[test]
fn a_host_that_says_nothing_is_no_failure() {
    let mut facts = good();
    facts.capabilities = None;
    facts.kernel = None;
    facts.softnet = None;
    facts.open_files = None;
    facts.memory_available_bytes = None;
    driver(&mut facts).1 = Ethtool::default();
    assert_eq!(exit_status(&findings(&facts)), 0);
}

const LONG: &str =
    "One word after another, until the line is as long as a line may be, and then some more.";

#[test]
fn text_lines_up_and_hides_control_characters() {
    let found = [
        Finding::ok("a\x1b[2Jb"),
        Finding::new(Level::Fail, "what", "Why.", "command"),
        Finding::new(Level::Warn, "long", LONG, ""),
    ];
    let mut text = Vec::new();
    write_text(&found, &mut text).expect("memory takes anything");
    let expected = "ok    a_[2Jb\nfail  what\n      why:    Why.\n      change: command\n\
                    warn  long\n      why:    One word after another, until the line is as long as a line may be, and then\n              \
                    some more.\n\
                    Not ready. 1 failed, 1 warning.\n";
    assert_eq!(String::from_utf8(text).expect("text"), expected);
    let json = to_json(&found);
    assert_eq!(json["ready"], false);
    assert_eq!(json["findings"][1]["change"], "command");
    let text = json_text(&[Finding::ok("a\x1b\u{7f}\u{9b}b")]);
    let what = "\"what\": \"a\\u001b\\u007f\\u009bb\"";
    assert!(text.contains(what), "{text}");
}

#[test]
fn a_cpu_mask_is_words_of_32() {
    assert_eq!(cpu_mask(2), "3");
    assert_eq!(cpu_mask(32), "ffffffff");
    assert_eq!(cpu_mask(40), "ff,ffffffff");
}
