use super::*;
use crate::books::record_kind::EventKind;
use crate::log::sinks::descriptor::would_open;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const S: i64 = 1_000_000_000;
const KIND: EventKind = EventKind::Connection;

fn open(path: &Path) -> Result<Lines, String> {
    Lines::open(&Target::Path(path.into())).map_err(|error| error.to_string())
}

fn at(now_ns: i64) -> Moment {
    let log_ns = now_ns;
    Moment { log_ns, now_ns }
}

fn line(sink: &mut Lines, text: &str, now_ns: i64) {
    let entry = Entry {
        kind: KIND,
        folded: 0,
    };
    if let Some(out) = sink.admit(entry, at(now_ns)) {
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
        sink.commit(entry, at(now_ns));
    }
}

#[test]
fn links_directories_and_missing_folders_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("directory");
    let link = dir.path().join("link");
    symlink(dir.path().join("aim"), &link).expect("link");
    assert!(
        open(&link)
            .err()
            .expect("refused")
            .contains("link (a symbolic link")
    );
    assert!(!dir.path().join("aim").exists());
    assert!(
        open(dir.path())
            .err()
            .expect("refused")
            .contains("(a directory")
    );
    let missing = open(&dir.path().join("no/log")).err().expect("refused");
    let folder = dir.path().join("no").display().to_string();
    let says = format!("(its directory {folder} is missing: create it)");
    assert!(missing.contains(&says), "{missing}");
}

#[test]
fn what_would_open_can_be_known_without_touching_it() {
    let dir = tempfile::tempdir().expect("directory");
    let at = |name: &str| dir.path().join(name);
    let (there, link, missing) = (at("there"), at("link"), at("missing"));
    std::fs::write(&there, "torn").expect("a file");
    symlink(&missing, &link).expect("link");
    let socket = at("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let folder = dir.path().to_path_buf();
    for path in [
        there.clone(),
        link,
        missing.clone(),
        at("no/log"),
        socket,
        folder,
    ] {
        let target = Target::Path(path.clone());
        let would = would_open(&target).map_err(|error| error.to_string());
        assert!(!missing.exists(), "created for {}", path.display());
        assert_eq!(std::fs::read(&there).expect("there"), b"torn");
        assert_eq!(would, open(&path).map(drop), "{}", path.display());
        let _ = std::fs::remove_file(&missing);
    }
}

#[test]
fn a_file_is_appended_to_a_torn_record_is_cut_off_and_a_torn_line_of_others_is_ended() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("log");
    for text in ["one", "two"] {
        let mut sink = open(&path).expect("open");
        line(&mut sink, text, 0);
        assert_eq!(
            (sink.carried().written[0], sink.carried().pending[0]),
            (0, 1)
        );
        sink.finish(at(0));
        assert_eq!(sink.carried().written[0], 1);
    }
    let mode = std::fs::metadata(&path)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(
        mode & 0o027,
        0,
        "no write for the group, nothing for others"
    );
    std::fs::write(&path, "to").expect("write");
    let mut sink = open(&path).expect("open");
    line(&mut sink, "three", 0);
    sink.finish(at(0));
    assert_eq!(std::fs::read_to_string(&path).expect("read"), "to\nthree\n");
    assert_eq!(sink.take_torn(), None);
    drop(sink);
    std::fs::write(&path, "three\n{\"timestamp\":\"20").expect("write");
    let mut sink = open(&path).expect("open");
    assert_eq!((sink.take_torn(), sink.take_torn()), (Some(16), None));
    line(&mut sink, "four", 0);
    sink.finish(at(0));
    assert_eq!(
        std::fs::read_to_string(&path).expect("read"),
        "three\nfour\n"
    );
}

#[test]
fn after_a_rotation_lines_go_to_the_new_file() {
    let dir = tempfile::tempdir().expect("directory");
    let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
    let mut sink = open(&path).expect("open");
    line(&mut sink, "one", 0);
    std::fs::rename(&path, &old).expect("rename");
    sink.reopen(at(0)).expect("reopen");
    line(&mut sink, "two", 0);
    sink.finish(at(0));
    assert_eq!(std::fs::read_to_string(old).expect("read"), "one\n");
    assert_eq!(std::fs::read_to_string(path).expect("read"), "two\n");
}

#[test]
fn a_file_that_is_removed_or_replaced_is_begun_anew_within_a_second_and_a_moved_one_is_not() {
    let dir = tempfile::tempdir().expect("directory");
    let folder = dir.path().join("logs");
    let path = folder.join("log");
    let read = |path: &Path| std::fs::read_to_string(path).expect("read");
    std::fs::create_dir(&folder).expect("a folder");
    let mut sink = open(&path).expect("open");
    let put = |sink: &mut Lines, text: &str, second: i64| {
        line(sink, text, second * S);
        sink.flush(at(second * S));
    };
    put(&mut sink, "one", 1);
    let moved = folder.join("moved");
    std::fs::rename(&path, &moved).expect("moved");
    put(&mut sink, "two", 3);
    assert_eq!(read(&moved), "one\ntwo\n", "whoever moved it sends SIGHUP");
    std::fs::write(&path, "other").expect("another file");
    put(&mut sink, "three", 5);
    assert_eq!(read(&path), "other\nthree\n");
    std::fs::remove_dir_all(&folder).expect("removed");
    put(&mut sink, "four", 7);
    assert_eq!(sink.blocked(), Some(Cause::Io), "no folder, no file");
    sink.flush(at(7 * S + 1));
    assert_eq!(sink.carried().pending[KIND as usize], 1, "it waits");
    std::fs::create_dir(&folder).expect("a folder");
    put(&mut sink, "five", 8);
    assert_eq!(sink.blocked(), None);
    assert_eq!(read(&path), "four\nfive\n");
    let carried = sink.carried();
    assert_eq!(carried.written[KIND as usize], 5);
    assert_eq!(carried.dropped, [[0; KINDS]; CAUSES]);
    std::fs::remove_dir_all(&folder).expect("removed");
    put(&mut sink, "six", 10);
    sink.finish(at(10 * S + 1));
    let carried = sink.carried();
    assert_eq!(carried.dropped[Cause::Io as usize][KIND as usize], 1);
    assert_eq!(carried.pending, [0; KINDS]);
}

#[test]
fn a_reader_that_leaves_closes_standard_output() {
    let (reader, writer) = io::pipe().expect("pipe");
    let mut sink = Lines::from_fd(writer.into());
    line(&mut sink, "one", 0);
    sink.flush(at(0));
    drop(reader);
    line(&mut sink, "two", 0);
    assert!(!sink.is_closed());
    sink.flush(at(0));
    assert!(sink.is_closed());
    line(&mut sink, "three", 0);
    sink.finish(at(0));
    assert_eq!(
        (
            sink.carried().written[0],
            sink.carried().dropped[Cause::Closed as usize][0]
        ),
        (1, 2)
    );
}

#[test]
fn a_full_device_is_tried_once_a_second_and_losses_are_counted() {
    let mut sink = open(Path::new("/dev/full")).expect("open");
    let text = "x".repeat(1023);
    let room = BUFFER_MAX as u64 / 1024;
    for _ in 0..room + 44 {
        line(&mut sink, &text, S);
    }
    assert_eq!(sink.carried().pending[0], room);
    assert_eq!(sink.carried().dropped[Cause::DiskFull as usize][0], 44);
    sink.finish(at(S));
    assert_eq!(
        sink.carried().dropped[Cause::DiskFull as usize][0],
        room + 44
    );
    assert_eq!((sink.carried().written[0], sink.take_recovery()), (0, None));
}

/// A tmpfs of 64 KiB in a mount namespace of its own, reached through /proc.
fn small_disk(dir: &Path) -> Option<(Child, std::path::PathBuf)> {
    let script = "mount -t tmpfs -o size=64k none \"$1\" && echo ready && exec cat";
    let mut child = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut ready = [0; 6];
    let stdout = child.stdout.as_mut().expect("piped");
    if stdout.read_exact(&mut ready).is_err() {
        child.wait().expect("it ended");
        return None;
    }
    let path = format!("/proc/{}/root{}", child.id(), dir.display());
    Some((child, path.into()))
}

#[test]
fn a_full_disk_keeps_lines_whole_and_says_what_was_lost() {
    let dir = tempfile::tempdir().expect("directory");
    let Some((mut child, disk)) = small_disk(dir.path()) else {
        eprintln!("skipped: no mount namespace with a tmpfs here");
        return;
    };
    const LINES: u64 = BUFFER_MAX as u64 / 1000 + 100;
    let (path, ballast) = (disk.join("log"), disk.join("ballast"));
    std::fs::write(&ballast, vec![0; 40 << 10]).expect("ballast");
    let mut sink = open(&path).expect("open");
    for i in 0..LINES {
        line(&mut sink, &format!("{i:0>999}"), S);
    }
    assert!(
        sink.carried().written[0] > 0 && sink.mid_line,
        "the disk filled within a line"
    );
    let lost = sink.carried().dropped[Cause::DiskFull as usize][0];
    assert!(lost > 0);
    let before = sink.carried().written[0];
    std::fs::remove_file(&ballast).expect("room again");
    sink.flush(at(S + S / 2));
    assert_eq!(sink.carried().written[0], before, "not yet a second");
    sink.flush(at(2 * S));
    assert!(sink.carried().written[0] > before);
    sink.finish(at(2 * S));
    let left = std::fs::read_to_string(&path).expect("read");
    let whole: Vec<_> = left
        .split_inclusive('\n')
        .filter(|l| l.ends_with('\n'))
        .collect();
    assert_eq!(whole.len() as u64, sink.carried().written[0]);
    for (i, text) in whole.iter().enumerate() {
        assert_eq!(*text, format!("{i:0>999}\n"), "line {i} is whole");
    }
    assert_eq!(
        sink.carried().written[0] + sink.carried().dropped[Cause::DiskFull as usize][0],
        LINES
    );
    drop(child.stdin.take());
    child.wait().expect("it ends with its input");
}

#[test]
fn live_a_pipe_that_nobody_reads_costs_its_own_lines_and_no_time() {
    let (mut reader, writer) = io::pipe().expect("pipe");
    let mut sink = Lines::from_fd(writer.into());
    sink.set_patience(Patience::Live);
    let text = "x".repeat(1023);
    const LINES: u64 = 2 * BUFFER_MAX as u64 / 1024;
    let start = Instant::now();
    for now_ns in 0..LINES.cast_signed() {
        line(&mut sink, &text, now_ns);
    }
    let lost = sink.carried().dropped[Cause::Slow as usize][0];
    assert!(lost > 0 && sink.carried().pending[0] > 0);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    // The reader comes back: it gets whole lines, and is told what it missed.
    let read = std::thread::spawn(move || {
        let mut all = String::new();
        reader.read_to_string(&mut all).expect("UTF-8");
        all
    });
    let mut now_ns = LINES.cast_signed();
    while sink.carried().pending[0] > 0 {
        sink.flush(at(now_ns));
        now_ns += 1;
        std::thread::yield_now();
    }
    let recovery = sink.take_recovery().expect("it recovered");
    assert_eq!((recovery.cause, recovery.lost[0]), (Cause::Slow, lost));
    let written = sink.carried().written[0];
    assert_eq!(written + lost, LINES);
    sink.finish(at(S));
    drop(sink);
    let all = read.join().expect("no panic");
    assert!(all.lines().all(|line| line.len() == 1023));
    assert_eq!(all.lines().count() as u64, written);
}

#[test]
fn live_the_end_waits_a_second_for_a_reader_and_no_longer() {
    let (_reader, writer) = io::pipe().expect("pipe");
    let mut sink = Lines::from_fd(writer.into());
    sink.set_patience(Patience::Live);
    let text = "x".repeat(1023);
    for now_ns in 0..200 {
        line(&mut sink, &text, now_ns);
    }
    let start = Instant::now();
    sink.finish(at(300));
    sink.finish(at(300));
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert_eq!(
        sink.carried().written[0] + sink.carried().dropped[Cause::Slow as usize][0],
        200
    );
}

#[test]
fn reading_waits_for_a_slow_reader_until_told_to_hurry() {
    let (mut reader, writer) = io::pipe().expect("pipe");
    let hurry = Arc::new(AtomicBool::new(false));
    let mut sink = Lines::from_fd(writer.into());
    sink.set_patience(Patience::UntilTaken(Arc::clone(&hurry)));
    let writing = std::thread::spawn(move || {
        let text = "x".repeat(1023);
        for now_ns in 0..400 {
            line(&mut sink, &text, now_ns);
        }
        sink.flush(at(401));
        let all = sink.carried().written[0];
        for now_ns in 402..800 {
            line(&mut sink, &text, now_ns);
        }
        sink.finish(at(900));
        (all, sink)
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(!writing.is_finished(), "it waits");
    let mut bytes = vec![0; 400 << 10];
    reader.read_exact(&mut bytes).expect("everything");
    std::thread::sleep(Duration::from_millis(300));
    assert!(!writing.is_finished(), "it waits again");
    hurry.store(true, Ordering::Relaxed);
    let (all, sink) = writing.join().expect("no panic");
    assert_eq!(all, 400);
    let lost = sink.carried().dropped[Cause::Slow as usize][0];
    assert!(lost > 0);
    assert_eq!(sink.carried().written[0] + lost, 798);
}

#[test]
fn a_recovery_outlives_further_writes_until_it_is_taken() {
    let mut sink = open(Path::new("/dev/full")).expect("open");
    let text = "x".repeat(1023);
    for _ in 0..BUFFER_MAX / 1024 + 7 {
        line(&mut sink, &text, S);
    }
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("log");
    sink.target = Target::Path(path.clone());
    sink.reopen(at(2 * S)).expect("open");
    assert!(sink.outage.is_none());
    line(&mut sink, "more", 3 * S);
    sink.reopen(at(3 * S)).expect("open");
    let recovery = sink.take_recovery().expect("not said yet");
    assert_eq!((recovery.since_ns, recovery.lost[0]), (S, 7));
    sink.file = Descriptor::open(Path::new("/dev/full")).expect("open").0;
    let fail = |sink: &mut Lines, now_ns| {
        for _ in 0..BUFFER_MAX / 1024 + 2 {
            line(sink, &text, now_ns);
        }
        sink.reopen(at(now_ns)).expect("open");
        sink.file = Descriptor::open(Path::new("/dev/full")).expect("open").0;
    };
    fail(&mut sink, 5 * S);
    fail(&mut sink, 7 * S);
    let recovery = sink.take_recovery().expect("not said yet");
    assert_eq!(
        (recovery.since_ns, recovery.lost[0]),
        (5 * S, 4),
        "both losses"
    );
}

#[test]
fn a_file_has_one_writer_and_each_file_of_a_rotation_is_locked_anew() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("log");
    let mut first = open(&path).expect("open");
    let refused = || open(&path).err().expect("it has a writer");
    assert!(refused().contains("(locked by another process that writes there: name another file"));
    // Nothing was moved: it stays open.
    first.reopen(at(0)).expect("reopen");
    refused();
    std::fs::rename(&path, dir.path().join("log.1")).expect("rename");
    first.reopen(at(0)).expect("reopen");
    refused();
    open(&dir.path().join("log.1")).expect("nobody writes it any more");
    drop(first);
    open(&path).expect("its writer is gone");
}
