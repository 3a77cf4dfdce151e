//! A kernel without nftables, and a host without the program `nft`.

use super::common::netns::{SENDER, SENSOR, ip};
use super::common::{CHECK, RUN, fails, synledger};
use super::host::{
    Host, PATIENCE, add_others_rules, kill_hard, nft, others_rules, program, with_nftables,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use synledger::nft::Kernel;

/// Gives whoever asks for a socket of nftables one of another protocol, or none: NETLINK_ROUTE answers messages of
/// nftables with EOPNOTSUPP, as nfnetlink does where it has no nf_tables; there is no protocol 99.
const SOCKET: &str = "
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
int socket(int family, int type, int protocol) {
  if (family == AF_NETLINK && protocol == 12) protocol = INSTEAD;
  return syscall(SYS_socket, family, type, protocol);
}
";

/// Refuses the memory of rings, which are opened after the firewall.
const SETSOCKOPT: &str = "
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
int setsockopt(int fd, int level, int option, const void *value, socklen_t length) {
  if (level == 263 && option == 5) { errno = ENOMEM; return -1; }
  return syscall(SYS_setsockopt, fd, level, option, value, length);
}
";

/// The library that does so; `None`, with `skipped`: there is no compiler.
fn no_rings(dir: &Path) -> Option<PathBuf> {
    library(dir, "setsockopt", SETSOCKOPT, &[])
}

/// The same for nftables.
fn instead(dir: &Path, protocol: &str) -> Option<PathBuf> {
    let defined = format!("-DINSTEAD={protocol}");
    library(dir, &format!("socket{protocol}"), SOCKET, &[&defined])
}

fn library(dir: &Path, name: &str, text: &str, more: &[&str]) -> Option<PathBuf> {
    let (source, library) = (
        dir.join(format!("{name}.c")),
        dir.join(format!("{name}.so")),
    );
    std::fs::write(&source, text).expect("a file");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC"])
        .args(more)
        .arg("-o")
        .args([&library, &source])
        .status();
    match built {
        Ok(status) => {
            assert!(status.success(), "it compiles");
            Some(library)
        }
        Err(_) => {
            eprintln!("skipped: cc is not installed");
            None
        }
    }
}

/// Adds the arguments of a run that blocks.
pub fn run(mut command: Command, socket: &Path) -> Command {
    command
        .args(RUN)
        .args([
            "-i",
            SENSOR,
            "--workers",
            "1",
            "--ring-mib",
            "8",
            "--memory-mib",
            "128",
        ])
        .args(["--block", "nft", "--status-socket"])
        .arg(socket);
    command
}

pub fn with_link(test: impl FnOnce(&Path) + Send + 'static) {
    with_nftables(|| {
        ip(&format!("link add {SENDER} type veth peer name {SENSOR}"));
        ip(&format!("link set {SENSOR} up"));
        ip(&format!("link set {SENDER} up"));
        let dir = tempfile::tempdir().expect("a folder");
        test(dir.path());
    });
}

#[test]
fn a_kernel_without_nftables_is_refused_at_the_start_with_the_reason_and_nothing_is_left() {
    with_link(|dir| {
        let socket = dir.join("sock");
        for (protocol, error) in [
            ("0", "Operation not supported"),
            ("99", "Protocol not supported"),
        ] {
            let Some(library) = instead(dir, protocol) else {
                return;
            };
            for dry in [&[][..], &["--dry-run"]] {
                // A run that is not refused would not end.
                let mut timeout = Command::new("timeout");
                timeout.args([Path::new("30"), program()]);
                let mut command = run(timeout, &socket);
                command.args(dry).env("LD_PRELOAD", &library);
                let parts = [
                    "--block nft: the kernel's nftables do not answer",
                    error,
                    "--block dry-run",
                ];
                fails(command, 1, &parts);
                assert!(!socket.exists(), "{protocol}");
            }
        }
        assert_eq!(nft("list tables"), "");
    });
}

/// A run that ends with this, also where a test fails.
pub struct Running(pub Child);

impl Running {
    pub fn stop(&mut self) -> ExitStatus {
        let pid = i32::try_from(self.0.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
        self.0.wait().expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            kill_hard(self.0.id());
            let _ = self.0.wait();
        }
    }
}

fn out(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// What `check` says of nf_tables.
fn checked(library: Option<&Path>) -> String {
    let mut command = synledger();
    command.args(CHECK).args(["-i", SENSOR, "--listen", "0"]);
    if let Some(library) = library {
        command.env("LD_PRELOAD", library);
    }
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let of_nftables = |line: &&str| line.contains("nf_tables ");
    text.lines().find(of_nftables).expect("a line").to_owned()
}

#[test]
fn check_says_whether_the_kernel_has_nftables_and_owners_and_changes_nothing() {
    with_link(|dir| {
        add_others_rules();
        let before = others_rules();
        // A helper says so if it gets no owner.
        let host = Host::start(Kernel::Whole);
        let words = match host.has_notice("does not protect the table") {
            false => "nf_tables is there, and tables may have owners",
            true => "nf_tables is there, but tables have no owners",
        };
        host.close();
        let said = checked(None);
        assert!(said.contains(words), "{said}");
        assert_eq!(others_rules(), before);
        let Some(library) = instead(dir, "99") else {
            return;
        };
        let said = checked(Some(&library));
        assert!(
            said.contains("nf_tables does not answer (Protocol not supported"),
            "{said}"
        );
    });
}

#[test]
fn nobody_needs_the_program_nft() {
    with_link(|dir| {
        let socket = dir.join("sock");
        let mut command = run(synledger(), &socket);
        let child = command
            .env("PATH", dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut running = Running(child.expect("it starts"));
        let block = |words: &[&str]| {
            let mut command = synledger();
            command.env("PATH", dir).arg("block").args(words);
            command
                .arg("--socket")
                .arg(&socket)
                .output()
                .expect("it starts")
        };
        let give_up = Instant::now() + PATIENCE;
        while !block(&["list"]).status.success() {
            assert!(Instant::now() < give_up, "it answers");
            std::thread::sleep(Duration::from_millis(50));
        }
        let added = out(&block(&["add", "198.51.100.9", "2001:db8:5::/64"]));
        assert_eq!(added, "2 networks: blocked\n");
        let listed = nft("list table inet synledger");
        assert!(
            listed.contains("198.51.100.9 ") && listed.contains("2001:db8:5::"),
            "{listed}"
        );
        let script = out(&block(&["export", "--format", "nft"]));
        let element = "add element inet synledger_export blocked6 { 2001:db8:5::/64 timeout 3";
        assert!(script.contains(element), "{script}");
        let check = |path: &Path| {
            let mut command = synledger();
            command.args(CHECK).args(["-i", SENSOR, "--listen", "0"]);
            let output = command.env("PATH", path).output().expect("it starts");
            output.status.code()
        };
        assert_eq!(
            check(dir),
            check(Path::new("/usr/sbin:/usr/bin:/sbin:/bin"))
        );
        assert!(running.stop().success());
        assert_eq!(nft("list tables"), "");
    });
}

#[test]
fn a_second_sensor_does_not_start_and_a_failed_start_leaves_nothing_but_older_blocks() {
    with_link(|dir| {
        let [first, second] = ["first", "second"].map(|name| dir.join(name));
        let mut sensor = run(synledger(), &first);
        let spawned = sensor.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut sensor = spawned.expect("it starts");
        let block = |words: &[&str]| {
            let mut command = synledger();
            command.arg("block").args(words).arg("--socket").arg(&first);
            command.output().expect("it starts")
        };
        let give_up = Instant::now() + PATIENCE;
        while !block(&["list"]).status.success() {
            assert!(Instant::now() < give_up, "it answers");
            std::thread::sleep(Duration::from_millis(50));
        }
        out(&block(&["add", "198.51.100.9"]));
        fails(
            run(synledger(), &second),
            1,
            &["--block nft: ", "Another process may own it"],
        );
        assert!(nft("list table inet synledger").contains("198.51.100.9 "));
        sensor.kill().expect("it runs");
        sensor.wait().expect("it ends");
        // What a killed sensor left stays; by hand it is removed, and then nothing is left.
        let Some(library) = no_rings(dir) else { return };
        let fails_late = || {
            let mut command = run(synledger(), &second);
            command.env("LD_PRELOAD", &library);
            fails(command, 1, &["PACKET_RX_RING"]);
        };
        fails_late();
        assert!(nft("list table inet synledger").contains("198.51.100.9 "));
        nft("delete table inet synledger");
        fails_late();
        assert_eq!(nft("list tables"), "");
    });
}
