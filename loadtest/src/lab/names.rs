//! Names of namespaces, folders and control groups: a prefix, then the process id of their maker.
//!
//! If no such process runs, a crash left the thing behind, and it can be removed.

use std::fs;

/// Begins every name.
pub const PREFIX: &str = "synload-";

/// Whether `name` has the prefix, and the process that made it has ended.
pub fn is_left_behind(name: &str) -> bool {
    maker(name).is_some_and(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true))
}

/// Whether this process made `name`.
pub fn is_own(name: &str) -> bool {
    maker(name) == Some(std::process::id())
}

/// The process id in `name`.
fn maker(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_id_is_the_number_behind_the_prefix() {
        assert_eq!(maker("synload-12-0-a"), Some(12));
        assert_eq!(maker("synload-x-0"), None);
        assert_eq!(maker("other-12-0"), None);
    }
}
