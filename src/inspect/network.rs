//! Networks of IPv6 sources: who has one may use any of its addresses.

use super::contact::Contact;
use crate::decode::key::Address;
use crate::decode::vlan;

/// A network that stands for its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// A subnet: what one host has.
    Subnet,
    /// A site: what one customer has.
    Site,
}

/// The first bit of a network's number behind tags of a key.
const SHIFT: u32 = 30;
const _: () = assert!(vlan::MASK >> SHIFT == 0);

impl Network {
    /// The smaller one first.
    pub const ALL: [Self; 2] = [Self::Subnet, Self::Site];

    /// Length of its prefix.
    pub fn prefix(self) -> u8 {
        match self {
            Self::Subnet => 64,
            Self::Site => 48,
        }
    }

    /// Tags of a key with the mark of this network: the network's first address is another source.
    pub fn mark(self, tags: u32) -> u32 {
        tags | (self as u32 + 1) << SHIFT
    }

    /// The network of marked tags.
    pub fn of(tags: u32) -> Option<Self> {
        match tags >> SHIFT {
            1 => Some(Self::Subnet),
            2 => Some(Self::Site),
            _ => None,
        }
    }

    /// The network of an address.
    pub fn address(self, addr: Address) -> Address {
        let host_bits = 128 - u32::from(self.prefix());
        Address::new(addr.v6, addr.bits >> host_bits << host_bits)
    }

    /// The contact as one of the network, whose keyed hash this is.
    pub fn contact(self, contact: &Contact, source: u64) -> Contact {
        let src = self.address(contact.src()).bits;
        Contact {
            source,
            src,
            ..*contact
        }
    }
}

/// Tags of a key without the mark of a network.
pub fn unmarked(tags: u32) -> u32 {
    tags & vlan::MASK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Kind;
    use crate::inspect::contact::ContactKind;
    use crate::inspect::detection::{Phase, Proof, Verdict};
    use crate::inspect::lab::{Lab, S, all_rules, v4};

    const TARGET: u128 = 0x2001_0db8_ffff << 80 | 1;

    /// A scan of ten closed ports by these sources in turn: prefix and verdict of each rising edge of `port_scan`.
    fn scan(sources: impl Fn(u16) -> u128) -> Vec<(Option<u8>, Option<Verdict>)> {
        let (mut lab, dst) = (Lab::new(all_rules()), Address::new(true, TARGET));
        for port in 1..=10 {
            let (src, ts_ns) = (Address::new(true, sources(port)), i64::from(port) * S);
            for kind in [ContactKind::Touch, ContactKind::Refused] {
                let contact = lab.contact(ts_ns, (src, dst), port, kind);
                lab.on(&contact);
            }
        }
        lab.expire(20 * S);
        let all = lab.all(Kind::PortScan).into_iter();
        let started = all.clone().filter(|one| one.phase == Phase::Started);
        started
            .map(|edge| {
                let of = all
                    .clone()
                    .filter(|one| one.subject == edge.subject && one.src_prefix == edge.src_prefix);
                (edge.src_prefix, of.map(|one| one.verdict).max().flatten())
            })
            .collect()
    }

    #[test]
    fn whoever_uses_another_address_of_a_network_for_each_port_is_found() {
        let net = 0x2001_0db8_0001 << 80;
        let scanned = Some(Verdict::Scan);
        let each = |port: u16| net | u128::from(port);
        assert_eq!(
            scan(each),
            [(Some(64), scanned)],
            "not the larger network, too"
        );
        let each = |port: u16| net | u128::from(port) << 64 | 9;
        assert_eq!(scan(each), [(Some(48), scanned)]);
        let each = |port: u16| net + (u128::from(port) << 80);
        assert_eq!(scan(each), [], "networks of their own");
    }

    #[test]
    fn a_handshake_of_one_address_proves_nothing_about_its_network() {
        use ContactKind::{Answered, Established, Touch};
        let mut lab = Lab::new(all_rules());
        let (net, dst) = (0x2001_0db8_0001_u128 << 80, Address::new(true, TARGET));
        for port in 1..=20 {
            let ends = (Address::new(true, net | u128::from(port)), dst);
            for kind in [Touch, Answered, Established] {
                if port == 20 || kind == Touch {
                    let contact = lab.contact(i64::from(port) * S, ends, port, kind);
                    lab.on(&contact);
                }
            }
        }
        lab.finish();
        let all = lab.all(Kind::PortScan);
        assert!(all.iter().all(|one| one.src_prefix == Some(64)), "{all:?}");
        let proof = all.iter().map(|one| one.proof).max();
        assert_eq!(proof, Some(Proof::Answered), "{all:?}");
    }

    #[test]
    fn what_one_address_does_is_told_of_that_address() {
        let one = 0x2001_0db8_0001 << 80 | 7;
        assert_eq!(scan(|_| one), [(None, Some(Verdict::Scan))]);
        let first = 0x2001_0db8_0001 << 80;
        assert_eq!(
            scan(|_| first),
            [(None, Some(Verdict::Scan))],
            "the network's first"
        );
    }

    #[test]
    fn addresses_of_ipv4_have_no_network() {
        let mut lab = Lab::new(all_rules());
        for port in 1..=10 {
            let ends = (v4(0x0a00_0000 + u32::from(port)), v4(0xc633_6401));
            let contact = lab.contact(i64::from(port), ends, port, ContactKind::Touch);
            lab.on(&contact);
        }
        assert!(lab.all(Kind::PortScan).is_empty());
    }

    #[test]
    fn a_network_is_the_first_bits_of_an_address_and_known_by_its_mark() {
        let addr = Address::new(true, 0x2001_0db8_0001_0002_0003_0004_0005_0006);
        let of = |network: Network| network.address(addr).bits;
        assert_eq!(of(Network::Subnet), 0x2001_0db8_0001_0002 << 64);
        assert_eq!(of(Network::Site), 0x2001_0db8_0001 << 80);
        for tags in [0, 1, vlan::MASK] {
            assert_eq!(Network::of(tags), None);
            for network in Network::ALL {
                let marked = network.mark(tags);
                assert_eq!(
                    (Network::of(marked), unmarked(marked)),
                    (Some(network), tags)
                );
            }
        }
    }
}
