//! Joins a TCP header that was cut in two: a tiny first fragment and the fragment at offset 8.

use super::key::Hasher;
use crate::decode::key::Key;
use crate::decode::packet::{Packet, Tcp, Transport};
use crate::snapshot::snapshot;

/// A half waits this long for the other.
const JOIN_NS: i64 = 30_000_000_000;
const WAYS: usize = 4;

#[derive(Clone, Copy, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
enum Half {
    Head([u8; 8]),
    Tail([u8; 6], u32),
}

#[derive(Clone, Copy, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
struct FragmentEntry {
    key: Key,
    id: u32,
    interface: u16,
    since_ns: i64,
    half: Half,
}

/// Halves of headers, four to a bucket.
pub(crate) struct Fragments {
    buckets: Vec<[Option<FragmentEntry>; WAYS]>,
}

snapshot! {
    [] Fragments;
    lists: buckets;
}

fn join(head: [u8; 8], tail: [u8; 6], payload_len: u32) -> Tcp {
    let header = u32::from(tail[4] >> 4) * 4;
    Tcp {
        src_port: u16::from_be_bytes([head[0], head[1]]),
        dst_port: u16::from_be_bytes([head[2], head[3]]),
        seq: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        ack: u32::from_be_bytes([tail[0], tail[1], tail[2], tail[3]]),
        flags: tail[5],
        payload_len: payload_len.saturating_sub(header.saturating_sub(8)),
    }
}

impl Fragments {
    /// Reserves all memory for `capacity` halves.
    pub fn new(capacity: usize) -> Self {
        Self {
            buckets: vec![[None; WAYS]; capacity.div_ceil(WAYS).max(1)],
        }
    }

    pub fn memory_bytes(capacity: usize) -> u64 {
        (capacity.div_ceil(WAYS).max(1) * WAYS * size_of::<Option<FragmentEntry>>()) as u64
    }

    /// The whole header, if `packet` completes one; else stores its half. `key` is that of its addresses, with its hash. `evicted` counts live halves that
    /// were evicted.
    pub fn join(
        &mut self,
        (hasher, hash): (&Hasher, u64),
        key: &Key,
        packet: &Packet,
        watermark_ns: i64,
        evicted: &mut u64,
    ) -> Option<Tcp> {
        let (id, half) = match packet.transport {
            Transport::TinyFragment { id, head } => (id, Half::Head(head)),
            Transport::SecondFragment {
                id,
                tail,
                payload_len,
            } => (id, Half::Tail(tail, payload_len)),
            _ => return None,
        };
        let key = *key;
        let hash = hasher.far(hash, id ^ u32::from(packet.interface) << 16);
        let count = self.buckets.len() as u64;
        let place = usize::try_from(((hash >> 32) * count) >> 32).expect("below the bucket count");
        let bucket = &mut self.buckets[place];
        let live = |entry: &FragmentEntry| watermark_ns < entry.since_ns.saturating_add(JOIN_NS);
        let same = |entry: &FragmentEntry| {
            entry.key == key && entry.id == id && entry.interface == packet.interface && live(entry)
        };
        let known = bucket
            .iter()
            .position(|entry| entry.as_ref().is_some_and(same));
        let entry = FragmentEntry {
            key,
            id,
            interface: packet.interface,
            since_ns: watermark_ns,
            half,
        };
        if let Some(way) = known {
            let kept = bucket[way].as_ref().map(|entry| entry.half);
            let joined = match (kept, half) {
                (Some(Half::Head(head)), Half::Tail(tail, payload_len))
                | (Some(Half::Tail(tail, payload_len)), Half::Head(head)) => {
                    Some(join(head, tail, payload_len))
                }
                _ => None,
            };
            bucket[way] = joined.is_none().then_some(entry);
            return joined;
        }
        let free = bucket
            .iter()
            .position(|entry| !entry.as_ref().is_some_and(live));
        let way = free.unwrap_or_else(|| {
            *evicted += 1;
            let since = |way: &usize| bucket[*way].map_or(i64::MIN, |entry| entry.since_ns);
            (0..WAYS).min_by_key(since).unwrap_or(0)
        });
        bucket[way] = Some(entry);
        None
    }
}
