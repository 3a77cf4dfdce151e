//! Blocked networks in the two maps that the program reads.
//!
//! A key is the length of the prefix in bits and the first address of the network; that of IPv4 has four more bytes, so
//! that the kernel puts values at multiples of eight, as atomic additions need it. A value is the end of the block by
//! CLOCK_MONOTONIC, packets, bytes, the length of the prefix again, four zeros.

use crate::respond::block::firewall::Element;
use crate::sys::bpf::{Layout, Map};
use ipnet::IpNet;
use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// Offsets in a value.
pub const END_NS: i16 = 0;
/// Of the count of packets.
pub const PACKETS: i16 = 8;
/// Of the count of bytes.
pub const BYTES: i16 = 16;
/// Of the length of the prefix.
pub const PREFIX: i16 = 24;
const VALUE_BYTES: usize = 32;
pub const V4_KEY_BYTES: usize = 12;
pub const V6_KEY_BYTES: usize = 20;
/// Elements of one call.
const BATCH: usize = 1_024;
/// `ENOTSUPP`, which the kernel returns though it is not for programs.
const ENOTSUPP: i32 = 524;
const SECOND_NS: u64 = 1_000_000_000;

/// An element's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its end by CLOCK_MONOTONIC.
    pub end_ns: i64,
    /// Packets and bytes that were dropped.
    pub dropped: (u64, u64),
}

impl Value {
    fn bytes(self, net: IpNet) -> [u8; VALUE_BYTES] {
        let mut bytes = [0; VALUE_BYTES];
        bytes[..8].copy_from_slice(&self.end_ns.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.dropped.0.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.dropped.1.to_ne_bytes());
        bytes[24..28].copy_from_slice(&u32::from(net.prefix_len()).to_ne_bytes());
        bytes
    }

    /// `None`: not of this network.
    fn parse(bytes: &[u8], net: IpNet) -> Option<Self> {
        let double = |at: usize| {
            bytes
                .get(at..)?
                .first_chunk()
                .map(|one| u64::from_ne_bytes(*one))
        };
        let value = Self {
            end_ns: i64::try_from(double(0)?).ok()?,
            dropped: (double(8)?, double(16)?),
        };
        (bytes.get(24..) == Some(&value.bytes(net)[24..])).then_some(value)
    }
}

/// Which of the two maps has `net`: that of IPv4 or of IPv6.
fn family(net: IpNet) -> usize {
    usize::from(net.addr().is_ipv6())
}

fn key(net: IpNet) -> Vec<u8> {
    let mut key = u32::from(net.prefix_len()).to_ne_bytes().to_vec();
    match net.network() {
        IpAddr::V4(address) => key.extend(address.octets()),
        IpAddr::V6(address) => key.extend(address.octets()),
    }
    key.resize(KEY_BYTES[family(net)], 0);
    key
}

/// `None`: no network.
fn net(key: &[u8]) -> Option<IpNet> {
    let (bits, address) = key.split_first_chunk()?;
    let bits = u8::try_from(u32::from_ne_bytes(*bits)).ok()?;
    let address = match key.len() {
        V4_KEY_BYTES => IpAddr::from(*address.first_chunk::<4>()?),
        _ => IpAddr::from(*address.first_chunk::<16>()?),
    };
    IpNet::new(address, bits).ok()
}

const KEY_BYTES: [usize; 2] = [V4_KEY_BYTES, V6_KEY_BYTES];

/// The layout of both maps, for so many elements.
fn layouts(elements_max: u32) -> [Layout; 2] {
    KEY_BYTES.map(|key| Layout {
        key,
        value: VALUE_BYTES,
        elements_max,
    })
}

/// Names of the maps: in a folder of pins, and for programs that list maps.
pub const NAMES: [&str; 2] = ["blocked4", "blocked6"];

/// The two maps.
#[derive(Debug)]
pub struct Elements {
    maps: [Map; 2],
    /// The kernel takes and gives several elements at once.
    in_batches: Cell<bool>,
}

impl Elements {
    /// Of maps that have been made or opened.
    pub fn of(maps: [Map; 2]) -> Self {
        Self {
            maps,
            in_batches: Cell::new(true),
        }
    }

    /// Makes one map of a family, 0 or 1, for so many elements.
    ///
    /// # Errors
    ///
    /// Those of bpf(2).
    pub fn make(family: usize, elements_max: u32) -> io::Result<Map> {
        Map::new(layouts(elements_max)[family], NAMES[family])
    }

    /// Whether a map can be that of this family. It may have room for more elements or fewer.
    pub fn fits(map: &Map, family: usize) -> bool {
        map.layout() == layouts(map.layout().elements_max)[family]
    }

    /// The map of this family with this name; `None`: it is no map of ours.
    pub fn pinned(path: &Path, family: usize) -> Option<Map> {
        let map = Map::pinned(path).ok();
        map.filter(|map| Self::fits(map, family))
    }

    /// As on a kernel that takes one element at once.
    #[cfg(test)]
    pub fn one_by_one(&self) {
        self.in_batches.set(false);
    }

    pub fn maps(&self) -> &[Map; 2] {
        &self.maps
    }

    /// Adds or replaces elements that differ; returns the error number of each that was refused.
    pub fn add(&self, all: &[(IpNet, Value)]) -> Vec<Result<(), i32>> {
        let nets: Vec<IpNet> = all.iter().map(|(net, _)| *net).collect();
        let value = |at: usize| all[at].1.bytes(all[at].0);
        self.each(&nets, |map, places| {
            let keys: Vec<u8> = places.iter().flat_map(|&at| key(nets[at])).collect();
            let values: Vec<u8> = places.iter().flat_map(|&at| value(at)).collect();
            match places {
                [only] if !self.in_batches.get() => one(map.update(&keys, &value(*only))),
                _ => map.update_batch(&keys, &values),
            }
        })
    }

    /// Removes elements that differ; what is not there has been removed. Returns the error number of each that was
    /// refused.
    pub fn remove(&self, nets: &[IpNet]) -> Vec<Result<(), i32>> {
        let mut results = self.each(nets, |map, places| {
            let keys: Vec<u8> = places.iter().flat_map(|&at| key(nets[at])).collect();
            match places {
                [_] if !self.in_batches.get() => one(map.delete(&keys)),
                _ => map.delete_batch(&keys),
            }
        });
        for result in &mut results {
            if *result == Err(libc::ENOENT) {
                *result = Ok(());
            }
        }
        results
    }

    /// Removes every element. The inner error: the error number of the first that was refused.
    ///
    /// # Errors
    ///
    /// They cannot be listed: none was removed.
    pub fn remove_all(&self) -> io::Result<Result<(), i32>> {
        let nets: Vec<IpNet> = self.list()?.into_iter().map(|(net, _)| net).collect();
        let refused = self.remove(&nets).into_iter().find_map(Result::err);
        Ok(refused.map_or(Ok(()), Err))
    }

    /// Calls `change` with the map and the places of networks of its family: several at once, or one. It returns how
    /// many were done, and why the next one was not.
    fn each(
        &self,
        nets: &[IpNet],
        change: impl Fn(&Map, &[usize]) -> (usize, Option<io::Error>),
    ) -> Vec<Result<(), i32>> {
        let mut results = vec![Ok(()); nets.len()];
        for (at, map) in self.maps.iter().enumerate() {
            let places: Vec<usize> = (0..nets.len())
                .filter(|&net| family(nets[net]) == at)
                .collect();
            let mut left = places.as_slice();
            while !left.is_empty() {
                let room = if self.in_batches.get() { BATCH } else { 1 };
                let some = &left[..left.len().min(room)];
                let (done, error) = change(map, some);
                let errno = error.map(|error| error.raw_os_error().unwrap_or(libc::EIO));
                match errno {
                    // The command is not there.
                    Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP)
                        if done == 0 && self.in_batches.get() =>
                    {
                        self.in_batches.set(false);
                    }
                    Some(errno) => {
                        results[some[done]] = Err(errno);
                        left = &left[done + 1..];
                    }
                    None => left = &left[some.len()..],
                }
            }
        }
        results
    }

    /// The value of an element, if it is there.
    pub fn get(&self, net: IpNet) -> Option<Value> {
        let mut value = [0; VALUE_BYTES];
        let map = &self.maps[family(net)];
        map.lookup(&key(net), &mut value).ok()?;
        Value::parse(&value, net)
    }

    /// Every element that is not over, with its end by CLOCK_MONOTONIC.
    ///
    /// # Errors
    ///
    /// Those of bpf(2).
    pub fn alive(&self, now_ns: i64) -> io::Result<Vec<(i64, Element)>> {
        let all = self.list()?.into_iter();
        let alive = all.filter_map(|(net, value)| {
            let value = value.filter(|value| value.end_ns > now_ns)?;
            let left_s = u64::try_from(value.end_ns - now_ns).unwrap_or(0);
            // Nobody is blocked for longer than was said.
            let left_s = left_s / SECOND_NS;
            let element = Element {
                net,
                expires_s: u32::try_from(left_s).unwrap_or(u32::MAX),
                dropped: Some(value.dropped),
            };
            Some((value.end_ns, element))
        });
        Ok(alive.collect())
    }

    /// Every element; `None` for a value that is not of its network.
    ///
    /// # Errors
    ///
    /// Those of bpf(2).
    pub fn list(&self) -> io::Result<Vec<(IpNet, Option<Value>)>> {
        let mut all = Vec::new();
        for map in &self.maps {
            let mut take = |key: &[u8], value: &[u8]| {
                if let Some(net) = net(key) {
                    all.push((net, Value::parse(value, net)));
                }
            };
            match self.in_batches.get() {
                true => match list_in_batches(map, &mut take) {
                    Err(error) if is_missing(&error) => {
                        self.in_batches.set(false);
                        list_by_key(map, &mut take)?;
                    }
                    other => other?,
                },
                false => list_by_key(map, &mut take)?,
            }
        }
        // A walk begins again where an element was removed meanwhile.
        all.sort_by_key(|(net, _)| *net);
        all.dedup_by_key(|(net, _)| *net);
        Ok(all)
    }
}

fn one(done: io::Result<()>) -> (usize, Option<io::Error>) {
    match done {
        Ok(()) => (1, None),
        Err(error) => (0, Some(error)),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP)
    )
}

/// Rounds that a walk may take: an element of a full map each, and as many again.
fn rounds(map: &Map) -> u64 {
    2 * u64::from(map.layout().elements_max) + 1
}

fn list_in_batches(map: &Map, take: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
    let key_bytes = map.layout().key;
    let mut keys = vec![0; BATCH * key_bytes];
    let mut values = vec![0; BATCH * VALUE_BYTES];
    let (mut from, mut to) = (None, vec![0; key_bytes]);
    for _ in 0..rounds(map) {
        let start = from.as_deref();
        let (count, is_last) = map.lookup_batch((start, &mut to), &mut keys, &mut values)?;
        let pairs = keys.chunks(key_bytes).zip(values.chunks(VALUE_BYTES));
        pairs.take(count).for_each(|(key, value)| take(key, value));
        if is_last {
            break;
        }
        from = Some(to.clone());
    }
    Ok(())
}

fn list_by_key(map: &Map, take: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
    let mut value = [0; VALUE_BYTES];
    let (mut key, mut next) = (None, vec![0; map.layout().key]);
    for _ in 0..rounds(map) {
        if !map.next_key(key.as_deref(), &mut next)? {
            break;
        }
        match map.lookup(&next, &mut value) {
            Ok(()) => take(&next, &value),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
        key = Some(next.clone());
    }
    Ok(())
}
