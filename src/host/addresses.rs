//! Local addresses, and the direction of a packet that follows from them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

words! {
    /// Direction of a packet, seen from the local addresses.
    pub flag enum Direction {
        /// From elsewhere to a local address.
        In = "in",
        /// From a local address to elsewhere.
        Out = "out",
        /// Between two local addresses.
        Local = "local",
        /// Between two addresses elsewhere.
        Transit = "transit",
        /// No local address is known.
        Unknown = "unknown",
    }
}

/// Local addresses: those of this host (live only), and the networks of `--local`.
///
/// A lookup is a binary search in disjoint ranges. Broadcast and multicast addresses are not local.
#[derive(Clone, Debug, Default)]
pub struct Localities {
    /// The host's addresses, each with the number of interfaces that have it.
    own: HashMap<IpAddr, u32>,
    /// The networks of `--local`; live, also loopback's.
    networks: Vec<IpNet>,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// First and last address, both inclusive; sorted, disjoint.
type Ranges<T> = Vec<(T, T)>;

impl Localities {
    /// For a live sensor: the host's own addresses, loopback, and the networks of `--local`.
    ///
    /// `own` has an address once for each interface with it, as have [`Self::add`] and [`Self::remove`].
    pub fn live(own: impl IntoIterator<Item = IpAddr>, local: &[IpNet]) -> Self {
        let loopback4 = IpNet::new(Ipv4Addr::LOCALHOST.into(), 8).expect("8 is at most 32");
        let mut live = Self::offline(local);
        let loopback6 = IpNet::from(IpAddr::from(Ipv6Addr::LOCALHOST));
        live.networks.extend([loopback4, loopback6]);
        for address in own {
            *live.own.entry(address.to_canonical()).or_insert(0) += 1;
        }
        live.rebuild();
        live
    }

    /// For captures: only the networks of `--local`. Without one, every direction is unknown.
    pub fn offline(local: &[IpNet]) -> Self {
        let mut offline = Self {
            networks: local.to_vec(),
            ..Self::default()
        };
        offline.rebuild();
        offline
    }

    /// Adds an address of one interface.
    pub fn add(&mut self, address: IpAddr) {
        *self.own.entry(address.to_canonical()).or_insert(0) += 1;
        self.rebuild();
    }

    /// Removes an address of one interface. It stays local while another interface has it.
    pub fn remove(&mut self, address: IpAddr) {
        let address = address.to_canonical();
        if let Some(count) = self.own.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.own.remove(&address);
            }
            self.rebuild();
        }
    }

    /// Whether `address` is local.
    pub fn is_ours(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => inside(&self.v4, u32::from(address)),
            IpAddr::V6(address) => inside(&self.v6, u128::from(address)),
        }
    }

    /// Whether an address of `net` is local.
    pub fn touches(&self, net: &IpNet) -> bool {
        match net {
            IpNet::V4(net) => overlaps(&self.v4, net.network().into(), net.broadcast().into()),
            IpNet::V6(net) => overlaps(&self.v6, net.network().into(), net.broadcast().into()),
        }
    }

    /// Whether `address` is one of this host's interfaces, or loopback; `--local` does not matter.
    pub fn is_this_host(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.own.contains_key(&address)
    }

    /// Direction of a packet from `src` to `dst`.
    pub fn direction(&self, src: IpAddr, dst: IpAddr) -> Direction {
        if self.v4.is_empty() && self.v6.is_empty() {
            return Direction::Unknown;
        }
        match (self.is_ours(src), self.is_ours(dst)) {
            (false, true) => Direction::In,
            (true, false) => Direction::Out,
            (true, true) => Direction::Local,
            (false, false) => Direction::Transit,
        }
    }

    /// Direction of packets from `src`, or from many sources elsewhere, to `dst`.
    pub fn direction_to(&self, src: Option<IpAddr>, dst: IpAddr) -> Direction {
        match src {
            Some(src) => self.direction(src, dst),
            None if self.v4.is_empty() && self.v6.is_empty() => Direction::Unknown,
            None if self.is_ours(dst) => Direction::In,
            None => Direction::Transit,
        }
    }

    fn rebuild(&mut self) {
        self.v4.clear();
        self.v6.clear();
        for network in &self.networks {
            match network {
                IpNet::V4(net) => self.v4.push((net.network().into(), net.broadcast().into())),
                IpNet::V6(net) => self.v6.push((net.network().into(), net.broadcast().into())),
            }
        }
        for address in self.own.keys() {
            match *address {
                IpAddr::V4(address) => self.v4.push((address.into(), address.into())),
                IpAddr::V6(address) => self.v6.push((address.into(), address.into())),
            }
        }
        merge(&mut self.v4);
        merge(&mut self.v6);
    }
}

/// Sorts the ranges and joins those that overlap.
fn merge<T: Ord + Copy>(ranges: &mut Ranges<T>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let overlap = next.0 <= kept.1;
        if overlap {
            kept.1 = kept.1.max(next.1);
        }
        overlap
    });
}

fn inside<T: Ord + Copy>(ranges: &Ranges<T>, address: T) -> bool {
    let after = ranges.partition_point(|&(first, _)| first <= address);
    after > 0 && address <= ranges[after - 1].1
}

/// Whether a range shares an address with the inclusive range from `first` to `last`.
fn overlaps<T: Ord + Copy>(ranges: &Ranges<T>, first: T, last: T) -> bool {
    let after = ranges.partition_point(|&(start, _)| start <= last);
    after > 0 && first <= ranges[after - 1].1
}

/// Reads a network, or an address on its own.
///
/// # Errors
///
/// Names the value and the forms.
pub fn parse_network(value: &str) -> Result<IpNet, String> {
    let address = || value.parse::<IpAddr>().map(IpNet::from);
    // A length such as 08 may be meant as an octal number, or be the rest of another.
    let is_plain = |length: &str| length == "0" || !length.starts_with(['0', '+']);
    let has_plain_length = value
        .split_once('/')
        .is_none_or(|(_, length)| is_plain(length));
    let network = value.parse::<IpNet>().or_else(|_| address());
    let network = network.ok().filter(|_| has_plain_length).ok_or_else(|| {
        format!("{value} must be a network such as 10.0.0.0/8 or 2001:db8::/32, or an address")
    })?;
    match network.trunc() {
        meant if meant == network => Ok(network),
        meant => Err(format!(
            "{value} has bits behind its length: {meant} is meant?"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn net(text: &str) -> IpNet {
        parse_network(text).expect("a network")
    }

    #[test]
    fn a_network_touches_what_is_local_where_they_share_an_address() {
        let local = [net("10.0.0.0/8"), net("2001:db8:1::/48")];
        let ours = Localities::live([ip("192.0.2.7")], &local);
        for (of, touches) in [
            ("192.0.2.7/32", true),
            ("192.0.2.0/24", true),
            ("192.0.2.0/30", false),
            ("0.0.0.0/0", true),
            ("10.255.255.255/32", true),
            ("11.0.0.0/8", false),
            ("8.0.0.0/6", true),
            ("2001:db8:1:ffff::/64", true),
            ("2001:db8::/32", true),
            ("2001:db8:2::/48", false),
        ] {
            assert_eq!(ours.touches(&net(of)), touches, "{of}");
        }
    }

    #[test]
    fn live_directions_are_seen_from_the_host_and_its_networks() {
        let ours = Localities::live([ip("192.0.2.7"), ip("2001:db8::7")], &[net("10.0.0.0/8")]);
        let way = |src, dst| ours.direction(ip(src), ip(dst)).word();
        assert_eq!(way("8.8.8.8", "192.0.2.7"), "in");
        assert_eq!(way("8.8.8.8", "::ffff:192.0.2.7"), "in");
        assert_eq!(way("2001:db8::7", "2001:db8::8"), "out");
        assert_eq!(way("10.255.255.255", "192.0.2.7"), "local");
        assert_eq!(way("127.5.5.5", "127.0.0.1"), "local");
        assert_eq!(way("::1", "::1"), "local");
        assert_eq!(way("8.8.8.8", "192.0.2.8"), "transit");
        assert_eq!(way("11.0.0.0", "9.255.255.255"), "transit");
    }

    #[test]
    fn a_capture_knows_only_what_it_was_told() {
        let nothing = Localities::offline(&[]);
        assert_eq!(
            nothing.direction(ip("127.0.0.1"), ip("::1")),
            Direction::Unknown
        );
        let told = Localities::offline(&[net("10.0.0.0/8")]);
        assert_eq!(
            told.direction(ip("127.0.0.1"), ip("10.1.1.1")),
            Direction::In
        );
        assert_eq!(
            told.direction(ip("127.0.0.1"), ip("127.0.0.1")),
            Direction::Transit
        );
        assert_eq!(told.direction(ip("::1"), ip("::2")), Direction::Transit);
    }

    #[test]
    fn an_address_on_two_interfaces_is_ours_until_both_lost_it() {
        let mut ours = Localities::live([ip("fe80::1"), ip("fe80::1")], &[]);
        ours.remove(ip("fe80::1"));
        assert!(ours.is_ours(ip("fe80::1")));
        ours.remove(ip("fe80::1"));
        assert!(!ours.is_ours(ip("fe80::1")));
        ours.remove(ip("fe80::1"));
        ours.add(ip("fe80::1"));
        assert!(ours.is_ours(ip("fe80::1")));
    }

    #[test]
    fn a_bad_network_is_named() {
        assert_eq!(net("192.0.2.1"), net("192.0.2.1/32"));
        let error = parse_network("10.0.0.0/33").expect_err("33 bits");
        assert!(error.starts_with("10.0.0.0/33 must be"), "{error}");
    }

    proptest! {
        #[test]
        fn ranges_agree_with_asking_each_network(
            nets in prop::collection::vec((0_u32..256, 24_u8..=32), 0..12),
            own in prop::collection::vec(0_u32..256, 0..6),
        ) {
            let address = |low: u32| IpAddr::from(Ipv4Addr::from(0xc000_0200 | low));
            let nets: Vec<IpNet> = nets
                .into_iter()
                .map(|(low, bits)| IpNet::new(address(low), bits).expect("at most 32"))
                .collect();
            let ours = Localities::live(own.iter().map(|&low| address(low)), &nets);
            for low in 0..256 {
                let slow = own.contains(&low) || nets.iter().any(|net| net.contains(&address(low)));
                prop_assert_eq!(ours.is_ours(address(low)), slow, "{}", low);
            }
        }
    }
}
