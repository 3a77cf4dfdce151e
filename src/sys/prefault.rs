//! Memory whose every page is there before it is used.

use rtrb::Producer;
use std::collections::VecDeque;
use std::mem::MaybeUninit;

/// A list of room for `capacity`, every page of it written to.
pub fn prefaulted<T>(capacity: usize) -> VecDeque<T> {
    // Seen by a black box: the compiler would else ask for zeroed memory, whose pages are there only once used.
    let mut list = std::hint::black_box(Vec::with_capacity(capacity));
    list.spare_capacity_mut().fill_with(MaybeUninit::zeroed);
    VecDeque::from(list)
}

/// Writes to every free place of a queue without putting anything in.
pub fn touch_all<T>(queue: &mut Producer<T>) {
    if let Ok(mut chunk) = queue.write_chunk_uninit(queue.slots()) {
        let (head, tail) = chunk.as_mut_slices();
        head.fill_with(MaybeUninit::zeroed);
        tail.fill_with(MaybeUninit::zeroed);
    }
}
