//! Who sends a flood: how many sources, and which send most.

use crate::decode::key::Address;
use crate::inspect::detection::TopSource;
use crate::inspect::place::Host;
use crate::splitmix::mix64;
use crate::sys::lines::Line;

const TOP: usize = 8;
/// Registers of the estimator: its standard error is 1.04 / √256 = 6.5 %.
const REGISTERS: usize = 256;

/// The sources of a flood: HyperLogLog (Flajolet, Fusy, Gandouet, Meunier 2007) and Space-Saving (Metwally, Agrawal,
/// El Abbadi 2005).
#[derive(Clone, Debug)]
pub struct Sources {
    ranks: [u8; REGISTERS],
    /// Hosts of most packets, [`TAKEN`]; 0: a free place.
    hosts: Line,
    addrs: [Address; TOP],
    packets: [u32; TOP],
    errors: [u32; TOP],
    /// The place of a host with the fewest packets.
    least: usize,
}

const TAKEN: u64 = 1 << 63;

impl Sources {
    pub fn new() -> Self {
        Self {
            ranks: [0; REGISTERS],
            hosts: Line::default(),
            addrs: [Address::default(); TOP],
            packets: [0; TOP],
            errors: [0; TOP],
            least: 0,
        }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub fn add(&mut self, src: Host, addr: Address, packets: u32, key: u64) {
        let hash = mix64(src.bits() ^ key);
        let register = (hash >> 56) as usize;
        let rank = ((hash << 8 | 0x80).leading_zeros() + 1) as u8;
        self.ranks[register] = self.ranks[register].max(rank);
        let host = src.bits() | TAKEN;
        let mut alike = self.hosts.lower_halves_equal_to(host as u32);
        while alike != 0 {
            let at = alike.trailing_zeros() as usize % TOP;
            if self.hosts.0[at] == host {
                self.packets[at] = self.packets[at].saturating_add(packets);
                if at == self.least {
                    self.find_least();
                }
                return;
            }
            alike &= alike - 1;
        }
        let at = self.least;
        self.errors[at] = self.packets[at];
        self.packets[at] = self.packets[at].saturating_add(packets);
        self.hosts.0[at] = host;
        self.addrs[at] = addr;
        self.find_least();
    }

    /// Finds the place with the fewest packets.
    #[inline]
    fn find_least(&mut self) {
        let mut least = 0;
        for at in 1..TOP {
            if self.packets[at] < self.packets[least] {
                least = at;
            }
        }
        self.least = least;
    }

    /// Number of distinct sources.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an estimate far below 2^52"
    )]
    pub fn count(&self) -> u64 {
        let m = REGISTERS as f64;
        let zeros = self.ranks.iter().filter(|&&rank| rank == 0).count();
        let sum: f64 = self
            .ranks
            .iter()
            .map(|&rank| f64::from(-i32::from(rank)).exp2())
            .sum();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let estimate = match zeros {
            1.. if raw <= 2.5 * m => m * (m / zeros as f64).ln(),
            _ => raw,
        };
        estimate.round() as u64
    }

    /// The sources of most packets whose share is known, descending.
    pub fn top(&self) -> Vec<TopSource> {
        let mut top: Vec<TopSource> = (0..TOP)
            .filter_map(|at| {
                let is_taken = self.hosts.0[at] != 0;
                let addr = is_taken.then(|| self.addrs[at].into())?;
                let (packets, error) = (self.packets[at], self.errors[at]);
                // Of a source that is mostly error nothing is known.
                (error <= packets / 2).then_some(TopSource {
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
    use std::net::{IpAddr, Ipv4Addr};

    fn host(n: u32) -> (Host, IpAddr) {
        let addr: IpAddr = Ipv4Addr::from_bits(n).into();
        (Host::new(addr.into()), addr)
    }

    #[test]
    fn sources_are_counted_within_a_fifth() {
        for many in [1, 10, 100, 1_000, 50_000] {
            let mut sources = Sources::new();
            for n in (0..many).chain(0..many / 2) {
                let (src, addr) = host(n);
                sources.add(src, addr.into(), 1, 0);
            }
            let counted = sources.count();
            let off = counted.abs_diff(many.into());
            assert!(off * 5 <= u64::from(many), "{many}: {counted}");
        }
    }

    #[test]
    fn whoever_sends_most_is_named_with_the_error() {
        let mut sources = Sources::new();
        for round in 0..1_000_u32 {
            for heavy in [1, 2, 3] {
                if round % heavy == 0 {
                    let (src, addr) = host(heavy);
                    sources.add(src, addr.into(), 1, 0);
                }
            }
            let (src, addr) = host(1_000 + round);
            sources.add(src, addr.into(), 1, 0);
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
