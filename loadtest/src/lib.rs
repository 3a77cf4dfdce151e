//! Floods a sensor, reconciles its counters and its log with what was sent, and measures its cost.
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
//! | `receivers` | the sensor, the bare reader and the peers: start, stop, counts |
//! | `truth` | compares the sensor's log and books with what was sent |
//! | `send` | sends a load by a schedule |
//! | `traffic` | loads: name, seed and frame number give the bytes of a frame |
//! | `lab` | network namespaces, processes, control groups, the machine |
//! | `sys` | system calls: all `unsafe` |
//! | `judge` | failures and targets: what decides the exit code |
//!
//! Neither this crate nor a dependency of its own is part of the sensor.

pub mod clean;
pub mod cli;
pub mod experiments;
pub mod flags;
pub mod judge;
pub mod lab;
pub mod receivers;
pub mod report;
pub mod say;
pub mod send;
pub mod sys;
pub mod traffic;
pub mod truth;
