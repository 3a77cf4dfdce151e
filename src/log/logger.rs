//! The logger's loop: merge, budget, outputs, until every shard is closed. Where one thread does all, the only shard
//! hands its events to the logger itself.

mod control;
mod progress;

use super::anonymize::Anonymizer;
use super::budget::Budget;
use super::event::{Body, Event};
use super::fold::logger::Folding;
use super::merge::{Lag, Merge};
use super::notice::Notice;
use super::outputs::Outputs;
use super::reached::LogTime;
use super::sinks::lines::Patience;
use super::tap::{Tap, TapEvent};
use crate::books::output::{Cause, LogCounts};
use crate::books::record_kind::EventKind;
use crate::time::clock::RunTime;
use crate::time::timeline::ts_of_position;
pub use control::{Control, Published};
use crossbeam::channel::{Receiver, Sender};
use hdrhistogram::Histogram;
pub use progress::Progress;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Events between two looks at the clock.
const BATCH: usize = 1024;
/// Lines are flushed at least this often while events keep coming.
const FLUSH_NS: u64 = 500_000_000;
/// Live: after so long without an event, what the budget withheld is reported; the bucket is full again by then.
const SILENT_NS: u64 = 1_000_000_000;
const SLEEP_MIN: Duration = Duration::from_micros(200);
const SLEEP_MAX: Duration = Duration::from_millis(5);

/// Nanoseconds since the Unix epoch; the logger has no clock of its own.
pub type LoggerClock = Box<dyn Fn() -> i64 + Send>;

/// Asks the logger where it is.
pub struct Order {
    /// For the answer.
    pub progress: Sender<Progress>,
    /// Then: whether another process goes on there.
    pub leaves: Receiver<bool>,
}

/// Everything the logger works with.
pub struct Logger {
    /// The shards' events.
    pub merge: Merge,
    /// Listeners that hear every event.
    pub tap: Tap,
    /// `--anonymize`: what nobody hears of by its real address, listeners and outputs alike.
    pub anonymizer: Option<Anonymizer>,
    /// Where they are written.
    pub outputs: Outputs,
    /// How many alerts a second are written.
    pub budget: Budget,
    /// Which attempts are folded.
    pub folding: Folding,
    /// The sensor's own records.
    pub notices: Receiver<Notice>,
    /// Asks where it is, while no shard pushes anything.
    pub orders: Receiver<Order>,
    /// Shared with sensor and signal handler.
    pub control: Arc<Control>,
    /// The wall clock.
    pub clock: LoggerClock,
    /// Events come in run time and are written with the wall clock of their epoch; in `read` both are those of the
    /// captures.
    pub run_time: Option<RunTime>,
    /// Live: microseconds from the packet or deadline that made an event due to the batch that wrote it;
    /// `None` in `read`.
    pub lag_us: Option<Histogram<u64>>,
    round: Round,
}

/// The logger's round, with times by its clock.
#[derive(Default)]
struct Round {
    now_ns: i64,
    flushed_ns: i64,
    published_ns: i64,
    /// When there was an event.
    event_ns: i64,
    /// Events that were written in it.
    events: usize,
    /// Live: when they were due.
    times: Vec<i64>,
    /// Why each output took nothing when that was published.
    blocked: Vec<Option<Cause>>,
}

/// A histogram for [`Logger::lag_us`]: up to an hour, two digits.
pub fn lag_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 2).expect("bounds that the crate takes")
}

impl Logger {
    /// A logger that does nothing but write: for all else, set its fields.
    pub fn new(merge: Merge, outputs: Outputs, clock: LoggerClock) -> Self {
        Self {
            merge,
            tap: Tap::default(),
            anonymizer: None,
            outputs,
            budget: Budget::new(None),
            folding: Folding::Shards(None),
            notices: crossbeam::channel::never(),
            orders: crossbeam::channel::never(),
            control: Arc::default(),
            clock,
            run_time: None,
            lag_us: None,
            round: Round::default(),
        }
    }

    /// Runs until every shard is closed and its events are written, or until told to abandon.
    ///
    /// An idle logger flushes at once and sleeps at most 5 ms; a busy one flushes twice a second.
    pub fn run(&mut self) {
        self.start();
        let mut sleep = SLEEP_MIN;
        loop {
            if self.obey() {
                return;
            }
            // Before the turn: what a shard pushed before it closed is then written below.
            let finished = self.merge.finished();
            if self.turn() > 0 {
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

    /// Says where it is, if asked to. True: another process goes on there.
    fn obey(&mut self) -> bool {
        let Ok(order) = self.orders.try_recv() else {
            return false;
        };
        let _ = order.progress.send(self.progress());
        order.leaves.recv().unwrap_or(false)
    }

    /// Before the first event.
    pub fn start(&mut self) {
        let now_ns = (self.clock)();
        self.round = Round {
            now_ns,
            flushed_ns: now_ns,
            published_ns: now_ns,
            event_ns: now_ns,
            events: 0,
            times: Vec::with_capacity(BATCH),
            blocked: self.outputs.blocked().collect(),
        };
        self.advance(i64::MAX);
    }

    /// Ends a round and begins the next: notices, at most a batch of the shards' events, flushes. Returns how many
    /// events were written, those of [`Logger::take`] since the last time among them.
    pub fn turn(&mut self) -> usize {
        self.round.now_ns = (self.clock)();
        self.step();
        let now_ns = self.round.now_ns;
        let count = std::mem::take(&mut self.round.events);
        if count == 0 {
            self.folding.settle(&self.merge, &mut self.outputs, now_ns);
        }
        if count == 0 || now_ns.abs_diff(self.round.flushed_ns) >= FLUSH_NS {
            self.outputs.flush(now_ns);
            self.round.flushed_ns = now_ns;
            if let Some(reached_ns) = self.outputs.reached().wall_ns() {
                self.control.written_ns.store(reached_ns, Ordering::Relaxed);
            }
        }
        // A full disk is published at once.
        let changed = !self
            .outputs
            .blocked()
            .eq(self.round.blocked.iter().copied());
        if changed || now_ns.abs_diff(self.round.published_ns) >= FLUSH_NS {
            self.publish();
            self.round.published_ns = now_ns;
            self.round.blocked = self.outputs.blocked().collect();
        }
        self.record_lags();
        if self.outputs.is_closed() {
            self.control.closed.store(true, Ordering::Relaxed);
        }
        if count > 0 {
            self.round.event_ns = now_ns;
        } else if self.lag_us.is_some() && now_ns.abs_diff(self.round.event_ns) >= SILENT_NS {
            self.report_folded(now_ns);
        }
        count
    }

    fn publish(&self) {
        if let Ok(mut published) = self.control.published.try_lock() {
            let number = published.number + 1;
            *published = Published {
                number,
                ..self.snapshot()
            };
        }
    }

    fn snapshot(&self) -> Published {
        Published {
            number: 0,
            outputs: self.outputs.books(),
            responders: self.tap.counts(),
            blocks: self.tap.block_counts(),
            own: self.outputs.own(),
            log: self.log_counts(),
            behind: self.merge.behind(),
            lag_us: self.lag_us.clone(),
        }
    }

    fn log_counts(&self) -> LogCounts {
        LogCounts {
            late_records: self.merge.late(),
            withheld_queue_full: self.merge.withheld_full(),
            alerts_queue_full: self.merge.queue_full()[EventKind::Alert as usize],
            ..self.outputs.folds()
        }
    }

    /// Writes what is left and closes the books.
    pub fn finish(self) -> Published {
        self.finish_with(|_| None)
    }

    /// The same, with a last record, made from the books once everything else is written or lost.
    pub fn finish_with(mut self, last: impl FnOnce(&Published) -> Option<Notice>) -> Published {
        let now_ns = (self.clock)();
        self.outputs.reached().end();
        self.write_notices(now_ns);
        self.report_folded(now_ns);
        self.tap.finish(now_ns);
        self.report_tap(now_ns);
        self.folding.finish(&mut self.outputs, now_ns);
        self.outputs
            .note_queue_full(self.merge.queue_full(), now_ns);
        self.outputs.end_queue_loss(now_ns);
        self.outputs.finish(now_ns);
        if let Some(notice) = last(&self.snapshot()) {
            self.outputs.own_notice(&notice, now_ns);
        }
        self.outputs.finish(now_ns);
        self.snapshot()
    }

    /// Nothing is pending in any output afterwards: what no reader takes within a second is dropped and counted.
    pub(super) fn settle_outputs(&mut self) {
        let now_ns = (self.clock)();
        self.outputs.end_queue_loss(now_ns);
        self.outputs.finish(now_ns);
        if self.lag_us.is_some() {
            self.outputs.set_patience(&Patience::Live);
        }
        self.publish();
    }

    /// Reports alerts that the budget withheld since the last report.
    fn report_folded(&mut self, now_ns: i64) {
        if let Some(folded) = self.budget.take_folded() {
            let notice = folded.notice(|ts_ns| wall_ns(self.run_time.as_ref(), ts_ns));
            self.outputs.report_folded(&notice, now_ns);
        }
    }

    /// Reopens files and changes outputs if asked to, and writes the sensor's notices.
    fn take_orders(&mut self, now_ns: i64) {
        if self.control.reopen.swap(false, Ordering::Relaxed) {
            for error in self.outputs.reopen(now_ns) {
                let text = error.to_string();
                let notice = lifecycle(now_ns, "reopen_failed", text);
                self.outputs.own_notice(&notice, now_ns);
            }
        }
        let changes = self.control.changes.lock();
        let changes = changes.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(changes) = changes {
            self.folding.finish(&mut self.outputs, now_ns);
            self.outputs.change(changes, now_ns);
        }
        self.write_notices(now_ns);
    }

    fn write_notices(&mut self, now_ns: i64) {
        while let Ok(mut notice) = self.notices.try_recv() {
            if let Some(anonymizer) = &self.anonymizer {
                anonymizer.notice(&mut notice);
            }
            self.outputs.notice(&notice, now_ns);
        }
    }

    /// Writes the notices of listeners at the tap.
    fn report_tap(&mut self, now_ns: i64) {
        while let Some(notice) = self.tap.take_notice() {
            self.outputs.own_notice(&notice, now_ns);
        }
    }

    /// Writes notices, then at most a batch of the shards' events.
    fn step(&mut self) {
        let now_ns = self.round.now_ns;
        self.take_orders(now_ns);
        let mut lags = Vec::new();
        let mut merge = std::mem::take(&mut self.merge);
        merge.step(BATCH, |lag| lags.push(lag), |event| self.write(event));
        self.merge = merge;
        self.advance(ts_of_position(self.merge.reached()));
        for lag in lags {
            self.outputs.own_notice(&lag_notice(lag, now_ns), now_ns);
        }
        self.outputs
            .note_queue_full(self.merge.queue_full(), now_ns);
    }

    /// Writes an event of the only shard, which runs on this thread and has no queue.
    pub fn take(&mut self, event: &mut Event) {
        self.merge.check_order(event);
        self.write(event);
        if self.round.events == BATCH {
            self.turn();
        }
    }

    /// Writes the next event of the log.
    #[inline]
    fn write(&mut self, event: &mut Event) {
        let now_ns = self.round.now_ns;
        self.round.events += 1;
        if let Some(anonymizer) = &self.anonymizer {
            anonymizer.event(event);
        }
        let live = self.lag_us.is_some();
        // Most runs have one epoch.
        let run_time = (self.run_time.as_ref()).filter(|run_time| run_time.count() > 0);
        // In run time, as the events come: the budget knows no steps of the clock.
        let ts_ns = event.ts_ns();
        let shift_ns = run_time.map_or(0, |run_time| run_time.wall_shift_ns(ts_ns));
        let due = due(event, run_time, live.then_some(now_ns));
        self.tap.on_event(TapEvent {
            event,
            due,
            shift_ns,
        });
        let outputs = &mut self.outputs;
        if event.body.is_withheld() {
            outputs.withhold();
            return;
        }
        self.budget.advance(ts_ns);
        if let Some(folded) = self.budget.freed() {
            let notice = folded.notice(|ts_ns| wall_ns(run_time, ts_ns));
            outputs.report_folded(&notice, now_ns);
        }
        let folds = matches!(&event.body, Body::Alert(alert) if !self.budget.admit(alert));
        if shift_ns != 0 {
            event.shift(shift_ns);
        }
        // Not the record's own time: a flow that timed out is due long after its last packet.
        if live && !event.step.is_end() {
            let due_ns = wall_ns(run_time, ts_of_position(event.position));
            self.round.times.push(due_ns);
        }
        if let Body::Folded(fold) = &event.body {
            let part = (fold.clone(), event.position, due);
            return self.folding.add(part, outputs, now_ns);
        }
        if self.folding.takes(event, due, outputs, now_ns) {
            return;
        }
        if folds {
            outputs.fold_alert();
        } else {
            outputs.write(event, due, now_ns);
        }
    }

    /// Live: the log has reached this run time, or this moment if that comes first.
    fn advance(&mut self, reached_ns: i64) {
        if self.lag_us.is_none() {
            return;
        }
        let now_ns = self.round.now_ns;
        let now = moment(self.run_time.as_ref(), now_ns);
        let to = LogTime {
            run_ns: reached_ns,
            wall_ns: wall_ns(self.run_time.as_ref(), reached_ns),
        };
        let first = if to.run_ns < now.run_ns { to } else { now };
        self.outputs.reached().advance(first);
        self.tap.tick(first, now_ns);
        self.report_tap(now_ns);
    }

    fn record_lags(&mut self) {
        let times = &mut self.round.times;
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

/// When an event was due. Live, at `now_ns`, what the end of the run made due is due now.
fn due(event: &Event, run_time: Option<&RunTime>, now_ns: Option<i64>) -> LogTime {
    let run_ns = event.step.due_ns();
    match now_ns.filter(|_| event.step.is_end()) {
        Some(now_ns) => moment(run_time, now_ns),
        None => LogTime {
            run_ns,
            wall_ns: wall_ns(run_time, run_ns),
        },
    }
}

/// This moment of the wall clock.
fn moment(run_time: Option<&RunTime>, now_ns: i64) -> LogTime {
    // After all steps of the clock that were noticed.
    let shift_ns = run_time.map_or(0, |run_time| run_time.wall_shift_ns(i64::MAX));
    LogTime {
        run_ns: now_ns.saturating_sub(shift_ns),
        wall_ns: now_ns,
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
    let (word, text) = if lag.behind {
        ("straggler", "is behind and is waited for no more")
    } else {
        ("straggler_back", "has caught up")
    };
    lifecycle(now_ns, word, format!("shard {} {text}", lag.shard))
}

#[cfg(test)]
mod tests;
