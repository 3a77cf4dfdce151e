//! The system calls that each kind of thread may make.
//!
//! Threads share memory: who runs code in one of them can have another one call for him. So what the process as a whole
//! may do is the sum of these lists: no new process, no other program, no debugging, no socket but packet sockets and
//! netlink, no connection, no memory that can be executed. With outputs to collectors the logger and the main
//! thread may make sockets of those kinds, and connect them.

use super::{Collectors, Thread};
use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Memory, time, waiting, and the end of a thread.
const ALL: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
];

/// Older calls that one C library makes where another makes the newer one: musl opens files by open(2), glibc by
/// openat(2). A thread that may make one may make the other.
#[cfg(target_arch = "x86_64")]
const OLDER: &[(c_long, &[c_long])] = &[
    (libc::SYS_epoll_pwait, &[libc::SYS_epoll_wait]),
    (libc::SYS_faccessat, &[libc::SYS_access]),
    (libc::SYS_newfstatat, &[libc::SYS_lstat, libc::SYS_stat]),
    (libc::SYS_openat, &[libc::SYS_open]),
    (libc::SYS_ppoll, &[libc::SYS_poll]),
    (libc::SYS_readlinkat, &[libc::SYS_readlink]),
    (libc::SYS_renameat, &[libc::SYS_rename]),
    (libc::SYS_unlinkat, &[libc::SYS_unlink]),
];
/// Newer architectures have none of them.
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[(c_long, &[c_long])] = &[];

/// Files, by path and by descriptor. Which ones, owner and mode decide, and Landlock.
const FILES: &[c_long] = &[
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getdents64,
    libc::SYS_ioctl,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_unlinkat,
];

/// What the helper that names services does beside opening files.
const LOOKS: &[c_long] = &[
    libc::SYS_fstat,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_statx,
];

/// Flags of openat(2) that change something.
const WRITES: libc::c_int = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND;

/// What starts a process or a thread. The C library blocks all signals around it, and a trap that is blocked kills: a
/// filter of its own refuses it with EPERM, which its caller reports.
const STARTS: &[c_long] = &[
    libc::SYS_clone,
    libc::SYS_clone3,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// Sockets that are open.
const MESSAGES: &[c_long] = &[
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_shutdown,
];

/// What hands over to the next process: memory, its socket, and a pipe by which the service manager answers.
const HAND_OVER: &[c_long] = &[libc::SYS_accept4, libc::SYS_memfd_create, libc::SYS_pipe2];

/// The end of the block helper.
const CHILDREN: &[c_long] = &[libc::SYS_wait4, libc::SYS_waitid];

/// Interfaces and their groups: netlink, packet sockets, rings on the CPUs of their workers.
const INTERFACES: &[c_long] = &[
    libc::SYS_bind,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_sched_setaffinity,
    libc::SYS_setsockopt,
];

/// To read whether the clock is synchronized; to set it takes CAP_SYS_TIME. Which one, the C library chooses.
const CLOCK: &[c_long] = &[libc::SYS_adjtimex, libc::SYS_clock_adjtime];

/// Clients of metrics and of the status socket.
const CLIENTS: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_ioctl,
    libc::SYS_read,
    libc::SYS_readv,
];

/// A file that is replaced again and again.
const REPLACES: &[c_long] = &[
    libc::SYS_fchmod,
    libc::SYS_openat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
];

/// To reach a collector by a new socket.
const COLLECTORS: &[c_long] = &[
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
];

const BPF_MAP_LOOKUP_ELEM: u64 = 1;

impl Thread {
    /// Calls with any arguments.
    fn calls(self) -> &'static [&'static [c_long]] {
        match self {
            Self::Main => &[ALL, FILES, MESSAGES, CHILDREN, INTERFACES, HAND_OVER, CLOCK],
            Self::Logger => &[ALL, FILES, MESSAGES, CHILDREN],
            Self::Archiver => &[ALL, FILES],
            Self::Metrics => &[ALL, MESSAGES, CLIENTS],
            Self::Textfile => &[ALL, REPLACES],
            Self::Finder => &[ALL, LOOKS],
            Self::Worker | Self::Witness => &[ALL, &[libc::SYS_getsockopt]],
        }
    }

    /// Calls with some arguments alone.
    fn rules(self) -> Vec<(c_long, Vec<Argument>)> {
        let protection = Argument::without(2, libc::PROT_EXEC);
        let own = Argument::is(0, u64::from(std::process::id()));
        let mut rules = vec![
            (libc::SYS_mmap, vec![protection.clone()]),
            (libc::SYS_mprotect, vec![protection]),
            // abort(3), by glibc and by musl
            (libc::SYS_tgkill, vec![own]),
            (libc::SYS_tkill, vec![Argument::int(1, libc::SIGABRT)]),
        ];
        let option = |level: libc::c_int, option: libc::c_int| {
            vec![Argument::int(1, level), Argument::int(2, option)]
        };
        match self {
            Self::Main => rules.extend([
                (libc::SYS_socket, vec![Argument::int(0, libc::AF_PACKET)]),
                (libc::SYS_socket, vec![Argument::int(0, libc::AF_NETLINK)]),
                // The counter of filtered frames.
                (libc::SYS_bpf, vec![Argument::is(0, BPF_MAP_LOOKUP_ELEM)]),
            ]),
            // Load shedding changes the filters of its rings.
            Self::Worker => rules.extend(
                [libc::SO_ATTACH_FILTER, libc::SO_ATTACH_BPF]
                    .map(|one| (libc::SYS_setsockopt, option(libc::SOL_SOCKET, one))),
            ),
            Self::Metrics => rules.extend([
                (
                    libc::SYS_setsockopt,
                    vec![Argument::int(1, libc::SOL_SOCKET)],
                ),
                (
                    libc::SYS_setsockopt,
                    vec![Argument::int(1, libc::IPPROTO_TCP)],
                ),
            ]),
            // It may read every file of the host, and opens none to write.
            Self::Finder => {
                rules.push((libc::SYS_openat, vec![Argument::without(2, WRITES)]));
                #[cfg(target_arch = "x86_64")]
                rules.push((libc::SYS_open, vec![Argument::without(1, WRITES)]));
            }
            Self::Logger | Self::Archiver | Self::Textfile | Self::Witness => {}
        }
        rules
    }

    /// What the logger may do beside, for these collectors: calls with any arguments, and with some alone. So may the main
    /// thread, which sends what is left at the end of the run.
    fn for_collectors(
        self,
        collectors: &Collectors,
    ) -> (Vec<c_long>, Vec<(c_long, Vec<Argument>)>) {
        let (mut calls, mut rules) = (Vec::new(), Vec::new());
        if !matches!(self, Self::Logger | Self::Main) {
            return (calls, rules);
        }
        let has_tcp = !collectors.tcp.is_empty();
        if collectors.udp || has_tcp {
            calls.extend_from_slice(COLLECTORS);
        }
        if collectors.memory {
            calls.push(libc::SYS_memfd_create);
        }
        let kinds = [
            (libc::SOCK_DGRAM, collectors.udp),
            (libc::SOCK_STREAM, has_tcp),
        ];
        for (kind, _) in kinds.into_iter().filter(|(_, has)| *has) {
            let kind = kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            rules.extend([libc::AF_INET, libc::AF_INET6].map(|family| {
                let both = vec![Argument::int(0, family), Argument::int(1, kind)];
                (libc::SYS_socket, both)
            }));
        }
        if has_tcp {
            let level = vec![Argument::int(1, libc::IPPROTO_TCP)];
            rules.push((libc::SYS_setsockopt, level));
        }
        (calls, rules)
    }

    /// The filter of a thread: everything else traps.
    ///
    /// # Errors
    ///
    /// There are none for this architecture.
    pub(super) fn filter(self, collectors: &Collectors) -> Result<BpfProgram, String> {
        let mut rules = Rules::new();
        let (more, restricted) = self.for_collectors(collectors);
        for (call, arguments) in self.rules().into_iter().chain(restricted) {
            let conditions = arguments.into_iter().map(|one| one.0).collect();
            let rule = SeccompRule::new(conditions).map_err(|error| error.to_string())?;
            rules.entry(call).or_default().push(rule);
        }
        let any = self.calls().iter().copied().flatten().copied();
        let any = any.chain(more).flat_map(with_older);
        rules.extend(any.chain(self.quiet()).map(|call| (call, Vec::new())));
        compile(rules, SeccompAction::Allow, SeccompAction::Trap)
    }

    /// A second filter, which refuses some calls with EPERM and no trap; [`Self::filter`] allows them.
    ///
    /// # Errors
    ///
    /// There are none for this architecture.
    pub(super) fn quiet_filter(self) -> Result<BpfProgram, String> {
        let rules = self.quiet().map(|call| (call, Vec::new())).collect();
        let refuse = SeccompAction::Errno(libc::EPERM.cast_unsigned());
        compile(rules, refuse, SeccompAction::Allow)
    }

    /// [`STARTS`], and without files also openat(2): the C library's allocator tries to read
    /// `/proc/sys/vm/overcommit_memory` once, and does without.
    fn quiet(self) -> impl Iterator<Item = c_long> {
        let opens = matches!(
            self,
            Self::Main | Self::Logger | Self::Archiver | Self::Textfile | Self::Finder
        );
        let open = (!opens).then_some(libc::SYS_openat);
        let open = open.into_iter().flat_map(with_older);
        STARTS.iter().copied().chain(open)
    }
}

/// A call, and those of [`OLDER`] for it.
fn with_older(call: c_long) -> impl Iterator<Item = c_long> {
    let older = OLDER.iter().filter(move |(newer, _)| *newer == call);
    let older = older.flat_map(|(_, older)| older.iter().copied());
    std::iter::once(call).chain(older)
}

fn compile(
    rules: Rules,
    matched: SeccompAction,
    others: SeccompAction,
) -> Result<BpfProgram, String> {
    let arch = std::env::consts::ARCH.try_into();
    let arch = arch.map_err(|error: BackendError| error.to_string())?;
    let filter = SeccompFilter::new(rules, others, matched, arch);
    let filter = filter.map_err(|error| error.to_string())?;
    filter
        .try_into()
        .map_err(|error: BackendError| error.to_string())
}

/// What an argument of a call must be.
#[derive(Clone)]
struct Argument(SeccompCondition);

impl Argument {
    fn new(at: u8, length: SeccompCmpArgLen, operator: SeccompCmpOp, value: u64) -> Self {
        let condition = SeccompCondition::new(at, length, operator, value);
        Self(condition.expect("a call has six arguments, from 0"))
    }

    fn is(at: u8, value: u64) -> Self {
        Self::new(at, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
    }

    /// An `int` of the kernel, which ignores the upper half of the register.
    fn int(at: u8, value: libc::c_int) -> Self {
        Self::is(at, u64::from(value.cast_unsigned()))
    }

    /// None of these bits.
    fn without(at: u8, bits: libc::c_int) -> Self {
        let mask = SeccompCmpOp::MaskedEq(u64::from(bits.cast_unsigned()));
        Self::new(at, SeccompCmpArgLen::Qword, mask, 0)
    }
}
