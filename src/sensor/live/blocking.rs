//! Opens the status socket and what `--block` needs: firewall, blocker.

use crate::error::Failure;
use crate::host::services::Services;
use crate::log::tap::Tap;
use crate::observe::socket::{Place, SocketFile};
use crate::observe::status::{self, StatusPlan, StatusSocket};
use crate::observe::view::View;
use crate::respond::block::blocker::Blocker;
use crate::respond::block::desk::Desk;
use crate::respond::block::left;
use crate::respond::block::plan::BlockPlan;
use crate::respond::guard::{self, Guard, Shared};
use crate::settings::{RunConfig, blocking};
use crate::time::clock::{monotonic_ns, wall_clock_ns};
use nix::unistd::Gid;

/// The status socket, bound.
pub(super) struct Status {
    pub socket: StatusSocket,
    /// Removes it at the end of the run.
    pub file: SocketFile,
}

/// Binds the status socket, and adds what serves it to the tap: the view, and with `--block` the blocker. `interfaces`: the
/// watched ones.
pub(super) fn open(
    (config, plan): (&RunConfig, Option<&Shared<BlockPlan>>),
    interfaces: &[String],
    (guard, services): (Guard, Option<Services>),
    tap: &mut Tap,
) -> Result<Option<Status>, Failure> {
    let Some(status) = &config.status else {
        return Ok(None);
    };
    // First: where another sensor has it, the firewall is that one's.
    let gid = group(status).map_err(Failure::Run)?;
    let (listener, file) = place(status).bind(gid).map_err(Failure::Run)?;
    let sensor = &config.common.sensor;
    let desk = match plan {
        Some(shared) => block(shared, sensor, interfaces, guard, tap)?,
        None => None,
    };
    let view = View::new(services);
    tap.add(view.listener());
    let socket = StatusSocket::new(listener, (desk, view, sensor), gid);
    Ok(Some(Status { socket, file }))
}

/// Adds the blocker to the tap; `None`: nothing is blocked.
fn block(
    shared: &Shared<BlockPlan>,
    sensor: &str,
    interfaces: &[String],
    guard: Guard,
    tap: &mut Tap,
) -> Result<Option<Desk>, Failure> {
    let plan = guard::newest(shared);
    let word = plan.mode.word();
    // Later the sensor has no privilege to read it.
    let others = left::others(word);
    let firewall = (plan.open(interfaces))
        .map_err(|error| Failure::Run(format!("--block {word}: {error}")))?;
    let Some(firewall) = firewall else {
        return Ok(None);
    };
    let (desk, requests) = Desk::open(word, sensor);
    let clock = Box::new(monotonic_ns);
    let mut blocker = Blocker::new(shared.clone(), firewall, guard, requests, clock);
    let now_ns = wall_clock_ns();
    others
        .into_iter()
        .for_each(|text| blocker.note(text, now_ns));
    tap.add(Box::new(blocker));
    Ok(Some(desk))
}

/// What keeps socket and `--block` from being opened, if anything; changes nothing. `beside`: a sensor that runs may have
/// them.
pub(super) fn would_open(config: &RunConfig, beside: bool) -> Result<(), String> {
    let Some(status) = &config.status else {
        return Ok(());
    };
    group(status)?;
    if beside && place(status).is_served() {
        return Ok(());
    }
    place(status).would_bind()?;
    let Some(plan) = &config.block else {
        return Ok(());
    };
    let word = plan.mode.word();
    (plan.would_open()).map_err(|error| format!("--block {word}: {error}"))
}

fn group(plan: &StatusPlan) -> Result<Option<Gid>, String> {
    plan.group.as_deref().map(status::group).transpose()
}

fn place(plan: &StatusPlan) -> Place<'_> {
    Place {
        flag: "--status-socket ",
        path: &plan.socket,
        makes_directory: blocking::is_default_socket(&plan.socket),
    }
}
