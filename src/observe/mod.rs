//! What an operator sees of a run: metrics, health, losses, the books as text, the
//! report of captures.

pub(crate) mod address;
pub mod losses;
pub mod metrics;
pub(crate) mod report;
pub(crate) mod server;
pub mod summary;
pub(crate) mod terminal;
