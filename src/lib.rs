//! synledger keeps a ledger of every new connection, with the books closed.
//!
//! It also tells of port scans: one source that sends SYNs to N TCP ports of one destination within W. What is no
//! scan yet: slower ones, one port on many hosts, UDP, probes without SYN or with ACK, many sources, tunnels.
//!
//! A packet's path, and the modules in its order:
//!
//! ```text
//! nic ─ kernel ─▶ capture ─▶ decode ─▶ flow ─▶ inspect ─▶ log ─▶ text · EVE
//!                 └─────── worker: one pinned core, one shard ───────┘ └ one logger ┘
//!                                   ▲            │
//!                                   └── contacts ┘   each pair has one owner among the shards
//! ```
//!
//! What always holds:
//! - Workers share nothing. A `Contact` and an `Event` are the only things that cross a thread.
//! - Both directions of a connection meet the same shard: the fanout hash is symmetric, keyed, and ours,
//!   so that user space recomputes it.
//! - No allocation, lock, wall clock or system call between a block's first frame and its last.
//! - Time is the packet's time stamp. The same capture gives the same log, at any speed.
//! - Nothing is lost in silence: every frame ends in exactly one counter (`books`).

// Before those that use its macro.
#[macro_use]
pub mod words;

pub mod books;
pub mod capture;
pub mod check;
pub mod cli;
pub mod commands;
pub mod config;
pub mod counters;
pub mod cpus;
pub mod decode;
pub mod descriptors;
pub mod durations;
pub mod error;
pub mod flow;
pub mod horizons;
pub mod inspect;
pub mod interval;
pub mod live;
pub mod locality;
pub mod log;
pub mod losses;
pub mod memory;
pub mod mesh;
pub mod observe;
pub mod outbox;
pub mod policy;
pub mod replay;
pub mod report;
pub mod rings;
pub mod sensor;
pub mod shard;
pub mod shard_counts;
pub mod shedding;
pub mod splitmix;
pub mod witness;
pub mod worker;
