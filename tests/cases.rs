//! Small captures that are hard at the edges of files, interfaces and time.
//!
//! The shared ones (SYNLEDGER_CASES names another folder) have known right values; crafted siblings of both families
//! are read with every number of workers.

mod common;

use common::said::{
    SECOND, START_NS, Said, WHOLE, both_orders, conversation, read, read_once, write,
};
use common::synledger;
use craft::{Capture, Flow, Link, LinkType};
use std::path::PathBuf;

/// The folder of the shared cases, if there is one.
fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("SYNLEDGER_CASES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/cases"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        eprintln!("skipped: no cases at {}", folder.display());
        return None;
    }
    Some(folder)
}

/// Shared cases by name; `None` where there are none.
fn cases<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    let folder = folder()?;
    Some(names.map(|name| folder.join(name)))
}

#[test]
fn every_shared_case_has_a_test_here() {
    let Some(folder) = folder() else {
        return;
    };
    let entries = std::fs::read_dir(folder).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.into_string().expect("UTF-8"))
        .collect();
    names.retain(|name| name != "README.md");
    let without = |name: &&String| !include_str!("cases.rs").contains(&format!("\"{name}\""));
    let without: Vec<_> = names.iter().filter(without).collect();
    assert!(without.is_empty() && !names.is_empty(), "{without:?}");
}

fn assert_one_conversation(said: &Said) {
    assert_eq!(said.flows(), [WHOLE], "{}", said.stderr);
    let counts = ["new_connections", "answered_connections"].map(|name| said.count(name));
    assert_eq!(counts, [1, 1], "{}", said.stderr);
    assert_eq!(said.count("packets_other_interface"), 0);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

#[test]
fn a_capture_that_was_cut_into_files_is_one_stream_in_whichever_order_they_are_named() {
    let Some(files) = cases(["rotated_1.pcap", "rotated_2.pcap"]) else {
        return;
    };
    for order in both_orders(files) {
        assert_one_conversation(&read(&[], &order));
    }
}

#[test]
fn the_interfaces_of_a_tap_are_two() {
    let Some(files) = cases(["tap_pair.pcapng"]) else {
        return;
    };
    let said = read(&[], &files);
    assert!(
        said.flows().contains(&WHOLE.to_owned()),
        "{:?}",
        said.flows()
    );
    assert_eq!(said.count("refused_connections"), 5);
}

#[test]
fn the_interface_index_of_a_cooked_capture_counts() {
    let Some(files) = cases(["any_sll2_two_interfaces.pcap"]) else {
        return;
    };
    let said = read(&[], &files);
    assert_eq!(said.flows(), [WHOLE]);
    assert_eq!(said.count("syn_retransmitted"), 0);
    assert_eq!(said.count("syn_other_interface"), 1, "{}", said.last);
}

#[test]
fn an_answer_may_come_before_its_syn() {
    let Some(files) = cases(["synack_before_syn.pcap"]) else {
        return;
    };
    let said = read(&[], &files);
    assert_one_conversation(&said);
    assert_eq!(said.count("packets_early"), 1);
}

/// What the client acknowledges is what was seen of the server: its SYN+ACK's data, its banner, on each side of a
/// firewall its own number.
#[test]
fn a_client_that_acknowledges_what_was_seen_is_established() {
    for (name, flows) in [
        ("synack_with_data.pcap", &["S1 3 1 1 6"][..]),
        ("first_ack_covers_banner.pcap", &["S1 2 11 3 11"]),
        (
            "isn_rewriting_firewall_two_sides.pcap",
            &["S1 3 10 1 0", "S1 3 10 1 0"],
        ),
    ] {
        let Some(files) = cases([name]) else {
            return;
        };
        let said = read(&[], &files);
        assert_eq!(said.flows(), flows, "{name}: {}", said.stderr);
        for count in [
            "new_connections",
            "answered_connections",
            "established_connections",
        ] {
            assert_eq!(said.count(count), flows.len() as u64, "{name}: {count}");
        }
    }
}

#[test]
fn the_end_of_a_connection_that_comes_again_opens_no_flow() {
    let Some(files) = cases(["fin_again_after_linger.pcap"]) else {
        return;
    };
    let said = read(&[], &files);
    assert_one_conversation(&said);
    assert_eq!(said.count("midstream_flows"), 0);
    assert_eq!(said.count("packets_after_end"), 2);
}

#[test]
fn tags_before_plain_ip_hide_no_syn() {
    let Some(files) = cases(["tags_not_followed.pcap"]) else {
        return;
    };
    let said = read(&["--strict"], &files);
    assert_eq!(said.flows(), ["S0 1 0 0 0"; 4]);
    assert_eq!(said.count("new_connections"), 4);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

/// Its attributes are not aligned: no reader finds the packet.
#[test]
fn a_log_of_netfilter_that_is_damaged_names_its_link_type() {
    let Some(files) = cases(["nflog.pcap"]) else {
        return;
    };
    let said = read(&[], &files);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    let why = "none of its frames (1) could be read: the headers of link type 239 (NFLOG) are cut or damaged\n";
    assert!(said.stderr.ends_with(why), "{}", said.stderr);
}

#[test]
fn stamps_in_the_wrong_order_are_sorted() {
    let Some(files) = cases(["synack_before_syn_in_file_only.pcap"]) else {
        return;
    };
    let said = read(&[], &files);
    assert_one_conversation(&said);
    assert_eq!(said.count("frames_reordered"), 1);
    assert_eq!(said.count("late_packets"), 0);
    let told = "1 frame put in the order of time\n";
    assert!(said.stderr.contains(told), "{}", said.stderr);
    let said = read(&["--reorder", "0"], &files);
    assert_eq!(said.count("frames_reordered"), 0);
    assert_eq!(said.count("late_packets"), 1);
}

#[test]
fn one_stamp_in_2106_changes_nothing_else() {
    let Some(files) = cases(["one_stamp_in_2106.pcap"]) else {
        return;
    };
    let said = read(&[], &files);
    let names = [
        "new_connections",
        "stamps_outlying",
        "clock_restarts",
        "late_packets",
    ];
    let counts = names.map(|name| said.count(name));
    assert_eq!(counts, [4, 1, 0, 0], "{}", said.stderr);
    assert!(
        said.stderr.contains(", 3 unanswered, 1 without outcome"),
        "{}",
        said.stderr
    );
    let told = "1 time stamp off by over ten minutes: the frame";
    assert!(said.stderr.contains(told), "{}", said.stderr);
}

#[test]
fn a_conversation_cut_at_any_frame_is_one_flow_in_files_of_both_formats() {
    let dir = tempfile::tempdir().expect("a folder");
    for v6 in [false, true] {
        let capture = conversation(v6, START_NS);
        for cut in 0..=capture.frames.len() {
            for end in ["pcap", "pcapng"] {
                let head = write(dir.path(), &format!("b.{end}"), &capture, |at| at < cut);
                let tail = write(dir.path(), &format!("a.{end}"), &capture, |at| at >= cut);
                for order in both_orders([head, tail]) {
                    let said = read_once(&[], &order);
                    assert_eq!(said.flows(), [WHOLE], "cut at {cut}: {}", said.stderr);
                }
            }
        }
    }
}

#[test]
fn files_of_the_directions_of_a_tap_are_merged_by_time() {
    let dir = tempfile::tempdir().expect("a folder");
    for v6 in [false, true] {
        let mut capture = conversation(v6, START_NS);
        let again = conversation(v6, START_NS + 3_600 * SECOND);
        capture.frames.extend(again.frames);
        let is_up = |at: usize| [0, 2, 3, 5, 7].contains(&(at % 8));
        // Rotated between the conversations, too.
        let files = [
            write(dir.path(), "up_1", &capture, |at| is_up(at) && at < 8),
            write(dir.path(), "down_1", &capture, |at| !is_up(at) && at < 8),
            write(dir.path(), "up_2", &capture, |at| is_up(at) && at >= 8),
            write(dir.path(), "down_2", &capture, |at| !is_up(at) && at >= 8),
        ];
        let said = read(&[], &files);
        assert_eq!(said.flows(), [WHOLE, WHOLE], "{}", said.stderr);
        let same: Vec<_> = files.iter().rev().cloned().collect();
        assert_eq!(read(&[], &same).log, said.log);
    }
}

/// Cut where many more frames are seen within a moment than wait to be sorted.
#[test]
fn the_files_of_a_busy_tap_follow_one_another_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut capture = conversation(false, START_NS);
    let first = capture.frames.clone();
    for n in 0..6_000 {
        for (at, frame) in (0..).zip(&first) {
            let mut bytes = frame.bytes.clone();
            // The client's port.
            let port = if [1, 4, 6].contains(&at) { 36 } else { 34 };
            bytes[port..port + 2].copy_from_slice(&u16::to_be_bytes(6_000 + n));
            let ts_ns = START_NS + SECOND + i64::from(n) * 2_000 + at * 100;
            capture.push(ts_ns, bytes);
        }
    }
    capture.sort();
    let is_up = |at: usize| ![1, 4, 6].contains(&(at % 8));
    let [first, second] = [8 * 2_000, 8 * 3_000 + 4];
    let files = [
        write(dir.path(), "up_1", &capture, |at| is_up(at) && at < second),
        write(dir.path(), "up_2", &capture, |at| is_up(at) && at >= second),
        write(dir.path(), "down_1", &capture, |at| {
            !is_up(at) && at < first
        }),
        write(dir.path(), "down_2", &capture, |at| {
            !is_up(at) && at >= first
        }),
    ];
    let said = read_once(&[], &files);
    let flows = said.flows();
    assert_eq!(flows.iter().filter(|flow| *flow == WHOLE).count(), 6_001);
    assert_eq!(flows.len(), 6_001, "{}", said.stderr);
    assert_eq!(said.count("late_packets"), 0, "{}", said.stderr);
}

/// Five hundred files of one frame each, and a lane each where they overlap: more than are ever open.
#[test]
fn hundreds_of_files_are_read_one_after_the_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut whole = conversation(false, START_NS);
    for n in 1..500 {
        let mut one = conversation(false, START_NS + n * 200 * SECOND);
        whole.frames.append(&mut one.frames);
    }
    let files: Vec<PathBuf> = (0..500)
        .map(|n| {
            // Cut between the second and the third frame of each conversation.
            let mine = |at: usize| (at + 6) / 8 == n;
            write(dir.path(), &format!("cap{n}"), &whole, mine)
        })
        .collect();
    let said = read_once(&[], &files);
    let flows = said.flows();
    assert_eq!(flows.iter().filter(|flow| *flow == WHOLE).count(), 499);
    assert_eq!(said.count("packets_other_interface"), 0);
}

#[test]
fn more_files_than_are_merged_at_once_are_all_read_and_it_is_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let files: Vec<PathBuf> = (0..20_u8)
        .map(|n| {
            let mut capture = Capture::new("overlap", LinkType::Ethernet);
            for port in 0..5 {
                let flow = Flow::v4([10, 0, 0, n], 1000, [198, 51, 100, 7], 80 + port);
                let frame = Link::ethernet().frame(&common::syn(flow, 7));
                capture.push(START_NS + i64::from(port) * SECOND + i64::from(n), frame);
            }
            write(dir.path(), &format!("tap{n}"), &capture, |_| true)
        })
        .collect();
    let said = read(&[], &files);
    assert_eq!(said.count("new_connections"), 100);
    assert!(
        said.stderr.contains("16 captures overlap in time"),
        "{}",
        said.stderr
    );
    // The seventeenth begins behind the others.
    let mut few = files[..16].to_vec();
    few.push(write(
        dir.path(),
        "later",
        &conversation(false, START_NS + 60 * SECOND),
        |_| true,
    ));
    let said = read(&[], &few);
    assert!(!said.stderr.contains("overlap in time"), "{}", said.stderr);
    assert_eq!(said.count("late_packets"), 0);
}

#[test]
fn files_that_cannot_be_read_cost_no_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let capture = conversation(false, START_NS);
    let head = write(dir.path(), "head", &capture, |at| at < 3);
    let tail = write(dir.path(), "tail", &capture, |at| at >= 3);
    let empty = dir.path().join("empty");
    std::fs::write(&empty, b"").expect("a file");
    let missing = dir.path().join("missing");
    let bare = write(dir.path(), "bare", &capture, |_| false);
    let files = [tail, empty, bare, missing, head];
    let said = read_once(&[], &files);
    assert_eq!(said.flows(), [WHOLE]);
    assert_eq!(said.code, Some(1));
    for part in ["empty: the file is empty", "missing: no such file"] {
        assert!(said.stderr.contains(part), "{}", said.stderr);
    }
}

#[test]
fn sections_that_name_the_same_interface_have_one() {
    let dir = tempfile::tempdir().expect("a folder");
    for v6 in [false, true] {
        let capture = conversation(v6, START_NS);
        // A section a frame, as where a capture is appended to again and again.
        let sections = (0..8).map(|one| {
            let section = write(dir.path(), "section.pcapng", &capture, |at| at == one);
            std::fs::read(section).expect("a section")
        });
        let file = dir.path().join("sections.pcapng");
        std::fs::write(&file, sections.collect::<Vec<_>>().concat()).expect("a file");
        assert_one_conversation(&read(&[], &[file]));
        // Every frame twice: at eth0, and 4 us later at eth1.
        let mut twice = Capture::new("router", LinkType::Ethernet);
        for frame in &capture.frames {
            twice.push_on(0, frame.ts_ns, frame.bytes.clone());
            twice.push_on(1, frame.ts_ns + 4_000, frame.bytes.clone());
        }
        let said = read(&[], &[write(dir.path(), "router.pcapng", &twice, |_| true)]);
        assert_eq!(said.flows(), [WHOLE]);
        assert_eq!(said.count("syn_retransmitted"), 0);
    }
}

#[test]
fn a_stream_keeps_its_place_among_the_files() {
    let dir = tempfile::tempdir().expect("a folder");
    let capture = conversation(false, START_NS);
    let part = |name: &str, of: std::ops::Range<usize>| {
        write(dir.path(), name, &capture, |at| of.contains(&at))
    };
    let files = [
        part("c", 2..3),
        part("a", 0..2),
        part("d", 5..8),
        part("b", 3..5),
    ];
    let [c, a, d, b] = &files;
    // The files before the stream are sorted, and so are those behind it.
    let stream = part("stream", 3..4);
    let rest = part("rest", 4..5);
    for (stream, others) in [(b, [c, a, d].as_slice()), (&stream, &[c, a, d, &rest])] {
        let output = synledger()
            .args(["read", "--output", "text:-,events=flow"])
            .args([&others[0], &others[1]])
            .arg("-")
            .args(&others[2..])
            .stdin(std::fs::File::open(stream).expect("it is there"))
            .output()
            .expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(
            stderr.contains("8 packets, 0 frames not decoded"),
            "{stderr}"
        );
        assert!(stderr.contains("\n1 flow ended"), "{stderr}");
        assert!(stderr.contains(" 0 seen at another interface"), "{stderr}");
    }
}
