use super::*;
use crate::inspect::detection::Phase;
use crate::inspect::timeline::position_of_ts;
use crate::log::eve::{Context, Interfaces};
use crate::log::event::Event;
use crate::log::notice::Notices;
use crate::log::queue::{Consumer, queue};
use crate::log::samples;
use std::sync::atomic::AtomicI64;

fn logger(spec: &str, consumer: Consumer, clock: Clock) -> Logger {
    let context = Context {
        host: "edge".into(),
        interfaces: Interfaces::default(),
        direction: Arc::new(|_, _| "unknown"),
        frames: false,
    };
    let specs = [spec.parse().expect("a spec")];
    Logger {
        merge: Merge::new(vec![consumer], None),
        outputs: Outputs::open(&specs, &context).expect("open"),
        budget: Budget::new(Some(1)),
        folding: Folding::Shards(None),
        notices: Notices::channel().1,
        control: Arc::default(),
        clock,
        run_time: None,
        lag_us: Some(lag_histogram()),
    }
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
        step: Step::End,
        ..samples::flow()
    };
    for event in [timed_out, at_the_end] {
        assert!(producer.push_and_wait(event).is_ok());
    }
    producer.close();
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
        so_far = Some(summary.outputs[0]);
        Some(samples::stats())
    });
    let counts = &summary.outputs[0];
    assert!(counts.closed());
    assert_eq!(
        (counts.written, counts.folded),
        ([100, 1, 0, 1, 1], [0, 2, 0, 0, 0])
    );
    let before = so_far.expect("asked");
    assert_eq!(
        (before.written, before.pending),
        ([100, 1, 0, 0, 1], [0; KINDS]),
        "the last record comes when all others are written"
    );
    assert_eq!(
        (sender.sent(), summary.own),
        ([0, 0, 0, 0, 1], [0, 0, 0, 1, 1])
    );
    assert_eq!(summary.alerts_folded, 2);
    assert_eq!(summary.lag_us.map(|lags| lags.len()), Some(103));
    let text = std::fs::read_to_string(path).expect("read");
    let folded = "2021-04-28 15:28:05: Sensor alerts_folded: 2 alerts folded: port_scan started 2";
    let end: Vec<&str> = text.lines().skip(101).collect();
    assert_eq!(end, [folded, "2021-04-28 15:28:05: Stats: 5 packets"]);
}
