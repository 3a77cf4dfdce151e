//! What an operator sees of a run: metrics, health, losses, the books as text.

pub(crate) mod address;
pub mod losses;
pub mod metrics;
pub(crate) mod report;
pub(crate) mod server;
pub(crate) mod terminal;
