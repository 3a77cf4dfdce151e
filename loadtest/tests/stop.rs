//! A run that a signal ends leaves nothing behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Names in a folder that begin with `prefix`.
fn named(folder: &str, prefix: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// Command lines of running programs that contain `word`.
fn programs(word: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    let lines = lines.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    lines.filter(|line| line.contains(word)).collect()
}

fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !happened() {
        assert!(Instant::now() < give_up, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn assert_cleaned_up(binary: &Path, signal: Signal) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["reconcile", "--seconds", "60", "--rate", "1000"]);
    command.arg("--csv").arg(folder.path().join("a.csv"));
    command.arg("--binary").arg(binary);
    command.args([
        "--sensor-flag=--ring-mib=32",
        "--sensor-flag=--memory-mib=48",
    ]);
    let mut run = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let prefix = format!("synload-{}-", run.id());
    let scratch = format!("/dev/shm/{prefix}");
    wait_for("a sensor", || {
        let ended = run.try_wait().expect("a child").is_some();
        ended || programs(&scratch).iter().any(|line| line.contains(" run "))
    });
    let pid = i32::try_from(run.id()).expect("a process id");
    kill(Pid::from_raw(pid), signal).expect("it runs");
    let output = run.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(128 + signal as i32), "{stderr}");
    assert!(stderr.contains(signal.as_str()), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert_eq!(named("/run/netns", &prefix), [""; 0]);
    assert_eq!(named("/dev/shm", &prefix), [""; 0]);
    assert_eq!(programs(&scratch), [""; 0]);
}

#[test]
fn a_run_that_a_signal_ends_leaves_nothing_behind() {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_loadtest")).with_file_name("synledger");
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    if !binary.is_file() {
        eprintln!(
            "skipped: no {}: cargo test --workspace builds it",
            binary.display()
        );
    } else if !nix::unistd::geteuid().is_root() || cores < 2 || !Path::new("/dev/shm").is_dir() {
        eprintln!("skipped: needs root for network namespaces, two CPUs and /dev/shm");
    } else {
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            assert_cleaned_up(&binary, signal);
        }
    }
}
