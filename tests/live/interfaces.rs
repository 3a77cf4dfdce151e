//! Interfaces that are removed, recreated or renamed; several at once; loopback.

use super::sensor::{Ended, METRICS, Sensor, answer, metrics, of_type};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::{SENDER, SENSOR, Veth, ip, wait_for_end, wait_for_link, with_veth};
use nix::sys::signal::Signal;
use packet::TxSocket;
use std::net::{TcpListener, TcpStream};

/// Sends one SYN from host number `from`.
pub fn send(veth: Veth, from: u32) {
    Sender::new(veth).send(&frame(flow(from, 1024, 1, 443), from));
}

pub fn wait_for_connection(sensor: &Sensor, from: u8) {
    let line = format!(": New connection: 10.0.0.{from}:");
    sensor.wait_for("line", || sensor.content("log.txt").contains(&line));
}

/// The current pair, by its interface indexes.
pub fn pair() -> Veth {
    let index = |name| nix::net::if_::if_nametoindex(name).expect("it was just made");
    Veth {
        sender: index(SENDER),
        sensor: index(SENSOR),
    }
}

fn count_events(sensor: &Sensor, word: &str) -> usize {
    let event = format!("\"event\":\"{word}\"");
    sensor.content("log.json").matches(&event).count()
}

fn wait_for_events(sensor: &Sensor, word: &str, count: usize) {
    sensor.wait_for(word, || count_events(sensor, word) >= count);
}

/// Creates a pair; the sensor's end has this name at first.
pub fn create(first_name: &str) {
    ip(&format!(
        "link add {SENDER} type veth peer name {first_name}"
    ));
    ip(&format!("link set {SENDER} up"));
}

/// A sensor that has seen one connection, and whose interface was then removed.
fn without_interface(veth: Veth) -> Sensor {
    let sensor = Sensor::start(&["--workers", "2"]);
    send(veth, 1);
    wait_for_connection(&sensor, 1);
    ip(&format!("link del {SENSOR}"));
    sensor.wait_for_event("link_removed");
    sensor
}

fn assert_seen(ended: &Ended, count: usize) {
    ended.assert_exact();
    assert_eq!(ended.offered(), count as u64, "{}", ended.stderr);
    let lines = ended.lines(": New connection: ").len();
    assert_eq!(lines, count, "{}", ended.text);
}

#[test]
fn an_interface_that_comes_back_is_watched_again() {
    with_veth(|veth| {
        let sensor = without_interface(veth);
        create(SENSOR);
        ip(&format!("link set {SENSOR} up"));
        wait_for_link();
        sensor.wait_for_event("link_back");
        let veth = pair();
        (2..102).for_each(|from| send(veth, from));
        let ended = sensor.stop(Signal::SIGINT);
        assert_seen(&ended, 101);
        let gone = format!("synledger: {SENSOR} is gone; watched again when it comes back\n");
        let back = format!("synledger: {SENSOR} is back and watched again\n");
        let place = |line: &str| ended.stderr.find(line).expect(line);
        assert!(place(&gone) < place(&back), "{}", ended.stderr);
    });
}

/// Sets the sensor's soft limit of open files.
fn limit_files(sensor: &Sensor, soft: &str) {
    let pid = sensor.pid().to_string();
    let limit = format!("--nofile={soft}:");
    let mut command = std::process::Command::new("prlimit");
    let status = command.args(["--pid", &pid, &limit]).status();
    assert!(status.expect("prlimit is there").success());
}

#[test]
fn an_interface_that_is_gone_or_cannot_be_watched_again_degrades_health() {
    with_veth(|veth| {
        ip("link set lo up");
        let sensor = Sensor::start(&["--strict", "--metrics", METRICS]);
        assert!(answer("/healthz?strict").ends_with("\r\n\r\nok\n"));
        let assert_degraded = |expected: &str| {
            let expected =
                format!("\r\n\r\ndegraded\nlink: {SENSOR} is {expected}: nothing is seen there\n");
            sensor.wait_for(&expected, || answer("/healthz").ends_with(&expected));
            assert!(answer("/healthz?strict").starts_with("HTTP/1.1 503 "));
            assert!(metrics().contains("synledger_degraded{reason=\"link\"} 1\n"));
        };
        ip(&format!("link set {SENSOR} down"));
        assert_degraded("down");
        ip(&format!("link set {SENSOR} up"));
        sensor.wait_for("health", || answer("/healthz").ends_with("\r\nok\n"));
        send(veth, 1);
        wait_for_connection(&sensor, 1);
        ip(&format!("link del {SENSOR}"));
        assert_degraded("gone");
        // The limit leaves no file for a new ring.
        limit_files(&sensor, "8");
        create(SENSOR);
        ip(&format!("link set {SENSOR} up"));
        sensor.wait_for_event("link_failed");
        limit_files(&sensor, "4096");
        sensor.wait_for_event("link_back");
        sensor.wait_for("health", || answer("/healthz").ends_with("\r\nok\n"));
        wait_for_link();
        send(pair(), 2);
        wait_for_connection(&sensor, 2);
        let seconds = metrics();
        let mut seconds = seconds
            .lines()
            .filter_map(|line| line.strip_prefix("synledger_unwatched_seconds_total "));
        let seconds: f64 = seconds
            .next()
            .expect("a counter")
            .parse()
            .expect("a number");
        assert!((1.0..60.0).contains(&seconds), "{seconds}");
        let ended = sensor.stop(Signal::SIGINT);
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        assert_eq!(ended.offered(), 2, "{}", ended.stderr);
        let failed = format!("synledger: {SENSOR} is back but cannot be watched yet: ");
        assert_eq!(ended.stderr.matches(&failed).count(), 1, "{}", ended.stderr);
        let missed =
            "missed: frames that came while interfaces were gone or not yet watched again, for ";
        assert!(ended.stderr.contains(missed), "{missed}: {}", ended.stderr);
        assert!(
            !ended.stderr.contains("nothing was missed"),
            "{}",
            ended.stderr
        );
    });
}

#[test]
fn an_interface_that_was_up_and_comes_back_down_degrades_health() {
    with_veth(|_| {
        ip("link set lo up");
        ip("link add other0 type veth peer name other1");
        ip("link set other0 up");
        ip("link set other1 up");
        wait_for_end("other0");
        let sensor = Sensor::start(&["-i", "other0", "--metrics", METRICS]);
        ip(&format!("link del {SENSOR}"));
        create(SENSOR);
        sensor.wait_for_event("link_back");
        let down = format!("\r\ndegraded\nlink: {SENSOR} is down: nothing is seen there\n");
        sensor.wait_for(&down, || answer("/healthz").ends_with(&down));
        ip(&format!("link set {SENSOR} up"));
        sensor.wait_for("health", || answer("/healthz").ends_with("\r\nok\n"));
        let ended = sensor.stop(Signal::SIGINT);
        let back = format!(
            "{SENSOR} is back and watched again, but down: nothing is seen there until it is up\n"
        );
        assert!(ended.stderr.contains(&back), "{}", ended.stderr);
        assert_eq!(
            ended.stderr.matches("start synledger again").count(),
            0,
            "{}",
            ended.stderr
        );
    });
}

#[test]
fn an_interface_that_takes_the_name_of_one_that_is_gone_is_watched_once() {
    with_veth(|_| {
        ip("link add other0 type veth peer name other1");
        ip("link set other0 up");
        ip("link set other1 up");
        wait_for_end("other0");
        let sensor = Sensor::start(&["-i", "other0"]);
        ip(&format!("link del {SENSOR}"));
        sensor.wait_for_event("link_removed");
        ip(&format!("link set other0 name {SENSOR}"));
        sensor.wait_for_event("link_renamed");
        // Long enough for the sensor to look for missing interfaces and, wrongly, to watch this one twice.
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        let index = nix::net::if_::if_nametoindex("other1").expect("it is there");
        let sender = Sender(TxSocket::open(index).expect("a sender opens"));
        sender.send(&frame(flow(1, 1024, 1, 443), 1));
        wait_for_connection(&sensor, 1);
        assert_eq!(count_events(&sensor, "link_back"), 0);
        assert_seen(&sensor.stop(Signal::SIGINT), 1);
    });
}

#[test]
fn an_interface_recreated_under_another_name_is_watched_after_its_renaming() {
    with_veth(|veth| {
        let sensor = without_interface(veth);
        create("eth77");
        ip(&format!("link set eth77 name {SENSOR}"));
        ip(&format!("link set {SENSOR} up"));
        wait_for_link();
        sensor.wait_for_event("link_back");
        send(pair(), 2);
        assert_seen(&sensor.stop(Signal::SIGINT), 2);
    });
}

/// As udev does: an interface gets its name a moment after it came.
#[test]
fn what_comes_back_by_a_renaming_is_not_called_unwatched_but_a_newcomer_is() {
    with_veth(|veth| {
        let sensor = Sensor::start(&["--workers", "1", "-i", "sen*"]);
        send(veth, 1);
        wait_for_connection(&sensor, 1);
        ip(&format!("link del {SENSOR}"));
        wait_for_events(&sensor, "link_removed", 2);
        ip("link add senda type veth peer name sendb");
        std::thread::sleep(std::time::Duration::from_millis(300));
        ip(&format!("link set senda name {SENDER}"));
        ip(&format!("link set sendb name {SENSOR}"));
        ip(&format!("link set {SENDER} up"));
        ip(&format!("link set {SENSOR} up"));
        wait_for_events(&sensor, "link_back", 2);
        ip("link add sennew type veth peer name other0");
        sensor.wait_for_event("link_unwatched");
        let ended = sensor.stop(Signal::SIGINT);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let unwatched: Vec<&str> = ended
            .stderr
            .lines()
            .filter(|line| line.contains("it is not watched"))
            .collect();
        let expected = "synledger: sennew is new and -i means it, too; it is not watched: start synledger again";
        assert_eq!(unwatched, [expected]);
    });
}

#[test]
fn a_renamed_interface_is_still_watched_and_a_newcomer_of_its_old_name_is_not() {
    with_veth(|veth| {
        let sensor = Sensor::start(&["--workers", "2"]);
        ip(&format!("link set {SENSOR} down"));
        ip(&format!("link set {SENSOR} name lan0"));
        ip("link set lan0 up");
        wait_for_end("lan0");
        sensor.wait_for_event("link_renamed");
        // Another interface takes the old name.
        ip(&format!("link add other0 type veth peer name {SENSOR}"));
        ip("link set other0 up");
        ip(&format!("link set {SENSOR} up"));
        wait_for_end(SENSOR);
        // -i names the old name: the newcomer is reported, not watched.
        sensor.wait_for_event("link_unwatched");
        send(veth, 1);
        wait_for_connection(&sensor, 1);
        let ended = sensor.stop(Signal::SIGINT);
        assert_seen(&ended, 1);
        let record = of_type(&ended.eve, "new_connection").next().expect("one");
        assert_eq!(record["in_iface"], "lan0");
        let renamed = format!("synledger: {SENSOR} is now lan0; it is watched on\n");
        let unwatched =
            format!("synledger: {SENSOR} is new and -i means it, too; it is not watched");
        for line in [&renamed, &unwatched] {
            assert!(ended.stderr.contains(line), "{line}: {}", ended.stderr);
        }
        let back = |record: &&serde_json::Value| record["synledger"]["event"] == "link_back";
        assert_eq!(of_type(&ended.eve, "lifecycle").filter(back).count(), 0);
    });
}

#[test]
fn an_interface_recreated_ten_times_leaks_no_sockets_and_no_metrics() {
    with_veth(|veth| {
        ip("link set lo up");
        let sensor = Sensor::start(&["--workers", "2", "--metrics", METRICS]);
        let open_files = || {
            let files = std::fs::read_dir(format!("/proc/{}/fd", sensor.pid()));
            files.expect("it runs").count()
        };
        let before = open_files();
        send(veth, 1);
        for round in 1..=10 {
            ip(&format!("link del {SENSOR}"));
            wait_for_events(&sensor, "link_removed", round);
            create(SENSOR);
            ip(&format!("link set {SENSOR} up"));
            wait_for_link();
            wait_for_events(&sensor, "link_back", round);
            send(pair(), 1 + u32::try_from(round).expect("ten"));
        }
        sensor.wait_for("closed sockets", || open_files() <= before);
        let mut series: Vec<String> = metrics()
            .lines()
            .filter(|line| line.contains("_ring_tp_packets_total{"))
            .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
            .collect();
        let all = series.len();
        series.sort();
        series.dedup();
        assert_eq!((all, series.len()), (3, 3), "{series:?}");
        assert_seen(&sensor.stop(Signal::SIGINT), 11);
    });
}

#[test]
fn a_frame_that_passes_two_interfaces_is_one_connection() {
    with_veth(|veth| {
        let sensor = Sensor::start(&["--workers", "2", "-i", SENDER]);
        (0..100).for_each(|from| send(veth, from));
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(ended.offered(), 200, "{}", ended.stderr);
        assert_eq!(ended.number(", ", " seen at another interface"), 100);
        assert_eq!(ended.lines(": New connection: ").len(), 100);
    });
}

#[test]
fn loopback_shows_each_packet_once() {
    with_veth(|_| {
        ip("link set lo up");
        let sensor = Sensor::start(&["--workers", "2", "-i", "lo"]);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        for _ in 0..50 {
            drop(TcpStream::connect(address).expect("it listens"));
            drop(listener.accept().expect("a client"));
        }
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(ended.lines(": New connection: 127.0.0.1:").len(), 50);
        assert_eq!(ended.number(", ", " retransmitted"), 0, "{}", ended.stderr);
        assert_eq!(ended.number(", ", " established"), 50, "{}", ended.stderr);
        let local = |record: &&serde_json::Value| record["synledger"]["direction"] == "local";
        let count = of_type(&ended.eve, "new_connection").filter(local).count();
        assert_eq!(count, 50);
    });
}
