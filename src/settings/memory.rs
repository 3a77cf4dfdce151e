//! Division of `--memory-mib`: first the fixed part, then queues; the tables get the rest.
//!
//! Kernel memory (rings, socket buffers) comes on top: `settings::rings`.

use crate::capture::pcap::chunk::{self, Chunk};
use crate::capture::pcap::files::OPEN_BYTES;
use crate::error::ConfigError;
use crate::flow::{Limits, OUTCOMES_MAX};
use crate::inspect::contact::CONTACTS_PER_FRAME;
use crate::inspect::{self, Rules};
use crate::log::fold::{self, Folds};
use crate::log::formats::window::Scratch;
use crate::log::merge;
use crate::log::sinks::lines::Lines;
use crate::shard::{Shard, contacts};
use crate::witness;
use crate::words::many;

const MIB: u64 = 1 << 20;
/// Code, stacks, and small allocations. Measured: an idle run without its tables has 6 to 8 MiB resident, 11 MiB with
/// 60 interfaces and 32 clients of the metrics.
const PROGRAM_BYTES: u64 = 12 * MIB;
/// `read`: buffers of file and decompression, one frame of the maximum length in each chunk, and the zstd window
/// that RFC 8878 recommends (8 MiB). A zstd frame may need up to 128 MiB: more than 8 comes on top.
const READING_BYTES: u64 = 12 * MIB;
/// Chunks of `read`: at most three are filled and put in order, the others are read by the workers.
pub const CHUNKS: usize = 6;
/// Most frames of a chunk.
const CHUNK_FRAMES_MAX: usize = 8192;
/// Maximum events in each list of a shard, and in its queue to the logger.
const EVENTS_MAX: usize = 16_384;
const EVENTS_MIN: usize = 256;
/// Minimum for the tables and queues of a worker.
const WORKER_BYTES_MIN: u64 = 2 * MIB;

/// The parts of a run that take memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Users {
    /// Worker threads.
    pub workers: usize,
    /// `--output`.
    pub outputs: usize,
    /// Their buffers: one for each file that an output has open.
    pub buffers: usize,
    /// Memory of responders.
    pub responder_bytes: u64,
    /// Memory of `--block`.
    pub block_bytes: u64,
    /// Tables of open flood records: one for each worker or, in `read`, the logger's; 0 without `--fold`.
    pub fold_tables: usize,
    /// `--witness`.
    pub witness: Option<u32>,
    /// `read`: captures go through chunks.
    pub reads: bool,
    /// `read`: files that may be open at a time beside the first.
    pub merged: usize,
    /// Memory of `--report`.
    pub report_bytes: u64,
    /// Flows may have parts.
    pub parts: bool,
}

/// Capacities outside the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// Contacts in each queue between two shards.
    pub contacts: usize,
    /// Events in each list of a shard, and in its queue to the logger.
    pub events: usize,
    /// Open flood records, a power of two.
    pub folds: usize,
}

/// `--memory-mib`, divided.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// `--memory-mib`. [`Memory::bytes`] may be less, because tables have a maximum size.
    pub asked_mib: u32,
    users: Users,
    /// Room for flows in one shard.
    pub flows: Limits,
    /// The rules of the detectors and their room in one shard.
    pub rules: Rules,
    /// The other capacities.
    pub room: Capacities,
}

impl Capacities {
    /// The maximum for `workers` workers.
    pub fn full(workers: usize) -> Self {
        Self {
            contacts: contacts::queue_capacity(workers),
            events: EVENTS_MAX,
            folds: fold::FOLDS_MAX,
        }
    }

    fn least() -> Self {
        Self {
            contacts: contacts::CAPACITY_MIN,
            events: EVENTS_MIN,
            folds: fold::FOLDS_MIN,
        }
    }

    /// The same for `read`, where no contact may be lost: those of packets that waited for a SYN may come all at once.
    fn for_reading(self, reads: bool) -> Self {
        let burst = if reads { OUTCOMES_MAX } else { 0 };
        let contacts = self.contacts + burst;
        Self { contacts, ..self }
    }

    /// Folds in the queue from a shard to the logger: those of two seconds.
    pub fn folds_in_queue(&self) -> usize {
        2 * self.folds
    }

    /// Frames that workers of `read` take at a time: so few that neither the contacts of two such parts of a chunk
    /// fill a queue nor the events of one fill the room for them.
    pub fn part_frames(&self) -> usize {
        let steady = self.contacts.saturating_sub(OUTCOMES_MAX);
        (steady / (2 * CONTACTS_PER_FRAME)).min(self.events)
    }

    /// Frames in a chunk of `read`.
    pub fn chunk_frames(&self) -> usize {
        let part = self.part_frames();
        part.clamp(chunk::FRAMES_MIN, CHUNK_FRAMES_MAX)
    }
}

impl Users {
    /// The part that does not depend on the budget.
    fn fixed_bytes(&self) -> u64 {
        PROGRAM_BYTES
            + self.reading_bytes()
            + self.output_bytes()
            + self.responder_bytes
            + self.block_bytes
            + self.report_bytes
            + witness::memory_bytes(self.witness, self.workers)
    }

    /// Buffers of the outputs, and the room in which each puts its records together.
    fn output_bytes(&self) -> u64 {
        self.buffers as u64 * Lines::memory_bytes() + self.outputs as u64 * Scratch::memory_bytes()
    }

    /// `read`: memory of the files.
    fn reading_bytes(&self) -> u64 {
        match self.reads {
            true => READING_BYTES + self.merged as u64 * OPEN_BYTES,
            false => 0,
        }
    }

    /// Memory of all queues.
    fn queue_bytes(&self, room: &Capacities) -> u64 {
        let queues = self.queues(room);
        queues.into_iter().map(|(_, bytes)| bytes).sum()
    }

    fn queues(&self, room: &Capacities) -> Vec<(&'static str, u64)> {
        let each = |bytes: u64| self.workers as u64 * bytes;
        // In `read` the logger folds.
        let folds = match self.fold_tables {
            0 => 0,
            _ if self.reads => 0,
            _ => room.folds_in_queue(),
        };
        let mut queues = vec![
            (
                "events held back for order",
                each(Shard::memory_bytes(room.events)),
            ),
            (
                "events on their way to the logger",
                each(merge::memory_bytes(room.events, folds) as u64),
            ),
        ];
        if self.workers > 1 {
            let contacts = contacts::memory_bytes(self.workers, room.contacts);
            queues.push(("contacts between shards", contacts));
        }
        if self.fold_tables > 0 {
            let folds = self.fold_tables as u64 * Folds::memory_bytes(room.folds);
            queues.push(("open flood records", folds));
        }
        if self.reads {
            let chunks =
                CHUNKS as u64 * Chunk::memory_bytes(room.chunk_frames()) + Chunk::sorted_bytes();
            queues.push(("frames on their way to the workers", chunks));
        }
        queues
    }

    /// The smallest budget.
    fn bytes_min(&self) -> u64 {
        self.fixed_bytes()
            + self.queue_bytes(&Capacities::least().for_reading(self.reads))
            + self.workers as u64 * WORKER_BYTES_MIN
    }

    /// Divides a part of what exceeds the minimum among the queues, up to their maxima.
    fn room(&self, budget: u64) -> Capacities {
        let all = [Capacities::full(self.workers), Capacities::least()];
        let [full, least] = all.map(|room| room.for_reading(self.reads));
        let spare = budget.saturating_sub(self.bytes_min());
        let fit = |bytes: u64, one: u64, least: usize, full: usize| {
            let more = usize::try_from(bytes / one).unwrap_or(usize::MAX);
            least.saturating_add(more).min(full)
        };
        let contacts = match contacts::memory_bytes(self.workers, 1) {
            0 => full.contacts,
            one => fit(spare / 12, one, least.contacts, full.contacts),
        };
        let events =
            |count: usize| Shard::memory_bytes(count) + merge::memory_bytes(count, 0) as u64;
        let one = self.workers as u64 * ((events(1 << 11) - events(1 << 10)) >> 10);
        let events = fit(spare / 6, one, least.events, full.events);
        // In `read` there is one table, whose room must not depend on the number of workers.
        let one = self.fold_tables.max(1) as u64 * (Folds::memory_bytes(1 << 10) >> 10);
        let left = budget.saturating_sub(self.fixed_bytes());
        let folds = fit(left / 16, one, 0, full.folds).max(least.folds);
        Capacities {
            contacts,
            events,
            folds: 1 << folds.ilog2(),
        }
    }
}

impl Memory {
    /// Divides `mib` MiB.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names what is needed.
    pub fn divide(mib: u32, users: Users, detectors: &inspect::Flags) -> Result<Self, ConfigError> {
        let budget = u64::from(mib) * MIB;
        let least = users.bytes_min();
        if budget < least {
            let with = match (users.witness, users.responder_bytes) {
                _ if users.block_bytes > 0 => {
                    ", with --block (--block-max makes its table smaller),"
                }
                (None, 0) if users.report_bytes > 0 => ", with --report,",
                (None, 0) => "",
                (Some(_), 0) => ", with --witness,",
                (None, _) => ", with responders (max= makes their lists smaller),",
                (Some(_), _) => ", with --witness and responders (max= makes their lists smaller),",
            };
            return Err(ConfigError(format!(
                "--memory-mib {mib}: {} and {}{with} need at least {} MiB",
                many(users.workers, "worker"),
                many(users.outputs, "output"),
                least.div_ceil(MIB)
            )));
        }
        let room = users.room(budget);
        let tables = budget - users.fixed_bytes() - users.queue_bytes(&room);
        let share = tables / users.workers as u64;
        Ok(Self {
            asked_mib: mib,
            users,
            flows: Limits::from_bytes(share - share / 4, users.parts),
            rules: Rules::divide(share / 4, detectors),
            room,
        })
    }

    /// Every reservation: purpose and bytes.
    pub fn lines(&self) -> Vec<(&'static str, u64)> {
        let each = |bytes: u64| self.users.workers as u64 * bytes;
        let mut lines = vec![
            ("the program itself", PROGRAM_BYTES),
            (
                "attempts, flows, fragments",
                each(self.flows.memory_bytes()),
            ),
            ("tables of detectors", each(self.rules.memory_bytes())),
        ];
        lines.extend(self.users.queues(&self.room));
        let outputs = self.users.output_bytes();
        lines.push(("lines that wait for their outputs", outputs));
        if self.users.responder_bytes > 0 {
            lines.push(("responders", self.users.responder_bytes));
        }
        if self.users.block_bytes > 0 {
            lines.push(("blocks", self.users.block_bytes));
        }
        if self.users.report_bytes > 0 {
            lines.push(("the report", self.users.report_bytes));
        }
        if self.users.witness.is_some() {
            let bytes = witness::memory_bytes(self.users.witness, self.users.workers);
            lines.push(("the witness's table and queues", bytes));
        }
        if self.users.reads {
            let bytes = self.users.reading_bytes();
            lines.push(("reading and unpacking of captures", bytes));
        }
        lines
    }

    /// The sum of [`Memory::lines`].
    pub fn bytes(&self) -> u64 {
        self.lines().iter().map(|(_, bytes)| bytes).sum()
    }
}

#[cfg(test)]
mod tests;
