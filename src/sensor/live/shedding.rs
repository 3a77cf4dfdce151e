//! Reports the steps of load shedding.

use super::messenger::{Detail, Messenger};
use super::pace::{Pace, PacedLines};
use crate::sensor::worker::load::ShedStep;
use crate::shedding::{Backlog, LevelStep};
use crate::time::clock::monotonic_ns;
use crossbeam::channel::{Receiver, Sender, unbounded};
use serde_json::json;

/// Minimum time between two lines on standard error; the log has every step.
const PERIOD_NS: i64 = 10_000_000_000;

/// The receiving end of the workers' steps, which are few: see [`crate::shedding`].
pub(super) struct ShedSteps {
    from_workers: Receiver<ShedStep>,
    lines: PacedLines,
    messenger: Messenger,
}

impl ShedSteps {
    /// Also returns the sender for workers.
    pub(super) fn new(messenger: Messenger) -> (Self, Sender<ShedStep>) {
        let (to_main, from_workers) = unbounded();
        let steps = Self {
            from_workers,
            lines: PacedLines::new(Pace::new(1, PERIOD_NS), "step"),
            messenger,
        };
        (steps, to_main)
    }

    /// Reports the steps since the last call.
    pub(super) fn report(&mut self) {
        for step in self.from_workers.try_iter() {
            let text = sentence(&step);
            if let Some(line) = self.lines.offer(text.clone(), monotonic_ns()) {
                self.messenger.line(&line);
            }
            let (ts_ns, details) = (step.ts_ns, details(&step));
            let word = "degradation";
            self.messenger.record_at(ts_ns, word, text, details);
        }
    }
}

fn sentence(step: &ShedStep) -> String {
    let ShedStep {
        worker,
        step: LevelStep { from, to, load, .. },
        ..
    } = step;
    let (from, to) = (from.word(), to.word());
    let turn = match step.step.direction() {
        "up" => format!("sheds more, level {from} to {to}"),
        "down" => format!("sheds less, level {from} to {to}"),
        _ => format!("sheds more, still at level {to}"),
    };
    let why = match step.step.reason {
        "calm" => format!(
            "its rings were calm for {:.0} s",
            step.step.hold_ns as f64 / 1e9
        ),
        ring => format!("its {ring} ring fills faster than it is read"),
    };
    let fill = |name: &str, backlog: Backlog| {
        let late = if backlog.late { ", late" } else { "" };
        format!("{name} {:.0} %{late}", (backlog.share * 100.0).round())
    };
    let fills = [
        ("open", load.open),
        ("control", load.control),
        ("data", load.data),
    ];
    let fills = fills.map(|(name, backlog)| fill(name, backlog)).join("; ");
    let mut text = format!(
        "worker {worker} {turn}: {why} (waiting of each ring: {fills}); {}",
        step.step.what()
    );
    if let Some(error) = &step.error {
        text += &format!("; the kernel did not take the filter: {error}");
    }
    text
}

fn details(step: &ShedStep) -> [Detail; 16] {
    let LevelStep {
        from,
        to,
        keeps_data,
        reason,
        load,
        hold_ns,
    } = step.step;
    let share = |share: f64| json!((share * 1000.0).round() / 1000.0);
    [
        ("worker", json!(step.worker)),
        ("direction", json!(step.step.direction())),
        ("level", json!(to as u8)),
        ("from_level", json!(from as u8)),
        ("reason", json!(reason)),
        ("open_ratio", share(load.open.share)),
        ("control_ratio", share(load.control.share)),
        ("data_ratio", share(load.data.share)),
        ("open_late", json!(load.open.late)),
        ("control_late", json!(load.control.late)),
        ("data_late", json!(load.data.late)),
        ("dropped", json!(load.dropped)),
        ("data_share_ratio", share(load.data_share)),
        ("data_kept", json!(keeps_data)),
        ("hold_s", json!(hold_ns as f64 / 1e9)),
        ("trouble", json!(step.error)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shedding::{Level, Load};

    fn step() -> ShedStep {
        ShedStep {
            worker: 3,
            ts_ns: 0,
            step: LevelStep {
                from: Level::None,
                to: Level::Bulk,
                keeps_data: false,
                reason: "data",
                load: Load {
                    data: Backlog {
                        share: 0.6,
                        late: true,
                    },
                    ..Load::default()
                },
                hold_ns: 2_000_000_000,
            },
            error: None,
        }
    }

    #[test]
    fn a_step_is_a_sentence_with_figures() {
        assert_eq!(
            sentence(&step()),
            "worker 3 sheds more, level 0 to 1: its data ring fills faster than it is read \
             (waiting of each ring: open 0 %; control 0 %; data 60 %, late); bulk data are refused in the kernel"
        );
        let mut down = step();
        (down.step.from, down.step.to) = (Level::Bulk, Level::None);
        (down.step.reason, down.step.load) = ("calm", Load::default());
        assert_eq!(
            sentence(&down),
            "worker 3 sheds less, level 1 to 0: its rings were calm for 2 s \
             (waiting of each ring: open 0 %; control 0 %; data 0 %); nothing is shed"
        );
        let details = details(&step());
        let value = |name: &str| details.iter().find(|(own, _)| *own == name).map(|(_, v)| v);
        assert_eq!(value("level"), Some(&json!(1)));
        assert_eq!(value("direction"), Some(&json!("up")));
        assert_eq!(value("hold_s"), Some(&json!(2.0)));
    }
}
