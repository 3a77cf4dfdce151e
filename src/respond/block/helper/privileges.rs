//! Capabilities of the helper, and of the sensor beside it.

use super::backend::Method;
use crate::host::sandbox::capabilities::{has, is_permitted};
use caps::errors::CapsError;
use caps::{CapSet, Capability};
use nix::sys::prctl;

/// The capabilities that a helper of this method keeps; `wants_more`: also the optional ones that it has.
pub fn of(method: &Method, wants_more: bool) -> Vec<Capability> {
    let optional = method
        .optional
        .iter()
        .copied()
        .filter(|one| wants_more && is_permitted(*one));
    method
        .capabilities
        .iter()
        .copied()
        .chain(optional)
        .collect()
}

/// Whether the calling thread may start a helper of a method: it has these capabilities.
pub fn holds(capabilities: &[Capability]) -> bool {
    capabilities.iter().all(|one| has(*one))
}

/// Gives up CAP_NET_ADMIN in the calling thread and in its future children, for good: with no_new_privs a program file
/// with that capability, such as this one after `setcap`, does not give it back.
///
/// Call it when the helper has been started ([`super::Helper::start`]) and before any other thread starts: the kernel keeps
/// capabilities per thread. Nothing else in the sensor needs it: packet sockets, their filters, promiscuous mode, and
/// bpf(2) for socket filters ask for CAP_NET_RAW and CAP_BPF; the ioctls of ethtool that are used only read.
///
/// A process that has CAP_SETUID, CAP_SYS_PTRACE or CAP_SYS_ADMIN left can get it back by other ways: an attacker who
/// runs code in a sensor with all of root's other capabilities is not kept from the firewall by this alone.
///
/// # Errors
///
/// The kernel's words.
pub fn give_up_net_admin() -> Result<(), String> {
    let admin = Capability::CAP_NET_ADMIN;
    let held = |set| caps::has_cap(None, set, admin).unwrap_or(false);
    let said = |error: CapsError| error.to_string();
    if has(Capability::CAP_SETPCAP) && held(CapSet::Bounding) {
        caps::drop(None, CapSet::Bounding, admin).map_err(said)?;
    }
    for set in [
        CapSet::Ambient,
        CapSet::Inheritable,
        CapSet::Effective,
        CapSet::Permitted,
    ] {
        if held(set) {
            caps::drop(None, set, admin).map_err(said)?;
        }
    }
    prctl::set_no_new_privs().map_err(|errno| format!("no_new_privs: {errno}"))
}
