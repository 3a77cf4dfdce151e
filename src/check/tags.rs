//! Whether `--key vlan` suits an interface: a judgement of the VLAN tags heard on it, without access to the host.

use super::{Finding, Level};
use crate::decode::key::Address;
use crate::decode::packet::tcp_flags::{ACK, FIN, SYN};
use crate::decode::packet::{Packet, Tcp};
use crate::words::many;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// Segments kept of an interface.
const SEGMENTS_MAX: usize = 8_192;
/// Segments kept of a pair of addresses under one stack. Later ones are only compared with them.
const SEGMENTS_OF_STACK_MAX: usize = 32;
/// Stacks kept of a pair.
const STACKS_MAX: usize = 4;
/// Senders of ARP kept.
const ARP_MAX: usize = 1_024;
/// Segments that a pair needs in each of two networks: fewer may be chance.
const SEGMENTS_MIN: usize = 3;

/// The outer two VLAN identifiers of a frame, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stack {
    ids: [u16; 2],
    count: u8,
}

impl Stack {
    /// Adds a tag behind the others. A third one is ignored, and so is identifier 0, which carries only a priority
    /// (802.1Q): with and without it is the same network.
    pub fn push(&mut self, tci: u16) {
        let id = tci & 0xfff;
        if let Some(place) = self.ids.get_mut(usize::from(self.count))
            && id != 0
        {
            *place = id;
            self.count += 1;
        }
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.count, self.ids) {
            (0, _) => f.write_str("no VLAN"),
            (1, [id, _]) => write!(f, "VLAN {id}"),
            (_, [outer, inner]) => write!(f, "VLAN {outer}.{inner}"),
        }
    }
}

/// A TCP segment between a pair of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    /// Whether the lower address sent it.
    from_lower: bool,
    /// Port of the lower address, then of the higher one.
    ports: (u16, u16),
    seq: u32,
    ack: u32,
    flags: u8,
    payload_len: u32,
}

impl Segment {
    fn new(tcp: &Tcp, from_lower: bool) -> Self {
        let ports = match from_lower {
            true => (tcp.src_port, tcp.dst_port),
            false => (tcp.dst_port, tcp.src_port),
        };
        Self {
            from_lower,
            ports,
            seq: tcp.seq,
            ack: tcp.ack,
            flags: tcp.flags,
            payload_len: tcp.payload_len,
        }
    }

    /// Whether it acknowledges `other` to its end.
    fn acknowledges(&self, other: &Self) -> bool {
        let controls = u32::from(other.flags & SYN != 0) + u32::from(other.flags & FIN != 0);
        let next = other
            .seq
            .wrapping_add(other.payload_len)
            .wrapping_add(controls);
        let is_reverse = self.ports == other.ports && self.from_lower != other.from_lower;
        is_reverse && self.flags & ACK != 0 && self.ack == next
    }
}

/// Lower and higher address.
type Ends = (Address, Address);
/// Segments of a pair, by stack.
type Pair = BTreeMap<Stack, Vec<Segment>>;

/// A pair seen under two stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sighting {
    ends: Ends,
    stacks: [Stack; 2],
}

/// What was heard on an interface, in bounded memory.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// All frames.
    pub(super) frames: u64,
    /// Packets that the interface itself counted as received meanwhile.
    pub(super) counted: u64,
    /// IP and ARP.
    packets: usize,
    is_tagged: bool,
    pairs: BTreeMap<Ends, Pair>,
    segments: usize,
    /// Nearly all pairs kept have several stacks: none is dropped for new ones.
    is_full: bool,
    /// One connection under two stacks. Decides, so nothing else is kept from then on.
    joined: Option<Sighting>,
    /// Sender's address, network and hardware address.
    arp: BTreeSet<(Ipv4Addr, Stack, [u8; 6])>,
}

impl Heard {
    /// The same with the interface's own count.
    pub(super) fn with_counted(self, counted: u64) -> Self {
        Self { counted, ..self }
    }

    /// Adds a packet.
    pub fn on_packet(&mut self, packet: &Packet) {
        self.packets += 1;
        self.is_tagged |= packet.vlan_count > 0;
        let (Some(tcp), None) = (packet.tcp(), self.joined) else {
            return;
        };
        let mut stack = Stack::default();
        let tags = packet.vlan.iter().take(usize::from(packet.vlan_count));
        tags.for_each(|tag| stack.push(*tag));
        let (src, dst) = (Address::from(packet.src), Address::from(packet.dst));
        let segment = Segment::new(tcp, src <= dst);
        let ends = (src.min(dst), src.max(dst));
        let has_room = self.make_room();
        if !has_room && !self.pairs.contains_key(&ends) {
            return;
        }
        let pair = self.pairs.entry(ends).or_default();
        for (&other, segments) in pair.iter().filter(|(other, _)| **other != stack) {
            let is_same = |one: &Segment| {
                *one == segment || one.acknowledges(&segment) || segment.acknowledges(one)
            };
            if segments.iter().any(is_same) {
                let stacks = [other.min(stack), other.max(stack)];
                self.joined = Some(Sighting { ends, stacks });
                return;
            }
        }
        if !has_room || pair.len() == STACKS_MAX && !pair.contains_key(&stack) {
            return;
        }
        let segments = pair.entry(stack).or_default();
        if segments.len() < SEGMENTS_OF_STACK_MAX && !segments.contains(&segment) {
            segments.push(segment);
            self.segments += 1;
        }
    }

    /// Drops pairs that have only one stack so far, if there is no room for another segment. Returns whether there is.
    fn make_room(&mut self) -> bool {
        if self.segments == SEGMENTS_MAX && !self.is_full {
            self.pairs.retain(|_, pair| pair.len() > 1);
            self.segments = self
                .pairs
                .values()
                .flatten()
                .map(|(_, all)| all.len())
                .sum();
            self.is_full = self.segments > SEGMENTS_MAX / 2;
        }
        self.segments < SEGMENTS_MAX
    }

    /// Adds the sender of an ARP packet.
    pub fn on_arp(&mut self, stack: Stack, sender: Ipv4Addr, hardware: [u8; 6]) {
        self.packets += 1;
        self.is_tagged |= stack.count > 0;
        // A probe has no sender address yet (RFC 5227).
        if !sender.is_unspecified() && self.arp.len() < ARP_MAX {
            self.arp.insert((sender, stack, hardware));
        }
    }

    /// A pair with connections of their own in each of two networks.
    fn apart(&self) -> Option<Sighting> {
        self.pairs.iter().find_map(|(&ends, pair)| {
            let stacks = networks(pair)?;
            Some(Sighting { ends, stacks })
        })
    }

    /// An address with two owners, each in its own network.
    ///
    /// A hardware address that is seen with other addresses or networks, too, is a router's (proxy ARP) or a bridge's.
    fn claimed(&self) -> Option<[(Ipv4Addr, Stack, [u8; 6]); 2]> {
        let is_host = |hardware| self.arp.iter().filter(|one| one.2 == hardware).count() == 1;
        let mut neighbours = self.arp.iter().zip(self.arp.iter().skip(1));
        let found = neighbours.find(|(one, two)| {
            one.0 == two.0 && one.1 != two.1 && is_host(one.2) && is_host(two.2)
        });
        found.map(|(&one, &two)| [one, two])
    }
}

/// Two networks in which a pair has enough segments of connections that no other network has.
///
/// A connection in several networks says nothing: its device may change sequence numbers (firewalls do), or a mirror
/// port may show each direction with its own tag.
fn networks(pair: &Pair) -> Option<[Stack; 2]> {
    let mut alone: BTreeMap<Stack, usize> = BTreeMap::new();
    for (stack, segments) in pair {
        let others = pair.iter().filter(|(other, _)| *other != stack);
        let elsewhere: BTreeSet<(u16, u16)> = others
            .flat_map(|(_, segments)| segments)
            .map(|segment| segment.ports)
            .collect();
        let own = segments
            .iter()
            .filter(|segment| !elsewhere.contains(&segment.ports));
        alone.insert(*stack, own.count());
    }
    let mut enough = alone
        .into_iter()
        .filter(|(_, count)| *count >= SEGMENTS_MIN);
    let (one, two) = (enough.next()?, enough.next()?);
    Some([one.0, two.0])
}

/// Judges what was heard on each interface, or why nothing could be.
pub(super) fn findings(heard: &[(String, Result<Heard, String>)], by_vlan: bool) -> Vec<Finding> {
    let each = |(name, heard): &(String, Result<Heard, String>)| match heard {
        Ok(heard) => finding(name, heard, by_vlan),
        Err(error) => {
            let why = "Whether `--key vlan` suits its traffic is unknown.";
            let what = format!("{name} was not listened to: {error}");
            Finding::new(Level::Note, what, why, "")
        }
    };
    heard.iter().map(each).collect()
}

fn finding(name: &str, heard: &Heard, by_vlan: bool) -> Finding {
    if let Some(sighting) = heard.joined {
        let Sighting { ends, stacks } = sighting;
        let what = format!("{name}: a connection {}", under(ends, stacks));
        let why = "Its packets have different tags, as on both sides of a router. With `--key vlan` it would be two \
                   connections, or one without answers: keep the default.";
        return match by_vlan {
            true => Finding::new(Level::Warn, what, why, "--key addresses"),
            false => Finding::new(Level::Note, what, why, ""),
        };
    }
    let (what, why) = match (heard.claimed(), heard.apart()) {
        (Some([(address, stack, hardware), (_, other_stack, other)]), _) => (
            format!(
                "{name}: {address} is {} under {stack} and {} under {other_stack}",
                hex(hardware),
                hex(other)
            ),
            "Different hosts have the same address. By default scans and connections in one network are mixed with \
             those in the other.",
        ),
        (None, Some(Sighting { ends, stacks })) => (
            format!(
                "{name}: connections {}, none of them under both",
                under(ends, stacks)
            ),
            "They seem to be different hosts with the same addresses. By default scans and connections in one network \
             are mixed with those in the other.",
        ),
        (None, None) if heard.is_tagged => {
            let what = format!("{name}: VLAN tags were seen, and nothing suggests another `--key`");
            return Finding::ok(what);
        }
        (None, None) if heard.packets == 0 => {
            return Finding::ok(format!(
                "{name}: nothing was heard that speaks for a `--key`"
            ));
        }
        (None, None) => {
            let packets = many(heard.packets as u64, "packet");
            return Finding::ok(format!(
                "{name}: no VLAN tag in {packets}: any `--key` is right"
            ));
        }
    };
    match by_vlan {
        true => Finding::ok(format!("{what}: --key vlan tells them apart")),
        false => Finding::new(Level::Note, what, why, "--key vlan"),
    }
}

fn under((lower, higher): Ends, [one, two]: [Stack; 2]) -> String {
    let (lower, higher) = (IpAddr::from(lower), IpAddr::from(higher));
    format!("between {lower} and {higher} under {one} and under {two}")
}

fn hex(hardware: [u8; 6]) -> String {
    hardware.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests;
