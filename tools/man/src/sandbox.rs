//! The section about what the processes and threads of `run` may do.

use super::sections::Block::{self, Item, Lines, Text};

pub const SANDBOX: &[Block] = &[
    Text(
        "`run` reads packets that anybody can send. So once its sockets, rings, outputs and listeners are open, and the block helper has started, it gives up what it does not need, for good. A line at the start says what is left. `--no-sandbox` keeps everything.",
    ),
    Item(
        "User",
        "Started as root, it goes on as the user of `--user`; without the flag as `synledger`, if that user exists and may write to every output. Otherwise it stays root, without root's capabilities, and a line at the start says why. `--user root` stays root. Files are opened again by path on SIGHUP, at rotation and for each new version of a list: the folders of the outputs, and of `--metrics textfile:`, must belong to the user (`chown`). An output whose folder belongs to neither root nor that user stays open to root by CAP_DAC_OVERRIDE, which main thread, logger, archiver and the writer of `--metrics textfile:` then keep. Started as another user than root (with CAP_NET_RAW), it keeps that user.",
    ),
    Item(
        "Capabilities",
        "By thread, see below. The bounding set is empty (where the sensor may do that: CAP_SETPCAP), no_new_privs is set, there are no core dumps, and no other process of the same user can look into its memory.",
    ),
    Item(
        "System calls (seccomp)",
        "Those on the list of the thread. No thread can start a process or a program, trace another, connect, open a socket that is neither a packet socket nor netlink, or make memory executable. The exception: with outputs to collectors (`ipfix:`, `netflow9:`, `syslog:`, `cef:`) over UDP the logger may open and connect sockets of UDP, with ones over TCP those of TCP, since a collector that was down is tried again by a new socket. Landlock (since Linux 6.7) leaves only the ports of those TCP collectors open to connections; to UDP it has no rule. A call that is not on the list fails with EPERM, and is named: `the sandbox refused the system call NAME (NUMBER) of THREAD`, on standard error once for each call and kind of thread, and for the sensor's own threads in the log, as the lifecycle event `sandbox_refused` (a helper process writes no log). (A new process or thread is refused without that line: whoever asked says what failed.) The sensor goes on: a new version of the C library that makes another call must not blind the host. If you see that line, report it, unless you changed the program; if something fails with it, `--no-sandbox` goes without. If synledger ends with status 159 (SIGSYS), a thread made a forbidden call while its signals were blocked, so no line could be written. Report that, too.",
    ),
    Item(
        "Files (Landlock, since Linux 5.13)",
        "To write: the folders of outputs, lists, sockets and `--metrics textfile:`, and devices that are outputs. The kernel knows folders, not names: one that is removed and made anew, or a file system that is mounted there later, is another one. So the folder above is open, too, where the sensor's user may not make files in it itself (`/var/log` for `/var/log/synledger`): owner and mode then protect all else there, which the user may otherwise read or write as they say. Where it may (a home, `/tmp`), as root, and below `/` itself only the folder is open: then records are lost and counted (`io`) until synledger is started again. Under the packaged unit, too: there everything but the folder itself is mounted read-only. To read: `/proc`, `/sys/devices/system/cpu`, cgroups, and the files that name the servers of this host (`/etc/resolv.conf`, chrony, ntpd, timesyncd): as another user than root the whole folder `/etc`, as root those files alone, so that one that is replaced is not read again; then the servers known so far are spared, and the log says `guard_unrenewed`. The configuration file is read before.",
    ),
    Text("What each process and thread may do:"),
    Lines(&[
        "process, thread   capabilities          system calls beyond memory, time, waiting",
        "sensor",
        "  main            CAP_NET_RAW           files, netlink, packet sockets and their",
        "                                        options, CPU affinity, counters of filters;",
        "                                        adjtimex(2), which sets nothing; memory in",
        "                                        descriptors, and sending them",
        "  worker-N        none                  filters of its rings",
        "  witness         none                  errors of its socket",
        "  logger          none                  files, messages to the block helper and",
        "                                        to sockets of outputs; with collectors",
        "                                        over UDP or TCP also sockets of that kind",
        "                                        and connecting them; with sockets of this",
        "                                        host memory in descriptors",
        "  archiver        none                  files",
        "  metrics         none                  accept, receive, send",
        "  textfile        none                  make, rename and remove a file",
        "name helper       CAP_SYS_PTRACE,       open files to read, receive, send; is told",
        "  (as root)         CAP_DAC_READ_SEARCH   inodes of sockets, answers with commands",
        "block helper      CAP_NET_ADMIN, with   all; blocks no address of this host,",
        "  (--block)       xdp CAP_BPF, too      whatever it is told",
    ]),
    Text(
        "CAP_NET_RAW is for an interface that is removed and created anew: its rings are opened again. Before Linux 5.19 the main thread keeps CAP_BPF, too, where frames that data rings filter out are counted: reading the counter needs it. Helpers are processes of this program that were started before, as the user of the start. That of names runs where an output names services, or with `--block`, and only if the sensor had its capabilities: it looks in `/proc` for who holds a listening socket. The block helper is two processes (`--block` nft and xdp).",
    ),
    Text(
        "Threads share memory. Who runs code of his own in one can have the others act for him: take the sum of the rows of a process as what it may do. A list by thread makes the first step harder.",
    ),
    Text(
        "What it costs: when the block helper's processes have both ended, only a new start has another.",
    ),
    Text(
        "A kernel without Landlock or without seccomp goes without; the line at the start says so. `read` has no sandbox: run it as a user without privileges.",
    ),
];
