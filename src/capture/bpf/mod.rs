//! BPF programs: which ring takes a frame, and how much of it.

mod asm;
pub mod counted;
pub mod depth;
pub mod fanout;
pub mod sample;
mod steps;
