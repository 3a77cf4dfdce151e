//! All outputs of a run: each renders what it asks for, and keeps its own books.
//!
//! Per output and kind: `offered = written + folded + not_asked + Σ dropped[cause] + pending`, and
//! `pending` is 0 after [`Outputs::finish`].

mod notices;
mod progress;

use super::event::{Body, Event, Step};
use super::fold::Fold;
use super::formats::context::Context;
use super::formats::{Format, OutputTraits};
use super::merge::SHARD_KINDS;
use super::notice::Notice;
use super::reached::{LogTime, Reached};
use super::sinks::archive::Archive;
use super::sinks::descriptor::OpenError;
use super::sinks::lines::Patience;
use super::sinks::recovery::Recovery;
use super::sinks::spec::OutputSpec;
use super::sinks::{self, Carried, Entry, Moment, Sink};
use crate::books::output::{Cause, LogCounts, OutputBooks, OutputCounts};
use crate::books::record_kind::{EventKind, KINDS};
use notices::{recovery_notice, rotation_notice, torn_notice};
pub use progress::OutputsProgress;

struct Output {
    spec: OutputSpec,
    format: Box<dyn Format>,
    sink: Box<dyn Sink>,
    folded: [u64; KINDS],
    /// Attempts in folds that are not yet rendered.
    folding: u64,
    not_asked: [u64; KINDS],
    queue_full: [u64; KINDS],
    /// Of its sink in another process.
    before: Carried,
}

impl Output {
    /// What its sink carried, here and in processes before.
    fn carried(&self) -> Carried {
        let mut carried = self.sink.carried();
        carried.add(&self.before);
        carried
    }

    /// Of a flow with parts it gets these or the whole.
    fn asks_for(&self, body: &Body) -> bool {
        let fits = match (body, self.spec.parts) {
            (Body::Flow(flow), true) => !flow.total,
            (Body::Flow(flow), false) => !flow.is_part(),
            _ => true,
        };
        fits && self.spec.events.has(body.kind())
    }

    /// True: the sink has a recovery to report.
    fn event(&mut self, event: &Event, at: Moment) -> bool {
        let kind = event.body.kind();
        if !self.asks_for(&event.body) {
            self.not_asked[kind as usize] += 1;
            return false;
        }
        let entry = Entry { kind, folded: 0 };
        let Some(out) = self.sink.admit(entry, at) else {
            return false;
        };
        self.format.event(out, event, at.log_ns);
        self.sink.commit(entry, at)
    }

    fn fold(&mut self, event: &Event, count: u64, at: Moment) {
        let kind = EventKind::Connection;
        if !self.spec.events.has(kind) {
            return;
        }
        self.folding -= count;
        let entry = Entry {
            kind,
            folded: count,
        };
        if let Some(out) = self.sink.admit(entry, at) {
            self.format.event(out, event, at.log_ns);
            self.sink.commit(entry, at);
        }
    }

    /// Writes a notice that is asked for, or `forced`.
    fn notice(&mut self, notice: &Notice, forced: bool, at: Moment) {
        let kind = notice.kind();
        let renders = self.spec.format.renders.contains(&kind);
        if !renders || !forced && !self.spec.events.has(kind) {
            self.not_asked[kind as usize] += 1;
            return;
        }
        let entry = Entry { kind, folded: 0 };
        if let Some(out) = self.sink.admit(entry, at) {
            self.format.notice(out, notice, at.log_ns);
            self.sink.commit(entry, at);
        }
    }

    /// `offered`: to every output alike.
    fn counts(&self, offered: [u64; KINDS]) -> OutputCounts {
        let carried = self.carried();
        let (mut dropped, mut folded) = (carried.dropped, self.folded);
        let mut pending = carried.pending;
        dropped[Cause::QueueFull as usize] = self.queue_full;
        folded[EventKind::Connection as usize] += carried.folded;
        pending[EventKind::Connection as usize] += self.folding;
        OutputCounts {
            offered,
            written: carried.written,
            folded,
            not_asked: self.not_asked,
            dropped,
            pending,
            blocked: self.sink.blocked(),
        }
    }
}

/// A loss in the queues is over after so long without another, ns.
const QUEUES_QUIET_NS: u64 = 1_000_000_000;

/// Events lost to full queues and not yet reported.
struct QueueLoss {
    recovery: Recovery,
    last_ns: i64,
}

/// The outputs of a run.
pub struct Outputs {
    outputs: Vec<Output>,
    /// Their closed files.
    archive: Archive,
    /// Records so far; each output is offered every one.
    offered: [u64; KINDS],
    queue_full: [u64; SHARD_KINDS],
    queue_loss: Option<QueueLoss>,
    own: [u64; KINDS],
    folds: LogCounts,
    reached: Reached,
}

impl Outputs {
    /// Opens every output.
    ///
    /// # Errors
    ///
    /// The first that cannot be opened.
    pub fn open(specs: &[OutputSpec], context: &Context) -> Result<Self, OpenError> {
        let mut outputs = Self {
            outputs: Vec::with_capacity(specs.len()),
            archive: Archive::default(),
            offered: [0; KINDS],
            queue_full: [0; SHARD_KINDS],
            queue_loss: None,
            own: [0; KINDS],
            folds: LogCounts::default(),
            reached: Reached::default(),
        };
        for (at, spec) in specs.iter().enumerate() {
            let sink = sinks::open(spec, &outputs.archive, at)?;
            outputs.add(spec.clone(), sink, context);
        }
        Ok(outputs)
    }

    /// Adds an output with a sink that is already open.
    pub fn add(&mut self, spec: OutputSpec, sink: Box<dyn Sink>, context: &Context) {
        let traits = output_traits(&spec, sink.as_ref(), self.outputs.len());
        let format = (spec.format.open)(context, &traits);
        self.outputs.push(Output {
            spec,
            format,
            sink,
            folded: [0; KINDS],
            folding: 0,
            not_asked: [0; KINDS],
            queue_full: [0; KINDS],
            before: Carried::default(),
        });
    }

    /// Limits how long lines wait for readers of pipes and terminals; without this, for ever.
    pub fn set_patience(&mut self, patience: &Patience) {
        for output in &mut self.outputs {
            output.sink.set_patience(patience.clone());
        }
    }

    /// The closed files of all outputs.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// How far the log is.
    pub fn reached(&mut self) -> &mut Reached {
        &mut self.reached
    }

    /// Writes a shard's event, due at this moment, to each output that asks for it.
    pub fn write(&mut self, event: &Event, due: LogTime, now_ns: i64) {
        self.reached.set(due);
        self.offered[event.body.kind() as usize] += 1;
        let log_ns = due.wall_ns;
        let mut recovered = false;
        for output in &mut self.outputs {
            recovered |= output.event(event, Moment { log_ns, now_ns });
        }
        if recovered {
            self.report_recoveries(now_ns);
        }
    }

    /// Counts an attempt that the logger folds.
    pub fn fold_here(&mut self) {
        self.folds.folded_by_logger += 1;
        self.hold_folded(1);
    }

    /// Counts attempts that lie in a fold, which [`Outputs::write_fold`] will write.
    pub fn hold_folded(&mut self, count: u64) {
        let connection = EventKind::Connection as usize;
        self.offered[connection] += count;
        for output in &mut self.outputs {
            if output.spec.events.has(EventKind::Connection) {
                output.folding += count;
            } else {
                output.not_asked[connection] += count;
            }
        }
    }

    /// Writes a fold whose attempts were counted, and which is due at this moment, to each output that asks for
    /// connections.
    pub fn write_fold(&mut self, fold: Box<Fold>, position: u64, due: LogTime, now_ns: i64) {
        self.reached.set(due);
        let count = fold.count;
        self.folds.flood_records += 1;
        self.folds.folded_connections += count;
        let event = Event {
            position,
            step: Step::Timer(fold.end_ns()),
            body: Body::Folded(fold),
        };
        for output in &mut self.outputs {
            let log_ns = due.wall_ns;
            output.fold(&event, count, Moment { log_ns, now_ns });
        }
        self.report_recoveries(now_ns);
    }

    /// Counts a detection that is no alert.
    pub fn withhold(&mut self) {
        self.folds.withheld_detections += 1;
    }

    /// Counts an alert that the budget withholds.
    pub fn fold_alert(&mut self) {
        let alert = EventKind::Alert as usize;
        self.offered[alert] += 1;
        for output in &mut self.outputs {
            if output.spec.events.has(EventKind::Alert) {
                output.folded[alert] += 1;
            } else {
                output.not_asked[alert] += 1;
            }
        }
    }

    /// Counts events lost to full queues, of which `totals` is the sum so far. Reports them once no more were lost for a
    /// second.
    pub fn note_queue_full(&mut self, totals: [u64; SHARD_KINDS], now_ns: i64) {
        for (kind, &total) in totals.iter().enumerate() {
            let new = total - self.queue_full[kind];
            if new == 0 {
                continue;
            }
            let mut asked = false;
            self.offered[kind] += new;
            for output in &mut self.outputs {
                if output.spec.events.has(EventKind::ALL[kind]) {
                    output.queue_full[kind] += new;
                    asked = true;
                } else {
                    output.not_asked[kind] += new;
                }
            }
            if !asked {
                continue;
            }
            let loss = self.queue_loss.get_or_insert(QueueLoss {
                recovery: Recovery {
                    since_ns: now_ns,
                    cause: Cause::QueueFull,
                    lost: [0; KINDS],
                },
                last_ns: now_ns,
            });
            loss.recovery.lost[kind] += new;
            loss.last_ns = now_ns;
        }
        self.queue_full = totals;
        let quiet = |loss: &mut QueueLoss| now_ns.abs_diff(loss.last_ns) >= QUEUES_QUIET_NS;
        if let Some(loss) = self.queue_loss.take_if(quiet) {
            self.report_queue_loss(&loss, now_ns);
        }
    }

    /// Reports events lost to full queues at once: the run is over.
    pub fn end_queue_loss(&mut self, now_ns: i64) {
        if let Some(loss) = self.queue_loss.take() {
            self.report_queue_loss(&loss, now_ns);
        }
    }

    fn report_queue_loss(&mut self, loss: &QueueLoss, now_ns: i64) {
        let lost = loss.recovery.lost;
        let notice = recovery_notice(None, &loss.recovery, now_ns);
        self.own[notice.kind() as usize] += 1;
        let asked = |kind: EventKind, output: &Output| {
            lost[kind as usize] > 0 && output.spec.events.has(kind)
        };
        self.offer(&notice, now_ns, |_, output| {
            EventKind::ALL.into_iter().any(|kind| asked(kind, output))
        });
    }

    /// Writes a record that the sensor sent to each output that asks for it.
    pub fn notice(&mut self, notice: &Notice, now_ns: i64) {
        self.offer(notice, now_ns, |_, _| false);
    }

    /// Writes a record of the logger's own, which nobody else has counted.
    pub fn own_notice(&mut self, notice: &Notice, now_ns: i64) {
        self.own[notice.kind() as usize] += 1;
        self.notice(notice, now_ns);
    }

    /// Reports what the budget folded, also to outputs that ask for alerts alone.
    pub fn report_folded(&mut self, notice: &Notice, now_ns: i64) {
        self.own[notice.kind() as usize] += 1;
        self.offer(notice, now_ns, |_, output| {
            output.spec.events.has(EventKind::Alert)
        });
    }

    /// Flood records so far.
    pub fn folds(&self) -> LogCounts {
        self.folds
    }

    /// Records of the logger's own, by kind.
    pub fn own(&self) -> [u64; KINDS] {
        self.own
    }

    /// Flushes every output; a file that failed is tried again once a second.
    pub fn flush(&mut self, now_ns: i64) {
        let at = self.moment(now_ns);
        for output in &mut self.outputs {
            output.sink.flush(at);
        }
        self.report_recoveries(now_ns);
        self.report_torn(now_ns);
        for text in self.archive.take_failures() {
            let notice = rotation_notice(text, now_ns);
            self.own_notice(&notice, now_ns);
        }
    }

    /// Now, by the log and by the logger's clock.
    fn moment(&self, now_ns: i64) -> Moment {
        let log_ns = self.reached.wall_ns().unwrap_or(now_ns);
        Moment { log_ns, now_ns }
    }

    /// Reopens every file after a rotation. A file that cannot be opened stays as it is, and is returned.
    pub fn reopen(&mut self, now_ns: i64) -> Vec<OpenError> {
        let at = self.moment(now_ns);
        let sinks = self.outputs.iter_mut().map(|output| &mut output.sink);
        let errors = sinks.filter_map(|sink| sink.reopen(at).err()).collect();
        self.report_recoveries(now_ns);
        errors
    }

    /// Flushes, and drops what cannot be written; afterwards nothing is pending.
    pub fn finish(&mut self, now_ns: i64) {
        let at = self.moment(now_ns);
        for output in &mut self.outputs {
            output.sink.finish(at);
        }
        self.report_recoveries(now_ns);
        for output in &mut self.outputs {
            output.sink.finish(at);
        }
    }

    /// The counts of each output, in the order in which they were opened: first that of the command line.
    pub fn counts(&self) -> Vec<OutputCounts> {
        let outputs = self.outputs.iter();
        outputs.map(|one| one.counts(self.offered)).collect()
    }

    /// The same with their names.
    pub fn books(&self) -> Vec<OutputBooks> {
        let names = self.outputs.iter().map(|one| one.spec.name()).collect();
        OutputBooks::numbered(names, &self.counts())
    }

    /// Why each output takes nothing now.
    pub fn blocked(&self) -> impl Iterator<Item = Option<Cause>> {
        self.outputs.iter().map(|output| output.sink.blocked())
    }

    /// The reader of standard output has left: the program should end.
    pub fn is_closed(&self) -> bool {
        self.outputs.iter().any(|output| output.sink.is_closed())
    }

    fn offer(&mut self, notice: &Notice, now_ns: i64, forced: impl Fn(usize, &Output) -> bool) {
        let stamp_ns = self.reached.stamp_ns(notice.ts_ns());
        self.offered[notice.kind() as usize] += 1;
        for (i, output) in self.outputs.iter_mut().enumerate() {
            let forced = forced(i, output);
            let log_ns = stamp_ns;
            output.notice(notice, forced, Moment { log_ns, now_ns });
        }
    }

    fn report_torn(&mut self, now_ns: i64) {
        for i in 0..self.outputs.len() {
            while let Some(bytes) = self.outputs[i].sink.take_torn() {
                self.folds.torn_records += 1;
                let notice = torn_notice(i, bytes, now_ns);
                self.own[notice.kind() as usize] += 1;
                self.offer(&notice, now_ns, |at, _| at == i);
            }
        }
    }

    fn report_recoveries(&mut self, now_ns: i64) {
        for i in 0..self.outputs.len() {
            let Some(recovery) = self.outputs[i].sink.take_recovery() else {
                continue;
            };
            if recovery.lost.iter().any(|&lost| lost > 0) {
                let notice = recovery_notice(Some(i), &recovery, now_ns);
                self.own[notice.kind() as usize] += 1;
                self.offer(&notice, now_ns, |at, _| at == i);
            }
        }
    }
}

fn output_traits(spec: &OutputSpec, sink: &dyn Sink, output: usize) -> OutputTraits {
    OutputTraits {
        text_format: spec.text_format,
        person: spec.target.is_inherited() || sink.is_terminal(),
        output,
        transport: spec.target.transport(),
    }
}

pub mod changes;
#[cfg(test)]
mod tests;
