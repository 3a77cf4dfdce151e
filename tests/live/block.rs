//! `--block dry-run` and `synledger block`: who would be blocked, who never, and what a person asks over the socket.

use super::conversation::Conversation;
use super::peer::own_mounts;
use super::sensor::{Sensor, of_type};
use super::traffic::{Sender, frame};
use crate::common::netns::{SENSOR, ip, with_veth};
use crate::common::{self, synledger};
use craft::Flow;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const US: [u8; 4] = [10, 9, 0, 2];
const DRY: &str = "(dry run: nothing is dropped)";

/// Handshakes of one source with four ports, and SYNs to eight that nobody answers.
fn scan(src: [u8; 4], dst: [u8; 4]) -> Vec<Vec<u8>> {
    let flow = |port| Flow::v4(src, 40_000 + port, dst, port);
    let open = (80..84).flat_map(|port| Conversation::new(flow(port)).handshake());
    open.chain((1000..1008).map(|port| frame(flow(port), 7)))
        .collect()
}

/// SYNs to four ports, possibly spoofed.
fn syns(src: [u8; 4], dst: [u8; 4]) -> Vec<Vec<u8>> {
    let syn = |port| frame(Flow::v4(src, 40_000 + port, dst, port), 7);
    (80..84).map(syn).collect()
}

pub fn block(socket: &Path, words: &[&str], input: &str) -> Output {
    let mut command: Command = synledger();
    command.arg("block").args(words).arg("--socket").arg(socket);
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// Exit code, standard output and standard error.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

pub fn out(output: &Output) -> String {
    let (code, stdout, stderr) = said(output);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    stdout
}

fn start(socket: &Path, args: &[&str]) -> Sensor {
    ip("link set lo up");
    ip(&format!("addr add 10.9.0.2/24 dev {SENSOR}"));
    ip(&format!("route add default via 10.9.0.254 dev {SENSOR}"));
    let socket = socket.display().to_string();
    let all = ["--block", "dry-run", "--status-socket", &socket];
    Sensor::start(&[&all, args].concat())
}

/// What records about blocks say: network and `blocked`, a reason or a cause.
fn blocks(eve: &[Value]) -> Vec<(String, String)> {
    let word = |of: &Value| {
        let text = |name: &str| of[name].as_str().map(str::to_owned);
        let what = text("reason").or(text("cause")).or(text("action"));
        (text("net").expect("a network"), what.expect("a word"))
    };
    of_type(eve, "block")
        .map(|record| word(&record["synledger"]["block"]))
        .collect()
}

#[test]
fn a_proven_scanner_would_be_blocked_and_whom_the_guard_spares_is_refused_with_the_reason() {
    with_veth(|veth| {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("sock");
        let args = ["--block-on", "policy", "--allow", "203.0.113.0/24"];
        let sensor = start(&socket, &args);
        let send = |frames: Vec<Vec<u8>>| Sender::exchange(veth, US, &frames);
        // Whom this host contacted first may contact it.
        let to_friend = Flow::v4(US, 41_000, [192, 0, 2, 70], 443);
        send(Conversation::new(to_friend).handshake());
        for src in [
            [192, 0, 2, 56],
            [192, 0, 2, 70],
            [10, 9, 0, 254],
            [10, 9, 0, 66],
            [10, 9, 0, 255],
            [169, 254, 0, 5],
            [203, 0, 113, 9],
            US,
        ] {
            send(scan(src, if src == US { [198, 51, 100, 1] } else { US }));
        }
        send(syns([192, 0, 2, 99], US));
        let said = || sensor.content("log.txt");
        let counted = || {
            let all = ["Blocked (dry run): ", "Block refused (dry run): "];
            all.map(|word| said().matches(word).count())
        };
        sensor.wait_for("a block and eight refusals", || counted() == [1, 8]);
        let list = out(&block(&socket, &["list"], ""));
        assert!(list.starts_with("192.0.2.56  until 20"), "{list}");
        assert!(
            list.contains("port_scan of 10.9.0.2") && list.contains("proof: handshake"),
            "{list}"
        );
        assert!(
            list.ends_with("1 block (dry run: nothing is dropped)\n"),
            "{list}"
        );
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        let mut records = blocks(&ended.eve);
        records.sort();
        let expected = [
            ("10.9.0.2/32", "own_address"),
            ("10.9.0.254/32", "gateway"),
            ("10.9.0.255/32", "no_host"),
            ("10.9.0.66/32", "private"),
            ("169.254.0.5/32", "link_local"),
            ("192.0.2.56/32", "blocked"),
            ("192.0.2.56/32", "end_of_run"),
            ("192.0.2.70/32", "contacted_first"),
            ("192.0.2.99/32", "unproven"),
            ("203.0.113.9/32", "allowed"),
        ];
        let expected = expected.map(|(net, word)| (net.to_owned(), word.to_owned()));
        assert_eq!(records, expected);
        let line = ended
            .stderr
            .lines()
            .find(|line| line.starts_with("--block dry-run: "));
        let line = line.expect("a line of the books");
        assert!(
            line.contains(" wanted: 0 there, ") && line.contains(", 1 removed (1 end_of_run); "),
            "{line}"
        );
        assert!(!socket.exists(), "the socket is removed");
    });
}

#[test]
fn a_person_lists_adds_removes_exports_and_imports_over_the_socket() {
    with_veth(|_| {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("sock");
        let sensor = start(&socket, &["--block-max", "5"]);
        let mode = std::fs::metadata(&socket).expect("there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o660);
        let ask = |words: &[&str]| block(&socket, words, "");
        let added = out(&ask(&[
            "add",
            "192.0.2.1",
            "2001:db8::/64",
            "--reason",
            "noisy",
        ]));
        assert_eq!(added, format!("2 networks: blocked {DRY}\n"));
        let (code, stdout, _) = said(&ask(&["add", "10.9.0.2", "192.0.2.2", "--for", "10m"]));
        assert_eq!(code, Some(1));
        let refused = "refused: 10.9.0.2/32: it has an address of this host or of --local\n";
        assert_eq!(stdout, format!("{refused}1 network: blocked {DRY}\n"));
        let list = out(&ask(&["list", "--json"]));
        let list: Value = serde_json::from_str(&list).expect("JSON");
        assert_eq!(list["blocks"].as_array().map(Vec::len), Some(3));
        assert_eq!(list["blocks"][0]["why"], "by hand: noisy");
        let (code, _, stderr) = said(&ask(&["add", "192.0.2.9/24"]));
        assert_eq!(code, Some(2));
        let says = "192.0.2.9/24 has bits behind its length: 192.0.2.0/24 is meant?";
        assert!(stderr.contains(says), "{stderr}");
        assert_eq!(
            out(&ask(&["del", "192.0.2.1"])),
            format!("let in again: 192.0.2.1 {DRY}\n")
        );
        let (code, _, stderr) = said(&ask(&["del", "192.0.2.1"]));
        assert_eq!(
            (code, stderr.as_str()),
            (Some(1), "synledger: 192.0.2.1 is not blocked\n")
        );
        assert_eq!(
            out(&ask(&["flush"])),
            format!("everybody let in again {DRY}\n")
        );
        assert_eq!(
            out(&ask(&["list"])),
            "0 blocks (dry run: nothing is dropped)\n"
        );
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
    });
}

#[test]
fn an_import_says_line_by_line_what_it_refused_and_an_export_is_read_by_nft() {
    with_veth(|_| {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("sock");
        let sensor = start(&socket, &["--block-max", "3"]);
        let ask = |words: &[&str]| block(&socket, words, "");
        let text =
            "# a list\n192.0.2.7\n127.0.0.1\n192.0.2.0/30 # a network\n\n192.0.2.3\n198.51.100.9\n";
        let words = ["import", "-", "--name", "drop", "--for", "2h"];
        let (code, stdout, _) = said(&block(&socket, &words, text));
        assert_eq!(code, Some(1));
        let expected = format!(
            "refused: line 6: 192.0.2.3/32: 192.0.2.0/30 of the same list has it\n\
             refused: line 3: 127.0.0.1/32: no host has an address of it (loopback, multicast, broadcast, IPv4-mapped)\n\
             3 networks: blocked {DRY}\n"
        );
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&stdout), sorted(&expected));
        let wrong = block(&socket, &words, "192.0.2.8\nhost\n");
        let (code, _, stderr) = said(&wrong);
        assert_eq!(code, Some(1));
        assert!(
            stderr.contains("line 2: host must be a network")
                && stderr.contains("nothing was changed"),
            "{stderr}"
        );
        let (code, _, stderr) = said(&block(&socket, &words, "198.51.100.1\n198.51.100.2\n"));
        assert_eq!(code, Some(1));
        assert!(
            stderr.contains("2 blocks are new, and there is room for 0"),
            "{stderr}"
        );
        let cidr = out(&ask(&["export"]));
        let nets: Vec<&str> = cidr
            .lines()
            .map(|line| line.split(" #").next().expect("a word"))
            .collect();
        assert_eq!(nets, ["192.0.2.0/30", "192.0.2.7", "198.51.100.9"]);
        let script = out(&ask(&["export", "--format", "nft"]));
        assert!(
            script.contains("add element inet synledger_export blocked4 { 192.0.2.0/30 timeout 7"),
            "{script}"
        );
        nft_takes(&script);
        sensor.stop(Signal::SIGINT).assert_exact();
    });
}

#[test]
fn an_import_of_json_keeps_the_end_of_each_block_and_skips_what_is_over() {
    with_veth(|_| {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("sock");
        let sensor = start(&socket, &[]);
        let ask = |words: &[&str]| block(&socket, words, "");
        let import = ["import", "-", "--name", "x", "--for", "1d"];
        out(&ask(&["add", "192.0.2.1", "--for", "10m"]));
        out(&ask(&[
            "add",
            "198.18.0.8/30",
            "2001:db8::1",
            "--for",
            "2h",
        ]));
        let json = out(&ask(&["export", "--format", "json"]));
        out(&ask(&["flush"]));
        let longest = block(&socket, &import, &json);
        assert_eq!(out(&longest), format!("3 networks: blocked {DRY}\n"));
        let list: Value = serde_json::from_str(&out(&ask(&["list", "--json"]))).expect("JSON");
        let before: Value = serde_json::from_str(&json).expect("JSON");
        let end_s = |block: &Value| {
            let until = block["until"].as_str().expect("a time");
            until
                .parse::<jiff::Timestamp>()
                .expect("a time")
                .as_second()
        };
        for at in 0..3 {
            let (was, is) = (end_s(&before[at]), end_s(&list["blocks"][at]));
            // Rounded down to whole seconds, and never later.
            assert!((was - 2..=was).contains(&is), "{was} {is}: its end is kept");
        }
        let past = r#"[{"net":"192.0.2.7","until":"2021-04-28T15:28:05Z"}]"#;
        let skipped = "skipped: entry 1: 192.0.2.7/32: it ended at 2021-04-28T15:28:05Z\n";
        assert_eq!(out(&block(&socket, &import, past)), skipped);
        sensor.stop(Signal::SIGINT).assert_exact();
    });
}

/// nft loads the script in this namespace, which is this test's own.
fn nft_takes(script: &str) {
    if !super::programs::installed("nft") {
        return;
    }
    let child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("nft starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(script.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{:?}", said(&output));
}

#[test]
fn without_a_sensor_the_error_names_the_socket_and_what_to_do() {
    with_veth(|_| {
        // On a fresh machine nobody has mounted it, and then nobody knows what is left.
        own_mounts();
        mount(
            Some("bpf"),
            "/sys/fs/bpf",
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .expect("a bpf file system");
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("none");
        let (code, _, stderr) = said(&block(&socket, &["list"], ""));
        assert_eq!(code, Some(1));
        let shown = socket.display();
        assert_eq!(
            stderr,
            format!(
                "synledger: {shown}: there is no such socket: start `synledger run` with --status-socket or --block, or name its socket with --socket. \
             No earlier sensor left blocks in the kernel, either\n"
            )
        );
        let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        drop(listener);
        let (code, _, stderr) = said(&block(&socket, &["flush"], ""));
        assert_eq!(code, Some(1));
        assert!(stderr.contains("nobody serves this socket"), "{stderr}");
        let mut command = common::synledger_as_nobody(dir.path());
        command.args(["block", "list", "--socket"]).arg(&socket);
        common::fails(command, 1, &["no permission: run this as root"]);
    });
}

#[test]
fn a_dry_run_of_the_whole_says_whether_the_socket_could_be_made_and_makes_none() {
    with_veth(|_| {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("sock");
        let run = |socket: &Path, more: &[&str]| {
            let mut command = synledger();
            command.args(common::RUN).args(["-i", SENSOR, "--dry-run"]);
            command.args(["--block", "dry-run", "--status-socket"]);
            command.arg(socket).args(more);
            command
        };
        let output = run(&socket, &[]).output().expect("it starts");
        let (code, stdout, stderr) = said(&output);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.contains("MiB  blocks\n"), "{stdout}");
        let line = "blocking: dry run (nobody is shut out)\n";
        assert!(stderr.contains(line), "{stderr}");
        assert!(!socket.exists());
        let missing = dir.path().join("none/sock");
        let parts = ["--status-socket ", "none is missing: create it"];
        common::fails(run(&missing, &[]), 1, &parts);
        let group = ["--status-group", "no-such-group"];
        let parts = ["--status-group no-such-group: there is no such group"];
        common::fails(run(&socket, &group), 1, &parts);
        for (flags, says) in [
            (["--block-on", "syn_flood"], "no one source"),
            (["--block-times", "10"], "from 1s to 365d"),
            (["--block-max", "0"], "from 1 to 65536"),
            (["--block-rate", "10001"], "from 1 to 10000"),
            (
                ["--memory-mib", "17"],
                "--block-max makes its table smaller",
            ),
        ] {
            let output = run(&socket, &flags).output().expect("it starts");
            let (code, _, stderr) = said(&output);
            assert_eq!(code, Some(2), "{flags:?}: {stderr}");
            assert!(stderr.contains(says), "{flags:?}: {stderr}");
        }
    });
}
