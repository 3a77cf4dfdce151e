//! Many clients of the status socket at once: each gets an answer, and all together no more memory than was announced.

use super::block::{block, out};
use super::sensor::Sensor;
use crate::common::netns::{ip, with_veth};
use crate::common::synledger;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;

const MIB: u64 = 1 << 20;
const MEMORY_MIB: u64 = 128;
const RING_MIB: u64 = 8;
/// Most networks of an import.
const NETS: usize = 65_536;

fn start(socket: &Path) -> Sensor {
    ip("link set lo up");
    let (socket, mib) = (socket.display().to_string(), MEMORY_MIB.to_string());
    let block = ["--block", "dry-run", "--block-max", "5000"];
    let rest = ["--status-socket", &socket, "--memory-mib", &mib];
    Sensor::start(&[&block[..], &rest].concat())
}

#[test]
fn each_of_sixty_that_ask_at_once_gets_an_answer() {
    with_veth(|_| {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("sock");
        let sensor = start(&socket);
        let ask = |n: usize| {
            let mut command = synledger();
            let net = format!("198.51.100.{n}");
            command
                .args(["block", "add", &net, "--socket"])
                .arg(&socket);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("it starts")
        };
        let asking: Vec<Child> = (1..=60).map(ask).collect();
        let mut blocked = 0;
        for child in asking {
            let output = child.wait_with_output().expect("it ends");
            let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (stdout, stderr) = (said(&output.stdout), said(&output.stderr));
            match output.status.code() {
                Some(0) => assert!(stdout.starts_with("1 network: blocked"), "{stdout}"),
                _ => assert!(stderr.contains("try again"), "{stderr}"),
            }
            blocked += usize::from(output.status.success());
        }
        let list = out(&block(&socket, &["list", "--json"], ""));
        let list: Value = serde_json::from_str(&list).expect("JSON");
        assert_eq!(list["blocks"].as_array().map(Vec::len), Some(blocked));
        // There is a place for each of them.
        assert_eq!(blocked, 60);
        sensor.stop(Signal::SIGINT).assert_exact();
    });
}

/// An import of as many networks as there may be, which the guard refuses one by one.
fn import() -> String {
    let nets = (0..NETS).map(|n| format!("\"fd00:1111:2222:3333:4444:5555:6666:{n:x}/128\""));
    let nets = nets.collect::<Vec<_>>().join(",");
    format!(r#"{{"synledger":1,"do":"import","nets":[{nets}],"for_s":60,"name":"x"}}"#)
}

/// The most resident memory that a process ever had, with its rings.
fn peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("a number") * 1024
}

#[test]
fn eight_imports_at_once_take_no_more_memory_than_is_counted_for_all() {
    with_veth(|_| {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("sock");
        let sensor = start(&socket);
        let request = format!("{}\n", import());
        assert!(request.len() as u64 > 2 * MIB, "{}", request.len());
        let ask = || {
            let mut stream = UnixStream::connect(&socket).expect("served");
            // Whoever is told that others are served is not read to the end.
            let _ = stream.write_all(request.as_bytes());
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            serde_json::from_str::<Value>(&answer).expect("an answer")
        };
        let answers: Vec<Value> = thread::scope(|scope| {
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            let answers = asking.into_iter().map(|one| one.join().expect("no panic"));
            answers.collect()
        });
        let mut refused = 0;
        for answer in &answers {
            if let Some(list) = answer["refused"].as_array() {
                assert_eq!(list.len(), NETS);
                assert!(list.iter().all(|one| one["at"].is_u64()));
                refused += 1;
            } else {
                let error = answer["error"].as_str().unwrap_or_default();
                assert!(error.contains("try again"), "{answer}");
            }
        }
        assert!(refused > 0, "one is served");
        let taken = peak_bytes(sensor.pid());
        eprintln!("{refused} of 8 served; {} MiB of {MEMORY_MIB}", taken / MIB);
        assert!(taken <= (MEMORY_MIB + RING_MIB) * MIB, "{taken} bytes");
        sensor.stop(Signal::SIGINT).assert_exact();
    });
}

#[test]
fn what_an_import_refuses_has_its_own_line_and_a_long_wrong_line_is_cut() {
    with_veth(|_| {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("sock");
        let sensor = start(&socket);
        let text = "198.51.100.1\n127.0.0.1\n198.51.100.1\n::ffff:198.51.100.1\n127.0.0.1\n";
        let words = ["import", "-", "--name", "drop"];
        let output = block(&socket, &words, text);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines: Vec<&str> = stdout.lines().collect();
        lines.sort_unstable();
        let no_host = "127.0.0.1/32: no host has an address of it";
        assert!(lines[0].starts_with("1 network: blocked"), "{stdout}");
        assert!(
            lines[1].starts_with(&format!("refused: line 2: {no_host}")),
            "{stdout}"
        );
        assert_eq!(
            lines[2],
            "refused: line 3: 198.51.100.1/32: it is named twice"
        );
        assert_eq!(
            lines[3],
            "refused: line 4: 198.51.100.1/32: it is named twice"
        );
        assert!(
            lines[4].starts_with(&format!("refused: line 5: {no_host}")),
            "{stdout}"
        );
        let output = block(&socket, &words, &"x".repeat(5 << 20));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            stderr.contains("line 1: xxx") && stderr.contains("…"),
            "{}",
            stderr.len()
        );
        assert!(stderr.len() < 500, "{} bytes", stderr.len());
        let words = ["add", "198.51.100.2", "--reason", "a\u{202e}b"];
        let output = block(&socket, &words, "");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let says = "character 2 is U+202E: it changes the direction of text";
        assert!(stderr.contains(says), "{stderr}");
        sensor.stop(Signal::SIGINT).assert_exact();
    });
}
