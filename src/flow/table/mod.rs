//! Hash tables of flows. Attempts leave in the order in which they came: a ring. Others leave by timers: a slab.

pub(crate) mod bucket;
pub(crate) mod ring;
pub(crate) mod slab;
pub(crate) mod timers;

/// Writes to every page of a list's first `capacity` places.
pub(super) fn prefault<T: Copy>(list: &mut Vec<T>, capacity: usize, filler: T) {
    let filled = list.len();
    list.resize(capacity, filler);
    list.truncate(filled);
}
