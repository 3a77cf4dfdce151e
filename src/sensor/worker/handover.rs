//! A worker that stops between two frames, writes its state, and then goes on or leaves its rings to another process.

use super::Worker;
use super::load::LoadControl;
use super::ring::LiveRing;
use crate::capture::ring::reader::RingPlace;
use crate::shard::Shard;
use crate::snapshot::{Layout, Snapshot as _};
use crate::time::clock::Stamps;
use crossbeam::channel::{Receiver, Sender, unbounded};
use std::io::{self, Write};
use std::sync::{Arc, Barrier, Mutex, PoisonError};

/// What becomes of a thread whose state is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody has taken it.
    GoOn,
    /// Another process has it: end, and touch no ring.
    Leave,
}

/// Where a worker writes its state.
pub type Sink = Box<dyn Write + Send>;

/// Asks all workers to write their states.
#[derive(Clone)]
pub struct Order(Arc<SharedOrder>);

struct SharedOrder {
    all: Barrier,
    each: Vec<WorkerOrder>,
    written: Sender<io::Result<()>>,
}

/// One worker's part of an [`Order`].
struct WorkerOrder {
    to: Mutex<Option<Sink>>,
    verdict: Receiver<Verdict>,
}

/// The other end of an [`Order`].
pub struct Answers {
    written: Receiver<io::Result<()>>,
    verdicts: Vec<Sender<Verdict>>,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Order to {} workers", self.0.each.len())
    }
}

impl Order {
    /// An order to as many workers as there are places to write to.
    pub fn new(to: Vec<Sink>) -> (Self, Answers) {
        let (written, answers) = unbounded();
        let all = Barrier::new(to.len());
        let (mut each, mut verdicts) = (Vec::new(), Vec::new());
        for to in to {
            let (sender, verdict) = unbounded();
            verdicts.push(sender);
            each.push(WorkerOrder {
                to: Mutex::new(Some(to)),
                verdict,
            });
        }
        let answers = Answers {
            written: answers,
            verdicts,
        };
        (Self(Arc::new(SharedOrder { all, each, written })), answers)
    }
}

impl Answers {
    /// Waits until every worker has written its state. Then none of them reads, sends or pushes anything.
    pub fn wait(&self) -> io::Result<()> {
        let gone = |_| io::Error::other("a worker has ended");
        let mut outcome = Ok(());
        for _ in &self.verdicts {
            let written = self.written.recv().map_err(gone)?;
            outcome = outcome.and(written);
        }
        outcome
    }

    /// Lets all workers go on or leave.
    pub fn tell(&self, verdict: Verdict) {
        for worker in &self.verdicts {
            let _ = worker.send(verdict);
        }
    }
}

/// A worker's state, but for its shard.
#[derive(Clone, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct WorkerState {
    /// The newest stamp so far, in run time.
    pub now_ns: i64,
    /// Its rings.
    pub rings: Vec<RingState>,
    /// Of [`LoadControl`].
    pub load: Vec<u8>,
}

/// One ring of a worker.
#[derive(Clone, Copy, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct RingState {
    /// Index of its interface in the run.
    pub interface: u16,
    /// Index of its socket in the group.
    pub member: u32,
    /// How far it is read.
    pub place: RingPlace,
    /// Of its frames.
    pub stamps: Stamps,
    /// As in [`LiveRing`].
    pub losing_seen: u64,
}

impl WorkerState {
    /// Adds names and types of all that a worker writes.
    pub fn layout(layout: &mut Layout) {
        <Self as crate::snapshot::Snapshot>::layout(layout);
        LoadControl::layout(layout);
        Shard::layout(layout);
    }
}

impl LiveRing {
    fn state(&self) -> RingState {
        RingState {
            interface: self.reader.interface(),
            member: u32::try_from(self.member).expect("at most 65,536"),
            place: self.reader.place(),
            stamps: self.stamps,
            losing_seen: self.losing_seen,
        }
    }
}

impl Worker {
    /// Writes its state once all workers have stopped. Between two batches: no packet is pending.
    pub(super) fn hand_over(&mut self, order: &Order) -> Verdict {
        let SharedOrder { all, each, written } = &*order.0;
        let Some(own) = each.get(self.id) else {
            return Verdict::GoOn;
        };
        // From here on nobody sends contacts.
        all.wait();
        let to = own.to.lock().unwrap_or_else(PoisonError::into_inner).take();
        let result = to.map_or(Ok(()), |mut to| {
            self.save(&mut *to).and_then(|()| to.flush())
        });
        let _ = written.send(result);
        let verdict = own.verdict.recv().unwrap_or(Verdict::GoOn);
        if verdict == Verdict::Leave {
            for ring in &mut self.rings.all {
                ring.reader.leave();
                ring.group.leave();
            }
        }
        verdict
    }

    fn save(&mut self, to: &mut dyn Write) -> io::Result<()> {
        for ring in &mut self.rings.all {
            ring.publish();
        }
        let state = WorkerState {
            now_ns: self.now_ns,
            rings: self.rings.all.iter().map(LiveRing::state).collect(),
            load: self.load.save()?,
        };
        state.save(to)?;
        self.shard.save(to)
    }
}
