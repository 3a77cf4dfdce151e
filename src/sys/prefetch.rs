//! Prefetch instructions.

use std::ptr;

/// Prefetches the cache line at the start of `place`. A hint without effect on values.
#[inline(always)]
pub fn prefetch<T>(place: &T) {
    let at = ptr::from_ref(place).cast::<i8>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at);
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above; the instruction changes neither memory nor registers nor flags.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = at;
}

/// Prefetches the first two cache lines of `bytes`: the headers of a frame.
#[inline(always)]
pub fn prefetch_bytes(bytes: &[u8]) {
    if let Some(first) = bytes.first() {
        prefetch(first);
    }
    if let Some(later) = bytes.get(40) {
        prefetch(later);
    }
}
