//! Gateways and resolvers of this host, renewed while responders run.

use super::messenger::Messenger;
use crate::error::Failure;
use crate::respond::guard::{Shared, Surroundings};
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
    /// There are responders.
    needed: bool,
    /// CLOCK_MONOTONIC of the last renewal; `None`: renew at once.
    renewed_ns: Option<i64>,
    /// The last reported error.
    trouble: Option<String>,
}

impl HostWatch {
    pub(super) fn start(common: &Common) -> Result<Self, Failure> {
        Ok(Self {
            shared: Arc::new(RwLock::new(Arc::new(read(common)?))),
            needed: !common.responders.is_empty(),
            renewed_ns: Some(monotonic_ns()),
            trouble: None,
        })
    }

    /// An interface or address has changed.
    pub(super) fn set_due(&mut self) {
        self.renewed_ns = None;
    }

    /// Renews once a minute, and within a second after a change. After an error the old ones stay. Call once a second.
    pub(super) fn renew(&mut self, messenger: &Messenger) {
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
