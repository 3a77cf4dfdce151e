//! Gateways and resolvers of this host, renewed while responders run, and its services.

use super::messenger::Messenger;
use super::services::ServiceWatch;
use crate::error::Failure;
use crate::host::services::Services;
use crate::respond::guard::{Shared, Surroundings};
use crate::sensor::logging::SharedLocalities;
use crate::settings::Common;
use crate::time::clock::monotonic_ns;
use std::sync::{Arc, PoisonError, RwLock};

/// Renewal without a netlink event. Not more often: reading a full routing table takes a while.
const EVERY_NS: i64 = 60_000_000_000;

/// The current ones; empty without responders. Unreadable ones are an error: the guard list would be incomplete.
pub(super) fn read(common: &Common) -> Result<Surroundings, Failure> {
    match common.responders.first() {
        None => Ok(Surroundings::default()),
        Some(one) => Surroundings::read()
            .map_err(|error| Failure::Run(format!("--output {}: {error}", one.name))),
    }
}

/// Keeps them up to date.
pub(super) struct HostWatch {
    pub(super) shared: Shared<Surroundings>,
    /// `None` where no output names services.
    services: Option<ServiceWatch>,
    /// There are responders.
    needed: bool,
    /// CLOCK_MONOTONIC of the last renewal; `None`: renew at once.
    renewed_ns: Option<i64>,
    /// The last reported error.
    trouble: Option<String>,
}

impl HostWatch {
    pub(super) fn start(common: &Common, localities: &SharedLocalities) -> Result<Self, Failure> {
        Ok(Self {
            services: ServiceWatch::start(common, localities),
            shared: Arc::new(RwLock::new(Arc::new(read(common)?))),
            needed: !common.responders.is_empty(),
            renewed_ns: Some(monotonic_ns()),
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
    }

    /// Gateways and resolvers, once a minute, and within a second after a change. After an error the old ones stay.
    fn renew_guarded(&mut self, messenger: &Messenger) {
        let now_ns = monotonic_ns();
        let is_new = |renewed_ns: i64| now_ns.saturating_sub(renewed_ns) < EVERY_NS;
        if !self.needed || self.renewed_ns.is_some_and(is_new) {
            return;
        }
        self.renewed_ns = Some(now_ns);
        match Surroundings::read() {
            Ok(around) => {
                self.trouble = None;
                let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
                if **shared != around {
                    *shared = Arc::new(around);
                }
            }
            Err(error) => {
                let error = error.to_string();
                if self.trouble.as_ref() != Some(&error) {
                    let text = format!("{error}; those known so far are spared");
                    messenger.record("guard_unrenewed", text);
                    self.trouble = Some(error);
                }
            }
        }
    }
}
