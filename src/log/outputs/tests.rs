use super::*;
use crate::inspect::detection::Phase;
use crate::log::fold::Folds;
use crate::log::formats::interfaces::Interfaces;
use crate::log::formats::samples;
use crate::log::formats::text::{self, TextFormat};
use crate::log::sinks::lines::Lines;
use crate::log::sinks::spec::EventSet;
use serde_json::Value;
use std::sync::Arc;

pub(super) fn context() -> Context {
    Context {
        host: "edge".into(),
        interfaces: Interfaces::default(),
        direction: Arc::new(|_, _| "unknown"),
        services: None,
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
        outputs.write(&event, LogTime::packet(event.step.due_ns()), 0);
    }
    outputs.notice(&samples::stats(), 0);
    outputs.notice(&samples::lifecycle(), 0);
    outputs.fold_alert();
    outputs.note_queue_full([1, 2, 3], 0);
    assert!(outputs.counts().iter().all(OutputCounts::closed));
    outputs.finish(0);
    let counts = outputs.counts();
    let whole = |count: &OutputCounts| count.closed() && count.pending == [0; KINDS];
    assert!(counts.iter().all(whole));
    assert_eq!(counts[0].written, [1, 1, 0, 0, 0, 0]);
    assert_eq!(counts[1].written, [1, 1, 1, 1, 1, 0]);
    assert_eq!(counts[1].folded[EventKind::Alert as usize], 1);
    assert_eq!(
        counts[2].dropped[Cause::DiskFull as usize],
        [0, 0, 1, 0, 0, 0]
    );
    assert_eq!(
        counts[2].dropped[Cause::QueueFull as usize],
        [0, 0, 3, 0, 0, 0]
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
        lost: [7, 0, 2, 0, 0, 0],
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
    let flows = format!(
        "2021-04-28T15:28:10.123456Z - -: {head} 9 flow since 2021-04-28 15:28:10 (queue_full)\n"
    );
    let connections = format!(
        "2021-04-28T15:28:07.123456Z - -: {head} 5 connection since 2021-04-28 15:28:05 (queue_full)\n"
    );
    assert_eq!(read("all"), connections + &flows, "alerts nobody asked for");
    assert_eq!(read("flows"), flows);
    assert!(outputs.counts().iter().all(OutputCounts::closed));
}

#[test]
fn a_pager_that_stops_reading_does_not_stop_the_other_outputs() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("log");
    let specs = ["text:-".to_owned(), format!("text:{}", path.display())]
        .map(|spec| spec.parse::<OutputSpec>().expect("a spec"));
    let (_nobody_reads, writer) = std::io::pipe().expect("pipe");
    let mut outputs = Outputs::open(&specs[1..], &context()).expect("open");
    outputs.add(
        specs[0].clone(),
        Box::new(Lines::from_fd(writer.into())),
        &context(),
    );
    outputs.set_patience(&Patience::Live);
    const LINES: u32 = 40_000;
    for isn in 0..LINES {
        let due = LogTime::packet(samples::TS_NS);
        outputs.write(&samples::at(1, isn), due, i64::from(isn));
    }
    outputs.finish(i64::from(LINES));
    let [file, pager] = outputs.counts()[..] else {
        panic!("two outputs");
    };
    assert_eq!(file.written[0], u64::from(LINES));
    assert!(pager.dropped[Cause::Slow as usize][0] > 0);
    assert!(pager.closed() && pager.pending == [0; KINDS]);
}

#[test]
fn a_flood_record_that_cannot_be_written_loses_each_of_its_attempts() {
    let dir = tempfile::tempdir().expect("directory");
    let specs = [
        format!("eve:{}", dir.path().join("eve").display()),
        "eve:/dev/full".into(),
        "text:/dev/full,events=flow".into(),
    ];
    let specs = specs.map(|spec| spec.parse().expect("a spec"));
    let mut outputs = Outputs::open(&specs, &context()).expect("open");
    let mut folds = Folds::new(0, [1, 2]);
    for number in 0..1000 {
        let Body::NewConnection(attempt) = samples::at(1, number).body else {
            panic!("a new connection");
        };
        assert!(folds.takes(attempt));
    }
    let folds = folds.close_all();
    let counted = folds.iter().map(|fold| fold.count).sum();
    outputs.hold_folded(counted);
    let pending: Vec<u64> = outputs.counts().iter().map(|c| c.pending[0]).collect();
    assert_eq!((counted, pending), (1000, vec![1000, 1000, 0]));
    assert!(outputs.counts().iter().all(OutputCounts::closed));
    for fold in folds {
        outputs.write_fold(Box::new(fold), 1, LogTime::packet(0), 0);
    }
    assert!(outputs.counts().iter().all(OutputCounts::closed));
    outputs.finish(0);
    let [written, full, not_asked] = outputs.counts()[..] else {
        panic!("three outputs");
    };
    for counts in [&written, &full, &not_asked] {
        assert!(counts.closed() && counts.pending == [0; KINDS] && counts.written[0] == 0);
    }
    assert_eq!((written.folded[0], full.folded[0]), (1000, 0));
    assert_eq!(full.dropped[Cause::DiskFull as usize][0], 1000);
    assert_eq!((not_asked.not_asked[0], not_asked.folded[0]), (1000, 0));
}

/// Opening it makes a new terminal.
const TERMINAL: &str = "/dev/ptmx";

#[test]
fn files_get_full_lines_and_standard_output_and_terminals_short_ones() {
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("log");
    let format = |target: &str, asked: Option<TextFormat>| {
        let spec: OutputSpec = format!("text:{target}").parse().expect("a spec");
        let sink = sinks::open(&spec, &Archive::default(), 0).expect("it opens");
        let text_format = asked;
        let spec = OutputSpec {
            text_format,
            ..spec
        };
        text::chosen(&output_traits(&spec, sink.as_ref(), 0))
    };
    let file = file.display().to_string();
    assert_eq!(format(&file, None), TextFormat::Full);
    assert_eq!(format("-", None), TextFormat::Short);
    assert_eq!(format(TERMINAL, None), TextFormat::Short);
    for target in [&*file, "-", TERMINAL] {
        for asked in [TextFormat::Full, TextFormat::Short] {
            assert_eq!(format(target, Some(asked)), asked, "{target}");
        }
    }
}

#[test]
fn outputs_are_added_and_removed_and_all_books_close() {
    let dir = tempfile::tempdir().expect("directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let spec = |value: String| -> OutputSpec { value.parse().expect("a spec") };
    let specs = [
        spec(format!("text:{},events=connection", path("old"))),
        spec(format!("eve:{}", path("eve"))),
        spec("text:/dev/full,events=connection".into()),
    ];
    let mut outputs = Outputs::open(&specs, &context()).expect("open");
    let event = samples::connection();
    outputs.write(&event, LogTime::packet(event.step.due_ns()), 0);
    outputs.fold_alert();
    let new = spec(format!("text:{},events=connection+alert", path("new")));
    let sink = sinks::open(&new, outputs.archive(), 3).expect("it opens");
    outputs.change(
        changes::OutputChanges {
            removed: vec![0, 2],
            asked: vec![(1, EventSet::of(&[EventKind::Lifecycle]))],
            added: vec![(new, sink)],
            context: context(),
        },
        0,
    );
    assert!(outputs.counts().iter().all(OutputCounts::closed));
    let event = samples::connection();
    outputs.write(&event, LogTime::packet(event.step.due_ns()), 0);
    outputs.note_queue_full([3, 0, 0], 0);
    assert!(outputs.reopen(0).is_empty());
    outputs.finish(0);
    let counts = outputs.counts();
    assert!(counts.iter().all(OutputCounts::closed), "{counts:?}");
    let connection = EventKind::Connection as usize;
    let written = counts.iter().map(|one| one.written[connection]);
    assert_eq!(written.collect::<Vec<_>>(), [1, 1, 0, 1]);
    let lost = |at: usize, cause: Cause| counts[at].dropped[cause as usize][connection];
    assert_eq!(lost(2, Cause::DiskFull), 1, "dropped when it was removed");
    assert_eq!(
        (lost(0, Cause::QueueFull), lost(3, Cause::QueueFull)),
        (0, 3)
    );
    let lines = |name: &str| {
        std::fs::read_to_string(path(name))
            .expect("a log")
            .lines()
            .count()
    };
    // In eve also that two were removed and one was added.
    assert_eq!((lines("old"), lines("new"), lines("eve")), (1, 1, 4));
    let names: Vec<String> = outputs.books().into_iter().map(|one| one.name).collect();
    assert_eq!(names[2], "text:/dev/full");
    assert_eq!(outputs.own()[EventKind::Lifecycle as usize], 3);
}

#[test]
fn another_process_goes_on_with_what_a_reload_has_left_open() {
    let dir = tempfile::tempdir().expect("directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let spec = |name: &str| -> OutputSpec {
        let value = format!("text:{},events=connection", path(name));
        value.parse().expect("a spec")
    };
    let write = |outputs: &mut Outputs| {
        let event = samples::connection();
        outputs.write(&event, LogTime::packet(event.step.due_ns()), 0);
        outputs.finish(0);
    };
    let mut before = Outputs::open(&["gone", "kept"].map(spec), &context()).expect("open");
    write(&mut before);
    let sink = sinks::open(&spec("new"), before.archive(), 2).expect("it opens");
    before.change(
        changes::OutputChanges {
            removed: vec![0],
            asked: vec![],
            added: vec![(spec("new"), sink)],
            context: context(),
        },
        0,
    );
    write(&mut before);
    let progress = before.progress();
    drop(before);
    let names = ["new", "other", "kept"];
    let mut next = Outputs::open(&names.map(spec), &context()).expect("open");
    next.go_on(&progress, 0).expect("its books");
    write(&mut next);
    let counts = next.counts();
    assert!(counts.iter().all(OutputCounts::closed), "{counts:?}");
    let written = counts.iter().map(|one| one.written[0]);
    assert_eq!(written.collect::<Vec<_>>(), [2, 1, 3]);
}
