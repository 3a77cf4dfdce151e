//! Reports attempts that only the ledger or only the witness has.

use crate::log::formats::interfaces::Interfaces;
use crate::sensor::live::messenger::Messenger;
use crate::time::clock::RunTime;
use crate::witness::comparison::Disagreement;
use crate::witness::excuses::Lacks;
use serde_json::{Value, json};
use std::net::SocketAddr;

pub(super) struct Disagreements {
    pub names: Interfaces,
    pub run_time: RunTime,
    pub messenger: Messenger,
}

impl Disagreements {
    pub(super) fn report(&self, disagreement: &Disagreement) {
        let Disagreement {
            lacks,
            syn,
            ts_ns,
            interface,
        } = *disagreement;
        let (ends, isn) = (syn.ends, syn.isn);
        let (word, says) = match lacks {
            Lacks::Ledger => (
                "witness_missing",
                "the ledger lacks an attempt that the witness saw",
            ),
            Lacks::Witness => (
                "witness_extra",
                "the ledger has an attempt that the witness did not see",
            ),
        };
        let src = SocketAddr::from((ends.src, ends.src_port));
        let dst = SocketAddr::from((ends.dst, ends.dst_port));
        let name = self.names.name(interface).unwrap_or_default();
        let seen_ns = ts_ns.saturating_add(self.run_time.wall_shift_ns(ts_ns));
        let text = format!("{says}: {src} -> {dst}, sequence number {isn}, on {name}");
        let details = [
            ("src_ip", json!(ends.src.to_string())),
            ("src_port", json!(ends.src_port)),
            ("dest_ip", json!(ends.dst.to_string())),
            ("dest_port", json!(ends.dst_port)),
            ("isn", json!(isn)),
            ("in_iface", Value::from(name.as_str())),
            ("seen_ns", json!(seen_ns)),
        ];
        self.messenger.record_with(word, text, details);
    }
}
