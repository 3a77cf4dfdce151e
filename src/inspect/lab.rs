//! All detectors over crafted contacts, for tests.

use super::contact::{Contact, ContactKind, Mark};
use super::detector::{Found, Owned, Setting};
use super::{Detectors, Rules};
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use std::net::IpAddr;

/// A second in nanoseconds.
pub const S: i64 = 1_000_000_000;

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

    /// A contact of these addresses.
    pub fn contact(
        &self,
        ts_ns: i64,
        (src, dst): (&str, &str),
        port: u16,
        kind: ContactKind,
    ) -> Contact {
        let [src, dst] = [src, dst].map(|text| Address::from(text.parse::<IpAddr>().expect(text)));
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
        self.watermark = self.watermark.max(contact.ts_ns);
        let setting = self.setting.unwrap_or(Setting {
            target: contact.dst(),
            is_local: false,
            is_dark: false,
        });
        let (source, target) = (true, true);
        let owned = Owned { source, target };
        let found = &mut self.found;
        let owned = owned.of(contact.kind());
        (self.detectors).on_contact(contact, owned, &setting, self.watermark, &mut |one| {
            found.push(one)
        });
    }

    /// Makes a contact and hands it on.
    pub fn send(&mut self, ts_ns: i64, ends: (&str, &str), port: u16, kind: ContactKind) {
        let contact = self.contact(ts_ns, ends, port, kind);
        self.on(&contact);
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
