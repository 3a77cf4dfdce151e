//! kill -9 of a whole sensor that blocks: what the kernel has goes on, the next run takes it over, and its books close.
//!
//! `SYNLEDGER_FUZZ=full` kills each kind 100 times instead of 4.

use super::block::{block, out};
use super::peer::Peer;
use super::sensor::{METRICS, Sensor, answer, metrics, records};
use super::shut_out::{BAD, GOOD, OPEN, OURS, connects, has_nftables, until, with_peer};
use crate::common::netns::SENSOR;
use crate::common::{RUN, synledger};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn rounds() -> u32 {
    match std::env::var("SYNLEDGER_FUZZ").as_deref() {
        Ok("full") => 100,
        _ => 4,
    }
}

/// Another moment of the first 300 ms for each round.
fn moment(round: u32) -> Duration {
    let mixed = (round + 1).wrapping_mul(2_654_435_761) >> 12;
    Duration::from_micros(u64::from(mixed % 300_000))
}

/// Of 198.18.0.0/15, which no guard spares.
fn address(number: u32) -> String {
    format!("198.18.{}.{}", number >> 8, number & 255)
}

fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let all = text.split_whitespace();
    all.map(|pid| pid.parse().expect("a number")).collect()
}

/// Keeper and worker of blocks, and the process that names services.
fn helpers(sensor: &Sensor) -> Vec<u32> {
    let own = children(sensor.pid());
    let workers = own.iter().flat_map(|pid| children(*pid));
    let all: Vec<u32> = own.iter().copied().chain(workers).collect();
    assert_eq!(all.len(), 3, "a keeper, its worker, and who names services");
    all
}

fn kill_hard(pid: u32) {
    let pid = i32::try_from(pid).expect("a process id");
    // It may have ended with the sensor.
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

fn is_alive(pid: u32) -> bool {
    let about = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = about.rsplit(") ").next().unwrap_or_default();
    !state.is_empty() && !state.starts_with('Z')
}

/// What is blocked, by the sensor's own list.
fn listed(socket: &Path) -> BTreeSet<String> {
    let list = out(&block(socket, &["list", "--json"], ""));
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let all = list["blocks"].as_array().expect("a list").iter();
    all.filter(|one| !one["until"].is_null())
        .map(|one| one["net"].as_str().expect("a network").to_owned())
        .collect()
}

/// Rules of somebody else; empty without nftables.
fn others() -> String {
    let output = Command::new("nft")
        .args(["list", "table", "inet", "edge"])
        .output();
    output.map_or(String::new(), |output| {
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
}

fn add_others() {
    let script = "add table inet edge\n\
        add set inet edge scanners4 { type ipv4_addr; }\n\
        add element inet edge scanners4 { 203.0.113.9 }\n\
        add chain inet edge in { type filter hook input priority 0; policy accept; }\n\
        add rule inet edge in ip saddr @scanners4 drop\n";
    // Without nftables nobody has rules.
    let _ = Command::new("nft").arg(script).status();
}

fn assert_shut_out(peer: &Peer, when: &str) {
    assert!(
        !connects(peer, BAD[0], (OURS[0], OPEN)),
        "{when}: it stays blocked"
    );
    assert!(
        connects(peer, GOOD[0], (OURS[0], OPEN)),
        "{when}: a neighbour goes on"
    );
}

fn survives(mode: &'static str, nothing_left: fn()) {
    with_peer(move |peer| {
        add_others();
        let before = others();
        let _listener = TcpListener::bind((OURS[0], OPEN)).expect("a port");
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("sock");
        let at = socket.display().to_string();
        let start = || Sensor::start(&["--block", mode, "--status-socket", &at]);
        let (mut confirmed, mut number) = (BTreeSet::new(), 0);
        for round in 0..rounds() {
            let mut sensor = start();
            let is_back = || confirmed.is_subset(&listed(&socket));
            sensor.wait_for("the blocks of earlier runs", is_back);
            if round == 0 {
                out(&block(&socket, &["add", BAD[0], "--for", "1h"], ""));
                confirmed.insert(format!("{}/32", BAD[0]));
            }
            let helpers = helpers(&sensor);
            let kill_at = Instant::now() + moment(round);
            std::thread::scope(|scope| {
                let victims = helpers.iter().copied().filter(|_| round % 2 == 1);
                let victims: Vec<u32> = victims.chain([sensor.pid()]).collect();
                scope.spawn(move || {
                    std::thread::sleep(kill_at.saturating_duration_since(Instant::now()));
                    victims.into_iter().for_each(kill_hard);
                });
                // Until the sensor is gone.
                loop {
                    let one = address(number);
                    number += 1;
                    if !block(&socket, &["add", &one, "--for", "1h"], "")
                        .status
                        .success()
                    {
                        break;
                    }
                    confirmed.insert(format!("{one}/32"));
                }
            });
            assert_eq!(sensor.exit(), None, "it was killed");
            until("the helper's end", || {
                !helpers.iter().any(|pid| is_alive(*pid))
            });
            // Each line is whole JSON.
            assert!(!records(&sensor.content("log.json")).is_empty());
            assert_shut_out(peer, "without a sensor");
            assert_eq!(others(), before, "round {round}");
        }
        let sensor = start();
        let is_back = || confirmed.is_subset(&listed(&socket));
        sensor.wait_for("all blocks", is_back);
        // One that was on its way when the sensor died may be there, too.
        let most = confirmed.len() + rounds() as usize;
        assert!(listed(&socket).len() <= most, "{most} at most");
        assert_shut_out(peer, "with the next sensor");
        sensor.stop(Signal::SIGINT).assert_exact();
        assert!(
            connects(peer, BAD[0], (OURS[0], OPEN)),
            "it ends with the run"
        );
        eprintln!(
            "{mode}: {} kills, {} blocks, none lost",
            rounds(),
            confirmed.len()
        );
        assert_eq!(others(), before);
        nothing_left();
    });
}

#[test]
fn after_a_kill_of_a_sensor_that_blocks_by_nftables_the_next_run_has_all_blocks() {
    if has_nftables() {
        survives("nft", || {
            let tables = Command::new("nft").args(["list", "tables"]).output();
            let tables = tables.expect("nft starts").stdout;
            assert_eq!(String::from_utf8_lossy(&tables), "table inet edge\n");
        });
    }
}

#[test]
fn after_a_kill_of_a_sensor_that_blocks_by_xdp_the_next_run_has_all_blocks() {
    survives("xdp", || {
        let shown = Command::new("ip").args(["link", "show", SENSOR]).output();
        let shown = shown.expect("ip starts").stdout;
        assert!(!String::from_utf8_lossy(&shown).contains("xdp"));
        assert!(!Path::new("/sys/fs/bpf/synledger").exists());
    });
}

/// Both halves are killed: the sensor, which has no privilege for another helper, ends, to be started again.
#[test]
fn under_a_service_manager_a_run_without_its_helper_ends_and_the_next_one_has_its_blocks() {
    if !has_nftables() {
        return;
    }
    with_peer(|_| {
        let dir = tempfile::tempdir().expect("a folder");
        let (socket, notify) = (dir.path().join("sock"), dir.path().join("notify"));
        let _manager = std::os::unix::net::UnixDatagram::bind(&notify).expect("bound");
        let start = || {
            let mut command = synledger();
            command
                .args(RUN)
                .args(["-i", SENSOR, "--ring-mib", "8", "--memory-mib", "128"])
                .args(["--metrics", METRICS, "--block", "nft", "--status-socket"])
                .arg(&socket)
                .env("NOTIFY_SOCKET", &notify);
            Sensor::start_command(&mut command)
        };
        let mut sensor = start();
        out(&block(&socket, &["add", BAD[0], "--for", "1h"], ""));
        helpers(&sensor).into_iter().for_each(kill_hard);
        sensor.wait_for_stderr("synledger: the block helper is gone for good");
        sensor.wait_for("a metric", || {
            metrics().contains("synledger_block_helper_gone 1\n")
        });
        assert!(answer("/healthz?strict").contains(" 503 "));
        let ends = Instant::now() + Duration::from_secs(40);
        while sensor.child.try_wait().expect("a child").is_none() {
            assert!(Instant::now() < ends, "{}", sensor.content("stderr"));
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(sensor.exit(), Some(1), "{}", sensor.content("stderr"));
        let stderr = sensor.content("stderr");
        assert!(
            stderr.contains("the service manager is to start synledger again"),
            "{stderr}"
        );
        assert!(stderr.contains("the books close"), "{stderr}");
        let sensor = start();
        let blocked = BTreeSet::from([format!("{}/32", BAD[0])]);
        sensor.wait_for("its block", || listed(&socket) == blocked);
        sensor.stop(Signal::SIGTERM).assert_exact();
    });
}
