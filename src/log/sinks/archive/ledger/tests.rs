use super::*;
use std::path::Path;

const MIB: u64 = 1 << 20;
const S: i64 = 1_000_000_000;

fn series(options: &[&str], output: usize) -> Series {
    let rotation = Rotation::of(options);
    let path = format!("/x/{output}");
    Series::new(Names::of_file(Path::new(&path)), output, rotation)
}

fn file(second: i64, mib: u64) -> Closed {
    Closed {
        place: Place { second, number: 0 },
        begun_ns: second * S,
        bytes: mib * MIB,
        plain_bytes: Some(mib * MIB),
        form: Form::Plain,
        leaving: false,
    }
}

fn ledger(budget_mib: Option<u64>, series: Vec<Series>) -> Ledger {
    let budget = budget_mib.map(|mib| mib * MIB);
    Ledger { budget, series }
}

/// Removes what is surplus; the seconds that are left of each series.
fn left(ledger: &mut Ledger, ahead: u64) -> Vec<Vec<i64>> {
    while let Some((at, place)) = ledger.surplus(ahead) {
        ledger.series[at].closed.retain(|one| one.place != place);
    }
    let seconds = |one: &Series| one.closed.iter().map(|file| file.place.second).collect();
    ledger.series.iter().map(seconds).collect()
}

#[test]
fn a_number_of_files_is_kept_and_one_more_before_the_archiver_comes() {
    for (ahead, expected) in [(FILES_AHEAD, vec![3, 4]), (FILES_AHEAD - 1, vec![2, 3, 4])] {
        let mut one = series(&["1MiB", "keep=2"], 0);
        (0..5).for_each(|second| one.put(file(second, 1)));
        assert_eq!(left(&mut ledger(None, vec![one]), ahead), [expected]);
    }
}

#[test]
fn bytes_are_kept_with_room_for_what_is_open_and_compressed() {
    for (ahead, expected) in [(FILES_AHEAD, vec![3, 4]), (FILES_AHEAD - 1, vec![2, 3, 4])] {
        let mut one = series(&["2MiB", "keep=10MiB"], 0);
        (0..5).for_each(|second| one.put(file(second, 2)));
        assert_eq!(left(&mut ledger(None, vec![one]), ahead), [expected]);
    }
}

#[test]
fn a_budget_takes_the_oldest_of_all_and_none_that_could_not_be_removed() {
    let (mut one, mut two) = (series(&["1MiB"], 0), series(&["1MiB"], 1));
    [1, 3, 5]
        .into_iter()
        .for_each(|second| one.put(file(second, 1)));
    [2, 4, 6]
        .into_iter()
        .for_each(|second| two.put(file(second, 1)));
    one.at(Place {
        second: 3,
        number: 0,
    })
    .expect("it is there")
    .leaving = true;
    let mut all = ledger(Some(6 + 3), vec![one, two]);
    assert_eq!(left(&mut all, FILES_AHEAD), [vec![3, 5], vec![6]]);
    all.budget = Some(0);
    assert_eq!(
        left(&mut all, FILES_AHEAD),
        [vec![3], vec![]],
        "and it ends"
    );
}

#[test]
fn without_limits_all_is_kept_and_has_no_reach() {
    let mut one = series(&["1h"], 0);
    (0..999).for_each(|second| one.put(file(second, 999)));
    let all = ledger(None, vec![one]);
    assert_eq!(all.surplus(FILES_AHEAD), None);
    assert_eq!(all.reach_s(5 * S).next(), Some((0, None)));
}

#[test]
fn the_newest_plain_file_is_compressed_first() {
    let (mut one, mut two) = (series(&["1MiB"], 0), series(&["1MiB"], 1));
    one.put(file(7, 1));
    two.put(file(9, 1));
    let form = Form::Gzip;
    one.put(Closed {
        form,
        ..file(12, 1)
    });
    let leaving = true;
    one.put(Closed {
        leaving,
        ..file(11, 1)
    });
    let all = ledger(None, vec![one, two]);
    assert_eq!(all.plain(), Some((1, file(9, 1).place)));
}

fn reach_s(all: &Ledger, second: i64) -> f64 {
    all.reach_s(second * S)
        .next()
        .expect("one")
        .1
        .expect("limited")
}

/// A file of 1 MiB each ten seconds, compressed to a quarter at once: what the gauge says before the limit is what
/// will be there at it.
fn assert_foretold(options: &[&str], budget_mib: Option<u64>) {
    let mut all = ledger(budget_mib, vec![series(options, 0)]);
    let mut said = Vec::new();
    let mut second = 0_i64;
    all.series[0].open_since_ns = Some(0);
    while said.len() < 400 {
        second += 1;
        let one = &mut all.series[0];
        one.rate
            .update(second.cast_unsigned() * MIB / 10, second * S);
        if second % 10 == 0 {
            let (bytes, form) = (MIB / 4, Form::Gzip);
            one.put(Closed {
                bytes,
                form,
                ..file(second - 10, 1)
            });
            one.open_since_ns = Some(second * S);
        }
        while let Some((at, place)) = all.surplus(FILES_AHEAD) {
            all.series[at].closed.retain(|one| one.place != place);
            all.series[at].is_full = true;
        }
        if all.series[0].is_full {
            said.push(reach_s(&all, second));
        } else if second > 10 {
            said = vec![reach_s(&all, second)];
        }
    }
    let (foretold, then) = said.split_first().expect("many");
    for real in then {
        assert!(
            (foretold / real - 1.0).abs() < 0.1,
            "{options:?}: {foretold} and {real}"
        );
    }
}

#[test]
fn what_is_foretold_before_the_limit_is_reached_there() {
    assert_foretold(&["1MiB", "keep=10"], None);
    assert_foretold(&["1MiB", "keep=8MiB"], None);
    assert_foretold(&["1MiB"], Some(9));
    assert_foretold(&["1m+1MiB", "keep=100"], Some(12));
}

#[test]
fn time_alone_is_foretold_without_a_rate_and_silence_reaches_very_far() {
    let all = ledger(None, vec![series(&["1h", "keep=24"], 0)]);
    assert!((reach_s(&all, 0) - 24.5 * 3600.0).abs() < 1.0);
    let all = ledger(None, vec![series(&["1MiB", "keep=9MiB"], 0)]);
    assert!((reach_s(&all, 0) - REACH_MAX_S).abs() < 1.0);
}
