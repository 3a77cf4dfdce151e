//! seccomp(2): filters of system calls, and names of the calls that they refuse.
//!
//! A refused call fails with EPERM, by way of a signal handler (SECCOMP_RET_TRAP). SECCOMP_RET_ERRNO would do the same
//! in silence; SECCOMP_RET_KILL would blind the host for a call that a new C library makes.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use seccompiler::sock_filter;
use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_ulong, c_void};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// Kinds of threads that are told apart.
const KINDS_MAX: usize = 8;
/// Numbers of system calls that are told apart; a larger one counts as the last.
const CALLS_MAX: usize = 512;
const WORDS: usize = CALLS_MAX / 64;

/// linux/seccomp.h
const SECCOMP_SET_MODE_FILTER: c_uint = 1;
const SECCOMP_GET_ACTION_AVAIL: c_uint = 2;
const SECCOMP_FILTER_FLAG_SPEC_ALLOW: c_ulong = 1 << 2;
const SECCOMP_RET_TRAP: u32 = 0x0003_0000;
/// asm-generic/siginfo.h: `si_code` of a signal by seccomp.
const SYS_SECCOMP: c_int = 1;

/// A bit for each call that was refused, by kind of thread.
static REFUSED: [[AtomicU64; WORDS]; KINDS_MAX] =
    [const { [const { AtomicU64::new(0) }; WORDS] }; KINDS_MAX];

thread_local! {
    /// The kind of this thread, and its name. Const and without a destructor: a signal handler may read it.
    static KIND: Cell<(usize, &'static str)> = const { Cell::new((0, "a thread")) };
}

/// Whether this kernel has filters whose refusals can be named.
pub fn is_available() -> bool {
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) && has_trap()
}

fn has_trap() -> bool {
    let action = SECCOMP_RET_TRAP;
    // SAFETY: the kernel reads four bytes of `action`.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_GET_ACTION_AVAIL,
            0 as c_ulong,
            &raw const action,
        )
    };
    answer == 0
}

/// From now on refused calls fail with EPERM in every thread, instead of ending the process.
///
/// # Errors
///
/// As sigaction(2).
pub fn name_refusals() -> io::Result<()> {
    let handler = SigHandler::SigAction(on_refusal);
    let flags = SaFlags::SA_RESTART | SaFlags::SA_ONSTACK;
    let action = SigAction::new(handler, flags, SigSet::empty());
    // SAFETY: the handler only does what signal-safety(7) allows.
    unsafe { sigaction(Signal::SIGSYS, &action) }?;
    Ok(())
}

/// Adds a filter to the calling thread, for good; of several, each must allow a call. `kind`, below 8, and `name` say in reports which thread it is.
///
/// Call [`name_refusals`] before. Needs no_new_privs.
///
/// # Errors
///
/// As seccomp(2).
pub fn install(program: &[sock_filter], kind: usize, name: &'static str) -> io::Result<()> {
    assert!(kind < KINDS_MAX, "{name} is thread kind {kind}");
    KIND.set((kind, name));
    let too_long = |_| io::Error::from_raw_os_error(libc::EINVAL);
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(too_long)?,
        // The kernel only reads it, whatever the pointer's type says.
        filter: program.as_ptr().cast_mut().cast(),
    };
    // Before Linux 5.16 a filter without this flag makes every load after a store slow (Spectre, variant 4), which
    // protects from code of others in this process: there is none.
    // SAFETY: `program` points to that many instructions, which outlive the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_SET_MODE_FILTER,
            SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            &raw const program,
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Calls that were refused since the process started, by kind of thread: names or numbers, those of `told` left out and
/// then added to it.
pub fn newly_refused(told: &mut Told) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (kind, (words, told)) in REFUSED.iter().zip(&mut told.0).enumerate() {
        for (at, (word, told)) in words.iter().zip(told).enumerate() {
            let new = word.load(Ordering::Relaxed) & !*told;
            *told |= new;
            let bits = (0..64).filter(|bit| new >> bit & 1 == 1);
            found.extend(bits.map(|bit| (kind, name(at * 64 + bit).to_owned())));
        }
    }
    found
}

/// Refusals that were reported.
#[derive(Debug, Default)]
pub struct Told([[u64; WORDS]; KINDS_MAX]);

fn name(number: usize) -> &'static str {
    syscalls::Sysno::new(number).map_or("of an unknown number", |call| call.name())
}

/// Runs in the thread whose call was refused, at that call. The first refusal of a call by a kind of thread is printed.
extern "C" fn on_refusal(_: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a whole siginfo.
    let code = unsafe { (*info).si_code };
    if code != SYS_SECCOMP {
        // Another process sent the signal.
        return;
    }
    // SAFETY: the kernel passes the context of this thread, which nobody else uses.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let number = registers::number(context);
    registers::set_result(context, -i64::from(libc::EPERM));
    let (kind, thread) = KIND.get();
    let at = number.min(CALLS_MAX - 1);
    let bit = 1 << (at % 64);
    if REFUSED[kind][at / 64].fetch_or(bit, Ordering::Relaxed) & bit == 0 {
        print(number, thread);
    }
}

/// Without std's lock, which the thread may hold, without memory, and without waiting.
fn print(number: usize, thread: &str) {
    let mut line = [0_u8; 256];
    let mut rest = &mut line[..];
    // A line that is too long is cut.
    let _ = writeln!(
        rest,
        "synledger: the sandbox refused the system call {} ({number}) of {thread}; see SANDBOX in synledger-run(1)",
        name(number)
    );
    let length = 256 - rest.len();
    let stderr = io::stderr();
    let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
        let _ = nix::unistd::write(&stderr, &line[..length]);
    }
}

#[cfg(target_arch = "x86_64")]
mod registers {
    /// The kernel has put the number back where the call had it (`syscall_rollback`).
    pub fn number(context: &libc::ucontext_t) -> usize {
        let number = context.uc_mcontext.gregs[libc::REG_RAX as usize];
        usize::try_from(number).unwrap_or(usize::MAX)
    }

    pub fn set_result(context: &mut libc::ucontext_t, result: i64) {
        context.uc_mcontext.gregs[libc::REG_RAX as usize] = result;
    }
}

#[cfg(target_arch = "aarch64")]
mod registers {
    pub fn number(context: &libc::ucontext_t) -> usize {
        usize::try_from(context.uc_mcontext.regs[8]).unwrap_or(usize::MAX)
    }

    pub fn set_result(context: &mut libc::ucontext_t, result: i64) {
        context.uc_mcontext.regs[0] = result.cast_unsigned();
    }
}

/// No filter is installed there: [`is_available`] says so.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod registers {
    pub fn number(_: &libc::ucontext_t) -> usize {
        usize::MAX
    }

    pub fn set_result(_: &mut libc::ucontext_t, _: i64) {}
}
