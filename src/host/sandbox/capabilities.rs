//! Capabilities of the calling thread.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;

/// Reduces the calling thread to these capabilities for good, and keeps it from new privileges.
///
/// `for_children`: its children shall have them, too. The bounding set stays: no_new_privs has the same
/// effect, and without the set a program file with capabilities could not be started again.
///
/// Call it before other threads start: the kernel keeps capabilities per thread.
///
/// # Errors
///
/// Which set the kernel refused, and why: the effective one without one of them.
pub fn keep_only(capabilities: &[Capability], for_children: bool) -> Result<(), String> {
    let kept: CapsHashSet = capabilities.iter().copied().collect();
    use_only(capabilities)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(|error| refused("permitted", error))?;
    let (inherited, ambient) = match for_children {
        true => (kept.clone(), kept),
        false => (CapsHashSet::new(), CapsHashSet::new()),
    };
    caps::clear(None, CapSet::Ambient).map_err(|error| refused("ambient", error))?;
    caps::set(None, CapSet::Inheritable, &inherited)
        .map_err(|error| refused("inheritable", error))?;
    for one in ambient {
        // A child that is not root has what is ambient.
        caps::raise(None, CapSet::Ambient, one).map_err(|error| refused("ambient", error))?;
    }
    prctl::set_no_new_privs().map_err(|errno| format!("no_new_privs: {errno}"))
}

/// Makes these the effective ones; those that are permitted can be made so again.
///
/// # Errors
///
/// One of them is not permitted.
pub(super) fn use_only(capabilities: &[Capability]) -> Result<(), String> {
    let used: CapsHashSet = capabilities.iter().copied().collect();
    caps::set(None, CapSet::Effective, &used).map_err(|error| refused("effective", error))
}

/// Empties the bounding set, where this thread may (CAP_SETPCAP). Where it may not, no_new_privs has the same effect.
///
/// # Errors
///
/// Why the kernel refused.
pub(super) fn empty_bounding_set() -> Result<(), String> {
    if !has(Capability::CAP_SETPCAP) {
        return Ok(());
    }
    caps::clear(None, CapSet::Bounding).map_err(|error| refused("bounding", error))
}

/// Whether a capability is effective in the calling thread.
pub fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

/// Whether the calling thread may make a capability effective.
pub fn is_permitted(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Permitted, capability).unwrap_or(false)
}

fn refused(set: &str, error: CapsError) -> String {
    format!("{set} set: {error}")
}
