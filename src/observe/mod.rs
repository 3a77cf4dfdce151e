//! What an operator sees of a run: metrics, health, blocks, losses, the books as text, the
//! report of captures.

pub(crate) mod address;
mod health;
pub mod losses;
pub mod metrics;
pub(crate) mod report;
pub(crate) mod server;
pub mod snapshot;
pub(crate) mod socket;
pub(crate) mod status;
pub mod summary;
pub mod target;
pub(crate) mod terminal;
pub(crate) mod textfile;
pub(crate) mod view;
