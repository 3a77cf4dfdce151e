//! Packet in, connection events out.

pub mod record;
