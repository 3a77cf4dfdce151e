//! Floods a sensor, closes its outer books, measures what it costs.
//!
//! ```text
//! traffic ─▶ send ─▶ lab (veth pair between two namespaces) ─▶ receivers ─▶ report (CSV, tables)
//! ```
//!
//! The folders, the highest layer first. A file imports from its own folder and from lower layers, and no two
//! files import each other (`tests/tidy.rs` checks both).
//!
//! | folder | holds |
//! |---|---|
//! | `experiments` | what the subcommands measure |
//! | `report` | the CSV of measurements, and the tables and plots made from it |
//! | `receivers` | the sensor, the bare reader and the peers: start, stop, figures |
//! | `truth` | the sensor's log and books, against what was sent |
//! | `send` | a load into the kernel, by its schedule |
//! | `traffic` | loads: frame number *i* with a seed |
//! | `lab` | namespaces, processes, control groups, the machine |
//! | `sys` | the kernel's interfaces: all `unsafe` |
//!
//! Nothing here is part of the sensor, and none of its dependencies are.

pub mod clean;
pub mod cli;
pub mod experiments;
pub mod flags;
pub mod lab;
pub mod receivers;
pub mod report;
pub mod say;
pub mod send;
pub mod sys;
pub mod traffic;
pub mod truth;
