//! `port_scan`: at least N ports of one destination touched by one source within a window.
//!
//! For each port its newest touch counts; M is the newest of all. The rule holds after a frame when at
//! least N ports have M − t < W. The N most recently touched ports answer that exactly: the rule holds
//! if and only if the N-th newest touch lies inside the window. As a function of time it then holds
//! until that N-th newest touch is W old (`true_until`); it re-arms when it has been false for W.

use super::contact::{Contact, ContactKind};
use super::detection::{Detection, Evidence, Kind, Phase};
use crate::time::timeline::Timeline;
use episode::{Episode, Recent, evidence_so_far};
use firsts::{First, Firsts};
use gap::FloodLaw;
use pairs::{Pair, PairKey, Pairs, Touch};
use port_map::{PORT_MAP_BYTES, PortMap, PortState, ranges_of};
use rule::Due;
pub use rule::{PortScanCounts, Rule};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;

/// A detection with the deadline that made it, if a deadline did.
pub type Found = (Option<i64>, Detection);

/// The detector.
pub struct PortScan {
    rule: Rule,
    pairs: Pairs,
    firsts: Firsts,
    /// How fast pairs with one port come, and those with more.
    coming: [FloodLaw; 2],
    episodes: Vec<Option<Episode>>,
    free_episodes: Vec<u32>,
    maps: Vec<u8>,
    free_maps: Vec<u32>,
    due: BinaryHeap<Due>,
    generation: u32,
    last_eviction_ns: Option<i64>,
    /// Packet time reached so far.
    now_ns: i64,
    /// What it did.
    pub counts: PortScanCounts,
    /// Packet time of the newest contact that was lost on the way here: alerts say so.
    pub contact_lost_ns: Option<i64>,
}

impl PortScan {
    /// Takes all its memory.
    pub fn new(rule: Rule) -> Self {
        let count = |n: usize| u32::try_from(n).expect("limits are checked by Config");
        Self {
            rule,
            pairs: Pairs::new(rule.pairs, rule.ports),
            firsts: Firsts::new(rule.firsts),
            coming: [rule.firsts, rule.pairs].map(FloodLaw::new),
            episodes: vec![None; rule.episodes],
            free_episodes: (0..count(rule.episodes)).rev().collect(),
            maps: vec![0; rule.port_maps * PORT_MAP_BYTES],
            free_maps: (0..count(rule.port_maps)).rev().collect(),
            due: BinaryHeap::with_capacity(rule.episodes + 1),
            generation: 0,
            last_eviction_ns: None,
            now_ns: i64::MIN,
            counts: PortScanCounts::default(),
            contact_lost_ns: None,
        }
    }

    /// Writes to every page, so that a flood later moves no memory.
    pub fn prefault(&mut self) {
        self.pairs.prefault();
        self.firsts.prefault();
        self.maps.fill(0);
    }

    /// Pairs held, and room for them.
    pub fn occupancy(&self) -> (usize, usize) {
        let (many, one) = (self.pairs.occupancy(), self.firsts.occupancy());
        (many.0 + one.0, many.1 + one.1)
    }

    /// A scan whose ports follow each other by less than this is found: the window, and the safe side of the
    /// flood law while pairs with touches younger than that are pushed out.
    pub fn detectable_gap_ns(&self) -> i64 {
        let window_ns = self.rule.window_ns;
        let evicted = self.last_eviction_ns;
        if evicted.is_none_or(|at| at.saturating_add(window_ns) <= self.now_ns) {
            return window_ns;
        }
        let gaps = self.coming.iter().map(|law| law.gap_ns(self.now_ns));
        gaps.fold(window_ns, i64::min)
    }

    /// Asks the CPU for the lines where the pair of this contact lies, some contacts before its turn.
    #[inline]
    pub fn announce(&self, contact: &Contact) {
        self.pairs.announce(contact.pair);
        self.firsts.announce(contact.pair);
    }

    /// Takes one contact of a pair that this shard owns. `target` is what was touched in the eyes of the rule:
    /// the destination, or one address that stands for several.
    pub fn on_contact(
        &mut self,
        contact: &Contact,
        target: IpAddr,
        timeline: &Timeline<'_>,
        out: &mut impl FnMut(Found),
    ) {
        let watermark = timeline.watermark_at(contact.position);
        self.now_ns = self.now_ns.max(watermark);
        let key = PairKey {
            src: contact.src,
            dst: target,
        };
        match contact.kind {
            ContactKind::Touch => {
                self.counts.touches += 1;
                self.on_touch(key, contact, watermark, out);
            }
            ContactKind::Answered => self.on_outcome(&key, contact, PortState::Answered),
            ContactKind::Refused => self.on_outcome(&key, contact, PortState::Refused),
        }
    }

    fn on_outcome(&mut self, key: &PairKey, contact: &Contact, state: PortState) {
        self.counts.outcomes += 1;
        let port = contact.port;
        let Some(slot) = self.pairs.find(contact.pair, key) else {
            if let Some(place) = self.firsts.find(contact.pair) {
                let first = self.firsts.get(place);
                if first.port == port {
                    let state = first.state.max(state);
                    self.firsts.set(place, First { state, ..first });
                }
            }
            return;
        };
        let mut touches = self.pairs.touches_mut(slot).iter_mut();
        if let Some(touch) = touches.find(|touch| touch.port == port) {
            touch.state = touch.state.max(state);
        }
        if let Some(index) = self.pairs.get(slot).episode
            && let Some(episode) = self.episodes[index as usize].as_mut()
            && let Some(map) = episode.map
        {
            let mut map = port_map(&mut self.maps, map);
            let before = map.get(port);
            if before == PortState::Touched {
                episode.recent.answer();
            }
            if before != PortState::Untouched {
                map.raise(port, state);
            }
        }
    }

    fn on_touch(
        &mut self,
        key: PairKey,
        contact: &Contact,
        watermark: i64,
        out: &mut impl FnMut(Found),
    ) {
        let Some(slot) = self.pair_with_ports(key, contact, watermark, out) else {
            return;
        };
        if let Some(index) = self.pairs.get(slot).episode {
            let deadline = self.ends_at(index);
            if deadline <= watermark {
                self.end(index, deadline, out);
            }
        }
        let window_ns = self.rule.window_ns;
        self.pairs.touch(slot, touch_of(contact));
        let (holds, oldest) = (
            self.pairs.holds(slot, window_ns),
            self.pairs.oldest_kept_ns(slot),
        );
        let pair = self.pairs.get_mut(slot);
        let newest = pair.newest_ns;
        let armed = pair
            .true_until_ns
            .is_none_or(|until| newest >= until.saturating_add(window_ns));
        if holds {
            let until = oldest.saturating_add(window_ns);
            pair.true_until_ns = Some(until);
            pair.ends_ns = until
                .saturating_add(window_ns)
                .max(watermark.saturating_add(1));
        }
        match pair.episode {
            None if holds && armed => self.start(slot, contact, watermark, out),
            None => {}
            Some(index) => self.grow(index, contact, watermark, out),
        }
    }

    /// The slot of a pair that has, with this touch, more than one port. A first port alone decides nothing.
    fn pair_with_ports(
        &mut self,
        key: PairKey,
        contact: &Contact,
        watermark: i64,
        out: &mut impl FnMut(Found),
    ) -> Option<u32> {
        let hash = contact.pair;
        if let Some(slot) = self.pairs.find(hash, &key) {
            return Some(slot);
        }
        let Some(place) = self.firsts.find(hash) else {
            let first = First {
                port: contact.port,
                newest_ns: contact.ts_ns,
                state: PortState::Touched,
            };
            self.coming[0].on_new(self.now_ns);
            if let Some(newest_ns) = self.firsts.insert(hash, first) {
                self.note_evicted(newest_ns, watermark);
            }
            return None;
        };
        let first = self.firsts.get(place);
        if first.port == contact.port {
            let newest_ns = first.newest_ns.max(contact.ts_ns);
            self.firsts.set(place, First { newest_ns, ..first });
            return None;
        }
        self.firsts.take(place);
        let slot = self.insert_pair(hash, key, watermark, out);
        let known = Touch {
            ts_ns: first.newest_ns,
            port: first.port,
            state: first.state,
        };
        self.pairs.touch(slot, known);
        Some(slot)
    }

    /// A pair had to leave: while its newest touch is younger than W, that may cost a scan.
    fn note_evicted(&mut self, newest_ns: i64, watermark: i64) {
        if newest_ns.saturating_add(self.rule.window_ns) > watermark {
            self.counts.pairs_evicted += 1;
            self.last_eviction_ns = Some(watermark);
        }
    }

    fn insert_pair(
        &mut self,
        hash: u64,
        key: PairKey,
        watermark: i64,
        out: &mut impl FnMut(Found),
    ) -> u32 {
        self.coming[1].on_new(self.now_ns);
        let slot = self.pairs.choose_slot(hash);
        if let Some(victim) = self.pairs.occupant(slot) {
            let (episode, newest) = (victim.episode, victim.newest_ns);
            if let Some(index) = episode {
                self.counts.episodes_evicted += 1;
                self.end(index, self.ends_at(index).min(watermark), out);
            }
            let until = if episode.is_some() { watermark } else { newest };
            self.note_evicted(until, watermark);
        }
        self.pairs.replace(slot, hash, Pair::new(key));
        slot
    }

    fn start(&mut self, slot: u32, contact: &Contact, watermark: i64, out: &mut impl FnMut(Found)) {
        if self.free_episodes.is_empty() {
            self.evict_episode(watermark, out);
        }
        let index = self.free_episodes.pop().expect("one was just made free");
        let map = self.free_maps.pop();
        if let Some(map) = map {
            port_map(&mut self.maps, map).0.fill(0);
        } else {
            self.counts.without_map += 1;
        }
        self.generation = self.generation.wrapping_add(1);
        self.pairs.get_mut(slot).episode = Some(index);
        let mut touches: Vec<Touch> = self.pairs.touches(slot).to_vec();
        touches.sort_unstable_by_key(|touch| touch.port);
        let ports = u32::try_from(touches.len()).expect("at most TOUCHES_MAX");
        let mut recent = Recent::new(watermark);
        if let Some(map) = map {
            let mut map = port_map(&mut self.maps, map);
            for touch in &touches {
                map.raise(touch.port, touch.state);
                if touch.state <= PortState::Touched {
                    recent.touch(touch.ts_ns, watermark);
                }
            }
        }
        let first_ns = touches
            .iter()
            .map(|touch| touch.ts_ns)
            .min()
            .unwrap_or(contact.ts_ns);
        let episode = Episode {
            pair: slot,
            dst: contact.dst,
            first_ns,
            ports,
            next_report: ports.saturating_mul(2),
            recent,
            map,
            interface: contact.interface,
            generation: self.generation,
        };
        self.episodes[index as usize] = Some(episode);
        self.due
            .push(Reverse((self.ends_at(index), index, self.generation)));
        self.counts.started += 1;
        let ranges = ranges_of(touches.iter().map(|touch| touch.port));
        let evidence = evidence_so_far(&touches, watermark);
        out((
            None,
            self.detection(index, Phase::Started, contact.ts_ns, ranges, evidence),
        ));
    }

    fn grow(&mut self, index: u32, contact: &Contact, watermark: i64, out: &mut impl FnMut(Found)) {
        let episode = self.episodes[index as usize]
            .as_mut()
            .expect("pairs name episodes that exist");
        let Some(map) = episode.map else { return };
        let mut map = port_map(&mut self.maps, map);
        if map.get(contact.port) <= PortState::Touched {
            episode.recent.touch(contact.ts_ns, watermark);
        }
        if map.raise(contact.port, PortState::Touched) {
            episode.ports += 1;
        }
        if episode.ports < episode.next_report {
            return;
        }
        episode.next_report = episode.next_report.saturating_mul(2);
        self.counts.continued += 1;
        let in_flight = episode.recent.in_flight(watermark);
        let (ranges, evidence) = (map.ranges(), map.evidence(in_flight));
        out((
            None,
            self.detection(index, Phase::Continues, contact.ts_ns, ranges, evidence),
        ));
    }

    fn evict_episode(&mut self, watermark: i64, out: &mut impl FnMut(Found)) {
        while let Some(Reverse((_, index, generation))) = self.due.pop() {
            if self.is_current(index, generation) {
                self.counts.episodes_evicted += 1;
                return self.end(index, self.ends_at(index).min(watermark), out);
            }
        }
    }

    fn is_current(&self, index: u32, generation: u32) -> bool {
        self.episodes[index as usize]
            .as_ref()
            .is_some_and(|episode| episode.generation == generation)
    }

    /// When the rule will have been false for W.
    fn ends_at(&self, index: u32) -> i64 {
        let episode = self.episodes[index as usize]
            .as_ref()
            .expect("asked for episodes that exist");
        self.pairs.get(episode.pair).ends_ns
    }

    /// Ends every episode that is due at `watermark`.
    pub fn expire(&mut self, watermark: i64, out: &mut impl FnMut(Found)) {
        self.now_ns = self.now_ns.max(watermark);
        while let Some(&Reverse((deadline, index, generation))) = self.due.peek() {
            if deadline > watermark {
                return;
            }
            self.due.pop();
            if !self.is_current(index, generation) {
                continue;
            }
            let actual = self.ends_at(index);
            if actual > watermark {
                self.due.push(Reverse((actual, index, generation)));
            } else {
                self.end(index, actual, out);
            }
        }
    }

    /// Ends whatever is open: the capture or the run is over.
    pub fn finish(&mut self, out: &mut impl FnMut(Found)) {
        for index in 0..u32::try_from(self.episodes.len()).expect("limits are checked by Config") {
            if self.episodes[index as usize].is_some() {
                let pair = self.episodes[index as usize]
                    .as_ref()
                    .map(|episode| episode.pair);
                let last = pair.map_or(0, |pair| self.pairs.get(pair).newest_ns);
                self.end_known_until(index, last, self.now_ns.max(last), out);
            }
        }
        self.due.clear();
    }

    fn end(&mut self, index: u32, at_ns: i64, out: &mut impl FnMut(Found)) {
        self.end_known_until(index, at_ns, at_ns, out);
    }

    /// Ends an episode at `at_ns`; what came back is known until `known_ns`.
    fn end_known_until(
        &mut self,
        index: u32,
        at_ns: i64,
        known_ns: i64,
        out: &mut impl FnMut(Found),
    ) {
        let episode = self.episodes[index as usize]
            .as_mut()
            .expect("ended while it exists");
        let (ranges, evidence) = match episode.map {
            Some(map) => {
                let map = port_map(&mut self.maps, map);
                let in_flight = episode.recent.in_flight(known_ns);
                (map.ranges(), map.evidence(in_flight))
            }
            None => (Vec::new(), Evidence::default()),
        };
        let detection = self.detection(index, Phase::Ended, at_ns, ranges, evidence);
        let episode = self.episodes[index as usize].take().expect("ended once");
        self.pairs.get_mut(episode.pair).episode = None;
        self.free_episodes.push(index);
        self.free_maps.extend(episode.map);
        self.counts.ended += 1;
        out((Some(at_ns), detection));
    }

    fn detection(
        &self,
        index: u32,
        phase: Phase,
        ts_ns: i64,
        ranges: Vec<(u16, u16)>,
        evidence: Evidence,
    ) -> Detection {
        let episode = self.episodes[index as usize]
            .as_ref()
            .expect("described while it exists");
        let pair = self.pairs.get(episode.pair);
        let window_ns = self.rule.window_ns;
        let gap_ns = self.last_eviction_ns.max(self.contact_lost_ns);
        let lost_since = |ns: i64| self.contact_lost_ns.is_some_and(|lost| lost >= ns);
        Detection {
            kind: Kind::PortScan,
            phase,
            ts_ns,
            src: pair.key.src,
            dst: episode.dst,
            first_ns: episode.first_ns,
            last_ns: pair.newest_ns,
            ranges,
            ports: episode.ports,
            window_ns,
            exact: gap_ns.is_none_or(|at| at.saturating_add(window_ns) <= ts_ns),
            complete: episode.map.is_some() && !lost_since(episode.first_ns),
            evidence,
            interface: episode.interface,
        }
    }
}

fn touch_of(contact: &Contact) -> Touch {
    Touch {
        ts_ns: contact.ts_ns,
        port: contact.port,
        state: PortState::Touched,
    }
}

fn port_map(maps: &mut [u8], index: u32) -> PortMap<'_> {
    let at = index as usize * PORT_MAP_BYTES;
    PortMap(&mut maps[at..at + PORT_MAP_BYTES])
}

pub mod episode;
mod firsts;
mod gap;
mod pairs;
pub mod port_map;
pub mod rule;
#[cfg(test)]
mod tests;
