//! What somebody else may hold or forbid: opened first, before any memory is taken.

use crate::capture::nic::{self, Watch};
use crate::capture::socket;
use crate::commands::Failure;
use crate::commands::logging::{self, SharedLocalities};
use crate::config::RunConfig;
use crate::locality::Localities;
use crate::log::eve::Interfaces;
use crate::log::outputs::Outputs;
use crate::observe::metrics::Snapshot;
use crate::observe::server;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub(super) struct Opened {
    /// Where metrics are to be served.
    pub listener: Option<TcpListener>,
    pub watch: Watch,
    /// Our addresses as of the start of `watch`.
    pub ours: Arc<Localities>,
    pub localities: SharedLocalities,
    pub names: Interfaces,
    pub outputs: Outputs,
}

impl Opened {
    /// # Errors
    ///
    /// Packet sockets are not allowed, the metrics address is taken, or an output cannot be opened.
    pub(super) fn new(config: &RunConfig, nics: &[nic::Interface]) -> Result<Self, Failure> {
        let common = &config.common;
        let names: Vec<String> = nics.iter().map(|nic| nic.name.clone()).collect();
        socket::may_open(&names.join(", ")).map_err(Failure::run)?;
        let listener = config.metrics.map(listen).transpose()?;
        let watch = Watch::start().map_err(Failure::run)?;
        let ours = Arc::new(Localities::live(watch.addresses(), &common.local));
        let localities: SharedLocalities = Arc::new(RwLock::new(Arc::clone(&ours)));
        let names = Interfaces::new(names);
        let context = logging::context(common, &names, &localities, false);
        // Last: it may create files.
        let outputs = logging::outputs(common, &context)?;
        Ok(Self {
            listener,
            watch,
            ours,
            localities,
            names,
            outputs,
        })
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| Failure::Run(metrics_refused(address, &error)))
}

pub(super) fn metrics_refused(address: SocketAddr, error: &io::Error) -> String {
    format!("--metrics {address}: {error}; choose another address or port")
}

/// What scrapes are to see, served where that was asked for.
pub(super) fn serve_metrics(
    listener: Option<TcpListener>,
) -> Result<Arc<Mutex<Snapshot>>, Failure> {
    let snapshot = Arc::new(Mutex::new(Snapshot::default()));
    let Some(listener) = listener else {
        return Ok(snapshot);
    };
    let shown = Arc::clone(&snapshot);
    let newest = move || shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match server::serve(listener, Arc::new(newest)) {
        Ok(()) => Ok(snapshot),
        Err(error) => Err(Failure::Run(format!("--metrics: {error}"))),
    }
}
