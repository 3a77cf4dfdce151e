//! What an operator sees of a running sensor: counters, health.

pub mod metrics;
pub mod names;
pub mod server;
