//! Where bytes go.

pub mod descriptor;
pub mod lines;
pub mod spec;
