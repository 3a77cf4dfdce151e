//! Networks, asked for those that cover an address.

use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};

/// A set of networks.
#[derive(Clone, Debug, Default)]
pub struct NetSet {
    nets: BTreeSet<IpNet>,
    /// How many there are of each family and length.
    lengths: BTreeMap<(bool, u8), usize>,
}

fn family(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(_))
}

impl NetSet {
    pub fn insert(&mut self, net: IpNet) {
        if self.nets.insert(net) {
            *self
                .lengths
                .entry((family(&net), net.prefix_len()))
                .or_insert(0) += 1;
        }
    }

    pub fn remove(&mut self, net: &IpNet) {
        if !self.nets.remove(net) {
            return;
        }
        let key = (family(net), net.prefix_len());
        if let Some(count) = self.lengths.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&key);
            }
        }
    }

    /// The largest network of the set that has all of `net`.
    pub fn covers(&self, net: &IpNet) -> Option<IpNet> {
        let family = family(net);
        let lengths = self.lengths.range((family, 0)..=(family, net.prefix_len()));
        let mut larger = lengths.filter_map(|(&(_, length), _)| {
            let larger = IpNet::new(net.network(), length).ok()?.trunc();
            self.nets.get(&larger).copied()
        });
        larger.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn net(bits: u32, length: u8) -> IpNet {
        let address = Ipv4Addr::from(bits << 24 | 0x0001_0203);
        let net = IpNet::new(address.into(), length).expect("at most 32");
        net.trunc()
    }

    proptest! {
        #[test]
        fn the_largest_that_covers_is_that_of_a_list(
            changes in prop::collection::vec((0_u32..6, 5_u8..=32, any::<bool>()), 0..40),
            asked in (0_u32..6, 5_u8..=32),
        ) {
            let (mut set, mut list) = (NetSet::default(), Vec::new());
            for (bits, length, adds) in changes {
                let one = net(bits, length);
                list.retain(|it| *it != one);
                match adds {
                    true => {
                        set.insert(one);
                        set.insert(one);
                        list.push(one);
                    }
                    false => set.remove(&one),
                }
            }
            let asked = net(asked.0, asked.1);
            let covers = list.iter().filter(|one| one.contains(&asked));
            let largest = covers.min_by_key(|one| one.prefix_len()).copied();
            prop_assert_eq!(set.covers(&asked), largest);
            prop_assert!(set.lengths.values().sum::<usize>() == list.len());
        }
    }

    #[test]
    fn families_are_apart() {
        let mut set = NetSet::default();
        set.insert("::/0".parse().expect("a network"));
        set.insert("192.0.2.0/24".parse().expect("a network"));
        let covers = |text: &str| set.covers(&text.parse().expect("a network"));
        assert_eq!(covers("198.51.100.1/32"), None);
        assert_eq!(
            covers("2001:db8::1/128").map(|net| net.prefix_len()),
            Some(0)
        );
        assert_eq!(covers("192.0.2.1/32").map(|net| net.prefix_len()), Some(24));
    }
}
