//! Huge pages (MADV_HUGEPAGE): random access to a table then misses the cache, but not the TLB, too.

use nix::sys::mman::{MmapAdvise, madvise};
use std::num::NonZeroUsize;
use std::ptr::NonNull;

/// Size of a huge page on x86-64 and most arm64. Where it is larger, the kernel ignores a part of the range.
const HUGE: usize = 2 << 20;

/// An empty list with room for `capacity`, in huge pages where the kernel has any.
pub fn with_room<T>(capacity: usize) -> Vec<T> {
    let list = Vec::with_capacity(capacity);
    ask_for_huge_pages(&list);
    list
}

/// A list of `len` equal places, in huge pages where the kernel has any.
pub fn filled<T: Clone>(len: usize, filler: T) -> Vec<T> {
    let mut list = with_room(len);
    list.resize(len, filler);
    list
}

/// Advises huge pages for `list`, its spare capacity included. Works best before the first write. No effect where
/// `/sys/kernel/mm/transparent_hugepage/enabled` is `never`.
fn ask_for_huge_pages<T>(list: &Vec<T>) {
    if let Some(start) = NonNull::new(list.as_ptr().cast_mut()) {
        ask_for_huge_pages_at(start.cast(), list.capacity() * size_of::<T>());
    }
}

/// As [`ask_for_huge_pages`], for `bytes` of allocated memory at `start`.
pub(super) fn ask_for_huge_pages_at(start: NonNull<u8>, bytes: usize) {
    let at = start.addr().get();
    let first = at.next_multiple_of(HUGE);
    let whole = (at + bytes).saturating_sub(first) / HUGE * HUGE;
    let Some(first) = NonZeroUsize::new(first).filter(|_| whole > 0) else {
        return;
    };
    let place = start.with_addr(first).cast();
    // SAFETY: the range lies in memory that the caller owns, and the advice changes neither its contents nor
    // whether it is mapped.
    let advised = unsafe { madvise(place, whole, MmapAdvise::MADV_HUGEPAGE) };
    // EINVAL on a kernel without huge pages: small pages work, too.
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
            assert_eq!(filled(len, 7_u64), vec![7; len], "{len} words");
        }
        ask_for_huge_pages(&Vec::<()>::with_capacity(5));
    }
}
