//! What a worker does with the parts of chunks that it gets.

use super::Fed;
use crate::capture::frame::{ChecksumState, Frame};
use crate::capture::pcap::chunk::Part;
use crate::log::logger::Logger;
use crate::shard::{At, Shard};
use crate::time::timeline::Timeline;
use crossbeam::channel::{Receiver, Sender, bounded};
use crossbeam::utils::Backoff;

/// Parts of chunks on their way to a worker.
const PARTS: usize = 2;

/// The channels by which a thread that reads feeds so many workers.
pub fn feeds(workers: usize) -> (Vec<Sender<Fed>>, Vec<Receiver<Fed>>) {
    (0..workers).map(|_| bounded(PARTS)).unzip()
}

/// Runs a worker: for each part of a chunk its own frames, then the contacts of all shards. Returns the logger, if this
/// thread has it.
pub fn work(
    mut shard: Shard,
    id: usize,
    feed: impl IntoIterator<Item = Fed>,
    mut publish: impl FnMut(&Shard),
) -> Option<Box<Logger>> {
    let (mut last, mut newest_ns) = (0, i64::MIN);
    let id = u16::try_from(id).expect("at most 64");
    for fed in feed {
        let Fed::Part(part) = fed else {
            shard.outbox.rest();
            continue;
        };
        let timeline = Timeline::Read {
            first: part.first(),
            watermarks: part.watermarks(),
        };
        match shard.opening.any() {
            false => take_frames(&mut shard, &part, (id, timeline), Shard::on_frame),
            true => take_frames(&mut shard, &part, (id, timeline), |shard, frame, at| {
                shard.on_closed_frame(frame, ChecksumState::Unknown, at);
            }),
        }
        last = part.last();
        shard.publish_contacts(last, &timeline);
        wait_for_contacts(&shard, last);
        newest_ns = *part.watermarks().last().expect("parts hold frames");
        shard.settle(last, newest_ns, &timeline);
        publish(&shard);
    }
    let timeline = Timeline::Read {
        first: last + 1,
        watermarks: &[newest_ns; 2],
    };
    shard.publish_rest(last + 1, last + 1, &timeline);
    wait_for_contacts(&shard, last + 1);
    shard.settle(last + 1, newest_ns, &timeline);
    // Behind what was published: the log may be there already.
    let logger = shard.finish(last + 2, &timeline);
    publish(&shard);
    logger
}

/// Hands the frames of worker `id` to `take`.
fn take_frames(
    shard: &mut Shard,
    part: &Part,
    (id, timeline): (u16, Timeline<'_>),
    take: impl Fn(&mut Shard, &Frame<'_>, &At<'_>),
) {
    let mut at = At {
        position: 0,
        watermark_ns: 0,
        timeline,
        ring: None,
    };
    part.frames_of(id)
        .for_each(|(position, watermark_ns, frame)| {
            (at.position, at.watermark_ns) = (position, watermark_ns);
            take(shard, &frame, &at);
        });
}

/// Waits until every worker has sent its contacts up to this position.
fn wait_for_contacts(shard: &Shard, position: u64) {
    let backoff = Backoff::new();
    while shard.contacts_limit() < position {
        backoff.snooze();
    }
}
