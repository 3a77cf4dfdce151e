//! `--block xdp`: a program at the interface, in namespaces for network and mounts.

mod hooks;
mod kills;
mod left;
mod limits;
mod packets;
mod silence;
mod stale;

use super::common::netns::{SENSOR, alone, ip};
use super::host::Host;
use super::peer::own_mounts;
use caps::{CapSet, Capability};
use nix::sys::socket::GetSockOpt;
use nix::{getsockopt_impl, sockopt_impl};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use synledger::helper::Start;
use synledger::xdp;

const NAMES: &str = "/sys/fs/bpf/synledger";

/// Runs `test` in namespaces of its own with `lo` up; prints `skipped` where there can be none, or no XDP.
fn with_xdp(test: impl FnOnce() + Send + 'static) {
    alone(|| {
        own_mounts();
        ip("link set lo up");
        ip("link add probe type veth peer name probed");
        let mut host = Host::begin(at(&["probe"]));
        let tried = host.nft.wait_until_built(10_000);
        host.end();
        ip("link del probe");
        match tried {
            Ok(()) => test(),
            Err(why) => eprintln!("skipped: no XDP: {why}"),
        }
    });
}

/// A helper for interfaces of these names.
fn at(names: &[&str]) -> Start {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    xdp::start(10_000, &names)
}

fn started() -> Host {
    Host::with(at(&[SENSOR]))
}

/// What `ip` says of XDP at an interface: `xdp` in the driver, `xdpgeneric`, or nothing.
fn mode_of(device: &str) -> &'static str {
    let output = Command::new("ip").args(["link", "show", device]).output();
    let shown = String::from_utf8_lossy(&output.expect("ip runs").stdout).into_owned();
    let words = ["xdpgeneric", "xdp"];
    let found = words
        .into_iter()
        .find(|word| shown.contains(&format!(" {word} ")));
    found.unwrap_or("")
}

/// The number of the program at an interface.
fn program_of(device: &str) -> Option<u32> {
    let output = Command::new("ip").args(["link", "show", device]).output();
    let shown = String::from_utf8_lossy(&output.expect("ip runs").stdout).into_owned();
    let (_, rest) = shown.split_once("prog/xdp id ")?;
    rest.split_whitespace().next()?.parse().ok()
}

sockopt_impl!(
    /// The cookie of a socket's network namespace.
    NetnsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

/// The folder of names of this network namespace.
fn folder() -> PathBuf {
    let socket = UnixDatagram::unbound().expect("a socket");
    let name = match NetnsCookie.get(&socket) {
        Ok(cookie) => format!("netns-{cookie}"),
        Err(_) => {
            let about = std::fs::metadata("/proc/thread-self/ns/net");
            format!("net-{}", about.expect("a namespace").ino())
        }
    };
    PathBuf::from(format!("{NAMES}/v1/{name}"))
}

/// Nothing of ours is left.
fn assert_nothing_left(device: &str) {
    assert_eq!(mode_of(device), "", "a program at {device}");
    assert!(!PathBuf::from(NAMES).exists(), "names are left");
}

/// Keeps what this thread starts from having a capability.
fn without(capability: Capability) {
    caps::drop(None, CapSet::Bounding, capability).expect("it is held");
}
