//! A sensor whose interface an XDP program has taken: it says so, at the start and when it matters.

use super::super::common::RUN;
use super::super::common::netns::SENSOR;
use super::super::host::{add, program, wait_until};
use super::super::packets::{BAD, OURS, arrives, listen, with_neighbour};
use super::{started, with_xdp};
use std::process::{Command, Stdio};

#[test]
fn packets_that_an_xdp_program_takes_are_no_silence() {
    with_xdp(|| {
        let peer = with_neighbour();
        let socket = listen(OURS[0]);
        let mut host = started();
        host.done(add(BAD[0], 600));
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("log.json");
        let eve = format!("eve:{},events=lifecycle", log.display());
        let mut sensor = Command::new(program())
            .args(RUN)
            .args(["-i", SENSOR, "--ring-mib", "8", "--memory-mib", "32"])
            .args(["--workers", "1", "-q", "--output", &eve])
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts");
        let has = |words: &str| {
            let content = std::fs::read_to_string(&log).unwrap_or_default();
            content.contains(words)
        };
        wait_until("start", || has("\"event\":\"start\""));
        wait_until("the blind spot", || {
            has("sensor: an XDP program is attached")
        });
        wait_until("the cause", || {
            assert!(!arrives(&peer, BAD[0], &socket), "blocked");
            has("\"event\":\"no_frames\"") && has("\"cause\":\"xdp\"")
        });
        sensor.kill().expect("it runs");
        sensor.wait().expect("it ends");
        host.end();
    });
}
