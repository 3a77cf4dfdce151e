//! All outputs of a run: each renders what it asks for, and keeps its own books.
//!
//! Per output and kind: `offered = written + folded + not_asked + Σ dropped[cause] + pending`, and
//! `pending` is 0 after [`Outputs::finish`].

use super::eve::{Context, Eve};
use super::event::{Body, Event, Step};
use super::fold::Fold;
use super::notice::{EventKind, KINDS, Notice};
use super::queue::SHARD_KINDS;
use super::sink::{CAUSES, Cause, OpenError, Patience, Recovery, Sink};
use super::spec::{Format, OutputSpec};
use super::text::Text;
use serde_json::{Map, Value};

/// The books of one output, by kind ([`EventKind`]'s number).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that reached the logger, or were lost on the way to it.
    pub offered: [u64; KINDS],
    /// Lines that write(2) took.
    pub written: [u64; KINDS],
    /// Attempts in flood records that were written; alerts that the budget withheld.
    pub folded: [u64; KINDS],
    /// Of a kind that this output does not ask for.
    pub not_asked: [u64; KINDS],
    /// Lost, by [`Cause`].
    pub dropped: [[u64; KINDS]; CAUSES],
    /// Rendered and not yet written.
    pub pending: [u64; KINDS],
}

impl Counts {
    /// Whether the books close for every kind.
    pub fn closed(&self) -> bool {
        (0..KINDS).all(|kind| {
            let dropped: u64 = self.dropped.iter().map(|cause| cause[kind]).sum();
            let kept = self.written[kind] + self.folded[kind] + self.not_asked[kind];
            self.offered[kind] == kept + dropped + self.pending[kind]
        })
    }

    /// What was counted since `before`; what waits is no count: it stays as it is.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let minus = |now: [u64; KINDS], then: [u64; KINDS]| {
            std::array::from_fn(|kind| now[kind].saturating_sub(then[kind]))
        };
        Self {
            offered: minus(self.offered, before.offered),
            written: minus(self.written, before.written),
            folded: minus(self.folded, before.folded),
            not_asked: minus(self.not_asked, before.not_asked),
            dropped: std::array::from_fn(|cause| minus(self.dropped[cause], before.dropped[cause])),
            pending: self.pending,
        }
    }
}

enum Renderer {
    Text(Text),
    Eve(Box<Eve>),
}

struct Output {
    spec: OutputSpec,
    renderer: Renderer,
    sink: Sink,
    offered: [u64; KINDS],
    folded: [u64; KINDS],
    /// Attempts in folds that are not yet rendered.
    folding: u64,
    not_asked: [u64; KINDS],
    queue_full: [u64; KINDS],
}

impl Output {
    fn event(&mut self, event: &Event, now_ns: i64) {
        let kind = EventKind::of(&event.body);
        self.offered[kind as usize] += 1;
        if !self.spec.events.has(kind) {
            self.not_asked[kind as usize] += 1;
            return;
        }
        if let Some(out) = self.sink.admit(kind, now_ns) {
            match &mut self.renderer {
                Renderer::Text(text) => text.event(out, event),
                Renderer::Eve(eve) => eve.event(out, event),
            }
            self.sink.commit(kind, now_ns);
        }
    }

    fn fold(&mut self, event: &Event, count: u64, now_ns: i64) {
        let kind = EventKind::Connection;
        if !self.spec.events.has(kind) {
            return;
        }
        self.folding -= count;
        if let Some(out) = self.sink.admit_fold(kind, count, now_ns) {
            match &mut self.renderer {
                Renderer::Text(text) => text.event(out, event),
                Renderer::Eve(eve) => eve.event(out, event),
            }
            self.sink.commit_fold(kind, count, now_ns);
        }
    }

    /// Writes a notice that is asked for, or `forced`.
    fn notice(&mut self, notice: &Notice, forced: bool, now_ns: i64) {
        let kind = notice.kind();
        self.offered[kind as usize] += 1;
        if !forced && !self.spec.events.has(kind) {
            self.not_asked[kind as usize] += 1;
            return;
        }
        if let Some(out) = self.sink.admit(kind, now_ns) {
            match &mut self.renderer {
                Renderer::Text(text) => text.notice(out, notice),
                Renderer::Eve(eve) => eve.notice(out, notice),
            }
            self.sink.commit(kind, now_ns);
        }
    }

    fn counts(&self) -> Counts {
        let (mut dropped, mut folded) = (self.sink.dropped(), self.folded);
        let mut pending = self.sink.pending();
        dropped[Cause::QueueFull as usize] = self.queue_full;
        folded[EventKind::Connection as usize] += self.sink.folded();
        pending[EventKind::Connection as usize] += self.folding;
        Counts {
            offered: self.offered,
            written: self.sink.written(),
            folded,
            not_asked: self.not_asked,
            dropped,
            pending,
        }
    }
}

/// Queues are said to have room again after so long without a loss, ns.
const QUEUES_QUIET_NS: u64 = 1_000_000_000;

/// What full queues cost since there was last nothing to say about them.
struct QueueLoss {
    recovery: Recovery,
    last_ns: i64,
}

/// The outputs of a run.
pub struct Outputs {
    outputs: Vec<Output>,
    queue_full: [u64; SHARD_KINDS],
    queue_loss: Option<QueueLoss>,
    own: [u64; KINDS],
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
            queue_full: [0; SHARD_KINDS],
            queue_loss: None,
            own: [0; KINDS],
        };
        for spec in specs {
            outputs.add(spec.clone(), Sink::open(&spec.target)?, context);
        }
        Ok(outputs)
    }

    /// Adds an output with a sink that is already open.
    pub fn add(&mut self, spec: OutputSpec, sink: Sink, context: &Context) {
        let renderer = match spec.format {
            Format::Text => Renderer::Text(Text::new()),
            Format::Eve => Renderer::Eve(Box::new(Eve::new(context.clone()))),
        };
        self.outputs.push(Output {
            spec,
            renderer,
            sink,
            offered: [0; KINDS],
            folded: [0; KINDS],
            folding: 0,
            not_asked: [0; KINDS],
            queue_full: [0; KINDS],
        });
    }

    /// Says how long lines wait for readers of pipes and terminals; without this, for ever.
    pub fn set_patience(&mut self, patience: &Patience) {
        for output in &mut self.outputs {
            output.sink.set_patience(patience.clone());
        }
    }

    /// Writes a shard's event to each output that asks for it.
    pub fn write(&mut self, event: &Event, now_ns: i64) {
        for output in &mut self.outputs {
            output.event(event, now_ns);
        }
        self.say_recoveries(now_ns);
    }

    /// Counts attempts that lie in a fold, which [`Outputs::write_fold`] will write.
    pub fn hold_folded(&mut self, count: u64) {
        let connection = EventKind::Connection as usize;
        for output in &mut self.outputs {
            output.offered[connection] += count;
            if output.spec.events.has(EventKind::Connection) {
                output.folding += count;
            } else {
                output.not_asked[connection] += count;
            }
        }
    }

    /// Writes a fold whose attempts were counted, to each output that asks for connections.
    pub fn write_fold(&mut self, fold: Box<Fold>, position: u64, now_ns: i64) {
        let count = fold.count;
        let event = Event {
            position,
            step: Step::Timer(fold.end_ns()),
            body: Body::Folded(fold),
        };
        for output in &mut self.outputs {
            output.fold(&event, count, now_ns);
        }
        self.say_recoveries(now_ns);
    }

    /// Counts an alert that the budget withholds.
    pub fn fold_alert(&mut self) {
        let alert = EventKind::Alert as usize;
        for output in &mut self.outputs {
            output.offered[alert] += 1;
            if output.spec.events.has(EventKind::Alert) {
                output.folded[alert] += 1;
            } else {
                output.not_asked[alert] += 1;
            }
        }
    }

    /// Takes over how many events full queues have cost so far. Says what they cost once it has not grown for
    /// a second.
    pub fn note_queue_full(&mut self, totals: [u64; SHARD_KINDS], now_ns: i64) {
        for (kind, &total) in totals.iter().enumerate() {
            let new = total - self.queue_full[kind];
            if new == 0 {
                continue;
            }
            let mut asked = false;
            for output in &mut self.outputs {
                output.offered[kind] += new;
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
            self.say_queue_loss(&loss, now_ns);
        }
    }

    /// Says what full queues have cost even if they have just done so: the run is over.
    pub fn end_queue_loss(&mut self, now_ns: i64) {
        if let Some(loss) = self.queue_loss.take() {
            self.say_queue_loss(&loss, now_ns);
        }
    }

    fn say_queue_loss(&mut self, loss: &QueueLoss, now_ns: i64) {
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

    /// The same for a record that the logger itself has to write: nobody else has counted it.
    pub fn say(&mut self, notice: &Notice, now_ns: i64) {
        self.own[notice.kind() as usize] += 1;
        self.notice(notice, now_ns);
    }

    /// Says what the budget folded, also to outputs that ask for alerts alone.
    pub fn say_folded(&mut self, notice: &Notice, now_ns: i64) {
        self.own[notice.kind() as usize] += 1;
        self.offer(notice, now_ns, |_, output| {
            output.spec.events.has(EventKind::Alert)
        });
    }

    /// Records that the logger itself had to write, by kind.
    pub fn own(&self) -> [u64; KINDS] {
        self.own
    }

    /// Writes what waits; a file that failed is tried again once a second.
    pub fn flush(&mut self, now_ns: i64) {
        for output in &mut self.outputs {
            output.sink.flush(now_ns);
        }
        self.say_recoveries(now_ns);
    }

    /// Opens every file anew, after a rotation. A file that cannot be opened stays as it is, and is named.
    pub fn reopen(&mut self, now_ns: i64) -> Vec<OpenError> {
        let sinks = self.outputs.iter_mut().map(|output| &mut output.sink);
        let errors = sinks.filter_map(|sink| sink.reopen(now_ns).err()).collect();
        self.say_recoveries(now_ns);
        errors
    }

    /// Writes what waits and drops what cannot be written; afterwards nothing is pending.
    pub fn finish(&mut self, now_ns: i64) {
        for output in &mut self.outputs {
            output.sink.finish(now_ns);
        }
        self.say_recoveries(now_ns);
        for output in &mut self.outputs {
            output.sink.finish(now_ns);
        }
    }

    /// The books of each output, in the order of the command line.
    pub fn counts(&self) -> Vec<Counts> {
        self.outputs.iter().map(Output::counts).collect()
    }

    /// Standard output lost its reader: the program should end, and well.
    pub fn is_closed(&self) -> bool {
        self.outputs.iter().any(|output| output.sink.is_closed())
    }

    fn offer(&mut self, notice: &Notice, now_ns: i64, forced: impl Fn(usize, &Output) -> bool) {
        for (i, output) in self.outputs.iter_mut().enumerate() {
            let forced = forced(i, output);
            output.notice(notice, forced, now_ns);
        }
    }

    fn say_recoveries(&mut self, now_ns: i64) {
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

/// What was lost on the way to one output, or in the queues before all of them.
fn recovery_notice(output: Option<usize>, recovery: &Recovery, now_ns: i64) -> Notice {
    let mut lost = Map::new();
    let mut words = Vec::new();
    for kind in EventKind::ALL {
        let count = recovery.lost[kind as usize];
        if count > 0 {
            words.push(format!("{count} {}", kind.word()));
            lost.insert(kind.word().into(), count.into());
        }
    }
    let mut since = Vec::new();
    super::stamp::Stamp::spaced().append_seconds(&mut since, recovery.since_ns);
    let since = String::from_utf8_lossy(&since).into_owned();
    let (cause, words) = (recovery.cause.word(), words.join(", "));
    let who = output.map_or("full queues".into(), |at| format!("output {}", at + 1));
    let mut details = vec![
        ("cause".into(), Value::from(cause)),
        ("lost".into(), Value::Object(lost)),
        ("since_ns".into(), Value::from(recovery.since_ns)),
    ];
    details.extend(output.map(|at| ("output".into(), Value::from(at + 1))));
    Notice::Lifecycle {
        ts_ns: now_ns,
        word: "output_recovered",
        text: format!("{who} lost {words} since {since} ({cause})"),
        details,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::detection::Phase;
    use crate::log::eve::Interfaces;
    use crate::log::samples;
    use std::sync::Arc;

    fn context() -> Context {
        Context {
            host: "edge".into(),
            interfaces: Interfaces::default(),
            direction: Arc::new(|_, _| "unknown"),
            frames: false,
        }
    }

    #[test]
    fn each_output_gets_what_it_asks_for_and_its_books_close() {
        let dir = tempfile::tempdir().expect("directory");
        let path = |name| dir.path().join(name).display().to_string();
        let specs = [
            format!("text:{}", path("text")),
            format!("eve:{}", path("eve")),
            "eve:/dev/full,events=flow".into(),
        ];
        let specs = specs.map(|spec| spec.parse().expect("a spec"));
        let mut outputs = Outputs::open(&specs, &context()).expect("open");
        let alert = samples::alert(&samples::scan(Phase::Started, vec![(80, 83)], 4));
        for event in [samples::connection(), samples::flow(), alert] {
            outputs.write(&event, 0);
        }
        outputs.notice(&samples::stats(), 0);
        outputs.notice(&samples::lifecycle(), 0);
        outputs.fold_alert();
        outputs.note_queue_full([1, 2, 3], 0);
        assert!(outputs.counts().iter().all(Counts::closed));
        outputs.finish(0);
        let counts = outputs.counts();
        let whole = |count: &Counts| count.closed() && count.pending == [0; KINDS];
        assert!(counts.iter().all(whole));
        assert_eq!(counts[0].written, [1, 1, 0, 0, 0]);
        assert_eq!(counts[1].written, [1, 1, 1, 1, 1]);
        assert_eq!(counts[1].folded[EventKind::Alert as usize], 1);
        assert_eq!(counts[2].dropped[Cause::DiskFull as usize], [0, 0, 1, 0, 0]);
        assert_eq!(
            counts[2].dropped[Cause::QueueFull as usize],
            [0, 0, 3, 0, 0]
        );
        let eve = std::fs::read_to_string(path("eve")).expect("read");
        for line in eve.lines() {
            serde_json::from_str::<Value>(line).expect("JSON");
        }
        assert_eq!(eve.lines().count(), 5);
    }

    #[test]
    fn a_recovery_names_counts_cause_and_time() {
        let recovery = Recovery {
            since_ns: samples::TS_NS,
            cause: Cause::DiskFull,
            lost: [7, 0, 2, 0, 0],
        };
        let Notice::Lifecycle { text, .. } = recovery_notice(Some(0), &recovery, 0) else {
            panic!("no lifecycle");
        };
        let expected = "output 1 lost 7 connection, 2 flow since 2021-04-28 15:28:05 (disk_full)";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_full_queues_cost_is_said_once_they_have_been_quiet_for_a_second() {
        const S: i64 = 1_000_000_000;
        let dir = tempfile::tempdir().expect("directory");
        let path = |name| dir.path().join(name).display().to_string();
        let specs = [
            format!("text:{},events=connection+flow", path("all")),
            format!("text:{},events=flow", path("flows")),
        ];
        let specs = specs.map(|spec| spec.parse().expect("a spec"));
        let mut outputs = Outputs::open(&specs, &context()).expect("open");
        outputs.note_queue_full([3, 0, 0], samples::TS_NS);
        outputs.note_queue_full([5, 1, 0], samples::TS_NS + S / 2);
        outputs.note_queue_full([5, 1, 0], samples::TS_NS + S);
        assert_eq!(outputs.own(), [0; KINDS], "it grew half a second ago");
        outputs.note_queue_full([5, 1, 0], samples::TS_NS + 2 * S);
        outputs.note_queue_full([5, 1, 0], samples::TS_NS + 4 * S);
        outputs.note_queue_full([5, 1, 9], samples::TS_NS + 5 * S);
        outputs.end_queue_loss(samples::TS_NS + 5 * S);
        assert_eq!(outputs.own()[EventKind::Lifecycle as usize], 2);
        outputs.finish(0);
        let read = |name| std::fs::read_to_string(path(name)).expect("read");
        let head = "Sensor output_recovered: full queues lost";
        let flows =
            format!("2021-04-28 15:28:10: {head} 9 flow since 2021-04-28 15:28:10 (queue_full)\n");
        let connections = format!(
            "2021-04-28 15:28:07: {head} 5 connection since 2021-04-28 15:28:05 (queue_full)\n"
        );
        assert_eq!(read("all"), connections + &flows, "alerts nobody asked for");
        assert_eq!(read("flows"), flows);
        assert!(outputs.counts().iter().all(Counts::closed));
    }

    #[test]
    fn a_pager_that_stops_reading_does_not_stop_the_other_outputs() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("log");
        let specs = ["text:-".to_owned(), format!("text:{}", path.display())]
            .map(|spec| spec.parse::<OutputSpec>().expect("a spec"));
        let (_nobody_reads, writer) = std::io::pipe().expect("pipe");
        let mut outputs = Outputs::open(&specs[1..], &context()).expect("open");
        outputs.add(specs[0].clone(), Sink::from_fd(writer.into()), &context());
        outputs.set_patience(&Patience::Live);
        const LINES: u32 = 40_000;
        for isn in 0..LINES {
            outputs.write(&samples::at(1, isn), i64::from(isn));
        }
        outputs.finish(i64::from(LINES));
        let [file, pager] = outputs.counts()[..] else {
            panic!("two outputs");
        };
        assert_eq!(file.written[0], u64::from(LINES));
        assert!(pager.dropped[Cause::Slow as usize][0] > 0);
        assert!(pager.closed() && pager.pending == [0; KINDS]);
    }
}
