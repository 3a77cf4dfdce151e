//! `synledger block` where no sensor answers: what one left that blocked by XDP.

use super::super::absent::{Running, run};
use super::super::common::netns::SENSOR;
use super::super::common::synledger;
use super::super::host::{Host, PATIENCE, add, nft, try_nft};
use super::super::left::{asked, block, listed, nothing_is_left, printed, refused};
use super::super::packets::{BAD, OURS, arrives, listen, with_neighbour};
use super::{assert_nothing_left, folder, program_of, started, with_xdp};
use nix::mount::{MntFlags, umount2};
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use synledger::firewall::Firewall;
use synledger::nft::Kernel;

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    let pair = |(net, mode): &(&str, &str)| ((*net).to_owned(), (*mode).to_owned());
    all.iter().map(pair).collect()
}

#[test]
fn what_a_sensor_left_is_shown_and_removed_once_it_has_ended() {
    with_xdp(|| {
        let peer = with_neighbour();
        nothing_is_left();
        for is_kept in [true, false] {
            let mut host = started();
            for net in [BAD[0], BAD[1], "198.51.7.0/24"] {
                host.done(add(net, 600));
            }
            let socket = listen(OURS[0]);
            assert!(!arrives(&peer, BAD[0], &socket));
            for words in [&["del", BAD[0]][..], &["flush"]] {
                refused(words, "xdp: process ");
            }
            assert_eq!(listed().len(), 3);
            match is_kept {
                true => assert!(host.nft.close(true, 10_000)),
                false => host.vanish(),
            }
            let list = printed(&["list"]);
            let of = |net: &str| {
                let line = list.lines().find(|line| line.starts_with(net));
                line.expect("it is there").to_owned()
            };
            assert!(
                of(BAD[0]).contains(" 1 packet dropped  unknown: left by an earlier sensor (xdp)")
            );
            assert!(of(BAD[1]).contains(" 0 packets dropped "), "{list}");
            assert_eq!(
                printed(&["del", BAD[0]]),
                format!("let in again: {}\n", BAD[0])
            );
            assert!(arrives(&peer, BAD[0], &socket), "it is let in");
            assert!(program_of(SENSOR).is_some() && folder().exists());
            assert_eq!(listed().len(), 2);
            assert_eq!(printed(&["flush"]), "everybody let in again\n");
            assert_nothing_left(SENSOR);
            assert!(arrives(&peer, BAD[1], &listen(OURS[1])));
            nothing_is_left();
        }
    });
}

#[test]
fn what_two_ways_to_block_left_is_shown_by_name_and_removed_together() {
    with_xdp(|| {
        if try_nft("list ruleset").is_err() {
            return eprintln!("skipped: no nftables");
        }
        let _peer = with_neighbour();
        let mut xdp = started();
        xdp.done(add(BAD[0], 600));
        xdp.done(add("198.51.7.0/24", 600));
        xdp.vanish();
        let mut nftables = Host::start(Kernel::Whole);
        nftables.done(add(BAD[0], 600));
        nftables.vanish();
        let bad = format!("{}/32", BAD[0]);
        let all = [
            (bad.as_str(), "nft"),
            (&bad, "xdp"),
            ("198.51.7.0/24", "xdp"),
        ];
        assert_eq!(listed(), pairs(&all));
        assert_eq!(
            printed(&["del", BAD[0]]),
            format!("let in again: {}\n", BAD[0])
        );
        assert_eq!(listed(), pairs(&all[2..]));
        assert_eq!(printed(&["flush"]), "everybody let in again\n");
        assert_nothing_left(SENSOR);
        assert_eq!(nft("list tables"), "");
        nothing_is_left();
    });
}

/// Prints this, says that this map is another program's, and exits with 1.
fn names_the_map(words: &[&str]) -> String {
    let (code, out, said) = block(words);
    assert_eq!(code, Some(1), "{words:?}: {said}");
    let says = "/blocked6 is no map of this program";
    assert!(said.contains(says), "{words:?}: {said}");
    out
}

#[test]
fn a_map_of_another_kind_is_named_and_left_alone_and_the_other_one_is_read_and_removed() {
    with_xdp(|| {
        let peer = with_neighbour();
        let mut host = started();
        host.done(add(BAD[0], 600));
        host.vanish();
        let [four, six] = ["blocked4", "blocked6"].map(|name| folder().join(name));
        std::fs::remove_file(&six).expect("it is there");
        std::fs::hard_link(&four, &six).expect("the same file system");
        assert!(names_the_map(&["list"]).contains("1 block\n"));
        let flushed = names_the_map(&["flush"]);
        assert!(
            flushed.starts_with("refused: all: xdp: all else was removed, but 1 name of other"),
            "{flushed}"
        );
        assert!(!flushed.contains("let in again"), "{flushed}");
        assert!(!four.exists() && six.exists());
        assert_eq!(program_of(SENSOR), None);
        assert!(arrives(&peer, BAD[0], &listen(OURS[0])));
    });
}

#[test]
fn one_map_alone_is_shown_and_removed() {
    with_xdp(|| {
        let _peer = with_neighbour();
        let mut host = started();
        host.done(add(BAD[0], 600));
        host.vanish();
        std::fs::remove_file(folder().join("blocked6")).expect("it is there");
        let bad = format!("{}/32", BAD[0]);
        // As another list at the same time.
        let other = File::open(folder()).expect("it is there");
        other.lock_shared().expect("no worker has it");
        assert_eq!(listed(), pairs(&[(&bad, "xdp")]));
        assert!(printed(&["list"]).contains("unknown: left by an earlier sensor (xdp)"));
        assert_eq!(printed(&["flush"]), "everybody let in again\n");
        assert_nothing_left(SENSOR);
    });
}

#[test]
fn the_program_is_taken_away_also_where_its_link_has_another_name() {
    with_xdp(|| {
        let peer = with_neighbour();
        let mut host = started();
        host.done(add(BAD[0], 600));
        host.vanish();
        let names = std::fs::read_dir(folder()).expect("it is there");
        let mut names = names.map(|one| one.expect("a name").path());
        let is_map = |path: &PathBuf| path.ends_with("blocked4") || path.ends_with("blocked6");
        let link = names.find(|path| !is_map(path));
        let elsewhere = Path::new("/sys/fs/bpf/elsewhere");
        std::fs::hard_link(link.expect("a link"), elsewhere).expect("the same file system");
        assert_eq!(printed(&["flush"]), "everybody let in again\n");
        assert_eq!(program_of(SENSOR), None);
        assert!(arrives(&peer, BAD[0], &listen(OURS[0])));
        std::fs::remove_file(elsewhere).expect("it is there");
    });
}

#[test]
fn what_one_way_to_block_left_is_removed_while_a_sensor_blocks_by_another() {
    with_xdp(|| {
        if try_nft("list ruleset").is_err() {
            return eprintln!("skipped: no nftables");
        }
        let peer = with_neighbour();
        let mut xdp = started();
        xdp.done(add(BAD[0], 600));
        xdp.vanish();
        let mut nftables = Host::start(Kernel::Whole);
        nftables.done(add(BAD[0], 600));
        nftables.done(add(BAD[1], 600));
        let bad = [format!("{}/32", BAD[0]), format!("{}/128", BAD[1])];
        let all = [(bad[0].as_str(), "nft"), (&bad[0], "xdp"), (&bad[1], "nft")];
        assert_eq!(listed(), pairs(&all));
        let (code, out, said) = block(&["del", BAD[0]]);
        assert_eq!(code, Some(1), "{said}");
        let parts = [
            "refused: ",
            "(synledger-block) has these blocks and is alive",
        ];
        assert!(parts.iter().all(|part| out.contains(part)), "{out}");
        let by = format!("no longer blocked by xdp: {}\n", BAD[0]);
        assert!(out.ends_with(&by), "{out}");
        assert_eq!(listed(), pairs(&[all[0], all[2]]));
        let (code, out, _) = block(&["flush"]);
        assert_eq!(code, Some(1));
        assert!(
            out.ends_with("no longer blocked by xdp: everybody\n"),
            "{out}"
        );
        assert_eq!(program_of(SENSOR), None);
        assert!(!arrives(&peer, BAD[0], &listen(OURS[0])), "nft has it");
        nftables.close();
    });
}

#[test]
fn a_sensor_and_a_list_of_its_blocks_name_what_another_way_to_block_left() {
    with_xdp(|| {
        let peer = with_neighbour();
        let mut xdp = started();
        xdp.done(add(BAD[0], 600));
        xdp.vanish();
        let dir = tempfile::tempdir().expect("a folder");
        let (socket, log) = (dir.path().join("sock"), dir.path().join("eve.json"));
        let mut command = run(synledger(), &socket);
        command.args(["--output", &format!("eve:{}", log.display())]);
        let spawned = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut sensor = Running(spawned.expect("it starts"));
        let left = "xdp: an earlier sensor left 1 block in the kernel";
        let give_up = Instant::now() + PATIENCE;
        loop {
            let (code, _, said) = asked(&socket, &["list"]);
            // Before the sensor is there, the kernel answers.
            if code == Some(0) && !said.contains("without it") {
                assert!(said.contains(left), "{said}");
                break;
            }
            assert!(Instant::now() < give_up, "it answers: {said}");
            std::thread::sleep(Duration::from_millis(50));
        }
        let flush = ["block", "flush", "--socket", "none"];
        let flushed = synledger().args(flush).output().expect("it starts");
        let out = String::from_utf8_lossy(&flushed.stdout).into_owned();
        assert!(
            out.ends_with("no longer blocked by xdp: everybody\n"),
            "{out}"
        );
        assert!(arrives(&peer, BAD[0], &listen(OURS[0])));
        let said = asked(&socket, &["list"]).2;
        assert!(!said.contains(left), "{said}");
        assert!(sensor.stop().success());
        let log = std::fs::read_to_string(log).expect("a log");
        let notice = log.lines().find(|line| line.contains(left));
        assert!(
            notice.is_some_and(|line| line.contains("block_firewall")),
            "{log}"
        );
    });
}

#[test]
fn without_a_bpf_file_system_nobody_says_that_nothing_is_left() {
    with_xdp(|| {
        umount2("/sys/fs/bpf", MntFlags::MNT_DETACH).expect("it is ours");
        let unknown =
            "xdp: what is left cannot be read: no bpf file system is mounted at /sys/fs/bpf\n";
        for words in [&["list"][..], &["flush"], &["del", "192.0.2.1"]] {
            let (code, _, said) = block(words);
            assert_eq!(code, Some(1), "{words:?}");
            assert!(said.contains(unknown), "{said}");
            assert!(
                !said.contains("No earlier sensor left blocks in the kernel"),
                "{said}"
            );
        }
        let json: Value = serde_json::from_str(&block(&["list", "--json"]).1).expect("JSON");
        assert_eq!(json["incomplete"], true);
    });
}
