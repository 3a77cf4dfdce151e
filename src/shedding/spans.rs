//! Which flows were open while packets were shed.

use crate::flow::record::{ConnState, EndReason, FlowRecord};
use crate::snapshot::snapshot;
use std::collections::VecDeque;

/// Separate spans of packet time; above that the two oldest are merged.
pub(super) const SPANS_MAX: usize = 16;

/// When data packets were shed.
#[derive(Clone, Debug)]
pub struct Spans {
    pub(super) past: VecDeque<(i64, i64)>,
    since_ns: Option<i64>,
}

snapshot! {
    [] Spans;
    values: since_ns;
    lists: past;
}

impl Default for Spans {
    fn default() -> Self {
        Self {
            past: VecDeque::with_capacity(SPANS_MAX + 1),
            since_ns: None,
        }
    }
}

impl Spans {
    /// Packets are shed from this packet time on, or from an earlier one if already begun.
    pub fn begin(&mut self, ts_ns: i64) {
        self.since_ns = Some(self.since_ns.map_or(ts_ns, |since| since.min(ts_ns)));
    }

    /// Packets were shed up to this packet time.
    pub fn end(&mut self, ts_ns: i64) {
        let Some(since_ns) = self.since_ns.take() else {
            return;
        };
        self.past.push_back((since_ns, ts_ns));
        if self.past.len() > SPANS_MAX {
            let first = self.past.pop_front().expect("there are some");
            let second = self.past.front_mut().expect("there are some");
            second.0 = second.0.min(first.0);
        }
    }

    /// Whether packets are shed now.
    pub fn is_open(&self) -> bool {
        self.since_ns.is_some()
    }

    /// Whether packets of this flow may have been shed while it was open. An unanswered flow has no data packets.
    pub fn touch(&self, flow: &FlowRecord) -> bool {
        if matches!(flow.conn_state, ConnState::S0 | ConnState::Rej) {
            return false;
        }
        let until_ns = match flow.reason {
            EndReason::Fin | EndReason::Rst | EndReason::Refused => flow.end_ns,
            // Its last packet may have been shed.
            _ => i64::MAX,
        };
        let open = self.since_ns.map(|since_ns| (since_ns, i64::MAX));
        let mut all = self.past.iter().copied().chain(open);
        all.any(|(from_ns, to_ns)| from_ns <= until_ns && flow.start_ns <= to_ns)
    }
}
