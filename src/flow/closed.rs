//! Connections that closed lately: a FIN or an ACK that still comes belongs to them and opens no flow.

use super::key::Hasher;
use super::table::ring::Ring;
use crate::decode::key::Key;
use crate::snapshot::snapshot;

/// Twice the maximum segment lifetime of RFC 9293, 3.4.2, halved as all systems do: 2 minutes. A FIN that nobody
/// acknowledges is sent again for about as long (`tcp_orphan_retries` of Linux).
pub(super) const BEHIND_NS: i64 = 120_000_000_000;
/// Connections of a table for each close that is kept.
const CONNECTIONS_EACH: usize = 16;
const CLOSES_MIN: usize = 64;
const CLOSES_MAX: usize = 65_536;

#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
struct Close {
    /// Of the key. Two keys share one in 2^64 cases.
    hash: u64,
    closed_ns: i64,
}

/// The last closes of a table. A full one forgets the oldest.
pub(crate) struct Closed {
    ring: Ring<Close>,
    hasher: Hasher,
}

snapshot! {
    [] Closed;
    values: ring;
    fixed: hasher;
}

impl Closed {
    fn capacity_for(connections: usize) -> usize {
        (connections / CONNECTIONS_EACH).clamp(CLOSES_MIN, CLOSES_MAX)
    }

    pub fn new(connections: usize, hasher: Hasher) -> Self {
        let capacity = Self::capacity_for(connections);
        Self {
            ring: Ring::new(capacity, Close::default()),
            hasher,
        }
    }

    pub fn memory_bytes(connections: usize) -> u64 {
        Ring::<Close>::memory_bytes(Self::capacity_for(connections))
    }

    pub fn prefault(&mut self) {
        self.ring.prefault();
    }

    /// Notes that a connection closed, or that something still comes of it.
    pub fn note(&mut self, key: &Key, closed_ns: i64) {
        let hash = self.hasher.hash(key);
        let hits = self.ring.hits(hash);
        let known = |at: &&u32| self.ring.get(**at).hash == hash;
        if let Some(&at) = hits.as_slice().iter().find(known) {
            let close = self.ring.get_mut(at);
            close.closed_ns = close.closed_ns.max(closed_ns);
            return;
        }
        if self.ring.is_full() {
            self.ring.leave(1);
        }
        let close = Close { hash, closed_ns };
        while self.ring.insert(hash, close).is_none() {
            let rivals = self.ring.rivals(hash);
            let age = |at: &u32| at.wrapping_sub(self.ring.tail());
            let oldest = rivals.as_slice().iter().copied().min_by_key(age);
            let oldest = oldest.expect("what is full holds entries");
            self.ring.forget(self.ring.get(oldest).hash, oldest);
        }
    }

    /// Whether a connection of this hash closed less than [`BEHIND_NS`] ago.
    pub fn holds(&self, hash: u64, now_ns: i64) -> bool {
        let hits = self.ring.hits(hash);
        let all = hits.as_slice().iter().map(|&at| self.ring.get(at));
        all.filter(|close| close.hash == hash)
            .any(|close| now_ns < close.closed_ns.saturating_add(BEHIND_NS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> Key {
        Key::between(false, (u128::from(number), 1), 6)
    }

    #[test]
    fn a_close_is_known_for_two_minutes_and_the_newest_are_kept() {
        let hasher = Hasher::new([3, 5]);
        let mut closed = Closed::new(CONNECTIONS_EACH * 1000, hasher);
        let holds =
            |closed: &Closed, number, now_ns| closed.holds(hasher.hash(&key(number)), now_ns);
        for number in 0..5000 {
            closed.note(&key(number), 7);
            assert!(holds(&closed, number, 7));
            assert!(closed.holds(hasher.hash(&key(number).reversed()), 7));
        }
        assert!(holds(&closed, 4999, 6 + BEHIND_NS) && !holds(&closed, 4999, 7 + BEHIND_NS));
        let kept = (0..5000)
            .filter(|&number| holds(&closed, number, 7))
            .count();
        assert!((950..=1000).contains(&kept), "{kept}");
        assert!(!holds(&closed, 3999, 7) && !holds(&closed, 5000, 7));
    }
}
