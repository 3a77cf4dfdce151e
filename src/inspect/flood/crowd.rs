//! Who sends a flood: how many sources, and which send most.

use crate::decode::key::Address;
use crate::hyperloglog::HyperLogLog;
use crate::inspect::detection::TopSource;
use crate::sys::lines::Line;

const TOP: usize = 8;
/// Registers of the estimate of all: its standard error is 6.5 %.
const REGISTERS: usize = 256;

/// In a flood of many sources, so many packets of hosts without a place let one of them in; a prime, for floods have
/// periods.
const ADMISSION: u32 = 17;
/// A host with a smaller share of all packets than one in so many is not named.
const SHARE: u32 = 64;

/// The sources of a flood: how many, and those that send most.
///
/// A host with a place is counted exactly while it has it. One packet in [`ADMISSION`] of the others gives its host the
/// place of the host with the fewest packets, as in randomized admission (Ben Basat, Einziger, Friedman, Kassner 2017):
/// whoever sends a large share gets in soon and stays, and a spoofed flood, where nobody comes twice, passes by.
#[derive(Clone, Debug)]
pub struct Sources {
    all: HyperLogLog<REGISTERS>,
    /// A part of the mixed bits of hosts with a place.
    names: Line,
    addrs: [Option<Address>; TOP],
    /// Their packets since they have their places.
    packets: [u32; TOP],
    /// What they may have sent before.
    errors: [u32; TOP],
    /// Packets that no present place counts, up to the last admission.
    missed: u32,
    /// How many more are let pass until the next one, and how many there were then.
    left: u32,
    granted: u32,
}

impl Sources {
    pub fn new() -> Self {
        Self {
            all: HyperLogLog::default(),
            names: Line::default(),
            addrs: [None; TOP],
            packets: [0; TOP],
            errors: [0; TOP],
            missed: 0,
            left: 0,
            granted: 0,
        }
    }

    /// `who`: [`Place::who`](crate::inspect::place::Place) of the address.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "parts of it are meant")]
    pub fn add(&mut self, who: u64, addr: Address, packets: u32) {
        self.all.add(who);
        let mut alike = self.names.numbers_equal_to(who as u32);
        while alike != 0 {
            let at = alike.trailing_zeros() as usize % TOP;
            if self.addrs[at] == Some(addr) {
                self.packets[at] = self.packets[at].saturating_add(packets);
                return;
            }
            alike &= alike - 1;
        }
        match self.left.checked_sub(packets) {
            Some(left) => self.left = left,
            None => self.admit(who as u32, addr, packets),
        }
    }

    /// Gives a host a free place, or that of the host with the fewest packets.
    #[inline(never)]
    fn admit(&mut self, name: u32, addr: Address, packets: u32) {
        // Of several, the one that came first: the others may yet send more.
        let least = (0..TOP).min_by_key(|&at| (self.packets[at], self.errors[at]));
        let at = least.expect("there are places");
        self.errors[at] = self.missed();
        self.missed = self.missed().saturating_add(self.packets[at]);
        self.packets[at] = packets;
        self.names.u32s_mut()[at] = name;
        self.addrs[at] = Some(addr);
        if self.addrs.iter().all(Option::is_some) {
            self.granted = ADMISSION - 1;
        }
        self.left = self.granted;
    }

    /// Packets that no present place counts.
    fn missed(&self) -> u32 {
        self.missed.saturating_add(self.granted - self.left)
    }

    /// Estimated number of distinct sources.
    pub fn count(&self) -> u64 {
        self.all.estimate()
    }

    /// The sources that send a large share, descending.
    pub fn top(&self) -> Vec<TopSource> {
        let counted = self.packets.iter().map(|&packets| u64::from(packets));
        let all = counted.sum::<u64>() + u64::from(self.missed());
        let mut top: Vec<TopSource> = (0..TOP)
            .filter_map(|at| {
                let addr = self.addrs[at]?.into();
                let (packets, error) = (self.packets[at], self.errors[at]);
                (u64::from(packets) * u64::from(SHARE) >= all).then_some(TopSource {
                    addr,
                    packets,
                    error,
                })
            })
            .collect();
        top.sort_unstable_by_key(|one| (std::cmp::Reverse(one.packets), one.addr));
        top
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splitmix::mix64;
    use std::net::{IpAddr, Ipv4Addr};

    fn host(n: u32) -> (u64, IpAddr) {
        (mix64(n.into()), Ipv4Addr::from_bits(n).into())
    }

    #[test]
    fn sources_are_counted_within_a_fifth() {
        for many in [1, 10, 100, 1_000, 50_000] {
            let mut sources = Sources::new();
            for n in (0..many).chain(0..many / 2) {
                let (src, addr) = host(n);
                sources.add(src, addr.into(), 1);
            }
            let counted = sources.count();
            let off = counted.abs_diff(many.into());
            assert!(off * 5 <= u64::from(many), "{many}: {counted}");
        }
    }

    #[test]
    fn whoever_joins_a_spoofed_flood_late_is_named_with_what_it_may_have_sent_before() {
        let mut sources = Sources::new();
        let mut sent = 0_u32;
        for n in 0..100_000 {
            let is_heavy = n >= 50_000 && n % 20 == 0;
            sent += u32::from(is_heavy);
            let (who, addr) = host(if is_heavy { 1 } else { 1_000 + n });
            sources.add(who, addr.into(), 1);
        }
        let top = sources.top();
        assert_eq!(top.len(), 1, "{top:?}");
        let TopSource {
            addr,
            packets,
            error,
        } = top[0];
        assert_eq!(addr, host(1).1);
        assert!(packets <= sent && sent <= packets + error, "{top:?}");
        assert!(packets >= sent / 10 * 9, "{top:?}");
    }

    #[test]
    fn whoever_sends_most_is_named_with_the_error() {
        let mut sources = Sources::new();
        for round in 0..1_000_u32 {
            for heavy in [1, 2, 3] {
                if round % heavy == 0 {
                    let (src, addr) = host(heavy);
                    sources.add(src, addr.into(), 1);
                }
            }
            let (src, addr) = host(1_000 + round);
            sources.add(src, addr.into(), 1);
        }
        let top = sources.top();
        for (place, (heavy, packets)) in [(1, 1_000), (2, 500), (3, 334)].into_iter().enumerate() {
            assert_eq!(top[place].addr, host(heavy).1);
            let TopSource {
                packets: said,
                error,
                ..
            } = top[place];
            assert!(
                said >= packets && said - error <= packets,
                "{heavy}: {said} {error}"
            );
        }
    }
}
