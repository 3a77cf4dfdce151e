//! Damaged captures: no panic, and the books close.

mod common;

use std::io::Cursor;
use std::path::Path;
use std::time::Instant;

use common::pipeline::{assert_closed, run};
use craft::{ACK, Capture, Flow, Ip, PcapFormat, Rng, SYN, Tcp};
use synledger::capture::frame::LinkType;
use synledger::capture::pcap::CaptureReader;

/// Number of inputs.
#[derive(Clone, Copy)]
struct Effort {
    /// Cuts and damaged copies of each file.
    cuts: u64,
    /// Mutated frames over all files.
    frames: u64,
}

/// A sample; all of it with `SYNLEDGER_FUZZ=full`.
fn effort() -> Effort {
    match std::env::var("SYNLEDGER_FUZZ").as_deref() {
        Ok("full") => Effort {
            cuts: 200,
            frames: 1_000_000,
        },
        _ => Effort {
            cuts: 3,
            frames: 20_000,
        },
    }
}

/// Inputs run so far, and their counts.
#[derive(Default)]
struct Tally {
    files: u64,
    cuts: u64,
    damaged: usize,
    mutated: u64,
    frames: u64,
    attempts: u64,
    alerts: u64,
    evicted: u64,
}

impl Tally {
    fn print(&self, what: &str, begin: Instant) {
        eprintln!(
            "{what}: {} files, {} cuts and as many damaged copies ({} buffers ended in an error), \
             {} mutated frames; {} frames read, {} attempts, {} detections, {} evicted, {:?}",
            self.files,
            self.cuts,
            self.damaged,
            self.mutated,
            self.frames,
            self.attempts,
            self.alerts,
            self.evicted,
            begin.elapsed()
        );
    }

    /// Every file was run and cut as often as `wanted`, and enough frames were mutated.
    fn assert_reaches(&self, wanted: Effort, files: usize) {
        assert_eq!(self.files, files as u64);
        assert_eq!(self.cuts, self.files * wanted.cuts);
        assert!(self.mutated >= wanted.frames, "{} frames", self.mutated);
    }
}

fn link_number(link: LinkType) -> u32 {
    match link {
        LinkType::Ethernet => 1,
        LinkType::RawIp => 101,
        LinkType::LinuxSll => 113,
        LinkType::LinuxSll2 => 276,
        LinkType::Null => 0,
        LinkType::Loop => 108,
        LinkType::Other(number) => number,
    }
}

/// At most `frames_max` readable frames of a file that have the link type of the first.
fn frames_of(bytes: &[u8], frames_max: u64) -> Option<Capture> {
    let mut reader = CaptureReader::from_reader("file", Cursor::new(bytes.to_vec()), None).ok()?;
    let mut capture: Option<Capture> = None;
    while let Ok(Some(frame)) = reader.next_frame() {
        let Some(link) = craft::LinkType::from_number(link_number(frame.link)) else {
            continue;
        };
        let capture = capture.get_or_insert_with(|| Capture::new("mutated", link));
        if capture.link == link {
            capture.push(frame.ts_ns, frame.bytes.to_vec());
        }
        if capture.frames.len() as u64 >= frames_max {
            break;
        }
    }
    capture
}

/// A capture of `count` damaged frames: some have a false wire length, time jumps now and then.
fn mutated(from: &Capture, count: u64, rng: &mut Rng) -> Vec<u8> {
    let mut capture = Capture::new("mutated", from.link);
    for frame in from.frames.iter().cycle() {
        if capture.frames.len() as u64 == count {
            break;
        }
        let jump = if rng.one_in(32) { rng.next_u32() } else { 0 };
        let bytes = craft::mutate(&frame.bytes, rng.next_u64());
        capture.push(frame.ts_ns.saturating_add(i64::from(jump) * 8), bytes);
        if rng.one_in(16) {
            let last = capture.frames.last_mut().expect("just pushed");
            last.wire_len = rng.next_u32();
        }
    }
    if rng.one_in(2) {
        capture.to_pcapng()
    } else {
        capture.to_pcap(PcapFormat::NANOS)
    }
}

/// Runs one file whole, cut, damaged, and with damaged frames, as one stream through one shard or two.
fn try_file(name: &str, seed: u64, file: &[u8], effort: Effort, tally: &mut Tally) {
    let mut rng = Rng::new(seed);
    let workers = 1 + usize::try_from(seed % 2).expect("0 or 1");
    let mutant = frames_of(file, effort.frames)
        .filter(|_| effort.frames > 0)
        .map(|capture| mutated(&capture, effort.frames, &mut rng));
    tally.files += 1;
    tally.cuts += effort.cuts;
    tally.mutated += if mutant.is_some() { effort.frames } else { 0 };
    let damaged = (0..effort.cuts).flat_map(|_| {
        let at = rng.index(file.len() + 1);
        [file[..at].to_vec(), craft::mutate(file, rng.next_u64())]
    });
    let buffers = std::iter::once(file.to_vec()).chain(damaged).chain(mutant);
    let name = format!("{name} (seed {seed}, {workers} workers)");
    let ran = run(&name, workers, buffers);
    assert_closed(&name, &ran.books);
    let shards = &ran.books.shards;
    tally.damaged += ran.damaged;
    tally.frames += shards.frames;
    tally.attempts += shards.flow.new_connections;
    tally.alerts += shards.detections;
    tally.evicted += shards.flow.evicted();
}

/// Frames for each file, and a quarter more: some files have no frame of a link type that craft writes.
fn share(effort: Effort, files: usize) -> Effort {
    Effort {
        frames: (effort.frames + effort.frames / 4).div_ceil(files as u64),
        ..effort
    }
}

#[test]
fn damaged_crafted_captures_cause_no_panic_and_the_books_close() {
    let (begin, mut tally) = (Instant::now(), Tally::default());
    let captures: Vec<Capture> = [1, 2].into_iter().flat_map(craft::scenarios).collect();
    let (wanted, effort) = (effort(), share(effort(), captures.len()));
    for (seed, capture) in (0_u64..).zip(&captures) {
        let file = if seed % 3 == 0 {
            capture.to_pcapng()
        } else {
            capture.to_pcap(PcapFormat::NANOS)
        };
        try_file(&capture.name, seed, &file, effort, &mut tally);
    }
    tally.print("crafted", begin);
    tally.assert_reaches(wanted, captures.len());
    assert!(tally.attempts > 0 && tally.alerts > 0 && tally.evicted > 0 && tally.damaged > 0);
}

#[test]
fn damaged_real_captures_cause_no_panic_and_the_books_close() {
    let Some(folder) = common::corpus() else {
        return;
    };
    let (begin, mut tally) = (Instant::now(), Tally::default());
    let files = common::corpus_files(&folder);
    let (wanted, effort) = (effort(), share(effort(), files.len()));
    for (seed, path) in (1_000_u64..).zip(&files) {
        let file = std::fs::read(path).expect("a readable file");
        try_file(&within(path, &folder), seed, &file, effort, &mut tally);
    }
    tally.print("corpus", begin);
    tally.assert_reaches(wanted, files.len());
    assert!(tally.attempts > 0 && tally.evicted > 0 && tally.damaged > 0);
}

fn within(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// A SYN+ACK waits a second for its SYN, then it opens a flow: as many evict others from a full table.
#[test]
fn packets_that_waited_in_vain_evict_flows_and_the_books_have_their_records() {
    for (workers, goes_on) in [(1, true), (1, false), (2, true), (2, false)] {
        let mut capture = Capture::new("waiting", craft::LinkType::Ethernet);
        let mut push = |at_ns: i64, port: u16| {
            let flow = Flow::v4([192, 0, 2, 1], 80, [198, 51, 100, 1], port);
            let answer = Tcp::new(flow, SYN | ACK, 1).ack(2).bytes();
            let packet = Ip::new(flow.src, flow.dst, 6).bytes(&answer);
            capture.push(at_ns, craft::Link::ethernet().frame(&packet));
        };
        for port in 0..1000 {
            push(i64::from(port), 1024 + port);
        }
        if goes_on {
            push(2_000_000_000, 9);
        }
        let name = format!("{workers} workers, goes on: {goes_on}");
        let file = capture.to_pcap(PcapFormat::NANOS);
        let ran = run(&name, workers, std::iter::once(file));
        assert_closed(&name, &ran.books);
        assert!(ran.books.shards.flow.evicted() > 500, "{name}");
    }
}
