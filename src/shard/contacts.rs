//! Contacts between shards: one bounded queue per pair of workers, merged by position at the owner. A single shard
//! decides on its contacts at once, without a queue.

use crate::inspect::contact::Contact;
use crate::snapshot::{List as _, Snapshot as _, misfit};
use crate::sys::prefault::{prefaulted, touch_all};
use crossbeam::utils::CachePadded;
use rtrb::{Consumer, Producer, RingBuffer};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Contacts that all queues together hold, before it is shared out.
const CAPACITY_ALL: usize = 262_144;
/// The least that one queue holds.
pub const CAPACITY_MIN: usize = 256;

/// Contacts that one queue ever needs to hold.
pub fn queue_capacity(workers: usize) -> usize {
    (CAPACITY_ALL / (workers * workers)).max(CAPACITY_MIN)
}

/// Queues of contacts between so many workers. A single one has none.
pub fn queues(workers: usize) -> usize {
    if workers > 1 { workers * workers } else { 0 }
}

/// Bytes that all queues of so many contacts take.
pub fn memory_bytes(workers: usize, capacity: usize) -> u64 {
    (queues(workers) * capacity * size_of::<Contact>()) as u64
}

/// One worker's ends of the mesh.
pub struct Mesh {
    id: usize,
    /// What this worker sends to itself: emptied, it starts again at its beginning, so that it stays in the
    /// cache.
    own: VecDeque<Contact>,
    to: Vec<Producer<Contact>>,
    from: Vec<Consumer<Contact>>,
    reached: Arc<[CachePadded<AtomicU64>]>,
    /// For each owner the newest position of a contact that did not reach it, plus one; 0: none.
    lost: Arc<[CachePadded<AtomicU64>]>,
}

impl Mesh {
    /// The ends for every worker, with the largest queues.
    pub fn new(workers: usize) -> Vec<Self> {
        Self::with_capacity(workers, queue_capacity(workers))
    }

    /// The ends for every worker; each queue holds `contacts`.
    pub fn with_capacity(workers: usize, contacts: usize) -> Vec<Self> {
        let zeros = || -> Arc<[_]> {
            let zero = |_| CachePadded::new(AtomicU64::new(0));
            (0..workers).map(zero).collect()
        };
        let (reached, lost) = (zeros(), zeros());
        let contacts = if workers > 1 { contacts } else { 0 };
        let mut to: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        let mut from: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        for (sender_id, sender) in to.iter_mut().enumerate() {
            for (receiver_id, receiver) in from.iter_mut().enumerate() {
                // Its place is taken by `own`.
                let same = sender_id == receiver_id;
                let capacity = if same { 0 } else { contacts };
                let (producer, consumer) = RingBuffer::new(capacity);
                sender.push(producer);
                receiver.push(consumer);
            }
        }
        to.into_iter()
            .zip(from)
            .enumerate()
            .map(|(id, (to, from))| Self {
                id,
                own: VecDeque::with_capacity(contacts),
                to,
                from,
                reached: Arc::clone(&reached),
                lost: Arc::clone(&lost),
            })
            .collect()
    }

    /// What other workers have sent to this one and it has not taken yet, a list for each of them. No worker may send
    /// meanwhile.
    pub fn inbound(&mut self) -> Vec<Vec<Contact>> {
        let all = self.from.iter_mut().map(|queue| {
            let waiting = queue.read_chunk(queue.slots());
            let waiting = waiting.expect("no more than there are");
            let (first, rest) = waiting.as_slices();
            // Not committed: they stay in the queue.
            [first, rest].concat()
        });
        all.collect()
    }

    /// Writes its own queue, and how far its contacts go.
    ///
    /// # Errors
    ///
    /// As `to`.
    pub fn save(&self, to: &mut dyn Write) -> io::Result<()> {
        self.own.save_list(to)?;
        for of in [&self.reached, &self.lost] {
            of[self.id].load(Ordering::Acquire).save(to)?;
        }
        Ok(())
    }

    /// Reads what [`Mesh::save`] wrote.
    ///
    /// # Errors
    ///
    /// As `from`, or there is no room.
    pub fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        self.own.restore_list(from)?;
        for of in [&self.reached, &self.lost] {
            let mut position = 0_u64;
            position.restore(from)?;
            of[self.id].store(position, Ordering::Release);
        }
        Ok(())
    }

    /// Sends again what another process found in the queue to `owner`.
    ///
    /// # Errors
    ///
    /// There is no such owner, or its queue has no room.
    pub fn resend(&mut self, owner: usize, contacts: Vec<Contact>) -> io::Result<()> {
        let queue = self.to.get_mut(owner);
        let queue = queue.ok_or_else(|| misfit("contacts for another worker"))?;
        let full = |_| misfit("more contacts than a queue holds");
        (contacts.into_iter()).try_for_each(|contact| queue.push(contact).map_err(full))
    }

    /// Writes to every page of the queues to owners. Before the first contact.
    pub fn prefault(&mut self) {
        for queue in &mut self.to {
            touch_all(queue);
        }
        self.own = prefaulted(self.own.capacity());
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.to.len()
    }

    /// Hands `contact` to an owner; false if its queue is full, which is never waited for. In `read` a
    /// chunk is small enough that a queue cannot be full (a quarter of it in frames, two contacts each).
    pub fn send(&mut self, owner: usize, contact: Contact) -> bool {
        let position = contact.position;
        let sent = if owner == self.id {
            let room = self.own.len() < self.own.capacity();
            if room {
                self.own.push_back(contact);
            }
            room
        } else {
            self.to[owner].push(contact).is_ok()
        };
        if !sent {
            // Relaxed: `publish` comes after it, and whoever sees that sees this.
            self.lost[owner].fetch_max(position.saturating_add(1), Ordering::Relaxed);
        }
        sent
    }

    /// Says that every contact at or before `position` has been sent.
    pub fn publish(&self, position: u64) {
        // Release pairs with the acquire in `limit`: who sees the position sees the contacts before it.
        self.reached[self.id].fetch_max(position, Ordering::Release);
    }

    /// The newest position of a contact that was meant for this worker and found no room. Complete up to
    /// what [`Mesh::limit`] gave before.
    pub fn newest_lost(&self) -> Option<u64> {
        self.lost[self.id].load(Ordering::Relaxed).checked_sub(1)
    }

    /// The position that all workers have reached.
    pub fn limit(&self) -> u64 {
        self.reached
            .iter()
            .map(|reached| reached.load(Ordering::Acquire))
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Takes the next contacts at or before `limit`, `most` of them at most, in order of position. Call
    /// [`Mesh::limit`] first.
    pub fn take(&mut self, limit: u64, most: usize, contacts: &mut Vec<Contact>) {
        let next = std::iter::from_fn(|| self.next(limit));
        contacts.extend(next.take(most));
        if self.own.is_empty() {
            self.own.clear();
        }
    }

    fn next(&mut self, limit: u64) -> Option<Contact> {
        let head = |(index, queue): (usize, &Consumer<Contact>)| {
            let first = if index == self.id {
                self.own.front()
            } else {
                queue.peek().ok()
            };
            let first = first?;
            Some(((first.order(), first.position), index))
        };
        let ((_, position), index) = self.from.iter().enumerate().filter_map(head).min()?;
        if position > limit {
            return None;
        }
        if index == self.id {
            self.own.pop_front()
        } else {
            self.from[index].pop().ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::contact::{ContactKind, Mark};

    fn contact(position: u64) -> Contact {
        Contact {
            position,
            ts_ns: 0,
            source: 0,
            src: 0x7f00_0001,
            dst: 0x7f00_0001,
            port: 0,
            interface: 0,
            mark: Mark::new(false, 0, ContactKind::Touch),
        }
    }

    #[test]
    fn contacts_come_in_order_of_position_and_only_below_the_limit() {
        let mut mesh = Mesh::new(3);
        for (worker, positions) in [[1, 4, 9], [2, 3, 8], [5, 6, 7]].iter().enumerate() {
            for &position in positions {
                assert!(mesh[worker].send(0, contact(position)));
            }
        }
        for (worker, position) in [9, 8, 6].into_iter().enumerate() {
            mesh[worker].publish(position);
        }
        let limit = mesh[0].limit();
        assert_eq!(limit, 6);
        let mut merged = Vec::new();
        mesh[0].take(limit, 4, &mut merged);
        assert_eq!(merged.len(), 4);
        mesh[0].take(limit, 4, &mut merged);
        let merged: Vec<u64> = merged.iter().map(|contact| contact.position).collect();
        assert_eq!(merged, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_full_queue_is_counted_and_its_owner_knows() {
        let mut mesh = Mesh::new(64);
        let sent = (0..300).filter(|&position| mesh[1].send(2, contact(position)));
        assert_eq!(sent.count(), 256);
        assert_eq!(mesh[2].newest_lost(), Some(299), "its owner knows");
        assert_eq!(
            mesh[1].newest_lost(),
            None,
            "the sender lost none of its own"
        );
    }
}
