//! What an operator sees of a running sensor: counters, health.

pub mod address;
pub mod losses;
pub mod metrics;
pub mod report;
pub mod server;
pub mod terminal;
