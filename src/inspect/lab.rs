//! All detectors over crafted contacts, for tests.

use super::contact::{Contact, ContactKind, Mark};
use super::detection::{Detection, Kind, Phase};
use super::detector::{Found, Owned};
use super::distinct;
use super::setting::Setting;
use super::sources::{Room, place_of};
use super::{Detectors, FloodRule, Rules};
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use proptest::strategy::Strategy;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// A second in nanoseconds.
pub const S: i64 = 1_000_000_000;

/// No rule is on; there is room for all sources of a test.
pub const OFF: Rules = Rules {
    sources: Room {
        firsts: 512,
        standings: 512,
        friends: 512,
    },
    ..Rules::OFF
};

/// A rule about distinct items with room for all subjects of a test.
pub fn rule(at_least: usize, window_ns: i64) -> distinct::Rule {
    distinct::Rule {
        at_least,
        at_least_local: 0,
        window_ns,
        subjects: 512,
        firsts: 512,
        episodes: 16,
        lists: 16,
    }
}

/// The IPv4 address of this number.
pub fn v4(number: u32) -> Address {
    Address {
        v6: false,
        bits: number.into(),
    }
}

/// Detectors, and packet time.
pub struct Lab {
    hasher: Hasher,
    pub detectors: Detectors,
    pub setting: Option<Setting>,
    watermark: i64,
    pub found: Vec<Found>,
}

impl Lab {
    pub fn new(rules: Rules) -> Self {
        let hasher = Hasher::new([1, 2]);
        Self {
            hasher,
            detectors: Detectors::new(rules, hasher, 0),
            setting: None,
            watermark: i64::MIN,
            found: Vec::new(),
        }
    }

    /// A contact between these addresses.
    pub fn contact(
        &self,
        ts_ns: i64,
        (src, dst): (Address, Address),
        port: u16,
        kind: ContactKind,
    ) -> Contact {
        Contact {
            position: 0,
            ts_ns,
            source: self.hasher.source(src),
            src: src.bits,
            dst: dst.bits,
            port,
            interface: 0,
            mark: Mark::new(src.v6, 0, kind),
        }
    }

    /// Hands a contact to the detectors; what they find is kept.
    pub fn on(&mut self, contact: &Contact) {
        let setting = self.setting.unwrap_or_default();
        self.on_with(contact, setting);
    }

    /// The same in a setting.
    pub fn on_with(&mut self, contact: &Contact, setting: Setting) {
        self.pass(contact.ts_ns);
        let (source, target) = (true, true);
        let owned = Owned { source, target }.of(contact.kind());
        let found = &mut self.found;
        (self.detectors).on_contact(contact, owned, setting, self.watermark, &mut |one| {
            found.push(one)
        });
    }

    /// The numbers of the contacts at which an episode of this kind starts.
    pub fn starts(
        &mut self,
        kind: Kind,
        contacts: impl IntoIterator<Item = Contact>,
    ) -> Vec<usize> {
        let mut starts = Vec::new();
        for (number, contact) in contacts.into_iter().enumerate() {
            let before = self.found.len();
            self.on(&contact);
            let new = self.found[before..].iter().map(|(_, one)| one);
            let new = new.filter(|one| one.kind == kind && one.phase == Phase::Started);
            let new = new.filter(|one| one.src_prefix.is_none());
            starts.extend(new.map(|_| number));
        }
        starts
    }

    /// Packet time goes on, by packets that concern others.
    pub fn pass(&mut self, ts_ns: i64) -> i64 {
        self.watermark = self.watermark.max(ts_ns);
        self.watermark
    }

    /// Detections of this kind so far.
    pub fn all(&self, kind: Kind) -> Vec<&Detection> {
        let found = self.found.iter().map(|(_, one)| one);
        found.filter(|one| one.kind == kind).collect()
    }

    pub fn expire(&mut self, watermark: i64) {
        self.pass(watermark);
        let found = &mut self.found;
        (self.detectors).expire(self.watermark, &mut |one| found.push(one));
    }

    pub fn finish(&mut self) {
        let found = &mut self.found;
        self.detectors
            .finish(self.watermark, &mut |one| found.push(one));
    }
}

/// All rules, with low thresholds.
pub fn all_rules() -> Rules {
    let flood = FloodRule {
        at_least: 3,
        window_ns: S,
        targets: 512,
        floods: 8,
    };
    let minute = |at_least| rule(at_least, 60 * S);
    Rules {
        port_scan: distinct::Rule {
            at_least_local: 5,
            ..minute(3)
        },
        host_sweep: minute(3),
        stealth_scan: minute(2),
        udp_scan: minute(3),
        slow_scan: rule(4, 600 * S),
        distributed_scan: minute(3),
        syn_flood: flood,
        rst_flood: flood,
        udp_flood: flood,
        icmp_flood: flood,
        ..OFF
    }
}

/// A step of random traffic: source, destination, port, what happens, time since the step before.
pub type Step = (u8, u8, u8, u8, u8);

/// Any [`Step`].
pub fn step() -> impl Strategy<Value = Step> {
    (0..8_u8, 0..6_u8, 0..6_u8, 0..25_u8, 0..10_u8)
}

/// Packet time at the first step of [`traffic`].
pub const TRAFFIC_NS: i64 = 1_000_000 * S;

/// A source of [`traffic`]; the last three have IPv6 addresses.
pub fn source(n: u8) -> Address {
    match n {
        ..5 => v4(0x0a00_0001 + u32::from(n)),
        _ => v6(0x1_0000 + u128::from(n)),
    }
}

fn v6(low: u128) -> Address {
    let bits = 0x2001_0db8 << 96 | low;
    Address { v6: true, bits }
}

/// The ports of [`traffic`]: no two places of its IPv6 targets share a bit in the sets of standings, so that what these
/// count is exact.
static PORTS: LazyLock<[u16; 6]> = LazyLock::new(|| {
    let lab = Lab::new(OFF);
    let bits = |port| {
        let places = (0..6)
            .flat_map(|dst| [ContactKind::Touch, ContactKind::UdpTouch].map(|kind| (dst, kind)));
        let bit = |(dst, kind)| {
            let contact = lab.contact(0, (source(5), v6(dst)), port, kind);
            let place = place_of(&contact, Setting::default(), 0);
            let bit = lab.detectors.sources.bit(&place, kind);
            bit.expect("no port of traceroute")
        };
        places.map(bit).collect::<BTreeSet<u8>>()
    };
    let mut taken = BTreeSet::new();
    let mut free = (1..30_000).filter(|&port| {
        let new = bits(port);
        let is_free = new.len() == 12 && new.is_disjoint(&taken);
        if is_free {
            taken.extend(new);
        }
        is_free
    });
    std::array::from_fn(|_| free.next().expect("there are such ports"))
});

/// The contacts of each step, and their settings. It lasts less than half an hour.
pub fn traffic(lab: &Lab, steps: &[Step]) -> Vec<Vec<(Contact, Setting)>> {
    const GAPS: [i64; 10] = [0, 0, 1, 5, 10, 20, 50, 100, -10, 610];
    let (mut now_ns, mut asked) = (TRAFFIC_NS, BTreeSet::new());
    let mut all = Vec::new();
    for &(src, dst, port, what, gap) in steps {
        if now_ns < TRAFFIC_NS + 1_500 * S {
            now_ns += GAPS[usize::from(gap)] * S / 10;
        }
        let src = source(src);
        let target = match src.v6 {
            false => v4(0xc633_6400 + u32::from(dst)),
            true => v6(dst.into()),
        };
        let kinds = what_happens(what, &mut asked, (src.bits, target.bits, port));
        let setting = Setting::default()
            .with(Setting::UNITED, dst < 3)
            .with(Setting::LOCAL, src == source(1))
            .with(Setting::DARK, dst == 5);
        let contact = |&kind| {
            let contact = lab.contact(now_ns, (src, target), PORTS[usize::from(port)], kind);
            (contact, setting)
        };
        all.push(kinds.iter().map(contact).collect());
    }
    all
}

/// Kinds of the contacts of a step. `asked`: the places that may still answer, by TCP or not.
fn what_happens(
    what: u8,
    asked: &mut BTreeSet<(bool, (u128, u128, u8))>,
    place: (u128, u128, u8),
) -> &'static [ContactKind] {
    use ContactKind::*;
    let kinds: &[ContactKind] = match what {
        0..3 => &[Touch],
        3..5 => &[Touch, Refused],
        5 => &[Touch, Answered],
        6 => &[Touch, Answered, Established],
        7 => &[OddTouch],
        8 => &[OddTouch, Refused],
        9 => &[NullProbe],
        10 => &[FinProbe],
        11 => &[XmasProbe],
        12 => &[FlagsProbe],
        13 => &[AckProbe],
        14 => &[MaimonProbe],
        15 => &[UdpTouch],
        16 => &[UdpTouch, UdpRefused],
        17 => &[UdpTouch, UdpAnswered],
        18 => &[Datagrams],
        19 => &[StrayReset],
        20 => &[Icmp],
        21 if asked.contains(&(true, place)) => &[Refused],
        22 if asked.contains(&(true, place)) => &[Answered, Established],
        23 if asked.contains(&(false, place)) => &[UdpAnswered],
        24 => &[StrayAnswer],
        _ => &[],
    };
    match kinds.first() {
        Some(Touch | OddTouch) => asked.insert((true, place)),
        Some(UdpTouch) => asked.insert((false, place)),
        _ => false,
    };
    kinds
}
