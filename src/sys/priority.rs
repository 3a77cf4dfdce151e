//! The priority of a thread.

use libc::{PRIO_PROCESS, setpriority};

/// The least (`nice`(1)).
const LEAST: libc::c_int = 19;

/// Gives the calling thread the least priority: it runs where no other thread wants the CPU, and a little beside them.
pub fn lower() {
    // SAFETY: three numbers; 0 is the calling thread. A kernel that refuses changes nothing.
    unsafe { setpriority(PRIO_PROCESS, 0, LEAST) };
}
