//! How often a worker wakes while frames trickle in.

use super::sensor::Sensor;
use super::traffic::with_trickle;
use crate::common::netns::with_veth;
use nix::sys::signal::Signal;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Times that the only worker has slept.
fn sleeps(sensor: &Sensor) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", sensor.pid())).expect("the sensor runs");
    let read = |name: &str| {
        let paths = tasks.map(|task| task.expect("a thread").path());
        let of_worker = |path: &std::path::PathBuf| {
            fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        let path = paths
            .into_iter()
            .find(of_worker)
            .expect("a worker's thread");
        fs::read_to_string(path.join("status")).expect("it lives")
    };
    let status = read("worker-0");
    let field = "\nvoluntary_ctxt_switches:";
    let (_, rest) = status.split_once(field).expect("the kernel's field");
    let number = rest.lines().next().expect("a line").trim();
    number.parse().expect("a number")
}

#[test]
fn a_worker_wakes_twice_for_each_block_of_a_trickle() {
    const TIMEOUT_MS: u128 = 40;
    with_veth(|veth| {
        let sensor = Sensor::start(&["--workers", "1", "--block-timeout-ms", "40"]);
        with_trickle(veth, Duration::from_millis(1), || {
            sleep(Duration::from_millis(200));
            let (before, begin) = (sleeps(&sensor), Instant::now());
            sleep(Duration::from_secs(2));
            let slept = u128::from(sleeps(&sensor) - before);
            let blocks = begin.elapsed().as_millis() / TIMEOUT_MS;
            eprintln!("{slept} sleeps, {blocks} blocks of the ring that takes SYNs");
            assert!(
                slept > blocks / 2,
                "{slept} sleeps in {blocks} block timeouts"
            );
            // Steps of a quarter of the timeout would be four.
            assert!(
                slept < blocks * 3,
                "{slept} sleeps in {blocks} block timeouts"
            );
        });
        sensor.stop(Signal::SIGTERM).assert_exact();
    });
}
