//! The life of an episode: rising edge, doublings, summary.

use super::episode::{Episode, InFlight, evidence_so_far};
use super::question::{ExtentItems, ItemSet as _, Question, Raised};
use super::state::TouchState;
use super::subjects::Touch;
use super::{Distinct, PreparedContact};
use crate::decode::vlan;
use crate::inspect::detection::{AlertStatus, Detection, Evidence, Extent, Phase, Proof};
use crate::inspect::detector::Found;
use std::cmp::Reverse;

impl<Q: Question> Distinct<Q> {
    pub(super) fn start(
        &mut self,
        slot: u32,
        prepared: &PreparedContact<'_>,
        out: &mut impl FnMut(Found),
    ) {
        let watermark = prepared.watermark;
        if self.free_episodes.is_empty() {
            self.evict_episode(watermark, out);
        }
        let index = self.free_episodes.pop().expect("one was just made free");
        let list = self.free_lists.pop();
        self.counts.without_list += u64::from(list.is_none());
        self.generation = self.generation.wrapping_add(1);
        self.subjects.get_mut(slot).episode = Some(index);
        let mut touches: Vec<Touch<Q::Item>> = self.subjects.touches(slot).to_vec();
        touches.sort_unstable_by_key(|touch| touch.item);
        let count = u32::try_from(touches.len()).expect("N is small");
        let mut in_flight = InFlight::new(watermark);
        if let Some(list) = list {
            words_of::<Q>(&mut self.lists, list).fill(0);
            let mut items = item_set::<Q>(&mut self.lists, list);
            for touch in &touches {
                items.raise(touch.item, touch.state);
                if touch.state <= TouchState::Touched {
                    in_flight.touch(touch.ts_ns, watermark);
                }
            }
        }
        let first_ns = touches.iter().map(|touch| touch.ts_ns).min();
        self.episodes[index as usize] = Some(Episode {
            slot,
            dst: prepared.contact.dst().into(),
            first_ns: first_ns.unwrap_or(prepared.contact.ts_ns),
            count,
            next_report: count.saturating_mul(2),
            in_flight,
            list,
            whole: list.is_some(),
            interface: prepared.contact.interface,
            tags: prepared.contact.tags(),
            generation: self.generation,
        });
        self.due
            .push(Reverse((self.ends_at(index), index, self.generation)));
        self.counts.started += 1;
        let items: Vec<Q::Item> = touches.iter().map(|touch| touch.item).collect();
        let extent = Q::extent(count, ExtentItems::Deciding(&items));
        let evidence = evidence_so_far(&touches, watermark);
        let ts_ns = prepared.contact.ts_ns;
        let detection = self.detection(index, Phase::Started, ts_ns, (extent, evidence));
        out((None, detection));
    }

    pub(super) fn grow(
        &mut self,
        index: u32,
        prepared: &PreparedContact<'_>,
        out: &mut impl FnMut(Found),
    ) {
        let Touch { ts_ns, item, .. } = prepared.touch::<Q>();
        let episode = self.episodes[index as usize]
            .as_mut()
            .expect("subjects name episodes that exist");
        let Some(list) = episode.list else { return };
        {
            let mut items = item_set::<Q>(&mut self.lists, list);
            match items.raise(item, TouchState::Touched) {
                Raised::NoRoom => episode.whole = false,
                Raised::New => episode.count += 1,
                Raised::Known => {}
            }
            if items.get(item) == TouchState::Touched {
                episode.in_flight.touch(ts_ns, prepared.watermark);
            }
        }
        if episode.count < episode.next_report {
            return;
        }
        episode.next_report = episode.next_report.saturating_mul(2);
        self.counts.continued += 1;
        let found = self.found_so_far(index, prepared.watermark);
        let detection = self.detection(index, Phase::Continues, ts_ns, found);
        out((None, detection));
    }

    fn evict_episode(&mut self, watermark: i64, out: &mut impl FnMut(Found)) {
        while let Some(Reverse((_, index, generation))) = self.due.pop() {
            if self.is_current(index, generation) {
                self.evict(index, watermark, out);
                return;
            }
        }
    }

    /// Ends an episode for want of room; false if it was over before.
    pub(super) fn evict(
        &mut self,
        index: u32,
        watermark: i64,
        out: &mut impl FnMut(Found),
    ) -> bool {
        let ends_ns = self.ends_at(index);
        let was_open = ends_ns > watermark;
        self.counts.episodes_evicted += u64::from(was_open);
        let at_ns = ends_ns.min(watermark);
        self.end(index, at_ns, at_ns, out);
        was_open
    }

    pub(super) fn is_current(&self, index: u32, generation: u32) -> bool {
        self.episodes[index as usize]
            .as_ref()
            .is_some_and(|episode| episode.generation == generation)
    }

    /// Ends the episode of a subject, if that is over: whether
    /// [`Detector::expire`](crate::inspect::detector::Detector::expire) came before must not matter.
    pub(super) fn end_if_over(&mut self, slot: u32, watermark: i64, out: &mut impl FnMut(Found)) {
        if let Some(index) = self.subjects.get(slot).episode {
            let deadline = self.ends_at(index);
            if deadline <= watermark {
                self.end(index, deadline, deadline, out);
            }
        }
    }

    /// When the rule will have been false for W.
    pub(super) fn ends_at(&self, index: u32) -> i64 {
        let episode = self.episodes[index as usize]
            .as_ref()
            .expect("asked for episodes that exist");
        self.subjects.get(episode.slot).ends_ns
    }

    /// Ends an episode at `at_ns`; answers are known up to `known_ns`.
    pub(super) fn end(
        &mut self,
        index: u32,
        at_ns: i64,
        known_ns: i64,
        out: &mut impl FnMut(Found),
    ) {
        let found = self.found_so_far(index, known_ns);
        let detection = self.detection(index, Phase::Ended, at_ns, found);
        let episode = self.episodes[index as usize].take().expect("ended once");
        self.subjects.get_mut(episode.slot).episode = None;
        self.free_episodes.push(index);
        self.free_lists.extend(episode.list);
        self.counts.ended += 1;
        out((Some(at_ns), detection));
    }

    fn found_so_far(&mut self, index: u32, known_ns: i64) -> (Extent, Evidence) {
        let episode = self.episodes[index as usize]
            .as_mut()
            .expect("described while it exists");
        let Some(list) = episode.list else {
            let extent = Q::extent(episode.count, ExtentItems::Unknown);
            return (extent, Evidence::default());
        };
        let items = item_set::<Q>(&mut self.lists, list);
        let evidence = items.evidence(episode.in_flight.count(known_ns));
        (Q::extent(episode.count, ExtentItems::All(items)), evidence)
    }

    fn detection(
        &self,
        index: u32,
        phase: Phase,
        ts_ns: i64,
        (extent, evidence): (Extent, Evidence),
    ) -> Detection {
        let episode = self.episodes[index as usize]
            .as_ref()
            .expect("described while it exists");
        let held = self.subjects.get(episode.slot);
        let (vlan, vlan_count) = vlan::unpack(episode.tags);
        let window_ns = self.rule.window_ns;
        let gap_ns = self.last_eviction_ns.max(self.contact_lost_ns);
        let lost_since = |ns: i64| self.contact_lost_ns.is_some_and(|lost| lost >= ns);
        Detection {
            kind: Q::KIND,
            phase,
            ts_ns,
            subject: Q::named(&held.subject, episode.dst),
            extent,
            evidence,
            // A handshake before the episode proves nothing about who sent its SYNs.
            proof: match (held.proven_ns >= episode.first_ns, evidence.answered) {
                (true, _) => Proof::Handshake,
                (false, 0) => Proof::None,
                (false, _) => Proof::Answered,
            },
            first_ns: episode.first_ns,
            last_ns: held.newest_ns,
            window_ns,
            exact: gap_ns.is_none_or(|at| at.saturating_add(window_ns) <= ts_ns),
            complete: episode.whole && !lost_since(episode.first_ns),
            interface: episode.interface,
            vlan,
            vlan_count,
            status: AlertStatus::Alert,
        }
    }
}

fn words_of<Q: Question>(lists: &mut [u64], index: u32) -> &mut [u64] {
    let at = index as usize * Q::ITEM_SET_WORDS;
    &mut lists[at..at + Q::ITEM_SET_WORDS]
}

pub(super) fn item_set<Q: Question>(lists: &mut [u64], index: u32) -> Q::ItemSet<'_> {
    Q::item_set(words_of::<Q>(lists, index))
}
