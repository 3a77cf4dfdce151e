//! `synledger block` where no sensor answers: what an earlier one left in the kernel is shown and removed, and nothing else.

use super::absent::{Running, run, with_link};
use super::common::{fails, synledger, synledger_as_nobody};
use super::host::{
    Host, PATIENCE, add, add_others_rules, kill_hard, nft, others_rules, wait_until, with_nftables,
};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use synledger::nft::Kernel;

/// Exit code, standard output and standard error of `block` with this socket.
pub fn asked(socket: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = synledger();
    command.arg("block").args(words).arg("--socket").arg(socket);
    let output = command.output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// The same where there is no socket.
pub fn block(words: &[&str]) -> (Option<i32>, String, String) {
    asked(Path::new("/nonexistent/sock"), words)
}

/// What it prints; it must succeed.
pub fn printed(words: &[&str]) -> String {
    let (code, out, said) = block(words);
    assert_eq!(code, Some(0), "{words:?}: {out}{said}");
    out
}

/// It must fail, with these words on standard error and nothing on the other.
pub fn refused(words: &[&str], says: &str) {
    let (code, out, said) = block(words);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{words:?}: {said}");
    assert!(said.contains(says), "{words:?}: {said}");
}

/// Networks in the list, with the way to block of each.
pub fn listed() -> Vec<(String, String)> {
    let list: Value = serde_json::from_str(&printed(&["list", "--json"])).expect("JSON");
    let text = |one: &Value, name: &str| one[name].as_str().expect("a text").to_owned();
    let all = list["blocks"].as_array().expect("a list").iter();
    all.map(|one| (text(one, "net"), text(one, "mode")))
        .collect()
}

pub fn nothing_is_left() {
    for words in [
        &["list"][..],
        &["export"],
        &["del", "192.0.2.1"],
        &["flush"],
    ] {
        refused(
            words,
            "/nonexistent/sock: there is no such socket: start `synledger run` with --status-socket or --block, or name its socket with \
             --socket. No earlier sensor left blocks in the kernel, either\n",
        );
    }
}

const NETS: [&str; 3] = ["198.51.100.9", "198.51.7.0/24", "2001:db8:5::/64"];

/// A sensor that has blocked [`NETS`].
fn sensor(socket: &Path, more: &[&str]) -> Running {
    let mut command = run(synledger(), socket);
    command
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let sensor = Running(command.spawn().expect("it starts"));
    let give_up = Instant::now() + PATIENCE;
    while asked(socket, &["list"]).0 != Some(0) {
        assert!(Instant::now() < give_up, "it answers");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (code, out, said) = asked(socket, &[&["add", "--for", "2h"], &NETS[..]].concat());
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "3 networks: blocked\n"),
        "{said}"
    );
    sensor
}

/// What a sensor left that has ended: listed, exported, removed one by one and as a whole.
fn is_shown_and_removed() {
    let (code, list, said) = block(&["list"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("no such socket") && said.contains("blocks are in the kernel without it"),
        "{said}"
    );
    let ends = "  since unknown  0 packets dropped  unknown: left by an earlier sensor (nft)";
    let lines: Vec<&str> = list.lines().collect();
    for (line, net) in lines
        .iter()
        .zip(["198.51.7.0/24 ", "198.51.100.9 ", "2001:db8:5::/64 "])
    {
        assert!(line.starts_with(net) && line.ends_with(ends), "{line}");
        assert!(line.contains("  until 20"), "{line}");
    }
    assert_eq!((lines.len(), lines[3]), (4, "3 blocks"));
    assert_eq!(printed(&["export"]).lines().count(), 3);
    let json: Value =
        serde_json::from_str(&printed(&["export", "--format", "json"])).expect("JSON");
    assert_eq!(
        (&json[0]["by"], &json[0]["since"]),
        (&Value::from("found"), &Value::Null)
    );
    let script = printed(&["export", "--format", "nft"]);
    assert!(script.contains(" { 198.51.7.0/24 "), "{script}");
    refused(
        &["del", "198.51.100.8"],
        "synledger: 198.51.100.8 is not blocked\n",
    );
    let larger = "synledger: 198.51.7.1 is not blocked by itself: 198.51.7.0/24 is\n";
    refused(&["del", "198.51.7.1"], larger);
    assert_eq!(printed(&["del", NETS[1]]), "let in again: 198.51.7.0/24\n");
    let left = ["198.51.100.9/32", "2001:db8:5::/64"];
    assert_eq!(listed(), left.map(|net| (net.to_owned(), "nft".to_owned())));
    refused(
        &["add", "198.51.100.8"],
        "Only a running sensor adds blocks: its guard follows",
    );
    assert_eq!(listed().len(), 2);
    assert_eq!(printed(&["flush"]), "everybody let in again\n");
    assert!(!nft("list tables").contains("inet synledger"));
    nothing_is_left();
}

#[test]
fn what_a_sensor_left_is_shown_and_removed_once_it_has_ended_and_nobody_elses_rules_are_touched() {
    with_link(|dir| {
        add_others_rules();
        let before = others_rules();
        nothing_is_left();
        let socket = dir.join("sock");
        for is_kept in [true, false] {
            let more = if is_kept { &["--block-keep"][..] } else { &[] };
            let mut sensor = sensor(&socket, more);
            let table = || {
                nft("list sets table inet synledger")
                    .matches("198.51.")
                    .count()
            };
            let there = table();
            for words in [&["del", NETS[0]][..], &["flush"]] {
                refused(
                    words,
                    "(synledger-block) has these blocks and is alive: ask its sensor",
                );
            }
            let list = printed(&["list"]);
            assert!(
                list.contains("(synledger-block) knows it (nft)\n"),
                "{list}"
            );
            assert_eq!(table(), there, "nothing was changed");
            match is_kept {
                true => assert!(sensor.stop().success()),
                false => {
                    kill_hard(sensor.0.id());
                    sensor.0.wait().expect("it is killed");
                }
            }
            // It sees that the sensor has ended, and ends.
            let knows = || printed(&["list"]).contains("knows it");
            wait_until("end of the helper", || !knows());
            is_shown_and_removed();
            assert_eq!(others_rules(), before, "kept: {is_kept}");
        }
    });
}

#[test]
fn a_table_without_an_owner_is_changed_only_when_no_helper_is_alive() {
    with_nftables(|| {
        let mut host = Host::start(Kernel::WithoutOwner);
        host.done(add(NETS[0], 600));
        refused(
            &["flush"],
            "(synledger-block) has these blocks and is alive",
        );
        assert_eq!(host.nets(), ["198.51.100.9/32"]);
        host.vanish();
        assert_eq!(listed().len(), 1);
        assert_eq!(printed(&["flush"]), "everybody let in again\n");
        nothing_is_left();
    });
}

#[test]
fn a_process_that_only_looks_like_a_helper_keeps_nobody_from_removing_blocks() {
    with_nftables(|| {
        let mut host = Host::start(Kernel::WithoutOwner);
        host.done(add(NETS[0], 600));
        host.vanish();
        let dir = tempfile::tempdir().expect("a folder");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).expect("our own folder");
        std::fs::write(dir.path().join("block-helper"), "read line\n").expect("written");
        let mut command = Command::new("sh");
        command.args(["block-helper", "keep", "nft", "100", "own"]);
        command.current_dir(dir.path()).uid(65_534).gid(65_534);
        let spawned = command.stdin(Stdio::piped()).spawn();
        let _other = Running(spawned.expect("it starts"));
        assert!(printed(&["list"]).contains("unknown: left by an earlier sensor (nft)"));
        assert_eq!(printed(&["flush"]), "everybody let in again\n");
        nothing_is_left();
    });
}

#[test]
fn an_element_without_an_end_is_listed_and_removed() {
    with_nftables(|| {
        let mut host = Host::start(Kernel::Whole);
        host.done(add(NETS[0], 600));
        host.vanish();
        for net in ["203.0.113.2", "203.0.113.3"] {
            nft(&format!("add element inet synledger blocked4 {{ {net} }}"));
        }
        let list = printed(&["list"]);
        let says = "203.0.113.2   no end  since unknown  0 packets dropped  unknown: without an end, so not by a sensor (nft)";
        assert!(list.contains(says), "{list}");
        let json: Value = serde_json::from_str(&printed(&["list", "--json"])).expect("JSON");
        let blocks = json["blocks"].as_array().expect("a list");
        let until = |net: &str| {
            let one = blocks.iter().find(|one| one["net"] == net);
            one.expect("it is there")["until"].clone()
        };
        assert_eq!(until("203.0.113.2/32"), Value::Null);
        assert!(until("198.51.100.9/32").is_string());
        assert_eq!(
            printed(&["del", "203.0.113.2"]),
            "let in again: 203.0.113.2\n"
        );
        refused(
            &["del", "203.0.113.2"],
            "synledger: 203.0.113.2 is not blocked\n",
        );
        // The next sensor has those with an end alone.
        let mut host = Host::start(Kernel::Whole);
        assert_eq!(host.nets(), ["198.51.100.9/32"]);
        host.close();
    });
}

#[test]
fn the_next_sensor_has_what_was_not_removed() {
    with_nftables(|| {
        let mut host = Host::start(Kernel::Whole);
        NETS.iter().for_each(|net| host.done(add(net, 600)));
        host.vanish();
        printed(&["del", NETS[0]]);
        let mut host = Host::start(Kernel::Whole);
        assert_eq!(host.nets(), ["198.51.7.0/24", "2001:db8:5::/64"]);
        host.close();
    });
}

#[test]
fn a_table_of_somebody_else_is_named_and_left_alone() {
    with_nftables(|| {
        let ours = "add set inet synledger blocked4 { type ipv4_addr; flags timeout; }";
        for objects in [
            &["add set inet synledger mine { type ipv4_addr; }"][..],
            &["add set inet synledger blocked4 { type ipv4_addr; }"],
            &["add set inet synledger blocked4 { type ipv4_addr; flags interval, timeout; }"],
            &["add set inet synledger blocked4 { type inet_service; flags timeout; }"],
            &[
                ours,
                "add chain inet synledger mine { type filter hook input priority 0; }",
            ],
        ] {
            nft("add table inet synledger");
            objects.iter().for_each(|object| drop(nft(object)));
            let before = nft("list ruleset");
            for words in [&["list"][..], &["flush"]] {
                let (code, _, said) = block(words);
                assert_eq!(code, Some(1), "{objects:?}: {said}");
                let says = "synledger: nft: what is left cannot be read: nftables has a table inet synledger that is not of";
                assert!(said.contains(says), "{objects:?}: {said}");
            }
            assert_eq!(nft("list ruleset"), before);
            nft("delete table inet synledger");
        }
        // With these alone it may be ours.
        nft("add table inet synledger");
        nft(ours);
        assert_eq!(printed(&["flush"]), "everybody let in again\n");
        nothing_is_left();
    });
}

#[test]
fn without_privileges_the_error_names_them_and_the_socket() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = synledger_as_nobody(dir.path());
    command.args(["block", "list", "--socket", "/nonexistent/sock"]);
    let parts = [
        "/nonexistent/sock: there is no such socket",
        "What an earlier sensor left in the kernel can be read and removed with root, or CAP_NET_ADMIN for nft, \
         CAP_NET_ADMIN and CAP_BPF for xdp",
    ];
    fails(command, 1, &parts);
}
