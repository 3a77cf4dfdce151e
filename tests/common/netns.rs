//! A network namespace, empty or with a veth pair, for as long as a closure runs.
//!
//! The namespace has no name. It belongs to one thread and its children, and the kernel removes it and the
//! pair when these end.

use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;
use std::panic::resume_unwind;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The end that tests send on.
pub const SENDER: &str = "sender";
/// The end that tests capture on.
pub const SENSOR: &str = "sensor";

/// A veth pair that is up, without IPv6, so that the kernel sends no frames on it.
#[derive(Clone, Copy, Debug)]
pub struct Veth {
    /// Interface index of [`SENDER`].
    pub sender: u32,
    /// Interface index of [`SENSOR`].
    pub sensor: u32,
}

/// Moves the calling thread, and what it starts, into an empty namespace, which ends with the thread.
///
/// # Errors
///
/// Why there is no namespace.
pub fn enter() -> Result<(), String> {
    if !geteuid().is_root() {
        return Err("needs root for a network namespace".to_owned());
    }
    try_ip("-V").map_err(|_| "needs the ip command (iproute2)")?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("no network namespace: {errno}"))
}

/// Turns IPv6 off in the calling thread's namespace: an interface with IPv6 sends frames by itself.
pub fn without_ipv6() {
    for scope in ["all", "default"] {
        // A kernel without IPv6 has no such file, and no such frames.
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
    }
}

/// Runs `test` in an empty namespace of its own; prints `skipped` if there can be none.
pub fn alone(test: impl FnOnce() + Send + 'static) {
    let inside = thread::spawn(|| match enter() {
        Ok(()) => test(),
        Err(why) => eprintln!("skipped: {why}"),
    });
    if let Err(panic) = inside.join() {
        resume_unwind(panic);
    }
}

/// [`alone`] with a veth pair.
pub fn with_veth(test: impl FnOnce(Veth) + Send + 'static) {
    alone(|| test(pair()));
}

/// Runs `ip` with these arguments in the calling thread's namespace.
///
/// # Errors
///
/// Its standard error.
pub fn try_ip(words: &str) -> Result<(), String> {
    let output = Command::new("ip").args(words.split(' ')).output();
    let output = output.map_err(|error| format!("no ip: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// [`try_ip`], which must succeed.
pub fn ip(words: &str) {
    try_ip(words).unwrap_or_else(|why| panic!("ip {words}: {why}"));
}

/// Waits until both ends are up.
pub fn wait_for_link() {
    wait_for_end(SENDER);
    wait_for_end(SENSOR);
}

/// Waits for one end, in the calling thread's namespace.
///
/// A link is ready only after the kernel's link watch has run: until then it has no queue and drops
/// what is sent.
pub fn wait_for_end(name: &str) {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let mut show = Command::new("ip");
        let output = show.args(["-o", "link", "show", name]).output();
        if String::from_utf8_lossy(&output.expect("ip runs").stdout).contains("state UP") {
            return;
        }
        assert!(Instant::now() < give_up, "{name} did not come up");
        thread::sleep(Duration::from_millis(10));
    }
}

fn pair() -> Veth {
    without_ipv6();
    ip(&format!(
        "link add {SENDER} mtu 9000 type veth peer name {SENSOR} mtu 9000"
    ));
    ip(&format!("link set {SENDER} up"));
    ip(&format!("link set {SENSOR} up"));
    wait_for_link();
    let index = |name| nix::net::if_::if_nametoindex(name).expect("it was just made");
    Veth {
        sender: index(SENDER),
        sensor: index(SENSOR),
    }
}
