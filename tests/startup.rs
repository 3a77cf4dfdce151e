//! What `run` looks at and says before it watches anything.

mod common;

use nix::unistd::geteuid;
use std::process::{Command, Output};

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `script` with the program as `$1` in a mount namespace of its own, `files` laid over those of sysfs.
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
    // Isolated CPUs are in no affinity: `taskset` plays what the kernel does at boot.
    let isolated = [("/sys/devices/system/cpu/isolated", "1\n")];
    let script = "exec taskset -c 0 \"$1\" run -i lo --workers 1 --cores 1 --dry-run";
    let Some(output) = with_files(&isolated, script) else {
        return;
    };
    assert_eq!(output.status.code(), Some(0), "{}", says(&output));
    let output = with_files(&[], script).expect("it worked before");
    assert_eq!(output.status.code(), Some(2), "a CPU that is not ours");
    assert!(says(&output).contains("--cores 1"), "{}", says(&output));
}
