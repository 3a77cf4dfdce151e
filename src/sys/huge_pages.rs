//! Asks the kernel for huge pages: a table that is met at random then costs a miss of the cache, not one of the
//! address translation too.

use nix::sys::mman::{MmapAdvise, madvise};
use std::num::NonZeroUsize;
use std::ptr::NonNull;

/// A huge page on the machines this runs on; where it is larger, less of the memory is asked for in vain.
const HUGE: usize = 2 << 20;

/// Asks for huge pages under all of `list`, its spare capacity included. Best before it is written to. Where
/// there are none to be had (`/sys/kernel/mm/transparent_hugepage/enabled` says `never`) nothing changes.
pub fn ask_for_huge_pages<T>(list: &Vec<T>) {
    if let Some(start) = NonNull::new(list.as_ptr().cast_mut()) {
        ask_for_huge_pages_at(start.cast(), list.capacity() * size_of::<T>());
    }
}

/// The same for `bytes` of living memory that starts at `start`.
pub(super) fn ask_for_huge_pages_at(start: NonNull<u8>, bytes: usize) {
    let at = start.addr().get();
    let first = at.next_multiple_of(HUGE);
    let whole = (at + bytes).saturating_sub(first) / HUGE * HUGE;
    let Some(first) = NonZeroUsize::new(first).filter(|_| whole > 0) else {
        return;
    };
    let place = start.with_addr(first).cast();
    // SAFETY: the range lies in memory that the caller owns, and the advice changes neither what is in it nor
    // whether it is there.
    let advised = unsafe { madvise(place, whole, MmapAdvise::MADV_HUGEPAGE) };
    // A kernel without them says EINVAL; small pages do.
    let _ = advised;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_list_stays_whatever_its_size() {
        for len in [0, 1, 4096, HUGE / 8 - 1, HUGE / 2] {
            let list: Vec<u64> = (0..len as u64).collect();
            ask_for_huge_pages(&list);
            assert!(list.iter().copied().eq(0..len as u64), "{len} words");
        }
        ask_for_huge_pages(&Vec::<()>::with_capacity(5));
    }
}
