//! A segment's way, and the modules in its order:
//!
//! sensor ─▶ spool ─▶ segment ─▶ table ─▶ encode ─▶ store ─▶ folder or bucket
//!
//! What always holds:
//! - A segment is removed only after all its files are at their place, so a crash loses no row.
//! - A file's name and bytes follow from its rows, so a retry overwrites itself and no row is there twice.
//! - A file is there whole or not at all.
//! - What a segment holds is checked before use; what cannot be read is set aside, never removed.

pub mod columns;
pub mod credentials;
pub mod encode;
pub mod flags;
pub mod report;
pub mod schedule;
pub mod segment;
pub mod spool;
pub mod store;
pub mod table;
pub mod work;
