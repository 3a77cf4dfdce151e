//! The ring against a list of what it holds.

use super::*;
use crate::splitmix::splitmix64;

/// Hashes of a few buckets and tags, so that both buckets of a key fill up.
fn hash_of(key: u64) -> u64 {
    let mut state = key;
    let mixed = splitmix64(&mut state);
    mixed >> 61 << 61 | mixed & 0x7
}

fn found(ring: &Ring<u64>, key: u64) -> Vec<u32> {
    let hits = ring.hits(hash_of(key));
    let own = hits.as_slice().iter().copied();
    own.filter(|&at| *ring.get(at) == key).collect()
}

/// Random insertions, departures and exchanges; `start` is the first number. Returns how many were forgotten and
/// exchanged.
fn against_a_list(start: u32, capacity: usize, steps: u64) -> (u32, u32) {
    let mut ring = Ring::new(capacity, 0);
    ring.tail = start;
    let mut held: Vec<(u32, u64, bool)> = Vec::new();
    let (mut state, mut forgotten, mut exchanged) = (u64::from(start), 0, 0);
    for key in 0..steps {
        let random = splitmix64(&mut state);
        if ring.is_full() || (random.is_multiple_of(3) && !held.is_empty()) {
            let other = usize::try_from(random >> 8).expect("64 bits") % held.len().min(16);
            if random.is_multiple_of(5) && other > 0 {
                // The oldest is kept in the place of another.
                let (kept, lost) = (held[0], held[other]);
                ring.exchange((kept.0, hash_of(kept.1)), (lost.0, hash_of(lost.1)));
                held[other] = (lost.0, kept.1, kept.2);
                exchanged += 1;
            }
            let leaving = held.len().min(1 + usize::from(random.is_multiple_of(7)));
            held.drain(..leaving);
            ring.leave(number(leaving));
            continue;
        }
        let hash = hash_of(key);
        let at = loop {
            if let Some(at) = ring.insert(hash, key) {
                break at;
            }
            let rivals = ring.rivals(hash);
            assert_eq!(rivals.as_slice().len(), 2 * WAYS, "both buckets are full");
            let victim = rivals.as_slice()[0];
            ring.forget(hash, victim);
            let one = held.iter_mut().find(|(at, ..)| *at == victim);
            one.expect("rivals are live").2 = false;
            forgotten += 1;
        };
        assert_eq!(at, ring.head().wrapping_sub(1));
        held.push((at, key, true));
        assert_eq!(ring.len(), held.len());
        if key % 64 == 0 {
            for &(at, key, known) in &held {
                let expected = if known { vec![at] } else { vec![] };
                assert_eq!((found(&ring, key), *ring.get(at)), (expected, key));
                assert!(!known || ring.vacancy(hash_of(key)).is_none());
            }
            assert!(found(&ring, key + 1).is_empty());
            let mut in_runs = Vec::new();
            while in_runs.len() < held.len() {
                let from = ring.tail().wrapping_add(number(in_runs.len()));
                in_runs.extend_from_slice(ring.run_mut(from));
            }
            assert!(in_runs.iter().eq(held.iter().map(|(_, key, _)| key)));
            assert!(ring.run_mut(ring.head()).is_empty());
        }
    }
    (forgotten, exchanged)
}

#[test]
fn every_entry_is_found_until_it_leaves_or_is_forgotten() {
    let (forgotten, exchanged) = against_a_list(1, 1000, 100_000);
    assert!(forgotten > 0 && exchanged > 0, "{forgotten}, {exchanged}");
    let (_, exchanged) = against_a_list(77, 20, 20_000);
    assert!(exchanged > 0);
}

#[test]
fn numbers_wrap_around() {
    against_a_list(u32::MAX - 9_000, 1000, 60_000);
}

#[test]
fn what_left_takes_no_place_in_its_bucket() {
    let mut ring = Ring::new(64, 0);
    for key in 0..10_000_u64 {
        if ring.is_full() {
            ring.leave(1);
        }
        // All in one bucket and its second.
        if ring.insert(1 << 32 | 3, key).is_none() {
            assert_eq!(ring.rivals(1 << 32 | 3).as_slice().len(), 2 * WAYS);
            ring.leave(1);
        }
        assert!(ring.hits(1 << 32 | 3).as_slice().len() <= 2 * WAYS);
    }
    assert!(ring.vacancy(1 << 32 | 3).is_none());
    while ring.len() > 0 {
        ring.leave(1);
    }
    assert!(ring.vacancy(1 << 32 | 3).is_some());
}
