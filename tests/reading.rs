//! `read` with a slow capture: its log meanwhile, and signals.

mod common;

use common::{NANOS, read_logs, syn, synledger};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// Size of a pcap file header.
const HEADER_BYTES: usize = 24;

/// SYNs from one source to ports 1, 2, 3 …, a millisecond apart.
fn syns(count: u16) -> Vec<u8> {
    let mut capture = craft::Capture::new("syns", craft::LinkType::Ethernet);
    for port in 1..=count {
        let flow = craft::Flow::v4([192, 0, 2, 1], 1000, [198, 51, 100, 1], port);
        capture.push(
            i64::from(port) * 1_000_000,
            craft::Link::ethernet().frame(&syn(flow, 7)),
        );
    }
    capture.to_pcap(NANOS)
}

/// A running `read -`, fed through a pipe; killed on drop.
struct Reader {
    child: Child,
    dir: tempfile::TempDir,
}

impl Reader {
    fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let events = "events=connection+alert+flow";
        let file = |name: &str| File::create(dir.path().join(name)).expect("a file");
        let child = synledger()
            .args(["read", "-", "--sensor", "test", "--output"])
            .arg(format!(
                "text:{},{events}",
                dir.path().join("text").display()
            ))
            .arg("--output")
            .arg(format!("eve:{},{events}", dir.path().join("eve").display()))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the program starts");
        Self { child, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn content(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn feed(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("not closed yet");
        stdin.write_all(bytes).expect("it reads");
        stdin.flush().expect("it reads");
    }

    fn wait_for(&self, what: &str, patience: Duration, happened: impl Fn() -> bool) {
        let give_up = Instant::now() + patience;
        while !happened() {
            let stderr = self.content("stderr");
            assert!(
                Instant::now() < give_up,
                "no {what} in {patience:?}\n{stderr}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn wait_for_lines(&self, count: usize, patience: Duration) {
        self.wait_for("line", patience, || {
            self.content("text").matches("New connection").count() >= count
        });
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Closes the pipe and waits for the end; returns the exit code.
    fn end(&mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        self.child.wait().expect("a child").code()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_slow_pipe_is_logged_within_a_second() {
    let bytes = syns(3);
    let frame = (bytes.len() - HEADER_BYTES) / 3;
    let mut reader = Reader::start(&[]);
    // One frame and a half, as a program writes that flushes full buffers.
    reader.feed(&bytes[..HEADER_BYTES + frame * 3 / 2]);
    reader.wait_for_lines(1, PATIENCE);
    let begin = Instant::now();
    reader.feed(&bytes[HEADER_BYTES + frame * 3 / 2..]);
    reader.wait_for_lines(3, Duration::from_secs(1));
    eprintln!("logged after {:?}", begin.elapsed());
    assert_eq!(reader.end(), Some(0), "{}", reader.content("stderr"));
}

#[test]
fn a_pipe_without_pauses_is_logged_within_a_second() {
    let bytes = syns(100);
    let frame = (bytes.len() - HEADER_BYTES) / 100;
    let mut reader = Reader::start(&[]);
    reader.feed(&bytes[..HEADER_BYTES]);
    reader.wait_for("text log", PATIENCE, || reader.path("text").exists());
    let begin = Instant::now();
    for piece in bytes[HEADER_BYTES..].chunks(frame) {
        reader.feed(piece);
        thread::sleep(Duration::from_millis(20));
        if begin.elapsed() >= Duration::from_secs(1) {
            break;
        }
    }
    let lines = reader.content("text").lines().count();
    assert!(lines > 5, "{lines} lines in a second of 50 frames");
}

#[test]
fn pauses_of_a_pipe_do_not_change_the_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let captures = craft::scenarios(5);
    let merged = craft::merge(
        &captures
            .into_iter()
            .filter(|capture| capture.link == craft::LinkType::Ethernet)
            .take(12)
            .collect::<Vec<_>>(),
        5,
    );
    let bytes = merged.to_pcap(NANOS);
    let file = dir.path().join("whole.pcap");
    std::fs::write(&file, &bytes).expect("a file");
    let (text, eve, _) = read_logs(dir.path(), &["--seed", "1", "--workers", "1"], &[file]);
    for (workers, pieces) in [("1", 9), ("8", 5)] {
        let mut reader = Reader::start(&["--seed", "2", "--workers", workers]);
        for piece in bytes.chunks(bytes.len() / pieces) {
            reader.feed(piece);
            thread::sleep(Duration::from_millis(250));
        }
        assert_eq!(reader.end(), Some(0), "{}", reader.content("stderr"));
        let same = |name: &str, whole: &[u8]| {
            let slow = std::fs::read(reader.path(name)).expect("a log");
            assert!(!whole.is_empty());
            assert!(slow == whole, "{name} differs with {workers} workers");
        };
        same("text", &text);
        same("eve", &eve);
    }
}

#[test]
fn an_allowed_scan_is_counted_and_not_reported() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = write(dir.path(), "scan.pcap", &syns(4));
    let read = |allow: &str| {
        let output = synledger()
            .args(["read", "--allow", allow])
            .arg(&file)
            .output();
        let output = output.expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(
            stderr.contains("1 port scan, 2 records about them"),
            "{stderr}"
        );
        String::from_utf8_lossy(&output.stdout)
            .matches("Port scan")
            .count()
    };
    let ports = |last: u16| {
        let each = (1..=last).map(|port| format!("192.0.2.0/24:{port}"));
        each.collect::<Vec<_>>().join(",")
    };
    assert_eq!(read("192.0.2.2"), 2, "another source");
    assert_eq!(read("192.0.2.1"), 0);
    assert_eq!(read(&ports(3)), 2, "port 4 is not allowed");
    assert_eq!(read(&ports(4)), 0);
}

#[test]
fn threads_have_names_and_one_worker_needs_no_other() {
    // Standard input is read by a thread of its own, which may wait for it.
    let alone = ["reader\n", "synledger\n"];
    let others = ["logger\n", "worker-0\n", "worker-1\n"];
    for (workers, more) in [("1", &others[..0]), ("2", &others)] {
        let mut reader = Reader::start(&["--workers", workers]);
        reader.feed(&syns(1));
        reader.wait_for_lines(1, PATIENCE);
        let tasks = format!("/proc/{}/task", reader.child.id());
        let name = |task: std::io::Result<std::fs::DirEntry>| {
            let comm = task.expect("a thread").path().join("comm");
            std::fs::read_to_string(comm).expect("a name")
        };
        let tasks = std::fs::read_dir(tasks).expect("threads");
        let mut names: Vec<String> = tasks.map(name).collect();
        names.sort();
        let mut expected = [&alone, more].concat();
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}

#[test]
fn sigusr1_prints_the_books_and_sighup_reopens_the_logs() {
    let bytes = syns(2);
    let half = HEADER_BYTES + (bytes.len() - HEADER_BYTES) / 2;
    let mut reader = Reader::start(&["-q"]);
    reader.feed(&bytes[..half]);
    reader.wait_for_lines(1, PATIENCE);
    reader.signal(Signal::SIGUSR1);
    reader.wait_for("books", PATIENCE, || {
        let stderr = reader.content("stderr");
        stderr.contains("1 frame read\n") && stderr.contains("the books close")
    });
    std::fs::rename(reader.path("text"), reader.path("moved")).expect("it is there");
    reader.signal(Signal::SIGHUP);
    reader.wait_for("new log", PATIENCE, || reader.path("text").exists());
    reader.feed(&bytes[half..]);
    assert_eq!(reader.end(), Some(0), "{}", reader.content("stderr"));
    let lines = |name: &str| reader.content(name).matches("New connection").count();
    assert_eq!((lines("moved"), lines("text")), (1, 1));
}

#[test]
fn an_output_on_a_full_disk_is_reported_while_read_goes_on() {
    let bytes = syns(2);
    let half = HEADER_BYTES + (bytes.len() - HEADER_BYTES) / 2;
    let mut reader = Reader::start(&["--output", "text:/dev/full"]);
    reader.feed(&bytes[..half]);
    let expected = "synledger: losing: text:/dev/full takes no lines: its disk is full; ";
    reader.wait_for(expected, PATIENCE, || {
        reader.content("stderr").contains(expected)
    });
    reader.feed(&bytes[half..]);
    assert_eq!(reader.end(), Some(1), "{}", reader.content("stderr"));
    let stderr = reader.content("stderr");
    let missed = "missed: 2 of 2 records of text:/dev/full (100 %) were lost: its disk is full; ";
    let last = "synledger: 2 of 2 records of text:/dev/full (100 %) were lost: its disk is full; that log is not whole\n";
    assert!(
        stderr.contains(missed) && stderr.ends_with(last),
        "{stderr}"
    );
}

#[test]
fn books_printed_during_a_run_close() {
    let mut capture = craft::Capture::new("many", craft::LinkType::Ethernet);
    for i in 0..60_000_u32 {
        let [_, b, c, d] = i.to_be_bytes();
        let flow = craft::Flow::v4([10, b, c, d], 1024, [198, 51, 100, 7], 80);
        capture.push(i64::from(i), craft::Link::ethernet().frame(&syn(flow, i)));
    }
    let bytes = capture.to_pcap(NANOS);
    let mut reader = Reader::start(&["--workers", "4", "-q"]);
    for piece in bytes.chunks(bytes.len() / 12) {
        reader.feed(piece);
        reader.signal(Signal::SIGUSR1);
        thread::sleep(Duration::from_millis(60));
    }
    assert_eq!(reader.end(), Some(0), "{}", reader.content("stderr"));
    let stderr = reader.content("stderr");
    assert!(stderr.matches("the books close").count() > 3, "{stderr}");
    assert!(!stderr.contains("DO NOT CLOSE"), "{stderr}");
}

#[test]
fn a_stopped_read_prints_its_place_and_books_and_exits_with_1() {
    for (signal, fed) in [(Signal::SIGINT, 3), (Signal::SIGTERM, 0)] {
        let bytes = syns(3);
        let frame = (bytes.len() - HEADER_BYTES) / 3;
        let mut reader = Reader::start(&[]);
        reader.feed(&bytes[..HEADER_BYTES + frame * fed]);
        reader.wait_for_lines(fed, PATIENCE);
        reader.wait_for("text log", PATIENCE, || reader.path("text").exists());
        // Keeps the pipe open: `wait` would close it, and the capture would be whole.
        let _open = reader.child.stdin.take();
        reader.signal(signal);
        let code = reader.end();
        let stderr = reader.content("stderr");
        assert_eq!(code, Some(1), "{stderr}");
        let place = format!("synledger: stopped at frame {fed} of standard input");
        assert!(stderr.contains(&place), "{stderr}");
        let books = stderr.find("the books close").expect(&stderr);
        assert!(stderr.find("stopped at") < Some(books), "{stderr}");
        assert_eq!(
            reader.content("text").matches("New connection").count(),
            fed
        );
    }
}

#[test]
fn a_full_standard_error_does_not_change_the_exit_code() {
    // eprintln! panics on a full standard error: the panic hook of `main` exits with 1, not with 101 or SIGABRT.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let status = synledger()
        .args(["read", "/does/not/exist"])
        .stderr(full.expect("/dev/full"))
        .status();
    assert_eq!(status.expect("the program starts").code(), Some(1));
}

#[test]
fn a_stop_between_files_names_the_file_and_reads_no_further() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = write(dir.path(), "first.pcap", &syns(3));
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let log = dir.path().join("log");
    let child = synledger()
        .arg("read")
        .args([&first, &pipe, &first])
        .args(["--output", &format!("text:{}", log.display())])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let give_up = Instant::now() + PATIENCE;
    let lines = || {
        std::fs::read_to_string(&log)
            .unwrap_or_default()
            .lines()
            .count()
    };
    while lines() < 3 && Instant::now() < give_up {
        thread::sleep(Duration::from_millis(5));
    }
    // `read` waits at the pipe: nobody writes to it.
    let pid = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let place = format!("stopped at frame 0 of {} (file 2 of 3)", pipe.display());
    assert!(stderr.contains(&place), "{stderr}");
    assert!(stderr.contains("3 frames read\n"), "{stderr}");
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).expect("a file");
    path
}
