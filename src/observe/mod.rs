//! What an operator sees of a running sensor: counters, health.

pub mod address;
pub mod metrics;
pub mod server;
