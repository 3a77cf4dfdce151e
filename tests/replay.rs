//! The same capture gives the same log: with every number of workers and every seed.

mod common;

use common::{NANOS, corpus, corpus_files, read_logs, syn};
use std::path::{Path, PathBuf};

const SEEDS: u64 = 16;

fn write(dir: &Path, capture: &craft::Capture) -> PathBuf {
    let path = dir.join(format!("{}.pcap", capture.name.replace('/', "-")));
    std::fs::write(&path, capture.to_pcap(NANOS)).expect("a capture file");
    path
}

/// One worker and one seed give the log that all others must give.
fn assert_same_log(dir: &Path, files: &[PathBuf], seeds: u64) -> usize {
    let base = ["--workers", "1", "--seed", "0"];
    let (text, eve, output) = read_logs(dir, &base, files);
    let code = output.status.code();
    assert!(
        matches!(code, Some(0 | 1)),
        "{files:?}: exit {code:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    for workers in ["1", "2", "8"] {
        for seed in 0..seeds {
            let seed = seed.to_string();
            let (other_text, other_eve, other) =
                read_logs(dir, &["--workers", workers, "--seed", &seed], files);
            assert_eq!(
                other.status.code(),
                code,
                "{files:?} --workers {workers} --seed {seed}"
            );
            assert!(
                text == other_text,
                "{files:?}: text differs with --workers {workers} --seed {seed}"
            );
            assert!(
                eve == other_eve,
                "{files:?}: EVE differs with --workers {workers} --seed {seed}"
            );
        }
    }
    eve.len()
}

#[test]
fn crafted_captures_give_the_same_log_with_every_number_of_workers_and_seed() {
    let dir = tempfile::tempdir().expect("a folder");
    let captures = craft::scenarios(1);
    let files: Vec<PathBuf> = captures
        .iter()
        .map(|capture| write(dir.path(), capture))
        .collect();
    let bytes: usize = files
        .iter()
        .map(|file| assert_same_log(dir.path(), std::slice::from_ref(file), 2))
        .sum();
    eprintln!(
        "crafted: {} captures x 3 numbers of workers x 2 seeds, {bytes} bytes of EVE each",
        files.len()
    );
    assert!(bytes > 0, "the captures hold connections");
}

#[test]
fn random_merges_give_the_same_log_with_every_number_of_workers_and_seed() {
    let dir = tempfile::tempdir().expect("a folder");
    let captures: Vec<craft::Capture> = craft::scenarios(2)
        .into_iter()
        .filter(|capture| capture.link == craft::LinkType::Ethernet)
        .collect();
    let mut bytes = 0;
    for seed in 0..20 {
        let merged = craft::merge(&captures, seed);
        bytes += assert_same_log(dir.path(), &[write(dir.path(), &merged)], SEEDS / 4);
    }
    eprintln!(
        "merges: 20 of {} captures x 3 numbers of workers x {} seeds, {bytes} bytes",
        captures.len(),
        SEEDS / 4
    );
    assert!(bytes > 0);
}

#[test]
fn real_captures_give_the_same_log_with_every_number_of_workers() {
    let Some(folder) = corpus() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    // As one stream: every capture after the other, clocks jumping back and forth. Damaged ones end a
    // run, so each of those goes by itself.
    let files = corpus_files(&folder);
    let (mut sound, mut damaged) = (Vec::new(), 0);
    for file in &files {
        let (_, _, output) = read_logs(
            dir.path(),
            &["--workers", "1", "--seed", "0"],
            std::slice::from_ref(file),
        );
        match output.status.code() {
            Some(0) => sound.push(file.clone()),
            Some(1) => damaged += 1,
            other => panic!(
                "{}: exit {other:?}: {}",
                file.display(),
                String::from_utf8_lossy(&output.stderr)
            ),
        }
    }
    let bytes: usize = sound
        .chunks(100)
        .map(|files| assert_same_log(dir.path(), files, 2))
        .sum();
    eprintln!(
        "corpus: {} sound captures in streams of 100, {damaged} damaged, {bytes} bytes of EVE",
        sound.len()
    );
    assert!(bytes > 0);
}

#[test]
fn tables_that_overflow_say_so_and_the_books_close() {
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
    let (_, eve, output) = read_logs(dir.path(), &["--workers", "2", "--memory-mib", "8"], &files);
    let says = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{says}");
    assert!(
        says.contains("tables overflowed") && says.contains("the books close"),
        "{says}"
    );
    let connections = String::from_utf8_lossy(&eve)
        .lines()
        .filter(|line| line.contains("\"new_connection\""))
        .count();
    assert_eq!(connections, 200_000, "an overflowing table costs no line");
    let strict = read_logs(dir.path(), &["--memory-mib", "8", "--strict"], &files).2;
    assert_eq!(
        strict.status.code(),
        Some(3),
        "--strict: something was pushed out"
    );
}
