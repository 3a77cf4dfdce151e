//! softflowd beside ours, on the same captures, both to nfcapd: where its sums differ, a rule says by how much.
//!
//! - Frames without IP: neither exports them. Its count of them is that of our frames that cannot be read.
//! - Packets that are of no flow for us are flows for softflowd: errors of ICMP, and what comes after a connection's end.
//! - Bytes: those of NetFlow count from the IP header on (ours); softflowd adds the padding of short Ethernet frames.
//! - Flows: softflowd ends them by time-outs and rules of its own. Their number is printed, not compared.

use crate::common::netns::alone;
use crate::nfcapd::{Exporter, HERE, Nfcapd, PORT, books, export, programs};
use crate::{captures, program};
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

/// Our packets that are of no flow, each with the rule.
const OF_NO_FLOW: [&str; 2] = ["icmp_errors", "packets_after_end"];

/// A number that stands before these words in what softflowd prints.
fn number(printed: &str, before: &str, after: &str) -> u64 {
    let rest = printed.split_once(before).map_or("", |(_, rest)| rest);
    let word = rest.split(after).next().unwrap_or_default();
    word.trim()
        .parse()
        .unwrap_or_else(|_| panic!("no {before} in {printed}"))
}

/// Bytes of frames behind the Ethernet header, of all flows of EVE.
fn behind_ethernet(eve: &Path) -> u64 {
    const HEADER: u64 = 14;
    let text = std::fs::read_to_string(eve).expect("EVE");
    let records = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let flows = records.filter(|one: &serde_json::Value| one["event_type"] == "flow");
    let of = |flow: &serde_json::Value, name: &str| flow["flow"][name].as_u64().expect("a number");
    let each = flows.map(|one| {
        let both = ["toserver", "toclient"];
        let ways = both.map(|way| {
            of(&one, &format!("bytes_{way}")) - HEADER * of(&one, &format!("pkts_{way}"))
        });
        ways[0] + ways[1]
    });
    each.sum()
}

#[test]
fn softflowd_differs_on_twenty_captures_by_rule() {
    let (Some(programs), Some(softflowd)) = (programs(), program("softflowd", "softflowd")) else {
        return;
    };
    alone(move || {
        let dir = tempfile::tempdir().expect("a folder");
        let exporter = Exporter::new(1500);
        let (mut equal, files) = (0, captures(dir.path()));
        for (at, capture) in files.iter().enumerate() {
            let flows = dir.path().join(format!("{at}/flows"));
            let nfcapd = Nfcapd::start(&programs, &flows);
            let output = exporter
                .command(&softflowd.path)
                .env("LD_LIBRARY_PATH", softflowd.file(&crate::libraries()))
                .args(["-d", "-a", "-v", "9", "-n", &format!("{HERE}:{PORT}"), "-r"])
                .arg(capture)
                .output()
                .expect("softflowd starts");
            std::thread::sleep(Duration::from_millis(100));
            let (theirs, log) = nfcapd.end();
            let printed = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            let taken = UdpSocket::bind((HERE, 0)).expect("a port");
            let address = taken.local_addr().expect("bound");
            let output = format!("netflow9:udp://{address}");
            let ours = export(&exporter, capture, dir.path(), &output, true);
            let eve = dir.path().join("eve.json");
            let books = books(&eve);
            let count = |name: &str| books[name].as_u64().unwrap_or(0);
            let name = capture.file_name().expect("a name").display();
            let of_no_flow: u64 = OF_NO_FLOW.iter().map(|name| count(name)).sum();
            assert_eq!(theirs.packets, ours.packets + of_no_flow, "{name}: {log}");
            let unread = books["unread_frames"].as_object().expect("reasons");
            let unread: u64 = unread.values().filter_map(serde_json::Value::as_u64).sum();
            assert_eq!(
                number(&printed, "Ignored packets: ", " ("),
                unread,
                "{name}"
            );
            assert!(theirs.bytes >= ours.bytes, "{name}: {theirs:?} {ours:?}");
            if of_no_flow == 0 {
                assert_eq!(theirs.bytes, behind_ethernet(&eve), "{name}");
            }
            equal += u32::from(theirs == ours);
            if theirs != ours {
                eprintln!(
                    "{name}: softflowd has {:+} packets, {:+} bytes, {:+} flows; ours: {ours:?}",
                    theirs.packets.cast_signed() - ours.packets.cast_signed(),
                    theirs.bytes.cast_signed() - ours.bytes.cast_signed(),
                    theirs.flows.cast_signed() - ours.flows.cast_signed(),
                );
            }
        }
        eprintln!(
            "softflowd: {equal} of {} captures equal, the others by rule",
            files.len()
        );
    });
}
