//! Events of all shards in, lines out: one logger, the only writer.

pub mod event;
