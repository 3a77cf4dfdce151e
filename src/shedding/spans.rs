//! Which flows were open while packets were let go of.

use crate::flow::record::{ConnState, EndReason, FlowRecord};
use std::collections::VecDeque;

/// Stretches of packet time that are told apart; of more, the oldest two become one.
pub(super) const SPANS_MAX: usize = 16;

/// When data packets were let go of.
#[derive(Clone, Debug)]
pub struct Spans {
    pub(super) past: VecDeque<(i64, i64)>,
    since_ns: Option<i64>,
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
    /// From this packet time on, packets are let go of; or from an earlier one, if that was said before.
    pub fn begin(&mut self, ts_ns: i64) {
        self.since_ns = Some(self.since_ns.map_or(ts_ns, |since| since.min(ts_ns)));
    }

    /// Up to this packet time.
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

    /// Whether packets are let go of.
    pub fn is_open(&self) -> bool {
        self.since_ns.is_some()
    }

    /// Whether packets of this flow may have been let go of while it was open. One that was never answered had
    /// none but those that opened it.
    pub fn touch(&self, flow: &FlowRecord) -> bool {
        if matches!(flow.conn_state, ConnState::S0 | ConnState::Rej) {
            return false;
        }
        let until_ns = match flow.reason {
            EndReason::Fin | EndReason::Rst | EndReason::Refused => flow.end_ns,
            // Its last packet may be among those that were let go of.
            _ => i64::MAX,
        };
        let open = self.since_ns.map(|since_ns| (since_ns, i64::MAX));
        let mut all = self.past.iter().copied().chain(open);
        all.any(|(from_ns, to_ns)| from_ns <= until_ns && flow.start_ns <= to_ns)
    }
}
