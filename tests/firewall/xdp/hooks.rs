//! The program at its interfaces: those that come later, those of others, those that go.

use super::super::common::netns::{SENSOR, alone, ip, try_ip};
use super::super::host::{Host, add, kill_hard, wait_until};
use super::super::packets::{BAD, GOOD, OURS, arrives, give, listen, with_neighbour};
use super::super::peer::own_mounts;
use super::{assert_nothing_left, at, folder, mode_of, program_of, started, with_xdp, without};
use caps::Capability;
use std::sync::mpsc;
use std::thread;
use synledger::firewall::Firewall;
use synledger::helper::Helper;

/// Why a helper for these interfaces does not begin.
fn refusal(names: &[&str]) -> String {
    let started = Helper::start(super::super::host::program(), at(names));
    let mut helper = started.expect("the process starts");
    let why = helper.wait_until_built(10_000).expect_err("refused");
    eprintln!("{why}");
    why
}

/// In a namespace for mounts of its own: a helper there finds no names of ours, and is a stranger to us.
fn stranger<T: Send + 'static>(does: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || {
        own_mounts();
        let _ = done.send(does());
    });
    result.recv().expect("it does not panic")
}

#[test]
fn a_program_of_others_stays_and_the_start_fails_with_the_reason() {
    with_xdp(|| {
        let peer = with_neighbour();
        let socket = listen(OURS[0]);
        let mut theirs = stranger(started);
        theirs.done(add(BAD[0], 600));
        let program = program_of(SENSOR).expect("theirs");
        let why = refusal(&[SENSOR, "lo"]);
        assert!(why.contains("no interface takes the XDP program"), "{why}");
        assert!(
            why.contains("sensor: another XDP program is there"),
            "{why}"
        );
        assert!(why.contains("lo: nothing comes in there"), "{why}");
        assert_eq!(program_of(SENSOR), Some(program), "not replaced");
        assert!(!arrives(&peer, BAD[0], &socket), "it works on");
        assert_eq!(theirs.dropped(BAD[0]), 1);
        assert!(!folder().exists(), "no names of a run that did not begin");
        theirs.end();
        assert_eq!(mode_of(SENSOR), "");
    });
}

#[test]
fn an_interface_with_a_program_of_others_is_left_out_until_that_is_gone() {
    with_xdp(|| {
        let peer = with_neighbour();
        ip("link add other type veth peer name rehto");
        let theirs = stranger(|| Host::with(at(&["other"])));
        let mut host = Host::with(at(&[SENSOR, "other"]));
        assert!(
            host.has_notice("other does not drop packets of blocked sources: another XDP program"),
            "{:?}",
            host.notices
        );
        let socket = listen(OURS[0]);
        host.done(add(BAD[0], 600));
        assert!(!arrives(&peer, BAD[0], &socket), "blocked");
        theirs.end();
        assert_eq!(mode_of("other"), "");
        // Every list is a look at the interfaces.
        host.elements();
        assert_eq!(mode_of("other"), "xdp");
        host.wait("notice", |host| {
            host.has_notice("other drops packets of blocked sources (XDP, native")
        });
        host.end();
        assert_nothing_left("other");
    });
}

#[test]
fn nobody_takes_the_program_away_by_netlink_and_one_of_an_interface_that_was_made_anew_comes_back()
{
    with_xdp(|| {
        let peer = with_neighbour();
        let mut host = started();
        let program = program_of(SENSOR);
        let refused = try_ip(&format!("link set dev {SENSOR} xdp off"));
        eprintln!("{}", refused.expect_err("refused"));
        assert_eq!(program_of(SENSOR), program, "it is there");
        host.done(add(BAD[0], 600));
        let socket = listen(OURS[0]);
        assert!(!arrives(&peer, BAD[0], &socket), "it works");
        drop((socket, peer));
        let _ = try_ip(&format!("link del {SENSOR}"));
        host.elements();
        // The block is still there, and holds at the new interface of the old name.
        let peer = with_neighbour();
        wait_until("program", || mode_of(SENSOR) == "xdp");
        let socket = listen(OURS[0]);
        assert!(!arrives(&peer, BAD[0], &socket), "blocked");
        assert!(arrives(&peer, GOOD[0], &socket), "the innocent neighbour");
        assert_eq!(host.dropped(BAD[0]), 2);
        host.end();
        assert_nothing_left(SENSOR);
    });
}

#[test]
fn a_second_sensor_is_refused_while_the_first_lives() {
    with_xdp(|| {
        let _peer = with_neighbour();
        let mut host = started();
        host.done(add(BAD[0], 600));
        let why = refusal(&[SENSOR]);
        assert!(why.contains("another synledger"), "{why}");
        assert_eq!(host.nets(), ["192.0.2.7/32"]);
        host.end();
        started().end();
    });
}

#[test]
fn an_interface_that_comes_later_or_again_or_under_another_name_has_the_program() {
    with_xdp(|| {
        ip("link add first type veth peer name tsrif");
        let mut host = Host::with(at(&["first", "later"]));
        assert_eq!(mode_of("first"), "xdp");
        let program = program_of("first");
        ip("link add later type veth peer name retal");
        wait_until("program at later", || mode_of("later") == "xdp");
        ip("link set first name second");
        host.elements();
        assert_eq!(program_of("second"), program, "under another name");
        // A worker that is started again knows the names of the start.
        kill_hard(host.pids()[1]);
        let lists = host.lists.len();
        host.wait("new worker", |host| host.lists.len() > lists);
        assert_eq!(mode_of("second"), "xdp", "after a new start");
        ip("link add first type veth peer name other");
        host.elements();
        assert_eq!(mode_of("first"), "", "another interface of the old name");
        ip("link del later");
        host.elements();
        ip("link add later type veth peer name retal");
        wait_until("program at later", || mode_of("later") == "xdp");
        // What an earlier run had, and this one does not watch.
        host.vanish();
        assert_eq!(mode_of("second"), "xdp");
        let next = Host::with(at(&["later"]));
        assert_eq!((mode_of("second"), mode_of("later")), ("", "xdp"));
        next.end();
        assert_nothing_left("later");
    });
}

#[test]
fn packets_are_dropped_in_generic_mode_as_well() {
    const BRIDGE: &str = "bridge";
    with_xdp(|| {
        let peer = with_neighbour();
        if let Err(why) = try_ip(&format!("link add {BRIDGE} type bridge")) {
            return eprintln!("skipped: no bridge: {why}");
        }
        ip(&format!("addr flush dev {SENSOR}"));
        ip(&format!("link set {SENSOR} master {BRIDGE}"));
        ip(&format!("link set {BRIDGE} up"));
        give(BRIDGE, &OURS);
        for net in ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"] {
            ip(&format!("route replace {net} dev {BRIDGE}"));
        }
        let mut host = Host::with(at(&[BRIDGE]));
        assert_eq!(mode_of(BRIDGE), "xdpgeneric");
        assert!(host.has_notice("generic mode"), "{:?}", host.notices);
        for family in 0..2 {
            let socket = listen(OURS[family]);
            wait_until("neighbours", || arrives(&peer, BAD[family], &socket));
            host.done(add(BAD[family], 600));
            assert!(!arrives(&peer, BAD[family], &socket), "{}", BAD[family]);
            assert!(arrives(&peer, GOOD[family], &socket), "{}", GOOD[family]);
            assert_eq!(host.dropped(BAD[family]), 1);
        }
        host.end();
        assert_nothing_left(BRIDGE);
    });
}

#[test]
fn without_names_all_goes_with_the_helper_and_that_is_said() {
    alone(|| {
        own_mounts();
        ip("link set lo up");
        without(Capability::CAP_SYS_ADMIN);
        let peer = with_neighbour();
        let mut host = Host::begin(at(&[SENSOR]));
        if let Err(why) = host.nft.wait_until_built(10_000) {
            return eprintln!("skipped: no XDP: {why}");
        }
        host.listen();
        assert!(
            host.has_notice("if the block helper is killed, all blocks end with it"),
            "{:?}",
            host.notices
        );
        let socket = listen(OURS[0]);
        host.done(add(BAD[0], 600));
        assert!(!arrives(&peer, BAD[0], &socket), "blocked");
        host.vanish();
        assert_nothing_left(SENSOR);
        assert!(arrives(&peer, BAD[0], &socket), "let in");
        let mut kept = started();
        kept.done(add(BAD[0], 600));
        kept.nft.close(true, 10_000);
        kept.listen();
        assert!(kept.has_notice("nothing keeps them"), "{:?}", kept.notices);
    });
}

#[test]
fn what_is_not_ours_in_the_place_of_a_map_is_left_alone() {
    with_xdp(|| {
        let _peer = with_neighbour();
        let mut host = started();
        host.done(add(BAD[0], 600));
        host.vanish();
        // The names are changed by somebody.
        let place = folder().join("blocked4");
        std::fs::remove_file(&place).expect("a name");
        std::fs::create_dir(&place).expect("a folder");
        let program = program_of(SENSOR);
        let why = refusal(&[SENSOR]);
        assert!(why.contains("blocked4 is no map of this program"), "{why}");
        assert!(place.is_dir(), "left alone");
        assert_eq!(program_of(SENSOR), program);
        std::fs::remove_dir(&place).expect("a folder");
        started().end();
        assert_nothing_left(SENSOR);
    });
}

#[test]
fn a_run_that_keeps_its_blocks_leaves_them_to_the_next_one() {
    with_xdp(|| {
        let peer = with_neighbour();
        let socket = listen(OURS[0]);
        let mut host = started();
        host.done(add(BAD[0], 600));
        assert!(host.nft.close(true, 10_000));
        host.listen();
        assert!(!host.has_notice("no last answer"), "{:?}", host.notices);
        drop(host);
        assert!(!arrives(&peer, BAD[0], &socket), "kept");
        let mut next = started();
        assert!(
            next.has_notice("taken over with 1 blocked entry"),
            "{:?}",
            next.notices
        );
        assert_eq!(next.dropped(BAD[0]), 1);
        next.end();
        assert!(arrives(&peer, BAD[0], &socket), "let in");
        assert_nothing_left(SENSOR);
    });
}
