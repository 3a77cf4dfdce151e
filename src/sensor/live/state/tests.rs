use super::*;
use crate::log::notice::{Notice, Notices};
use crossbeam::channel::Receiver;
use std::os::unix::fs::symlink;

/// A folder, a messenger, and what it sends.
fn lab() -> (tempfile::TempDir, Messenger, Receiver<Notice>) {
    let (notices, sent) = Notices::channel();
    let dir = tempfile::tempdir().expect("a folder");
    (dir, Messenger::new(notices, true), sent)
}

fn folder(path: &Path, is_asked: bool) -> StateFolder {
    StateFolder {
        path: path.to_owned(),
        is_asked,
    }
}

fn open(path: &Path) -> Kept {
    Kept::open(Some(&folder(path, true)), None).expect("it can be written")
}

fn refused(path: &Path) -> String {
    let error = Kept::open(Some(&folder(path, true)), None).expect_err("it cannot be written");
    error.to_string()
}

/// Words and sentences of the records since the last call.
fn said(sent: &Receiver<Notice>) -> Vec<(&'static str, String)> {
    let of = |notice| match notice {
        Notice::Lifecycle { word, text, .. } => (word, text),
        other => panic!("{other:?}"),
    };
    sent.try_iter().map(of).collect()
}

#[test]
fn a_start_that_fails_leaves_no_file_and_no_folder_but_those_that_were_there() {
    let (dir, messenger, _sent) = lab();
    let made = dir.path().join("made");
    drop(open(&made));
    assert!(!made.exists());
    drop(open(dir.path()));
    assert!(dir.path().exists() && !dir.path().join(FILE).exists());
    let mut kept = open(dir.path());
    kept.start(&messenger);
    drop(kept);
    drop(open(dir.path()));
    assert!(dir.path().join(FILE).exists(), "an earlier run's");
}

#[test]
fn the_second_start_names_the_gap_and_its_cause() {
    let (dir, messenger, sent) = lab();
    let path = dir.path().join("new");
    let mut first = open(&path);
    assert_eq!(first.start(&messenger), None);
    first.update(wall_clock_ns(), &messenger);
    assert_eq!(said(&sent), [], "no run was before");
    drop(first);
    let mut second = open(&path);
    let gap_s = second.start(&messenger).expect("it is known");
    assert!((0.0..10.0).contains(&gap_s), "{gap_s}");
    let killed = said(&sent);
    assert_eq!(killed.len(), 1);
    assert_eq!(killed[0].0, "not_watched");
    assert!(killed[0].1.ends_with("was killed or crashed"), "{killed:?}");
    second.finish(wall_clock_ns());
    drop(second);
    let mut third = open(&path);
    third.start(&messenger);
    let stopped = said(&sent);
    assert!(stopped[0].1.ends_with("synledger was stopped"));
}

#[test]
fn a_run_that_never_watched_leaves_the_record_as_it_was() {
    let (dir, messenger, _) = lab();
    let mut first = open(dir.path());
    first.start(&messenger);
    drop(first);
    let before = fs::read(dir.path().join(FILE)).expect("a record");
    let mut failed = open(dir.path());
    failed.update(wall_clock_ns(), &messenger);
    failed.finish(wall_clock_ns());
    drop(failed);
    assert_eq!(fs::read(dir.path().join(FILE)).expect("a record"), before);
}

#[test]
fn what_the_log_has_not_is_not_watched() {
    let (dir, messenger, _) = lab();
    let mut run = open(dir.path());
    run.start(&messenger);
    let state = run.state.as_ref().expect("it is open");
    let started_ns = state.started_ns.expect("it watches");
    let kept = || match read(&state.file) {
        Ok(Ok(Some(record))) => record,
        other => panic!("{other:?}"),
    };
    let behind = started_ns + 1_000;
    state.write(behind, false).expect("written");
    assert_eq!(kept().watched_ns, behind);
    // The same moment by both clocks, however late it is written.
    let now_ns = wall_clock_ns();
    let age_ns = boot_ns() - kept().boot_ns;
    assert!((age_ns - (now_ns - behind)).abs() < 1_000_000_000);
    state
        .write(now_ns + 3_600_000_000_000, false)
        .expect("written");
    assert!(kept().watched_ns <= wall_clock_ns(), "not in the future");
    run.update(started_ns - 5_000_000_000, &messenger);
    let state = run.state.as_ref().expect("it is open");
    let record = read(&state.file).expect("it is read").expect("whole");
    assert_eq!(record.expect("a record").watched_ns, started_ns);
}

#[test]
fn what_is_no_record_is_named_and_replaced() {
    let (dir, messenger, sent) = lab();
    let path = dir.path().join(FILE);
    let long = vec![b'x'; 100_000];
    for (garbage, why) in [
        (&b"\0\xff\n"[..], "it is damaged, or another program's"),
        (&long, "it is damaged, or another program's"),
        (
            b"synledger-state 9 x=y\n",
            "it has version 9, this program 1",
        ),
    ] {
        fs::write(&path, garbage).expect("a file");
        let mut run = open(dir.path());
        assert_eq!(run.start(&messenger), None);
        let said = said(&sent);
        assert_eq!(said[0].0, "state_unreadable");
        assert!(said[0].1.contains(why), "{said:?}");
        assert_eq!(
            fs::metadata(&path).expect("a file").len(),
            RECORD_LEN as u64
        );
        drop(run);
    }
    let mut run = open(dir.path());
    assert!(run.start(&messenger).is_some(), "it was replaced");
}

#[test]
fn a_file_that_cannot_be_written_refuses_the_run_only_if_it_was_asked_for() {
    let (dir, messenger, sent) = lab();
    let within = |name: &str| dir.path().join(name);
    fs::write(within("file"), "").expect("a file");
    fs::create_dir_all(within("link")).expect("a folder");
    symlink("/dev/null", within("link").join(FILE)).expect("a link");
    fs::create_dir_all(within("folder").join(FILE)).expect("a folder");
    fs::create_dir_all(within("pipe")).expect("a folder");
    let pipe = within("pipe").join(FILE);
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    for (name, why) in [
        ("file", "file/last-watched: Not a directory"),
        ("link", "link/last-watched: a symbolic link"),
        ("folder", "folder/last-watched: Is a directory"),
        ("pipe", "pipe/last-watched: not a regular file: remove it"),
        ("a/b", "a/b: cannot be made: No such file or directory"),
    ] {
        let says = refused(&within(name));
        assert!(says.starts_with("--state: /"), "{says}");
        assert!(says.contains(why), "{says}");
        let preset = folder(&within(name), false);
        let mut kept = Kept::open(Some(&preset), None).expect("the run starts without it");
        assert_eq!(kept.start(&messenger), None);
        let said = said(&sent);
        assert_eq!(said[0].0, "state_failed");
        assert!(said[0].1.contains(why), "{said:?}");
        assert_eq!(would_refuse(Some(&preset)), None);
    }
    assert_eq!(
        fs::read_link(within("link").join(FILE)).expect("a link"),
        Path::new("/dev/null")
    );
    for name in ["file", "link", "a/b"] {
        let asked = folder(&within(name), true);
        assert!(would_refuse(Some(&asked)).is_some(), "{name}");
    }
    for name in ["new", "."] {
        assert_eq!(would_refuse(Some(&folder(&within(name), true))), None);
    }
    assert!(!within("new").exists(), "nothing is made");
}

#[test]
fn a_second_sensor_is_told_who_has_the_file() {
    let (dir, messenger, _) = lab();
    let mut first = open(dir.path());
    first.start(&messenger);
    let says = refused(dir.path());
    let who = format!("in use by another sensor (process {})", std::process::id());
    assert!(says.contains(&who), "{says}");
    drop(first);
    open(dir.path());
}

#[test]
fn a_file_that_is_removed_meanwhile_is_reported_once() {
    let (dir, messenger, sent) = lab();
    let mut run = open(dir.path());
    run.start(&messenger);
    fs::remove_file(dir.path().join(FILE)).expect("it is there");
    for _ in 0..3 {
        run.update(wall_clock_ns(), &messenger);
    }
    let said = said(&sent);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].0, "state_failed");
    assert!(said[0].1.contains("removed"), "{said:?}");
}
