use super::*;
use crate::books::record_kind::EventKind;
use flate2::read::MultiGzDecoder;
use std::fs;
use std::io::Read;

const S: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * S;

static STREAMS: [Stream; 2] = [
    Stream {
        name: "conn",
        events: &[EventKind::Flow],
        begin: |out, at_ns| out.extend_from_slice(format!("#open {}\n", at_ns / S).as_bytes()),
        end: |out, at_ns| out.extend_from_slice(format!("#close {}\n", at_ns / S).as_bytes()),
    },
    Stream {
        name: "notice",
        events: &[EventKind::Alert],
        begin: |out, _| out.extend_from_slice(b"#open\n"),
        end: |out, _| out.extend_from_slice(b"#close\n"),
    },
];

fn rotation(value: &str) -> Rotation {
    let mut rotation = Rotation::default();
    rotation.set_rotate(value).expect(value);
    rotation
}

fn open(folder: &tempfile::TempDir, rotation: Rotation) -> Files {
    let target = Target::Path(folder.path().into());
    let archive = Archive::default();
    Files::open(&target, &STREAMS, rotation, (&archive, 0)).expect("a folder")
}

/// With the archive of its closed files.
fn open_kept(folder: &tempfile::TempDir, keep: &str, every: &str) -> (Files, Archive) {
    let mut rotation = rotation(every);
    rotation.set_keep(keep).expect(keep);
    let target = Target::Path(folder.path().into());
    let archive = Archive::default();
    let files = Files::open(&target, &STREAMS, rotation, (&archive, 0));
    (files.expect("a folder"), archive)
}

fn at(log_ns: i64) -> Moment {
    let now_ns = log_ns;
    Moment { log_ns, now_ns }
}

fn put(files: &mut Files, kind: EventKind, line: &str, at: Moment) -> bool {
    let entry = Entry { kind, folded: 0 };
    let Some(out) = files.admit(entry, at) else {
        return false;
    };
    out.extend_from_slice(line.as_bytes());
    files.commit(entry, at);
    true
}

/// What a file holds, compressed or not.
fn text(path: &std::path::Path) -> String {
    let mut text = String::new();
    let mut file = fs::File::open(path).expect("a file");
    match path.extension().is_some_and(|end| end == "gz") {
        true => MultiGzDecoder::new(file).read_to_string(&mut text),
        false => file.read_to_string(&mut text),
    }
    .expect("text");
    text
}

/// Names and contents.
fn found(folder: &tempfile::TempDir) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder.path()).expect("a folder");
    let mut all: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy();
            (name.into_owned(), text(&path))
        })
        .collect();
    all.sort_unstable();
    all
}

fn names(folder: &tempfile::TempDir) -> Vec<String> {
    found(folder).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn files_come_with_their_first_record_and_are_whole_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = open(&folder, Rotation::default());
    assert_eq!(names(&folder), [""; 0]);
    assert!(put(&mut files, EventKind::Flow, "one\n", at(5 * S)));
    assert!(put(&mut files, EventKind::Flow, "two\n", at(6 * S)));
    files.finish(at(7 * S));
    let whole = "#open 5\none\ntwo\n#close 7\n";
    assert_eq!(found(&folder), [("conn.log".into(), whole.into())]);
    let carried = files.carried();
    assert_eq!(carried.written[EventKind::Flow as usize], 2);
    assert_eq!((carried.pending, carried.dropped), Default::default());
}

#[test]
fn time_and_size_end_a_file_which_takes_the_name_of_its_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = open(&folder, rotation("1h+1MiB"));
    for (line, log_ns) in [("a\n", HOUR), ("b\n", 2 * HOUR - 1), ("c\n", 2 * HOUR)] {
        assert!(put(&mut files, EventKind::Flow, line, at(log_ns)));
    }
    let big = "x".repeat(1 << 20) + "\n";
    for line in [&big[..], "d\n"] {
        assert!(put(&mut files, EventKind::Flow, line, at(2 * HOUR + S)));
    }
    files.finish(at(2 * HOUR + 2 * S));
    let all = found(&folder);
    let expected = [
        "conn.1970-01-01-01-00-00.log",
        "conn.1970-01-01-02-00-00.log",
        "conn.1970-01-01-02-00-01.log",
    ];
    assert_eq!(names(&folder), expected);
    assert_eq!(all[0].1, "#open 3600\na\nb\n#close 7200\n");
    assert!(all[1].1.starts_with("#open 7200\nc\nxxx") && all[1].1.ends_with("x\n#close 7201\n"));
    assert_eq!(all[2].1, "#open 7201\nd\n#close 7202\n");
    assert_eq!(files.carried().written[EventKind::Flow as usize], 5);
}

#[test]
fn two_files_of_one_second_have_two_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = open(&folder, Rotation::default());
    for line in ["a\n", "b\n", "c\n"] {
        assert!(put(&mut files, EventKind::Flow, line, at(S)));
        files.reopen(at(S)).expect("rotated");
    }
    let stamp = "conn.1970-01-01-00-00-01";
    let expected = ["-1.log", "-2.log", ".log"].map(|end| format!("{stamp}{end}"));
    assert_eq!(names(&folder), expected);
}

#[test]
fn what_a_killed_run_left_is_set_aside_and_never_appended_to() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("conn.log"), "#open 0\na\ntorn").expect("written");
    let mut files = open(&folder, Rotation::default());
    assert!(put(&mut files, EventKind::Flow, "a\n", at(S)));
    files.finish(at(S));
    let all = found(&folder);
    assert_eq!(all.len(), 2);
    assert!(
        all[0].0.starts_with("conn.2") && all[0].1 == "#open 0\na\n",
        "{all:?}"
    );
    assert_eq!((files.take_torn(), files.take_torn()), (Some(4), None));
    assert_eq!(all[1].0, "conn.log");
    assert!(all[1].1.starts_with("#open") && all[1].1.ends_with("#close 1\n"));
}

#[test]
fn so_many_closed_files_of_each_name_are_kept_and_others_are_let_be() {
    let folder = tempfile::tempdir().expect("a folder");
    for other in [
        "conn.notes.log",
        "conn.log.bak",
        "other.2020-01-01-00-00-00.log",
    ] {
        fs::write(folder.path().join(other), "").expect("written");
    }
    let (mut files, archive) = open_kept(&folder, "2", "1h");
    for hour in 0..5 {
        assert!(put(&mut files, EventKind::Flow, "a\n", at(hour * HOUR)));
        assert!(put(&mut files, EventKind::Alert, "b\n", at(hour * HOUR)));
    }
    files.finish(at(5 * HOUR));
    archive.tend();
    let expected = [
        "conn.1970-01-01-03-00-00.log.gz",
        "conn.1970-01-01-04-00-00.log.gz",
        "conn.log.bak",
        "conn.notes.log",
        "notice.1970-01-01-03-00-00.log.gz",
        "notice.1970-01-01-04-00-00.log.gz",
        "other.2020-01-01-00-00-00.log",
    ];
    assert_eq!(names(&folder), expected);
}

#[test]
fn a_silent_hour_ends_a_file_live_and_not_in_read() {
    for (patience, count) in [
        (Patience::Live, 1),
        (Patience::UntilTaken(std::sync::Arc::default()), 0),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut files = open(&folder, rotation("1h"));
        files.set_patience(patience);
        assert!(put(&mut files, EventKind::Flow, "a\n", at(S)));
        files.flush(at(2 * HOUR));
        let closed = names(&folder)
            .iter()
            .filter(|name| *name != "conn.log")
            .count();
        assert_eq!(closed, count);
    }
}

#[test]
fn a_file_that_cannot_be_made_costs_its_records_alone_and_is_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = open(&folder, Rotation::default());
    std::os::unix::fs::symlink("/dev/null", folder.path().join("conn.log")).expect("a link");
    assert!(!put(&mut files, EventKind::Flow, "a\n", at(S)));
    assert!(put(&mut files, EventKind::Alert, "b\n", at(S)));
    assert_eq!(files.blocked(), Some(Cause::Io));
    fs::remove_file(folder.path().join("conn.log")).expect("removed");
    assert!(
        !put(&mut files, EventKind::Flow, "c\n", at(S + 1)),
        "tried once a second"
    );
    assert!(put(&mut files, EventKind::Flow, "d\n", at(2 * S)));
    let recovery = files.take_recovery().expect("what was lost");
    assert_eq!(recovery.lost[EventKind::Flow as usize], 2);
    assert_eq!(files.blocked(), None);
    files.finish(at(3 * S));
    let carried = files.carried();
    assert_eq!(carried.written[EventKind::Flow as usize], 1);
    assert_eq!(
        carried.dropped[Cause::Io as usize][EventKind::Flow as usize],
        2
    );
}

#[test]
fn a_folder_that_is_none_is_named_with_what_helps() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    for (path, says) in [
        (
            folder.path().join("missing"),
            "the folder is missing: create it",
        ),
        (file, "name a folder"),
        ("/proc".into(), "open failed for output /proc"),
    ] {
        let refused = descriptor::would_hold_files(&path).expect_err("no folder for files");
        let says_it = refused.to_string();
        assert!(says_it.contains(says), "{}: {says_it}", path.display());
    }
}

#[test]
fn a_folder_takes_the_files_of_one_sensor_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = open(&folder, rotation("1h"));
    assert!(put(&mut first, EventKind::Flow, "a\n", at(S)));
    let target = Target::Path(folder.path().into());
    let archive = Archive::default();
    let second = || Files::open(&target, &STREAMS, Rotation::default(), (&archive, 0));
    let refused = second().err().expect("it is locked").to_string();
    let expected = format!(
        "open failed for output {} (locked by another sensor that writes there: name another folder, or stop that \
         sensor): resource busy",
        folder.path().display()
    );
    assert_eq!(refused, expected);
    assert_eq!(names(&folder), ["conn.log"], "the open file keeps its name");
    let would_open = descriptor::would_hold_files(folder.path());
    assert!(would_open.is_ok(), "`check` runs beside a sensor");
    drop(first);
    assert!(second().is_ok());
}

/// The file of a stream takes nothing from now on.
fn fill(files: &mut Files, stream: usize) {
    let full = fs::OpenOptions::new().append(true).open("/dev/full");
    let full = Descriptor::of(full.expect("a device").into());
    let lines = files.streams[stream].lines.as_mut().expect("begun");
    lines.go_on_in(full);
}

/// There is room again.
fn empty(files: &mut Files, stream: usize) {
    let (file, _) = Descriptor::open(&files.streams[stream].path()).expect("it is there");
    let lines = files.streams[stream].lines.as_mut().expect("begun");
    lines.go_on_in(file);
}

#[test]
fn of_files_of_one_second_the_newest_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut files, archive) = open_kept(&folder, "2", "1MiB");
    for number in 0..13 {
        let line = format!("{number}\n");
        assert!(put(&mut files, EventKind::Flow, &line, at(S)));
        files.reopen(at(S)).expect("rotated");
    }
    archive.tend();
    let mut kept: Vec<String> = found(&folder).into_iter().map(|(_, text)| text).collect();
    kept.sort_unstable();
    assert_eq!(kept, ["#open 1\n11\n#close 1\n", "#open 1\n12\n#close 1\n"]);
}

#[test]
fn a_file_that_could_not_be_ended_gets_no_name_of_a_whole_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = open(&folder, rotation("1h"));
    assert!(put(&mut files, EventKind::Flow, "a\n", at(S)));
    files.flush(at(S));
    assert!(put(&mut files, EventKind::Flow, "b\n", at(S)));
    fill(&mut files, 0);
    files.finish(at(2 * S));
    files.finish(at(2 * S));
    assert_eq!(found(&folder), [("conn.log".into(), "#open 1\na\n".into())]);
    let flow = EventKind::Flow as usize;
    let carried = files.carried();
    assert_eq!(carried.written[flow], 1);
    assert_eq!(carried.dropped[Cause::DiskFull as usize][flow], 1);
    assert_eq!(carried.pending, [0; KINDS]);
}

#[test]
fn records_wait_while_a_file_cannot_be_ended_and_what_is_lost_is_reported_afterwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = open(&folder, Rotation::default());
    files.set_patience(Patience::Live);
    assert!(put(&mut files, EventKind::Flow, "a\n", at(S)));
    fill(&mut files, 0);
    files.reopen(at(S)).expect("nothing to open");
    assert_eq!(files.blocked(), Some(Cause::DiskFull));
    // They wait in the buffer, as in any file on a full disk.
    for _ in 0..3 {
        assert!(put(&mut files, EventKind::Flow, "b\n", at(S)));
    }
    empty(&mut files, 0);
    // Before anybody asks, the next file cannot be made either.
    files.flush(at(2 * S));
    let link = folder.path().join("conn.log");
    std::os::unix::fs::symlink("/dev/null", &link).expect("a link");
    assert!(!put(&mut files, EventKind::Flow, "c\n", at(2 * S)));
    fs::remove_file(&link).expect("removed");
    assert!(put(&mut files, EventKind::Flow, "d\n", at(3 * S)));
    let flow = EventKind::Flow as usize;
    let told: Vec<u64> = std::iter::from_fn(|| files.take_recovery())
        .map(|recovery| recovery.lost[flow])
        .collect();
    let dropped: u64 = files.carried().dropped.iter().map(|of| of[flow]).sum();
    assert_eq!(dropped, 1);
    assert_eq!(told.iter().sum::<u64>(), dropped, "{told:?}");
}

#[test]
fn a_footer_that_a_full_disk_refuses_makes_room_for_records() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = open(&folder, Rotation::default());
    files.set_patience(Patience::Live);
    assert!(put(&mut files, EventKind::Flow, "a\n", at(S)));
    files.flush(at(S));
    fill(&mut files, 0);
    files.reopen(at(2 * S)).expect("nothing to open");
    assert_eq!(files.blocked(), Some(Cause::DiskFull));
    for _ in 0..2 {
        assert!(put(&mut files, EventKind::Flow, "b\n", at(3 * S)));
    }
    empty(&mut files, 0);
    files.flush(at(5 * S));
    assert!(put(&mut files, EventKind::Flow, "c\n", at(6 * S)));
    files.flush(at(7 * S));
    let texts: Vec<String> = found(&folder).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["#open 1\na\nb\nb\n#close 5\n", "#open 6\nc\n"]);
}

#[test]
fn live_a_file_ends_by_the_logs_time_so_that_stragglers_make_no_file_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = open(&folder, rotation("1h"));
    files.set_patience(Patience::Live);
    assert!(put(&mut files, EventKind::Flow, "a\n", at(2 * HOUR - 5)));
    // The clock is past the hour, the log is not.
    let (log_ns, now_ns) = (2 * HOUR - 2, 2 * HOUR + 1);
    files.flush(Moment { log_ns, now_ns });
    let late = Moment {
        log_ns: 2 * HOUR - 1,
        now_ns: 2 * HOUR + 1,
    };
    assert!(put(&mut files, EventKind::Flow, "b\n", late));
    assert!(put(&mut files, EventKind::Flow, "c\n", at(2 * HOUR + 2)));
    files.finish(at(2 * HOUR + 3));
    assert_eq!(names(&folder).len(), 2, "{:?}", names(&folder));
}

#[test]
fn a_file_that_another_program_moved_is_ended_where_it_is_and_the_new_one_is_begun() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, moved) = (folder.path().join("conn.log"), folder.path().join("moved"));
    let mut files = open(&folder, Rotation::default());
    assert!(put(&mut files, EventKind::Flow, "a\n", at(S)));
    fs::rename(&log, &moved).expect("moved");
    fs::write(&log, "").expect("made anew");
    files.reopen(at(2 * S)).expect("reopened");
    assert!(put(&mut files, EventKind::Flow, "b\n", at(3 * S)));
    files.finish(at(4 * S));
    let expected = [
        ("conn.log", "#open 3\nb\n#close 4\n"),
        ("moved", "#open 1\na\n#close 2\n"),
    ];
    let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(found(&folder), expected);
}

#[test]
fn a_folder_that_is_removed_costs_what_comes_until_it_is_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("logs");
    fs::create_dir(&folder).expect("a folder");
    let target = Target::Path(folder.clone());
    let archive = Archive::default();
    let mut files = Files::open(&target, &STREAMS, rotation("1h"), (&archive, 0)).expect("opens");
    files.set_patience(Patience::Live);
    assert!(put(&mut files, EventKind::Flow, "a\n", at(S)));
    files.flush(at(S));
    fs::remove_dir_all(&folder).expect("removed");
    files.flush(at(3 * S));
    assert!(!put(&mut files, EventKind::Flow, "b\n", at(3 * S)));
    assert_eq!(files.blocked(), Some(Cause::Io));
    fs::create_dir(&folder).expect("back");
    assert!(put(&mut files, EventKind::Flow, "c\n", at(4 * S)));
    files.flush(at(4 * S));
    assert_eq!(text(&folder.join("conn.log")), "#open 4\nc\n");
    let carried = files.carried();
    let flow = EventKind::Flow as usize;
    assert_eq!(carried.written[flow], 2);
    assert_eq!(carried.dropped[Cause::Io as usize][flow], 1);
}
