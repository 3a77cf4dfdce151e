//! The rule as DESIGN words it, for tests: every touch is kept, every item looked at.

use crate::inspect::contact::{Contact, Kinds};
use std::collections::BTreeMap;

/// The touches (time, item) at which it fires, by their number, with the items inside the window.
pub fn rising_edges<I: Ord + Copy>(
    touches: &[(i64, I)],
    at_least: usize,
    window_ns: i64,
) -> Vec<(usize, Vec<I>)> {
    let mut newest: BTreeMap<I, i64> = BTreeMap::new();
    let mut true_until: Option<i64> = None;
    let mut edges = Vec::new();
    for (number, &(ts_ns, item)) in touches.iter().enumerate() {
        let entry = newest.entry(item).or_insert(ts_ns);
        *entry = (*entry).max(ts_ns);
        let m = *newest.values().max().expect("just touched");
        let inside = newest.iter().filter(|(_, t)| m - **t < window_ns);
        let inside: Vec<I> = inside.map(|(item, _)| *item).collect();
        if inside.len() < at_least {
            continue;
        }
        if true_until.is_none_or(|until| m >= until + window_ns) {
            edges.push((number, inside));
        }
        let mut times: Vec<i64> = newest.values().copied().collect();
        times.sort_unstable();
        true_until = Some(times[times.len() - at_least] + window_ns);
    }
    edges
}

/// The numbers of the contacts at which it fires, if those of `kinds` touch their port and no others count.
pub fn starts(
    contacts: &[Contact],
    kinds: Kinds,
    (at_least, window_ns): (usize, i64),
) -> Vec<usize> {
    let counting = contacts.iter().enumerate();
    let counting = counting.filter(|(_, contact)| kinds.has(contact.kind()));
    let (numbers, touches): (Vec<usize>, Vec<(i64, u16)>) = counting
        .map(|(number, contact)| (number, (contact.ts_ns, contact.port)))
        .unzip();
    let edges = rising_edges(&touches, at_least, window_ns).into_iter();
    edges.map(|(touch, _)| numbers[touch]).collect()
}
