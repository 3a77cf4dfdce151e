//! Which shard owns a contact: each address has one owner, as a source and as a target, to which every worker sends.

use super::contacts::Mesh;
use crate::books::shard::ShardCounts;
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use crate::inspect::Rules;
use crate::inspect::contact::{Contact, Owner};
use crate::inspect::detector::Owned;

/// The part of an IPv6 address that chooses its owner, so that one shard owns the networks of a source, too.
const NETWORK_V6: u128 = u128::MAX << 80;

/// The owners' hash and one worker's ends of the queues to them.
pub(super) struct Owners {
    id: usize,
    hash: Hasher,
    /// What the rules that are on need.
    needed: Owned,
    pub mesh: Mesh,
}

impl Owners {
    pub fn new(id: usize, hash: Hasher, rules: &Rules, mesh: Mesh) -> Self {
        let needed = Owned {
            source: rules.need(Owner::Source),
            target: rules.need(Owner::Target),
        };
        Self {
            id,
            hash,
            needed,
            mesh,
        }
    }

    /// Keyed hash of a source under tags of the key.
    #[inline]
    pub fn source(&self, src: Address, tags: u32) -> u64 {
        self.hash.tagged(self.hash.source(src), tags)
    }

    /// What the only shard owns of every contact; `None` where there are several shards.
    #[inline]
    pub fn sole_owner(&self) -> Option<Owned> {
        (self.mesh.workers() == 1).then_some(self.needed)
    }

    /// Sends a contact to the owner of its source and to that of its target.
    #[inline(never)]
    pub fn send(&mut self, contact: &Contact, counts: &mut ShardCounts) {
        let asked = self.needed.of(contact.kind());
        let owner = asked.source.then(|| self.owner(contact.src(), contact));
        let second = asked.target.then(|| self.owner(contact.dst(), contact));
        if let Some(owner) = owner {
            let (source, target) = (true, second == Some(owner));
            self.hand(owner, contact, Owned { source, target }, counts);
        }
        if let Some(second) = second.filter(|_| second != owner) {
            let (source, target) = (false, true);
            self.hand(second, contact, Owned { source, target }, counts);
        }
    }

    /// Hands a contact to a shard that owns its source, its target, or both.
    fn hand(&mut self, to: usize, contact: &Contact, owned: Owned, counts: &mut ShardCounts) {
        let lost = !self.mesh.send(to, *contact);
        for owner in Owner::ALL {
            let one = u64::from(owned.by(owner));
            counts.contacts_sent[owner as usize] += one;
            counts.contacts_dropped[owner as usize] += one * u64::from(lost);
        }
    }

    fn owner(&self, addr: Address, contact: &Contact) -> usize {
        let network = match addr.v6 {
            true => Address::new(true, addr.bits & NETWORK_V6),
            false => addr,
        };
        let hash = self.source(network, contact.tags());
        let owner = (u128::from(hash) * self.mesh.workers() as u128) >> 64;
        usize::try_from(owner).expect("below the number of workers")
    }

    /// Whether this shard owns the contact's source and its target.
    #[inline]
    pub fn owned(&self, contact: &Contact) -> Owned {
        let asked = self.needed.of(contact.kind());
        let is_here = |addr| self.owner(addr, contact) == self.id;
        Owned {
            source: asked.source && is_here(contact.src()),
            target: asked.target && is_here(contact.dst()),
        }
    }
}
