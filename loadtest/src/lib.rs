//! Floods a sensor, closes its outer books, measures what it costs.
//!
//! ```text
//! traffic ─▶ send ─▶ lab (veth pair between two namespaces) ─▶ receiver ─▶ record (CSV)
//! ```
//!
//! Nothing here is part of the sensor, and none of its dependencies are.

pub mod lab;
pub mod machine;
pub mod process;
pub mod receiver;
pub mod record;
pub mod send;
pub mod sys;
pub mod traffic;
