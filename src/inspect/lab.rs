//! All detectors over crafted contacts, for tests.

use super::contact::{Contact, ContactKind, Mark};
use super::detection::{Detection, Kind, Phase};
use super::detector::{Found, Owned, Setting};
use super::distinct;
use super::sources::Room;
use super::{Detectors, Rules};
use crate::decode::key::Address;
use crate::flow::key::Hasher;

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
        let setting = self.setting.unwrap_or(Setting {
            target: contact.dst(),
            is_local: false,
            is_dark: false,
        });
        self.on_with(contact, &setting);
    }

    /// The same in a setting.
    pub fn on_with(&mut self, contact: &Contact, setting: &Setting) {
        self.watermark = self.watermark.max(contact.ts_ns);
        let (source, target) = (true, true);
        let owned = Owned { source, target };
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
            starts.extend(new.map(|_| number));
        }
        starts
    }

    /// Detections of this kind so far.
    pub fn all(&self, kind: Kind) -> Vec<&Detection> {
        let found = self.found.iter().map(|(_, one)| one);
        found.filter(|one| one.kind == kind).collect()
    }

    pub fn expire(&mut self, watermark: i64) {
        self.watermark = self.watermark.max(watermark);
        let found = &mut self.found;
        (self.detectors).expire(self.watermark, &mut |one| found.push(one));
    }

    pub fn finish(&mut self) {
        let found = &mut self.found;
        self.detectors.finish(&mut |one| found.push(one));
    }
}
