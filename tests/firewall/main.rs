//! The kernel half of `--block nft` and `--block xdp`: the real program as its helper, in namespaces of their own.
//!
//! `SYNLEDGER_FUZZ=full` kills 100 times instead of 20, and sends 1,000,000 messages to a helper instead of 20,000.

#[path = "../common/mod.rs"]
mod common;
#[path = "../live/peer.rs"]
mod peer;

mod absent;
mod edits;
mod guard;
mod host;
mod kills;
mod left;
mod packets;
mod speed;
mod xdp;

/// More of it with `SYNLEDGER_FUZZ=full`.
fn is_full() -> bool {
    std::env::var("SYNLEDGER_FUZZ").as_deref() == Ok("full")
}
