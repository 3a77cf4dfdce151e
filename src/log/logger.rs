//! The logger's loop: merge, budget, outputs, until every shard is closed.

use super::budget::Budget;
use super::event::{Body, Event, Step};
use super::fold::{Fold, Folds};
use super::merge::{Lag, Merge};
use super::notice::{self, KINDS, Notice};
use super::outputs::{Counts, Outputs};
use crate::capture::clock::RunTime;
use crate::inspect::timeline::ts_of_position;
use crossbeam::channel::Receiver;
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Events between two looks at the clock.
const BATCH: usize = 1024;
/// Lines wait no longer than this while events keep coming.
const FLUSH_NS: u64 = 500_000_000;
/// Live: a log without events for so long says what the budget withheld; the bucket is full again by then.
const SILENT_NS: u64 = 1_000_000_000;
const SLEEP_MIN: Duration = Duration::from_micros(200);
const SLEEP_MAX: Duration = Duration::from_millis(20);

/// Nanoseconds since the Unix epoch; the logger has no clock of its own.
pub type Clock = Box<dyn Fn() -> i64 + Send>;

/// What others tell the logger, and it them.
#[derive(Debug, Default)]
pub struct Control {
    /// Set by the signal handler: open all files anew.
    pub reopen: AtomicBool,
    /// Set by the sensor: return, even if shards are still open.
    pub abandon: AtomicBool,
    /// Set by the logger: standard output lost its reader, so the program should end with 0.
    pub closed: AtomicBool,
    /// Left by the logger a few times a second, unless somebody reads it that instant.
    pub published: Mutex<Published>,
}

/// What the logger lets others see while it runs.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// How often this was left: one that stays the same is old.
    pub number: u64,
    /// The books of each output.
    pub outputs: Vec<Counts>,
    /// Records that the logger itself had to write, by kind.
    pub own: [u64; KINDS],
    /// Events that came out behind a later one.
    pub late: u64,
    /// Shards that the order no longer waits for.
    pub behind: usize,
    /// Microseconds from time stamp to line.
    pub lag_us: Option<Histogram<u64>>,
}

/// Everything the logger works with.
pub struct Logger {
    /// The shards' events.
    pub merge: Merge,
    /// Where they go.
    pub outputs: Outputs,
    /// How many alerts may.
    pub budget: Budget,
    /// Which attempts are folded.
    pub folding: Folding,
    /// The sensor's own records.
    pub notices: Receiver<Notice>,
    /// Shared with sensor and signal handler.
    pub control: Arc<Control>,
    /// The wall clock.
    pub clock: Clock,
    /// Live: events come in run time and are written with the wall clock of their epoch.
    pub run_time: Option<RunTime>,
    /// Live: microseconds from the packet or deadline that made an event due to the batch that wrote it;
    /// `None` in `read`.
    pub lag_us: Option<Histogram<u64>>,
}

/// Where attempts are folded.
pub enum Folding {
    /// Nowhere, or in the shards: the parts that several shards have of one fold are joined here.
    Shards(Option<Part>),
    /// Here, over the events of all shards in their order: the same folds with any number of shards.
    Here(Box<Folds>),
}

/// A fold that may grow by another shard's part, and its position.
pub type Part = (Box<Fold>, u64);

impl Folding {
    /// Takes in an event that is folded, and gives back one that is not.
    fn take(&mut self, event: Event, outputs: &mut Outputs, now_ns: i64) -> Option<Event> {
        match (self, event) {
            (Self::Here(folds), event) => {
                let Body::NewConnection(attempt) = &event.body else {
                    return Some(event);
                };
                for fold in folds.close_before(attempt.ts_ns) {
                    outputs.write_fold(fold, event.position, now_ns);
                }
                if !folds.takes(attempt) {
                    return Some(event);
                }
                outputs.hold_folded(1);
                None
            }
            (
                Self::Shards(part),
                Event {
                    position,
                    body: Body::Folded(fold),
                    ..
                },
            ) => {
                outputs.hold_folded(fold.count);
                match part {
                    Some((known, _)) if known.order() == fold.order() => known.merge(&fold),
                    _ => {
                        Self::write(part.take(), outputs, now_ns);
                        *part = Some((fold, position));
                    }
                }
                None
            }
            (Self::Shards(part), event) => {
                Self::write(part.take(), outputs, now_ns);
                Some(event)
            }
        }
    }

    fn write(part: Option<Part>, outputs: &mut Outputs, now_ns: i64) {
        if let Some((fold, position)) = part {
            outputs.write_fold(fold, position, now_ns);
        }
    }

    /// Writes what waits for nothing any more: `end`, or just no event at hand.
    fn settle(&mut self, end: bool, outputs: &mut Outputs, now_ns: i64) {
        match self {
            Self::Shards(part) => Self::write(part.take(), outputs, now_ns),
            Self::Here(folds) if end => {
                for fold in folds.close_all() {
                    outputs.write_fold(fold, u64::MAX, now_ns);
                }
            }
            Self::Here(_) => {}
        }
    }
}

/// What is left when the logger is done.
#[derive(Debug)]
pub struct Summary {
    /// The books of each output, in the order of the command line.
    pub outputs: Vec<Counts>,
    /// Records that the logger itself had to write, by kind.
    pub own: [u64; KINDS],
    /// Events that came out behind a later one.
    pub late: u64,
    /// Alerts that the budget withheld.
    pub alerts_folded: u64,
    /// Microseconds from time stamp to line.
    pub lag_us: Option<Histogram<u64>>,
}

/// A histogram for [`Logger::lag_us`]: up to an hour, two digits.
pub fn lag_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 2).expect("bounds that the crate takes")
}

impl Logger {
    /// Runs until every shard is closed and its events are written, or until told to abandon.
    ///
    /// An idle logger flushes at once and sleeps at most 20 ms; a busy one flushes twice a second.
    pub fn run(&mut self) {
        let mut times = Vec::with_capacity(BATCH);
        let mut flushed_ns = (self.clock)();
        let mut published_ns = flushed_ns;
        let mut event_ns = flushed_ns;
        let mut sleep = SLEEP_MIN;
        loop {
            // Before the step: what a shard pushed before it closed is then written below.
            let finished = self.merge.finished();
            let now_ns = (self.clock)();
            let count = self.step(now_ns, &mut times);
            if count == 0 {
                self.folding.settle(false, &mut self.outputs, now_ns);
            }
            if count == 0 || now_ns.abs_diff(flushed_ns) >= FLUSH_NS {
                self.outputs.flush(now_ns);
                flushed_ns = now_ns;
            }
            if now_ns.abs_diff(published_ns) >= FLUSH_NS {
                self.publish();
                published_ns = now_ns;
            }
            self.record_lags(&mut times);
            if self.outputs.is_closed() {
                self.control.closed.store(true, Ordering::Relaxed);
            }
            if count > 0 {
                event_ns = now_ns;
                sleep = SLEEP_MIN;
                continue;
            }
            if self.lag_us.is_some() && now_ns.abs_diff(event_ns) >= SILENT_NS {
                self.say_folded(now_ns);
            }
            if finished || self.control.abandon.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(sleep);
            sleep = (sleep * 2).min(SLEEP_MAX);
        }
    }

    fn publish(&self) {
        if let Ok(mut published) = self.control.published.try_lock() {
            published.number += 1;
            published.outputs = self.outputs.counts();
            published.own = self.outputs.own();
            published.late = self.merge.late();
            published.behind = self.merge.behind();
            published.lag_us.clone_from(&self.lag_us);
        }
    }

    /// Writes what is left and closes the books.
    pub fn finish(self) -> Summary {
        self.finish_with(|_| None)
    }

    /// The same, with a record that comes last: made once everything else is written or lost, from what that
    /// came to.
    pub fn finish_with(mut self, last: impl FnOnce(&Summary) -> Option<Notice>) -> Summary {
        let now_ns = (self.clock)();
        while let Ok(notice) = self.notices.try_recv() {
            self.outputs.notice(&notice, now_ns);
        }
        self.say_folded(now_ns);
        self.folding.settle(true, &mut self.outputs, now_ns);
        self.outputs
            .note_queue_full(self.merge.queue_full(), now_ns);
        self.outputs.end_queue_loss(now_ns);
        self.outputs.finish(now_ns);
        if let Some(notice) = last(&self.summary()) {
            self.outputs.say(&notice, now_ns);
        }
        self.outputs.finish(now_ns);
        self.summary()
    }

    fn summary(&self) -> Summary {
        Summary {
            outputs: self.outputs.counts(),
            own: self.outputs.own(),
            late: self.merge.late(),
            alerts_folded: self.budget.folded_total(),
            lag_us: self.lag_us.clone(),
        }
    }

    /// Says what the budget withheld and nobody has said yet.
    fn say_folded(&mut self, now_ns: i64) {
        if let Some(folded) = self.budget.take_folded() {
            let notice = folded.notice(|ts_ns| wall_ns(self.run_time.as_ref(), ts_ns));
            self.outputs.say_folded(&notice, now_ns);
        }
    }

    /// One round: notices, then at most a batch of events; returns how many events.
    fn step(&mut self, now_ns: i64, times: &mut Vec<i64>) -> usize {
        if self.control.reopen.swap(false, Ordering::Relaxed) {
            for error in self.outputs.reopen(now_ns) {
                let text = error.to_string();
                let notice = lifecycle(now_ns, "reopen_failed", text);
                self.outputs.say(&notice, now_ns);
            }
        }
        while let Ok(notice) = self.notices.try_recv() {
            self.outputs.notice(&notice, now_ns);
        }
        let (outputs, budget, folding) = (&mut self.outputs, &mut self.budget, &mut self.folding);
        let run_time = self.run_time.as_ref();
        let mut lags = Vec::new();
        let live = self.lag_us.is_some();
        let count = self.merge.step(
            BATCH,
            |lag| lags.push(lag),
            |mut event| {
                // In run time, as the events come: the budget knows no steps of the clock.
                let ts_ns = notice::ts_ns(&event);
                budget.advance(ts_ns);
                if let Some(folded) = budget.freed() {
                    let notice = folded.notice(|ts_ns| wall_ns(run_time, ts_ns));
                    outputs.say_folded(&notice, now_ns);
                }
                let folds = matches!(&event.body, Body::Alert(alert) if !budget.admit(alert));
                event.shift(wall_ns(run_time, ts_ns).saturating_sub(ts_ns));
                // Not the record's own time: a flow that timed out is due long after its last packet.
                if live && event.step != Step::End {
                    times.push(wall_ns(run_time, ts_of_position(event.position)));
                }
                let Some(event) = folding.take(event, outputs, now_ns) else {
                    return;
                };
                if folds {
                    outputs.fold_alert();
                } else {
                    outputs.write(&event, now_ns);
                }
            },
        );
        for lag in lags {
            self.outputs.say(&lag_notice(lag, now_ns), now_ns);
        }
        self.outputs
            .note_queue_full(self.merge.queue_full(), now_ns);
        count
    }

    fn record_lags(&mut self, times: &mut Vec<i64>) {
        if let Some(histogram) = &mut self.lag_us {
            let now_ns = if times.is_empty() { 0 } else { (self.clock)() };
            for ts_ns in times.iter() {
                let lag_ns = now_ns.saturating_sub(*ts_ns).max(0);
                histogram.saturating_record(lag_ns.unsigned_abs() / 1000);
            }
        }
        times.clear();
    }
}

/// The wall clock at this run time.
fn wall_ns(run_time: Option<&RunTime>, ts_ns: i64) -> i64 {
    let shift_ns = run_time.map_or(0, |run_time| run_time.wall_shift_ns(ts_ns));
    ts_ns.saturating_add(shift_ns)
}

fn lifecycle(ts_ns: i64, word: &'static str, text: String) -> Notice {
    let details = Vec::new();
    Notice::Lifecycle {
        ts_ns,
        word,
        text,
        details,
    }
}

fn lag_notice(lag: Lag, now_ns: i64) -> Notice {
    let (word, says) = if lag.behind {
        ("straggler", "is behind and is waited for no more")
    } else {
        ("straggler_back", "has caught up")
    };
    lifecycle(now_ns, word, format!("shard {} {says}", lag.shard))
}

#[cfg(test)]
mod tests {
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
        let folded =
            "2021-04-28 15:28:05: Sensor alerts_folded: 2 alerts folded: port_scan started 2";
        let end: Vec<&str> = text.lines().skip(101).collect();
        assert_eq!(end, [folded, "2021-04-28 15:28:05: Stats: 5 packets"]);
    }
}
