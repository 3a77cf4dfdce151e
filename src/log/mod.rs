//! Events of all shards in, lines out: one logger, the only writer.
//!
//! ```text
//! shard ─▶ queue ─┐
//! shard ─▶ queue ─┼▶ merge ─▶ budget ─▶ outputs ─▶ sink
//! shard ─▶ queue ─┘  (order)  (alerts)   text, eve   (file)
//! ```
//!
//! No wall clock is read here: whoever starts the logger hands it a clock.

pub mod append;
pub mod budget;
pub mod descriptor;
pub mod eve;
pub mod event;
pub mod flow;
pub mod fold;
pub mod folding;
pub mod identity;
pub mod interfaces;
pub mod logger;
pub mod merge;
pub mod notice;
pub mod outputs;
pub mod queue;
pub mod reached;
pub mod room;
pub mod sink;
pub mod spec;
pub mod stamp;
pub mod text;

#[cfg(test)]
pub(crate) mod samples;
