//! `read`: captures → chunks → workers in lockstep, so that the log is the same for every number of workers.

use super::rare_links::RareLinks;
use crate::capture::bpf::fanout::{self, HashKind, Keys};
use crate::capture::frame::{Frame, LinkType};
use crate::capture::pcap::chunk::Chunk;
use crate::capture::pcap::files::{Files, Next};
use crate::decode;
use crate::decode::headers::depth;
use crate::decode::packet::{Icmp, Transport};
use crate::settings::memory::CHUNKS;
use crate::shard::{At, Shard};
use crate::time::timeline::Timeline;
use crossbeam::channel::{Receiver, Sender, bounded};
use crossbeam::utils::Backoff;
use std::collections::BTreeMap;
use std::sync::Arc;

type Feed = Arc<Chunk>;

/// How the reading of captures ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At their last frame.
    Whole,
    /// Earlier: a signal, or a log without a reader.
    Stopped,
}

/// Reads captures and hands out chunks.
pub struct Replay {
    keys: Keys,
    feeds: Vec<Sender<Feed>>,
    pool: Vec<Feed>,
    number: u64,
    first_ns: Option<i64>,
    watermark_ns: i64,
    /// Of each capture that has some, by its number.
    rare_links: BTreeMap<usize, RareLinks>,
}

impl Replay {
    /// A replay in chunks of `frames`, and the receiver of each worker.
    pub fn new(workers: usize, frames: usize, keys: Keys) -> (Self, Vec<Receiver<Feed>>) {
        let ends: (Vec<_>, Vec<_>) = (0..workers).map(|_| bounded(CHUNKS - 2)).unzip();
        let pool = (0..CHUNKS).map(|_| Arc::new(Chunk::new(frames))).collect();
        (
            Self {
                keys,
                feeds: ends.0,
                pool,
                number: 0,
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

    /// Frames handed out so far.
    pub fn frames(&self) -> u64 {
        self.number
    }

    /// Time stamps of the first frame and of the latest, ns; both 0 where there was none.
    pub fn span_ns(&self) -> (i64, i64) {
        self.first_ns
            .map_or((0, 0), |first_ns| (first_ns, self.watermark_ns))
    }

    /// Takes what was counted of rarer link types, by the number of the capture.
    pub fn take_rare_links(&mut self) -> BTreeMap<usize, RareLinks> {
        std::mem::take(&mut self.rare_links)
    }

    /// Reads captures to their end, or until `ends` returns true. Frames before an error are handed out, and so are
    /// those of a slow stream after 200 ms: the log does not depend on where chunks end.
    ///
    /// `ends` is called with the number of frames so far: before each frame, and every 200 ms without one.
    pub fn read(
        &mut self,
        files: &mut Files,
        ends: &impl Fn(u64) -> bool,
        mut progress: impl FnMut(&mut Files),
    ) -> End {
        loop {
            let mut chunk = self.free_chunk();
            let filling = Arc::get_mut(&mut chunk).expect("free chunks have no other owner");
            filling.clear(self.number + 1);
            let end = self.fill(filling, files, ends);
            progress(files);
            if !chunk.is_empty() {
                self.hand_out(&chunk);
            }
            self.pool.push(chunk);
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Fills a chunk with available frames; `Some` when no more follow.
    fn fill(
        &mut self,
        chunk: &mut Chunk,
        files: &mut Files,
        ends: &impl Fn(u64) -> bool,
    ) -> Option<End> {
        let workers = u32::try_from(self.feeds.len()).expect("at most 64");
        while !chunk.is_full() {
            if ends(self.number) {
                return Some(End::Stopped);
            }
            let (frame, file) = match files.next_frame() {
                Next::Frame(frame, file) => (frame, file),
                Next::Pause => return None,
                Next::End => return Some(End::Whole),
            };
            self.number += 1;
            self.first_ns.get_or_insert(frame.ts_ns);
            self.watermark_ns = self.watermark_ns.max(frame.ts_ns);
            if let LinkType::Other(_) = frame.link {
                self.rare_links.entry(file).or_default().note(&frame);
            }
            let worker = worker_of(&self.keys, &frame, workers);
            let depth = depth(&frame);
            chunk.push(&frame, depth, self.watermark_ns, worker);
        }
        None
    }

    fn free_chunk(&mut self) -> Feed {
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

    fn hand_out(&self, chunk: &Feed) {
        for feed in &self.feeds {
            // A worker ends early only by a panic, which ends the program.
            let _ = feed.send(Arc::clone(chunk));
        }
    }
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

/// Runs a worker: for each chunk its own frames, then the contacts of all shards.
pub fn work(
    mut shard: Shard,
    id: usize,
    feed: &Receiver<Feed>,
    mut publish: impl FnMut(&Shard),
) -> Shard {
    let (mut last, mut newest_ns) = (0, i64::MIN);
    let id = u32::try_from(id).expect("at most 64");
    for chunk in feed {
        let timeline = Timeline::Read {
            first: chunk.first(),
            watermarks: chunk.watermarks(),
        };
        let mut at = At {
            position: 0,
            watermark_ns: 0,
            timeline,
            ring: None,
        };
        for (position, watermark_ns, frame) in chunk.frames_of(id) {
            (at.position, at.watermark_ns) = (position, watermark_ns);
            shard.on_frame(&frame, &at);
        }
        last = chunk.last();
        shard.publish_contacts(last, &timeline);
        let backoff = Backoff::new();
        while shard.contacts_limit() < last {
            backoff.snooze();
        }
        newest_ns = *chunk.watermarks().last().expect("chunks hold frames");
        shard.settle(last, newest_ns, &timeline);
        publish(&shard);
    }
    let timeline = Timeline::Read {
        first: last + 1,
        watermarks: &[newest_ns],
    };
    shard.finish(last + 1, &timeline);
    publish(&shard);
    shard
}
