//! Contacts become detections, deadlines end flows, and the log gets what is in order.

use super::Shard;
use super::policy::Policy;
use crate::books::horizons::Horizons;
use crate::flow::record::{FlowEvent, When};
use crate::inspect::contact::{Contact, Owner};
use crate::inspect::detection::{AlertStatus, Detection};
use crate::inspect::detector::Owned;
use crate::log::event::{Body, Event, Step};
use crate::log::logger::Logger;
use crate::time::timeline::Timeline;

/// Live: steps of one settlement. Four times the frames between two settlements: an attempt takes three at most, so that
/// a flood's own attempts never pile up.
const SWEEP_STEPS_MAX: usize = 16_384;

/// Contacts taken from the queues at once.
pub(super) const CONTACTS: usize = 128;

/// Prefetch distance, in contacts.
const CONTACTS_AHEAD: usize = 16;

impl Shard {
    /// Decides on the contacts up to `limit`, ends what is due at `watermark_ns`, and hands the log all
    /// events up to `limit`. Live, only so many flows end at once; false while some are left.
    pub fn settle(&mut self, limit: u64, watermark_ns: i64, timeline: &Timeline<'_>) -> bool {
        self.decide(limit, watermark_ns, timeline);
        let Self {
            outbox,
            counts,
            flows,
            ..
        } = self;
        outbox.close_folds(watermark_ns, counts);
        outbox.sort();
        let steps_max = if outbox.is_live() {
            SWEEP_STEPS_MAX
        } else {
            usize::MAX
        };
        let unswept_ns = flows.expire_some(watermark_ns, steps_max, &mut |when, event| {
            if let (FlowEvent::Ended(record), When::Deadline(deadline)) = (event, when) {
                let event = Event {
                    position: timeline.position_of(deadline),
                    step: Step::Timer(deadline),
                    body: Body::Flow(record),
                };
                outbox.push_in_order(event, counts);
            }
        });
        // Unexpired flows may still emit events: hold the log back to the earliest deadline.
        let limit = unswept_ns.map_or(limit, |deadline| {
            limit.min(timeline.position_of(deadline).saturating_sub(1))
        });
        outbox.push_until(limit, counts);
        outbox.publish(limit);
        self.take_counts();
        unswept_ns.is_none()
    }

    /// Decides on the contacts up to `limit` and ends the scans that are over at `watermark_ns`.
    fn decide(&mut self, limit: u64, watermark_ns: i64, timeline: &Timeline<'_>) {
        let lost = self.owners.mesh.newest_lost();
        let lost_ns = lost.map(|position| timeline.watermark_at(position));
        self.detectors.set_contact_lost(lost_ns);
        let mut contacts = std::mem::take(&mut self.contacts);
        loop {
            contacts.clear();
            self.owners.mesh.take(limit, CONTACTS, &mut contacts);
            if contacts.is_empty() {
                break;
            }
            for contact in contacts.iter().take(CONTACTS_AHEAD) {
                self.detectors.prefetch(contact);
            }
            for (index, contact) in contacts.iter().enumerate() {
                if let Some(soon) = contacts.get(index + CONTACTS_AHEAD) {
                    self.detectors.prefetch(soon);
                }
                if let Some(next) = contacts.get(index + CONTACTS_AHEAD / 2) {
                    let is_united = || self.policy.is_united(next.dst());
                    self.detectors.prefetch_rules(next, is_united);
                }
                let owned = self.owners.owned(contact);
                self.on_contact(contact, owned, timeline);
            }
        }
        self.contacts = contacts;
        let Self {
            detectors,
            outbox,
            counts,
            policy,
            ..
        } = self;
        let place = (limit, Step::End(watermark_ns));
        detectors.expire(watermark_ns, &mut |found| {
            outbox.hold_detection(found, place, (policy, timeline), counts);
        });
    }

    /// Decides on a contact at once where this shard is the only one, else sends it to its owners.
    #[inline]
    pub(super) fn hand_over(&mut self, contact: &Contact, timeline: &Timeline<'_>) {
        let Some(owned) = self.owners.sole_owner() else {
            return self.owners.send(contact, &mut self.counts);
        };
        self.on_contact(contact, owned.of(contact.kind()), timeline);
    }

    #[inline(never)]
    fn on_contact(&mut self, contact: &Contact, owned: Owned, timeline: &Timeline<'_>) {
        let Self {
            detectors,
            outbox,
            counts,
            policy,
            ..
        } = self;
        let merged = &mut counts.contacts_merged;
        merged[Owner::Source as usize] += u64::from(owned.source);
        merged[Owner::Target as usize] += u64::from(owned.target);
        let setting = policy.of_contact(contact, detectors.asks_local);
        let watermark = timeline.watermark_at(contact.position);
        detectors.on_contact(contact, owned, setting, watermark, &mut |found| {
            let step = Step::Contact(contact.kind() as u16, contact.ts_ns);
            let place = (contact.position, step);
            outbox.hold_detection(found, place, (policy, timeline), counts);
        });
    }

    /// Puts another policy in force, once everything up to `limit` is decided. A scan that goes on, was not shown so far
    /// and is an alert now has a record at once: else its end would be all that is shown of it.
    pub fn change_policy(&mut self, policy: Policy, limit: u64, timeline: &Timeline<'_>) {
        let before = std::mem::replace(&mut self.policy, policy);
        let Self {
            detectors,
            outbox,
            counts,
            policy,
            ..
        } = self;
        let after = limit.saturating_add(1);
        let at_ns = timeline.watermark_at(after);
        let is_new = |detection: &Detection| {
            let is_alert = |policy: &Policy| policy.status_of(detection) == AlertStatus::Alert;
            is_alert(policy) && !is_alert(&before)
        };
        detectors.tell_running(at_ns, &is_new, &mut |found| {
            let place = (after, Step::Timer(at_ns));
            outbox.hold_detection(found, place, (policy, timeline), counts);
        });
    }

    /// Copies what the parts count to where others see it.
    fn take_counts(&mut self) {
        let Self {
            detectors,
            counts,
            flows,
            outbox,
            owners,
            ..
        } = self;
        counts.flow = *flows.counts();
        counts.detectors = detectors.counts();
        if owners.sole_owner().is_some() {
            // Nobody else sends it any.
            counts.contacts_sent = counts.contacts_merged;
        }
        counts.horizons = Horizons {
            dedup_ns: flows.dedup_horizon_ns(),
            scan_gaps_ns: detectors.detectable_gaps_ns(flows.now_ns()),
        };
        let [attempts, established, others] = flows.held();
        counts.connections_folding = outbox.folding();
        counts.held = [attempts, established, others].map(|held| held as u64);
        counts.held_by_detectors = detectors.occupancy().map(|held| held as u64);
    }

    /// Ends what is open and closes the way to the log; returns the logger if this thread has it. No packet waits for
    /// this shard any more, so it waits for the logger: a table full of open flows ends at once, and no queue holds them
    /// all.
    pub fn finish(&mut self, position: u64, timeline: &Timeline<'_>) -> Option<Box<Logger>> {
        let Self {
            detectors,
            outbox,
            counts,
            policy,
            flows,
            ..
        } = self;
        let watermark_ns = timeline.watermark_at(position);
        let place = (position, Step::End(watermark_ns));
        detectors.finish(watermark_ns, &mut |(_, detection)| {
            outbox.hold_detection((None, detection), place, (policy, timeline), counts);
        });
        outbox.wait_for_log();
        outbox.close_all_folds(place, counts);
        outbox.sort();
        flows.finish(&mut |_, event| {
            if let FlowEvent::Ended(record) = event {
                let event = Event {
                    position,
                    step: place.1,
                    body: Body::Flow(record),
                };
                outbox.push_in_order(event, counts);
            }
        });
        outbox.push_until(u64::MAX, counts);
        counts.connections_folding = outbox.folding();
        counts.flow = *flows.counts();
        counts.detectors = detectors.counts();
        outbox.close()
    }
}
