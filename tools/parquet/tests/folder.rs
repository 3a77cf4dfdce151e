//! The program on a folder: killed at any moment, given broken segments, asked to end.

mod common;

use common::{delivered, files, fill, program, segment, waiting};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().expect("a pid"))
}

/// With `SYNLEDGER_FUZZ=full` at 50 moments, else at 5.
#[test]
fn a_kill_at_any_moment_leaves_no_broken_file_and_the_next_run_delivers_each_row_once() {
    let full = std::env::var("SYNLEDGER_FUZZ").is_ok_and(|how| how == "full");
    let moments = if full { 50 } else { 5 };
    let mut whole = Duration::ZERO;
    let mut cut_short = 0;
    for moment in 0..=moments {
        let dir = tempfile::tempdir().expect("a folder");
        let (spool, to) = (dir.path().join("spool"), dir.path().join("to"));
        fs::create_dir(&spool).expect("made");
        let rows = fill(&spool, 4, 1_500);
        let run = || {
            let mut command = program(&spool, &to.to_string_lossy());
            command.arg("--once").stderr(Stdio::null());
            command.spawn().expect("it starts")
        };
        if moment > 0 {
            let mut child = run();
            sleep(whole * (moment - 1) / moments);
            kill(pid(&child), Signal::SIGKILL).expect("killed");
            child.wait().expect("ended");
            let so_far = delivered(&to);
            cut_short += usize::from(waiting(&spool) > 0);
            // What a killed run delivered is removed from the spool only when it is all there.
            let missing = rows - i64::try_from(so_far.len()).expect("few");
            let held = i64::try_from(waiting(&spool)).expect("few") * 1_500;
            assert!(
                missing <= held,
                "moment {moment}: {missing} rows are nowhere"
            );
        }
        let begun = Instant::now();
        assert!(run().wait().expect("ended").success());
        whole = whole.max(begun.elapsed());
        assert_eq!(
            delivered(&to),
            (0..rows).collect::<Vec<_>>(),
            "moment {moment}"
        );
        assert_eq!(waiting(&spool), 0);
        let parts = fs::read_dir(&spool).expect("a spool").count();
        assert_eq!(parts, 1, "the lock alone is left");
    }
    eprintln!("killed at {moments} moments, {cut_short} of them before the end");
    assert!(cut_short > 0, "at least one kill came before the end");
}

#[test]
fn good_rows_before_a_torn_or_damaged_end_are_kept_and_the_offset_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let (spool, to) = (dir.path().join("spool"), dir.path().join("to"));
    fs::create_dir(&spool).expect("made");
    let whole = segment(0..100, 0);
    let row = (whole.len() - 21) / 100;
    fs::write(spool.join("1.rows"), &whole[..whole.len() - 3]).expect("written");
    let mut damaged = segment(100..200, 0);
    damaged[21 + 50 * row + 20] ^= 1;
    fs::write(spool.join("2.rows"), damaged).expect("written");
    fs::write(spool.join("3.rows"), "PAR1 is no segment").expect("written");
    fs::write(spool.join("4.rows"), "").expect("written");
    let run = program(&spool, &to.to_string_lossy())
        .arg("--once")
        .output();
    let run = run.expect("it starts");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    let expected: Vec<i64> = (0..99).chain(100..150).collect();
    assert_eq!(delivered(&to), expected);
    assert!(said.contains("\"synledger_parquet\":\"torn\""), "{said}");
    let offset = |at: usize| format!("offset {}: ", 21 + at * row);
    assert!(said.contains(&(offset(99) + "ends within a row")), "{said}");
    assert!(
        said.contains(&(offset(50) + "the sum does not fit")),
        "{said}"
    );
    assert!(said.contains("not a segment"), "{said}");
    let mut left: Vec<String> = fs::read_dir(&spool)
        .expect("a spool")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    left.sort_unstable();
    assert_eq!(left, [".delivering", "2.bad", "3.bad"]);
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_would_be_put_where() {
    let dir = tempfile::tempdir().expect("a folder");
    let (spool, to) = (dir.path().join("spool"), dir.path().join("to"));
    fs::create_dir(&spool).expect("made");
    fill(&spool, 1, 30);
    let run = program(&spool, &to.to_string_lossy())
        .arg("--dry-run")
        .output();
    let run = run.expect("it starts");
    let said = String::from_utf8_lossy(&run.stdout);
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.contains("10 rows") && said.contains("date=1970-01-01/hour=00/sensor=probe-1/"));
    assert!(!to.exists() && waiting(&spool) == 1);
    assert_eq!(fs::read_dir(&spool).expect("a spool").count(), 1);
}

#[test]
fn it_ends_when_it_is_asked_to_and_after_its_standard_input_with_an_empty_spool() {
    let dir = tempfile::tempdir().expect("a folder");
    let (spool, to) = (dir.path().join("spool"), dir.path().join("to"));
    fs::create_dir(&spool).expect("made");
    let mut asked = program(&spool, &to.to_string_lossy());
    let mut child = asked.stderr(Stdio::null()).spawn().expect("it starts");
    sleep(Duration::from_millis(500));
    assert!(child.try_wait().expect("asked").is_none(), "it goes on");
    kill(pid(&child), Signal::SIGTERM).expect("sent");
    assert!(child.wait().expect("ended").success());
    // A period of a day: what comes at its end is delivered all the same.
    let mut command = program(&spool, &to.to_string_lossy());
    command.args(["--until-eof", "--period", "86400"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    sleep(Duration::from_millis(500));
    let rows = fill(&spool, 2, 30);
    drop(child.stdin.take());
    assert!(child.wait().expect("ended").success());
    assert_eq!(delivered(&to), (0..rows).collect::<Vec<_>>());
    assert_eq!(files(&to).len(), 6);
}
