//! Contacts in, detections out: one detector, one file.
//!
//! The contract of a detector: it is fed the contacts of the pairs (or sources) its shard owns, in the
//! order of their positions (`on_contact`), ends what is due (`expire`), ends the rest at the end of
//! the run (`finish`), takes all its memory in `new`, never looks at a clock, and counts what it had to
//! push out. What it decides depends on the contacts alone, never on the number of shards.

pub mod contact;
pub mod detection;
pub mod port_scan;
