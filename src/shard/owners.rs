//! Which shard owns a contact: each pair and each source has one owner, to which every worker sends.

use super::contacts::Mesh;
use crate::books::shard::ShardCounts;
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use crate::inspect::contact::{Contact, Owner};
use crate::inspect::detector::Owned;

/// The owners' hash and one worker's ends of the queues to them.
pub(super) struct Owners {
    id: usize,
    hash: Hasher,
    /// A rule needs all contacts of a source at one shard.
    by_source: bool,
    pub mesh: Mesh,
}

impl Owners {
    pub fn new(id: usize, hash: Hasher, by_source: bool, mesh: Mesh) -> Self {
        Self {
            id,
            hash,
            by_source,
            mesh,
        }
    }

    /// Keyed hash of a contact's pair, where `target` is the pair's second half, under tags of the key.
    #[inline]
    pub fn pair(&self, src: Address, target: Address, tags: u32) -> u64 {
        self.hash.tagged(self.hash.pair(src, target), tags)
    }

    /// What the only shard owns of every contact; `None` where there are several shards.
    #[inline]
    pub fn sole_owner(&self) -> Option<Owned> {
        let (pair, source) = (true, self.by_source);
        (self.mesh.workers() == 1).then_some(Owned { pair, source })
    }

    /// Sends a contact to the owner of its pair and to that of its source.
    pub fn send(&mut self, contact: Contact, counts: &mut ShardCounts) {
        let owner = self.owner(contact.pair);
        let second = self
            .by_source
            .then(|| self.owner(contact.source(&self.hash)));
        let source = second == Some(owner);
        let pair = true;
        self.hand(owner, contact, Owned { pair, source }, counts);
        if let Some(second) = second.filter(|&second| second != owner) {
            let (pair, source) = (false, true);
            self.hand(second, contact, Owned { pair, source }, counts);
        }
    }

    /// Hands a contact to a shard that owns its pair, its source, or both.
    fn hand(&mut self, to: usize, contact: Contact, owned: Owned, counts: &mut ShardCounts) {
        let lost = !self.mesh.send(to, contact);
        for owner in Owner::ALL {
            let one = u64::from(owned.by(owner));
            counts.contacts_sent[owner as usize] += one;
            counts.contacts_dropped[owner as usize] += one * u64::from(lost);
        }
    }

    fn owner(&self, hash: u64) -> usize {
        let owner = (u128::from(hash) * self.mesh.workers() as u128) >> 64;
        usize::try_from(owner).expect("below the number of workers")
    }

    /// Whether this shard owns the contact's pair and its source.
    #[inline]
    pub fn owned(&self, contact: &Contact) -> Owned {
        let is_here = |hash| self.owner(hash) == self.id;
        Owned {
            pair: is_here(contact.pair),
            source: self.by_source && is_here(contact.source(&self.hash)),
        }
    }
}
