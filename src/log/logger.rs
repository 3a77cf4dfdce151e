//! The logger's loop: merge, budget, outputs, until every shard is closed.

use super::budget::Budget;
use super::event::{Body, Event};
use super::merge::{Lag, Merge};
use super::notice::{self, Notice};
use super::outputs::{Counts, Outputs};
use crate::capture::clock::RunTime;
use crossbeam::channel::Receiver;
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Events between two looks at the clock.
const BATCH: usize = 1024;
/// Lines wait no longer than this while events keep coming.
const FLUSH_NS: u64 = 500_000_000;
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
    /// The books of each output.
    pub outputs: Vec<Counts>,
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
    /// The sensor's own records.
    pub notices: Receiver<Notice>,
    /// Shared with sensor and signal handler.
    pub control: Arc<Control>,
    /// The wall clock.
    pub clock: Clock,
    /// Live: events come in run time and are written with the wall clock of their epoch.
    pub run_time: Option<RunTime>,
    /// Live: microseconds from an event's time stamp to the batch that wrote it; `None` in `read`.
    pub lag_us: Option<Histogram<u64>>,
}

/// What is left when the logger is done.
#[derive(Debug)]
pub struct Summary {
    /// The books of each output, in the order of the command line.
    pub outputs: Vec<Counts>,
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
        let mut sleep = SLEEP_MIN;
        loop {
            // Before the step: what a shard pushed before it closed is then written below.
            let finished = self.merge.finished();
            let now_ns = (self.clock)();
            let count = self.step(now_ns, &mut times);
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
                sleep = SLEEP_MIN;
                continue;
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
            published.outputs = self.outputs.counts();
            published.lag_us.clone_from(&self.lag_us);
        }
    }

    /// Writes a record of the sensor's own, after [`Logger::run`] has returned.
    pub fn notice(&mut self, notice: &Notice) {
        let now_ns = (self.clock)();
        self.outputs.notice(notice, now_ns);
    }

    /// Writes what is left and closes the books.
    pub fn finish(mut self) -> Summary {
        let now_ns = (self.clock)();
        while let Ok(notice) = self.notices.try_recv() {
            self.outputs.notice(&notice, now_ns);
        }
        if let Some(notice) = self.budget.finish() {
            self.outputs.folded_notice(&notice, now_ns);
        }
        self.outputs.note_queue_full(self.merge.queue_full());
        self.outputs.finish(now_ns);
        Summary {
            outputs: self.outputs.counts(),
            late: self.merge.late(),
            alerts_folded: self.budget.folded_total(),
            lag_us: self.lag_us,
        }
    }

    /// One round: notices, then at most a batch of events; returns how many events.
    fn step(&mut self, now_ns: i64, times: &mut Vec<i64>) -> usize {
        if self.control.reopen.swap(false, Ordering::Relaxed) {
            for error in self.outputs.reopen(now_ns) {
                let text = error.to_string();
                let notice = lifecycle(now_ns, "reopen_failed", text);
                self.outputs.notice(&notice, now_ns);
            }
        }
        while let Ok(notice) = self.notices.try_recv() {
            self.outputs.notice(&notice, now_ns);
        }
        let (outputs, budget) = (&mut self.outputs, &mut self.budget);
        let run_time = self.run_time.as_ref();
        let mut lags = Vec::new();
        let live = self.lag_us.is_some();
        let count = self.merge.step(
            BATCH,
            |lag| lags.push(lag),
            |mut event| {
                budget.advance(notice::ts_ns(&event));
                if let Some(run_time) = run_time {
                    event.shift(run_time.wall_shift_ns(notice::ts_ns(&event)));
                }
                write(outputs, budget, &event, now_ns);
                if live {
                    times.push(notice::ts_ns(&event));
                }
            },
        );
        for lag in lags {
            self.outputs.notice(&lag_notice(lag, now_ns), now_ns);
        }
        self.outputs.note_queue_full(self.merge.queue_full());
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

fn write(outputs: &mut Outputs, budget: &mut Budget, event: &Event, now_ns: i64) {
    if let Some(notice) = budget.freed() {
        outputs.folded_notice(&notice, now_ns);
    }
    match &event.body {
        Body::Alert(detection) if !budget.admit(detection) => outputs.fold_alert(),
        _ => outputs.write(event, now_ns),
    }
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
    use crate::log::eve::{Context, Interfaces};
    use crate::log::queue::queue;
    use crate::log::samples;

    #[test]
    fn a_run_writes_everything_folds_by_budget_and_closes_its_books() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("log");
        let spec = format!("text:{}", path.display()).parse().expect("a spec");
        let context = Context {
            host: "edge".into(),
            interfaces: Interfaces::default(),
            direction: Arc::new(|_, _| "unknown"),
            frames: false,
        };
        let (mut producer, consumer) = queue(16);
        let (_sender, notices) = crossbeam::channel::bounded(1);
        let mut logger = Logger {
            merge: Merge::new(vec![consumer], None),
            outputs: Outputs::open(&[spec], &context).expect("open"),
            budget: Budget::new(Some(1)),
            notices,
            control: Arc::default(),
            clock: Box::new(|| 0),
            run_time: None,
            lag_us: Some(lag_histogram()),
        };
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
        let summary = logger.finish();
        let counts = &summary.outputs[0];
        assert!(counts.closed());
        assert_eq!(
            (counts.written, counts.folded),
            ([100, 1, 0, 0, 1], [0, 2, 0, 0, 0])
        );
        assert_eq!(summary.alerts_folded, 2);
        assert_eq!(summary.lag_us.map(|lags| lags.len()), Some(103));
        let text = std::fs::read_to_string(path).expect("read");
        let last =
            "2021-04-28 15:28:05: Sensor alerts_folded: 2 alerts folded: port_scan started 2";
        assert_eq!(text.lines().last(), Some(last));
        assert_eq!(text.lines().count(), 102);
    }
}
