use super::*;
use crate::books::record_kind::KINDS;
use crate::inspect::detection::Phase;
use crate::log::event::{Event, Step};
use crate::log::fold::{Fold, Folds};
use crate::log::formats::context::Context;
use crate::log::formats::interfaces::Interfaces;
use crate::log::formats::samples;
use crate::log::merge::{Consumer, Producer, queue};
use crate::log::notice::Notices;
use crate::time::timeline::position_of_ts;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicI64;

fn logger(spec: &str, consumer: Consumer, clock: LoggerClock) -> Logger {
    logger_of(spec, vec![consumer], clock)
}

fn logger_of(spec: &str, consumers: Vec<Consumer>, clock: LoggerClock) -> Logger {
    let context = Context {
        host: "edge".into(),
        interfaces: Interfaces::default(),
        direction: Arc::new(|_, _| "unknown"),
        services: None,
        frames: false,
    };
    let specs = [spec.parse().expect("a spec")];
    let outputs = Outputs::open(&specs, &context).expect("open");
    let mut logger = Logger::new(Merge::new(consumers, None), outputs, clock);
    logger.budget = Budget::new(Some(1));
    logger.lag_us = Some(lag_histogram());
    logger
}

#[test]
fn a_log_that_falls_silent_says_what_was_folded_within_a_second() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("log");
    let content = || std::fs::read_to_string(&path).unwrap_or_default();
    let (mut producer, consumer) = queue(16);
    let now_ns = Arc::new(AtomicI64::new(0));
    let shown = Arc::clone(&now_ns);
    let clock = Box::new(move || shown.load(Ordering::Relaxed));
    let mut logger = logger(&format!("text:{}", path.display()), consumer, clock);
    let control = Arc::clone(&logger.control);
    let running = std::thread::spawn(move || logger.run());
    let scan = samples::scan(Phase::Started, vec![(80, 83)], 4);
    for _ in 0..3 {
        assert!(producer.push_and_wait(samples::alert(&scan)).is_ok());
    }
    let wait_for = |what: &str| {
        while !content().contains(what) {
            assert!(!running.is_finished(), "{}", content());
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    wait_for("Port scan detected");
    now_ns.store(SILENT_NS.cast_signed() - 1, Ordering::Relaxed);
    std::thread::sleep(3 * SLEEP_MAX);
    assert!(!content().contains("folded"), "{}", content());
    // Once more than asked for: the clock may have been read before the last event was written.
    now_ns.store(2 * SILENT_NS.cast_signed(), Ordering::Relaxed);
    wait_for("Sensor alerts_folded: 2 alerts folded: port_scan started 2");
    control.abandon.store(true, Ordering::Relaxed);
    running.join().expect("no panic");
    drop(producer);
}

#[test]
fn lag_counts_from_what_made_an_event_due() {
    let dir = tempfile::tempdir().expect("directory");
    let (mut producer, consumer) = queue(16);
    let due_ns = samples::TS_NS + 100_000_000_000;
    let clock = Box::new(move || due_ns + 3_000_000);
    let spec = format!("text:{}", dir.path().join("log").display());
    let mut logger = logger(&spec, consumer, clock);
    let timed_out = Event {
        position: position_of_ts(due_ns),
        step: Step::Timer(due_ns),
        ..samples::flow()
    };
    let at_the_end = Event {
        position: u64::MAX - 1,
        step: Step::End(i64::MAX),
        ..samples::flow()
    };
    for event in [timed_out, at_the_end] {
        assert!(producer.push_and_wait(event).is_ok());
    }
    drop(producer);
    logger.run();
    let lags = logger.finish().lag_us.expect("live");
    assert_eq!((lags.len(), lags.max() / 100), (1, 30), "3 ms");
}

#[test]
fn a_run_writes_everything_folds_by_budget_and_closes_its_books() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("log");
    let (mut producer, consumer) = queue(16);
    let spec = format!("text:{},events=connection+alert+stats", path.display());
    let mut logger = logger(&spec, consumer, Box::new(|| 0));
    let (sender, notices) = Notices::channel();
    logger.notices = notices;
    assert!(sender.send(samples::lifecycle()));
    let worker = std::thread::spawn(move || {
        for isn in 0..100 {
            assert!(producer.push_and_wait(samples::at(1, isn)).is_ok());
        }
        let scan = samples::scan(Phase::Started, vec![(80, 83)], 4);
        for _ in 0..3 {
            assert!(producer.push_and_wait(samples::alert(&scan)).is_ok());
        }
    });
    logger.run();
    worker.join().expect("no panic");
    let mut so_far = None;
    let summary = logger.finish_with(|summary| {
        so_far = Some(summary.outputs[0].counts);
        Some(samples::stats())
    });
    let counts = &summary.outputs[0].counts;
    assert!(counts.closed());
    assert_eq!(
        (counts.written, counts.folded),
        ([100, 1, 0, 1, 1, 0], [0, 2, 0, 0, 0, 0])
    );
    let before = so_far.expect("asked");
    assert_eq!(
        (before.written, before.pending),
        ([100, 1, 0, 0, 1, 0], [0; KINDS]),
        "the last record comes when all others are written"
    );
    assert_eq!(
        (sender.sent(), summary.own),
        ([0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 1, 0])
    );
    assert_eq!(summary.lag_us.map(|lags| lags.len()), Some(103));
    let text = std::fs::read_to_string(path).expect("read");
    let head = "2021-04-28T15:28:05.123456Z - -:";
    let folded = format!("{head} Sensor alerts_folded: 2 alerts folded: port_scan started 2");
    let end: Vec<&str> = text.lines().skip(101).collect();
    assert_eq!(
        end,
        [
            folded,
            format!(
                "{head} Stats: the whole run 2.5 s: 143 frames, 93 new connections, 0 port scans, 7 missed; the books close"
            )
        ]
    );
}

/// One of the attempts to 150 ports over three seconds, 20,000 in each: a line, or a part of a fold.
fn feed(shard: &mut Shard, number: u32) {
    let Body::NewConnection(mut attempt) = samples::at(1, number).body else {
        panic!("a new connection");
    };
    attempt.tuple.src = std::net::Ipv4Addr::from_bits(number.wrapping_mul(0x9e37_79b1)).into();
    attempt.tuple.dst_port = u16::try_from(number % 150).expect("a port");
    attempt.ts_ns += i64::from(number) * 50_000;
    let position = position_of_ts(attempt.ts_ns);
    let over = shard.folds.close_before(attempt.ts_ns);
    shard.close(over);
    if !shard.folds.takes(attempt) {
        let (step, body) = (Step::Frame(1, attempt.ts_ns), Body::NewConnection(attempt));
        shard.push(Event {
            position,
            step,
            body,
        });
    }
}

/// A shard's folds and its end of the queue.
struct Shard {
    folds: Folds,
    to_log: Producer,
}

impl Shard {
    fn push(&mut self, event: Event) {
        assert!(self.to_log.push_and_wait(event).is_ok());
    }

    fn close(&mut self, folds: Vec<Fold>) {
        for fold in folds {
            let end_ns = fold.end_ns();
            self.push(Event {
                position: position_of_ts(end_ns),
                step: Step::Timer(end_ns),
                body: Body::Folded(Box::new(fold)),
            });
        }
    }
}

/// A second and a port.
type Slot = (String, u64);

/// What an EVE log says of the attempts to each port: lines, and the counts of flood records by (second, port).
fn told(eve: &str) -> (BTreeMap<u64, u64>, Vec<(Slot, u64)>) {
    let (mut lines, mut folds) = (BTreeMap::new(), Vec::new());
    for line in eve.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let port = record["dest_port"].as_u64().expect("a port of its own");
        match record["synledger"]["fold"]["count"].as_u64() {
            Some(count) => {
                let second = record["timestamp"].as_str().expect("a time")[..19].to_owned();
                folds.push(((second, port), count));
            }
            None => *lines.entry(port).or_insert(0) += 1,
        }
    }
    (lines, folds)
}

#[test]
fn parts_of_several_shards_are_one_flood_record() {
    const SENT: u32 = 60_000;
    const SHARDS: u32 = 3;
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("eve");
    // Small: shards wait for the logger, and parts of one record come in different rounds of it.
    let (producers, consumers): (Vec<_>, Vec<_>) = (0..SHARDS).map(|_| queue(8)).unzip();
    let mut logger = logger_of(
        &format!("eve:{}", path.display()),
        consumers,
        Box::new(|| 0),
    );
    let running = std::thread::spawn(move || {
        logger.run();
        logger.finish()
    });
    let shards: Vec<_> = (0..SHARDS)
        .zip(producers)
        .map(|(id, to_log)| {
            std::thread::spawn(move || {
                let folds = Folds::new(20, [1, 2]);
                let mut shard = Shard { folds, to_log };
                (0..SENT)
                    .filter(|number| (number.wrapping_mul(0x85eb_ca6b) >> 16) % SHARDS == id)
                    .for_each(|number| feed(&mut shard, number));
                let rest = shard.folds.close_all();
                shard.close(rest);
            })
        })
        .collect();
    for shard in shards {
        shard.join().expect("no panic");
    }
    let summary = running.join().expect("no panic");
    let eve = std::fs::read_to_string(path).expect("read");
    let (lines, folds) = told(&eve);
    let keys: BTreeSet<_> = folds.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), folds.len(), "one record a second and port");
    let mut all = lines;
    for ((_, port), count) in folds {
        *all.entry(port).or_insert(0) += count;
    }
    let sent = BTreeMap::from_iter((0..150).map(|port| (port, u64::from(SENT) / 150)));
    assert_eq!(all, sent);
    let counts = &summary.outputs[0].counts;
    assert!(counts.closed());
    assert_eq!(counts.written[0] + counts.folded[0], u64::from(SENT));
    assert_eq!(
        (summary.log.late_records, summary.log.folded_connections),
        (0, counts.folded[0])
    );
}

#[test]
fn events_without_a_queue_make_the_same_log_and_are_flushed_when_none_comes() {
    let dir = tempfile::tempdir().expect("directory");
    let count = u32::try_from(2 * BATCH + 100).expect("small");
    let logs = [true, false].map(|queued| {
        let path = dir.path().join(if queued { "queued" } else { "direct" });
        let spec = format!("text:{}", path.display());
        let (mut producer, consumer) = queue(count as usize);
        let mut logger = logger(&spec, consumer, Box::new(|| 0));
        logger.start();
        for isn in 0..count {
            let mut event = samples::at(isn.into(), isn);
            match queued {
                true => assert!(producer.push(event).is_ok()),
                false => logger.take(&mut event),
            }
        }
        drop(producer);
        while logger.turn() > 0 {}
        let content = std::fs::read_to_string(path).expect("a log");
        assert_eq!(content.lines().count(), count as usize, "before the end");
        let published = logger.finish();
        (content, published.outputs[0].counts, published.log)
    });
    assert_eq!(logs[0].0, logs[1].0);
    assert_eq!(format!("{:?}", logs[0]), format!("{:?}", logs[1]));
}
