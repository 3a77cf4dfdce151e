//! Places are counted, whatever their number.

use super::*;

/// Marks of places, different for each `key`.
fn marks(key: u64, places: std::ops::Range<u64>) -> impl Iterator<Item = Mark> {
    places.map(move |place| Mark::of(mix64(mix64(key) ^ place)))
}

/// What a generation counts of these, all of which answer if `answers`.
fn counted(marks: impl Iterator<Item = Mark>, answers: bool) -> [u32; 2] {
    let mut generation = Generation::default();
    for mark in marks {
        generation.note(TOUCHED, Some(mark));
        if answers {
            generation.note(ANSWERED, Some(mark));
        }
    }
    places(&[generation, Generation::default()])
}

#[test]
fn few_places_are_counted_exactly_and_many_within_a_tenth() {
    let apart = |bit: u8| Mark {
        bit: bit * 16,
        depth: 0,
    };
    assert_eq!(counted((0..0).map(apart), true), [0, 0]);
    assert_eq!(counted((0..8).map(apart), true), [8, 8]);
    for number in [16_u64, 64, 150, 1_000, 60_000] {
        let keys = 0..200;
        let sum: u64 = keys
            .map(|key| u64::from(counted(marks(key, 0..number), false)[0]))
            .sum();
        let off = sum.abs_diff(200 * number);
        assert!(off <= 20 * number, "{number}: {sum}");
    }
}

#[test]
fn the_number_of_places_has_no_upper_limit_that_a_scan_could_reach() {
    for key in 0..20 {
        let [touched, _] = counted(marks(key, 0..1_000_000), false);
        assert!(
            (600_000..1_600_000).contains(&touched),
            "{key}: {touched} of a million"
        );
    }
}

#[test]
fn places_touched_again_and_again_count_about_three_times_at_most() {
    for key in 0..50 {
        let rounds = (0..500).flat_map(|_| marks(key, 0..300));
        let [touched, answered] = counted(rounds, true);
        assert!((200..1_100).contains(&touched), "{key}: {touched}");
        let share = f64::from(answered) / f64::from(touched);
        assert!((0.95..1.05).contains(&share), "{key}: {answered}");
    }
}

#[test]
fn places_of_two_generations_count_once_while_the_sets_have_room() {
    let mut old = Generation::default();
    marks(1, 0..60).for_each(|mark| old.note(TOUCHED, Some(mark)));
    let mut new = Generation::default();
    marks(1, 0..60).for_each(|mark| new.note(TOUCHED, Some(mark)));
    let none = Generation::default();
    assert_eq!(places(&[new, old]), places(&[new, none]));
}
