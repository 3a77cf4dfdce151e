//! Frame in, packet or one counted reason out.

pub mod packet;
