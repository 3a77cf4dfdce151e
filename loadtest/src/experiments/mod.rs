//! The measurements: one module for each subcommand.

pub mod books;
pub mod common;
pub mod compare;
pub mod harm;
pub mod hidden;
pub mod latency;
pub mod overload;
pub mod reconcile;
pub mod rings;
pub mod search;
