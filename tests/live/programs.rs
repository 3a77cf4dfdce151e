//! Programs of others that make traffic.

use crate::common::netns::SENDER;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// True where a program is installed; says so where it is not.
pub fn installed(program: &str) -> bool {
    let version = Command::new(program)
        .arg("-V")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if version.is_err() {
        eprintln!("skipped: {program} is not installed");
    }
    version.is_ok()
}

pub fn said(output: &Output) -> String {
    let says = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", says(&output.stdout), says(&output.stderr))
}

/// Replays captures into [`SENDER`], one after the other; gives how many frames it says it sent.
pub fn replay(files: &[&Path], per_second: u32) -> u64 {
    let output = Command::new("tcpreplay")
        .args(["-i", SENDER, "--pps", &per_second.to_string()])
        .args(files)
        .output()
        .expect("tcpreplay starts");
    let says = said(&output);
    assert!(output.status.success(), "{says}");
    let sent = says.split("Actual: ").nth(1).expect(&says);
    sent.split(' ')
        .next()
        .expect("a word")
        .parse()
        .expect(&says)
}
