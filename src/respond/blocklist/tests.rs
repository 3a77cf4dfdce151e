use super::*;
use crate::books::responder::Refusal;
use crate::host::addresses::Localities;
use crate::inspect::detection::{AlertStatus, Detection, Phase, Subject};
use crate::log::formats::samples::{self, TS_NS};
use crate::respond::parse_output;
use std::fs;
use std::sync::RwLock;

const S: i64 = 1_000_000_000;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn plan(path: &Path, options: &str) -> BlocklistPlan {
    BlocklistPlan::read(&format!("{}{options}", path.display())).expect("good")
}

fn list(path: &Path, options: &str) -> Blocklist {
    plan(path, options).start("edge", 1).expect("it starts")
}

/// This host is 198.51.100.1, its router 198.51.100.254; 203.0.113.0/24 is allowed.
fn guard() -> Guard {
    let ours = Localities::live([ip("198.51.100.1")], &[]);
    let around = super::super::guard::Surroundings::of([ip("198.51.100.254")]);
    Guard::allowing(
        &Arc::new(RwLock::new(Arc::new(ours))),
        &Arc::new(RwLock::new(Arc::new(around))),
        ["203.0.113.0/24".parse().expect("a network")],
    )
}

/// A scan of ports 80 to 83, which ended this many seconds after [`TS_NS`] with a handshake.
fn scan(src: IpAddr, at_s: i64) -> Detection {
    let ts_ns = TS_NS + at_s * S;
    Detection {
        ts_ns,
        subject: Subject::Pair {
            src,
            dst: ip("198.51.100.1"),
        },
        proof: Proof::Handshake,
        verdict: Some(Verdict::Scan),
        first_ns: ts_ns - 2 * S,
        last_ns: ts_ns,
        ..samples::scan(Phase::Started, vec![(80, 83)], 4)
    }
}

fn tell(list: &mut Blocklist, detection: &Detection) {
    let due = LogTime::packet(detection.ts_ns);
    list.on_detection(
        &TimedDetection {
            detection,
            due,
            shift_ns: 0,
        },
        &guard(),
    );
    close(list);
}

fn close(list: &Blocklist) {
    let counts = list.counts();
    let refused: u64 = counts.refused.iter().sum();
    assert_eq!(counts.detections, counts.accepted + refused);
    let left = counts.expired + counts.displaced + counts.withdrawn;
    assert_eq!(counts.added, counts.listed + left);
    assert_eq!(list.by_end.len(), list.sources.len());
}

fn at(at_s: i64) -> LogTime {
    LogTime::packet(TS_NS + at_s * S)
}

#[test]
fn a_source_has_a_line_with_what_it_did() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("list");
    let mut list = list(&path, "");
    tell(&mut list, &scan(ip("2001:db8::56"), 0));
    tell(&mut list, &scan(ip("192.0.2.56"), 0));
    let more = Detection {
        subject: Subject::SourcePort {
            src: ip("::ffff:192.0.2.56"),
            port: 22,
            dst: ip("198.51.100.2"),
        },
        proof: Proof::Handshake,
        verdict: Some(Verdict::Scan),
        ts_ns: TS_NS + 10 * S,
        last_ns: TS_NS + 9 * S,
        ..samples::sweep(Phase::Started, 25)
    };
    tell(&mut list, &more);
    list.finish(at(10), 0);
    let text = fs::read_to_string(&path).expect("a file");
    let expected = format!(
        "# synledger {} on edge: 2 sources, as of 2021-04-28T15:28:15Z
# Replaced as a whole. One address a line; behind it what it did: kinds, when it was seen first and last,
# ports, hosts (at least), what proves its address, when it leaves the list, how many detections.
192.0.2.56 # kind=port_scan,host_sweep first=2021-04-28T15:28:03Z last=2021-04-28T15:28:14Z ports=22,80-83 hosts=25 \
proof=handshake expires=2021-04-28T16:28:14Z events=2
2001:db8::56 # kind=port_scan first=2021-04-28T15:28:03Z last=2021-04-28T15:28:05Z ports=80-83 hosts=1 \
proof=handshake expires=2021-04-28T16:28:05Z events=1
",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(text, expected);
}

#[test]
fn without_comments_there_are_addresses_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("list");
    let mut list = list(&path, ",comments=off");
    list.finish(at(0), 0);
    assert_eq!(fs::read_to_string(&path).expect("a file"), "");
    tell(&mut list, &scan(ip("2001:db8::56"), 0));
    tell(&mut list, &scan(ip("192.0.2.56"), 0));
    list.finish(at(0), 0);
    let text = fs::read_to_string(&path).expect("a file");
    assert_eq!(text, "192.0.2.56\n2001:db8::56\n");
}

#[test]
fn what_is_refused_is_counted_by_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut list = list(&dir.path().join("list"), "");
    let other = scan(ip("192.0.2.1"), 0);
    let with = |proof, status| Detection {
        proof,
        status,
        ..other.clone()
    };
    for (detection, why) in [
        (scan(ip("198.51.100.1"), 0), Refusal::Guarded),
        (scan(ip("198.51.100.254"), 0), Refusal::Guarded),
        (scan(ip("203.0.113.9"), 0), Refusal::Allowed),
        (
            with(Proof::Handshake, AlertStatus::Allowed),
            Refusal::Allowed,
        ),
        (
            with(Proof::Handshake, AlertStatus::OutOfScope),
            Refusal::OutOfScope,
        ),
        (with(Proof::None, AlertStatus::Alert), Refusal::Unproven),
        (with(Proof::Answered, AlertStatus::Alert), Refusal::Unproven),
    ] {
        let before = list.counts().refused;
        tell(&mut list, &detection);
        let now = list.counts().refused;
        assert_eq!(now[why.index()], before[why.index()] + 1, "{detection:?}");
    }
    assert_eq!((list.counts().listed, list.counts().waiting), (0, 0));
    tell(&mut list, &other);
    assert_eq!(list.counts().listed, 1);
}

#[test]
fn a_better_proof_lets_a_source_in_and_less_is_believed_where_that_is_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    for (option, listed) in [
        ("", [false, false, true]),
        (",proof=handshake", [false, false, true]),
        (",proof=answered", [false, true, true]),
        (",proof=none", [true, true, true]),
    ] {
        let mut list = list(&dir.path().join("list"), option);
        for (proof, listed) in Proof::ALL.into_iter().zip(listed) {
            let found = Detection {
                proof,
                ..scan(ip("192.0.2.1"), 0)
            };
            tell(&mut list, &found);
            assert_eq!(list.counts().listed, u64::from(listed), "{option} {proof}");
        }
    }
}

#[test]
fn only_what_is_sure_to_be_a_scan_is_listed_unless_less_is_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    for (option, listed) in [
        ("", [false, false, true]),
        (",verdict=scan", [false, false, true]),
        (",verdict=suspicious", [false, true, true]),
        (",verdict=unproven", [true, true, true]),
    ] {
        let mut list = list(&dir.path().join("list"), option);
        for (verdict, listed) in Verdict::ALL.into_iter().zip(listed) {
            let found = Detection {
                verdict: Some(verdict),
                ..scan(ip("192.0.2.1"), 0)
            };
            tell(&mut list, &found);
            let counts = list.counts();
            assert_eq!(counts.listed, u64::from(listed), "{option} {verdict}");
        }
        let refused = listed.iter().filter(|listed| !**listed).count() as u64;
        let counted = list.counts().refused[Refusal::BelowVerdict.index()];
        assert_eq!(counted, refused, "{option}");
    }
}

#[test]
fn entries_end_by_themselves_and_only_proven_detections_keep_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("list");
    let mut list = list(&path, ",expire=10s,comments=off");
    let [one, other] = ["192.0.2.1", "192.0.2.2"].map(ip);
    let content = |list: &mut Blocklist, at_s: i64| {
        list.tick(at(at_s), at_s * S);
        close(list);
        fs::read_to_string(&path).expect("a file")
    };
    tell(&mut list, &scan(one, 0));
    tell(&mut list, &scan(other, 0));
    assert_eq!(content(&mut list, 0), "192.0.2.1\n192.0.2.2\n");
    let spoofed = Detection {
        proof: Proof::None,
        ..scan(one, 5)
    };
    tell(&mut list, &spoofed);
    tell(&mut list, &scan(other, 5));
    assert_eq!(content(&mut list, 9), "192.0.2.1\n192.0.2.2\n");
    assert_eq!(content(&mut list, 10), "192.0.2.2\n");
    assert_eq!(content(&mut list, 15), "", "an empty list stays a file");
    let counts = list.counts();
    assert_eq!((counts.expired, counts.listed, counts.applied), (2, 0, 0));
    // Seen again, it is as new.
    tell(&mut list, &scan(one, 20));
    assert_eq!(list.sources[&one].events(), 1);
}

#[test]
fn the_wall_clock_is_written_and_run_time_decides() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("list");
    let mut list = list(&path, ",expire=10s");
    let found = scan(ip("192.0.2.1"), 0);
    // Somebody has set the clock forward by a day.
    let day_ns = 86_400 * S;
    let moment = |at_s: i64| LogTime {
        run_ns: TS_NS + at_s * S,
        wall_ns: TS_NS + at_s * S + day_ns,
    };
    list.on_detection(
        &TimedDetection {
            detection: &found,
            due: moment(0),
            shift_ns: day_ns,
        },
        &guard(),
    );
    list.tick(moment(9), 0);
    let text = fs::read_to_string(&path).expect("a file");
    assert!(text.contains(" expires=2021-04-29T15:28:15Z "), "{text}");
    list.tick(moment(10), 2 * S);
    assert_eq!(list.counts().expired, 1);
}

#[test]
fn live_it_is_written_when_it_changes_at_most_once_a_second() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut list = list(&dir.path().join("list"), "");
    let writes_at = |list: &mut Blocklist, now_ms: i64| {
        list.tick(at(0), now_ms * 1_000_000);
        list.counts().writes
    };
    assert_eq!(writes_at(&mut list, 0), 1, "an empty one at the start");
    tell(&mut list, &scan(ip("192.0.2.1"), 0));
    assert_eq!(writes_at(&mut list, 999), 1);
    assert_eq!(writes_at(&mut list, 1000), 2);
    assert_eq!(writes_at(&mut list, 5000), 2, "nothing has changed");
    tell(&mut list, &scan(ip("192.0.2.1"), 1));
    assert_eq!(writes_at(&mut list, 5000), 3);
    assert_eq!(list.counts().waiting, 0);
}

#[test]
fn the_oldest_leave_a_full_list() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("list");
    let mut list = list(&path, ",max=65536,comments=off");
    let source = |number: u32| IpAddr::from((0x0b00_0000 + number).to_be_bytes());
    let all = 65_536 + 1000;
    for number in 0..all {
        let found = scan(source(number), 0);
        let told = TimedDetection {
            detection: &Detection {
                last_ns: TS_NS + i64::from(number),
                ..found
            },
            due: at(0),
            shift_ns: 0,
        };
        list.on_detection(&told, &guard());
    }
    close(&list);
    list.finish(at(0), 0);
    let text = fs::read_to_string(&path).expect("a file");
    assert_eq!(text.lines().count(), 65_536);
    assert!(text.starts_with(&format!("{}\n", source(1000))));
    let counts = list.counts();
    assert_eq!((counts.displaced, counts.listed), (1000, 65_536));
}

#[test]
fn whoever_becomes_a_gateway_leaves_the_list() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut list = list(&dir.path().join("list"), "");
    let found = scan(ip("198.51.100.254"), 0);
    let told = TimedDetection {
        detection: &found,
        due: at(0),
        shift_ns: 0,
    };
    let none = Guard::allowing(&Arc::default(), &Arc::default(), []);
    list.on_detection(&told, &none);
    tell(&mut list, &scan(ip("192.0.2.1"), 0));
    list.on_guard(&guard());
    close(&list);
    let counts = list.counts();
    assert_eq!((counts.withdrawn, counts.listed), (1, 1));
}

#[test]
fn a_write_that_fails_is_counted_said_once_and_made_up_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("run");
    fs::create_dir(&folder).expect("a folder");
    let path = folder.join("list");
    let mut list = list(&path, ",comments=off");
    fs::remove_dir(&folder).expect("removed");
    tell(&mut list, &scan(ip("192.0.2.1"), 0));
    let mut said = Vec::new();
    for second in 0..3 {
        list.tick(at(0), second * S);
        said.extend(list.take_notice());
    }
    assert_eq!(list.counts().write_failures, 3);
    assert_eq!((list.counts().waiting, list.counts().applied), (1, 0));
    fs::create_dir(&folder).expect("a folder");
    list.tick(at(0), 3 * S);
    said.extend(list.take_notice());
    assert_eq!((list.counts().waiting, list.counts().applied), (0, 1));
    assert_eq!(fs::read_to_string(&path).expect("a file"), "192.0.2.1\n");
    let words: Vec<&str> = said
        .iter()
        .map(|notice| match notice {
            Notice::Lifecycle { word, .. } => *word,
            Notice::Stats { .. } => "stats",
            Notice::Block(_) => "block",
        })
        .collect();
    assert_eq!(words, ["blocklist_failed", "blocklist_written"]);
}

#[test]
fn the_name_of_a_sensor_begins_no_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("list");
    let mut list = plan(&path, "")
        .start("a\n192.0.2.1\r", 1)
        .expect("it starts");
    list.finish(at(0), 0);
    let text = fs::read_to_string(&path).expect("a file");
    assert!(
        text.contains(" on a?192.0.2.1?: 0 sources, as of "),
        "{text}"
    );
    assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
}

#[test]
fn options_are_read_and_what_is_wrong_is_named() {
    let read = |value: &str| parse_output(value).expect("for a responder");
    let good = read("blocklist:/run/list,proof=none,expire=7d,max=1,comments=off").expect("good");
    assert_eq!(good.name, "blocklist:/run/list");
    assert!(parse_output("text:-").is_none() && parse_output("blocklist").is_none());
    for (value, says) in [
        (
            "blocklist:",
            "the target is empty; allowed: blocklist:PATH[,",
        ),
        (
            "blocklist:-",
            "a list that is replaced has to be a file; allowed: ",
        ),
        (
            "blocklist:dir/",
            "the target ends with a slash: name a file",
        ),
        (
            "blocklist:f,keep=3",
            "unknown option \"keep=3\"; allowed: blocklist:PATH",
        ),
        ("blocklist:f,max=1,max=2", "repeated option \"max=2\""),
        (
            "blocklist:f,proof=maybe",
            "bad value \"maybe\" of proof=; allowed: handshake, answered or none",
        ),
        (
            "blocklist:f,expire=0s",
            "bad value \"0s\" of expire=; allowed: a time from 1s to 365d",
        ),
        ("blocklist:f,expire=366d", "bad value \"366d\""),
        ("blocklist:f,expire=9999999999999999999d", "bad value"),
        ("blocklist:f,expire=60", "bad value \"60\""),
        (
            "blocklist:f,max=0",
            "bad value \"0\" of max=; allowed: a whole number from 1 to 1048576",
        ),
        (
            "blocklist:f,comments",
            "bad value \"\" of comments=; allowed: on or off",
        ),
    ] {
        let error = read(value).expect_err(value);
        let expected = format!("--output {value}: {says}");
        assert!(error.starts_with(&expected), "{error}\n{expected}");
    }
}
