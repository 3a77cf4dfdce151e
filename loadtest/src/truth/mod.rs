//! What the sensor reported, and whether it agrees with what was sent.

pub mod books;
pub mod eve;
pub mod follow;
pub mod ledger;
