//! The peers that are installed count the frames and connections that were sent.

use std::path::PathBuf;

use loadtest::experiments::compare::read;
use loadtest::experiments::search::trial;
use loadtest::lab::{Lab, SetUp};
use loadtest::receivers::Receiver;
use loadtest::receivers::bare::{Bare, Rings};
use loadtest::receivers::peers::{self, LivePeer, Peer, Place};
use loadtest::send::{Schedule, Sender, write_capture};
use loadtest::traffic::{Load, Name};

/// Installed peers; names those that are not.
fn installed() -> Vec<&'static dyn Peer> {
    let has = |peer: &&'static dyn Peer| {
        // The entries of the sensor have no program.
        let found = !peer.program().is_empty() && peers::is_installed(peer.program());
        if !found && !peer.program().is_empty() {
            eprintln!("skipped: {} is not installed", peer.program());
        }
        found
    };
    peers::all().into_iter().filter(has).collect()
}

#[test]
fn every_peer_counts_the_connections_of_a_capture() {
    const FRAMES: u64 = 3000;
    let folder = tempfile::tempdir().expect("a folder");
    for name in [Name::Mix, Name::Syn] {
        let capture = folder.path().join(format!("{name}.pcap"));
        let load = Load::new(name, 5);
        let sent = write_capture(&capture, &load, FRAMES, 1_000_000).expect("written");
        for peer in installed() {
            let place = Place {
                folder: folder.path(),
                device: "",
                ring_mib: 64,
                collector: Some(9),
            };
            if peer.offline_args(&capture, &place).is_none() {
                continue;
            }
            let (counts, usage) =
                read(peer, &capture).unwrap_or_else(|error| panic!("{}: {error}", peer.name()));
            let found = counts.connections;
            assert_eq!(found, Some(sent.tally.attempts), "{}, {name}", peer.name());
            let frames = counts.frames.unwrap_or(FRAMES);
            assert_eq!(frames, FRAMES, "{}, {name}", peer.name());
            assert!(usage.elapsed_s > 0.0 && !peers::version(peer).is_empty());
        }
    }
}

#[test]
fn every_receiver_counts_the_frames_that_are_sent() {
    // In this set-up no frame is lost before the rings, and the rings hold all frames.
    const FRAMES: u64 = 4000;
    let lab = match Lab::new(SetUp::Default) {
        Ok(lab) => lab,
        Err(error) => {
            eprintln!("skipped: {error:#}");
            return;
        }
    };
    let mut receivers: Vec<Box<dyn Receiver>> = Vec::new();
    for rings in [Rings::Class, Rings::One] {
        receivers.push(Box::new(Bare {
            program: PathBuf::from(env!("CARGO_BIN_EXE_loadtest")),
            rings,
            ring_mib: 16,
            closed: false,
        }));
    }
    for peer in installed() {
        let place = Place {
            folder: std::path::Path::new(""),
            device: "",
            ring_mib: 16,
            collector: Some(9),
        };
        if peer.live_args(&place).is_some() {
            receivers.push(Box::new(LivePeer { peer, ring_mib: 16 }));
        }
    }
    let load = Load::new(Name::Mix, 6);
    let schedule = Schedule {
        rate_pps: Some(20_000.0),
        frames_max: FRAMES,
        seconds_max: 20.0,
    };
    for receiver in receivers {
        let name = receiver.name();
        let trial = trial(&lab, receiver.as_ref(), &load, Sender::Sendmmsg, &schedule).expect(name);
        assert_eq!((trial.sent.tally.frames, trial.sent.refused), (FRAMES, 0));
        assert_eq!(trial.received.frames, FRAMES, "{name}");
        assert_eq!(trial.received.dropped, 0, "{name}");
    }
}
