//! `/healthz`: whether the sensor does what it is for, in words.

use super::losses::Reason;
use super::snapshot::Snapshot;

/// So long may a thread make no progress: ten rounds of a worker, twenty of the logger.
pub const STALLED_S: f64 = 10.0;

/// What is wrong, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// Threads that make no progress: a new start helps.
    pub stalled: Vec<String>,
    /// What else keeps the sensor from its work: a person must look.
    pub failing: Vec<String>,
    /// What is lost, or not watched, while it works.
    pub degraded: Vec<String>,
}

impl Health {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut health = Self::default();
        let threads = snapshot.since_progress_s.iter();
        let stalled = threads.filter(|(_, seconds)| *seconds >= STALLED_S);
        health.stalled.extend(stalled.map(|(name, seconds)| {
            format!("stalled: {name} has made no progress for {seconds:.0} s")
        }));
        let identities = snapshot.books.identities().into_iter();
        let open = identities.filter(|identity| !identity.holds());
        health.failing.extend(open.map(|open| {
            let (name, left, right) = (open.name, open.left, open.right);
            format!("books do not close: {name}: {left} against {right}")
        }));
        let blind = snapshot.blind.iter();
        health
            .failing
            .extend(blind.map(|says| format!("no_frames: {says}")));
        for (reason, says) in &snapshot.degraded {
            let line = format!("{}: {says}", reason.word());
            match is_failure(*reason) {
                true => health.failing.push(line),
                false => health.degraded.push(line),
            }
        }
        health
    }

    /// Nothing fails; something may be lost.
    pub(crate) fn works(&self) -> bool {
        self.stalled.is_empty() && self.failing.is_empty()
    }

    /// `ok`, or `degraded` or `failing` and the lines.
    pub(crate) fn text(&self) -> String {
        let word = match (self.works(), self.degraded.is_empty()) {
            (false, _) => "failing",
            (true, false) => "degraded",
            (true, true) => "ok",
        };
        let all = [&self.stalled, &self.failing, &self.degraded];
        let lines = all.into_iter().flatten().map(String::as_str);
        let all: Vec<&str> = std::iter::once(word).chain(lines).collect();
        all.join("\n") + "\n"
    }
}

/// Whether what the sensor is for does not reach anybody. Losses of frames are counted and bounded; a record that is
/// lost, or a scanner that is not shut out, is known to nobody.
fn is_failure(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Output | Reason::LogGone | Reason::Blocking | Reason::ListWrite
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(snapshot: &Snapshot) -> String {
        Health::of(snapshot).text()
    }

    #[test]
    fn each_fault_has_a_line_and_losses_alone_do_not_fail() {
        let mut snapshot = Snapshot::default();
        assert_eq!(text(&snapshot), "ok\n");
        snapshot.since_progress_s = vec![("worker-0".to_owned(), 9.9), ("logger".to_owned(), 0.1)];
        assert_eq!(text(&snapshot), "ok\n");
        snapshot.degraded = vec![(Reason::Rings, "3 frames".to_owned())];
        assert_eq!(text(&snapshot), "degraded\nring_drops: 3 frames\n");
        assert!(Health::of(&snapshot).works());
        snapshot
            .degraded
            .push((Reason::Output, "its disk is full".to_owned()));
        let expected = "failing\noutput: its disk is full\nring_drops: 3 frames\n";
        assert_eq!(text(&snapshot), expected);
        snapshot.degraded.clear();
        snapshot.blind = vec!["nothing has come on eth0".to_owned()];
        let expected = "failing\nno_frames: nothing has come on eth0\n";
        assert_eq!(text(&snapshot), expected);
        snapshot.blind.clear();
        snapshot.since_progress_s[0].1 = 12.3;
        let line = "stalled: worker-0 has made no progress for 12 s\n";
        assert_eq!(text(&snapshot), format!("failing\n{line}"));
        snapshot.since_progress_s.clear();
        snapshot.books.shards.frames = 3;
        snapshot.books.at_exit = true;
        let text = text(&snapshot);
        assert!(
            text.starts_with("failing\nbooks do not close: frames"),
            "{text}"
        );
    }
}
