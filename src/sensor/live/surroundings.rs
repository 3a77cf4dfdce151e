//! Gateways and resolvers of this host, asked for anew while responders are at work.

use super::messenger::Messenger;
use crate::error::Failure;
use crate::respond::guard::{Shared, Surroundings};
use crate::settings::Common;
use crate::time::clock::monotonic_ns;
use std::sync::{Arc, PoisonError, RwLock};

/// How often the host is asked when nothing says that something has changed: a full routing table takes a while.
const EVERY_NS: i64 = 60_000_000_000;

/// As they are now; not asked for where nobody needs them.
///
/// # Errors
///
/// They cannot be read: whom a responder must spare is then not known.
pub(super) fn look(common: &Common) -> Result<Surroundings, Failure> {
    match common.responders.first() {
        None => Ok(Surroundings::default()),
        Some(one) => Surroundings::look()
            .map_err(|error| Failure::Run(format!("--output {}: {error}", one.name))),
    }
}

/// What keeps them up to date.
pub(super) struct Keeping {
    pub(super) shared: Shared<Surroundings>,
    /// There are responders.
    needed: bool,
    /// CLOCK_MONOTONIC when they were asked for; `None`: ask at once.
    asked_ns: Option<i64>,
    /// Why they could not be asked for.
    trouble: Option<String>,
}

impl Keeping {
    /// # Errors
    ///
    /// As [`look`].
    pub(super) fn start(common: &Common) -> Result<Self, Failure> {
        Ok(Self {
            shared: Arc::new(RwLock::new(Arc::new(look(common)?))),
            needed: !common.responders.is_empty(),
            asked_ns: Some(monotonic_ns()),
            trouble: None,
        })
    }

    /// Something about interfaces or addresses has changed.
    pub(super) fn is_due(&mut self) {
        self.asked_ns = None;
    }

    /// Asks the host once a minute, and within a second after a change. What cannot be read leaves what is known.
    pub(super) fn look_again(&mut self, messenger: &Messenger) {
        let now_ns = monotonic_ns();
        let is_new = |asked_ns: i64| now_ns.saturating_sub(asked_ns) < EVERY_NS;
        if !self.needed || self.asked_ns.is_some_and(is_new) {
            return;
        }
        self.asked_ns = Some(now_ns);
        match Surroundings::look() {
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
