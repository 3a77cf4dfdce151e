//! `run` before it watches anything: its checks and its output.

mod common;

use common::netns::{SENSOR, with_veth};
use common::{RUN, synledger};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `script` with the program as `$1` in a mount namespace of its own, where `files` replace those of sysfs.
fn with_files(files: &[(&str, &str)], script: &str) -> Option<Output> {
    let unshare = Command::new("unshare").args(["--mount", "true"]).status();
    if !geteuid().is_root() || !unshare.is_ok_and(|status| status.success()) {
        eprintln!("skipped: needs root and unshare for a mount namespace");
        return None;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let mut whole = String::from("set -e\n");
    for (at, (path, text)) in files.iter().enumerate() {
        let file = dir.path().join(at.to_string());
        std::fs::write(&file, text).expect("a file");
        whole += &format!("mount --bind {} {path}\n", file.display());
    }
    whole += script;
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &whole, "sh"])
        .arg(env!("CARGO_BIN_EXE_synledger"))
        .output();
    Some(output.expect("unshare starts"))
}

#[test]
fn cores_may_name_an_isolated_cpu() {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        eprintln!("skipped: needs two CPUs");
        return;
    }
    // The kernel takes isolated CPUs out of every affinity at boot: here `taskset` does.
    let isolated = [("/sys/devices/system/cpu/isolated", "1\n")];
    let script = "exec taskset -c 0 \"$1\" run -i lo --workers 1 --cores 1 --dry-run";
    let Some(output) = with_files(&isolated, script) else {
        return;
    };
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = with_files(&[], script).expect("it worked before");
    assert_eq!(output.status.code(), Some(2), "a CPU that is not ours");
    assert!(stderr(&output).contains("--cores 1"), "{}", stderr(&output));
}

fn dry_run(args: &[&str]) -> Output {
    let small = ["--workers", "1", "--memory-mib", "32", "--ring-mib", "4"];
    let mut command = synledger();
    command.args(RUN).args(["-i", "lo", "--dry-run"]);
    command.args(small).args(args).output().expect("it starts")
}

#[test]
fn a_quiet_dry_run_prints_the_memory_line_by_line() {
    if !geteuid().is_root() {
        eprintln!("skipped: needs root for a packet socket");
        return;
    }
    let output = dry_run(&["-q"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mib = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.ends_with(name));
        let line = line.unwrap_or_else(|| panic!("no line {name}: {text}"));
        let number = line.split_whitespace().next();
        number.and_then(|number| number.parse().ok()).expect(line)
    };
    let process: Vec<&str> = text
        .lines()
        .skip(1)
        .take_while(|line| !line.ends_with("all of it"))
        .filter_map(|line| line.split("MiB  ").nth(1))
        .collect();
    assert!(process.contains(&"attempts, flows, fragments"), "{text}");
    let sum: f64 = process.iter().map(|name| mib(name)).sum();
    assert!((sum - mib("all of it")).abs() < 0.5, "{sum}: {text}");
    assert_eq!(mib("1 worker x 1 interface"), 4.0);
    assert!(text.ends_with("this would start\n"), "{text}");
}

#[test]
fn a_dry_run_fails_where_the_run_would() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = |name: &str| format!("text:{}", dir.path().join(name).display());
    let (good, bad) = (output("log"), output("no/log"));
    let refused = dry_run(&["--output", &good, "--output", &bad]);
    let error = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1), "{error}");
    let missing = dir.path().join("no").display().to_string();
    let expected = format!("/log (its directory {missing} is missing: create it)");
    assert!(error.contains(&expected), "{error}");
    assert!(!dir.path().join("log").exists(), "nothing is created");
    let refused = String::from_utf8_lossy(&refused.stdout).into_owned();
    let (_, reasons) = refused
        .split_once("this would not start:\n")
        .expect("a verdict");
    assert!(
        reasons.contains(&expected),
        "the reason stands below it: {reasons}"
    );
    let unprivileged = Command::new("setpriv")
        .args(["--inh-caps=-all", "--bounding-set=-net_raw"])
        .arg(env!("CARGO_BIN_EXE_synledger"))
        .args(RUN)
        .args(["-i", "lo", "--dry-run", "--workers", "1"])
        .output();
    match unprivileged {
        Ok(output) if geteuid().is_root() => {
            assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
            let needs = stderr(&output).matches("CAP_NET_RAW").count();
            assert_eq!(needs, 1, "{}", stderr(&output));
        }
        _ => eprintln!("skipped: needs root and setpriv to drop CAP_NET_RAW"),
    }
}

#[test]
fn a_dry_run_and_a_run_refuse_the_same_folders_of_state_in_the_same_words() {
    if !geteuid().is_root() {
        eprintln!("skipped: needs root for a packet socket");
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let below = file.join("x");
    let folders = ["/proc/foo", "/proc", "/sys"].map(Path::new);
    for folder in folders.into_iter().chain([&*file, &below]) {
        let folder = folder.display().to_string();
        let dry = dry_run(&["--state", &folder]);
        let mut run = synledger();
        run.args(RUN)
            .args(["-i", "lo", "--workers", "1", "--memory-mib", "32"]);
        let run = run.args(["--state", &folder]).output().expect("it starts");
        let codes = [&dry, &run].map(|output| output.status.code());
        assert_eq!(codes, [Some(1); 2], "{folder}");
        let [dry, run] = [&dry, &run].map(|output| {
            let says = stderr(output);
            let why = says.lines().find(|line| line.contains("--state: "));
            why.unwrap_or_else(|| panic!("{folder}: {says}")).to_owned()
        });
        assert_eq!(dry, run);
    }
}

#[test]
fn a_dry_run_tries_the_metrics_address() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let refused = dry_run(&["--metrics", &address]);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    let expected = format!("--metrics {address}: Address already in use");
    assert!(stderr(&refused).contains(&expected), "{}", stderr(&refused));
    let by_name = address.replace("127.0.0.1", "localhost");
    let refused = dry_run(&["--metrics", &by_name]);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    let expected = format!("--metrics {by_name}: Address already in use");
    assert!(stderr(&refused).contains(&expected), "{}", stderr(&refused));
}

#[test]
fn an_unproven_fanout_is_reported_and_logged() {
    with_veth(|_| {
        for (fanout, doubted) in [("cpu", true), ("class", false)] {
            let dir = tempfile::tempdir().expect("a folder");
            let log = dir.path().join("log.json");
            let sensor = synledger()
                .args(RUN)
                .args(["-i", SENSOR, "--workers", "2", "--fanout", fanout])
                .args(["--ring-mib", "8", "--memory-mib", "32"])
                .args(["--output", &format!("eve:{}", log.display())])
                .stderr(Stdio::piped())
                .spawn()
                .expect("it starts");
            let content = || std::fs::read_to_string(&log).unwrap_or_default();
            let give_up = Instant::now() + Duration::from_secs(20);
            while !content().contains(r#""event":"start""#) && Instant::now() < give_up {
                std::thread::sleep(Duration::from_millis(20));
            }
            let pid = Pid::from_raw(i32::try_from(sensor.id()).expect("a process id"));
            kill(pid, Signal::SIGINT).expect("it runs");
            let output = sensor.wait_with_output().expect("it ends");
            let stderr = stderr(&output);
            assert_eq!(output.status.code(), Some(0), "{stderr}");
            let warning = format!("--fanout {fanout} is not proven: {SENSOR} ");
            assert_eq!(stderr.contains(&warning), doubted, "{stderr}");
            let record = content().contains(r#""event":"fanout_unproven""#);
            assert_eq!(record, doubted, "{}", content());
        }
    });
}

#[test]
fn signals_before_the_first_frame_do_not_end_a_run() {
    with_veth(|_| {
        // Much memory: the signals come while it is touched.
        let mut sensor = synledger()
            .args(RUN)
            .args(["-i", SENSOR, "--workers", "1", "--memory-mib", "1024"])
            .args(["--ring-mib", "8", "--output", "text:-,events=lifecycle"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let pid = Pid::from_raw(i32::try_from(sensor.id()).expect("a process id"));
        let mut reader = BufReader::new(sensor.stderr.take().expect("piped"));
        let mut stderr = String::new();
        // The last line before memory is taken.
        while !stderr.contains("outputs: ") {
            assert_ne!(reader.read_line(&mut stderr).expect("text"), 0, "{stderr}");
        }
        kill(pid, Signal::SIGUSR1).expect("it runs");
        kill(pid, Signal::SIGHUP).expect("it runs");
        while !stderr.contains("the books close") {
            assert_ne!(reader.read_line(&mut stderr).expect("text"), 0, "{stderr}");
        }
        kill(pid, Signal::SIGINT).expect("it runs");
        let output = sensor.wait_with_output().expect("it ends");
        let log = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{log}");
        assert!(log.contains("Sensor reload: "), "{log}");
    });
}
