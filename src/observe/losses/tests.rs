//! Losses as a person hears of them.

use super::*;
use crate::books::HostCounts;
use crate::books::record_kind::EventKind;
use crate::books::ring::RingCounts;

const SECOND_NS: i64 = 1_000_000_000;

fn rings(lost: u64, of: u64) -> Loss {
    Loss::new(Reason::Rings, lost, of)
}

fn output(lost: u64, of: u64, blocked: Option<Cause>) -> Loss {
    let mut counts = OutputBooks {
        name: "eve:/x".to_owned(),
        ..OutputBooks::default()
    };
    counts.counts.offered[EventKind::Flow as usize] = of;
    counts.counts.dropped[Cause::DiskFull as usize][EventKind::Flow as usize] = lost;
    counts.counts.blocked = blocked;
    Loss::of_output(&counts)
}

/// Looks once a second; the turns with their second.
fn follow(looks: impl IntoIterator<Item = Loss>) -> Vec<(i64, &'static str, String)> {
    let mut watch = LossWatch::default();
    let mut all = Vec::new();
    for (second, loss) in (0..).zip(looks) {
        let turns = watch.look(second * SECOND_NS, vec![loss]);
        all.extend(turns.into_iter().map(|turn| (second, turn.word, turn.text)));
    }
    all
}

#[test]
fn a_loss_is_said_when_it_begins_each_minute_and_when_it_ends() {
    let counts = (0..150).map(|second: u64| match second {
        0..5 => rings(0, 100 * second),
        5..130 => rings(10 * (second - 4), 100 * second),
        _ => rings(1250, 100 * second),
    });
    let turns = follow(counts);
    let words: Vec<(i64, &str)> = turns.iter().map(|(at, word, _)| (*at, *word)).collect();
    assert_eq!(
        words,
        [
            (5, "loss_began"),
            (65, "loss_lasts"),
            (125, "loss_lasts"),
            (139, "loss_ended")
        ]
    );
    let change = "raise --ring-mib or --workers, or capture less: --capture control";
    assert_eq!(
        turns[0].2,
        format!("losing: 10 of 100 frames (10 %) were dropped by full rings; {change}")
    );
    assert_eq!(
        turns[1].2,
        format!(
            "still losing: 600 of 6000 frames (10 %) were dropped by full rings in the last 60 s, 610 since it began; {change}"
        )
    );
    assert_eq!(
        turns[3].2,
        "no longer losing: 1250 of 13500 frames (9.26 %) were dropped by full rings within 125 s"
    );
}

#[test]
fn a_short_pause_is_no_end_and_a_loss_that_comes_back_begins_anew() {
    let lossy = |second: u64| rings(second / 9, 100 * second);
    let turns = follow((0..60).map(lossy));
    assert_eq!(turns.len(), 1, "{turns:?}");
    let twice = (0..40).map(|second| rings([0, 1, 1, 2][second / 10], 400));
    let turns = follow(twice);
    let words: Vec<(i64, &str)> = turns.iter().map(|(at, word, _)| (*at, *word)).collect();
    assert_eq!(
        words,
        [(10, "loss_began"), (20, "loss_ended"), (30, "loss_began")]
    );
}

#[test]
fn a_blocked_output_is_said_before_it_loses_lines_when_it_does_and_when_it_is_free_again() {
    let full = Some(Cause::DiskFull);
    let looks = [
        output(0, 10, None),
        output(0, 20, full),
        output(0, 30, full),
        output(5, 40, full),
        output(9, 50, full),
        output(9, 60, None),
        output(9, 70, None),
    ];
    let turns = follow(looks);
    let texts: Vec<(i64, &str)> = turns.iter().map(|(at, _, text)| (*at, &**text)).collect();
    assert_eq!(
        texts,
        [
            (
                1,
                "losing: eve:/x takes no lines: its disk is full; 1 MiB of them waits, further ones are lost; \
                 free space there, or write elsewhere"
            ),
            (
                3,
                "losing: 5 of 20 records of eve:/x (25 %) were lost: its disk is full; \
                 free space there, or write elsewhere"
            ),
            (
                5,
                "no longer losing: 9 of 50 records of eve:/x (18 %) were lost: its disk is full within 4 s"
            ),
        ]
    );
    let spared = follow([
        output(0, 10, full),
        output(0, 10, None),
        output(0, 10, None),
    ]);
    assert_eq!(spared[1].2, "eve:/x takes lines again; none was lost");
    // A reader that is slow for a moment loses nothing.
    let slow = follow([output(0, 10, Some(Cause::Slow)), output(0, 20, None)]);
    assert_eq!(slow, []);
}

#[test]
fn each_output_and_each_reason_is_followed_by_itself() {
    let mut watch = LossWatch::default();
    let other = Loss {
        output: Some("text:/y".to_owned()),
        ..output(1, 2, None)
    };
    let turns = watch.look(0, vec![rings(1, 9), output(0, 2, None), other]);
    let said: Vec<_> = turns.iter().map(|turn| turn.output.as_deref()).collect();
    assert_eq!(said, [None, Some("text:/y")]);
    let active: Vec<_> = watch.active().map(|(reason, _)| reason.word()).collect();
    assert_eq!(active, ["ring_drops", "output"]);
}

/// Books in which something was lost for every reason.
fn all_lost() -> Books {
    let mut books = Books {
        host: HostCounts {
            nic_drops: 1,
            softnet_drops: 2,
            unwatched_us: 2_500_000,
        },
        shed_in_kernel: Some(4),
        rings: vec![RingCounts {
            id: crate::books::ring::RingId {
                class: "open",
                ..Default::default()
            },
            tp_packets: 13,
            tp_drops: 2,
            shed_data: 1,
            ..RingCounts::default()
        }],
        ..Books::default()
    };
    let shards = &mut books.shards;
    shards.frames = 10;
    shards.frames_cut_by_depth = 3;
    shards.flow.flows_opened = 8;
    shards.flow.evicted_attempts = 1;
    shards.flow.flows_without_volumes = 1;
    shards.detectors.port_scan.subjects_evicted = 4;
    shards.detectors.host_sweep.episodes_evicted = 3;
    shards.contacts_sent = [60, 40];
    shards.contacts_dropped[1] = 1;
    shards.flows_log_gone = 1;
    let witness = crate::books::witness::WitnessCounts {
        seen: 5,
        missing: 1,
        ..Default::default()
    };
    books.witness = Some(witness);
    let mut lossy = OutputBooks {
        name: "text:-".to_owned(),
        ..OutputBooks::default()
    };
    lossy.counts.offered = [4, 0, 0, 0, 0, 0];
    lossy.counts.dropped[Cause::Slow as usize] = [1, 0, 0, 0, 0, 0];
    books.outputs.push(lossy);
    books
}

#[test]
fn every_reason_has_a_sentence_of_its_own_with_what_helps() {
    let books = all_lost();
    let said: Vec<String> = all(&books).iter().map(Loss::sentence).collect();
    assert_eq!(
        said,
        [
            "frames that came while interfaces were gone or not yet watched again, for 2.500 s",
            "1 of 20 frames (5 %) was lost by network cards",
            "2 of 20 frames (10 %) were lost in the kernel's backlog",
            "2 of 17 frames (11.8 %) were dropped by full rings, at most 3 new connections among them",
            "5 of 17 frames (29.4 %) were shed under load",
            "3 of 10 frames (30 %) were cut before their transport header",
            "2 entries of flows were evicted from full tables, or lack packets and bytes",
            "7 entries of scans were evicted from full tables: a scan among them may be missed",
            "1 of 100 contacts of the scan detectors (1 %) was dropped by full queues: a scan among them may be missed",
            "1 of 5 attempts of the witness's sample (20 %) was on one side only",
            "1 record was made when the log had ended",
            "1 of 4 records of text:- (25 %) was lost: its reader is slow",
        ]
    );
    assert!(all(&books).iter().all(|loss| !loss.advice().is_empty()));
    for cause in books.losses().keys() {
        let of = Reason::ALL.iter().filter(|reason| reason.covers(cause));
        assert_eq!(of.count(), 1, "{cause} belongs to one reason");
    }
    let missed: u64 = all(&books).iter().map(|loss| loss.lost).sum();
    assert_eq!(missed, books.missed(), "nothing missed without a sentence");
}

#[test]
fn what_the_kernel_refused_uncounted_is_a_loss() {
    let mut uncounted = Books::default();
    uncounted.shards.shed.spent_us[1] = 1_500_000;
    let said: Vec<String> = all(&uncounted).iter().map(Loss::sentence).collect();
    assert_eq!(
        said,
        ["frames were shed in the kernel for 1.5 s, not counted (that takes CAP_BPF)"]
    );
    assert_eq!(all(&Books::default()), []);
}

#[test]
fn shares_are_never_rounded_to_all_or_nothing() {
    for (part, of, says) in [
        (0, 7, "0 %"),
        (1, 1_000_000, "below 0.01 %"),
        (1, 1000, "0.1 %"),
        (5, 100, "5 %"),
        (1, 3, "33.3 %"),
        (999_999, 1_000_000, "over 99.9 %"),
        (7, 7, "100 %"),
    ] {
        assert_eq!(percent(part, of), says);
    }
}
