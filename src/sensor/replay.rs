//! `read`: captures → chunks → workers in lockstep, so that the log is the same for every number of workers.
//!
//! A [`Replay`] gives parts of chunks to whoever asks: to a thread that hands them to all workers, or to the only
//! worker itself.

mod work;

use super::rare_links::RareLinks;
use super::stamps::{StampCounts, Stamps};
use crate::capture::bpf::fanout::{self, HashKind, Keys};
use crate::capture::frame::{Frame, LinkType};
use crate::capture::pcap::batch::{Batch, FRAMES_MAX};
use crate::capture::pcap::chunk::Chunk;
pub use crate::capture::pcap::chunk::Part;
use crate::capture::pcap::files::{Files, Next};
use crate::decode;
use crate::decode::headers::depth;
use crate::decode::packet::{Icmp, Transport};
use crate::log::reached::LogTime;
use crate::settings::memory::{CHUNKS, Capacities};
use crate::shard::opening::Opening;
use crate::time::clock::RunTime;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
pub use work::{feeds, work};

/// Chunks that wait for later frames: without pauses there are fewer.
const HELD_MAX: usize = 3;

/// How the reading of captures ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At their last frame.
    Whole,
    /// Earlier: a signal, or a log without a reader.
    Stopped,
}

/// Why a chunk takes no more frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    Full,
    /// No frame has come for a while; some have since the last such time.
    Paused,
    /// None has.
    Idle,
    Last(End),
}

/// What was read so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// Frames.
    pub frames: u64,
    /// What came of their time stamps.
    pub stamps: StampCounts,
}

/// Packet time of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// From the first frame to the latest, epoch by epoch.
    pub run_ns: i64,
    /// The latest, where the log stands.
    pub last: LogTime,
}

/// Room and order of a [`Replay`].
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Frames in a chunk.
    pub chunk_frames: usize,
    /// Frames that workers take at a time.
    pub part_frames: usize,
    /// Frames are sorted by time stamp within this window.
    pub reorder_ns: i64,
}

impl Room {
    /// The room of a run that sorts frames within `reorder_ns`.
    pub fn new(capacities: Capacities, reorder_ns: i64) -> Self {
        Self {
            chunk_frames: capacities.chunk_frames(),
            part_frames: capacities.part_frames(),
            reorder_ns,
        }
    }
}

/// What a worker gets.
#[derive(Clone, Debug)]
pub enum Fed {
    /// The next frames.
    Part(Part),
    /// No frame has come for a while.
    Pause,
}

/// Reads captures, puts frames in order and gives them out in parts of chunks.
pub struct Replay {
    keys: Keys,
    opening: Opening,
    workers: u32,
    part_frames: usize,
    /// Chunks that are free, or of which somebody has parts.
    pool: Vec<Arc<Chunk>>,
    /// Full chunks: a later frame may belong before one of theirs.
    held: VecDeque<Arc<Chunk>>,
    /// What is given out next.
    ready: VecDeque<Fed>,
    /// How the reading ends, behind that.
    end: Option<End>,
    stamps: Stamps,
    read: u64,
    /// `read` when no frame came for a while.
    read_at_pause: u64,
    handed_out: u64,
    first_ns: Option<i64>,
    watermark_ns: i64,
    /// Of each capture that has some, by its number.
    rare_links: BTreeMap<usize, RareLinks>,
}

impl Replay {
    /// A replay for so many workers.
    pub fn new(workers: usize, room: Room, keys: Keys, opening: Opening) -> Self {
        let chunk = |_| Arc::new(Chunk::new(room.chunk_frames));
        Self {
            keys,
            opening,
            workers: u32::try_from(workers).expect("at most 64"),
            part_frames: room.part_frames,
            pool: (0..CHUNKS).map(chunk).collect(),
            held: VecDeque::new(),
            ready: VecDeque::new(),
            end: None,
            stamps: Stamps::new(room.reorder_ns),
            read: 0,
            read_at_pause: 0,
            handed_out: 0,
            first_ns: None,
            watermark_ns: i64::MIN,
            rare_links: BTreeMap::new(),
        }
    }

    /// What was read so far.
    pub fn taken(&self) -> Taken {
        Taken {
            frames: self.read,
            stamps: self.stamps.counts(),
        }
    }

    /// Packet time of the run; all 0 where there was no frame.
    pub fn span(&self) -> Span {
        let Some(first_ns) = self.first_ns else {
            return Span::default();
        };
        let last_ns = self.watermark_ns;
        let run_ns = last_ns.saturating_sub(first_ns);
        let shift_ns = self.epochs().wall_shift_ns(last_ns);
        Span {
            run_ns: run_ns.saturating_sub(self.stamps.rest_ns()),
            last: LogTime {
                run_ns: last_ns,
                wall_ns: last_ns.saturating_add(shift_ns),
            },
        }
    }

    /// The time stamps of each packet time, which differ where a clock has started again.
    pub fn epochs(&self) -> &RunTime {
        self.stamps.epochs()
    }

    /// Takes what was counted of rarer link types, by the number of the capture.
    pub fn take_rare_links(&mut self) -> BTreeMap<usize, RareLinks> {
        std::mem::take(&mut self.rare_links)
    }

    /// What comes next of these captures; their end, or that `ends` returned true. Frames before an error are given
    /// out, and so are those of a slow stream after 400 ms: the log does not depend on where chunks end.
    ///
    /// `ends` is called every 64 frames, and every 200 ms without one. `progress` gets what
    /// a person should know.
    pub fn next(
        &mut self,
        files: &mut Files,
        ends: &impl Fn(&Self) -> bool,
        progress: &mut impl FnMut(&mut Files, Vec<String>),
    ) -> Result<Fed, End> {
        loop {
            if let Some(fed) = self.ready.pop_front() {
                return Ok(fed);
            }
            if let Some(end) = self.end.take() {
                return Err(end);
            }
            self.read_chunk(files, ends, progress);
        }
    }

    /// Fills a chunk, and makes ready those that no later frame can belong into.
    fn read_chunk(
        &mut self,
        files: &mut Files,
        ends: &impl Fn(&Self) -> bool,
        progress: &mut impl FnMut(&mut Files, Vec<String>),
    ) {
        let mut chunk = self.free_chunk();
        let filling = alone(&mut chunk);
        filling.clear();
        let filled = self.fill(filling, files, ends);
        self.stamps.judge(filling, true);
        filling.sort();
        match filling.is_empty() {
            true => self.pool.push(chunk),
            false => self.held.push_back(chunk),
        }
        progress(files, self.stamps.take_notices());
        let settled_ns = match filled {
            Filled::Full => self.stamps.settled_ns(),
            Filled::Paused if self.held.len() < HELD_MAX => self.stamps.settled_ns(),
            Filled::Paused | Filled::Idle | Filled::Last(_) => i64::MAX,
        };
        while let Some(first) = self.held.front()
            && first.newest_key() <= settled_ns
        {
            self.hand_out_first();
        }
        match filled {
            Filled::Full => {}
            Filled::Paused | Filled::Idle => self.ready.push_back(Fed::Pause),
            Filled::Last(end) => self.end = Some(end),
        }
    }

    /// Fills a chunk with available frames.
    fn fill(
        &mut self,
        chunk: &mut Chunk,
        files: &mut Files,
        ends: &impl Fn(&Self) -> bool,
    ) -> Filled {
        while !chunk.is_full() || !self.stamps.is_settled() {
            if ends(self) {
                return Filled::Last(End::Stopped);
            }
            match files.next_batch() {
                Next::Frames(batch) => self.add(chunk, &batch),
                Next::Pause => match self.pause() {
                    // The frames that judge a stamp are still to come.
                    Filled::Paused if !self.stamps.is_settled() => {}
                    filled => return filled,
                },
                Next::End => return Filled::Last(End::Whole),
            }
        }
        Filled::Full
    }

    /// Puts frames into a chunk.
    fn add(&mut self, chunk: &mut Chunk, batch: &Batch<'_>) {
        if let LinkType::Other(number) = batch.link {
            let links = self.rare_links.entry(batch.file).or_default();
            batch.frames().for_each(|frame| links.note(number, &frame));
        }
        let mut owners = [0; FRAMES_MAX];
        if self.workers > 1 {
            for (owner, frame) in owners.iter_mut().zip(batch.frames()) {
                *owner = self.worker_of(&frame);
            }
        }
        for (frame, &worker) in batch.frames().zip(&owners) {
            self.read += 1;
            let depth = match self.opening.any() {
                false => depth(&frame),
                true => self.opening.depth(&frame),
            };
            match self.stamps.follow(frame.ts_ns, depth) {
                Some(ts_ns) => {
                    chunk.push(&Frame { ts_ns, ..frame }, depth, ts_ns, worker);
                }
                None => self.add_apart(chunk, frame, depth, worker),
            }
        }
    }

    /// The worker that owns the frame's flow; of a tunnel that is opened, that of the flow inside.
    fn worker_of(&self, frame: &Frame<'_>) -> u16 {
        if !self.opening.any() {
            return worker_of(&self.keys, frame, self.workers);
        }
        worker_of(&self.keys, &self.opening.innermost(frame), self.workers)
    }

    /// Puts a frame into a chunk that does not simply follow those before it.
    #[cold]
    fn add_apart(&mut self, chunk: &mut Chunk, frame: Frame<'_>, depth: usize, worker: u16) {
        if let Some((ts_ns, key)) = self.stamps.place(frame.ts_ns, depth) {
            chunk.push(&Frame { ts_ns, ..frame }, depth, key, worker);
        } else {
            let index = chunk.push(&frame, depth, i64::MIN, worker);
            self.stamps
                .hold(chunk, (index, depth), frame.ts_ns, self.read);
        }
    }

    /// A stream has given no frame for a while. Only where none came for two such whiles is all handed out: frames
    /// may belong before those of an active stream.
    fn pause(&mut self) -> Filled {
        match std::mem::replace(&mut self.read_at_pause, self.read) == self.read {
            true => Filled::Idle,
            false => Filled::Paused,
        }
    }

    /// Makes the first of the held chunks ready, with the frames of the others that belong into it.
    fn hand_out_first(&mut self) {
        let Some(mut first) = self.held.pop_front() else {
            return;
        };
        let chunk = alone(&mut first);
        let newest = chunk.newest_key();
        let mut is_mixed = false;
        for later in &mut self.held {
            is_mixed |= chunk.take_earlier(alone(later), newest);
        }
        for _ in 0..self.held.len() {
            match self.held.pop_front() {
                Some(later) if later.is_empty() => self.pool.push(later),
                later => self.held.extend(later),
            }
        }
        if is_mixed {
            chunk.sort();
        }
        chunk.number(self.handed_out + 1, self.watermark_ns);
        for part in first.parts(self.part_frames) {
            let (first_ns, last_ns) = (part.watermarks()[0], part.watermarks().last());
            self.first_ns.get_or_insert(first_ns);
            self.watermark_ns = *last_ns.expect("parts hold frames");
            self.handed_out = part.last();
            self.ready.push_back(Fed::Part(part));
        }
        self.pool.push(first);
    }

    fn free_chunk(&mut self) -> Arc<Chunk> {
        loop {
            // Of several the one that came back last: the cache may still have it.
            if let Some(at) = self
                .pool
                .iter()
                .rposition(|chunk| Arc::strong_count(chunk) == 1)
            {
                return self.pool.remove(at);
            }
            std::thread::yield_now();
        }
    }
}

/// A chunk that no worker reads.
fn alone(chunk: &mut Arc<Chunk>) -> &mut Chunk {
    Arc::get_mut(chunk).expect("free and held chunks have no other owner")
}

/// The worker that owns the frame's flow: the fanout program's choice or, where the program cannot parse as far as
/// `decode`, the worker of the decoded flow.
#[inline(never)]
fn worker_of(keys: &Keys, frame: &Frame<'_>, workers: u32) -> u16 {
    let worker = u16::try_from(choose(keys, frame, workers));
    worker.expect("at most 64")
}

fn choose(keys: &Keys, frame: &Frame<'_>, workers: u32) -> u32 {
    let demux = fanout::demux(keys, frame);
    let (_, worker) = demux.member(workers);
    if demux.is_in_depth && demux.key == HashKind::Flow {
        return worker;
    }
    let Ok(packet) = decode::packet(frame) else {
        return worker;
    };
    let (src, dst) = (packet.src, packet.dst);
    let hash = match packet.transport {
        Transport::Tcp(tcp) => fanout::flow_hash(keys, src, dst, tcp.src_port, tcp.dst_port),
        Transport::Udp(udp) => fanout::flow_hash(keys, src, dst, udp.src_port, udp.dst_port),
        Transport::Icmp(Icmp {
            quoted: Some(quoted),
            ..
        }) => fanout::flow_hash(
            keys,
            quoted.src,
            quoted.dst,
            quoted.src_port,
            quoted.dst_port,
        ),
        _ => fanout::pair_hash(keys, src, dst),
    };
    fanout::worker(hash, workers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::pcap::CaptureReader;
    use crate::sensor::RunKeys;
    use craft::{Capture, PcapFormat, Rng};

    /// What a worker is given: number, stamp and watermark of each frame.
    fn handed_out(capture: &Capture, reorder_ns: i64, part_frames: usize) -> Vec<(u64, i64, i64)> {
        let bytes = std::io::Cursor::new(capture.to_pcap(PcapFormat::NANOS));
        let reader = CaptureReader::from_reader("made", bytes, None).expect("pcap");
        let room = Room {
            chunk_frames: 4096,
            part_frames,
            reorder_ns,
        };
        let mut replay = Replay::new(1, room, RunKeys::from_seed(1).fanout, Opening::NONE);
        let mut files = Files::of_reader(reader);
        let mut all = Vec::new();
        let end = loop {
            match replay.next(&mut files, &|_| false, &mut |_, _| {}) {
                Ok(Fed::Part(part)) => {
                    assert!(part.watermarks().len() <= part_frames);
                    let frames = part.frames_of(0);
                    all.extend(frames.map(|(number, at, frame)| (number, frame.ts_ns, at)));
                }
                Ok(Fed::Pause) => panic!("memory never waits"),
                Err(end) => break end,
            }
        };
        assert_eq!(end, End::Whole);
        assert_eq!(replay.taken().frames, capture.frames.len() as u64);
        all
    }

    /// Over many chunks, by the keys of [`Stamps`]: no chunk's end shows.
    #[test]
    fn the_order_does_not_depend_on_where_chunks_end() {
        const WINDOW_NS: i64 = 1_000_000;
        let mut rng = Rng::new(3);
        for (spread_ns, bytes_max) in [(900_000, 80), (3_000_000, 80), (900_000, 3000)] {
            let mut capture = Capture::new("disorder", craft::LinkType::Ethernet);
            let mut now_ns = 1_700_000_000_000_000_000;
            for _ in 0..30_000 {
                now_ns += i64::try_from(rng.below(2000)).expect("small");
                let early = i64::try_from(rng.below(spread_ns)).expect("small");
                let early = if rng.below(4) == 0 { early } else { 0 };
                capture.push(now_ns - early, vec![0; 20 + rng.index(bytes_max)]);
            }
            let mut order = Stamps::new(WINDOW_NS);
            let mut expected = Vec::new();
            let frames = capture.frames.iter();
            for (at, frame) in frames.enumerate() {
                let placed = order.place(frame.ts_ns, frame.bytes.len());
                let key = match placed {
                    Some((_, key)) => key,
                    // The first frame is held until the second confirms it.
                    None if at == 0 => {
                        let mut chunk = Chunk::new(4096);
                        let link = crate::capture::frame::LinkType::Ethernet;
                        let held = Frame {
                            bytes: &frame.bytes,
                            wire_len: 0,
                            ts_ns: frame.ts_ns,
                            interface: 0,
                            link,
                            vlan: None,
                            gso: false,
                            incoming: false,
                        };
                        let depth = frame.bytes.len();
                        let index = chunk.push(&held, depth, i64::MIN, 0);
                        order.hold(&mut chunk, (index, depth), frame.ts_ns, 1);
                        order.judge(&mut chunk, true);
                        chunk.newest_key()
                    }
                    None => panic!("frame {at} is no jump"),
                };
                expected.push((key, frame.ts_ns));
            }
            expected.sort_by_key(|&(key, _)| key);
            let numbered = (1..).zip(expected);
            let expected: Vec<_> = numbered.map(|(n, (key, ts))| (n, ts, key)).collect();
            for part_frames in [64, 1000, 4096] {
                assert_eq!(handed_out(&capture, WINDOW_NS, part_frames), expected);
            }
        }
    }
}
