//! Which captures one program wrote one after the other, by their names.
//!
//! Such names differ in numbers only, and the numbers grow with time: `rx_1.pcap`, `rx_2.pcap`. Where they do not, the
//! first of them tell programs apart: `eth0_1.pcap`, `eth1_1.pcap`, `eth0_2.pcap` are two series.

use std::collections::HashMap;

/// A number in a name: its digits without leading zeros, the shorter of two first.
type Number<'a> = (usize, &'a str);

/// The series of each name, as numbers from 0 on. The names are in the order of time.
pub(super) fn series_of(names: &[String]) -> Vec<usize> {
    let numbers: Vec<_> = names.iter().map(|name| numbers_of(name)).collect();
    let mut shapes: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        shapes.entry(shape_of(name)).or_default().push(at);
    }
    let mut series = vec![0; names.len()];
    let mut count = 0;
    for members in shapes.values() {
        let most = numbers[members[0]].len();
        let groups = (0..=most).map(|fixed| groups_by(&numbers, members, fixed));
        let grow = |groups: &Vec<Vec<usize>>| {
            let mut pairs = groups.iter().flat_map(|group| group.windows(2));
            pairs.all(|pair| numbers[pair[0]] < numbers[pair[1]])
        };
        // Those of equal names never grow.
        let groups = groups.into_iter().find(grow);
        for group in groups.unwrap_or_else(|| groups_by(&numbers, members, most)) {
            for at in group {
                series[at] = count;
            }
            count += 1;
        }
    }
    series
}

/// The members whose first `fixed` numbers are the same, in the order of the members.
fn groups_by(numbers: &[Vec<Number<'_>>], members: &[usize], fixed: usize) -> Vec<Vec<usize>> {
    let mut groups: HashMap<&[Number<'_>], Vec<usize>> = HashMap::new();
    for &at in members {
        groups.entry(&numbers[at][..fixed]).or_default().push(at);
    }
    groups.into_values().collect()
}

/// The name with each number replaced by a byte that no name has.
fn shape_of(name: &str) -> String {
    let mut shape = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter.is_ascii_digit() {
            false => shape.push(letter),
            true if shape.ends_with('\0') => {}
            true => shape.push('\0'),
        }
    }
    shape
}

fn numbers_of(name: &str) -> Vec<Number<'_>> {
    let runs = name.split(|letter: char| !letter.is_ascii_digit());
    let runs = runs.filter(|run| !run.is_empty());
    runs.map(|run| run.trim_start_matches('0'))
        .map(|digits| (digits.len(), digits))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each name, the first name of its series.
    fn firsts<'a>(names: &[&'a str]) -> Vec<&'a str> {
        let all: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let series = series_of(&all);
        let first = |of: &usize| series.iter().position(|one| one == of);
        let firsts = series
            .iter()
            .map(|of| names[first(of).expect("one has it")]);
        firsts.collect()
    }

    #[test]
    fn names_that_differ_in_growing_numbers_are_a_series() {
        let all = ["cap0", "cap9", "cap10", "cap011"];
        assert_eq!(firsts(&all), ["cap0"; 4]);
        let all = ["rx_1.pcap", "tx_1.pcap", "rx_2.pcap", "tx_2.pcap"];
        assert_eq!(firsts(&all), [all[0], all[1], all[0], all[1]]);
        let all = ["x_1_20260101", "x_2_20260102", "x_3_20260103"];
        assert_eq!(firsts(&all), [all[0]; 3]);
        assert_eq!(firsts(&["head", "tail", "-"]), ["head", "tail", "-"]);
        assert!(firsts(&[]).is_empty());
    }

    #[test]
    fn where_numbers_do_not_grow_the_first_ones_tell_series_apart() {
        let all = ["eth0_1", "eth1_1", "eth0_2", "eth1_2"];
        assert_eq!(firsts(&all), [all[0], all[1], all[0], all[1]]);
        // A ring of files whose first was written again; a file that is named twice.
        assert_eq!(firsts(&["cap1", "cap2", "cap0"]), ["cap1", "cap2", "cap0"]);
        assert_eq!(firsts(&["cap1", "cap1"]), ["cap1"; 2]);
    }
}
