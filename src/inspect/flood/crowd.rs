//! Who sends a flood: how many sources, and which send most.

use crate::decode::key::Address;
use crate::hyperloglog::HyperLogLog;
use crate::inspect::detection::TopSource;
use crate::sys::lines::Line;

/// Sources that are named at most.
const TOP: usize = 8;
/// Places are in sets of eight; a hash chooses the set.
const WAYS: usize = 8;
const SETS: usize = 8;
const PLACES: usize = SETS * WAYS;
/// Registers of the estimate of all: its standard error is 6.5 %.
const REGISTERS: usize = 256;

/// Every so many packets of hosts without a place, about, one of them asks for one.
const ASKS: u32 = 32;
/// A packet of a host with a place is worth so many of others': whoever sends more than one in so many stays.
const WORTH: u32 = 64;
/// A host with a smaller share of all packets than one in so many is not named. There are as many places: whoever sends
/// more finds one.
const SHARE: u64 = PLACES as u64;

/// The sources of a flood: how many, and those that send most.
///
/// A host with a place is counted exactly while it has it, and each of its packets is to its credit. Now and then a packet
/// of another host asks for a place: it gets that of the host with the least credit of its set if that has none left,
/// else the credit shrinks. Whoever sends a large share gets in soon and stays, as in randomized admission (Ben Basat,
/// Einziger, Friedman, Kassner 2017), and a spoofed flood, where nobody comes twice, passes by.
#[derive(Clone, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Sources {
    all: HyperLogLog<REGISTERS>,
    /// A part of the mixed bits of hosts with a place, by set.
    names: [Line; SETS],
    addrs: [Option<Address>; PLACES],
    /// Their packets since they have their places.
    packets: [u32; PLACES],
    /// [`WORTH`] for each, less what asked for the place in vain.
    credits: [u32; PLACES],
    /// What they may have sent before.
    errors: [u32; PLACES],
    /// Packets that no present place counts, up to the last one that asked.
    missed: u32,
    /// How many more are let pass until the next one, and how many there were then.
    left: u32,
    granted: u32,
    /// How many hosts asked so far, up to [`TOP`]: the first ones wait for nothing.
    asked: usize,
}

impl Sources {
    pub fn new() -> Self {
        Self {
            all: HyperLogLog::default(),
            names: [Line::default(); SETS],
            addrs: [None; PLACES],
            packets: [0; PLACES],
            credits: [0; PLACES],
            errors: [0; PLACES],
            missed: 0,
            left: 0,
            granted: 0,
            asked: 0,
        }
    }

    /// `who`: [`Place::who`](crate::inspect::place::Place) of the address.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "parts of it are meant")]
    pub fn add(&mut self, who: u64, addr: Address, packets: u32) {
        self.all.add(who);
        let set = set_of(who);
        let mut alike = self.names[set].numbers_equal_to(who as u32);
        while alike != 0 {
            let at = set * WAYS + alike.trailing_zeros() as usize % WAYS;
            if self.addrs[at] == Some(addr) {
                self.packets[at] = self.packets[at].saturating_add(packets);
                self.credits[at] = self.credits[at].saturating_add(packets.saturating_mul(WORTH));
                return;
            }
            alike &= alike - 1;
        }
        match self.left.checked_sub(packets) {
            Some(left) => self.left = left,
            None => self.ask(who, addr, packets),
        }
    }

    /// A host asks for a place.
    #[inline(never)]
    #[allow(clippy::cast_possible_truncation, reason = "parts of it are meant")]
    fn ask(&mut self, who: u64, addr: Address, packets: u32) {
        let set = set_of(who);
        // A free place has no credit.
        let least = (0..WAYS).min_by_key(|way| self.credits[set * WAYS + way]);
        let way = least.expect("a set has places");
        let at = set * WAYS + way;
        let missed = self.missed();
        if let Some(credit) = self.credits[at].checked_sub(packets.max(ASKS)) {
            self.credits[at] = credit;
            self.missed = missed.saturating_add(packets);
        } else {
            self.errors[at] = missed;
            self.missed = missed.saturating_add(self.packets[at]);
            self.packets[at] = packets;
            self.credits[at] = packets.saturating_mul(WORTH);
            self.names[set].u32s_mut()[way] = who as u32;
            self.addrs[at] = Some(addr);
        }
        self.asked = TOP.min(self.asked + 1);
        // As chance has it, for floods have periods.
        self.granted = match self.asked {
            TOP => who as u32 >> 16 & (2 * ASKS - 1),
            _ => 0,
        };
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
        let mut top: Vec<TopSource> = (0..PLACES)
            .filter_map(|at| {
                let addr = self.addrs[at]?.into();
                let (packets, error) = (self.packets[at], self.errors[at]);
                (u64::from(packets) * SHARE >= all).then_some(TopSource {
                    addr,
                    packets,
                    error,
                })
            })
            .collect();
        top.sort_unstable_by_key(|one| (std::cmp::Reverse(one.packets), one.addr));
        top.truncate(TOP);
        top
    }
}

/// The set of a host: other bits than those of its name and its register.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "below the number of sets")]
fn set_of(who: u64) -> usize {
    (who >> 40) as usize % SETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splitmix::mix64;
    use std::collections::BTreeMap;
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

    /// Whoever sends, by the number of the packet: the top sources that come of it, after they were checked.
    fn top_of(packets: u32, sender: impl Fn(u32) -> u32) -> Vec<(IpAddr, u32)> {
        let (mut sources, mut sent) = (Sources::new(), BTreeMap::new());
        for n in 0..packets {
            let (who, addr) = host(sender(n));
            sources.add(who, addr.into(), 1);
            *sent.entry(addr).or_insert(0) += 1;
        }
        let top = sources.top();
        for one in &top {
            let sent = sent[&one.addr];
            assert!(
                one.packets <= sent && sent <= one.packets + one.error,
                "{one:?} {sent}"
            );
        }
        top.iter().map(|one| (one.addr, one.packets)).collect()
    }

    #[test]
    fn whoever_joins_seven_that_send_much_is_named() {
        // Seven begin and go on slowly, thousands send a little, and one sends nearly half of the rest.
        let sender = |n: u32| match (n < 10_000, n % 20) {
            (true, _) => n % 7,
            (false, 0) => n / 20 % 7,
            (false, turn) if turn % 2 == 0 => 7,
            (false, _) => 1_000 + n % 5_497,
        };
        let top = top_of(80_000, sender);
        assert_eq!(top[0].0, host(7).1, "{top:?}");
        assert!(top[0].1 > 70_000 * 9 / 20 * 95 / 100, "{top:?}");
        assert_eq!(top.len(), 8, "{top:?}");
    }

    #[test]
    fn whoever_sends_most_is_named_first_though_eight_that_send_much_came_before() {
        for many in [8, 12, 16] {
            let sender = |n: u32| match (n < 1_000, n % 20) {
                (true, _) => n % many,
                (false, turn) if turn % 2 == 0 => 100,
                (false, turn) if turn % 4 == 1 => n / 4 % many,
                (false, _) => 1_000 + n % 397,
            };
            let top = top_of(8_000, sender);
            assert_eq!(top[0].0, host(100).1, "{many}: {top:?}");
            assert!(top[0].1 > 3_000, "{many}: {top:?}");
            assert_eq!(top.len(), 8, "{many}: {top:?}");
        }
    }

    #[test]
    fn no_period_hides_whoever_sends_nearly_all() {
        for period in 2..70 {
            for phase in [0, 1, period / 2] {
                let sender = |n: u32| match n % period == phase {
                    true => 1_000 + n,
                    false => 1,
                };
                let spoofed = |n: u32| if n < 100 { 500_000 + n } else { sender(n) };
                let top = top_of(20_000, spoofed);
                assert_eq!(
                    top.first().map(|one| one.0),
                    Some(host(1).1),
                    "{period} {phase}"
                );
            }
        }
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
