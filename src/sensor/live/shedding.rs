//! What workers let go of under load, told step by step.

use super::Run;
use crate::log::notice::Notice;
use crate::sensor::worker::load::ShedStep;
use crate::shedding::{Backlog, Step};
use crossbeam::channel::{Receiver, Sender, unbounded};
use serde_json::{Value, json};

/// Standard error hears of steps no more often than this; the log has them all.
const TELL_EVERY_NS: u64 = 10_000_000_000;

/// Steps on their way from the workers, which are few: see [`crate::shedding`].
pub(super) struct Steps {
    to_main: Sender<ShedStep>,
    from_workers: Receiver<ShedStep>,
    told_ns: Option<i64>,
    untold: usize,
}

impl Steps {
    pub(super) fn new() -> Self {
        let (to_main, from_workers) = unbounded();
        Self {
            to_main,
            from_workers,
            told_ns: None,
            untold: 0,
        }
    }

    /// A worker's end.
    pub(super) fn sender(&self) -> Sender<ShedStep> {
        self.to_main.clone()
    }

    /// What to tell of a step on standard error, unless another one was told just now.
    fn told(&mut self, text: &str, ts_ns: i64) -> Option<String> {
        let since_ns = self.told_ns.map(|told_ns| ts_ns.abs_diff(told_ns));
        if since_ns.is_some_and(|since_ns| since_ns < TELL_EVERY_NS) {
            self.untold += 1;
            return None;
        }
        self.told_ns = Some(ts_ns);
        let more = match std::mem::take(&mut self.untold) {
            0 => String::new(),
            untold => format!(" ({untold} more steps since the last line; the log has them)"),
        };
        Some(format!("synledger: {text}{more}\n"))
    }
}

impl Run<'_> {
    /// Tells of the workers' steps since the last call.
    pub(super) fn say_shed(&mut self) {
        let steps: Vec<ShedStep> = self.shed.from_workers.try_iter().collect();
        for step in steps {
            let text = sentence(&step);
            if let Some(line) = self.shed.told(&text, step.ts_ns) {
                self.tell(&line);
            }
            self.notices.send(Notice::Lifecycle {
                ts_ns: step.ts_ns,
                word: "degradation",
                text,
                details: details(&step),
            });
        }
    }
}

fn sentence(step: &ShedStep) -> String {
    let ShedStep {
        worker,
        step: Step { from, to, load, .. },
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
    if let Some(trouble) = &step.trouble {
        text += &format!("; the kernel did not take the filter: {trouble}");
    }
    text
}

fn details(step: &ShedStep) -> Vec<(String, Value)> {
    let Step {
        from,
        to,
        keeps_data,
        reason,
        load,
        hold_ns,
    } = step.step;
    let share = |share: f64| json!((share * 1000.0).round() / 1000.0);
    let all = [
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
        ("trouble", json!(step.trouble)),
    ];
    let own = |(name, value): (&str, Value)| (name.to_owned(), value);
    all.into_iter().map(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shedding::{Level, Load};

    fn step() -> ShedStep {
        ShedStep {
            worker: 3,
            ts_ns: 0,
            step: Step {
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
            trouble: None,
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
        let value = |name: &str| details.iter().find(|(own, _)| own == name).map(|(_, v)| v);
        assert_eq!(value("level"), Some(&json!(1)));
        assert_eq!(value("direction"), Some(&json!("up")));
        assert_eq!(value("hold_s"), Some(&json!(2.0)));
    }

    #[test]
    fn standard_error_hears_of_steps_every_ten_seconds_at_most() {
        let mut steps = Steps::new();
        let after = |seconds: i64| seconds * 1_000_000_000;
        assert_eq!(steps.told("a", after(0)).as_deref(), Some("synledger: a\n"));
        assert_eq!(steps.told("b", after(1)), None);
        assert_eq!(steps.told("c", after(9)), None);
        let told = steps.told("d", after(10)).expect("ten seconds later");
        assert!(told.starts_with("synledger: d (2 more steps"), "{told}");
    }
}
