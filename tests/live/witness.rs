//! The witness: it agrees with a healthy build on every input.
//!
//! `tools/witness-fault` runs the load on a build that loses SYNs: SYNLEDGER_WITNESS=fault. SYNLEDGER_WITNESS_SECONDS and
//! SYNLEDGER_WITNESS_RATE set duration and rate.

use super::conversation::Conversation;
use super::sensor::{Ended, Sensor, of_type};
use super::tagged;
use super::traffic::{Sender, flow, frame};
use crate::common::netns::{SENDER, SENSOR, Veth, ip, wait_for_link, with_veth};
use crate::common::syn;
use craft::{ACK, Ext, FIN, Flow, Ip, Link, SYN, Tcp, mutate};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

fn books(ended: &Ended) -> Value {
    let last = of_type(&ended.eve, "stats").last().expect("a last record");
    assert_eq!(last["synledger"]["closed"], true, "{}", ended.stderr);
    last["synledger"]["totals"]["books"].clone()
}

fn number(books: &Value, name: &str) -> u64 {
    match &books[name] {
        Value::Object(labels) => labels.values().filter_map(Value::as_u64).sum(),
        one => one.as_u64().unwrap_or_else(|| panic!("{name}: {books}")),
    }
}

/// Asserts that nothing differs, except for what is excused; returns the books.
fn assert_agreed(ended: &Ended) -> Value {
    let books = books(ended);
    let records: Vec<&Value> = of_type(&ended.eve, "lifecycle")
        .filter(|one| {
            let word = one["synledger"]["event"].as_str();
            word.is_some_and(|word| word.starts_with("witness_"))
        })
        .collect();
    for name in ["witness_missing", "witness_extra"] {
        assert_eq!(number(&books, name), 0, "{name}: {records:#?}\n{books:#}");
    }
    let line = ended
        .stderr
        .lines()
        .find(|line| line.starts_with("witness"));
    eprintln!("{}", line.expect("a line about the witness"));
    books
}

/// SYNs of every shape, valid and broken, some repeated.
fn soup() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for n in 0..400_u32 {
        let from = |port| flow(n + 1, port, 1, 443);
        let plain = frame(from(1024), n);
        let v6 = Flow::v6(
            [0xfd00, 0, 0, 0, 0, 0, 0, 1],
            1024 + u16::try_from(n).expect("few"),
            [0xfd00, 0, 0, 0, 0, 0, 0, 2],
            80,
        );
        let tcp = |flow, flags| Tcp::new(flow, flags, n).bytes();
        let deep = Ip::new(v6.src, v6.dst, 6).ext(Ext::padding(60, 8));
        frames.push(plain.clone());
        frames.push(Link::ethernet().vlan(9).frame(&syn(from(1025), n)));
        frames.push(Link::ethernet().qinq(9, 10).frame(&syn(from(1026), n)));
        frames.push(Link::ethernet().frame(&syn(v6, n)));
        // First in a frame that the filter cannot parse, then in one that it can.
        let late = v6.from_port(60_000 - v6.src_port);
        frames.push(Link::ethernet().frame(&deep.bytes(&tcp(late, SYN))));
        frames.push(Link::ethernet().frame(&syn(late, n)));
        frames.push(Link::ethernet().frame(&deep.bytes(&tcp(v6, SYN))));
        let odd = Ip::new(from(0).src, from(0).dst, 6).bytes(&tcp(from(1027), SYN | FIN));
        frames.push(Link::ethernet().frame(&odd));
        let segment = Tcp::new(from(1028), SYN, n).data(&[7; 64]).bytes();
        let cut = Ip::new(from(0).src, from(0).dst, 6)
            .id(n)
            .fragments(&segment, &[8, 40]);
        frames.extend(cut.iter().map(|part| Link::ethernet().frame(part)));
        frames.push(plain.clone());
        frames.push(mutate(&plain, u64::from(n)));
        frames.push(mutate(&plain, u64::from(n) << 20));
    }
    frames
}

#[test]
fn a_healthy_build_agrees_on_every_shape_of_a_syn() {
    with_veth(|veth| {
        let args = ["--workers", "3", "--witness", "1", "--capture", "headers"];
        let sensor = Sensor::start(&args);
        let sender = Sender::new(veth);
        for frame in soup() {
            // The kernel rejects some of the broken ones.
            let _ = sender.0.send(&frame);
        }
        for (connection, _) in tagged::conversations() {
            connection
                .whole(&[100], &[3])
                .iter()
                .for_each(|one| sender.send(one));
        }
        let books = assert_agreed(&sensor.stop(Signal::SIGINT));
        for name in ["witness_agreed", "witness_retransmitted", "witness_beyond"] {
            assert!(number(&books, name) > 300, "{name}: {books:#}");
        }
    });
}

#[test]
fn a_witness_counts_loopback_once_and_two_interfaces_as_one() {
    with_veth(|veth| {
        ip("link set lo up");
        let interfaces = format!("lo,{SENDER}");
        let sensor = Sensor::start(&["--workers", "2", "--witness", "1", "-i", &interfaces]);
        thread::sleep(Duration::from_millis(300));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        for _ in 0..50 {
            drop(TcpStream::connect(address).expect("it listens"));
            drop(listener.accept().expect("a client"));
        }
        let sender = Sender::new(veth);
        (1..=100).for_each(|from| sender.send(&frame(flow(from, 1024, 1, 443), from)));
        thread::sleep(Duration::from_millis(300));
        let books = assert_agreed(&sensor.stop(Signal::SIGINT));
        assert_eq!(number(&books, "witness_agreed"), 150, "{books:#}");
        assert_eq!(number(&books, "witness_retransmitted"), 100, "{books:#}");
    });
}

#[test]
fn a_witness_follows_links_that_flap_and_interfaces_that_come_back() {
    with_veth(|veth| {
        let sensor = Sensor::start(&["--workers", "2", "--witness", "1"]);
        let sender = Sender::new(veth);
        let mut from = 1;
        let mut send = |sender: &Sender, count: u32| {
            for _ in 0..count {
                let _ = sender.0.send(&frame(flow(from, 1024, 1, 443), from));
                from += 1;
            }
        };
        for _ in 0..5 {
            ip(&format!("link set {SENSOR} down"));
            send(&sender, 50);
            ip(&format!("link set {SENSOR} up"));
            send(&sender, 50);
        }
        wait_for_link();
        ip(&format!("link del {SENSOR}"));
        sensor.wait_for_event("link_removed");
        ip(&format!("link add {SENDER} type veth peer name {SENSOR}"));
        ip(&format!("link set {SENDER} up"));
        ip(&format!("link set {SENSOR} up"));
        wait_for_link();
        sensor.wait_for_event("link_back");
        // Differences are excused for a while after a link's change: wait until that is over.
        thread::sleep(Duration::from_millis(2_500));
        let index = |name| nix::net::if_::if_nametoindex(name).expect("it was just made");
        let sender = Sender::new(Veth {
            sender: index(SENDER),
            sensor: index(SENSOR),
        });
        send(&sender, 200);
        thread::sleep(Duration::from_millis(300));
        let books = assert_agreed(&sensor.stop(Signal::SIGINT));
        assert!(number(&books, "witness_agreed") >= 200, "{books:#}");
    });
}

fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var(format!("SYNLEDGER_WITNESS_{name}"));
    value.map_or(default, |value| value.parse().expect(name))
}

/// Opens `rate` connections a second for `seconds`, or until `found`, which is asked once a second, is true; returns
/// when that was.
fn load(veth: Veth, rate: u64, seconds: u64, found: impl Fn() -> bool) -> Option<Duration> {
    let sender = Sender::new(veth);
    let (start, mut opened, mut looked) = (Instant::now(), 0_u64, Instant::now());
    let mut when = None;
    while when.is_none() && start.elapsed() < Duration::from_secs(seconds) {
        let due = u64::try_from(start.elapsed().as_micros()).expect("short") * rate / 1_000_000;
        // A busy machine falls behind: it catches up in small steps.
        let until = due.clamp(opened, opened + rate / 100 + 1);
        for number in opened..until {
            let [a, b, c, d, ..] = number.to_le_bytes();
            let source = [10, c, b, a];
            let flow = Flow::v4(source, 40_000 + u16::from(d), [198, 51, 100, a & 15], 443);
            let connection = Conversation {
                isn: u32::from_le_bytes([d, c, b, a]),
                ..Conversation::new(flow)
            };
            connection
                .handshake()
                .iter()
                .for_each(|one| sender.send(one));
            sender.send(&connection.up(FIN | ACK, 1, 1, b""));
        }
        opened = until;
        if looked.elapsed() > Duration::from_secs(1) {
            looked = Instant::now();
            when = found().then(|| start.elapsed());
        }
        thread::sleep(Duration::from_millis(1));
    }
    let took_s = start.elapsed().as_secs_f64();
    let rate = opened as f64 / took_s;
    eprintln!("{opened} connections in {took_s:.1} s, {rate:.0} a second");
    when
}

/// The log of a long load is too large to read, so connections are not logged.
#[test]
fn under_load_a_healthy_build_agrees_and_one_that_loses_syns_is_found() {
    with_veth(|veth| {
        let faulty = std::env::var("SYNLEDGER_WITNESS").is_ok_and(|what| what == "fault");
        let (rate, seconds) = (setting("RATE", 2_000), setting("SECONDS", 8));
        let one_in = setting("ONE_IN", 4).to_string();
        let dir = tempfile::tempdir().expect("a folder");
        let log = format!(
            "eve:{}/log.json,events=stats+lifecycle",
            dir.path().display()
        );
        let args = [
            "--workers",
            "2",
            "--witness",
            &one_in,
            "--memory-mib",
            "256",
        ];
        let sensor = Sensor::start_with(dir, &["--output", &log], &args);
        let is_reported = || {
            sensor
                .content("log.json")
                .contains("\"event\":\"witness_missing\"")
        };
        let found = load(veth, rate, seconds, is_reported);
        let ended = sensor.stop(Signal::SIGINT);
        if !faulty {
            let books = assert_agreed(&ended);
            assert!(number(&books, "witness_agreed") > 100, "{books:#}");
            return;
        }
        let books = books(&ended);
        eprintln!(
            "{} of {} attempts seen are missing; first reported after {found:?}",
            number(&books, "witness_missing"),
            number(&books, "witness_seen")
        );
        assert!(number(&books, "witness_missing") > 0, "{books:#}");
        assert!(found.is_some(), "no record of the fault");
        assert_eq!(number(&books, "witness_extra"), 0, "{books:#}");
    });
}
