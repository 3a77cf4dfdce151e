//! `--block`: sources of detections are shut out by the host's firewall.
//!
//! [`blocker`] decides whom and for how long, [`enforcer`] has it carried out by a [`firewall`], [`journal`] keeps the
//! books. The guard spares whom this host depends on. Everything that was wanted ends in exactly one counter
//! (`books::blocks`).

mod batch;
pub mod blocker;
mod comparison;
pub mod desk;
mod dry_run;
mod enforcer;
#[allow(
    missing_docs,
    reason = "the fields are what the sentences at their types say"
)]
pub mod firewall;
pub mod helper;
mod journal;
pub mod left;
mod memory;
mod net_set;
pub mod nft;
pub mod orders;
pub mod plan;
mod table;
pub mod xdp;

/// Ways to block by a helper process. A new one is a folder, and a line here.
static METHODS: [&helper::Method; 2] = [&nft::METHOD, &xdp::METHOD];
