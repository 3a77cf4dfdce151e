//! The hash table of flows: buckets, entries, timers.

pub mod bucket;
pub mod slab;
pub mod timers;
