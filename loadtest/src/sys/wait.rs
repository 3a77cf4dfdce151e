//! wait4(2): how a child ended, and the resources that it used.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use nix::sys::signal::Signal;

/// How a child ended, and the CPU time of it and of the children that it waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChildExit {
    /// Exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// CPU time in user space.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
}

impl fmt::Display for ChildExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal.map(Signal::try_from)) {
            (Some(code), _) => write!(f, "ended with exit code {code}"),
            (None, Some(Ok(signal))) => write!(f, "was ended by {signal}"),
            (None, _) => write!(f, "was ended by a signal"),
        }
    }
}

/// Reaps the child `pid` if it has ended; does not block.
///
/// # Errors
///
/// Those of wait4(2): `ECHILD` if it is no child of this process, or was reaped already.
pub fn wait(pid: u32) -> io::Result<Option<ChildExit>> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are to live values of the right types, and are used only within the call.
    let found = unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    match found {
        -1 => return Err(io::Error::last_os_error()),
        0 => return Ok(None),
        _ => {}
    }
    // SAFETY: zeroes are a valid rusage, which has only integers; the kernel has filled it.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| {
        let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
        seconds + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
    };
    Ok(Some(ChildExit {
        code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
        user: time(usage.ru_utime),
        system: time(usage.ru_stime),
    }))
}
