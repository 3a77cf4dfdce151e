//! Losses while they last: said when one begins, each minute while it lasts, and when it ends.

use super::{Loss, Reason};
use crate::books::output::Cause;

const SECOND_NS: i64 = 1_000_000_000;
/// A loss has ended when nothing was lost for so long.
const QUIET_NS: i64 = 10 * SECOND_NS;
/// One that lasts is said again after so long.
const REPEAT_NS: i64 = 60 * SECOND_NS;

/// Something to say about a loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The word of its lifecycle record: `loss_began`, `loss_lasts`, `loss_ended`.
    pub word: &'static str,
    /// Why.
    pub reason: Reason,
    /// The output that loses records.
    pub output: Option<String>,
    /// Lost since it was said last; at the end since it began.
    pub lost: u64,
    /// Of so much; 0: nobody knows.
    pub of: u64,
    /// An output fails: said even to those who asked for quiet.
    pub is_error: bool,
    /// One sentence for a person.
    pub text: String,
}

/// A loss that has not ended.
#[derive(Clone, Debug)]
struct Active {
    /// Counts before it began.
    before: Loss,
    /// Counts when it was said last.
    said: Loss,
    now: Loss,
    began_ns: i64,
    said_ns: i64,
    grew_ns: i64,
    /// The output took nothing at the look before.
    was_blocked: bool,
}

/// Follows the losses of a run; one look a second, or more.
#[derive(Clone, Debug, Default)]
pub struct LossWatch {
    active: Vec<Active>,
    /// As of the last look.
    before: Vec<Loss>,
}

impl LossWatch {
    /// What there is to say at `now_ns`, which never goes back, of `losses`, counted since the start.
    pub fn look(&mut self, now_ns: i64, losses: Vec<Loss>) -> Vec<Turn> {
        let mut turns = Vec::new();
        for loss in &losses {
            let before = self.before.iter().find(|before| before.is_of(loss));
            let before = before.map_or_else(|| Loss::new(loss.reason, 0, 0), Clone::clone);
            let grows = loss.since(&before).is_some() || loss.blocked.is_some();
            match self.active.iter_mut().find(|one| one.now.is_of(loss)) {
                Some(active) => turns.extend(active.go_on(now_ns, loss, grows)),
                None if grows => {
                    turns.push(began(loss, &before));
                    self.active.push(Active {
                        before,
                        said: loss.clone(),
                        now: loss.clone(),
                        began_ns: now_ns,
                        said_ns: now_ns,
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
                turns.push(active.ended());
            }
            !over
        });
        turns
    }

    /// Losses that have not ended: why, and how much since they began.
    pub fn active(&self) -> impl Iterator<Item = (Reason, String)> {
        self.active.iter().map(|active| {
            let since = active.now.since(&active.before);
            (since.reason, says(&since))
        })
    }
}

/// What was lost or, before the first loss, what keeps lines waiting.
fn says(loss: &Loss) -> String {
    match loss.blocked_sentence() {
        Some(blocked) if !loss.is_some() => blocked,
        _ => loss.sentence(),
    }
}

fn turn(word: &'static str, loss: &Loss, text: String) -> Turn {
    Turn {
        word,
        reason: loss.reason,
        output: loss.output.clone(),
        lost: loss.lost,
        of: loss.of,
        is_error: loss.output.is_some() && loss.cause() != Some(Cause::Closed),
        text,
    }
}

fn began(loss: &Loss, before: &Loss) -> Turn {
    let since = loss.since(before);
    let text = format!("losing: {}; {}", says(&since), since.change());
    turn("loss_began", &since, text)
}

impl Active {
    fn go_on(&mut self, now_ns: i64, loss: &Loss, grows: bool) -> Option<Turn> {
        self.was_blocked |= loss.blocked.is_some();
        self.now = loss.clone();
        if grows {
            self.grew_ns = now_ns;
        }
        let since = loss.since(&self.said);
        let due = now_ns.saturating_sub(self.said_ns) >= REPEAT_NS;
        // An output that takes nothing says so again when lines are lost.
        let first = grows && since.is_some() && !self.said.since(&self.before).is_some();
        if !(grows && due || first) {
            return None;
        }
        let past_s = now_ns.saturating_sub(self.said_ns) / SECOND_NS;
        let all = loss.since(&self.before).lost;
        let (says, change) = (says(&since), since.change());
        let text = match first {
            true => format!("losing: {says}; {change}"),
            false => {
                format!(
                    "still losing: {says} in the last {past_s} s, {all} since it began; {change}"
                )
            }
        };
        self.said = loss.clone();
        self.said_ns = now_ns;
        Some(turn("loss_lasts", &since, text))
    }

    fn is_over(&self, now_ns: i64) -> bool {
        // An output that was blocked says by itself when it takes lines again.
        let quiet_ns = if self.was_blocked {
            SECOND_NS
        } else {
            QUIET_NS
        };
        self.now.blocked.is_none() && now_ns.saturating_sub(self.grew_ns) >= quiet_ns
    }

    fn ended(&self) -> Turn {
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
        turn("loss_ended", &since, text)
    }
}
