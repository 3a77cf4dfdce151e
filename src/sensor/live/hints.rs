//! A hint on standard error while no connection is seen and packets pass `lo`, which is not watched.

use super::messenger::Messenger;
use crate::books::Books;
use crate::host::nic::{self, Counters};
use crate::settings::RunConfig;
use crate::time::clock::monotonic_ns;

/// Time before the hint.
const PATIENCE_NS: i64 = 5_000_000_000;

/// Waits for the moment of the hint.
pub(super) struct Hints {
    /// The value of `-i`.
    asked: String,
    messenger: Messenger,
    start_ns: i64,
    /// Index and counters of `lo`.
    loopback: (u32, Counters),
}

impl Hints {
    /// Counts from now on; `None` with `--quiet`, and where `lo` is watched or excluded.
    pub(super) fn start(
        config: &RunConfig,
        watched: &[nic::Interface],
        messenger: Messenger,
    ) -> Option<Self> {
        if config.common.quiet {
            return None;
        }
        let lo = unwatched_loopback(config, watched)?;
        Some(Self {
            asked: config.interfaces.join(","),
            messenger,
            start_ns: monotonic_ns(),
            loopback: (lo, Counters::start(&[lo]).ok()?),
        })
    }

    /// Prints the hint if it is due. Returns whether it is still to come. Call once a second.
    pub(super) fn update(&mut self, now_ns: i64, books: &Books, names: &[&str]) -> bool {
        let (ifindex, counters) = &mut self.loopback;
        let _ = counters.update();
        let packets = counters.nic(*ifindex).map_or(0, |lo| lo.rx_packets);
        let since_start_ns = now_ns.saturating_sub(self.start_ns);
        let attempts = books.shards.flow.new_connections;
        let due = is_due(since_start_ns, attempts, packets);
        if due == Some(true) {
            let text = sentence(&names.join(", "), &self.asked);
            self.messenger.line(&format!("hint: {text}"));
        }
        due.is_none()
    }
}

/// Whether the hint is due; `None`: not yet decided. `packets` passed `lo`.
fn is_due(since_start_ns: i64, attempts: u64, packets: u64) -> Option<bool> {
    match (attempts, packets) {
        _ if since_start_ns < PATIENCE_NS => None,
        (1.., _) => Some(false),
        (0, 1..) => Some(true),
        (0, 0) => None,
    }
}

/// The index of `lo`, unless it is watched or `-i` excludes it.
fn unwatched_loopback(config: &RunConfig, watched: &[nic::Interface]) -> Option<u32> {
    let with_it = nic::resolve(&format!("lo,{}", config.interfaces.join(","))).ok()?;
    let lo = with_it.interfaces.iter().find(|nic| nic.loopback)?.ifindex;
    (!watched.iter().any(|nic| nic.ifindex == lo)).then_some(lo)
}

fn sentence(watched: &str, asked: &str) -> String {
    format!(
        "no new connection so far on {watched}, while packets passed lo, which is not watched: connections of this host \
         to itself go over lo; -i lo,{asked} watches them, too"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    #[test]
    fn the_hint_waits_for_five_seconds_and_for_packets() {
        for second in 0..5 {
            assert_eq!(is_due(second * SECOND_NS, 0, 9), None);
        }
        assert_eq!(is_due(5 * SECOND_NS, 0, 9), Some(true));
        assert_eq!(is_due(50 * SECOND_NS, 0, 0), None);
        assert_eq!(is_due(51 * SECOND_NS, 0, 9), Some(true), "late is not lost");
    }

    #[test]
    fn once_a_connection_was_seen_there_is_no_hint() {
        assert_eq!(is_due(4 * SECOND_NS, 1, 9), None);
        assert_eq!(is_due(5 * SECOND_NS, 1, 0), Some(false));
        assert_eq!(is_due(6 * SECOND_NS, 1, 9), Some(false));
    }

    #[test]
    fn the_hint_names_what_is_watched_and_what_to_do() {
        let says = sentence("eth0", "auto");
        assert!(says.contains("on eth0, "), "{says}");
        assert!(says.ends_with("-i lo,auto watches them, too"), "{says}");
    }
}
