//! nfcapd behind a link that loses datagrams, after it was away, and where it counts otherwise than RFC 7011.

use crate::common::netns::{alone, ip};
use crate::common::synledger;
use crate::nfcapd::{Carried, Exporter, HERE, Nfcapd, PORT, export, programs, sums_of_eve};
use crate::{Program, captures, program, wait_for};
use craft::{ACK, Flow, Ip, Link, RST, SYN, Tcp};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use packet::TxSocket;
use serde_json::Value;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Of so many datagrams to the collector one is dropped: the fourth, the eleventh and so on. The templates come before.
const EVERY: u64 = 7;
const FOURTH: u64 = 3;

/// Runs nft in the calling thread's namespace.
fn run(nft: &Program, words: &str) -> String {
    let output = nft.command().args(words.split(' ')).output();
    let output = output.expect("nft starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {words}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// From now on the link loses datagrams to the collector. A kernel may lack netem; every kernel for tests has nftables.
fn lose(nft: &Program) {
    run(nft, "flush ruleset");
    run(nft, "add table inet lossy");
    let chain = "add chain inet lossy in { type filter hook input priority 0 ; }";
    run(nft, chain);
    run(
        nft,
        &format!("add rule inet lossy in udp dport {PORT} counter"),
    );
    run(
        nft,
        &format!(
            "add rule inet lossy in udp dport {PORT} numgen inc mod {EVERY} {FOURTH} counter drop"
        ),
    );
}

/// Datagrams that came to the link, and that it lost.
fn counted(nft: &Program) -> (u64, u64) {
    let rules: Value = serde_json::from_str(&run(nft, "-j list ruleset")).expect("JSON");
    let mut packets = Vec::new();
    for entry in rules["nftables"].as_array().expect("entries") {
        for part in entry["rule"]["expr"].as_array().into_iter().flatten() {
            packets.extend(part["counter"]["packets"].as_u64());
        }
    }
    (packets[0], packets[1])
}

#[test]
fn of_a_lossy_link_nfcapd_misses_what_was_dropped_and_the_books_close() {
    let (Some(programs), Some(nft)) = (programs(), program("nftables", "nft")) else {
        return;
    };
    alone(move || {
        let dir = tempfile::tempdir().expect("a folder");
        let exporter = Exporter::new(576);
        let capture = &captures(dir.path())[0];
        for (format, halves) in [("ipfix", false), ("netflow9", true)] {
            lose(&nft);
            let flows = dir.path().join(format!("{format}/flows"));
            let nfcapd = Nfcapd::start(&programs, &flows);
            let output = format!("{format}:udp://{HERE}:{PORT}");
            let ours = export(&exporter, capture, dir.path(), &output, halves);
            std::thread::sleep(Duration::from_millis(100));
            let (theirs, log) = nfcapd.end();
            let (sent, dropped) = counted(&nft);
            assert!(dropped > 2, "{dropped} of {sent} datagrams dropped");
            // Nothing comes after the last datagram: its loss is a gap to nobody.
            let gaps = dropped - u64::from((sent - 1) % EVERY == FOURTH);
            let errors = format!("Sequence Errors: {gaps}, Bad Packets: 0");
            assert!(log.contains(&errors), "{errors}: {log}");
            assert!(theirs.flows < ours.flows, "{theirs:?} of {ours:?}");
            eprintln!(
                "{format}: {dropped} of {sent} datagrams lost: nfcapd counts {gaps} gaps, and has {} of {} flows",
                theirs.flows, ours.flows
            );
        }
    });
}

/// Connections in each part of the test with a collector that is away.
const PART: u32 = 200;
/// So long it is away.
const AWAY: Duration = Duration::from_secs(10);

/// A socket of the exporter's namespace that sends to what the sensor there watches.
fn sender(exporter: &Exporter) -> TxSocket {
    for words in [
        "link add sender type veth peer name sensor",
        "link set sender up",
        "link set sensor up",
    ] {
        let status = exporter.command("ip").args(words.split(' ')).status();
        assert!(status.expect("nsenter starts").success(), "{words}");
    }
    let space = format!("/proc/{}/ns/net", exporter.pid());
    let opened = std::thread::spawn(move || {
        let space = std::fs::File::open(space).expect("a namespace");
        setns(space, CloneFlags::CLONE_NEWNET).expect("root may enter");
        // The kernel's own frames of IPv6 would be flows, too.
        for end in ["sender", "sensor"] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1");
        }
        let index = nix::net::if_::if_nametoindex("sender").expect("it was just made");
        TxSocket::open(index).expect("root may send")
    });
    opened.join().expect("a socket")
}

/// Sends refused connections with these numbers: each is a flow that ends at once.
fn refused(sender: &TxSocket, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let [_, b, c, d] = number.to_be_bytes();
        let flow = Flow::v4([10, b, c, d], 1024, [198, 51, 100, 7], 443);
        let syn = Tcp::new(flow, SYN, number);
        let back = flow.reversed();
        let reset = Tcp::new(back, RST | ACK, 0).ack(number + 1);
        for (flow, segment) in [(flow, syn), (back, reset)] {
            let packet = Ip::new(flow.src, flow.dst, 6).bytes(&segment.bytes());
            let frame = Link::ethernet().frame(&packet);
            sender.send(&frame).expect("the link is up");
        }
    }
}

/// Waits until EVE has so many flows.
fn wait_for_flows(eve: &Path, count: u32) {
    wait_for(&format!("{count} flows"), || {
        let text = std::fs::read_to_string(eve).unwrap_or_default();
        text.matches("\"event_type\":\"flow\"").count() == count as usize
    });
}

#[test]
fn nfcapd_away_for_ten_seconds_misses_only_what_was_sent_before_the_answer_that_it_is_away() {
    let Some(programs) = programs() else {
        return;
    };
    alone(move || {
        let dir = tempfile::tempdir().expect("a folder");
        let exporter = Exporter::new(1500);
        let sender = sender(&exporter);
        let eve = dir.path().join("eve.json");
        let [one, two] = ["one/flows", "two/flows"].map(|name| dir.path().join(name));
        let first = Nfcapd::start(&programs, &one);
        let mut sensor = exporter
            .command(synledger().get_program())
            .args(["run", "--no-config", "-q", "-i", "sensor", "--workers", "1"])
            .args(["--ring-mib", "8", "--memory-mib", "128"])
            .args(["--output", &format!("ipfix:udp://{HERE}:{PORT}")])
            .args([
                "--output",
                &format!("eve:{},events=flow+stats+lifecycle", eve.display()),
            ])
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        wait_for("start", || {
            let text = std::fs::read_to_string(&eve).unwrap_or_default();
            text.contains("\"event\":\"start\"")
        });
        refused(&sender, 0..PART);
        wait_for_flows(&eve, PART);
        std::thread::sleep(Duration::from_millis(500));
        let (before, log) = first.end();
        assert_eq!(before.flows, u64::from(PART), "{log}");
        // One flow that nobody gets: the answer to it says that nobody listens.
        refused(&sender, PART..PART + 1);
        wait_for_flows(&eve, PART + 1);
        std::thread::sleep(Duration::from_secs(1));
        refused(&sender, PART + 1..2 * PART);
        std::thread::sleep(AWAY);
        let second = Nfcapd::start(&programs, &two);
        refused(&sender, 2 * PART..3 * PART);
        wait_for_flows(&eve, 3 * PART);
        // It is tried once a second.
        std::thread::sleep(Duration::from_secs(3));
        let pid = i32::try_from(sensor.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
        let status = sensor.wait().expect("it ends");
        std::thread::sleep(Duration::from_millis(100));
        let (after, log) = second.end();
        let text = std::fs::read_to_string(&eve).expect("EVE");
        let last = text.lines().last().expect("a last record");
        let books = Carried::of(&serde_json::from_str(last).expect("JSON"));
        let all = sums_of_eve(&text, false);
        assert_eq!(all.flows, 3 * u64::from(PART));
        assert!(status.code().is_some_and(|code| code <= 1), "{status}");
        assert_eq!(books.lost, 0, "what waits finds room");
        let missing = all.flows - before.flows - after.flows;
        assert!(missing <= 1, "{missing} flows are nowhere: {log}");
        assert_eq!(all.packets, 2 * all.flows);
        eprintln!(
            "nfcapd has {} flows, was away for {AWAY:?}, then has {} more; {missing} sent to nobody",
            before.flows, after.flows
        );
    });
}

/// A message of IPFIX with this sequence number and these sets.
fn message(sequence: u32, sets: &[u8]) -> Vec<u8> {
    let len = u16::try_from(16 + sets.len()).expect("short");
    let mut all = Vec::new();
    for part in [&10_u16.to_be_bytes()[..], &len.to_be_bytes()] {
        all.extend_from_slice(part);
    }
    for number in [1_700_000_000, sequence, 0_u32] {
        all.extend_from_slice(&number.to_be_bytes());
    }
    all.extend_from_slice(sets);
    all
}

/// A set of these 16-bit numbers.
fn set(id: u16, numbers: &[u16]) -> Vec<u8> {
    let len = u16::try_from(4 + 2 * numbers.len()).expect("short");
    let all = [id, len].into_iter().chain(numbers.iter().copied());
    all.flat_map(u16::to_be_bytes).collect()
}

/// RFC 7011, 3.1: the sequence number counts all Data Records, and a record of options is one (2: "Data Record"). nfcapd
/// counts records of flows alone (`Process_ipfix_data` of its `ipfix.c`, but not `Process_ipfix_option_data`). So it counts one
/// sequence error at the message after each record of options, of an exporter that counts as the RFC says, as ours.
#[test]
fn nfcapd_does_not_count_records_of_options_which_rfc_7011_counts() {
    let Some(programs) = programs() else {
        return;
    };
    alone(move || {
        ip("link set lo up");
        ip(&format!("addr add {HERE}/32 dev lo"));
        let dir = tempfile::tempdir().expect("a folder");
        // sourceIPv4Address, destinationIPv4Address, packetDeltaCount, octetDeltaCount; of options observationDomainId as
        // scope, and exportedFlowRecordTotalCount.
        let mut templates = set(2, &[256, 4, 8, 4, 12, 4, 2, 4, 1, 4]);
        templates.extend(set(3, &[257, 2, 1, 149, 4, 42, 8]));
        let flow = set(256, &[0xc000, 0x0201, 0xc000, 0x0202, 0, 1, 0, 40]);
        let options = set(257, &[0, 0, 0, 0, 0, 1]);
        for (counted, errors) in [(true, 1), (false, 0)] {
            let folder = dir.path().join(format!("{counted}/flows"));
            let nfcapd = Nfcapd::start(&programs, &folder);
            let socket = UdpSocket::bind((HERE, 0)).expect("a port");
            let next = 1 + u32::from(counted);
            for one in [
                message(0, &templates),
                message(0, &flow),
                message(1, &options),
                message(next, &flow),
                message(next + 1, &flow),
            ] {
                socket
                    .send_to(&one, format!("{HERE}:{PORT}"))
                    .expect("lo is up");
            }
            std::thread::sleep(Duration::from_millis(200));
            let (theirs, log) = nfcapd.end();
            assert_eq!(theirs.flows, 3, "{log}");
            let said = format!("Sequence Errors: {errors}, Bad Packets: 0");
            assert!(log.contains(&said), "options counted: {counted}: {log}");
        }
    });
}
