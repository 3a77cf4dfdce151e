//! Follows losses: reports when one begins, once a minute while it lasts, and when it ends.

use super::{Loss, Reason};
use crate::books::output::Cause;

const SECOND_NS: i64 = 1_000_000_000;
/// A loss ends after so long without growth.
const QUIET_NS: i64 = 10 * SECOND_NS;
/// Time between two reports of a loss that lasts.
const REPEAT_NS: i64 = 60 * SECOND_NS;

/// A report about a loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LossEvent {
    /// The word of its lifecycle record: `loss_began`, `loss_lasts`, `loss_ended`.
    pub word: &'static str,
    pub reason: Reason,
    /// The output that loses records.
    pub output: Option<String>,
    /// Lost since the last report; in `loss_ended`, since the loss began.
    pub lost: u64,
    /// How many there were, lost ones included; 0: unknown.
    pub of: u64,
    /// An output fails: printed even with `--quiet`.
    pub is_error: bool,
    /// One sentence for a person.
    pub text: String,
}

/// A loss that has not ended.
#[derive(Clone, Debug)]
struct Active {
    /// Counts before it began.
    before: Loss,
    /// Counts at the last report.
    reported: Loss,
    now: Loss,
    began_ns: i64,
    reported_ns: i64,
    grew_ns: i64,
    /// The output was blocked at some look.
    was_blocked: bool,
}

/// The losses of a run that have not ended. Call [`Self::look`] once a second or more often.
#[derive(Clone, Debug, Default)]
pub(crate) struct LossWatch {
    active: Vec<Active>,
    before: Vec<Loss>,
}

impl LossWatch {
    /// Takes losses that are reported already.
    pub fn skip(&mut self, losses: Vec<Loss>) {
        self.before = losses;
    }

    /// Takes the losses since the start. `now_ns` never goes back.
    pub fn look(&mut self, now_ns: i64, losses: Vec<Loss>) -> Vec<LossEvent> {
        let mut events = Vec::new();
        for loss in &losses {
            let before = self.before.iter().find(|before| before.is_of(loss));
            let before = before.map_or_else(|| Loss::new(loss.reason, 0, 0), Clone::clone);
            let grows = loss.since(&before).is_some() || loss.blocked.is_some();
            match self.active.iter_mut().find(|one| one.now.is_of(loss)) {
                Some(active) => events.extend(active.update(now_ns, loss, grows)),
                None if grows => {
                    events.push(began(loss, &before));
                    self.active.push(Active {
                        before,
                        reported: loss.clone(),
                        now: loss.clone(),
                        began_ns: now_ns,
                        reported_ns: now_ns,
                        grew_ns: now_ns,
                        was_blocked: loss.blocked.is_some(),
                    });
                }
                None => {}
            }
        }
        self.before = losses;
        self.active.retain(|active| {
            let over = active.is_over(now_ns);
            if over {
                events.push(active.ended());
            }
            !over
        });
        events
    }

    /// Losses that have not ended, each with a sentence about what was lost since it began.
    pub fn active(&self) -> impl Iterator<Item = (Reason, String)> {
        self.active.iter().map(|active| {
            let since = active.now.since(&active.before);
            (since.reason, sentence(&since))
        })
    }
}

/// Says what was lost or, before the first loss, why the output is blocked.
fn sentence(loss: &Loss) -> String {
    match loss.blocked_sentence() {
        Some(blocked) if !loss.is_some() => blocked,
        _ => loss.sentence(),
    }
}

fn event(word: &'static str, loss: &Loss, text: String) -> LossEvent {
    LossEvent {
        word,
        reason: loss.reason,
        output: loss.output.clone(),
        lost: loss.lost,
        of: loss.of,
        is_error: loss.output.is_some() && loss.cause() != Some(Cause::Closed),
        text,
    }
}

fn began(loss: &Loss, before: &Loss) -> LossEvent {
    let since = loss.since(before);
    let text = format!("losing: {}; {}", sentence(&since), since.advice());
    event("loss_began", &since, text)
}

impl Active {
    fn update(&mut self, now_ns: i64, loss: &Loss, grows: bool) -> Option<LossEvent> {
        self.was_blocked |= loss.blocked.is_some();
        self.now = loss.clone();
        if grows {
            self.grew_ns = now_ns;
        }
        let since = loss.since(&self.reported);
        let due = now_ns.saturating_sub(self.reported_ns) >= REPEAT_NS;
        // A blocked output is reported again when its first record is lost.
        let first = grows && since.is_some() && !self.reported.since(&self.before).is_some();
        if !(grows && due || first) {
            return None;
        }
        let past_s = now_ns.saturating_sub(self.reported_ns) / SECOND_NS;
        let all = loss.since(&self.before).lost;
        let (says, change) = (sentence(&since), since.advice());
        let text = match first {
            true => format!("losing: {says}; {change}"),
            false => {
                format!(
                    "still losing: {says} in the last {past_s} s, {all} since it began; {change}"
                )
            }
        };
        self.reported = loss.clone();
        self.reported_ns = now_ns;
        Some(event("loss_lasts", &since, text))
    }

    fn is_over(&self, now_ns: i64) -> bool {
        // A blocked output shows by itself that it takes lines again.
        let quiet_ns = if self.was_blocked {
            SECOND_NS
        } else {
            QUIET_NS
        };
        self.now.blocked.is_none() && now_ns.saturating_sub(self.grew_ns) >= quiet_ns
    }

    fn ended(&self) -> LossEvent {
        let since = self.now.since(&self.before);
        let text = match &since.output {
            Some(output) if !since.is_some() => {
                format!("{output} takes lines again; none was lost")
            }
            _ => {
                let took_s = (self.grew_ns - self.began_ns) / SECOND_NS + 1;
                format!("no longer losing: {} within {took_s} s", since.sentence())
            }
        };
        event("loss_ended", &since, text)
    }
}
