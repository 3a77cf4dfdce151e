//! The library's sandbox in a process of its own, which tries what each kind of thread may not do.
#![allow(
    unsafe_code,
    reason = "mapping memory that can be executed has no safe form"
)]

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, execv, geteuid};
use socket2::{Domain, Socket, Type};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Output};
use synledger::commands::install_panic_hook;
use synledger::host::sandbox::{Collectors, Identity, Paths, Refusals, Sandbox, Thread};

/// What a child of this test does.
const IN_CHILD: &str = "SYNLEDGER_TEST_SANDBOX";

/// Runs a test of this file again in another process.
fn child(test: &str, what: &str) -> Output {
    let mut child = Command::new(std::env::current_exe().expect("this test"));
    child
        .args(["--exact", test, "--nocapture"])
        .env(IN_CHILD, what);
    child.output().expect("it runs")
}

fn asked() -> Option<String> {
    std::env::var(IN_CHILD).ok()
}

/// The sandbox around the calling thread, as the present user or as `name`.
fn close(name: Option<&str>) -> Sandbox {
    let identity = Identity::choose(name, || Ok(())).expect("a user");
    let write = vec![PathBuf::from("/dev/null")];
    let read = vec![PathBuf::from("/proc")];
    let collectors = Collectors::default();
    let paths = Paths {
        read,
        write,
        collectors,
    };
    Sandbox::close(identity, &paths, || false).expect("a sandbox")
}

fn errno<T>(what: &str, done: io::Result<T>) -> Option<i32> {
    let errno = done.err().and_then(|error| error.raw_os_error());
    eprintln!("{what}: {errno:?}");
    errno
}

const EPERM: Option<i32> = Some(libc::EPERM);
const EACCES: Option<i32> = Some(libc::EACCES);

/// Tries everything that an attacker would; returns with a panic if anything is done.
fn attack(thread: Thread, open: &Socket, target: SocketAddr) {
    let files = matches!(
        thread,
        Thread::Main | Thread::Logger | Thread::Archiver | Thread::Textfile
    );
    let reads = files || thread == Thread::Finder;
    let program = CString::new("/bin/true").expect("no zero");
    let executed = execv::<CString>(&program, &[]).map(drop);
    assert_eq!(errno("execve", executed.map_err(io::Error::from)), EPERM);
    let started = Command::new("/bin/true").status();
    assert_eq!(errno("a process", started), EPERM);
    let started = std::thread::Builder::new().spawn(|| ());
    assert_eq!(errno("a thread", started), EPERM);
    // SAFETY: it stops nobody: this process has no tracer.
    let traced = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    assert_eq!((traced, Errno::last()), (-1, Errno::EPERM), "ptrace");
    for path in ["/etc/shadow", "/etc/passwd", "/root/.ssh/id_rsa"] {
        let expected = if reads { EACCES } else { EPERM };
        let opened = errno(path, File::open(path));
        // A folder that is missing is found missing before it is found closed.
        assert!(opened == expected || opened == Some(libc::ENOENT) && path.starts_with("/root"));
    }
    let made = errno("a file", File::create("/tmp/synledger-sandbox-test"));
    assert_eq!(made, if files { EACCES } else { EPERM });
    let connected = open.connect(&target.into());
    assert_eq!(errno("connect", connected), EPERM);
    assert_eq!(errno("TCP", TcpStream::connect(target)), EPERM);
    assert_eq!(errno("UDP", UdpSocket::bind("127.0.0.1:0")), EPERM);
    assert_eq!(errno("listen", TcpListener::bind("127.0.0.1:0")), EPERM);
    let killed = kill(Pid::parent(), Signal::SIGCONT).map_err(io::Error::from);
    assert_eq!(errno("kill", killed), EPERM);
    let (both, shared) = (libc::PROT_EXEC | libc::PROT_READ, libc::MAP_PRIVATE);
    let flags = shared | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, at a place that the kernel chooses; nothing uses it.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 4096, both, flags, -1, 0) };
    assert_eq!((mapped, Errno::last()), (libc::MAP_FAILED, Errno::EPERM));
    // What it may do still works.
    assert_eq!(vec![7_u8; 8 << 20].len(), 8 << 20);
    std::thread::sleep(std::time::Duration::from_millis(1));
    if files {
        assert!(File::open("/proc/self/status").is_ok());
        assert!(File::options().write(true).open("/dev/null").is_ok());
    }
}

#[test]
fn no_kind_of_thread_may_start_trace_connect_or_open_what_is_not_its_own() {
    let name = "no_kind_of_thread_may_start_trace_connect_or_open_what_is_not_its_own";
    if let Some(word) = asked() {
        let thread = Thread::ALL.into_iter().find(|one| one.word() == word);
        let thread = thread.expect("a kind of thread");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = listener.local_addr().expect("bound");
        let open = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        close(None).pass(thread).enter();
        attack(thread, &open, target);
        let refusals = Refusals::default().take().join("\n");
        for call in ["execve", "ptrace", "connect", "kill", "mmap"] {
            let says = format!("the sandbox refused the system call {call} of {word}");
            assert!(refusals.contains(&says), "{says}: {refusals}");
        }
        eprintln!("all of it was refused");
        return;
    }
    for thread in Thread::ALL {
        let output = child(name, thread.word());
        let (out, says) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{thread}: {out}{says}");
        assert!(says.contains("all of it was refused"), "{thread}: {says}");
        let line = format!(
            "synledger: the sandbox refused the system call execve ({}) of {thread}; see SANDBOX in synledger-run(1)\n",
            libc::SYS_execve
        );
        assert_eq!(says.matches(&line).count(), 1, "{says}");
    }
}

/// musl makes older calls than glibc: with both a thread opens and finds the same, and no more.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_older_calls_of_another_c_library_do_what_the_newer_ones_do() {
    let name = "the_older_calls_of_another_c_library_do_what_the_newer_ones_do";
    if let Some(word) = asked() {
        let thread = Thread::ALL.into_iter().find(|one| one.word() == word);
        close(None).pass(thread.expect("a kind of thread")).enter();
        assert_older_calls_do_the_same(&word);
        eprintln!("they do the same");
        return;
    }
    for thread in Thread::ALL {
        let output = child(name, thread.word());
        let says = text(&output.stderr);
        assert!(
            output.status.success(),
            "{thread}: {}{says}",
            text(&output.stdout)
        );
        assert!(says.contains("they do the same"), "{thread}: {says}");
    }
}

#[cfg(target_arch = "x86_64")]
fn assert_older_calls_do_the_same(thread: &str) {
    let path = c"/proc/self/status";
    let (at, path) = (libc::AT_FDCWD, path.as_ptr());
    let mut buffer = [0_u8; 512];
    let buffer = buffer.as_mut_ptr();
    let done = |answer: libc::c_long| match answer {
        0.. => 0,
        _ => Errno::last_raw(),
    };
    for flags in [libc::O_RDONLY, libc::O_RDWR] {
        // SAFETY: the path ends with a zero; a descriptor that nobody owns stays open.
        let newer = done(unsafe { libc::syscall(libc::SYS_openat, at, path, flags, 0) });
        // SAFETY: as above.
        let older = done(unsafe { libc::syscall(libc::SYS_open, path, flags, 0) });
        assert_eq!(older, newer, "open with flags {flags} of {thread}");
    }
    // SAFETY: the buffer is larger than the kernel's `stat`, which has 144 bytes.
    let newer = done(unsafe { libc::syscall(libc::SYS_newfstatat, at, path, buffer, 0) });
    for call in [libc::SYS_stat, libc::SYS_lstat] {
        // SAFETY: as above.
        let older = done(unsafe { libc::syscall(call, path, buffer) });
        assert_eq!(older, newer, "call {call} of {thread}");
    }
    let link = c"/proc/self/exe".as_ptr();
    // SAFETY: the kernel writes at most 512 bytes.
    let newer = done(unsafe { libc::syscall(libc::SYS_readlinkat, at, link, buffer, 512) });
    // SAFETY: as above.
    let older = done(unsafe { libc::syscall(libc::SYS_readlink, link, buffer, 512) });
    assert_eq!(older, newer, "readlink of {thread}");
    // SAFETY: no descriptors, no time to wait.
    let older = done(unsafe { libc::syscall(libc::SYS_poll, 0, 0, 0) });
    assert_eq!(older, 0, "poll of {thread}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn another_user_may_not_open_the_passwords_either() {
    let name = "another_user_may_not_open_the_passwords_either";
    if asked().is_some() {
        let sandbox = close(Some("nobody"));
        assert!(sandbox.describe().contains("user nobody"));
        assert!(!geteuid().is_root());
        sandbox.enter_last();
        assert_eq!(errno("shadow", File::open("/etc/shadow")), EACCES);
        return;
    }
    if !geteuid().is_root() {
        eprintln!("skipped: needs root to take another user");
        return;
    }
    let output = child(name, "yes");
    let says = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{says}");
}

/// A broken invariant must be said from within.
#[test]
fn a_panic_in_the_sandbox_is_printed_and_exits_with_1() {
    let name = "a_panic_in_the_sandbox_is_printed_and_exits_with_1";
    if asked().is_some() {
        install_panic_hook();
        close(None).pass(Thread::Worker).enter();
        panic!("{} is not {}", 1, 2);
    }
    let output = child(name, "yes");
    let says = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{says}");
    assert!(
        says.contains(" broke: 1 is not 2 (tests/sandbox.rs:"),
        "{says}"
    );
    assert!(!says.contains("the sandbox refused"), "{says}");
}

/// A kernel without seccomp's named refusals or without Landlock, as a filter over this process makes it look.
#[test]
fn a_kernel_without_filters_or_landlock_goes_without_and_says_so() {
    let name = "a_kernel_without_filters_or_landlock_goes_without_and_says_so";
    if asked().is_some() {
        let calls = [libc::SYS_seccomp, libc::SYS_landlock_create_ruleset];
        let rules = calls.map(|call| (call, Vec::new())).into_iter().collect();
        let missing = seccompiler::SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
        let allow = seccompiler::SeccompAction::Allow;
        let arch = std::env::consts::ARCH.try_into().expect("known");
        let filter = seccompiler::SeccompFilter::new(rules, allow, missing, arch);
        let filter: seccompiler::BpfProgram = filter.expect("rules").try_into().expect("short");
        // By prctl(2), as seccomp(2) itself is to be missing afterwards.
        seccompiler::apply_filter(&filter).expect("this kernel has filters");
        let sandbox = close(None);
        sandbox.pass(Thread::Worker).enter();
        eprintln!("{}", sandbox.describe());
        return;
    }
    let output = child(name, "yes");
    let out = text(&output.stderr);
    assert!(output.status.success(), "{out}{}", text(&output.stdout));
    for part in [
        "all system calls (this kernel does not filter them)",
        "(this kernel has no Landlock)",
    ] {
        assert!(out.contains(part), "{out}");
    }
}
