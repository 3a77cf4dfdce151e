//! How often standard error hears of one thing; the log has all of it.

/// Lines at once, before lines wait.
const BURST: u32 = 4;
/// Then one line each such time.
const PERIOD_NS: i64 = 10_000_000_000;

/// Lets a few lines through at once, then one each period, and counts the others.
#[derive(Debug)]
pub(super) struct Pace {
    left: u32,
    /// Since when the next line is earned.
    since_ns: i64,
    held_back: u64,
    newest: String,
}

impl Pace {
    pub(super) fn new(now_ns: i64) -> Self {
        Self {
            left: BURST,
            since_ns: now_ns,
            held_back: 0,
            newest: String::new(),
        }
    }

    /// What to tell now, if anything.
    pub(super) fn offer(&mut self, text: String, now_ns: i64) -> Option<String> {
        self.newest = text;
        self.held_back += 1;
        self.due(now_ns)
    }

    /// The newest line that was held back, once a line may be told again.
    pub(super) fn due(&mut self, now_ns: i64) -> Option<String> {
        let earned = now_ns.saturating_sub(self.since_ns) / PERIOD_NS;
        self.since_ns += earned * PERIOD_NS;
        let earned = u32::try_from(earned).unwrap_or(0);
        self.left = self.left.saturating_add(earned).min(BURST);
        if self.held_back == 0 || self.left == 0 {
            return None;
        }
        if self.left == BURST {
            self.since_ns = now_ns;
        }
        self.left -= 1;
        self.rest()
    }

    /// What was held back, whenever it is.
    pub(super) fn rest(&mut self) -> Option<String> {
        let more = match std::mem::take(&mut self.held_back) {
            0 => return None,
            1 => String::new(),
            2 => " (1 more change since the last line; the log has it)".to_owned(),
            n => format!(
                " ({} more changes since the last line; the log has them)",
                n - 1
            ),
        };
        Some(std::mem::take(&mut self.newest) + &more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_pass_then_one_each_ten_seconds_and_none_is_forgotten() {
        let at = |seconds: i64| seconds * 1_000_000_000;
        let mut pace = Pace::new(at(0));
        for _ in 0..4 {
            assert_eq!(pace.offer("a".to_owned(), at(30)).as_deref(), Some("a"));
        }
        assert_eq!(pace.offer("b".to_owned(), at(31)), None);
        assert_eq!(pace.offer("c".to_owned(), at(32)), None);
        assert_eq!(pace.due(at(39)), None);
        let says = pace.due(at(40)).expect("ten seconds later");
        assert_eq!(
            says,
            "c (1 more change since the last line; the log has it)"
        );
        assert_eq!(pace.due(at(60)), None, "nothing was held back");
        assert_eq!(pace.offer("d".to_owned(), at(61)).as_deref(), Some("d"));
    }

    #[test]
    fn a_flood_of_changes_is_a_line_each_ten_seconds() {
        let mut pace = Pace::new(0);
        let told = (0..600_i64)
            .filter(|tenth| pace.offer(tenth.to_string(), tenth * 100_000_000).is_some())
            .count();
        assert_eq!(told, 4 + 5);
        let rest = pace.rest().expect("what came last");
        assert!(rest.starts_with("599 ("), "{rest}");
        assert_eq!(pace.rest(), None);
    }
}
