//! The helper process that changes the firewall, and the sensor's half of it. How it changes it, a [`Method`] says.
//!
//! ```text
//! sensor ── Helper ── socket pair ── keeper ─▶ worker ── Backend ── kernel
//!           orders ─▶                          checks every order again
//!           ◀─ answers, elements, incidents
//! ```
//!
//! The keeper is this program started again by [`Helper::start`], the worker the same by the keeper. Both have the
//! capabilities of the method and no other privilege; the keeper starts a worker again that has died. The sensor gives
//! CAP_NET_ADMIN up ([`give_up_net_admin`]).
//!
//! The worker blocks no address of this host, no loopback, link-local, multicast or unspecified address, and no prefix
//! that is too short, whatever it is told. It ends with the sensor: after a word from it, otherwise with the firewall
//! left as it is.

mod alive;
mod backend;
mod gate;
mod keeper;
pub(super) mod notices;
mod outbox;
mod own;
mod parent;
mod privileges;
mod process;
mod protected;
mod protocol;
#[cfg(test)]
mod tests;
mod worker;

pub use alive::{alive, process};
pub use backend::{
    Backend, FoundLeft, Left, LeftElement, Method, Opened, Sentences, Unbuilt, in_runs,
};
pub use gate::FOR_S_MAX;
pub use keeper::helper;
pub use parent::Helper;
pub use privileges::{give_up_net_admin, holds};
pub use process::Start;
pub use protected::{V4_PREFIX_MIN, V6_PREFIX_MIN};
pub use protocol::{Incident, Said};

/// First argument of a helper process.
pub const HELPER: &str = "block-helper";
/// Most elements of all sets together.
pub const ELEMENTS_MAX: u32 = 65_536;

/// Exit codes of a helper process: it ended with the sensor.
const ENDED_WELL: u8 = 0;
/// It was not started by a sensor.
const WRONG_START: u8 = 2;
/// It may not change a firewall.
const NO_PRIVILEGE: u8 = 3;
/// It may work when it is started again.
const FAILED: u8 = 4;
