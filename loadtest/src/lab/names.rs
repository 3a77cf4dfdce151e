//! Names of namespaces, folders and control groups: a prefix, and the process id of their maker.
//!
//! A name says whether its maker still runs, so that what a crash left behind can be removed.

use std::fs;

/// Every name begins with it; the process id follows.
pub const PREFIX: &str = "synload-";

/// Whether `name` has the prefix, and the process that made it is gone.
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
    fn the_maker_is_the_number_behind_the_prefix() {
        assert_eq!(maker("synload-12-0-a"), Some(12));
        assert_eq!(maker("synload-x-0"), None);
        assert_eq!(maker("other-12-0"), None);
    }
}
