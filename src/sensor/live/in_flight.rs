//! Allowed skew of identities during the run: counters are not read at one moment.

use crate::books::record_kind::{EventKind, KINDS};
use crate::books::{Books, InFlight};
use crate::settings::Common;
use crate::shard::contacts;

/// Own records that may be sent between the logger's last receive and its counts.
const OWN_IN_FLIGHT: u64 = 16;

/// Counters that move between two samples.
#[derive(Clone, Copy, Default)]
pub(super) struct Progress {
    frames: u64,
    contacts: u64,
    raised: [u64; KINDS],
}

impl Progress {
    pub(super) fn of(books: &Books) -> Self {
        Self {
            frames: books.shards.frames,
            contacts: books.shards.contacts_sent.iter().sum(),
            raised: books.raised_all(),
        }
    }
}

/// The older samples.
#[derive(Default)]
pub(super) struct Skew {
    /// A second ago.
    last: Progress,
    /// Records raised before the logger's newest publication, and its number.
    settled: ([u64; KINDS], u64),
}

impl Skew {
    /// Call once a second. `before` was read before the logger's publication `number`.
    pub(super) fn advance(&mut self, before: Progress, number: u64) {
        if number != self.settled.1 {
            self.settled = (self.last.raised, number);
        }
        self.last = before;
    }

    /// Queue capacities, doubled because counters are sampled, plus changes since the older sample: a second ago, or
    /// when the logger, which a slow disk may delay, published last.
    pub(super) fn allowed(&self, common: &Common, books: &Books, now: Progress) -> InFlight {
        let (workers, room) = (common.workers, common.room);
        let contacts = contacts::queues(workers) * room.contacts;
        // Two lists and the queue to the logger.
        let records = (workers * 3 * room.events) as u64;
        InFlight {
            frames: now.frames.saturating_sub(self.last.frames),
            contacts: 2 * contacts as u64 + now.contacts.saturating_sub(self.last.contacts),
            records: EventKind::ALL.map(|kind| {
                let held = match kind {
                    EventKind::Stats | EventKind::Lifecycle | EventKind::Block => OWN_IN_FLIGHT,
                    EventKind::Connection => 2 * (records + books.shards.connections_folding),
                    _ => 2 * records,
                };
                let kind = kind as usize;
                held + now.raised[kind].saturating_sub(self.settled.0[kind])
            }),
        }
    }
}
