//! The program on a live interface: a veth pair in a namespace of its own, from start to exact books.

#[path = "../common/mod.rs"]
mod common;

mod blocklist;
mod conversation;
mod devices;
mod disk;
mod dummies;
mod dump;
mod flaps;
mod handshakes;
mod hints;
mod hostile_names;
mod interfaces;
mod limits;
mod lockstep;
mod nat;
mod nat_lab;
mod overload;
mod peer;
mod programs;
mod real;
mod replayed;
mod scans;
mod sensor;
mod services;
mod signals;
mod start;
mod tagged;
mod tags;
mod taps;
mod text;
mod tools;
mod traffic;
mod waiting;
mod wakes;
mod web;
mod witness;
