//! Allocation of every page before use.

use rtrb::Producer;
use std::collections::VecDeque;
use std::mem::MaybeUninit;

/// An empty list with room for `capacity`, every page of it written to.
pub fn prefaulted<T>(capacity: usize) -> VecDeque<T> {
    // Without the black box the compiler would call calloc, whose pages are allocated at the first access.
    let mut list = std::hint::black_box(Vec::with_capacity(capacity));
    list.spare_capacity_mut().fill_with(MaybeUninit::zeroed);
    VecDeque::from(list)
}

/// Writes to every free slot of a queue, without adding an element.
pub fn touch_all<T>(queue: &mut Producer<T>) {
    if let Ok(mut chunk) = queue.write_chunk_uninit(queue.slots()) {
        let (head, tail) = chunk.as_mut_slices();
        head.fill_with(MaybeUninit::zeroed);
        tail.fill_with(MaybeUninit::zeroed);
    }
}
