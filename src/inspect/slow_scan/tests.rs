//! The rule in its own words, by brute force over all places, and its borders.

use super::*;
use crate::inspect::Rules;
use crate::inspect::contact::ContactKind;
use crate::inspect::detection::{Phase, Verdict};
use crate::inspect::lab::{self, Lab, S, rule, v4};
use crate::inspect::setting::Setting;
use crate::inspect::sources::place_of;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;

const HOURS_8: i64 = 8 * 3600 * S;

fn with(at_least: usize, window_ns: i64) -> Lab {
    Lab::new(Rules {
        slow_scan: rule(at_least, window_ns),
        ..lab::OFF
    })
}

/// A contact of one source with a place: three ports of each host.
fn contact(lab: &Lab, ts_ns: i64, place: u16, kind: ContactKind) -> Contact {
    let dst = v4(0xc633_6400 + u32::from(place / 3));
    lab.contact(ts_ns, (v4(0xc000_0201), dst), place % 3, kind)
}

fn on(lab: &mut Lab, ts_ns: i64, place: u16, kind: ContactKind) {
    let contact = contact(lab, ts_ns, place, kind);
    lab.on(&contact);
}

fn touch_and(lab: &mut Lab, ts_ns: i64, place: u16, outcome: ContactKind) {
    on(lab, ts_ns, place, ContactKind::Touch);
    on(lab, ts_ns, place, outcome);
}

fn starts(lab: &Lab) -> usize {
    let all = lab.all(Kind::SlowScan).into_iter();
    all.filter(|one| one.phase == Phase::Started).count()
}

/// The rule in the words of its specification.
#[derive(Default)]
struct Naive {
    /// Every place: its newest touch, and the best outcome since it is among the twelve.
    all: BTreeMap<PortOf, (i64, Outcome)>,
    /// Time of the N-th newest failed touch at the last touch at which the rule held.
    nth_ns: Option<i64>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    #[default]
    None,
    Refused,
    Answered,
}

impl Naive {
    /// The twelve most recently touched places.
    fn twelve(&self) -> Vec<PortOf> {
        let mut places: Vec<_> = self.all.iter().collect();
        places.sort_by_key(|&(place, (newest_ns, _))| (Reverse(*newest_ns), *place));
        places
            .into_iter()
            .take(12)
            .map(|(place, _)| *place)
            .collect()
    }

    fn outcome(&mut self, contact: &Contact, outcome: Outcome) {
        let place = Places::item(&place_of(contact, Setting::default(), 0));
        if self.twelve().contains(&place)
            && let Some((_, best)) = self.all.get_mut(&place)
        {
            *best = (*best).max(outcome);
        }
    }

    /// Whether an episode starts with this touch.
    fn touch(&mut self, contact: &Contact, at_least: usize, window_ns: i64) -> bool {
        let ts_ns = contact.ts_ns;
        let place = Places::item(&place_of(contact, Setting::default(), 0));
        let place = self.all.entry(place);
        let (newest_ns, _) = place.or_insert((ts_ns, Outcome::None));
        *newest_ns = ts_ns.max(*newest_ns);
        let twelve = self.twelve();
        for (place, (_, outcome)) in &mut self.all {
            if !twelve.contains(place) {
                *outcome = Outcome::None;
            }
        }
        let m = self.all.values().map(|(newest_ns, _)| *newest_ns).max();
        let m = m.expect("just touched");
        let failed = twelve.iter().map(|place| self.all[place]);
        let failed = failed.filter(|&(newest_ns, outcome)| match outcome {
            Outcome::Refused => true,
            Outcome::Answered => false,
            Outcome::None => m - newest_ns >= 5 * S,
        });
        let within = failed.filter(|(newest_ns, _)| m - newest_ns < window_ns);
        let mut times: Vec<i64> = within.map(|(newest_ns, _)| newest_ns).collect();
        times.sort_unstable();
        let holds = times.len() >= at_least && m - times[0] >= 60 * S;
        let is_armed = self.nth_ns.is_none_or(|nth_ns| m >= nth_ns + 2 * window_ns);
        if holds {
            self.nth_ns = Some(times[times.len() - at_least]);
        }
        holds && is_armed
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn slow_scans_are_exact(
        steps in prop::collection::vec((0..16_usize, 0_u16..18, 0..8_u8), 1..200),
        at_least in 4_usize..=12,
        minutes in prop::sample::select(vec![2, 10, 480]),
    ) {
        const GAPS: [i64; 16] = [0, 1, 1, 2, 3, 4, 5, 5, 6, 10, 20, 30, 60, 120, 600, -3];
        let window_ns = minutes * 60 * S;
        let (mut lab, mut naive) = (with(at_least, window_ns), Naive::default());
        let (mut now_ns, mut contacts, mut expected) = (0, Vec::new(), Vec::new());
        for (gap, place, outcome) in steps {
            now_ns += GAPS[gap] * S;
            let touch = contact(&lab, now_ns, place, ContactKind::Touch);
            if naive.touch(&touch, at_least, window_ns) {
                expected.push(contacts.len());
            }
            contacts.push(touch);
            let (kind, outcome) = match outcome {
                0..3 => (ContactKind::Refused, Outcome::Refused),
                3 => (ContactKind::Answered, Outcome::Answered),
                // It says nothing about the port.
                4 => (ContactKind::Established, Outcome::None),
                _ => continue,
            };
            // Of this place, or late of another one.
            let place = if gap % 3 == 0 { place ^ 1 } else { place };
            let late = contact(&lab, now_ns, place, kind);
            naive.outcome(&late, outcome);
            contacts.push(late);
        }
        prop_assert_eq!(lab.starts(Kind::SlowScan, contacts), expected);
    }
}

/// Whether a touch `after_ns` behind ten refused ones decides.
fn ten_refused_then(after_ns: i64) -> bool {
    let mut lab = with(10, HOURS_8);
    (0..10).for_each(|place| touch_and(&mut lab, 0, place, ContactKind::Refused));
    on(&mut lab, after_ns, 10, ContactKind::Touch);
    starts(&lab) == 1
}

#[test]
fn the_first_failure_is_at_least_a_minute_older_than_the_deciding_touch() {
    assert!(!ten_refused_then(60 * S - 1));
    assert!(ten_refused_then(60 * S));
}

#[test]
fn a_failure_exactly_as_old_as_the_window_is_outside() {
    for (after_ns, expected) in [(HOURS_8 - 1, 1), (HOURS_8, 0)] {
        let mut lab = with(10, HOURS_8);
        touch_and(&mut lab, 0, 0, ContactKind::Refused);
        (1..10).for_each(|place| touch_and(&mut lab, 1, place, ContactKind::Refused));
        on(&mut lab, after_ns, 10, ContactKind::Touch);
        assert_eq!(starts(&lab), expected, "{after_ns}");
    }
}

#[test]
fn silence_is_a_failure_after_five_seconds() {
    for (after_ns, expected) in [(5 * S - 1, 0), (5 * S, 1)] {
        let mut lab = with(10, HOURS_8);
        (0..9).for_each(|place| touch_and(&mut lab, 0, place, ContactKind::Refused));
        on(&mut lab, 100 * S, 9, ContactKind::Touch);
        on(&mut lab, 100 * S + after_ns, 10, ContactKind::Touch);
        assert_eq!(starts(&lab), expected, "{after_ns}");
    }
}

#[test]
fn three_answers_of_twelve_are_too_many_and_two_are_not() {
    for (answers, expected) in [(2, 1), (3, 0)] {
        let mut lab = with(10, HOURS_8);
        for place in 0..60 {
            let kind = match place % 12 < answers {
                true => ContactKind::Answered,
                false => ContactKind::Refused,
            };
            touch_and(&mut lab, i64::from(place) * 300 * S, place, kind);
        }
        // The newest place has not failed yet when it decides.
        assert_eq!(starts(&lab), expected, "{answers}");
    }
}

#[test]
fn a_place_that_comes_back_into_the_twelve_starts_anew() {
    for (others, expected) in [(11, 0), (12, 1)] {
        let mut lab = with(12, HOURS_8);
        touch_and(&mut lab, 0, 0, ContactKind::Answered);
        for place in 1..=others {
            touch_and(
                &mut lab,
                i64::from(place) * 100 * S,
                place,
                ContactKind::Refused,
            );
        }
        // Touched again, it fails by silence, unless it is known to have answered.
        on(&mut lab, 1300 * S, 0, ContactKind::Touch);
        touch_and(&mut lab, 1400 * S, 12, ContactKind::Refused);
        (2..=11).for_each(|place| touch_and(&mut lab, 1500 * S, place, ContactKind::Refused));
        on(&mut lab, 1600 * S, 12, ContactKind::Touch);
        assert_eq!(starts(&lab), expected, "{others}");
    }
}

#[test]
fn it_re_arms_two_windows_behind_the_last_failure_that_made_it_hold() {
    let window_ns = 600 * S;
    for (gap_ns, expected) in [(2 * window_ns - 1, 1), (2 * window_ns, 2)] {
        let mut lab = with(4, window_ns);
        let times = [0, 100, 200, 300].map(|second| second * S);
        for (place, ts_ns) in (0..).zip(times) {
            touch_and(&mut lab, ts_ns, place, ContactKind::Refused);
        }
        // It holds here and no longer: the fourth newest failure was at 0.
        on(&mut lab, 400 * S, 4, ContactKind::Touch);
        assert_eq!(starts(&lab), 1);
        // Four new failures, decided exactly at the border.
        for (place, before_s) in (5..).zip([400, 300, 200, 100]) {
            let ts_ns = gap_ns - before_s * S;
            touch_and(&mut lab, ts_ns, place, ContactKind::Answered);
        }
        on(&mut lab, gap_ns - 90 * S, 9, ContactKind::Touch);
        for place in 10..13 {
            touch_and(&mut lab, gap_ns - 80 * S, place, ContactKind::Refused);
        }
        on(&mut lab, gap_ns, 13, ContactKind::Touch);
        assert_eq!(starts(&lab), expected, "{gap_ns}");
    }
}

#[test]
fn an_episode_whose_end_is_due_later_ends_when_the_next_one_starts() {
    let mut lab = with(4, 600 * S);
    for (place, second) in (0..).zip([0, 100, 200]) {
        touch_and(&mut lab, second * S, place, ContactKind::Refused);
    }
    on(&mut lab, 396 * S, 3, ContactKind::Touch);
    on(&mut lab, 397 * S, 4, ContactKind::Touch);
    // The fourth newest of five failures was at 100 s; then one of them answers, and it was at 0 s.
    on(&mut lab, 403 * S, 5, ContactKind::Touch);
    on(&mut lab, 404 * S, 4, ContactKind::Answered);
    on(&mut lab, 404 * S, 5, ContactKind::Touch);
    for (place, second) in (6..).zip([1100, 1150, 1160, 1170]) {
        touch_and(&mut lab, second * S, place, ContactKind::Refused);
    }
    on(&mut lab, 1250 * S, 10, ContactKind::Touch);
    let all = lab.all(Kind::SlowScan).into_iter();
    let said: Vec<(Phase, i64)> = all.map(|one| (one.phase, one.ts_ns / S)).collect();
    let expected = [
        (Phase::Started, 403),
        (Phase::Ended, 1250),
        (Phase::Started, 1250),
    ];
    assert_eq!(said, expected);
}

#[test]
fn nmap_t0_at_one_port_in_five_minutes_is_found_and_a_scan() {
    let mut lab = with(10, HOURS_8);
    for place in 0..40 {
        touch_and(
            &mut lab,
            i64::from(place) * 300 * S,
            place,
            ContactKind::Refused,
        );
    }
    let all = lab.all(Kind::SlowScan);
    assert_eq!(all[0].phase, Phase::Started);
    assert_eq!(all[0].ts_ns, 10 * 300 * S, "ten have failed, one decides");
    assert!(all.iter().any(|one| one.verdict == Some(Verdict::Scan)));
}

#[test]
fn what_lies_before_the_window_is_no_part_of_the_episode() {
    let mut lab = with(4, 600 * S);
    touch_and(&mut lab, 0, 0, ContactKind::Refused);
    on(&mut lab, 0, 0, ContactKind::Established);
    for (place, second) in (1..).zip([1000, 1010, 1020, 1030, 1090]) {
        touch_and(&mut lab, second * S, place, ContactKind::Refused);
    }
    let all = lab.all(Kind::SlowScan);
    assert_eq!((all[0].extent.count(), all[0].first_ns), (5, 1000 * S));
}
