//! The life of an episode: rising edge, doublings, higher verdicts, summary.

use super::episode::{Episode, InFlight, evidence_of, evidence_so_far};
use super::question::{ExtentItems, ItemSet as _, Question, Raised, is_inside};
use super::state::TouchState;
use super::subjects::Touch;
use super::{Distinct, touch};
use crate::decode::key::Address;
use crate::decode::vlan;
use crate::inspect::contact::Owner;
use crate::inspect::detection::{AlertStatus, Crowd, Detection, Evidence, Extent, Phase, Proof};
use crate::inspect::detection::{SourceEvidence, Verdict};
use crate::inspect::detector::{Found, Sighting};
use crate::inspect::network::{Network, unmarked};
use crate::inspect::sources::Sources;
use crate::inspect::verdict::{Case, verdict};
use crate::time::durations::UNANSWERED_NS;
use std::cmp::Reverse;

/// The verdict is looked at this long after the rising edge, when refusals are known; then when silence is known; then
/// after twice the time, and so on.
const REVIEW_NS: i64 = 500_000_000;

impl<Q: Question> Distinct<Q> {
    pub(super) fn start(
        &mut self,
        slot: u32,
        sighting: &Sighting<'_>,
        out: &mut impl FnMut(Found),
    ) {
        let watermark = sighting.watermark;
        if self.free_episodes.is_empty() {
            self.evict_episode(watermark, sighting.sources, out);
        }
        let index = self.free_episodes.pop().expect("one was just made free");
        let list = self.free_lists.pop();
        self.counts.without_list += u64::from(list.is_none());
        self.generation = self.generation.wrapping_add(1);
        self.subjects.get_mut(slot).episode = Some(index);
        // A rule may keep more items than decide: what lies before the window is no part of this episode.
        let (newest_ns, window_ns) = (self.subjects.get(slot).newest_ns, self.rule.window_ns);
        let mut touches: Vec<Touch<Q::Item>> = self.subjects.touches(slot).to_vec();
        touches.retain(|touch| is_inside(touch.ts_ns, newest_ns, window_ns));
        touches.sort_unstable_by_key(|touch| touch.item);
        let count = u32::try_from(touches.len()).expect("N is small");
        let mut in_flight = InFlight::new(watermark);
        if let Some(list) = list {
            words_of::<Q>(&mut self.lists, list).fill(0);
            let mut items = item_set::<Q>(&mut self.lists, list);
            for touch in &touches {
                items.raise(touch.item, touch.state);
                if touch.state <= TouchState::Touched {
                    in_flight.touch(touch.first_ns(), watermark);
                }
            }
        }
        let evidence = evidence_so_far::<Q>(&touches, watermark);
        let first_ns = touches.iter().map(|touch| touch.ts_ns).min();
        self.episodes[index as usize] = Some(Episode {
            slot,
            dst: sighting.contact.dst().into(),
            first_ns: first_ns.unwrap_or(sighting.contact.ts_ns),
            count,
            started_ns: watermark,
            next_report: count.saturating_mul(2),
            verdict: None,
            review_ns: watermark.saturating_add(REVIEW_NS),
            in_flight,
            list,
            whole: list.is_some(),
            interface: sighting.contact.interface,
            tags: sighting.tags(),
            generation: self.generation,
        });
        self.schedule(index);
        sighting.wake_at(self.next_due_ns(index));
        self.counts.started += 1;
        let items: Vec<Q::Item> = touches.iter().map(|touch| touch.item).collect();
        let extent = Q::extent(count, ExtentItems::Deciding(&items));
        let at_ns = (sighting.contact.ts_ns, watermark);
        let found = (extent, evidence, Q::crowd(&touches));
        let detection = self.detection(index, Phase::Started, at_ns, found, sighting.sources);
        out((None, detection));
    }

    /// Its next deadline: a review of its verdict, or its end.
    fn next_due_ns(&self, index: u32) -> i64 {
        self.ends_at(index).min(self.episode(index).review_ns)
    }

    fn schedule(&mut self, index: u32) {
        let due = (
            self.next_due_ns(index),
            index,
            self.episode(index).generation,
        );
        self.due.push(Reverse(due));
    }

    fn episode(&self, index: u32) -> &Episode {
        let episode = self.episodes[index as usize].as_ref();
        episode.expect("named while it exists")
    }

    /// Handles what is due of an episode at `watermark`.
    pub(super) fn on_deadline(
        &mut self,
        index: u32,
        watermark: i64,
        sources: &Sources,
        out: &mut impl FnMut(Found),
    ) {
        while self.episode(index).review_ns < self.ends_at(index).min(watermark.saturating_add(1)) {
            self.review(index, sources, out);
        }
        let ends_ns = self.ends_at(index);
        if ends_ns <= watermark {
            self.end(index, (ends_ns, ends_ns), sources, out);
        } else {
            self.schedule(index);
        }
    }

    /// Looks at the verdict again: silence is evidence, too, and no contact tells of it.
    fn review(&mut self, index: u32, sources: &Sources, out: &mut impl FnMut(Found)) {
        let at_ns = self.episode(index).review_ns;
        let found = self.found_so_far(index, at_ns);
        let before = self.episode(index).verdict;
        let detection = self.detection(index, Phase::Continues, (at_ns, at_ns), found, sources);
        let episode = self.episodes[index as usize].as_mut();
        let episode = episode.expect("named while it exists");
        episode.review_ns = match detection.verdict {
            None | Some(Verdict::Scan) => i64::MAX,
            _ => {
                let passed_ns = at_ns.saturating_sub(episode.started_ns);
                let silence_ns = UNANSWERED_NS + REVIEW_NS;
                (episode.started_ns).saturating_add((2 * passed_ns).max(silence_ns))
            }
        };
        if detection.verdict > before {
            self.counts.continued += 1;
            out((Some(at_ns), detection));
        }
    }

    /// Tells that an episode goes on, if `wants` wants that. Nothing else changes.
    pub(super) fn tell(
        &mut self,
        index: u32,
        at_ns: i64,
        sources: &Sources,
        wants: &impl Fn(&Detection) -> bool,
        out: &mut impl FnMut(Found),
    ) {
        let before = self.episode(index).verdict;
        let found = self.found_so_far(index, at_ns);
        let detection = self.detection(index, Phase::Continues, (at_ns, at_ns), found, sources);
        if wants(&detection) {
            self.counts.continued += 1;
            out((Some(at_ns), detection));
        } else if let Some(episode) = &mut self.episodes[index as usize] {
            // A verdict that has risen meanwhile is told when it is looked at next.
            episode.verdict = before;
        }
    }

    pub(super) fn grow(
        &mut self,
        index: u32,
        sighting: &Sighting<'_>,
        out: &mut impl FnMut(Found),
    ) {
        let Touch { ts_ns, item, .. } = touch::<Q>(sighting);
        let episode = self.episodes[index as usize]
            .as_mut()
            .expect("subjects name episodes that exist");
        let Some(list) = episode.list else { return };
        {
            let mut items = item_set::<Q>(&mut self.lists, list);
            match items.raise(item, TouchState::Touched) {
                Raised::NoRoom => episode.whole = false,
                Raised::New => {
                    episode.count += 1;
                    episode.in_flight.touch(ts_ns, sighting.watermark);
                }
                Raised::Known => {}
            }
        }
        if episode.count < episode.next_report {
            return;
        }
        episode.next_report = episode.next_report.saturating_mul(2);
        self.counts.continued += 1;
        let at_ns = (ts_ns, sighting.watermark);
        let found = self.found_so_far(index, sighting.watermark);
        let detection = self.detection(index, Phase::Continues, at_ns, found, sighting.sources);
        out((None, detection));
    }

    /// A handshake was completed. The first one within an episode is told: whoever shuts out only whom a handshake proves
    /// waits for it. `known_ns`: the newest handshake before.
    pub(super) fn on_proof(
        &mut self,
        index: u32,
        known_ns: i64,
        sighting: &Sighting<'_>,
        out: &mut impl FnMut(Found),
    ) {
        let (episode, at_ns) = (self.episode(index), sighting.contact.ts_ns);
        let is_first = known_ns < episode.first_ns && at_ns >= episode.first_ns;
        if !is_first || Network::of(episode.tags).is_some() {
            return;
        }
        self.counts.continued += 1;
        let found = self.found_so_far(index, sighting.watermark);
        let at_ns = (at_ns, sighting.watermark);
        let detection = self.detection(index, Phase::Continues, at_ns, found, sighting.sources);
        out((None, detection));
    }

    fn evict_episode(&mut self, watermark: i64, sources: &Sources, out: &mut impl FnMut(Found)) {
        while let Some(Reverse((_, index, generation))) = self.due.pop() {
            if self.is_current(index, generation) {
                self.evict(index, watermark, sources, out);
                return;
            }
        }
    }

    /// Ends an episode for want of room; false if it was over before.
    pub(super) fn evict(
        &mut self,
        index: u32,
        watermark: i64,
        sources: &Sources,
        out: &mut impl FnMut(Found),
    ) -> bool {
        let ends_ns = self.ends_at(index);
        let was_open = ends_ns > watermark;
        self.counts.episodes_evicted += u64::from(was_open);
        let at_ns = ends_ns.min(watermark);
        self.end(index, (at_ns, at_ns), sources, out);
        was_open
    }

    pub(super) fn is_current(&self, index: u32, generation: u32) -> bool {
        self.episodes[index as usize]
            .as_ref()
            .is_some_and(|episode| episode.generation == generation)
    }

    /// When the rule will have been false for W.
    pub(super) fn ends_at(&self, index: u32) -> i64 {
        self.subjects.get(self.episode(index).slot).ends_ns
    }

    /// Ends an episode at `at_ns`; answers are known up to `known_ns`.
    pub(super) fn end(
        &mut self,
        index: u32,
        (at_ns, known_ns): (i64, i64),
        sources: &Sources,
        out: &mut impl FnMut(Found),
    ) {
        let found = self.found_so_far(index, known_ns);
        let at = (at_ns, known_ns);
        let detection = self.detection(index, Phase::Ended, at, found, sources);
        let episode = self.episodes[index as usize].take().expect("ended once");
        self.subjects.get_mut(episode.slot).episode = None;
        self.free_episodes.push(index);
        self.free_lists.extend(episode.list);
        self.counts.ended += 1;
        out((Some(at_ns), detection));
    }

    fn found_so_far(&mut self, index: u32, known_ns: i64) -> (Extent, Evidence, Option<Crowd>) {
        let slot = self.episode(index).slot;
        let touches = self.subjects.touches(slot);
        let crowd = Q::crowd(touches);
        let episode = self.episodes[index as usize].as_mut();
        let episode = episode.expect("named while it exists");
        let Some(list) = episode.list else {
            // Of the items touched last is known what became of them.
            let extent = Q::extent(episode.count, ExtentItems::Unknown);
            return (extent, evidence_so_far::<Q>(touches, known_ns), crowd);
        };
        let items = item_set::<Q>(&mut self.lists, list);
        let evidence = evidence_of::<Q>(&items, episode.in_flight.count(known_ns));
        let extent = Q::extent(episode.count, ExtentItems::All(items));
        (extent, evidence, crowd)
    }

    /// A detection stamped `ts_ns`, with what is known at `known_ns`.
    fn detection(
        &mut self,
        index: u32,
        phase: Phase,
        (ts_ns, known_ns): (i64, i64),
        (extent, evidence, crowd): (Extent, Evidence, Option<Crowd>),
        sources: &Sources,
    ) -> Detection {
        let of_sources = match Q::KEYED_BY {
            Owner::Source => sources.last_eviction_ns(self.rule.window_ns),
            Owner::Target => None,
        };
        let gap_ns = [self.last_eviction_ns, self.contact_lost_ns, of_sources];
        let gap_ns = gap_ns.into_iter().max().flatten();
        let lost_ns = self.contact_lost_ns;
        let window_ns = self.rule.window_ns;
        let episode = self.episodes[index as usize].as_mut();
        let episode = episode.expect("named while it exists");
        let held = self.subjects.get(episode.slot);
        let subject = Q::named(&held.subject, episode.dst);
        let network = Network::of(episode.tags);
        // A handshake before the episode proves nothing about who sent its SYNs, and one of an address in a network
        // nothing about the others.
        let is_proven = held.proven_ns >= episode.first_ns && network.is_none();
        let proof = match (is_proven, evidence.answered) {
            (true, _) => Proof::Handshake,
            (false, 0) => Proof::None,
            (false, _) => Proof::Answered,
        };
        let source = subject.src().map(|src| {
            let dst = subject.pair_target().map(Address::from);
            sources.evidence((src.into(), episode.tags), dst, known_ns)
        });
        let source: SourceEvidence = source.unwrap_or_default();
        // What was a scan stays one, though half an hour later its evidence is forgotten.
        let case = Case {
            judge: Q::ABOUT.judge,
            extent: &extent,
            is_whole: episode.whole,
            evidence: &evidence,
            source: &source,
        };
        let verdict = verdict(&case).max(episode.verdict);
        episode.verdict = verdict;
        let (vlan, vlan_count) = vlan::unpack(unmarked(episode.tags));
        Detection {
            kind: Q::KIND,
            phase,
            ts_ns,
            subject,
            extent,
            evidence,
            source,
            verdict,
            crowd,
            proof,
            first_ns: episode.first_ns,
            last_ns: held.newest_ns,
            window_ns,
            exact: gap_ns.is_none_or(|at| at.saturating_add(window_ns) <= ts_ns),
            complete: episode.whole && lost_ns.is_none_or(|lost| lost < episode.first_ns),
            interface: episode.interface,
            src_prefix: network.map(Network::prefix),
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
