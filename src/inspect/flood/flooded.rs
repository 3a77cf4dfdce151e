//! A flood, or a slot that may become one.

use super::crowd::Sources;
use super::target::Slot;
use crate::decode::vlan;
use crate::inspect::Kind;
use crate::inspect::contact::Contact;
use crate::inspect::detection::{
    AlertStatus, Crowd, Detection, Evidence, Extent, Phase, Proof, SourceEvidence, Subject,
};
use crate::inspect::detector::Sighting;

/// A flood is over after so many quiet slots.
const QUIET_SLOTS: i64 = 10;

#[derive(Clone, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Flooded {
    /// Index of its destination.
    pub at: usize,
    /// Distinguishes it from earlier ones with the same index.
    pub generation: u32,
    subject: Subject,
    tags: u32,
    interface: u16,
    first_ns: i64,
    pub last_ns: i64,
    sources: Sources,
    /// Packets and completed connections of the slots that are over; 0: none was a flood yet.
    packets: u64,
    completed: u64,
    peak: u32,
    next_report: u64,
    /// The last slot with at least N / 2 packets.
    busy_slot: i64,
}

impl Flooded {
    pub fn new(
        (at, first_ns, generation): (usize, i64, u32),
        (subject, tags): (Subject, u32),
        contact: &Contact,
    ) -> Self {
        Self {
            at,
            generation,
            subject,
            tags,
            interface: contact.interface,
            first_ns,
            last_ns: contact.ts_ns,
            sources: Sources::new(),
            packets: 0,
            completed: 0,
            peak: 0,
            next_report: 0,
            busy_slot: i64::MIN,
        }
    }

    pub fn is_started(&self) -> bool {
        self.packets > 0
    }

    #[inline(always)]
    pub fn add(&mut self, sighting: &Sighting<'_>, packets: u32) {
        let contact = sighting.contact;
        if contact.ts_ns > self.last_ns {
            self.last_ns = contact.ts_ns;
        }
        (self.sources).add(sighting.place.who, contact.src(), packets);
    }

    /// Slots have other numbers from now on, the present one this.
    pub fn renumber(&mut self, slot: i64) {
        self.busy_slot = slot;
    }

    /// The slot `over` was a flood.
    pub fn start(&mut self, slot: &Slot, over: i64) {
        self.take(slot);
        self.busy_slot = over;
        self.next_report = self.packets.saturating_mul(2);
    }

    /// The slot `over` is over.
    pub fn go_on(&mut self, slot: &Slot, over: i64, at_least: u32) -> Option<Phase> {
        self.take(slot);
        if slot.packets >= (at_least / 2).max(1) {
            self.busy_slot = over;
        }
        if over.saturating_sub(self.busy_slot) >= QUIET_SLOTS {
            return Some(Phase::Ended);
        }
        if self.packets < self.next_report {
            return None;
        }
        self.next_report = self.packets.saturating_mul(2);
        Some(Phase::Continues)
    }

    fn take(&mut self, slot: &Slot) {
        self.packets += u64::from(slot.packets);
        self.completed += u64::from(slot.completed);
        self.peak = self.peak.max(slot.packets);
    }

    /// `counts_completed`: the rule counts completed connections.
    pub fn detection(
        &self,
        (kind, counts_completed): (Kind, bool),
        phase: Phase,
        ts_ns: i64,
        window_ns: i64,
    ) -> Detection {
        let (vlan, vlan_count) = vlan::unpack(self.tags);
        Detection {
            kind,
            phase,
            ts_ns,
            subject: self.subject,
            extent: Extent::Packets {
                count: self.packets,
                peak: self.peak,
            },
            evidence: Evidence::default(),
            source: SourceEvidence::default(),
            verdict: None,
            crowd: Some(Crowd {
                completed: counts_completed.then_some(self.completed),
                sources: self.sources.count(),
                top: self.sources.top(),
            }),
            proof: Proof::None,
            first_ns: self.first_ns,
            last_ns: self.last_ns,
            window_ns,
            exact: true,
            complete: true,
            interface: self.interface,
            src_prefix: None,
            vlan,
            vlan_count,
            status: AlertStatus::Alert,
        }
    }
}
