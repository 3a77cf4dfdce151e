//! Real captures, replayed into a running sensor: attempts and scans equal those of `read`.

use super::programs::{installed, replay, text_of};
use super::sensor::{Sensor, attempts, of_type, records, scans};
use crate::common::netns::with_veth;
use crate::common::{corpus, read_logs};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;
use synledger::capture::frame::LinkType;
use synledger::capture::pcap::CaptureReader;
use synledger::decode;
use synledger::decode::packet::{Packet, Reach, Tcp};

/// Shorter than the scan window: all packets are within it at any replay speed.
const DURATION_MAX_S: f64 = 50.0;
/// Frame sizes that the pair can carry.
const FRAME_BYTES_MAX: usize = 9000;
const FRAME_BYTES_MIN: usize = 14;
const PER_SECOND: u32 = 5000;

/// A capture, and the results of `read`.
struct Played {
    file: PathBuf,
    frames: u64,
    plain: bool,
    attempts: Vec<String>,
    scans: Vec<String>,
    /// Source and destination of every attempt.
    pairs: HashSet<(String, String)>,
}

/// Files of the corpus with attempts that can be replayed as they are.
fn candidates(corpus: &Path) -> Vec<PathBuf> {
    let truth = std::fs::read_to_string(corpus.join("truth.csv")).expect("truth.csv is readable");
    let mut lines = truth
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    let column = |name| header.iter().position(|&is| is == name).expect("a column");
    let columns = ["path", "linktypes", "read_error", "duration_s"].map(column);
    let syns = column("tcp_syn_noack");
    lines
        .filter_map(|row| {
            let [path, link, broken, duration] = columns.map(|at| row[at]);
            let duration: f64 = duration.parse().ok()?;
            let sound = link == "1" && broken.is_empty() && duration < DURATION_MAX_S;
            (sound && row[syns] != "0").then(|| corpus.join(path))
        })
        .collect()
}

/// Number of frames of a file, if each can be sent as it is, and whether the fanout program can parse the headers of
/// every SYN: a SYN that it cannot parse may go to another worker than its retransmission.
fn sendable(file: &Path) -> Option<(u64, bool)> {
    // tcpreplay's library stops at the first block of some pcapng files, and reads no compressed ones.
    let classic = [0xa1b2_c3d4, 0xa1b2_3c4d_u32].map(u32::to_le_bytes);
    let mut magic = [0; 4];
    File::open(file).ok()?.read_exact(&mut magic).ok()?;
    let reversed = [magic[3], magic[2], magic[1], magic[0]];
    if !classic.contains(&magic) && !classic.contains(&reversed) {
        return None;
    }
    let mut reader = CaptureReader::open(file).ok()?;
    let (mut frames, mut plain) = (0, true);
    while let Some(frame) = reader.next_frame().ok()? {
        let length = frame.bytes.len();
        let fits = (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&length);
        if !fits || length as u64 != u64::from(frame.wire_len) || frame.link != LinkType::Ethernet {
            return None;
        }
        frames += 1;
        let deep_syn = |packet: Packet| {
            packet.reach != Reach::Plain && packet.tcp().is_some_and(Tcp::is_touch)
        };
        plain &= !decode::packet(&frame).is_ok_and(deep_syn);
    }
    Some((frames, plain))
}

fn read(dir: &Path, file: PathBuf) -> Option<Played> {
    let (frames, plain) = sendable(&file)?;
    let args = ["--memory-mib", "40"];
    let (_, eve, output) = read_logs(dir, &args, std::slice::from_ref(&file));
    let text = text_of(&output);
    assert!(output.status.success(), "{}: {text}", file.display());
    assert!(!text.contains("tables overflowed"), "{text}");
    let eve = records(&String::from_utf8_lossy(&eve));
    let end = |record: &Value, name: &str| record[name].to_string();
    let pair = |record: &Value| (end(record, "src_ip"), end(record, "dest_ip"));
    Some(Played {
        file,
        frames,
        plain,
        attempts: attempts(&eve),
        scans: scans(&eve),
        pairs: of_type(&eve, "new_connection").map(pair).collect(),
    })
}

/// Splits off captures without a common pair of hosts: replayed together they give what each gives alone.
fn disjoint(all: Vec<Played>, wanted: impl Fn(&Played) -> bool) -> (Vec<Played>, Vec<Played>) {
    let mut taken = HashSet::new();
    all.into_iter().partition(|one| {
        let free = wanted(one) && one.pairs.is_disjoint(&taken);
        if free {
            taken.extend(one.pairs.iter().cloned());
        }
        free
    })
}

fn replay_all(played: &[Played], workers: &'static str) {
    let begin = Instant::now();
    let gather = |of: fn(&Played) -> &Vec<String>| {
        let mut all: Vec<String> = played.iter().flat_map(|one| of(one).clone()).collect();
        all.sort();
        all
    };
    let (expected, expected_scans) = (gather(|one| &one.attempts), gather(|one| &one.scans));
    let frames: u64 = played.iter().map(|one| one.frames).sum();
    let files: Vec<&Path> = played.iter().map(|one| one.file.as_path()).collect();
    let sensor = Sensor::start(&["--workers", workers, "--scan-scope", "all"]);
    let sent = replay(&files, PER_SECOND);
    let live = sensor.stop(Signal::SIGINT);
    live.assert_exact();
    assert_eq!(sent, frames, "tcpreplay sends what the files hold");
    assert_eq!(live.offered(), sent, "{}", live.stderr);
    let found = attempts(&live.eve);
    // As multisets: an attempt that is logged twice is a difference, too.
    let missing = |of: &[String], from: &[String]| {
        let mut from = from.to_vec();
        let lacks = |one: &&String| match from.iter().position(|other| other == *one) {
            Some(at) => {
                from.swap_remove(at);
                false
            }
            None => true,
        };
        of.iter()
            .filter(lacks)
            .take(20)
            .cloned()
            .collect::<Vec<_>>()
    };
    assert!(
        found == expected,
        "{} attempts, not {}: missing {:?}, extra {:?}",
        found.len(),
        expected.len(),
        missing(&expected, &found),
        missing(&found, &expected)
    );
    let found = scans(&live.eve);
    if live.text.contains(": Sensor straggler: ") {
        // On a busy machine a straggler breaks the order: other four of a scan's ports may be first.
        assert_eq!(found.len(), expected_scans.len(), "{found:?}");
    } else {
        assert_eq!(found, expected_scans, "{}", live.stderr);
    }
    eprintln!(
        "real captures, --workers {workers}: {} files, {sent} frames sent and offered, {} attempts and {} scans \
         as by read, {:?}",
        played.len(),
        expected.len(),
        found.len(),
        begin.elapsed()
    );
}

#[test]
fn replayed_real_captures_give_what_read_gives() {
    if !installed("tcpreplay") {
        return;
    }
    let Some(corpus) = corpus() else { return };
    with_veth(move |_| {
        let dir = tempfile::tempdir().expect("a folder");
        let all = candidates(&corpus).into_iter();
        let all: Vec<Played> = all.filter_map(|file| read(dir.path(), file)).collect();
        let (mut rest, mut files, mut attempts, mut scans) = (all, 0, 0, 0);
        // Files with hosts of another file wait for the next sensor.
        for workers in ["4", "1", "3", "2", "4"] {
            let (now, later) = disjoint(rest, |one| workers == "1" || one.plain);
            replay_all(&now, workers);
            files += now.len();
            attempts += now.iter().map(|one| one.attempts.len()).sum::<usize>();
            scans += now.iter().map(|one| one.scans.len()).sum::<usize>();
            rest = later;
        }
        eprintln!(
            "real captures: {files} files, {attempts} attempts, {scans} scans; {} files left out, their hosts are \
             in others",
            rest.len()
        );
        assert!(
            files >= 40 && attempts > 500 && scans > 0,
            "too small a corpus"
        );
    });
}
