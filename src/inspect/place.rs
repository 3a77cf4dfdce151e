//! Hosts and places in few bits: what a contact touched.

use super::contact::ContactKind;
use super::distinct::item::{Item, Numbered};
use super::setting::Setting;
use crate::decode::key::Address;
use crate::splitmix::mix64;
use std::ops::RangeInclusive;

/// A host in 58 bits: an IPv4 address itself, or an unkeyed hash of an IPv6 address, so that every run prints the
/// same. Two IPv6 addresses collide once in 2^57 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Host(u64);

const V6: u64 = 1 << 57;

impl Host {
    /// No host's.
    pub(super) const NOBODY: Self = Self(u64::MAX);

    #[allow(clippy::cast_possible_truncation, reason = "both halves are mixed")]
    #[inline(always)]
    pub(super) fn new(Address { v6, bits }: Address) -> Self {
        match v6 {
            true => Self::v6(bits),
            false => Self(bits as u64),
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "both halves are mixed")]
    #[inline(never)]
    fn v6(bits: u128) -> Self {
        let mixed = mix64(mix64(bits as u64) ^ (bits >> 64) as u64);
        Self(mixed & (V6 - 1) | V6)
    }

    /// A number for it, below 2^58.
    #[inline]
    pub(super) fn bits(self) -> u64 {
        self.0
    }
}

impl Item for Host {
    const WORDS: usize = 1;
    const NONE: Self = Self(0);

    fn parts(self) -> (u16, u64) {
        (0, self.0)
    }

    fn of(_: u16, word: u64) -> Self {
        Self(word)
    }
}

impl Numbered for Host {
    fn number(self) -> u64 {
        self.0
    }
}

/// Who touched what, as tables know it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Keyed hash of the source.
    pub source: u64,
    /// The source.
    pub src: Host,
    /// Its hash, for numbers of sources: live, where nobody may choose it, the keyed one.
    pub who: u64,
    /// Tags of the key, see [`crate::decode::key::Key::tags`].
    pub tags: u32,
    /// The destination.
    pub host: Host,
    /// What the operator's settings say about the contact.
    pub setting: Setting,
    /// The destination's port.
    pub port: u16,
}

impl Place {
    /// The destination or, for rules about a pair, what stands for it.
    pub fn target(&self) -> Host {
        match self.setting.is_united() {
            true => Host::new(UNITED),
            false => self.host,
        }
    }
}

/// How a source touched a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
#[repr(u8)]
pub enum Way {
    Syn,
    OddSyn,
    Datagram,
    Null,
    Fin,
    Xmas,
    Flags,
    Ack,
    Maimon,
}

/// Ports to which traceroute and tracepath send datagrams, each to the next one, because nobody listens there: three
/// probes for each of up to 64 hops from 33434 on, one for each from 44444 on. Sources: traceroute(8), tracepath(8).
pub const TRACEROUTE: [RangeInclusive<u16>; 2] = [33_434..=33_626, 44_444..=44_508];

/// Whether it is the purpose of such a touch to fail.
pub fn is_of_traceroute(way: Way, port: u16) -> bool {
    way == Way::Datagram && TRACEROUTE.iter().any(|ports| ports.contains(&port))
}

/// Each way, and the kind of touch that comes this way.
const WAYS: [(Way, ContactKind); 9] = [
    (Way::Syn, ContactKind::Touch),
    (Way::OddSyn, ContactKind::OddTouch),
    (Way::Datagram, ContactKind::UdpTouch),
    (Way::Null, ContactKind::NullProbe),
    (Way::Fin, ContactKind::FinProbe),
    (Way::Xmas, ContactKind::XmasProbe),
    (Way::Flags, ContactKind::FlagsProbe),
    (Way::Ack, ContactKind::AckProbe),
    (Way::Maimon, ContactKind::MaimonProbe),
];
const WAY_BITS: u32 = 4;
const _: () = assert!(WAYS.len() <= 1 << WAY_BITS);

impl Way {
    pub fn of(kind: ContactKind) -> Self {
        match kind {
            ContactKind::OddTouch => Self::OddSyn,
            ContactKind::UdpTouch | ContactKind::UdpAnswered | ContactKind::UdpRefused => {
                Self::Datagram
            }
            ContactKind::NullProbe => Self::Null,
            ContactKind::FinProbe => Self::Fin,
            ContactKind::XmasProbe => Self::Xmas,
            ContactKind::FlagsProbe => Self::Flags,
            ContactKind::AckProbe => Self::Ack,
            ContactKind::MaimonProbe => Self::Maimon,
            _ => Self::Syn,
        }
    }

    /// The kind of touch that comes this way.
    pub fn touch(self) -> ContactKind {
        WAYS[self as usize].1
    }

    fn from_bits(bits: u64) -> Self {
        let at = usize::try_from(bits & ((1 << WAY_BITS) - 1)).expect("four bits");
        WAYS.get(at).map_or(Self::Syn, |(way, _)| *way)
    }
}

/// What one source touched, and how: the item of the table of sources with one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Element {
    pub host: Host,
    /// [`UNITED`] stands for the host in rules about a pair.
    pub united: bool,
    /// The host is a dark address.
    pub dark: bool,
    pub way: Way,
    pub port: u16,
}

impl Element {
    #[inline]
    pub fn new(place: &Place, way: Way) -> Self {
        Self {
            host: place.host,
            united: place.setting.is_united(),
            dark: place.setting.is_dark(),
            way,
            port: place.port,
        }
    }

    /// The place, of the source of another one.
    pub fn place(&self, of: &Place) -> Place {
        Place {
            source: of.source,
            src: of.src,
            who: of.who,
            tags: of.tags,
            host: self.host,
            setting: Setting::default()
                .with(Setting::UNITED, self.united)
                .with(Setting::DARK, self.dark)
                .with(Setting::LOCAL, of.setting.is_local()),
            port: self.port,
        }
    }

    /// Whether the outcome of a touch of a place is one of this.
    pub fn shares_outcome(&self, place: &Place, way: Way) -> bool {
        let is_tcp = |way| matches!(way, Way::Syn | Way::OddSyn);
        let ways = self.way == way || is_tcp(self.way) && is_tcp(way);
        ways && self.port == place.port && self.host == place.host
    }
}

/// The address that stands for all of ours, with `--scan-target host`.
pub const UNITED: Address = Address { v6: true, bits: 0 };

impl Item for Element {
    const WORDS: usize = 1;
    const NONE: Self = Self {
        host: Host::NONE,
        united: false,
        dark: false,
        way: Way::Syn,
        port: 0,
    };

    #[inline]
    fn parts(self) -> (u16, u64) {
        let marks = u64::from(self.dark) << 1 | u64::from(self.united);
        let rest = marks << WAY_BITS | self.way as u64;
        (self.port, self.host.0 << (WAY_BITS + 2) | rest)
    }

    #[inline]
    fn of(port: u16, word: u64) -> Self {
        Self {
            host: Host(word >> (WAY_BITS + 2)),
            united: word >> WAY_BITS & 1 != 0,
            dark: word >> WAY_BITS & 2 != 0,
            way: Way::from_bits(word),
            port,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_survives_its_packing() {
        let hosts = [
            Address {
                v6: false,
                bits: 0xffff_ffff,
            },
            Address { v6: true, bits: 1 },
            Address {
                v6: true,
                bits: u128::MAX,
            },
        ];
        for (host, port) in hosts.map(Host::new).into_iter().zip([0, 80, u16::MAX]) {
            for (way, kind) in WAYS {
                for (united, dark) in [(false, false), (false, true), (true, false)] {
                    let element = Element {
                        host,
                        united,
                        dark,
                        way,
                        port,
                    };
                    let (short, word) = element.parts();
                    assert_eq!(Element::of(short, word), element);
                    assert_eq!((Way::of(kind), way.touch()), (way, kind));
                }
            }
        }
    }
}
