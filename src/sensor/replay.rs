//! `read`: captures → chunks → workers in lockstep, so that the log is the same for every number of workers.

use super::rare_links::RareLinks;
use super::stamps::{StampCounts, Stamps};
use crate::capture::bpf::fanout::{self, HashKind, Keys};
use crate::capture::frame::{Frame, LinkType};
use crate::capture::pcap::chunk::{Chunk, Part};
use crate::capture::pcap::files::{Files, Next};
use crate::decode;
use crate::decode::headers::depth;
use crate::decode::packet::{Icmp, Transport};
use crate::log::reached::LogTime;
use crate::settings::memory::{CHUNKS, Capacities};
use crate::shard::{At, Shard};
use crate::time::clock::RunTime;
use crate::time::timeline::Timeline;
use crossbeam::channel::{Receiver, Sender, bounded};
use crossbeam::utils::Backoff;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Chunks that wait for later frames: without pauses there are fewer.
const HELD_MAX: usize = 3;
/// Parts of chunks on their way to a worker.
const PARTS: usize = 2;

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

/// Reads captures, puts frames in order and hands them out in chunks.
pub struct Replay {
    keys: Keys,
    part_frames: usize,
    feeds: Vec<Sender<Part>>,
    /// Chunks that are free, or with the workers.
    pool: Vec<Arc<Chunk>>,
    /// Full chunks: a later frame may belong before one of theirs.
    held: VecDeque<Arc<Chunk>>,
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
    /// A replay, and the receiver of each worker.
    pub fn new(workers: usize, room: Room, keys: Keys) -> (Self, Vec<Receiver<Part>>) {
        let ends: (Vec<_>, Vec<_>) = (0..workers).map(|_| bounded(PARTS)).unzip();
        let chunk = |_| Arc::new(Chunk::new(room.chunk_frames));
        (
            Self {
                keys,
                part_frames: room.part_frames,
                feeds: ends.0,
                pool: (0..CHUNKS).map(chunk).collect(),
                held: VecDeque::new(),
                stamps: Stamps::new(room.reorder_ns),
                read: 0,
                read_at_pause: 0,
                handed_out: 0,
                first_ns: None,
                watermark_ns: i64::MIN,
                rare_links: BTreeMap::new(),
            },
            ends.1,
        )
    }

    /// Ends the feeds: workers finish.
    pub fn close(&mut self) {
        self.feeds.clear();
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

    /// Reads captures to their end, or until `ends` returns true. Frames before an error are handed out, and so are
    /// those of a slow stream after 400 ms: the log does not depend on where chunks end.
    ///
    /// `ends` is called before each frame, and every 200 ms without one. `progress` gets what
    /// a person should know.
    pub fn read(
        &mut self,
        files: &mut Files,
        ends: &impl Fn(&Self) -> bool,
        mut progress: impl FnMut(&mut Files, Vec<String>),
    ) -> End {
        loop {
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
            if let Filled::Last(end) = filled {
                return end;
            }
        }
    }

    /// Fills a chunk with available frames.
    fn fill(
        &mut self,
        chunk: &mut Chunk,
        files: &mut Files,
        ends: &impl Fn(&Self) -> bool,
    ) -> Filled {
        let workers = u32::try_from(self.feeds.len()).expect("at most 64");
        while !chunk.is_full() || !self.stamps.is_settled() {
            if ends(self) {
                return Filled::Last(End::Stopped);
            }
            let (frame, file) = match files.next_frame() {
                Next::Frame(frame, file) => (frame, file),
                Next::Pause => match self.pause() {
                    // The frames that judge a stamp are still to come.
                    Filled::Paused if !self.stamps.is_settled() => continue,
                    filled => return filled,
                },
                Next::End => return Filled::Last(End::Whole),
            };
            self.read += 1;
            if let LinkType::Other(number) = frame.link {
                let links = self.rare_links.entry(file).or_default();
                links.note(number, &frame);
            }
            let worker = worker_of(&self.keys, &frame, workers);
            let worker = u16::try_from(worker).expect("at most 64");
            let depth = depth(&frame);
            if let Some((ts_ns, key)) = self.stamps.place(frame.ts_ns, depth) {
                chunk.push(&Frame { ts_ns, ..frame }, depth, key, worker);
            } else {
                let index = chunk.push_unplaced(&frame, depth, i64::MIN, worker);
                let place = (index, depth);
                self.stamps.hold(chunk, place, frame.ts_ns, self.read);
            }
        }
        Filled::Full
    }

    /// A stream has given no frame for a while. Only where none came for two such whiles is all handed out: frames
    /// may belong before those of an active stream.
    fn pause(&mut self) -> Filled {
        match std::mem::replace(&mut self.read_at_pause, self.read) == self.read {
            true => Filled::Idle,
            false => Filled::Paused,
        }
    }

    /// Hands out the first of the held chunks, with the frames of the others that belong into it.
    fn hand_out_first(&mut self) {
        let Some(mut first) = self.held.pop_front() else {
            return;
        };
        let chunk = alone(&mut first);
        let newest = chunk.newest_key();
        for later in &mut self.held {
            chunk.take_earlier(alone(later), newest);
        }
        for _ in 0..self.held.len() {
            match self.held.pop_front() {
                Some(later) if later.is_empty() => self.pool.push(later),
                later => self.held.extend(later),
            }
        }
        chunk.sort();
        chunk.number(self.handed_out + 1, self.watermark_ns);
        for part in first.parts(self.part_frames) {
            let (first_ns, last_ns) = (part.watermarks()[0], part.watermarks().last());
            self.first_ns.get_or_insert(first_ns);
            self.watermark_ns = *last_ns.expect("parts hold frames");
            self.handed_out = part.last();
            for feed in &self.feeds {
                // A worker ends early only by a panic, which ends the program.
                let _ = feed.send(part.clone());
            }
        }
        self.pool.push(first);
    }

    fn free_chunk(&mut self) -> Arc<Chunk> {
        loop {
            if let Some(at) = self
                .pool
                .iter()
                .position(|chunk| Arc::strong_count(chunk) == 1)
            {
                return self.pool.swap_remove(at);
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
fn worker_of(keys: &Keys, frame: &Frame<'_>, workers: u32) -> u32 {
    if workers == 1 {
        return 0;
    }
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

/// Runs a worker: for each part of a chunk its own frames, then the contacts of all shards.
pub fn work(
    mut shard: Shard,
    id: usize,
    feed: &Receiver<Part>,
    mut publish: impl FnMut(&Shard),
) -> Shard {
    let (mut last, mut newest_ns) = (0, i64::MIN);
    let id = u16::try_from(id).expect("at most 64");
    for part in feed {
        let timeline = Timeline::Read {
            first: part.first(),
            watermarks: part.watermarks(),
        };
        let mut at = At {
            position: 0,
            watermark_ns: 0,
            timeline,
            ring: None,
        };
        for (position, watermark_ns, frame) in part.frames_of(id) {
            (at.position, at.watermark_ns) = (position, watermark_ns);
            shard.on_frame(&frame, &at);
        }
        last = part.last();
        shard.publish_contacts(last, &timeline);
        let backoff = Backoff::new();
        while shard.contacts_limit() < last {
            backoff.snooze();
        }
        newest_ns = *part.watermarks().last().expect("parts hold frames");
        shard.settle(last, newest_ns, &timeline);
        publish(&shard);
    }
    let timeline = Timeline::Read {
        first: last + 1,
        watermarks: &[newest_ns; 2],
    };
    shard.publish_rest(last + 1, last + 1, &timeline);
    let backoff = Backoff::new();
    while shard.contacts_limit() <= last {
        backoff.snooze();
    }
    shard.settle(last + 1, newest_ns, &timeline);
    // Behind what was published: the log may be there already.
    shard.finish(last + 2, &timeline);
    publish(&shard);
    shard
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
        let (mut replay, mut feeds) = Replay::new(1, room, RunKeys::from_seed(1).fanout);
        let feed = feeds.pop().expect("one worker");
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                let mut all = Vec::new();
                for part in feed {
                    assert!(part.watermarks().len() <= part_frames);
                    let frames = part.frames_of(0);
                    all.extend(frames.map(|(number, at, frame)| (number, frame.ts_ns, at)));
                }
                all
            });
            let end = replay.read(&mut Files::of_reader(reader), &|_| false, |_, _| {});
            assert_eq!(end, End::Whole);
            assert_eq!(replay.taken().frames, capture.frames.len() as u64);
            replay.close();
            worker.join().expect("no panic")
        })
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
                        };
                        let depth = frame.bytes.len();
                        let index = chunk.push_unplaced(&held, depth, i64::MIN, 0);
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
