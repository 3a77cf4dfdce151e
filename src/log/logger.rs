//! The logger's loop: merge, budget, outputs, until every shard is closed.

use super::budget::Budget;
use super::event::{Body, Event};
use super::fold::logger::Folding;
use super::merge::{Lag, Merge};
use super::notice::Notice;
use super::outputs::Outputs;
use super::reached::LogTime;
use super::tap::{Tap, TapEvent};
use crate::books::output::{Cause, LogCounts, OutputCounts};
use crate::books::record_kind::{EventKind, KINDS};
use crate::books::responder::ResponderCounts;
use crate::time::clock::RunTime;
use crate::time::timeline::ts_of_position;
use crossbeam::channel::Receiver;
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Events between two looks at the clock.
const BATCH: usize = 1024;
/// Lines are flushed at least this often while events keep coming.
const FLUSH_NS: u64 = 500_000_000;
/// Live: after so long without an event, what the budget withheld is reported; the bucket is full again by then.
const SILENT_NS: u64 = 1_000_000_000;
const SLEEP_MIN: Duration = Duration::from_micros(200);
const SLEEP_MAX: Duration = Duration::from_millis(20);

/// Nanoseconds since the Unix epoch; the logger has no clock of its own.
pub type LoggerClock = Box<dyn Fn() -> i64 + Send>;

/// Flags and snapshots that the logger shares with the sensor.
#[derive(Debug, Default)]
pub struct Control {
    /// Set by the signal handler: open all files anew.
    pub reopen: AtomicBool,
    /// Set by the sensor: return, even if shards are still open.
    pub abandon: AtomicBool,
    /// Set by the logger: the reader of standard output has left, so the program ends with 0.
    pub closed: AtomicBool,
    /// Replaced by the logger twice a second, unless somebody is reading it.
    pub published: Mutex<Published>,
}

/// What the logger lets others see while it runs, and returns at its end.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// How often this was published: one that stays the same is old.
    pub number: u64,
    /// The books of each output, in the order of the command line.
    pub outputs: Vec<OutputCounts>,
    /// The books of each responder.
    pub responders: Vec<ResponderCounts>,
    /// Records that the logger itself had to write, by kind.
    pub own: [u64; KINDS],
    /// Late records, folds.
    pub log: LogCounts,
    /// Shards that the order no longer waits for.
    pub behind: usize,
    /// Microseconds from time stamp to line.
    pub lag_us: Option<Histogram<u64>>,
}

/// Everything the logger works with.
pub struct Logger {
    /// The shards' events.
    pub merge: Merge,
    /// Listeners that hear every event.
    pub tap: Tap,
    /// Where they are written.
    pub outputs: Outputs,
    /// How many alerts a second are written.
    pub budget: Budget,
    /// Which attempts are folded.
    pub folding: Folding,
    /// The sensor's own records.
    pub notices: Receiver<Notice>,
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
        self.advance(i64::MAX, flushed_ns);
        let mut published_ns = flushed_ns;
        let mut event_ns = flushed_ns;
        let mut blocked: Vec<Option<Cause>> = self.outputs.blocked().collect();
        let mut sleep = SLEEP_MIN;
        loop {
            // Before the step: what a shard pushed before it closed is then written below.
            let finished = self.merge.finished();
            let now_ns = (self.clock)();
            let count = self.step(now_ns, &mut times);
            if count == 0 {
                self.folding.settle(&self.merge, &mut self.outputs, now_ns);
            }
            if count == 0 || now_ns.abs_diff(flushed_ns) >= FLUSH_NS {
                self.outputs.flush(now_ns);
                flushed_ns = now_ns;
            }
            // A full disk is published at once.
            let changed = !self.outputs.blocked().eq(blocked.iter().copied());
            if changed || now_ns.abs_diff(published_ns) >= FLUSH_NS {
                self.publish();
                published_ns = now_ns;
                blocked = self.outputs.blocked().collect();
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
                self.report_folded(now_ns);
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
            outputs: self.outputs.counts(),
            responders: self.tap.counts(),
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
        while let Ok(notice) = self.notices.try_recv() {
            self.outputs.notice(&notice, now_ns);
        }
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

    /// Reports alerts that the budget withheld since the last report.
    fn report_folded(&mut self, now_ns: i64) {
        if let Some(folded) = self.budget.take_folded() {
            let notice = folded.notice(|ts_ns| wall_ns(self.run_time.as_ref(), ts_ns));
            self.outputs.report_folded(&notice, now_ns);
        }
    }

    /// Reopens files if asked to, and writes the sensor's notices.
    fn take_orders(&mut self, now_ns: i64) {
        if self.control.reopen.swap(false, Ordering::Relaxed) {
            for error in self.outputs.reopen(now_ns) {
                let text = error.to_string();
                let notice = lifecycle(now_ns, "reopen_failed", text);
                self.outputs.own_notice(&notice, now_ns);
            }
        }
        while let Ok(notice) = self.notices.try_recv() {
            self.outputs.notice(&notice, now_ns);
        }
    }

    /// Writes the notices of listeners at the tap.
    fn report_tap(&mut self, now_ns: i64) {
        while let Some(notice) = self.tap.take_notice() {
            self.outputs.own_notice(&notice, now_ns);
        }
    }

    /// One round: notices, then at most a batch of events; returns how many events.
    fn step(&mut self, now_ns: i64, times: &mut Vec<i64>) -> usize {
        self.take_orders(now_ns);
        let (outputs, budget, folding) = (&mut self.outputs, &mut self.budget, &mut self.folding);
        let tap = &mut self.tap;
        let run_time = self.run_time.as_ref();
        let mut lags = Vec::new();
        let live = self.lag_us.is_some();
        let count = self.merge.step(
            BATCH,
            |lag| lags.push(lag),
            |event| {
                // In run time, as the events come: the budget knows no steps of the clock.
                let ts_ns = event.ts_ns();
                let shift_ns = wall_ns(run_time, ts_ns).saturating_sub(ts_ns);
                let due = due(event, run_time, live.then_some(now_ns));
                tap.on_event(TapEvent {
                    event,
                    due,
                    shift_ns,
                });
                if event.body.is_withheld() {
                    outputs.withhold();
                    return;
                }
                budget.advance(ts_ns);
                if let Some(folded) = budget.freed() {
                    let notice = folded.notice(|ts_ns| wall_ns(run_time, ts_ns));
                    outputs.report_folded(&notice, now_ns);
                }
                let folds = matches!(&event.body, Body::Alert(alert) if !budget.admit(alert));
                if shift_ns != 0 {
                    event.shift(shift_ns);
                }
                // Not the record's own time: a flow that timed out is due long after its last packet.
                if live && !event.step.is_end() {
                    times.push(wall_ns(run_time, ts_of_position(event.position)));
                }
                if let Body::Folded(fold) = &event.body {
                    return folding.add((fold.clone(), event.position, due), outputs, now_ns);
                }
                if folding.takes(event, due, outputs, now_ns) {
                    return;
                }
                if folds {
                    outputs.fold_alert();
                } else {
                    outputs.write(event, due, now_ns);
                }
            },
        );
        self.advance(ts_of_position(self.merge.reached()), now_ns);
        for lag in lags {
            self.outputs.own_notice(&lag_notice(lag, now_ns), now_ns);
        }
        self.outputs
            .note_queue_full(self.merge.queue_full(), now_ns);
        count
    }

    /// Live: the log has reached this run time, or this moment if that comes first.
    fn advance(&mut self, reached_ns: i64, now_ns: i64) {
        if self.lag_us.is_none() {
            return;
        }
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
