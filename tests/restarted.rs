//! State that is written and read again behaves the same: a run whose shards and logger are replaced by fresh ones,
//! which go on with what the old ones wrote, has the log of an uninterrupted run, byte for byte.

mod common;

use common::pipeline;
use craft::{Capture, PcapFormat, Rng};
use std::fs;
use std::io::Cursor;
use std::path::Path;
use synledger::capture::pcap::CaptureReader;
use synledger::capture::pcap::files::Files;
use synledger::flow::Limits;
use synledger::log::logger::{Logger, Progress};
use synledger::sensor::replay::{Fed, Part, Replay, Room};
use synledger::sensor::{self, RunKeys};
use synledger::settings::Common;
use synledger::shard::{At, Shard};
use synledger::snapshot::Snapshot;
use synledger::time::timeline::Timeline;

const ROOM: Room = Room {
    chunk_frames: 4096,
    part_frames: 16,
    reorder_ns: 10_000_000,
};

/// Shards and logger of one process.
struct Process {
    shards: Vec<Shard>,
    logger: Logger,
}

impl Process {
    fn new(common: &Common, keys: RunKeys) -> Self {
        let (shards, consumers) = sensor::shards(common, keys, &pipeline::everything(), false);
        let mut logger = pipeline::logger(common, consumers);
        logger.start();
        Self { shards, logger }
    }

    /// A fresh process that goes on where this one is.
    fn restarted(mut self, common: &Common, keys: RunKeys) -> Self {
        let written: Vec<Vec<u8>> = self
            .shards
            .iter_mut()
            .map(|shard| {
                let mut bytes = Vec::new();
                shard.save(&mut bytes).expect("memory");
                bytes
            })
            .collect();
        let mut log = Vec::new();
        self.logger.progress().save(&mut log).expect("memory");
        drop(self);
        let mut new = Self::new(common, keys);
        for (id, bytes) in written.iter().enumerate() {
            let mut from = bytes.as_slice();
            let inbound = new.shards[id].restore(&mut from).expect("its own layout");
            assert!(from.is_empty(), "all was read");
            for (sender, contacts) in inbound.into_iter().enumerate() {
                new.shards[sender].resend(id, contacts).expect("room");
            }
        }
        let mut progress: Progress = borsh::from_slice(&log).expect("its own layout");
        for (shard, events) in new
            .shards
            .iter_mut()
            .zip(std::mem::take(&mut progress.waiting))
        {
            shard.outbox.requeue(events).expect("room");
        }
        new.logger.go_on(&progress).expect("as many shards");
        new
    }

    /// The frames of a part. `pause`: another process goes on between frames and contacts, and between contacts and log.
    fn part(mut self, part: &Part, mut pause: impl FnMut(Self) -> Self) -> Self {
        let (first, last) = (part.first(), part.last());
        let timeline = Timeline::Read {
            first,
            watermarks: part.watermarks(),
        };
        for (id, shard) in (0_u16..).zip(&mut self.shards) {
            for (position, watermark_ns, frame) in part.frames_of(id) {
                let at = At {
                    position,
                    watermark_ns,
                    timeline,
                    ring: None,
                };
                shard.on_frame(&frame, &at);
            }
            shard.publish_contacts(last, &timeline);
        }
        self = pause(self);
        let newest_ns = *part.watermarks().last().expect("parts hold frames");
        for at in 0..self.shards.len() {
            self.shards[at].settle(last, newest_ns, &timeline);
            self = pause(self);
        }
        self.logger.turn();
        pause(self)
    }

    fn end(mut self, last: u64, newest_ns: i64) {
        let timeline = Timeline::Read {
            first: last + 1,
            watermarks: &[newest_ns; 2],
        };
        for shard in &mut self.shards {
            shard.publish_rest(last + 1, last + 1, &timeline);
        }
        std::thread::scope(|scope| {
            let logger = &mut self.logger;
            scope.spawn(move || logger.run());
            for mut shard in self.shards.drain(..) {
                shard.settle(last + 1, newest_ns, &timeline);
                shard.finish(last + 2, &timeline);
            }
        });
        self.logger.finish();
    }
}

/// The log of a capture. `restarts`: whether another process goes on at the next place.
fn log_of(
    path: &Path,
    common: &Common,
    capture: &Capture,
    restarts: &mut dyn FnMut() -> bool,
) -> Vec<u8> {
    let keys = RunKeys::from_seed(7);
    let bytes = Cursor::new(capture.to_pcap(PcapFormat::NANOS));
    let reader = CaptureReader::from_reader("made", bytes, None).expect("a capture");
    let mut files = Files::of_reader(reader);
    let mut replay = Replay::new(common.workers, ROOM, keys.fanout, common.opening());
    let mut process = Process::new(common, keys);
    let (mut last, mut newest_ns) = (0, i64::MIN);
    while let Ok(fed) = replay.next(&mut files, &|_| false, &mut |_, _| {}) {
        let Fed::Part(part) = fed else { continue };
        process = process.part(&part, |process| match restarts() {
            true => process.restarted(common, keys),
            false => process,
        });
        (last, newest_ns) = (part.last(), *part.watermarks().last().expect("frames"));
    }
    process.end(last, newest_ns);
    let log = fs::read(path).expect("a log");
    fs::remove_file(path).expect("removed");
    log
}

/// Tables of some size, and one output to a file.
fn common(path: &Path, workers: usize, flows: Option<Limits>) -> Common {
    let mut common = pipeline::small(workers);
    let output = format!("eve:{},events=connection+alert+flow", path.display());
    common.outputs = vec![output.parse().expect("a spec")];
    common.flows = flows.unwrap_or(common.flows);
    common.active_ns = common.flows.parts.then_some(5_000_000_000);
    common.outputs[0].parts = common.flows.parts;
    common
}

#[test]
fn a_log_is_the_same_whatever_processes_write_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("log");
    let full = std::env::var("SYNLEDGER_FUZZ").as_deref() == Ok("full");
    let mut rng = Rng::new(0x5eed);
    let mut restarts = 0;
    let large = Limits {
        attempts: 4096,
        established: 1024,
        others: 1024,
        fragments: 64,
        parts: true,
    };
    for (round, capture) in craft::scenarios(rng.next_u64()).into_iter().enumerate() {
        if capture.frames.is_empty() || !full && !rng.one_in(8) {
            continue;
        }
        for workers in [1, 2, 5] {
            if !full && workers != [1, 2, 5][round % 3] {
                continue;
            }
            // Full tables evict.
            for flows in [None, Some(large)] {
                let common = common(&path, workers, flows);
                let whole = log_of(&path, &common, &capture, &mut || false);
                let one_in = 1 + rng.next_u64() % 8;
                let mut draw = || {
                    let restart = rng.one_in(one_in);
                    restarts += usize::from(restart);
                    restart
                };
                let torn = log_of(&path, &common, &capture, &mut draw);
                let what = format!("capture {round}, {workers} workers, {flows:?}");
                assert!(
                    whole == torn,
                    "{what}: {} bytes against {}",
                    whole.len(),
                    torn.len()
                );
            }
        }
    }
    eprintln!("{restarts} restarts");
    assert!(restarts > 50, "{restarts} restarts");
}

#[test]
fn what_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("log");
    let keys = RunKeys::from_seed(7);
    let common = common(&path, 1, None);
    let mut old = Process::new(&common, keys);
    let mut bytes = Vec::new();
    old.shards[0].save(&mut bytes).expect("memory");
    drop(old);
    let fits = |common: &Common, mut bytes: &[u8]| {
        let mut new = Process::new(common, keys);
        new.shards[0].restore(&mut bytes).is_ok() && bytes.is_empty()
    };
    assert!(fits(&common, &bytes));
    for cut in (0..bytes.len()).step_by(1 + bytes.len() / 200) {
        assert!(!fits(&common, &bytes[..cut]), "{cut} bytes");
    }
    let mut larger = common.clone();
    larger.rules.sources.firsts *= 2;
    assert!(!fits(&larger, &bytes), "another room");
}
