//! adjtimex(2): whether something keeps the clock right.

/// Whether CLOCK_REALTIME is synchronized, by the kernel's flag (STA_UNSYNC): chrony, ntpd and timesyncd clear it. `None`:
/// the kernel does not say, as in a sandbox that refuses the call.
pub fn is_clock_synchronized() -> Option<bool> {
    // SAFETY: integers and padding; `modes` 0 changes nothing.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to `timex` alone.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    (state >= 0).then_some(timex.status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_so_to_everybody() {
        // Both answers are right; that there is one needs no privilege.
        assert!(is_clock_synchronized().is_some());
    }
}
