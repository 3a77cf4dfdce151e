//! Parts of sentences that every way to block says alike.

use crate::words::many;
use nix::errno::Errno;

/// [`super::Incident::Malformed`].
pub const MALFORMED: &str =
    "the block helper got a message that synledger does not send, and ignored it";

/// [`super::Incident::Owned`].
pub fn let_in(elements: u32) -> String {
    format!(
        "{} became addresses of this host or contain one, and were let in again",
        blocked(elements)
    )
}

/// So many elements.
pub fn blocked(elements: u32) -> String {
    many(elements, "blocked entry").replace("entrys", "entries")
}

/// The kernel's words for an error number.
pub fn words(errno: u32) -> &'static str {
    Errno::from_raw(errno.cast_signed()).desc()
}
