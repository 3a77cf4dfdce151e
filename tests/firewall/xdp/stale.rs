//! Names that a killed helper left in another network namespace.

use super::super::common::netns::{SENDER, SENSOR, ip};
use super::super::host::{Host, add, is_alive, kill_hard, wait_until};
use super::super::packets::with_neighbour;
use super::super::peer::Peer;
use super::{NAMES, assert_nothing_left, at, folder, mode_of, started, with_xdp};
use std::path::PathBuf;

/// A helper at [`SENDER`] in the peer's namespace, killed with its keeper. Returns the folder of its names.
fn killed_there(peer: &Peer) -> PathBuf {
    peer.run(|| {
        let mut host = Host::with(at(&[SENDER]));
        host.done(add("198.51.100.99", 3_600));
        let pids = host.pids();
        pids.iter().for_each(|pid| kill_hard(*pid));
        wait_until("the end of both", || pids.iter().all(|pid| !is_alive(*pid)));
        drop(host);
        folder()
    })
}

const LEFT: &str = "left names of XDP programs that may drop packets still";

#[test]
fn names_of_a_namespace_that_is_gone_are_removed_and_those_of_one_that_lives_stay() {
    with_xdp(|| {
        let peer = with_neighbour();
        let theirs = killed_there(&peer);
        assert_ne!(theirs, folder());
        let host = started();
        assert!(host.has_notice(LEFT), "{:?}", host.notices);
        host.end();
        assert!(theirs.join("blocked4").exists());
        assert_ne!(peer.run(|| mode_of(SENDER)), "", "their program goes on");
        drop(peer);
        let is_there = || nix::net::if_::if_nametoindex(SENSOR).is_ok();
        wait_until("the end of their namespace", || !is_there());
        ip(&format!("link add {SENSOR} type veth peer name {SENDER}"));
        let host = started();
        assert!(!host.has_notice(LEFT), "{:?}", host.notices);
        assert!(!theirs.exists(), "their names are removed");
        host.end();
        assert_nothing_left(SENSOR);
    });
}

#[test]
fn what_is_not_known_in_a_folder_of_another_namespace_keeps_all_of_it() {
    with_xdp(|| {
        let _peer = with_neighbour();
        let host = started();
        let strange = PathBuf::from(format!("{NAMES}/v1/netns-1/strange"));
        std::fs::create_dir_all(&strange).expect("a folder");
        host.end();
        let host = started();
        let said = format!("{LEFT}, such as {NAMES}/v1/netns-1: they stay");
        assert!(host.has_notice(&said), "{:?}", host.notices);
        assert!(strange.exists());
        std::fs::remove_dir(&strange).expect("it is empty");
        host.end();
        // Without it nothing keeps the folder.
        let host = started();
        assert!(!host.has_notice(LEFT), "{:?}", host.notices);
        host.end();
        assert_nothing_left(SENSOR);
    });
}
