//! A capture gives the same log with every number of workers and every seed.

mod common;

use common::{NANOS, corpus, corpus_files, read_logs, syn};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// Every number of workers is run with every seed.
const WORKERS: [&str; 3] = ["1", "2", "8"];
const SEEDS: u64 = 16;
/// Setting up tables is most of the work of a short run: the first size without an overflow is used.
/// With overflowing tables logs may differ.
const MEMORY_MIB: [&str; 4] = ["56", "96", "160", "512"];
/// Runs at a time: more gain nothing on a small machine.
const AT_ONCE: usize = 2;

fn write(dir: &Path, capture: &craft::Capture) -> PathBuf {
    let path = dir.join(format!("{}.pcap", capture.name.replace('/', "-")));
    std::fs::write(&path, capture.to_pcap(NANOS)).expect("a capture file");
    path
}

/// A folder in memory, if possible: the logs of a test are gigabytes in total.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder")
}

/// Text log, EVE log, and the run's output.
type Logs = (Vec<u8>, Vec<u8>, Output);

/// Runs `read` with the least memory that it takes, without an overflow: starts at index `memory`, and updates it.
fn read_roomy(dir: &Path, args: &[&str], files: &[PathBuf], memory: &mut usize) -> Logs {
    loop {
        let mib = MEMORY_MIB.get(*memory).expect("the default suffices");
        let args = [args, &["--memory-mib", mib]].concat();
        let logs = read_logs(dir, &args, files);
        let said = stderr(&logs.2);
        let too_small = ["tables overflowed", "need at least"];
        if !too_small.iter().any(|words| said.contains(words)) {
            return logs;
        }
        *memory += 1;
    }
}

/// The log of one worker, seed 0 and the default memory is the one that all other runs must give.
fn assert_same_log(dir: &Path, files: &[PathBuf], asked: &[&str], seeds: u64) -> usize {
    let mut most = MEMORY_MIB.len() - 1;
    let base = [&["--workers", "1", "--seed", "0"], asked].concat();
    let (text, eve, output) = read_roomy(dir, &base, files, &mut most);
    let code = output.status.code();
    assert!(
        matches!(code, Some(0 | 1)),
        "{files:?}: {}",
        stderr(&output)
    );
    for workers in WORKERS {
        let mut memory = 0;
        for seed in 0..seeds {
            let seed = seed.to_string();
            let args = [&["--workers", workers, "--seed", &seed], asked].concat();
            let (other_text, other_eve, other) = read_roomy(dir, &args, files, &mut memory);
            let stderr = stderr(&other);
            assert_eq!(other.status.code(), code, "{files:?} {args:?}: {stderr}");
            for (one, other) in [(&text, &other_text), (&eve, &other_eve)] {
                let difference = first_difference(one, other);
                assert_eq!(difference, None, "{files:?} {args:?} {stderr}");
            }
        }
    }
    eve.len()
}

/// The first pair of lines that differs.
fn first_difference(one: &[u8], other: &[u8]) -> Option<(String, String)> {
    if one == other {
        return None;
    }
    let lines = |log| String::from_utf8_lossy(log).into_owned() + "<end>";
    let (one, other) = (lines(one), lines(other));
    let mut pairs = one.lines().zip(other.lines());
    let differ = pairs.find(|(one, other)| one != other);
    let (one, other) = differ.unwrap_or(("not UTF-8", "not the same"));
    Some((one.to_owned(), other.to_owned()))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// [`assert_same_log`] for each stream of files, [`AT_ONCE`] at a time; prints totals.
fn assert_all_same(what: &str, streams: &[Vec<PathBuf>], asked: &[&str], seeds: u64) {
    let begin = Instant::now();
    let (next, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let dir = folder();
                while let Some(files) = streams.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let eve = assert_same_log(dir.path(), files, asked, seeds);
                    bytes.fetch_add(eve, Ordering::Relaxed);
                }
            });
        }
    });
    let (streams, bytes) = (streams.len(), bytes.into_inner());
    eprintln!(
        "{what}: {streams} streams x {WORKERS:?} workers x {seeds} seeds = {} runs, {bytes} bytes of EVE each \
         time, {:?}",
        streams * WORKERS.len() * usize::try_from(seeds).expect("few"),
        begin.elapsed()
    );
    assert!(bytes > 0, "the captures hold connections");
}

#[test]
fn crafted_captures_give_the_same_log_with_every_number_of_workers_and_seed() {
    let dir = folder();
    let captures = craft::scenarios(1);
    assert_eq!(captures.len(), 220);
    let streams: Vec<Vec<PathBuf>> = captures
        .iter()
        .map(|capture| vec![write(dir.path(), capture)])
        .collect();
    assert_all_same("crafted", &streams, &[], SEEDS);
}

/// The logger folds over the order of all shards: the folds are the same, too.
#[test]
fn folds_are_the_same_with_every_number_of_workers_and_seed() {
    let dir = folder();
    let captures = craft::scenarios(1);
    let streams: Vec<_> = captures
        .iter()
        .map(|c| vec![write(dir.path(), c)])
        .collect();
    assert_all_same("folded", &streams, &["--fold=2"], 4);
}

#[test]
fn random_merges_give_the_same_log_with_every_number_of_workers_and_seed() {
    let dir = folder();
    let captures: Vec<craft::Capture> = craft::scenarios(2)
        .into_iter()
        .filter(|capture| capture.link == craft::LinkType::Ethernet)
        .collect();
    let merged = |seed| {
        let mut merged = craft::merge(&captures, seed);
        merged.name = format!("merged-{seed}");
        vec![write(dir.path(), &merged)]
    };
    let streams: Vec<Vec<PathBuf>> = (0..20).map(merged).collect();
    assert_all_same("merges", &streams, &[], SEEDS);
}

#[test]
fn real_captures_give_the_same_log_with_every_number_of_workers_and_seed() {
    let Some(corpus) = corpus() else { return };
    let dir = folder();
    // As streams: capture after capture, with clocks that jump back and forth. Damaged captures end with
    // another exit code, so they are a stream of their own.
    let (mut sound, mut damaged) = (Vec::new(), Vec::new());
    for file in corpus_files(&corpus) {
        let file = [file];
        let (_, _, output) = read_logs(dir.path(), &["--memory-mib", "40"], &file);
        let [file] = file;
        match output.status.code() {
            Some(0) => sound.push(file),
            Some(1) => damaged.push(file),
            other => panic!("{}: {other:?}: {}", file.display(), stderr(&output)),
        }
    }
    let mut streams: Vec<Vec<PathBuf>> = sound.chunks(100).map(<[PathBuf]>::to_vec).collect();
    eprintln!("corpus: {} sound, {} damaged", sound.len(), damaged.len());
    streams.push(damaged);
    assert_all_same("corpus", &streams, &[], SEEDS);
}

/// One SYN whole and in tiny fragments at the same time, and the whole one again later.
fn pieces(dir: &Path) -> Vec<PathBuf> {
    let link = craft::Link::ethernet();
    let flow = craft::Flow::v4([192, 0, 2, 131], 10_734, [198, 51, 100, 241], 1);
    let mut capture = craft::Capture::new("pieces", craft::LinkType::Ethernet);
    let header = craft::Tcp::new(flow, craft::SYN, 7).bytes();
    let pieces = craft::Ip::new(flow.src, flow.dst, 6).fragments(&header, &[8]);
    for packet in pieces.into_iter().chain([syn(flow, 7)]) {
        capture.push(1, link.frame(&packet));
    }
    capture.push(1_000_000_000, link.frame(&syn(flow, 7)));
    let other = craft::Flow::v4([192, 0, 2, 1], 1024, [198, 51, 100, 2], 443);
    capture.push(20_000_000_000, link.frame(&syn(other, 1)));
    vec![write(dir, &capture)]
}

/// Two entries that differ only in fragmentation, and are due together.
#[test]
fn a_whole_and_a_fragmented_syn_end_in_the_same_order_with_every_number_of_workers() {
    let dir = folder();
    assert_all_same("pieces", &[pieces(dir.path())], &[], SEEDS);
}

/// A RST without a flow and a SYN with the number 0, at one time: a closed flow lingers as long as an attempt waits.
#[test]
fn a_flow_and_an_attempt_that_differ_in_nothing_else_end_in_one_order() {
    let dir = folder();
    let link = craft::Link::ethernet();
    let flow = craft::Flow::v4([192, 0, 2, 1], 1024, [198, 51, 100, 1], 443);
    let ip = craft::Ip::new(flow.src, flow.dst, 6);
    let reset = ip.bytes(&craft::Tcp::new(flow, craft::RST, 9).data(b"late").bytes());
    let mut capture = craft::Capture::new("reset-and-syn", craft::LinkType::Ethernet);
    capture.push(1, link.frame(&reset));
    capture.push(1, link.frame(&syn(flow, 0)));
    // Later than timers reach: a worker that gets this packet sweeps before it, the others after it.
    let other = craft::Flow::v4([192, 0, 2, 1], 1024, [198, 51, 100, 2], 443);
    capture.push(590_000_000_000, link.frame(&syn(other, 1)));
    assert_all_same(
        "reset-and-syn",
        &[vec![write(dir.path(), &capture)]],
        &[],
        SEEDS,
    );
}

#[test]
fn a_connection_from_fragments_is_marked_fragmented() {
    let dir = folder();
    let (_, eve, output) = read_logs(dir.path(), &[], &pieces(dir.path()));
    assert!(output.status.success(), "{}", stderr(&output));
    let eve = String::from_utf8_lossy(&eve);
    let of_flow = |line: &&str| line.contains("\"event_type\":\"flow\"");
    let fragmented = |line: &&str| line.contains("\"fragmented\":true");
    let flows: Vec<&str> = eve.lines().filter(of_flow).collect();
    let count = flows.iter().copied().filter(fragmented).count();
    assert_eq!((flows.len(), count), (3, 1), "{flows:#?}");
}

#[test]
fn an_overflow_of_tables_is_reported_and_the_books_close() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut flood = craft::Capture::new("flood", craft::LinkType::Ethernet);
    for i in 0..200_000_u32 {
        let [_, b, c, d] = i.to_be_bytes();
        let flow = craft::Flow::v4([10, b, c, d], 1024, [198, 51, 100, 7], 80);
        flood.push(
            i64::from(i) * 1000,
            craft::Link::ethernet().frame(&syn(flow, i)),
        );
    }
    let files = [write(dir.path(), &flood)];
    let (_, eve, output) = read_logs(
        dir.path(),
        &["--workers", "2", "--memory-mib", "40"],
        &files,
    );
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains("tables overflowed") && stderr.contains("the books close"),
        "{stderr}"
    );
    let connections = String::from_utf8_lossy(&eve)
        .lines()
        .filter(|line| line.contains("\"new_connection\""))
        .count();
    assert_eq!(connections, 200_000, "an overflowing table costs no line");
    let strict = read_logs(dir.path(), &["--memory-mib", "40", "--strict"], &files).2;
    assert_eq!(
        strict.status.code(),
        Some(3),
        "--strict: entries were evicted"
    );
}

/// Volumes of attempts are in a pool that is smaller than the table. Which attempts find no room there depends on the
/// number of workers, so the log must be reported as incomplete.
#[test]
fn attempts_without_room_for_volumes_are_reported() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut flood = craft::Capture::new("twice", craft::LinkType::Ethernet);
    for i in 0..20_000_u32 {
        let [_, b, c, d] = (i % 10_000).to_be_bytes();
        let flow = craft::Flow::v4([10, b, c, d], 1024, [198, 51, 100, 7], 80);
        let frame = craft::Link::ethernet().frame(&syn(flow, i % 10_000));
        flood.push(i64::from(i) * 1000, frame);
    }
    let files = [write(dir.path(), &flood)];
    let (_, _, output) = read_logs(dir.path(), &["--memory-mib", "40"], &files);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let reported = "without room to count their later packets";
    assert!(
        stderr.contains(reported) && stderr.contains("the books close"),
        "{stderr}"
    );
    let strict = read_logs(dir.path(), &["--memory-mib", "40", "--strict"], &files).2;
    assert_eq!(strict.status.code(), Some(3));
    // With room for all of them nothing is missing.
    let (_, _, output) = read_logs(dir.path(), &["--strict"], &files);
    assert!(output.status.success());
}
