//! What an operator sees of a run: metrics, health, losses, the books as text.

pub mod address;
pub mod losses;
pub mod metrics;
pub mod report;
pub mod server;
pub mod terminal;
