//! Names of this host's services, renewed while an output has them in its records.

use crate::host::services::{Reader, Services};
use crate::sensor::logging::SharedLocalities;
use crate::settings::Common;
use crate::time::clock::monotonic_ns;

/// Time between renewals: until then a new listener has no name, and one that is gone keeps its own.
const EVERY_NS: i64 = 5_000_000_000;

/// Whether an output names services.
pub(super) fn are_named(common: &Common) -> bool {
    common.outputs.iter().any(|output| output.format.services)
}

/// Keeps the table of services up to date.
pub(super) struct ServiceWatch {
    services: Services,
    reader: Reader,
    /// CLOCK_MONOTONIC of the last renewal.
    renewed_ns: i64,
}

impl ServiceWatch {
    /// Reads the table; `None` where no output names services.
    pub(super) fn start(
        common: &Common,
        localities: &SharedLocalities,
        reader: Reader,
    ) -> Option<Self> {
        if !are_named(common) {
            return None;
        }
        let mut watch = Self {
            services: Services::new(localities.clone()),
            reader,
            renewed_ns: monotonic_ns(),
        };
        watch.read();
        Some(watch)
    }

    /// The table, as the log asks it.
    pub(super) fn services(&self) -> Services {
        self.services.clone()
    }

    /// Renews every five seconds. Call once a second.
    pub(super) fn renew(&mut self) {
        let now_ns = monotonic_ns();
        if now_ns.saturating_sub(self.renewed_ns) >= EVERY_NS {
            self.renewed_ns = now_ns;
            self.read();
        }
    }

    /// A kernel that does not list its sockets (no inet_diag) has no names; records are whole without them.
    fn read(&mut self) {
        if let Ok(listeners) = self.reader.read() {
            self.services.publish(listeners);
        }
    }
}
