//! A collector that is taken away, and comes back or does not, while the sensor watches in its sandbox.

use super::sensor::{EVENTS, PATIENCE, Sensor, of_type};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::{Veth, ip, with_veth};
use nix::sys::signal::Signal;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::thread::{JoinHandle, spawn};

const COLLECTOR: &str = "127.0.0.1:5514";
/// Attempts in each part of a test.
const PART: u32 = 300;

/// A sensor with this output.
fn start(output: &str) -> Sensor {
    ip("link set lo up");
    let dir = tempfile::tempdir().expect("a folder");
    let text = format!("text:{},{EVENTS}", dir.path().join("log.txt").display());
    let outputs = ["--output", &text, "--output", output];
    Sensor::start_in(dir, &outputs, &[], Stdio::null())
}

/// Sends attempts of part number `part`, and waits until the sensor's own log has all so far.
fn send(sensor: &Sensor, veth: Veth, part: u32) {
    let sender = Sender::new(veth);
    for from in part * PART..(part + 1) * PART {
        sender.send(&frame(flow(from, 1024, 1, 443), from));
    }
    let all = ((part + 1) * PART) as usize;
    sensor.wait_for("connections", || {
        sensor
            .content("log.txt")
            .matches(": New connection: ")
            .count()
            == all
    });
}

/// Whole messages in a stream of syslog with octet counting, and whether it ends with one.
fn messages(mut bytes: &[u8]) -> (Vec<String>, bool) {
    let mut all = Vec::new();
    while let Some(space) = bytes.iter().position(|&byte| byte == b' ') {
        let count = std::str::from_utf8(&bytes[..space]).expect("digits");
        let count: usize = count.parse().expect("a number");
        let Some(message) = bytes[space + 1..].get(..count) else {
            break;
        };
        all.push(String::from_utf8(message.to_vec()).expect("UTF-8"));
        bytes = &bytes[space + 1 + count..];
    }
    (all, bytes.is_empty())
}

/// Reads one connection until it has `enough` messages, or ends.
fn take(mut stream: TcpStream, enough: usize) -> Vec<String> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 65_536]);
    loop {
        let (all, is_whole) = messages(&bytes);
        if is_whole && all.len() >= enough {
            return all;
        }
        let count = stream.read(&mut buffer).expect("a stream");
        if count == 0 {
            assert!(is_whole, "the stream ends within a message");
            return all;
        }
        bytes.extend_from_slice(&buffer[..count]);
    }
}

/// The collector, there until it is dropped.
struct Collector(TcpListener);

impl Collector {
    fn new() -> Self {
        let listener = TcpListener::bind(COLLECTOR).expect("the port is free");
        listener.set_nonblocking(true).expect("a socket");
        Self(listener)
    }

    /// Waits for the sensor's connection; takes `enough` messages of it, then closes it.
    fn take(&self, sensor: &Sensor, enough: usize) -> JoinHandle<Vec<String>> {
        let mut stream = None;
        sensor.wait_for("connection to the collector", || {
            stream = self.0.accept().ok();
            stream.is_some()
        });
        let (stream, _) = stream.expect("it was waited for");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        spawn(move || take(stream, enough))
    }
}

#[test]
fn a_tcp_collector_that_was_away_gets_each_record_once() {
    with_veth(|veth| {
        ip("link set lo up");
        let collector = Collector::new();
        let sensor = start(&format!("syslog:tcp://{COLLECTOR},events=connection"));
        let first = collector.take(&sensor, PART as usize);
        send(&sensor, veth, 0);
        let mut all = first.join().expect("the first messages");
        drop(collector);
        // Nobody is there: these wait.
        send(&sensor, veth, 1);
        let collector = Collector::new();
        send(&sensor, veth, 2);
        let second = collector.take(&sensor, usize::MAX);
        let ended = sensor.stop(Signal::SIGTERM);
        all.extend(second.join().expect("the other messages"));
        ended.assert_exact();
        let sent = 3 * PART as usize;
        assert_eq!(of_type(&ended.eve, "new_connection").count(), sent);
        for from in 0..3 * PART {
            let [_, b, c, d] = from.to_be_bytes();
            let source = format!(" src=\"10.{b}.{c}.{d}\"");
            let count = all.iter().filter(|one| one.contains(&source)).count();
            assert_eq!(count, 1, "{source} of {} messages", all.len());
        }
        eprintln!("a TCP collector that was away has {} messages", all.len());
    });
}

#[test]
fn without_a_udp_collector_the_books_close() {
    for format in ["ipfix", "netflow9", "syslog"] {
        with_veth(move |veth| {
            let events = match format {
                "syslog" => "events=connection",
                _ => "events=flow",
            };
            let sensor = start(&format!("{format}:udp://{COLLECTOR},{events}"));
            send(&sensor, veth, 0);
            let ended = sensor.stop(Signal::SIGTERM);
            // A host that answers that nobody listens is heard: what is known as lost is a miss.
            assert!(ended.code.is_some_and(|code| code <= 1), "{}", ended.stderr);
            assert!(ended.stderr.contains("the books close"), "{}", ended.stderr);
            assert_eq!(ended.lines(": New connection: ").len(), PART as usize);
        });
    }
}
