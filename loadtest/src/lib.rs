//! Floods a sensor, closes its outer books, measures what it costs.
//!
//! ```text
//! traffic ─▶ send ─▶ lab (veth pair between two namespaces) ─▶ receiver ─▶ record (CSV)
//! ```
//!
//! Nothing here is part of the sensor, and none of its dependencies are.

pub mod bare;
pub mod books;
pub mod cli;
pub mod compare;
pub mod eve;
pub mod flags;
pub mod follow;
pub mod harm;
pub mod hidden;
pub mod lab;
pub mod latency;
pub mod ledger;
pub mod machine;
pub mod overload;
pub mod peers;
pub mod process;
pub mod receiver;
pub mod reconcile;
pub mod record;
pub mod report;
pub mod rings;
pub mod say;
pub mod search;
pub mod send;
pub mod sensor;
pub mod stats;
pub mod stop;
pub mod sys;
pub mod throttle;
pub mod traffic;
