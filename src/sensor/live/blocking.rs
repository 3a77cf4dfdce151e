//! Opens what `--block` needs: firewall, status socket, blocker.

use crate::error::Failure;
use crate::log::tap::Tap;
use crate::observe::socket::{Place, SocketFile};
use crate::observe::status::{self, StatusSocket};
use crate::respond::block::blocker::Blocker;
use crate::respond::block::desk::Desk;
use crate::respond::block::left;
use crate::respond::block::plan::BlockPlan;
use crate::respond::guard::{self, Guard, Shared};
use crate::settings::{Common, blocking};
use crate::time::clock::{monotonic_ns, wall_clock_ns};
use nix::unistd::Gid;

/// The status socket, bound.
pub(super) struct Status {
    pub socket: StatusSocket,
    /// Removes it at the end of the run.
    pub file: SocketFile,
}

/// Adds the blocker to the tap, and binds its socket. `None` without `--block`. `interfaces`: the watched ones.
pub(super) fn open(
    (common, plan): (&Common, Option<&Shared<BlockPlan>>),
    interfaces: &[String],
    guard: Guard,
    tap: &mut Tap,
) -> Result<Option<Status>, Failure> {
    let Some(shared) = plan else { return Ok(None) };
    let plan = guard::newest(shared);
    let gid = group(&plan).map_err(Failure::Run)?;
    let (listener, file) = place(&plan).bind(gid).map_err(Failure::Run)?;
    let word = plan.mode.word();
    // Later the sensor has no privilege to read it.
    let others = left::others(word);
    let firewall = (plan.open(interfaces))
        .map_err(|error| Failure::Run(format!("--block {word}: {error}")))?;
    let Some(firewall) = firewall else {
        return Ok(None);
    };
    let (desk, requests) = Desk::open(word, &common.sensor);
    let clock = Box::new(monotonic_ns);
    let mut blocker = Blocker::new(shared.clone(), firewall, guard, requests, clock);
    let now_ns = wall_clock_ns();
    others
        .into_iter()
        .for_each(|text| blocker.note(text, now_ns));
    tap.add(Box::new(blocker));
    let socket = StatusSocket::new(listener, desk, gid);
    Ok(Some(Status { socket, file }))
}

/// What keeps `--block` from being opened, if anything; changes nothing. `beside`: a sensor that runs may have it.
pub(super) fn would_open(plan: &BlockPlan, beside: bool) -> Result<(), String> {
    group(plan)?;
    if beside && place(plan).is_served() {
        return Ok(());
    }
    place(plan).would_bind()?;
    let word = plan.mode.word();
    (plan.would_open()).map_err(|error| format!("--block {word}: {error}"))
}

fn group(plan: &BlockPlan) -> Result<Option<Gid>, String> {
    plan.group.as_deref().map(status::group).transpose()
}

fn place(plan: &BlockPlan) -> Place<'_> {
    Place {
        flag: "--status-socket ",
        path: &plan.socket,
        makes_directory: blocking::is_default_socket(plan),
    }
}
