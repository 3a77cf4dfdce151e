//! The state of an episode, from its rising edge to its summary.

use super::state::TouchState;
use super::subjects::Touch;
use crate::inspect::detection::{Evidence, Verdict};
use crate::time::durations::UNANSWERED_NS;
use std::net::IpAddr;

const SLOT_NS: i64 = UNANSWERED_NS / 10;
/// Slots that `UNANSWERED_NS` may touch: ten whole ones, or nine and two parts.
const SLOTS: usize = 11;

/// Upper bound of the items of an episode that may still answer: touches of the last 5 s in slots of 0.5 s of packet
/// time, minus answers.
///
/// It includes every item that was touched less than 5 s ago and has not answered. It is too high for up to 0.5 s, for
/// items touched again, and while some answer: the item of a touch is not kept, so an answer removes the oldest.
#[derive(Clone, Debug)]
pub struct InFlight {
    newest_slot: i64,
    touches: [u32; SLOTS],
}

impl InFlight {
    pub fn new(now_ns: i64) -> Self {
        Self {
            newest_slot: now_ns.div_euclid(SLOT_NS),
            touches: [0; SLOTS],
        }
    }

    fn place(slot: i64) -> usize {
        usize::try_from(slot.rem_euclid(SLOTS as i64)).expect("below SLOTS")
    }

    fn advance(&mut self, now_ns: i64) {
        let slot = now_ns.div_euclid(SLOT_NS);
        let passed = (slot - self.newest_slot).clamp(0, SLOTS as i64);
        for ahead in 1..=passed {
            self.touches[Self::place(self.newest_slot + ahead)] = 0;
        }
        self.newest_slot = self.newest_slot.max(slot);
    }

    /// An unanswered item was touched at `ts_ns`; packet time is `now_ns`.
    pub fn touch(&mut self, ts_ns: i64, now_ns: i64) {
        self.advance(now_ns.max(ts_ns));
        let slot = ts_ns.div_euclid(SLOT_NS);
        if self.newest_slot - slot < SLOTS as i64 {
            self.touches[Self::place(slot)] += 1;
        }
    }

    /// An item answered for the first time.
    pub fn answer(&mut self) {
        let oldest = (1..=SLOTS as i64).map(|ahead| Self::place(self.newest_slot + ahead));
        if let Some(slot) = oldest.into_iter().find(|&slot| self.touches[slot] > 0) {
            self.touches[slot] -= 1;
        }
    }

    /// The bound at `now_ns`.
    pub fn count(&mut self, now_ns: i64) -> u32 {
        self.advance(now_ns);
        self.touches.iter().sum()
    }
}

#[derive(Clone, Debug)]
pub struct Episode {
    /// Slot of its subject.
    pub slot: u32,
    /// Destination of the deciding packet; the subject's may stand for several.
    pub dst: IpAddr,
    /// First touch of the rising edge's window.
    pub first_ns: i64,
    /// Packet time at its rising edge.
    pub started_ns: i64,
    /// Distinct items; a lower bound unless `whole`.
    pub count: u32,
    /// Items at which the next `continues` is due.
    pub next_report: u32,
    /// The highest verdict so far.
    pub verdict: Option<Verdict>,
    /// When the verdict is looked at again, though nothing doubled; `i64::MAX`: not again.
    pub review_ns: i64,
    /// Kept with a list only.
    pub in_flight: InFlight,
    /// Index of its list of items, if one was free.
    pub list: Option<u32>,
    /// The list has every item.
    pub whole: bool,
    /// Of the deciding packet.
    pub interface: u16,
    /// Tags of the subject, see [`crate::decode::key::Key::tags`].
    pub tags: u32,
    /// Distinguishes it from earlier episodes with the same index.
    pub generation: u32,
}

/// Evidence at the rising edge: items touched less than 5 s ago may still answer.
pub(super) fn evidence_so_far<I>(touches: &[Touch<I>], watermark: i64) -> Evidence {
    let mut evidence = Evidence::default();
    for touch in touches {
        match touch.state {
            TouchState::Answered => evidence.answered += 1,
            TouchState::Refused => evidence.refused += 1,
            _ if watermark.saturating_sub(touch.ts_ns) >= UNANSWERED_NS => evidence.unanswered += 1,
            _ => evidence.pending += 1,
        }
    }
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_touch_counts_as_in_flight_for_five_seconds_and_at_most_half_a_second_more() {
        for ts_ns in [0, 1, SLOT_NS - 1, SLOT_NS, -1, 7 * SLOT_NS + 3] {
            let mut recent = InFlight::new(ts_ns);
            recent.touch(ts_ns, ts_ns);
            assert_eq!(recent.count(ts_ns + UNANSWERED_NS - 1), 1, "{ts_ns}");
            assert_eq!(recent.count(ts_ns + UNANSWERED_NS + SLOT_NS), 0, "{ts_ns}");
        }
        let mut late = InFlight::new(100 * SLOT_NS);
        late.touch(0, 100 * SLOT_NS);
        assert_eq!(late.count(100 * SLOT_NS), 0, "five seconds late");
        late.touch(i64::MIN, i64::MAX);
        assert_eq!(late.count(i64::MAX), 0);
    }

    proptest! {
        /// Against every port with its newest touch: never less than may still answer.
        #[test]
        fn in_flight_is_a_bound_and_exact_while_nothing_answers(
            steps in prop::collection::vec((0_i64..2_000_000_000, 0_u16..40, any::<bool>()), 1..200),
            answers in any::<bool>(),
        ) {
            let mut newest: BTreeMap<u16, Option<i64>> = BTreeMap::new();
            let (mut recent, mut now_ns, mut distinct) = (InFlight::new(0), 0, 0);
            for (step, port, answer) in steps {
                now_ns += step;
                let state = newest.get(&port).copied();
                // As in the flow stage: what answers was touched less than 5 s ago.
                let alive = |ts_ns: i64| now_ns - ts_ns < UNANSWERED_NS;
                match state {
                    Some(Some(ts_ns)) if answers && answer && alive(ts_ns) => {
                        recent.answer();
                        newest.insert(port, None);
                    }
                    None | Some(Some(_)) if answers || state.is_none() => {
                        recent.touch(now_ns, now_ns);
                        newest.insert(port, Some(now_ns));
                        distinct += 1;
                    }
                    _ => {}
                }
                let open = |within: i64| {
                    let young = |ts_ns: &&Option<i64>| ts_ns.is_some_and(|ts_ns| now_ns - ts_ns < within);
                    u32::try_from(newest.values().filter(young).count()).expect("40 ports")
                };
                let in_flight = recent.count(now_ns);
                prop_assert!(in_flight >= open(UNANSWERED_NS), "at {now_ns}");
                prop_assert!(answers || in_flight <= open(UNANSWERED_NS + SLOT_NS), "at {now_ns}");
            }
            prop_assert!(distinct > 0);
        }
    }
}
