//! Signals, and readers that close standard output.

use super::sensor::Sensor;
use super::traffic::{Sender, flow, frame, with_trickle};
use crate::common::netns::with_veth;
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

#[test]
fn sigterm_amid_traffic_ends_with_exact_books() {
    with_veth(|veth| {
        let sensor = Sensor::start(&["--workers", "2"]);
        let ended = with_trickle(veth, Duration::from_micros(100), || {
            let sender = Sender::new(veth);
            for from in 0..500 {
                sender.send(&frame(flow(from, 1024, 1, 443), from));
            }
            sensor.stop(Signal::SIGTERM)
        });
        ended.assert_exact();
        let logged = ended.lines(": New connection: ").len();
        assert!(logged > 500, "{}", ended.stderr);
        assert_eq!(ended.offered(), logged as u64, "{}", ended.stderr);
    });
}

#[test]
fn sighup_reopens_a_moved_log() {
    with_veth(|veth| {
        let sensor = Sensor::start(&["--workers", "2"]);
        let sender = Sender::new(veth);
        sender.send(&frame(flow(1, 1024, 1, 443), 1));
        sensor.wait_for("line", || {
            sensor
                .content("log.txt")
                .contains(": New connection: 10.0.0.1:")
        });
        std::fs::rename(sensor.path("log.txt"), sensor.path("moved.txt")).expect("it is there");
        sensor.signal(Signal::SIGHUP);
        sensor.wait_for("new file", || sensor.path("log.txt").exists());
        sender.send(&frame(flow(2, 1024, 1, 443), 2));
        sensor.wait_for("line", || {
            sensor
                .content("log.txt")
                .contains(": New connection: 10.0.0.2:")
        });
        let moved = sensor.content("moved.txt");
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(moved.matches(": New connection: ").count(), 1, "{moved}");
        assert_eq!(ended.lines(": New connection: ").len(), 1, "{}", ended.text);
    });
}

fn close_reader(args: &'static [&'static str], code_expected: i32) {
    with_veth(move |veth| {
        let dir = tempfile::tempdir().expect("a folder");
        let mut sensor = Sensor::start_in(dir, &["--output", "text:-"], args, Stdio::piped());
        let pipe = sensor.child.stdout.take().expect("it is piped");
        let code = with_trickle(veth, Duration::from_millis(2), || {
            let mut head = String::new();
            BufReader::new(pipe).read_line(&mut head).expect("a line");
            assert!(head.contains(": New connection: 10."), "{head}");
            sensor.exit()
        });
        let stderr = sensor.content("stderr");
        assert_eq!(code, Some(code_expected), "{stderr}");
        if args.contains(&"-q") && code_expected == 0 {
            assert_eq!(stderr, "");
            return;
        }
        let why = "synledger: standard output has lost its reader: that ends the run\n";
        let (_, books) = stderr.split_once(why).expect(&stderr);
        assert!(books.contains("the books close"), "{stderr}");
        let stop = sensor.content("log.json");
        assert!(stop.contains("lost its reader: that ends the run; reading what is left"));
    });
}

#[test]
fn a_closed_reader_ends_the_run_and_is_reported() {
    close_reader(&[], 0);
}

#[test]
fn a_quiet_run_with_a_closed_reader_prints_nothing() {
    close_reader(&["-q"], 0);
}

#[test]
fn a_strict_run_with_a_closed_reader_fails() {
    close_reader(&["--strict"], 3);
}
