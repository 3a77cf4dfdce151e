//! What somebody else may hold or forbid: opened first, before any memory is taken.

use super::surroundings::Keeping;
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
    /// Where metrics are to be served; empty: nowhere.
    pub listeners: Vec<TcpListener>,
    pub watch: Watch,
    /// Our addresses as of the start of `watch`.
    pub ours: Arc<Localities>,
    pub localities: SharedLocalities,
    pub names: Interfaces,
    pub outputs: (Outputs, Tap),
    /// Gateways and resolvers.
    pub surroundings: Keeping,
}

impl Opened {
    /// # Errors
    ///
    /// Packet sockets are not allowed, the metrics address is taken, or an output cannot be opened.
    pub(super) fn new(config: &RunConfig, nics: &[nic::Interface]) -> Result<Self, Failure> {
        let common = &config.common;
        let names: Vec<String> = nics.iter().map(|nic| nic.name.clone()).collect();
        socket::may_open(&names.join(", ")).map_err(Failure::run)?;
        let listeners = config.metrics.as_ref().map(listen).transpose()?;
        let watch = Watch::start().map_err(Failure::run)?;
        let ours = Arc::new(Localities::live(watch.addresses(), &common.local));
        let localities: SharedLocalities = Arc::new(RwLock::new(Arc::clone(&ours)));
        let names = Interfaces::new(names);
        let context = logging::context(common, &names, &localities, false);
        let surroundings = Keeping::start(common)?;
        // Last: it may create files.
        let tap = logging::tap(common, &localities, &surroundings.shared, true)?;
        let outputs = (logging::outputs(common, &context)?, tap);
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

fn listen(address: &MetricsAddress) -> Result<Vec<TcpListener>, Failure> {
    let listeners = address.listen();
    listeners.map_err(|error| Failure::Run(metrics_refused(address, &error)))
}

pub(super) fn metrics_refused(address: &MetricsAddress, error: &io::Error) -> String {
    format!("--metrics {address}: {error}; choose another address or port")
}
