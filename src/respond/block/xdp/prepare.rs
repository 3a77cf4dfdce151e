//! What the keeper does while it still has all privileges.

use super::elements::Elements;
use super::{pins, program};
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

/// What every kernel wants.
pub const CAPABILITIES: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_BPF];
/// What the verifier of some kernels wants, too: before Linux 6.6 it compares no addresses in packets without it.
pub const VERIFIER: [Capability; 1] = [Capability::CAP_PERFMON];

/// Mounts the file system for names, and finds out by trying whether the verifier wants [`VERIFIER`].
pub fn prepare() -> bool {
    // Before Linux 5.11 maps are taken from locked memory.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    pins::mount();
    !is_enough().unwrap_or(true)
}

/// Whether the program is loaded without [`VERIFIER`]; `None`: cannot be tried.
fn is_enough() -> Option<bool> {
    let before = caps::read(None, CapSet::Effective).ok()?;
    let least: CapsHashSet = CAPABILITIES.into_iter().collect();
    caps::set(None, CapSet::Effective, &least).ok()?;
    let maps = (Elements::make(0, 1), Elements::make(1, 1));
    let is_loaded = match maps {
        (Ok(v4), Ok(v6)) => Some(program::load(&[v4, v6]).is_ok()),
        _ => None,
    };
    caps::set(None, CapSet::Effective, &before).ok()?;
    is_loaded
}
