//! Messages that wait for a collector, and what becomes of their records.

use crate::books::output::{CAUSES, Cause};
use crate::books::record_kind::{EventKind, KINDS};
use crate::log::formats::framing::Framing;
use crate::log::sinks::{Carried, Entry};
use std::collections::VecDeque;

/// Bytes that wait at most.
pub const BUFFER_MAX: usize = 1 << 20;
/// Settled bytes are removed from the buffer once there are this many, so that moves are rare.
const SPENT_MAX: usize = BUFFER_MAX / 4;

/// Records of a message.
#[derive(Clone, Copy, Debug, Default)]
struct Content {
    /// Records that are no folds, by kind.
    whole: [u32; KINDS],
    /// Attempts in folds.
    folded: u64,
    /// All records.
    records: u32,
}

impl Content {
    fn add(&mut self, entry: Entry) {
        self.whole[entry.kind as usize] += u32::from(entry.folded == 0);
        self.folded += entry.folded;
        self.records += 1;
    }

    /// Its records by kind, attempts in folds among them.
    fn by_kind(&self) -> [u64; KINDS] {
        let mut all = self.whole.map(u64::from);
        all[EventKind::Connection as usize] += self.folded;
        all
    }
}

#[derive(Clone, Copy, Debug)]
struct Message {
    /// Where it ends in the buffer.
    end: usize,
    content: Content,
}

/// Messages in their order: settled, handed over, whole, and one that takes records.
#[derive(Debug)]
pub struct Queue {
    buffer: Vec<u8>,
    /// Leading bytes of the buffer that are settled.
    spent: usize,
    /// Up to here the messages were completed and may be handed over.
    completed: usize,
    /// Whole messages that are not settled.
    whole: VecDeque<Message>,
    /// Of those, how many are completed.
    completed_count: usize,
    /// Start and content of a message that takes records.
    open: Option<(usize, Content)>,
    /// Where the record begins that is being appended.
    record: usize,
    /// A record on its way to the next message.
    scratch: Vec<u8>,
    written: [u64; KINDS],
    folded: u64,
    dropped: [[u64; KINDS]; CAUSES],
}

impl Queue {
    pub fn new() -> Self {
        Self {
            buffer: Vec::with_capacity(BUFFER_MAX + SPENT_MAX),
            spent: 0,
            completed: 0,
            whole: VecDeque::with_capacity(BUFFER_MAX / 512),
            completed_count: 0,
            open: None,
            record: 0,
            scratch: Vec::new(),
            written: [0; KINDS],
            folded: 0,
            dropped: [[0; KINDS]; CAUSES],
        }
    }

    /// Bytes that are not settled.
    pub fn waiting_bytes(&self) -> usize {
        self.buffer.len() - self.spent
    }

    /// The buffer, where a record of a message begins now.
    pub fn begin(&mut self, framing: &mut dyn Framing) -> &mut Vec<u8> {
        if self.open.is_none() {
            self.open = Some((self.buffer.len(), Content::default()));
            framing.begin(&mut self.buffer);
        }
        self.record = self.buffer.len();
        &mut self.buffer
    }

    /// Ends the record that was appended since [`Queue::begin`].
    pub fn end(&mut self, entry: Entry, framing: &mut dyn Framing, limit: usize) {
        let (message, mut content) = self.open.expect("a record was begun");
        if framing.join(&mut self.buffer, message, self.record, limit) {
            content.add(entry);
            self.open = Some((message, content));
            return;
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(&self.buffer[self.record..]);
        self.buffer.truncate(self.record);
        self.close();
        let message = self.buffer.len();
        framing.begin(&mut self.buffer);
        let record = self.buffer.len();
        self.buffer.extend_from_slice(&self.scratch);
        // The first record of a message is taken, however long it is.
        let joined = framing.join(&mut self.buffer, message, record, limit);
        assert!(joined, "a message takes its first record");
        let mut content = Content::default();
        content.add(entry);
        self.open = Some((message, content));
    }

    /// The message that takes records takes no more.
    pub fn close(&mut self) {
        match self.open.take() {
            Some((start, content)) if content.records == 0 => self.buffer.truncate(start),
            Some((_, content)) => {
                let end = self.buffer.len();
                self.whole.push_back(Message { end, content });
            }
            None => {}
        }
    }

    /// The first whole message that is not settled. Completed ones are not told apart.
    pub fn first(&mut self) -> Option<&mut [u8]> {
        let message = self.whole.front()?;
        Some(&mut self.buffer[self.spent..message.end])
    }

    /// The first whole message that is not completed; it is now.
    pub fn complete_next(&mut self) -> Option<&mut [u8]> {
        let message = self.whole.get(self.completed_count)?;
        let start = self.completed.max(self.spent);
        self.completed = message.end;
        self.completed_count += 1;
        Some(&mut self.buffer[start..message.end])
    }

    /// Bytes that were not handed over, of whole and open messages, if `handed` were.
    pub fn unsent_bytes(&self, handed: usize) -> usize {
        self.waiting_bytes().saturating_sub(handed)
    }

    /// Completed bytes that are not settled, of which the first `handed` were handed over.
    pub fn completed(&self, handed: usize) -> &[u8] {
        let end = self.completed.max(self.spent);
        &self.buffer[self.spent + handed..end]
    }

    /// Completed messages are to be completed anew.
    pub fn forget_completed(&mut self) {
        (self.completed, self.completed_count) = (self.spent, 0);
    }

    /// Settles messages that lie wholly in the first `bytes` of what is not settled: they are written. Returns the bytes
    /// of those messages.
    pub fn settle(&mut self, bytes: usize) -> usize {
        let (start, until) = (self.spent, self.spent + bytes);
        let mut end = start;
        while let Some(message) = self.whole.front().filter(|message| message.end <= until) {
            end = message.end;
            let whole = message.content.whole;
            for (sum, count) in self.written.iter_mut().zip(whole) {
                *sum += u64::from(count);
            }
            self.folded += message.content.folded;
            self.whole.pop_front();
            self.completed_count = self.completed_count.saturating_sub(1);
        }
        self.spend(end);
        end - start
    }

    /// Settles the first message.
    pub fn settle_first(&mut self) {
        if let Some(end) = self.whole.front().map(|message| message.end) {
            self.settle(end - self.spent);
        }
    }

    /// Drops the first message. Returns its records, by kind.
    pub fn drop_first(&mut self, cause: Cause) -> [u64; KINDS] {
        let Some(message) = self.whole.pop_front() else {
            return [0; KINDS];
        };
        self.completed_count = self.completed_count.saturating_sub(1);
        self.spend(message.end);
        let records = message.content.by_kind();
        for (sum, count) in self.dropped[cause as usize].iter_mut().zip(records) {
            *sum += count;
        }
        records
    }

    /// Counts a record that finds no room.
    pub fn drop_entry(&mut self, entry: Entry, cause: Cause) {
        self.dropped[cause as usize][entry.kind as usize] += entry.records();
    }

    /// Marks the buffer up to `end` as settled.
    fn spend(&mut self, end: usize) {
        self.spent = end;
        if self.spent == self.buffer.len() || self.spent >= SPENT_MAX {
            let spent = self.spent;
            self.buffer.drain(..spent);
            self.whole
                .iter_mut()
                .for_each(|message| message.end -= spent);
            if let Some((start, _)) = &mut self.open {
                *start -= spent;
            }
            self.completed = self.completed.saturating_sub(spent);
            self.record = self.record.saturating_sub(spent);
            self.spent = 0;
        }
    }

    /// Whether no whole message waits.
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty()
    }

    /// Counts of the accepted records.
    pub fn carried(&self) -> Carried {
        let mut pending = [0; KINDS];
        let open = self.open.iter().map(|(_, content)| content);
        for content in self.whole.iter().map(|one| &one.content).chain(open) {
            for (sum, count) in pending.iter_mut().zip(content.by_kind()) {
                *sum += count;
            }
        }
        Carried {
            written: self.written,
            folded: self.folded,
            dropped: self.dropped,
            pending,
        }
    }
}
