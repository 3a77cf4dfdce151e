//! Compares the sensor's log and books with what was sent.

pub mod books;
pub mod eve;
pub mod follow;
pub mod ledger;
