//! Which ring a frame belongs to: the program for the kernel, and the same in Rust.

mod asm;
#[cfg(test)]
mod interp;
mod keys;
mod native;
mod program;
#[cfg(test)]
mod tests;

pub use keys::Keys;
pub use native::{Demux, demux};
pub use program::{Leaf, REACH_BYTES, program};
