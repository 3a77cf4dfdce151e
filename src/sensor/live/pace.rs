//! Limits the rate of lines on standard error; the log gets every record.

/// A token bucket: `burst` tokens at once, then one each period.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    burst: u32,
    period_ns: i64,
    left: u32,
    /// Start of the period that earns the next token.
    since_ns: i64,
}

impl Pace {
    pub(super) fn new(burst: u32, period_ns: i64) -> Self {
        Self {
            burst,
            period_ns,
            left: burst,
            since_ns: 0,
        }
    }

    /// Takes a token, if there is one. `now_ns` is by CLOCK_MONOTONIC.
    pub(super) fn take(&mut self, now_ns: i64) -> bool {
        let earned = now_ns.saturating_sub(self.since_ns).max(0) / self.period_ns;
        self.since_ns += earned * self.period_ns;
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(earned).min(self.burst);
        if self.left == 0 {
            return false;
        }
        if self.left == self.burst {
            self.since_ns = now_ns;
        }
        self.left -= 1;
        true
    }
}

/// Rate-limited lines. Of those held back it keeps the newest and counts the others.
#[derive(Debug)]
pub(super) struct PacedLines {
    pace: Pace,
    /// What one line is: `change`.
    noun: &'static str,
    held_back: u64,
    newest: String,
}

impl PacedLines {
    pub(super) fn new(pace: Pace, noun: &'static str) -> Self {
        Self {
            pace,
            noun,
            held_back: 0,
            newest: String::new(),
        }
    }

    /// The line to print now, if any.
    pub(super) fn offer(&mut self, text: String, now_ns: i64) -> Option<String> {
        self.newest = text;
        self.held_back += 1;
        self.due(now_ns)
    }

    /// The newest line held back, once a token is earned.
    pub(super) fn due(&mut self, now_ns: i64) -> Option<String> {
        if self.held_back == 0 || !self.pace.take(now_ns) {
            return None;
        }
        self.rest()
    }

    /// The newest line held back, without a token.
    pub(super) fn rest(&mut self) -> Option<String> {
        let noun = self.noun;
        let more = match std::mem::take(&mut self.held_back) {
            0 => return None,
            1 => String::new(),
            2 => format!(" (1 more {noun} since the last line; the log has it)"),
            n => {
                let more = n - 1;
                format!(" ({more} more {noun}s since the last line; the log has them)")
            }
        };
        Some(std::mem::take(&mut self.newest) + &more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> i64 {
        seconds * 1_000_000_000
    }

    fn lines() -> PacedLines {
        PacedLines::new(Pace::new(4, at(10)), "change")
    }

    #[test]
    fn a_few_lines_pass_then_one_each_ten_seconds_and_none_is_forgotten() {
        let mut lines = lines();
        for _ in 0..4 {
            assert_eq!(lines.offer("a".to_owned(), at(30)).as_deref(), Some("a"));
        }
        assert_eq!(lines.offer("b".to_owned(), at(31)), None);
        assert_eq!(lines.offer("c".to_owned(), at(32)), None);
        assert_eq!(lines.due(at(39)), None);
        let says = lines.due(at(40)).expect("ten seconds later");
        assert_eq!(
            says,
            "c (1 more change since the last line; the log has it)"
        );
        assert_eq!(lines.due(at(60)), None, "nothing was held back");
        assert_eq!(lines.offer("d".to_owned(), at(61)).as_deref(), Some("d"));
    }

    #[test]
    fn a_flood_of_changes_is_a_line_each_ten_seconds() {
        let mut lines = lines();
        let printed = (0..600_i64)
            .filter(|tenth| {
                lines
                    .offer(tenth.to_string(), tenth * 100_000_000)
                    .is_some()
            })
            .count();
        assert_eq!(printed, 4 + 5);
        let rest = lines.rest().expect("what came last");
        assert!(rest.starts_with("599 ("), "{rest}");
        assert_eq!(lines.rest(), None);
    }

    #[test]
    fn a_bucket_of_one_gives_one_token_each_period() {
        let mut pace = Pace::new(1, at(60));
        let taken = [100, 101, 159, 160, 161, 300, 301, 360].map(|second| pace.take(at(second)));
        assert_eq!(taken, [true, false, false, true, false, true, false, true]);
    }
}
