//! synledger keeps a ledger of every new connection, with the books closed.
//!
//! It also detects scans and floods, each by one detector of [`inspect`], and can shut a scanner out.
//!
//! A packet's path, and the modules in its order:
//!
//! ```text
//! nic ─ kernel ─▶ capture ─▶ decode ─▶ flow ─▶ inspect ─▶ log ─▶ text · EVE · Zeek · block list
//!                 └─────── worker: one pinned core, one shard ───────┘ └ one logger ┘
//!                                   ▲            │
//!                                   └── contacts ┘   each pair has one owner among the shards
//! ```
//!
//! What always holds:
//! - Workers share nothing. A `Contact` and an `Event` are the only things that cross a thread.
//! - Both directions of a connection meet the same shard: the fanout hash is symmetric, keyed, and our own,
//!   so that user space can recompute it.
//! - No allocation, lock, wall clock or system call between a block's first frame and its last.
//! - Time is the packet's time stamp. The same capture gives the same log, at any speed.
//! - Every loss is counted: every frame ends in exactly one counter (`books`).

// Before the modules that use its macro.
#[macro_use]
pub mod words;
pub mod books;
pub mod capture;
pub(crate) mod check;
pub mod commands;
pub mod counters;
pub mod decode;
pub mod error;
pub mod flow;
pub mod host;
pub(crate) mod hyperloglog;
pub mod inspect;
pub mod log;
pub mod observe;
pub(crate) mod respond;
pub mod sensor;
pub mod settings;
pub mod shard;
pub(crate) mod shedding;
pub mod snapshot;
pub(crate) mod splitmix;
pub mod sys;
pub mod time;
pub mod witness;

pub use respond::block::{firewall, helper, nft, xdp};
