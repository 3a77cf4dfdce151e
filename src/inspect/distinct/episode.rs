//! The state of an episode, from its rising edge to its summary.

use super::question::{ItemSet as _, Question};
use super::state::TouchState;
use super::subjects::Touch;
use crate::inspect::detection::{Evidence, Verdict};
use crate::time::durations::UNANSWERED_NS;
use std::net::IpAddr;

const SLOT_NS: i64 = UNANSWERED_NS / 10;
/// Slots that `UNANSWERED_NS` may touch: ten whole ones, or nine and two parts.
const SLOTS: usize = 11;

/// Upper bound of the items of an episode that may still answer: first touches of the last 5 s in slots of 0.5 s of
/// packet time, minus answers.
///
/// A further touch of an item, such as a retransmission, does not prolong its wait: whoever repeats all touches would be
/// waited for without end. It is too high for up to 0.5 s, and while some answer: the item of a touch is not kept, so an
/// answer removes the oldest. An item that answers later than 5 s removes another one, so that for 5 s there are as many
/// failures as before its answer.
#[derive(Clone, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
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

    /// An unanswered item was touched for the first time at `ts_ns`; packet time is `now_ns`.
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
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
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

/// Evidence at the rising edge: items touched for the first time less than 5 s ago may still answer. What a rule takes
/// for failed ([`has_failed`](super::question::has_failed), which asks for the newest touch), failed here, too.
pub(super) fn evidence_so_far<Q: Question>(touches: &[Touch<Q::Item>], watermark: i64) -> Evidence {
    let mut evidence = Evidence::default();
    for touch in touches {
        let spared = u32::from(Q::spared().any(|item| item == touch.item));
        match touch.state {
            TouchState::Answered => evidence.answered += 1,
            TouchState::Refused => {
                evidence.refused += 1;
                evidence.spared += spared;
            }
            _ if watermark.saturating_sub(touch.first_ns()) >= UNANSWERED_NS => {
                evidence.unanswered += 1;
                evidence.spared += spared;
            }
            _ => evidence.pending += 1,
        }
    }
    evidence
}

/// Evidence of a list, up to `in_flight` of which may still answer.
pub(super) fn evidence_of<Q: Question>(items: &Q::ItemSet<'_>, in_flight: u32) -> Evidence {
    let mut evidence = items.evidence(in_flight);
    let (mut refused, mut silent) = (0, 0);
    for item in Q::spared() {
        match items.get(item) {
            TouchState::Refused => refused += 1,
            TouchState::Touched => silent += 1,
            TouchState::Untouched | TouchState::Answered => {}
        }
    }
    evidence.spared = refused + silent.min(evidence.unanswered);
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::distinct::question::has_failed;
    use crate::inspect::distinct::subjects::{SubjectState, Subjects};
    use crate::inspect::port_scan::{Scan, ports::Ports};
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

    #[test]
    fn a_late_answer_makes_no_more_items_unanswered() {
        let mut recent = InFlight::new(0);
        (0..4).for_each(|_| recent.touch(0, 0));
        let now_ns = UNANSWERED_NS + 2 * SLOT_NS;
        (0..3).for_each(|_| recent.touch(now_ns, now_ns));
        let unanswered = |silent, recent: &mut InFlight| silent - recent.count(now_ns);
        let before = unanswered(7, &mut recent);
        recent.answer();
        assert_eq!((before, unanswered(6, &mut recent)), (4, 4));
        assert_eq!(recent.count(now_ns + UNANSWERED_NS + SLOT_NS), 0);
    }

    fn touches(steps: &[(i64, u16)], window_ns: i64) -> Vec<Touch<u16>> {
        let mut subjects = Subjects::new(8, 4, window_ns);
        subjects.replace(0, 0, SubjectState::new(()));
        for &(ts_ns, port) in steps {
            let touch = Touch::new(ts_ns, port, TouchState::Touched);
            subjects.touch(0, touch);
        }
        subjects.touches(0).to_vec()
    }

    #[test]
    fn a_retransmission_does_not_prolong_the_wait_at_the_rising_edge() {
        const S: i64 = 1_000_000_000;
        for (window_ns, unanswered) in [(4 * S, 1), (4 * S + 1, 2)] {
            // One is touched every two seconds, one comes back after four, one is new.
            let steps = [0, 2, 4, 6].map(|second| (second * S, 1));
            let others = [(2 * S - S / 2, 2), (6 * S - S / 2, 2), (6 * S, 3)];
            let touches = touches(&[&steps[..], &others].concat(), window_ns);
            let evidence = evidence_so_far::<Ports<Scan>>(&touches, 7 * S);
            let expected = Evidence {
                unanswered,
                pending: 3 - unanswered,
                ..Evidence::default()
            };
            assert_eq!(evidence, expected, "{window_ns}");
        }
    }

    proptest! {
        #[test]
        fn what_failed_for_a_rule_failed_in_the_evidence(
            steps in prop::collection::vec((-1_000_000_000_i64..4_000_000_000, 0_u16..4), 1..60),
            start_ns in any::<i64>(),
            window_ns in 1_000_000_000_i64..60_000_000_000,
        ) {
            let mut now_ns = start_ns / 2;
            let steps: Vec<(i64, u16)> = steps.iter().map(|&(step, port)| {
                now_ns += step;
                (now_ns, port)
            }).collect();
            let newest_ns = steps.iter().map(|step| step.0).max().expect("a step");
            let touches = touches(&steps, window_ns);
            let of_rule = touches.iter().filter(|touch| has_failed(touch, newest_ns)).count();
            let evidence = evidence_so_far::<Ports<Scan>>(&touches, newest_ns);
            prop_assert!(evidence.unanswered as usize >= of_rule);
            for touch in &touches {
                let of_port = steps.iter().filter(|step| step.1 == touch.item);
                let first_ns = of_port.map(|step| step.0).min().expect("touched");
                prop_assert!(touch.first_ns() > first_ns - 2_000_000, "no sooner than it was touched");
            }
        }

        /// Against every port with its first touch: never less than may still answer.
        #[test]
        fn in_flight_is_a_bound_and_exact_while_nothing_answers(
            steps in prop::collection::vec((0_i64..2_000_000_000, 0_u16..40, any::<bool>()), 1..200),
            answers in any::<bool>(),
        ) {
            let mut first: BTreeMap<u16, Option<i64>> = BTreeMap::new();
            let (mut recent, mut now_ns) = (InFlight::new(0), 0);
            for (step, port, answer) in steps {
                now_ns += step;
                let is_open = |ts_ns: i64, within: i64| now_ns - ts_ns < within;
                match first.get(&port).copied() {
                    None => {
                        recent.touch(now_ns, now_ns);
                        first.insert(port, Some(now_ns));
                    }
                    Some(Some(ts_ns)) if answers && answer && is_open(ts_ns, UNANSWERED_NS) => {
                        recent.answer();
                        first.insert(port, None);
                    }
                    // Touched again.
                    Some(_) => {}
                }
                let open = |within: i64| {
                    let young = |ts_ns: &&Option<i64>| ts_ns.is_some_and(|ts_ns| is_open(ts_ns, within));
                    u32::try_from(first.values().filter(young).count()).expect("40 ports")
                };
                let in_flight = recent.count(now_ns);
                prop_assert!(in_flight >= open(UNANSWERED_NS), "at {now_ns}");
                prop_assert!(answers || in_flight <= open(UNANSWERED_NS + SLOT_NS), "at {now_ns}");
            }
        }
    }
}
