//! Sockets, listeners and outputs, whose opening may fail: opened before memory is reserved.

use super::blocking::{self, Status};
use super::confine;
use super::handover::exchange::Door;
use super::reload::SharedSettings;
use super::state::Kept;
use super::surroundings::HostWatch;
use crate::capture::socket;
use crate::error::Failure;
use crate::host::addresses::Localities;
use crate::host::nic::{self, Watch};
use crate::host::sandbox::Identity;
use crate::log::formats::context::Context;
use crate::log::formats::interfaces::Interfaces;
use crate::log::outputs::Outputs;
use crate::log::tap::Tap;
use crate::observe::target::Exits;
use crate::respond::guard::Guard;
use crate::sensor::logging::{self, SharedLocalities};
use crate::settings::RunConfig;
use std::sync::{Arc, RwLock};

pub(super) struct Opened {
    /// For metrics.
    pub exits: Exits,
    pub watch: Watch,
    /// Localities at the start of `watch`.
    pub ours: Arc<Localities>,
    pub localities: SharedLocalities,
    pub names: Interfaces,
    pub outputs: (Outputs, Tap),
    /// For outputs of a reload.
    pub context: Context,
    pub surroundings: HostWatch,
    /// As whom the run goes on; `None` with `--no-sandbox`.
    pub identity: Option<Identity>,
    pub kept: Kept,
    /// What a reload changes.
    pub shared: SharedSettings,
    /// The status socket.
    pub status: Option<Status>,
    /// Of `--takeover`.
    pub door: Option<Door>,
}

impl Opened {
    pub(super) fn new(config: &RunConfig, nics: &[nic::Interface]) -> Result<Self, Failure> {
        let common = &config.common;
        let names: Vec<String> = nics.iter().map(|nic| nic.name.clone()).collect();
        socket::try_open(&names.join(", ")).map_err(Failure::run)?;
        let mut exits = Exits::default();
        let mut targets = config.metrics.iter();
        targets
            .try_for_each(|target| target.open(&mut exits))
            .map_err(Failure::Run)?;
        let watch = Watch::start().map_err(Failure::run)?;
        let ours = Arc::new(Localities::live(watch.addresses(), &common.local));
        let localities: SharedLocalities = Arc::new(RwLock::new(Arc::clone(&ours)));
        let interfaces = names.clone();
        let names = Interfaces::new(names);
        let direction = logging::direction(&localities);
        let surroundings = HostWatch::start(config, &localities)?;
        let services = surroundings.services();
        let context = logging::context(common, &names, direction, services, false);
        let identity = confine::identity(config, true).map_err(Failure::Run)?;
        if let Some((uid, gid)) = identity.as_ref().and_then(Identity::other) {
            let given = exits.give(uid, gid);
            given.map_err(|error| Failure::Run(format!("the socket of --metrics: {error}")))?;
        }
        let kept = Kept::open(config.state.as_ref(), identity.as_ref())?;
        let door = config.takeover.as_deref().map(Door::open);
        let door = door.transpose().map_err(Failure::Run)?;
        // Last: it may create files, and the firewall its table.
        let allow = logging::allowed(common);
        let guard = Guard::new(&localities, &surroundings.shared, &allow);
        let mut outputs = logging::open(common, &context, guard.clone())?;
        let block = config.block.clone();
        let block = block.map(|plan| Arc::new(RwLock::new(Arc::new(plan))));
        // Names of services tell addresses.
        let services = surroundings.services();
        let services = services.filter(|_| common.anonymizer.is_none());
        let plan = (config, block.as_ref());
        let status = blocking::open(plan, &interfaces, (guard, services), &mut outputs.1)?;
        Ok(Self {
            exits,
            watch,
            ours,
            localities,
            names,
            outputs,
            context,
            surroundings,
            identity,
            kept,
            shared: SharedSettings { allow, block },
            status,
            door,
        })
    }
}
