//! Asks the kernel for huge pages: a table that is met at random then costs a miss of the cache, not one of the
//! address translation too.

use nix::sys::mman::{MmapAdvise, madvise};
use std::ptr::NonNull;

/// A huge page on the machines this runs on; where it is larger, less of the memory is asked for in vain.
const HUGE: usize = 2 << 20;

/// Asks for huge pages under all of `list`, its spare capacity included. Best before it is written to. Where
/// there are none to be had (`/sys/kernel/mm/transparent_hugepage/enabled` says `never`) nothing changes.
pub fn ask_for_huge_pages<T>(list: &Vec<T>) {
    let start = list.as_ptr().addr();
    let bytes = list.capacity() * size_of::<T>();
    let first = start.next_multiple_of(HUGE);
    let whole = (start + bytes).saturating_sub(first) / HUGE * HUGE;
    if whole == 0 {
        return;
    }
    let Some(place) = NonNull::new(list.as_ptr().cast_mut().with_addr(first).cast()) else {
        return;
    };
    // SAFETY: the range lies in memory that `list` owns, and the advice changes neither what is in it nor
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
