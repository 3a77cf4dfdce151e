//! Hints on standard error when no frames, or no connections, are seen in the first seconds.

use super::groups::Groups;
use super::messenger::Messenger;
use crate::books::Books;
use crate::host::nic::{self, Counters};
use crate::settings::RunConfig;
use crate::time::clock::monotonic_ns;

/// Time before the first hint.
const PATIENCE_NS: i64 = 5_000_000_000;

/// Counts since the gates opened.
#[derive(Clone, Copy, Debug, Default)]
struct Arrivals {
    /// Frames on the watched interfaces, filtered ones included.
    frames: u64,
    attempts: u64,
    /// Packets over `lo`, if it is not watched.
    loopback_packets: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    /// Packets pass `lo`, which is not watched.
    Loopback,
    /// No frame came.
    Nothing,
}

/// Decides which hint is due.
#[derive(Debug, Default)]
struct Decision {
    loopback_decided: bool,
    /// Decided once: later silence is an idle network.
    frames_decided: bool,
}

impl Decision {
    /// At most one hint; the one about `lo` is more specific.
    fn next(&mut self, since_start_ns: i64, now: Arrivals) -> Option<Hint> {
        if since_start_ns < PATIENCE_NS {
            return None;
        }
        let nothing = !std::mem::replace(&mut self.frames_decided, true) && now.frames == 0;
        if now.attempts > 0 {
            self.loopback_decided = true;
        } else if now.loopback_packets > 0 && !self.loopback_decided {
            self.loopback_decided = true;
            return Some(Hint::Loopback);
        }
        nothing.then_some(Hint::Nothing)
    }

    fn is_over(&self) -> bool {
        self.loopback_decided && self.frames_decided
    }
}

pub(super) struct Hints {
    /// The value of `-i`.
    asked: String,
    messenger: Messenger,
    start_ns: i64,
    decision: Decision,
    /// Index and counters of `lo`, if it is not watched and not excluded.
    loopback: Option<(u32, Counters)>,
}

impl Hints {
    /// Counts from now on; `None` with `--quiet`.
    pub(super) fn start(
        config: &RunConfig,
        watched: &[nic::Interface],
        messenger: Messenger,
    ) -> Option<Self> {
        if config.common.quiet {
            return None;
        }
        let loopback = unwatched_loopback(config, watched);
        let loopback = loopback.and_then(|lo| Some((lo, Counters::start(&[lo]).ok()?)));
        Some(Self {
            asked: config.interfaces.join(","),
            messenger,
            start_ns: monotonic_ns(),
            decision: Decision {
                loopback_decided: loopback.is_none(),
                frames_decided: false,
            },
            loopback,
        })
    }

    /// Prints the hint that is due. Call once a second.
    pub(super) fn update(&mut self, now_ns: i64, books: &Books, groups: &Groups<'_>) {
        if self.decision.is_over() {
            return;
        }
        let offered: u64 = books.rings.iter().map(|ring| ring.tp_packets).sum();
        let now = Arrivals {
            // Uncounted filtered frames: assume some.
            frames: offered + books.filtered.unwrap_or(1),
            attempts: books.shards.flow.new_connections,
            loopback_packets: self.loopback_packets(),
        };
        let since_start_ns = now_ns.saturating_sub(self.start_ns);
        if let Some(hint) = self.decision.next(since_start_ns, now) {
            let all = nic::list().unwrap_or_default();
            let text = sentence(hint, &groups.names(), &all, &self.asked);
            self.messenger.line(&format!("hint: {text}"));
        }
        if self.decision.is_over() {
            self.loopback = None;
        }
    }

    fn loopback_packets(&mut self) -> u64 {
        let Some((ifindex, counters)) = &mut self.loopback else {
            return 0;
        };
        let _ = counters.update();
        counters.nic(*ifindex).map_or(0, |lo| lo.rx_packets)
    }
}

/// The index of `lo`, unless it is watched or `-i` excludes it.
fn unwatched_loopback(config: &RunConfig, watched: &[nic::Interface]) -> Option<u32> {
    let with_it = nic::resolve(&format!("lo,{}", config.interfaces.join(","))).ok()?;
    let lo = with_it.interfaces.iter().find(|nic| nic.loopback)?.ifindex;
    (!watched.iter().any(|nic| nic.ifindex == lo)).then_some(lo)
}

fn sentence(hint: Hint, names: &[&str], all: &[nic::Interface], asked: &str) -> String {
    let watched = names.join(", ");
    // The path as it was started: it may not be installed.
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "synledger".to_owned());
    match hint {
        Hint::Loopback => format!(
            "no new connection so far on {watched}, while packets passed lo, which is not watched: connections \
             of this host to itself go over lo; -i lo,{asked} watches them, too"
        ),
        Hint::Nothing => {
            let usable = |name: &&&str| {
                let own = all.iter().find(|nic| nic.name == **name);
                own.is_some_and(|nic| nic.up && nic.running)
            };
            let down: Vec<&str> = names.iter().filter(|name| !usable(name)).copied().collect();
            let links = match down.len() {
                0 => String::new(),
                1 => format!(" ({} is down)", down[0]),
                _ => format!(" ({} are down)", down.join(", ")),
            };
            format!(
                "nothing has come on {watched} for 5 s{links}: does the traffic pass there? `ip -br addr` lists \
                 all interfaces, `{program} check -i {asked}` looks for what keeps it away"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    fn arrivals(frames: u64, attempts: u64, loopback_packets: u64) -> Arrivals {
        Arrivals {
            frames,
            attempts,
            loopback_packets,
        }
    }

    #[test]
    fn silence_is_said_after_five_seconds_and_once() {
        let mut decision = Decision::default();
        for second in 0..5 {
            assert_eq!(decision.next(second * SECOND_NS, arrivals(0, 0, 0)), None);
        }
        let silence = arrivals(0, 0, 0);
        assert_eq!(decision.next(5 * SECOND_NS, silence), Some(Hint::Nothing));
        assert_eq!(decision.next(6 * SECOND_NS, silence), None);
    }

    #[test]
    fn silence_after_a_first_frame_is_no_hint() {
        let mut decision = Decision::default();
        let frame = arrivals(1, 0, 0);
        for second in 0..60 {
            assert_eq!(decision.next(second * SECOND_NS, frame), None, "{second}");
        }
    }

    #[test]
    fn loopback_is_said_instead_of_silence_and_once() {
        let mut decision = Decision::default();
        let local = arrivals(0, 0, 9);
        assert_eq!(decision.next(SECOND_NS, local), None);
        assert_eq!(decision.next(5 * SECOND_NS, local), Some(Hint::Loopback));
        assert_eq!(decision.next(6 * SECOND_NS, local), None);
        assert!(decision.is_over());
    }

    #[test]
    fn loopback_is_said_late_while_no_connection_was_seen() {
        let mut decision = Decision::default();
        assert_eq!(decision.next(5 * SECOND_NS, arrivals(9, 0, 0)), None);
        let local = arrivals(99, 0, 9);
        assert_eq!(decision.next(50 * SECOND_NS, local), Some(Hint::Loopback));
    }

    #[test]
    fn loopback_is_no_hint_once_a_connection_was_seen() {
        let mut decision = Decision::default();
        assert_eq!(decision.next(5 * SECOND_NS, arrivals(9, 1, 0)), None);
        assert_eq!(decision.next(6 * SECOND_NS, arrivals(9, 1, 9)), None);
        assert!(decision.is_over());
    }

    #[test]
    fn a_hint_names_the_links_that_are_down_and_what_to_do() {
        let says = sentence(Hint::Nothing, &["eth0", "eth1"], &[], "eth*");
        let expected = "nothing has come on eth0, eth1 for 5 s (eth0, eth1 are down): ";
        assert!(says.starts_with(expected), "{says}");
        assert!(says.contains("`ip -br addr`"), "{says}");
        assert!(says.contains(" check -i eth*`"), "{says}");
        let says = sentence(Hint::Loopback, &["eth0"], &[], "auto");
        assert!(says.contains("on eth0, "), "{says}");
        assert!(says.ends_with("-i lo,auto watches them, too"), "{says}");
    }
}
