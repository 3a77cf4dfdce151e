//! Counters of responders.

use super::output::Named;
use crate::counters::{Identity, counters};

words! {
    /// Why a responder ignores a detection.
    pub enum Refusal {
        /// The source's address is proven less than asked for.
        Unproven = "unproven",
        /// The source is this host, its gateway or resolver, or no host at all.
        Guarded = "guarded",
        /// `--allow` names the source.
        Allowed = "allowed",
        /// The scan is in a direction outside `--scan-scope`.
        OutOfScope = "out_of_scope",
        /// Its verdict is below `--alert`, or below what the responder asks for.
        BelowVerdict = "below_verdict",
        /// It has no one source: a flood, a scan by many, or by a network.
        NoSource = "no_source",
    }
}

counters! {
    /// Counters of one responder.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ResponderCounts "responder_" {
        detections: "Detections that reached the responder",
        accepted: "Detections whose source was added to the list, or was listed already",
        refused (count by reason Refusal): "Detections that the responder ignored",
        added: "Sources added to the list",
        expired: "Sources removed when they expired",
        displaced (loss): "Sources removed from a full list for newer ones",
        withdrawn: "Sources removed because they are guarded now",
        listed (gauge): "Sources on the list",
        applied (gauge): "Sources in the list as last written",
        waiting (gauge): "Changes of the list that are not written yet",
        writes: "Writes of the list",
        write_failures (loss): "Failed writes of the list",
    }
}

/// The books of one responder.
pub type ResponderBooks = Named<ResponderCounts>;

impl ResponderBooks {
    /// `raised`: detections of the shards that were not lost before the tap.
    pub(super) fn identities(&self, raised: u64, in_flight: u64) -> [Identity; 3] {
        let counts = &self.counts;
        let name = |what: &str| format!("{}: {what}", self.name);
        let left = counts.expired + counts.displaced + counts.withdrawn;
        [
            Identity::within(
                name("detections raised and not lost = detections of the responder"),
                raised,
                counts.detections,
                in_flight,
            ),
            Identity::exact(
                name("detections = accepted + refused"),
                counts.detections,
                counts.accepted + counts.refused.iter().sum::<u64>(),
            ),
            Identity::exact(
                name("added = listed + expired + displaced + withdrawn"),
                counts.added,
                counts.listed + left,
            ),
        ]
    }

    /// Whether the list has changed since it was last written: at the end, writing failed.
    pub(crate) fn is_stale(&self) -> bool {
        self.counts.waiting > 0
    }
}
