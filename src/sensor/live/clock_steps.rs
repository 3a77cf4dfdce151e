//! Reports steps of the system clock; workers detect them on their own.

use super::messenger::Messenger;
use super::witness::Watching;
use crate::time::clock::{Reading, RunTime};
use serde_json::Value;

pub(super) struct ClockSteps {
    run_time: RunTime,
    reported: usize,
    messenger: Messenger,
}

impl ClockSteps {
    pub(super) fn new(run_time: RunTime, messenger: Messenger) -> Self {
        Self {
            run_time,
            reported: 0,
            messenger,
        }
    }

    /// Reports the steps since the last call.
    pub(super) fn report(&mut self, witness: Option<&mut Watching>) {
        self.run_time.observe(Reading::take());
        let steps = self.run_time.steps_since(self.reported);
        self.reported += steps.len();
        if let Some(witness) = witness.filter(|_| !steps.is_empty()) {
            witness.grants.clock_stepped();
        }
        for step in steps {
            let by_s = step.by_ns as f64 / 1e9;
            let way = if by_s > 0.0 { "forward" } else { "back" };
            let text = format!(
                "the clock was set {way} by {:.3} s; expiry and scan windows go on evenly",
                by_s.abs()
            );
            let details = [("step_s", Value::from(by_s))];
            self.messenger.record_with("clock_step", text, details);
        }
    }
}
