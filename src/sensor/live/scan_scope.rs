//! Reports scans outside `--scan-scope` while they happen.

use super::messenger::Messenger;
use super::pace::Pace;
use crate::books::shard::{OutOfScope, ShardCounts};
use crate::host::addresses::Direction;
use serde_json::Value;

/// Between two reports.
const PERIOD_NS: i64 = 60_000_000_000;

pub(super) struct ScansOutOfScope {
    pace: Pace,
    reported: u64,
    messenger: Messenger,
}

impl ScansOutOfScope {
    pub(super) fn new(messenger: Messenger) -> Self {
        Self {
            pace: Pace::new(1, PERIOD_NS),
            reported: 0,
            messenger,
        }
    }

    /// Scans so far are another process's, which has reported them.
    pub(super) fn go_on(&mut self, shards: &ShardCounts) {
        self.reported = by_host(shards);
    }

    /// Reports scans since the last report, at most once a minute. Call once a second. `all_scans`: they are shown.
    pub(super) fn update(&mut self, now_ns: i64, all_scans: bool, shards: &ShardCounts) {
        let total = by_host(shards);
        if all_scans {
            self.reported = total;
        }
        if total == self.reported || !self.pace.take(now_ns) {
            return;
        }
        let count = total - std::mem::replace(&mut self.reported, total);
        let newest = shards.newest_out_of_scope;
        let text = sentence(count, newest);
        self.messenger.line(&text);
        let mut details = vec![("scans", Value::from(count))];
        if let Some(OutOfScope { src, dst, .. }) = newest {
            details.push(("src_ip", Value::from(src.to_string())));
            details.push(("dest_ip", Value::from(dst.to_string())));
        }
        let word = "scans_out_of_scope";
        self.messenger.record_with(word, text, details);
    }
}

/// Scans by this host.
fn by_host(shards: &ShardCounts) -> u64 {
    let [out, local] = [Direction::Out, Direction::Local].map(|way| way as usize);
    let each = shards.scans.iter().map(|ways| ways[out] + ways[local]);
    each.sum()
}

fn sentence(count: u64, newest: Option<OutOfScope>) -> String {
    let pair = newest.map(|scan| format!("{} -> {}", scan.src, scan.dst));
    let (what, pair) = match (count, pair) {
        (1, Some(pair)) => (
            "1 scan by this host is not shown".to_owned(),
            format!(": {pair}"),
        ),
        (1, None) => ("1 scan by this host is not shown".to_owned(), String::new()),
        (_, pair) => (
            format!("{count} scans by this host are not shown"),
            pair.map_or(String::new(), |pair| format!(", the newest {pair}")),
        ),
    };
    format!("{what}{pair}; --scan-scope all shows them")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::notice::{Notice, Notices};

    #[test]
    fn scans_out_of_scope_are_told_once_a_minute_with_their_number() {
        let at = |seconds: i64| seconds * 1_000_000_000;
        let (notices, records) = Notices::channel();
        let mut scans = ScansOutOfScope::new(Messenger::new(notices, true));
        let mut told = |total: u64, second: i64| {
            let mut shards = ShardCounts::default();
            shards.scans[0][Direction::Out as usize] = total;
            scans.update(at(second), false, &shards);
            let notice = records.try_iter().next()?;
            let Notice::Lifecycle { details, .. } = notice else {
                panic!("no lifecycle");
            };
            details[0].1.as_u64()
        };
        assert_eq!(told(0, 100), None);
        assert_eq!(told(1, 101), Some(1));
        assert_eq!(told(3, 102), None);
        assert_eq!(told(4, 160), None);
        assert_eq!(told(4, 161), Some(3));
        assert_eq!(told(4, 300), None);
        assert_eq!(told(5, 301), Some(1));
        let mut shards = ShardCounts::default();
        shards.scans[0][Direction::Out as usize] = 9;
        scans.update(at(400), true, &shards);
        scans.update(at(500), false, &shards);
        assert!(records.try_iter().next().is_none(), "they were shown");
    }

    #[test]
    fn the_newest_scan_and_the_flag_that_shows_it_are_named() {
        let newest = OutOfScope {
            ts_ns: 0,
            src: "192.0.2.1".parse().expect("an address"),
            dst: "2001:db8::1".parse().expect("an address"),
        };
        assert_eq!(
            sentence(1, Some(newest)),
            "1 scan by this host is not shown: 192.0.2.1 -> 2001:db8::1; --scan-scope all shows them"
        );
        assert_eq!(
            sentence(7, Some(newest)),
            "7 scans by this host are not shown, the newest 192.0.2.1 -> 2001:db8::1; \
             --scan-scope all shows them"
        );
    }
}
