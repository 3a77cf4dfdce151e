use super::*;
use crate::books::record_kind::EventKind;
use crate::log::sinks::archive::Archive;
use crate::log::sinks::spec::Target;
use flate2::read::MultiGzDecoder;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::symlink;

const S: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * S;
const KIND: EventKind = EventKind::Connection;
/// A line of this many bytes.
const LINE: usize = 1 << 10;

fn at(log_ns: i64) -> Moment {
    let now_ns = log_ns;
    Moment { log_ns, now_ns }
}

struct Bench {
    folder: tempfile::TempDir,
    archive: Archive,
    sink: Rotating,
    /// Lines that were offered.
    count: usize,
}

impl Bench {
    fn new(options: &[&str]) -> Self {
        Self::in_folder(tempfile::tempdir().expect("a folder"), options)
    }

    fn in_folder(folder: tempfile::TempDir, options: &[&str]) -> Self {
        let rotation = Rotation::of(options);
        let path = folder.path().join("log");
        let lines = Lines::open(&Target::Path(path.clone())).expect("it opens");
        let archive = Archive::default();
        let shelf = archive.add(Names::of_file(&path), 0, rotation);
        let mut sink = Rotating::new(lines, &path, rotation, shelf);
        sink.set_patience(Patience::Live);
        Self {
            folder,
            archive,
            sink,
            count: 0,
        }
    }

    /// Numbered lines; returns how many were admitted.
    fn put(&mut self, count: usize, at: Moment) -> usize {
        let entry = Entry {
            kind: KIND,
            folded: 0,
        };
        let mut admitted = 0;
        for _ in 0..count {
            let number = self.count;
            self.count += 1;
            if let Some(out) = self.sink.admit(entry, at) {
                out.extend_from_slice(format!("{number:0>width$}\n", width = LINE - 1).as_bytes());
                self.sink.commit(entry, at);
                admitted += 1;
            }
        }
        admitted
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("a folder");
        let name = |entry: io::Result<fs::DirEntry>| {
            let name = entry.expect("an entry").file_name();
            name.into_string().expect("text")
        };
        let mut all: Vec<String> = entries.map(name).collect();
        all.sort_unstable();
        all
    }

    /// Numbers of the lines on the disk, in the order of names, the open file last. Every line is whole.
    fn numbers(&self) -> Vec<usize> {
        let mut text = String::new();
        let (mut open, closed): (Vec<String>, Vec<String>) =
            self.names().into_iter().partition(|name| name == "log");
        let files = closed.into_iter().chain(open.pop());
        for name in files.filter(|name| name.starts_with("log")) {
            let file = File::open(self.folder.path().join(&name)).expect("a file");
            let read = match name.ends_with(".gz") {
                true => MultiGzDecoder::new(file).read_to_string(&mut text),
                false => { file }.read_to_string(&mut text),
            };
            read.expect("whole");
            assert!(text.is_empty() || text.ends_with('\n'), "{name}");
        }
        let line = |line: &str| {
            assert_eq!(line.len(), LINE - 1);
            line.parse().expect("a number")
        };
        text.lines().map(line).collect()
    }

    fn written(&self) -> u64 {
        self.sink.carried().written[KIND as usize]
    }

    fn dropped(&self) -> u64 {
        let all = self.sink.carried().dropped;
        all.iter().flatten().sum()
    }

    /// Bytes on the disk.
    fn disk_bytes(&self) -> u64 {
        let entries = fs::read_dir(self.folder.path()).expect("a folder");
        let len = |entry: io::Result<fs::DirEntry>| {
            let about = entry.expect("an entry").metadata();
            about.map_or(0, |about| about.len())
        };
        entries.map(len).sum()
    }
}

#[test]
fn a_file_ends_between_lines_at_its_size_and_at_its_hour_and_no_line_is_lost() {
    let mut bench = Bench::new(&["1h+1MiB"]);
    bench.put(1024, at(S));
    bench.sink.flush(at(S));
    assert_eq!(bench.names(), ["log", "log.19700101T000001Z"]);
    bench.put(1500, at(2 * S));
    bench.put(3, at(HOUR));
    bench.put(1, at(2 * HOUR));
    bench.sink.finish(at(2 * HOUR));
    let expected = [
        "log",
        "log.19700101T000001Z",
        "log.19700101T000001Z_001",
        "log.19700101T000002Z",
        "log.19700101T010000Z",
    ];
    assert_eq!(bench.names(), expected);
    assert_eq!(bench.numbers(), (0..bench.count).collect::<Vec<_>>());
    bench.archive.tend();
    let expected = expected.map(|name| match name {
        "log" => "log".to_owned(),
        closed => format!("{closed}.gz"),
    });
    assert_eq!(bench.names(), expected);
    assert_eq!(bench.numbers(), (0..bench.count).collect::<Vec<_>>());
    assert_eq!((bench.written(), bench.dropped()), (bench.count as u64, 0));
}

#[test]
fn an_empty_file_is_not_rotated_and_a_file_of_an_earlier_run_is_gone_on_with() {
    let mut bench = Bench::new(&["1h"]);
    bench.sink.flush(at(S));
    bench.sink.flush(at(5 * HOUR));
    assert_eq!(bench.names(), ["log"]);
    bench.put(1, at(5 * HOUR));
    bench.sink.finish(at(5 * HOUR));
    let now_ns = crate::time::clock::wall_clock_ns();
    let Bench {
        folder,
        sink,
        count,
        ..
    } = bench;
    drop(sink);
    let mut next = Bench::in_folder(folder, &["1h"]);
    next.count = count;
    next.put(1, at(now_ns));
    next.sink.flush(at(now_ns));
    assert_eq!(next.numbers(), [0, 1]);
    next.put(1, at(now_ns + HOUR));
    next.sink.flush(at(now_ns + HOUR));
    assert_eq!((next.names().len(), next.numbers().len()), (2, 3));
}

#[test]
fn only_what_has_such_a_name_is_removed_and_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let others = [
        "log.1",
        "log.19700101T000000Z.bz2",
        "log.19700101T000000Z_1",
        "xlog.19700101T000000Z",
        "log.old",
    ];
    for other in others {
        fs::write(folder.path().join(other), vec![0; 9 << 20]).expect("written");
    }
    let link = folder.path().join("log.19600101T000000Z");
    symlink("log.1", &link).expect("a link");
    fs::create_dir(folder.path().join("log.19610101T000000Z")).expect("a folder");
    let mut bench = Bench::in_folder(folder, &["1MiB", "keep=1"]);
    for second in 0..5 {
        bench.put(1024, at(second * S));
    }
    bench.sink.finish(at(5 * S));
    bench.archive.tend();
    let names = bench.names();
    for other in others
        .iter()
        .chain(&["log.19600101T000000Z", "log.19610101T000000Z"])
    {
        assert!(names.iter().any(|name| name == other), "{other}: {names:?}");
    }
    assert_eq!(names.len(), others.len() + 4, "{names:?}");
}

#[test]
fn bytes_on_the_disk_stay_below_the_limit_at_every_moment_without_the_archiver_and_with_it() {
    for tend in [false, true] {
        let mut bench = Bench::new(&["1MiB", "keep=8MiB"]);
        let mut most = 0;
        for second in 0..30 {
            for _ in 0..8 {
                bench.put(128, at(second * S));
                most = most.max(bench.disk_bytes());
            }
            if tend {
                bench.archive.tend();
            }
        }
        assert!(most <= 8 << 20, "{most}");
        bench.sink.finish(at(30 * S));
        let numbers = bench.numbers();
        let from = bench.count - numbers.len();
        assert_eq!(
            numbers,
            (from..bench.count).collect::<Vec<_>>(),
            "the newest"
        );
        // Six of seven files are closed; compressed, all of them fit.
        assert!(numbers.len() >= if tend { 30 } else { 5 } * 1024);
        assert_eq!(bench.written(), bench.count as u64);
    }
}

#[test]
fn a_file_that_cannot_be_renamed_goes_on_and_under_a_limit_stops_at_twice_its_size() {
    for (options, is_limited) in [(&["1MiB"][..], false), (&["1MiB", "keep=8MiB"], true)] {
        let mut bench = Bench::new(options);
        let (sink, folder) = (&mut bench.sink, bench.folder.path());
        // Closed files belong into a folder that is not there.
        let missing = folder.join("missing");
        let names = Names::of_file(&missing.join("log"));
        sink.shelf = bench.archive.add(names, 0, sink.rotation);
        let admitted = bench.put(4096, at(5 * S));
        assert_eq!(bench.names(), ["log"]);
        assert_eq!(bench.sink.blocked().is_some(), is_limited);
        assert_eq!(admitted, if is_limited { 2048 } else { 4096 });
        bench.sink.flush(at(5 * S + 1));
        let failures = bench.archive.take_failures();
        assert_eq!(failures.len(), 1, "once: {failures:?}");
        let says = "log cannot be rotated: No such file or directory";
        assert!(failures[0].contains(says), "{failures:?}");
        fs::create_dir(&missing).expect("a folder");
        assert_eq!(bench.put(1, at(7 * S)), 1);
        assert_eq!(bench.sink.blocked(), None);
        bench.sink.finish(at(8 * S));
        let lost = bench
            .sink
            .take_recovery()
            .map(|recovery| recovery.lost[KIND as usize]);
        assert_eq!(lost, is_limited.then_some(2048));
        assert_eq!(bench.numbers(), [4096]);
        let all = bench.count as u64;
        assert_eq!(bench.written() + bench.dropped(), all, "the books close");
    }
}

#[test]
fn a_full_disk_is_no_reason_to_rotate_and_no_line_is_torn_by_it() {
    let mut bench = Bench::new(&["1MiB"]);
    bench.put(100, at(S));
    bench.sink.flush(at(S));
    let full = fs::OpenOptions::new().append(true).open("/dev/full");
    let full = Descriptor::of(full.expect("a device").into());
    bench.sink.lines.go_on_in(full);
    bench.put(3000, at(2 * S));
    bench.sink.flush(at(2 * S));
    assert_eq!(bench.sink.blocked(), Some(Cause::DiskFull));
    assert_eq!(bench.names(), ["log"]);
    // There is room again.
    let (file, _) = Descriptor::open(&bench.folder.path().join("log")).expect("it is there");
    bench.sink.lines.go_on_in(file);
    bench.put(2000, at(4 * S));
    bench.sink.finish(at(5 * S));
    let numbers = bench.numbers();
    assert!(numbers.is_sorted() && bench.names().len() > 2);
    assert_eq!(numbers.len() as u64, bench.written());
    assert!(bench.dropped() > 0);
    assert_eq!(bench.written() + bench.dropped(), bench.count as u64);
}

#[test]
fn another_program_may_rotate_too() {
    let mut bench = Bench::new(&["1MiB"]);
    let path = bench.folder.path().join("log");
    bench.put(10, at(S));
    bench.sink.flush(at(S));
    fs::rename(&path, bench.folder.path().join("log.0")).expect("moved");
    // Due before the signal: the moved file keeps its name, and a new one is begun.
    bench.put(1100, at(2 * S));
    bench.sink.reopen(at(2 * S)).expect("it opens");
    bench.put(10, at(3 * S));
    bench.sink.finish(at(3 * S));
    assert_eq!(bench.names(), ["log", "log.0"]);
    assert_eq!(bench.numbers().len(), bench.count);
}
