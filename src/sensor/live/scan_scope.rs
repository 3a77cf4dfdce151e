//! Scans that `--scan-scope` leaves out, told while they happen.

use super::Run;
use crate::books::shard::{OutOfScope, ShardCounts};
use crate::host::addresses::Direction;
use serde_json::Value;

const PERIOD_NS: i64 = 60_000_000_000;

/// What was told of scans out of scope.
#[derive(Debug, Default)]
pub(super) struct ScansOutOfScope {
    told_ns: Option<i64>,
    told: u64,
}

impl ScansOutOfScope {
    /// How many scans to tell of now: those since the last line, once a minute at most.
    fn due(&mut self, total: u64, now_ns: i64) -> Option<u64> {
        let early = |told_ns: i64| now_ns.saturating_sub(told_ns) < PERIOD_NS;
        if total == self.told || self.told_ns.is_some_and(early) {
            return None;
        }
        self.told_ns = Some(now_ns);
        Some(total - std::mem::replace(&mut self.told, total))
    }
}

impl Run<'_> {
    /// Meant for once a second.
    pub(super) fn say_out_of_scope(&mut self, now_ns: i64, shards: &ShardCounts) {
        if self.config.all_scans {
            return;
        }
        let [out, local] = [Direction::Out, Direction::Local].map(|way| way as usize);
        let total = shards
            .scans
            .iter()
            .map(|ways| ways[out] + ways[local])
            .sum();
        let Some(count) = self.scans_out_of_scope.due(total, now_ns) else {
            return;
        };
        let newest = shards.newest_out_of_scope;
        let text = sentence(count, newest);
        self.tell(&format!("synledger: {text}\n"));
        let mut details = vec![("scans".to_owned(), Value::from(count))];
        if let Some(OutOfScope { src, dst, .. }) = newest {
            details.push(("src_ip".to_owned(), Value::from(src.to_string())));
            details.push(("dest_ip".to_owned(), Value::from(dst.to_string())));
        }
        self.say_with("scans_out_of_scope", text, details);
    }
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

    #[test]
    fn scans_out_of_scope_are_told_once_a_minute_with_their_number() {
        let at = |seconds: i64| seconds * 1_000_000_000;
        let mut scans = ScansOutOfScope::default();
        assert_eq!(scans.due(0, at(100)), None);
        assert_eq!(scans.due(1, at(101)), Some(1));
        assert_eq!(scans.due(3, at(102)), None);
        assert_eq!(scans.due(4, at(160)), None);
        assert_eq!(scans.due(4, at(161)), Some(3));
        assert_eq!(scans.due(4, at(300)), None);
        assert_eq!(scans.due(5, at(301)), Some(1));
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
