//! Sockets, listeners and outputs, whose opening may fail: opened before memory is reserved.

use super::surroundings::HostWatch;
use crate::capture::socket;
use crate::error::Failure;
use crate::host::addresses::Localities;
use crate::host::nic::{self, Watch};
use crate::log::formats::interfaces::Interfaces;
use crate::log::outputs::Outputs;
use crate::log::tap::Tap;
use crate::observe::address::MetricsAddress;
use crate::sensor::logging::{self, SharedLocalities};
use crate::settings::RunConfig;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, RwLock};

pub(super) struct Opened {
    /// For metrics; empty: none.
    pub listeners: Vec<TcpListener>,
    pub watch: Watch,
    /// Localities at the start of `watch`.
    pub ours: Arc<Localities>,
    pub localities: SharedLocalities,
    pub names: Interfaces,
    pub outputs: (Outputs, Tap),
    pub surroundings: HostWatch,
}

impl Opened {
    pub(super) fn new(config: &RunConfig, nics: &[nic::Interface]) -> Result<Self, Failure> {
        let common = &config.common;
        let names: Vec<String> = nics.iter().map(|nic| nic.name.clone()).collect();
        socket::try_open(&names.join(", ")).map_err(Failure::run)?;
        let listen = |address: &MetricsAddress| {
            let listeners = address.listen();
            listeners.map_err(|error| Failure::Run(metrics_refused(address, &error)))
        };
        let listeners = config.metrics.as_ref().map(listen).transpose()?;
        let watch = Watch::start().map_err(Failure::run)?;
        let ours = Arc::new(Localities::live(watch.addresses(), &common.local));
        let localities: SharedLocalities = Arc::new(RwLock::new(Arc::clone(&ours)));
        let names = Interfaces::new(names);
        let direction = logging::direction(&localities);
        let surroundings = HostWatch::start(common, &localities)?;
        let services = surroundings.services();
        let context = logging::context(common, &names, direction, services, false);
        // Last: it may create files.
        let outputs = logging::open(common, &context, &localities, &surroundings.shared)?;
        Ok(Self {
            listeners: listeners.unwrap_or_default(),
            watch,
            ours,
            localities,
            names,
            outputs,
            surroundings,
        })
    }
}

pub(super) fn metrics_refused(address: &MetricsAddress, error: &io::Error) -> String {
    format!("--metrics {address}: {error}; choose another address or port")
}
