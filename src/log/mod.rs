//! Events of all shards in, lines out: one logger, the only writer.
//!
//! ```text
//! shard ─▶ queue ─┐
//! shard ─▶ queue ─┼▶ merge ─┬▶ budget ─▶ outputs ─▶ format ─▶ sink
//! shard ─▶ queue ─┘  (order) │  (alerts)            (text …)  (file)
//!                            └▶ tap: responders and reports receive every event
//! ```
//!
//! No wall clock is read here: whoever starts the logger hands it a clock.

pub mod anonymize;
pub mod block_record;
pub mod budget;
pub mod event;
pub mod fold;
pub mod formats;
pub mod logger;
pub mod merge;
pub(crate) mod notice;
pub mod outputs;
pub mod reached;
pub mod sinks;
pub mod tap;
