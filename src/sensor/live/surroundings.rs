//! Whom this host depends on, renewed while responders run or blocks are made, and its services.

use super::messenger::Messenger;
use super::services::{self, ServiceWatch};
use crate::error::Failure;
use crate::host::services::finder::Finder;
use crate::host::services::{Reader, Services};
use crate::host::ssh_peers::SshPeers;
use crate::respond::guard::{Shared, Surroundings};
use crate::sensor::logging::SharedLocalities;
use crate::settings::RunConfig;
use crate::time::clock::monotonic_ns;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Renewal without a netlink event. Not more often: reading a full routing table takes a while.
const EVERY_NS: i64 = 60_000_000_000;

/// What an error is about.
const SSH: &str = "SSH connections cannot be read";
/// Between two looks at SSH connections.
const PEERS_NS: i64 = 2_000_000_000;

/// The current ones; empty where nobody acts. Unreadable ones are an error: the guard list would be incomplete.
pub(super) fn read(config: &RunConfig) -> Result<Surroundings, Failure> {
    let (list, blocks) = (config.common.responders.first(), config.block.is_some());
    let who = match list {
        None if !blocks => return Ok(Surroundings::default()),
        _ if blocks => "--block".to_owned(),
        _ => list.map_or(String::new(), |one| format!("--output {}", one.name)),
    };
    Surroundings::read(blocks).map_err(|error| Failure::Run(format!("{who}: {error}")))
}

/// Who names services by their command, where somebody asks and the sandbox lets the sensor not.
fn finder(config: &RunConfig) -> Result<Option<Arc<Mutex<Finder>>>, Failure> {
    let is_asked = config.block.is_some() || services::are_named(&config.common);
    if !is_asked || !config.sandbox {
        return Ok(None);
    }
    let started = Finder::start(Path::new("/proc/self/exe"));
    let started = started.map_err(|error| {
        Failure::Run(format!(
            "the helper that names services does not start: {error}"
        ))
    })?;
    Ok(started.map(|finder| Arc::new(Mutex::new(finder))))
}

/// Keeps them up to date.
pub(super) struct HostWatch {
    pub(super) shared: Shared<Surroundings>,
    /// `None` where no output names services.
    services: Option<ServiceWatch>,
    /// There are responders, or `--block`.
    needed: bool,
    /// `None` without `--block`.
    ssh: Option<SshWatch>,
    /// CLOCK_MONOTONIC of the last renewal; `None`: renew at once.
    renewed_ns: Option<i64>,
    /// The last reported error.
    trouble: Option<String>,
}

/// Peers of SSH connections.
struct SshWatch {
    peers: SshPeers,
    /// CLOCK_MONOTONIC of the last look.
    read_ns: i64,
}

impl HostWatch {
    pub(super) fn start(
        config: &RunConfig,
        localities: &SharedLocalities,
    ) -> Result<Self, Failure> {
        let now_ns = monotonic_ns();
        let (mut around, mut ssh) = (read(config)?, None);
        let finder = finder(config)?;
        if config.block.is_some() {
            let mut peers = SshPeers::with(Reader::with(finder.clone()));
            peers.renew_ports();
            let open = peers.read();
            let open = open.map_err(|error| Failure::Run(format!("--block: {SSH}: {error}")))?;
            around = around.with_ssh_peers(open);
            ssh = Some(SshWatch {
                peers,
                read_ns: now_ns,
            });
        }
        Ok(Self {
            services: ServiceWatch::start(&config.common, localities, Reader::with(finder)),
            shared: Arc::new(RwLock::new(Arc::new(around))),
            needed: !config.common.responders.is_empty() || config.block.is_some(),
            ssh,
            renewed_ns: Some(now_ns),
            trouble: None,
        })
    }

    /// Names of services for the log.
    pub(super) fn services(&self) -> Option<Services> {
        self.services.as_ref().map(ServiceWatch::services)
    }

    /// An interface or address has changed.
    pub(super) fn set_due(&mut self) {
        self.renewed_ns = None;
    }

    /// Renews all that is due. Call once a second.
    pub(super) fn renew(&mut self, messenger: &Messenger) {
        if let Some(services) = &mut self.services {
            services.renew();
        }
        self.renew_guarded(messenger);
        self.renew_peers(messenger);
    }

    /// Peers of SSH connections, every two seconds.
    fn renew_peers(&mut self, messenger: &Messenger) {
        let now_ns = monotonic_ns();
        let is_due = |ssh: &&mut SshWatch| now_ns.saturating_sub(ssh.read_ns) >= PEERS_NS;
        let Some(ssh) = self.ssh.as_mut().filter(is_due) else {
            return;
        };
        ssh.read_ns = now_ns;
        match ssh.peers.read() {
            Ok(peers) => {
                let around = (*self.newest()).clone();
                self.publish(around.with_ssh_peers(peers));
            }
            Err(error) => self.report(format!("{SSH}: {error}"), messenger),
        }
    }

    fn newest(&self) -> Arc<Surroundings> {
        let shared = self.shared.read();
        Arc::clone(&shared.unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, around: Surroundings) {
        let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        if **shared != around {
            *shared = Arc::new(around);
        }
    }

    /// Records an error, unless it was the last one.
    fn report(&mut self, error: String, messenger: &Messenger) {
        if self.trouble.as_ref() != Some(&error) {
            let text = format!("{error}; those known so far are spared");
            messenger.record("guard_unrenewed", text);
            self.trouble = Some(error);
        }
    }

    /// Gateways and resolvers, once a minute, and within a second after a change. After an error the old ones stay.
    fn renew_guarded(&mut self, messenger: &Messenger) {
        let now_ns = monotonic_ns();
        let is_new = |renewed_ns: i64| now_ns.saturating_sub(renewed_ns) < EVERY_NS;
        if !self.needed || self.renewed_ns.is_some_and(is_new) {
            return;
        }
        self.renewed_ns = Some(now_ns);
        if let Some(ssh) = &mut self.ssh {
            ssh.peers.renew_ports();
        }
        let mut around = (*self.newest()).clone();
        match around.renew(self.ssh.is_some()) {
            None => self.trouble = None,
            Some(error) => self.report(error.to_string(), messenger),
        }
        self.publish(around);
    }
}
