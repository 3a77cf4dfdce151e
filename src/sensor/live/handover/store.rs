//! The service manager's store of descriptors: what a process leaves there, the next one of the service inherits.

use super::{Lent, Named, PREFIX};
use crate::host::service_manager::ServiceManager;
use crate::sys::passing;

/// Leaves all descriptors in the store, and waits until they are there.
///
/// # Errors
///
/// One sentence. Some may be there then: [`clear`].
pub(in crate::sensor::live) fn put(
    manager: &ServiceManager,
    named: &Lent<'_>,
) -> Result<(), String> {
    for (name, fd) in named {
        let stored = manager.store(name, fd);
        stored.map_err(|error| format!("the service manager's store: {error}"))?;
    }
    let done = manager.barrier();
    done.map_err(|error| format!("the service manager does not answer: {error}"))
}

/// Removes descriptors from the store.
pub(in crate::sensor::live) fn clear(manager: &ServiceManager, names: &[String]) {
    for name in names {
        manager.remove_stored(name);
    }
}

/// What another process of this service has left, and the names of it all.
pub(in crate::sensor::live) fn inherited() -> (Named, Vec<String>) {
    let mut all = passing::inherited();
    // Sockets of a `.socket` unit are none of ours.
    all.retain(|(name, _)| name.starts_with(PREFIX));
    let names = all.iter().map(|(name, _)| name.clone()).collect();
    (all, names)
}
