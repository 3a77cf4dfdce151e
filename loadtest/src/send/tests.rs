//! Every sender sends each frame that it counts.

use super::*;
use crate::lab::SetUp;
use crate::traffic::Name;
use std::time::Duration;

#[test]
fn due_frames_grow_with_time_up_to_each_limit() {
    let schedule = Schedule {
        rate_pps: Some(1000.0),
        frames_max: 1500,
        seconds_max: 2.0,
    };
    assert_eq!(schedule.due(Duration::ZERO), 0);
    assert_eq!(schedule.due(Duration::from_millis(500)), 500);
    assert_eq!(schedule.due(Duration::from_secs(2)), 1500);
    let endless = Schedule::for_seconds(Some(10.0), 3.0);
    assert_eq!(endless.due(Duration::from_secs(60)), 30);
}

#[test]
fn the_csv_of_attempts_has_the_packets_of_each() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("attempts.csv");
    let load = Load::new(Name::Short, 1);
    write_attempts(&path, &load, 8 * 64).expect("written");
    let text = std::fs::read_to_string(path).expect("read");
    assert_eq!(text.lines().count(), 65);
    assert!(
        text.lines().skip(1).all(|line| line.ends_with(",5,3")),
        "{text}"
    );
}

fn lab(set_up: SetUp) -> Option<Lab> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for network namespaces");
        return None;
    }
    match Lab::new(set_up) {
        Ok(lab) => Some(lab),
        Err(error) => {
            eprintln!("skipped: {error:#}");
            None
        }
    }
}

#[test]
fn every_frame_that_a_sender_counts_arrives_or_is_dropped() {
    let Some(lab) = lab(SetUp::Fair) else { return };
    for sender in Sender::ALL {
        let name = if sender == Sender::Bpf {
            Name::Syn
        } else {
            Name::Mix
        };
        let load = Load::new(name, 5);
        let schedule = Schedule {
            rate_pps: Some(20_000.0),
            frames_max: 2000,
            seconds_max: 5.0,
        };
        let before = lab.counters().expect("counters");
        let sent = match flood_in(&lab, &load, sender, &schedule, &AtomicBool::new(false)) {
            Ok(sent) => sent,
            Err(error) if sender == Sender::Tcpreplay => {
                eprintln!("skipped: {error:#}");
                continue;
            }
            Err(error) => panic!("{}: {error:#}", sender.word()),
        };
        assert_eq!(sent.tally.frames, 2000, "{}", sender.word());
        let give_up = Instant::now() + Duration::from_secs(10);
        loop {
            let passed = lab.counters().expect("counters").since(&before);
            if passed.rx_packets + sent.lost_at_interface(passed.tx_dropped) == 2000 {
                break;
            }
            assert!(Instant::now() < give_up, "{}: {passed:?}", sender.word());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn counters_that_were_read_while_frames_passed_are_read_again() {
    let sent = Transmission {
        tally: Tally {
            frames: 6000,
            ..Tally::default()
        },
        ..Transmission::default()
    };
    let at = |tx_packets, rx_packets| Counters {
        tx_packets,
        rx_packets,
        ..Counters::default()
    };
    // The sender's end was read first, and 190 frames passed before the receiver's was.
    let mut readings = [at(5000, 5100), at(5810, 6000), at(6000, 6000)].into_iter();
    let read = || Ok(readings.next().expect("a reading"));
    let settled = settle_by(read, &Counters::default(), &sent).expect("settled");
    assert_eq!(settled, at(6000, 6000));
}
