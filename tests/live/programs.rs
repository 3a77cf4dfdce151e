//! Third-party programs that make traffic.

use crate::common::netns::SENDER;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// True if a program is installed; prints `skipped` if not.
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

/// Standard output, then standard error.
pub fn text_of(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Replays captures into [`SENDER`], one after the other; returns how many frames tcpreplay reports as sent.
pub fn replay(files: &[&Path], per_second: u32) -> u64 {
    let output = Command::new("tcpreplay")
        .args(["-i", SENDER, "--pps", &per_second.to_string()])
        .args(files)
        .output()
        .expect("tcpreplay starts");
    let text = text_of(&output);
    assert!(output.status.success(), "{text}");
    let sent = text.split("Actual: ").nth(1).expect(&text);
    sent.split(' ')
        .next()
        .expect("a word")
        .parse()
        .expect(&text)
}
