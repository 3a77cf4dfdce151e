//! Segments of the sensor itself: what waits where the program that delivers them is missing, and after a kill.

mod common;

use common::{NANOS, syn};
use craft::{Capture, Flow, Link, LinkType};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A folder with a sensor that has no other program beside it, and how it is called.
fn lonely() -> (tempfile::TempDir, impl Fn(&str) -> Command) {
    // On one file system with the program: a copy could be busy while another test forks.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let program = dir.path().join("synledger");
    fs::hard_link(env!("CARGO_BIN_EXE_synledger"), &program).expect("linked");
    fs::create_dir(dir.path().join("to")).expect("made");
    let output = format!("parquet:{}/to,sensor=probe", dir.path().display());
    let command = move |capture: &str| {
        let mut command = Command::new(&program);
        command.args(["read", capture, "--output", &output]);
        command
    };
    (dir, command)
}

fn capture() -> Vec<u8> {
    let mut capture = Capture::new("fifty", LinkType::Ethernet);
    for at in 0..50_u16 {
        let flow = Flow::v4([10, 0, 0, 1], 1024, [198, 51, 100, 7], 80 + at);
        let frame = Link::ethernet().frame(&syn(flow, at.into()));
        capture.push(i64::from(at) * 1_000_000, frame);
    }
    capture.to_pcap(NANOS)
}

/// Names in the spool, and the bytes of them all.
fn spool(dir: &Path) -> (Vec<String>, u64) {
    let entries = fs::read_dir(dir.join("to/.spool")).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut all: Vec<PathBuf> = paths.collect();
    all.sort_unstable();
    let name = |path: &PathBuf| {
        path.file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    let bytes = all
        .iter()
        .map(|path| path.metadata().map_or(0, |about| about.len()));
    let bytes = bytes.sum();
    (all.iter().map(name).collect(), bytes)
}

#[test]
fn without_the_program_that_delivers_them_segments_wait_and_it_is_said() {
    let (dir, read) = lonely();
    let file = dir.path().join("x.pcap");
    fs::write(&file, capture()).expect("written");
    let output = read(&file.to_string_lossy()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("synledger-parquet does not start: "),
        "{said}"
    );
    assert!(
        said.contains("synledger-parquet --spool "),
        "the way out is named: {said}"
    );
    let (names, bytes) = spool(dir.path());
    assert!(
        names.iter().all(|name| name.ends_with(".rows")),
        "{names:?}"
    );
    assert!(bytes > 50 * 100, "{names:?} {bytes}");
    assert!(said.contains(" written, 0 dropped"), "{said}");
    assert!(said.contains("the books close"), "{said}");
}

#[test]
fn what_a_killed_sensor_wrote_is_closed_by_the_next_one() {
    let (dir, read) = lonely();
    let mut command = read("-");
    let command = command.stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(&capture()).expect("written");
    input.flush().expect("written");
    let give_up = Instant::now() + Duration::from_secs(30);
    while spool(dir.path()).1 < 5_000 {
        assert!(
            Instant::now() < give_up,
            "no segment: {:?}",
            spool(dir.path())
        );
        sleep(Duration::from_millis(50));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    let (names, bytes) = spool(dir.path());
    assert_eq!(names, ["0000000001.open"]);
    let file = dir.path().join("x.pcap");
    fs::write(&file, capture()).expect("written");
    let output = read(&file.to_string_lossy()).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0));
    let (names, all) = spool(dir.path());
    assert!(names.len() >= 2 && names.iter().all(|name| name.ends_with(".rows")));
    assert!(all > bytes, "{names:?}");
}
