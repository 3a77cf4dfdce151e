//! Other thresholds while floods go on.

use super::{Detector, Flood, FloodRule, Flooded, Rule};

impl<R: FloodRule> Flood<R> {
    /// Goes on with the thresholds of `rule`. With slots of another length the present one begins anew at `now_ns`, so it
    /// counts too little, never too much.
    pub(super) fn change_rule(&mut self, rule: &Rule, now_ns: i64) {
        if self.rule.targets == 0 {
            return;
        }
        let window_ns = (rule.window_ns, self.rule.window_ns);
        if Self::is_on(rule) && window_ns.0 != window_ns.1 {
            let slot = now_ns.div_euclid(rule.window_ns);
            (self.targets.places_mut()).for_each(|target| target.renumber(slot, window_ns));
            let floods = self.floods.iter_mut().flatten();
            floods.for_each(|flooded| flooded.renumber(slot));
            self.rule.window_ns = rule.window_ns;
            self.slot = (0, 0, 0);
        }
        self.rule.at_least = rule.at_least;
        self.last = ((0, 0), 0);
        if !Self::is_on(rule) {
            self.forget_unstarted();
        }
    }

    /// The rule is off: none of them becomes a flood.
    fn forget_unstarted(&mut self) {
        for index in (0_u32..).take(self.floods.len()) {
            let flooded = self.floods[index as usize].as_ref();
            if flooded.is_some_and(|flooded| !Flooded::is_started(flooded)) {
                self.forget(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::contact::ContactKind;
    use crate::inspect::detection::Phase;
    use crate::inspect::lab::{self, Lab, S, v4};
    use crate::inspect::{Kind, Rules};
    use proptest::prelude::*;

    fn rules(at_least: u32, window_ns: i64) -> Rules {
        let rule = Rule {
            at_least,
            window_ns,
            targets: 512,
            floods: 8,
        };
        Rules {
            rst_flood: rule,
            ..lab::OFF
        }
    }

    fn resets(lab: &mut Lab, ts_ns: i64, packets: u32) {
        for n in 0..packets {
            let contact = lab.contact(ts_ns, (v4(n), v4(99)), 80, ContactKind::StrayReset);
            lab.on(&contact);
        }
    }

    fn phases(lab: &Lab) -> Vec<Phase> {
        let all = lab.all(Kind::RstFlood).into_iter();
        all.map(|one| one.phase).collect()
    }

    #[test]
    fn a_flood_goes_on_with_another_threshold_and_slot_and_ends_once() {
        let start = 1_000 * S;
        for (at_least, window_ns) in [(50, S), (200, S), (500, 10 * S), (100, 2 * S)] {
            let mut lab = Lab::new(rules(100, S));
            resets(&mut lab, start, 150);
            lab.expire(start + S);
            assert_eq!(phases(&lab), [Phase::Started]);
            lab.detectors.change(&rules(at_least, window_ns), start + S);
            for second in 1..30 {
                resets(&mut lab, start + second * S, 150);
                lab.expire(start + (second + 1) * S);
            }
            let told = phases(&lab);
            assert!(
                !told.contains(&Phase::Ended),
                "{at_least} {window_ns}: {told:?}"
            );
            lab.expire(start + 40 * S + 12 * window_ns);
            let told = phases(&lab);
            let of = |phase| told.iter().filter(|one| **one == phase).count();
            assert_eq!((of(Phase::Started), of(Phase::Ended)), (1, 1), "{told:?}");
        }
    }

    #[test]
    fn a_rule_is_turned_off_and_on_again_but_not_on_if_it_has_no_room() {
        let start = 1_000 * S;
        let mut lab = Lab::new(rules(100, S));
        resets(&mut lab, start, 150);
        let off = Rules {
            rst_flood: Flood::<crate::inspect::rst_flood::StrayResets>::OFF,
            ..lab::OFF
        };
        lab.detectors.change(&off, start);
        resets(&mut lab, start + S, 150);
        lab.expire(start + 5 * S);
        assert_eq!(phases(&lab), []);
        lab.detectors.change(&rules(100, S), start + 5 * S);
        resets(&mut lab, start + 6 * S, 150);
        lab.expire(start + 7 * S);
        assert_eq!(phases(&lab), [Phase::Started]);
        let mut lab = Lab::new(off);
        lab.detectors.change(&rules(100, S), start);
        resets(&mut lab, start, 150);
        lab.expire(start + S);
        assert_eq!(phases(&lab), []);
    }

    proptest! {
        #[test]
        fn no_flood_starts_without_its_packets(
            steps in prop::collection::vec((0_i64..800_000_000, 1_u32..60, prop::option::weighted(0.2, (1_u32..20, 1_i64..5))), 1..60),
        ) {
            let (mut now_ns, mut sent) = (1_000 * S, Vec::new());
            let mut at = (50, S);
            let mut lab = Lab::new(rules(at.0, at.1));
            for (step_ns, packets, change) in steps {
                now_ns += step_ns;
                let before = lab.found.len();
                lab.expire(now_ns);
                for (_, one) in &lab.found[before..] {
                    let window_ns = at.1;
                    let inside = |&(from_ns, _): &(i64, u32)| -> u32 {
                        let until_ns = from_ns + window_ns;
                        let sent = sent.iter().filter(|(then, _)| (from_ns..until_ns).contains(then));
                        sent.map(|(_, packets)| packets).sum()
                    };
                    let most = sent.iter().map(inside).max();
                    let is_right = one.phase != Phase::Started || most >= Some(at.0);
                    prop_assert!(is_right, "{one:?} {most:?} {at:?}");
                }
                if let Some((tens, seconds)) = change {
                    at = (tens * 10, seconds * S);
                    lab.detectors.change(&rules(at.0, at.1), now_ns);
                }
                resets(&mut lab, now_ns, packets);
                sent.push((now_ns, packets));
            }
        }
    }
}
