//! The block list: sources that are listed, sources that never are, and loading it into nftables.

use super::conversation::{Conversation, write};
use super::disk::SmallDisk;
use super::programs::{installed, text_of};
use super::sensor::{Sensor, of_type};
use super::traffic::{Sender, frame};
use crate::common::netns::{SENSOR, ip, with_veth};
use crate::common::{RUN, read_logs, synledger};
use craft::{ACK, Flow, RST, SYN};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// The manual's script that loads a list into nftables; `$1` is the list.
const LOAD: &str = include_str!("../../tools/man/load_into_nftables.sh");

/// Handshakes of one source with four ports.
fn handshakes(src: [u8; 4], dst: [u8; 4]) -> Vec<Vec<u8>> {
    let flow = |port| Flow::v4(src, 40_000 + port, dst, port);
    (80..84)
        .flat_map(|port| Conversation::new(flow(port)).handshake())
        .collect()
}

/// SYNs to four ports, possibly spoofed.
fn syns(src: [u8; 4], dst: [u8; 4]) -> Vec<Vec<u8>> {
    let syn = |port| frame(Flow::v4(src, 40_000 + port, dst, port), 7);
    (80..84).map(syn).collect()
}

/// The addresses of a list.
fn addresses(list: &str) -> Vec<&str> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split(' ').next().expect("a word"))
        .collect()
}

/// The first responder in the last `stats` record.
fn books(eve: &[Value]) -> Value {
    let last = of_type(eve, "stats").last().expect("a last record");
    last["synledger"]["totals"]["books"]["responders"][0].clone()
}

/// Makes this address the host's name server, in the calling thread's mount namespace. If it cannot, prints why and
/// returns false.
fn set_resolver(dir: &Path, address: &str) -> bool {
    let file = dir.join("resolv.conf");
    std::fs::write(&file, format!("nameserver {address}\n")).expect("a file");
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWNS) {
        eprintln!("skipped: no mount namespace: {errno}");
        return false;
    }
    let file = file.display().to_string();
    for words in [
        vec!["--make-rprivate", "/"],
        vec!["--bind", &file, "/etc/resolv.conf"],
    ] {
        let output = Command::new("mount").args(words).output();
        let output = output.expect("mount starts");
        if !output.status.success() {
            eprintln!("skipped: no resolv.conf of our own: {}", text_of(&output));
            return false;
        }
    }
    true
}

fn start(dir: tempfile::TempDir, list: &Path, args: &[&str]) -> Sensor {
    let output = format!("blocklist:{},verdict=unproven", list.display());
    Sensor::start_in(dir, &["--output", &output], args, Stdio::null())
}

#[test]
fn a_source_with_handshakes_is_listed_and_never_host_router_resolver_or_spoofed_source() {
    with_veth(|veth| {
        let dir = tempfile::tempdir().expect("a folder");
        if !set_resolver(dir.path(), "192.0.2.53") {
            return;
        }
        ip("link set lo up");
        ip(&format!("addr add 10.9.0.2/24 dev {SENSOR}"));
        ip(&format!("route add default via 10.9.0.254 dev {SENSOR}"));
        // The sensor removes its own folder when it ends.
        let lists = tempfile::tempdir().expect("a folder");
        let list = lists.path().join("list");
        let args = ["--scan-scope", "all", "--allow", "203.0.113.0/24:22"];
        let sensor = start(dir, &list, &args);
        let read = || std::fs::read_to_string(&list).unwrap_or_default();
        sensor.wait_for("an empty list", || read().contains(": 0 sources, as of "));
        let (us, other) = ([10, 9, 0, 2], [198, 51, 100, 1]);
        let send = |frames: Vec<Vec<u8>>| Sender::exchange(veth, us, &frames);
        send(syns([192, 0, 2, 99], us));
        send(handshakes([10, 9, 0, 254], us));
        send(handshakes([192, 0, 2, 53], us));
        send(handshakes([203, 0, 113, 9], us));
        send(handshakes(us, other));
        send(handshakes([10, 9, 0, 66], us));
        send(handshakes([192, 0, 2, 56], us));
        sensor.wait_for("scanners on the list", || {
            addresses(&read()) == ["10.9.0.66", "192.0.2.56"]
        });
        let text = read();
        let line = text.lines().last().expect("a line");
        assert!(line.contains(" # kind=port_scan first="), "{line}");
        assert!(
            line.contains(" ports=80-83 hosts=1 proof=handshake expires="),
            "{line}"
        );
        // The listed address becomes the host's own.
        ip(&format!("addr add 10.9.0.66/24 dev {SENSOR}"));
        sensor.wait_for("a list without the host", || {
            addresses(&read()) == ["192.0.2.56"]
        });
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(addresses(&read()), ["192.0.2.56"]);
        // Each of 7 scans started and ended; that of 10.9.0.66 ended as one of this host.
        let books = books(&ended.eve);
        assert_eq!(books["detections"], 14, "{books}");
        assert_eq!(books["accepted"], 3, "{books}");
        assert_eq!(books["refused"]["guarded"], 7, "{books}");
        assert_eq!(books["refused"]["allowed"], 2, "{books}");
        assert_eq!(books["refused"]["unproven"], 2, "{books}");
        assert_eq!(
            (&books["listed"], &books["withdrawn"]),
            (&1.into(), &1.into())
        );
        assert!(ended.stderr.contains("1 source listed, 2 added; 11 detections not listed: 2 unproven, 7 guarded, 2 allowed"), "{}", ended.stderr);
    });
}

#[test]
fn nftables_loads_a_list_with_and_without_comments_and_an_empty_one() {
    if !installed("nft") {
        return;
    }
    with_veth(|_| {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path();
        let frames = [
            handshakes([192, 0, 2, 56], [198, 51, 100, 1]),
            handshakes([192, 0, 2, 57], [198, 51, 100, 1]),
        ];
        let v6 = |port| {
            let flow = Flow::v6(
                [0x2001, 0xdb8, 0, 0, 0, 0, 0, 9],
                port,
                [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1],
                port,
            );
            Conversation::new(flow).handshake()
        };
        let mut frames = frames.concat();
        frames.extend((80..84).flat_map(v6));
        let file = write(folder, &frames);
        let nft = |script: &str, list: &Path| {
            let output = Command::new("sh")
                .args(["-c", script, "sh"])
                .arg(list)
                .output();
            let output = output.expect("sh starts");
            assert!(output.status.success(), "{script}: {}", text_of(&output));
            text_of(&output)
        };
        nft(
            "nft add table inet edge; nft 'add set inet edge scanners4 { type ipv4_addr; flags timeout; }'; \
             nft 'add set inet edge scanners6 { type ipv6_addr; flags timeout; }'",
            folder,
        );
        for options in ["", ",comments=off"] {
            let list = folder.join("list");
            let output = format!("blocklist:{},verdict=unproven{options}", list.display());
            let (.., output) =
                read_logs(folder, &["--output", &output], std::slice::from_ref(&file));
            assert!(output.status.success(), "{}", text_of(&output));
            nft(LOAD, &list);
            let shows = nft("nft list table inet edge", &list);
            for address in ["192.0.2.56 ", "192.0.2.57 ", "2001:db8::9 "] {
                assert!(shows.contains(address), "{options}: {shows}");
            }
            std::fs::write(&list, "").expect("a file");
            nft(LOAD, &list);
            assert!(!nft("nft list table inet edge", &list).contains("elements"));
        }
    });
}

#[test]
fn a_full_disk_leaves_the_old_list_whole_and_the_list_is_written_later() {
    with_veth(|veth| {
        let Some(disk) = SmallDisk::mount() else {
            return;
        };
        let dir = tempfile::tempdir().expect("a folder");
        let list = disk.place.join("list");
        let sensor = start(dir, &list, &[]);
        let read = || std::fs::read_to_string(&list).unwrap_or_default();
        let sender = Sender::new(veth);
        let scans = |src| {
            let frames = handshakes(src, [198, 51, 100, 1]);
            frames.iter().for_each(|frame| sender.send(frame));
        };
        scans([192, 0, 2, 56]);
        sensor.wait_for("a scanner on the list", || {
            addresses(&read()) == ["192.0.2.56"]
        });
        let before = read();
        let rest = disk.place.join("rest");
        assert!(
            std::fs::write(&rest, vec![0; 8 << 20]).is_err(),
            "the disk is full"
        );
        scans([192, 0, 2, 57]);
        sensor.wait_for_event("blocklist_failed");
        assert_eq!(read(), before, "the old list is whole");
        std::fs::remove_file(rest).expect("removed");
        sensor.wait_for("both on the list", || {
            addresses(&read()) == ["192.0.2.56", "192.0.2.57"]
        });
        let ended = sensor.stop(Signal::SIGINT);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("write of a responder"),
            "{}",
            ended.stderr
        );
        let books = books(&ended.eve);
        assert!(books["write_failures"].as_u64() > Some(0), "{books}");
        assert_eq!(
            (&books["applied"], &books["waiting"]),
            (&2.into(), &0.into())
        );
    });
}

#[test]
fn read_writes_the_same_list_with_any_number_of_workers_and_guards_only_local_and_allow() {
    let dir = tempfile::tempdir().expect("a folder");
    let dst = [198, 51, 100, 1];
    let mut frames = syns([192, 0, 2, 99], dst);
    for last in 0..40 {
        frames.extend(handshakes([11, 0, 0, last], dst));
    }
    // `read` does not use this host's addresses, only --local and --allow.
    frames.extend(handshakes([10, 1, 1, 1], dst));
    frames.extend(handshakes([203, 0, 113, 9], dst));
    let file = write(dir.path(), &frames);
    let mut lists = Vec::new();
    for (workers, seed) in [("1", "1"), ("2", "2"), ("8", "3")] {
        let list = dir.path().join(format!("list-{workers}"));
        let output = format!("blocklist:{},verdict=unproven", list.display());
        let args = ["--workers", workers, "--seed", seed, "--output", &output];
        let rest = ["--local", "10.0.0.0/8", "--allow", "203.0.113.9"];
        let (_, _, output) = read_logs(
            dir.path(),
            &[&args[..], &rest].concat(),
            std::slice::from_ref(&file),
        );
        assert!(output.status.success(), "{}", text_of(&output));
        lists.push(std::fs::read_to_string(list).expect("a list"));
    }
    assert!(lists.iter().all(|list| *list == lists[0]), "{lists:#?}");
    let found = addresses(&lists[0]);
    assert_eq!(found.len(), 40, "{}", lists[0]);
    assert!(
        found.iter().all(|address| address.starts_with("11.0.0.")),
        "{}",
        lists[0]
    );
}

#[test]
fn a_target_that_cannot_be_written_or_would_be_destroyed_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = write(dir.path(), &syns([192, 0, 2, 99], [198, 51, 100, 1]));
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::os::unix::fs::symlink(path("victim"), path("link")).expect("a link");
    let capture = file.display().to_string();
    for (target, expected) in [
        (path("missing/list"), "create it)"),
        (path("link"), "(a symbolic link: name the file itself)"),
        ("/dev/null".to_owned(), "(no regular file)"),
        (capture, "is a capture to be read"),
        (
            format!("{},proof=sure", path("list")),
            "allowed: handshake, answered or none",
        ),
    ] {
        let output = synledger()
            .args(["read", "--output", &format!("blocklist:{target}")])
            .arg(&file)
            .output();
        let output = output.expect("the program starts");
        assert!(!output.status.success(), "{target}");
        let error = text_of(&output);
        assert!(error.contains(expected), "{target}: {error}");
    }
    let output = synledger()
        .args(RUN)
        .args(["-i", "lo", "--dry-run", "--output"])
        .arg(format!("blocklist:{}", path("missing/list")))
        .output();
    let output = output.expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text_of(&output).contains("create it)"),
        "{}",
        text_of(&output)
    );
    let two = ["text", "blocklist"].map(|kind| format!("{kind}:{}", path("one")));
    let output = synledger()
        .args(["read", "--output", &two[0], "--output", &two[1]])
        .arg(&file)
        .output();
    let error = text_of(&output.expect("the program starts"));
    assert!(error.contains("is named twice"), "{error}");
}

#[test]
fn a_client_of_four_services_is_no_scanner_unless_the_list_asks_for_less() {
    let dir = tempfile::tempdir().expect("a folder");
    let (client, scanner, dst) = ([192, 0, 2, 56], [192, 0, 2, 57], [198, 51, 100, 1]);
    let mut frames = handshakes(client, dst);
    frames.extend(handshakes(scanner, dst));
    for port in 1_000..1_020 {
        let one = Conversation::new(Flow::v4(scanner, 40_000, dst, port));
        frames.push(one.up(SYN, 0, 0, b""));
        frames.push(one.down(RST | ACK, 0, 1, b""));
    }
    let file = write(dir.path(), &frames);
    for (options, expected) in [
        ("", &["192.0.2.57"][..]),
        (",verdict=unproven", &["192.0.2.56", "192.0.2.57"]),
    ] {
        let list = dir.path().join("list");
        let output = format!("blocklist:{}{options}", list.display());
        let (.., output) = read_logs(
            dir.path(),
            &["--output", &output],
            std::slice::from_ref(&file),
        );
        assert!(output.status.success(), "{}", text_of(&output));
        let list = std::fs::read_to_string(list).expect("a list");
        assert_eq!(addresses(&list), expected, "{options}: {list}");
    }
}
