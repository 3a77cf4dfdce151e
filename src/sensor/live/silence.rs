//! Watched interfaces on which no frame comes: since when, and why.
//!
//! An idle network is no fault: silence that the interface's own counters confirm is reported only where no frame came
//! since the start, and after a busy minute. What those counters deny is always reported.

use super::groups::Groups;
use super::messenger::Messenger;
use crate::host::nic::{self, NicCounters};
use crate::sensor::group::{LinkState, LiveGroup};
use crate::time::clock::monotonic_ns;
use crate::words::many;
use serde_json::json;
use std::collections::BTreeMap;

/// Shortest silence that is reported.
const SILENCE_NS: i64 = 5_000_000_000;
/// Drivers count in steps of up to two seconds: what the interface counts later came after the last frame.
const SETTLE_NS: i64 = 3_000_000_000;
/// So long without a silence makes an interface busy.
const BUSY_NS: i64 = 60_000_000_000;

words! {
    /// Why no frame comes.
    enum Cause {
        /// The link is down.
        Down = "link_down",
        /// The interface's own counters stand still, too.
        Idle = "idle",
        /// They do, there never was a frame, and this is not the host's network namespace.
        Namespace = "namespace",
        /// Packets come, and an XDP program is there.
        Xdp = "xdp",
        /// Packets come; something unknown takes them.
        Taken = "taken",
        /// Packets go out past the taps.
        Bypass = "bypass",
        /// Packets come, and filtered ones cannot be counted.
        Filter = "filter",
    }
}

impl Cause {
    /// The interface's counters deny the silence.
    fn is_blindness(self) -> bool {
        matches!(self, Self::Xdp | Self::Taken | Self::Bypass)
    }
}

/// What is known of an interface now.
#[derive(Clone, Copy, Debug, Default)]
struct Now {
    /// Frames offered by the kernel, filtered ones included where they are counted.
    frames: u64,
    /// Filtered frames are not counted.
    filters: bool,
    is_down: bool,
    /// Its own counters, since the start.
    rx_packets: u64,
    tx_packets: u64,
}

/// An interface since the start.
#[derive(Clone, Debug)]
struct Watched {
    frames: u64,
    had_frames: bool,
    /// CLOCK_MONOTONIC: of the last change of `frames`, at first of the start.
    last_ns: i64,
    /// End of the last silence.
    since_ns: i64,
    /// Its own counters once they had settled after the last frame.
    base: (u64, u64),
    reported: Option<Cause>,
}

/// What is to be reported of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Silent(Cause),
    /// Frames come again, after so many nanoseconds.
    Back(i64),
}

impl Watched {
    fn starting_at(now_ns: i64) -> Self {
        Self {
            frames: 0,
            had_frames: false,
            last_ns: now_ns,
            since_ns: now_ns,
            base: (0, 0),
            reported: None,
        }
    }

    /// Packets in and out that its own counters have and the sensor has not.
    fn unseen(&self, now: Now) -> (u64, u64) {
        let grown = |now: u64, base: u64| now.saturating_sub(base);
        (
            grown(now.rx_packets, self.base.0),
            grown(now.tx_packets, self.base.1),
        )
    }

    /// `has_program` is asked only where it matters: whether an XDP program is there. `apart`: this is not the host's
    /// network namespace.
    fn look(
        &mut self,
        now_ns: i64,
        now: Now,
        has_program: impl FnOnce() -> bool,
        apart: bool,
    ) -> Option<Event> {
        let silent_ns = now_ns.saturating_sub(self.last_ns);
        // An interface that was made anew counts from 0.
        self.frames = self.frames.min(now.frames);
        if now.frames > self.frames {
            (self.frames, self.last_ns, self.had_frames) = (now.frames, now_ns, true);
            if silent_ns >= SILENCE_NS {
                self.since_ns = now_ns;
            }
            return self.reported.take().map(|_| Event::Back(silent_ns));
        }
        if silent_ns < SETTLE_NS {
            self.base = (now.rx_packets, now.tx_packets);
        }
        if silent_ns < SILENCE_NS {
            return None;
        }
        let was_busy = self.last_ns.saturating_sub(self.since_ns) >= BUSY_NS;
        let cause = match self.unseen(now) {
            _ if now.is_down => Cause::Down,
            (1.., _) if now.filters => Cause::Filter,
            (1.., _) if has_program() => Cause::Xdp,
            (1.., _) => Cause::Taken,
            (_, 1..) if !now.filters => Cause::Bypass,
            _ if apart && !self.had_frames => Cause::Namespace,
            _ => Cause::Idle,
        };
        let is_new = match self.reported {
            None => !self.had_frames || was_busy || cause.is_blindness(),
            Some(before) => cause.is_blindness() && !before.is_blindness(),
        };
        is_new.then(|| {
            self.reported = Some(cause);
            Event::Silent(cause)
        })
    }
}

/// All watched interfaces, by their index in the run.
pub(super) struct Silence {
    watched: BTreeMap<u16, Watched>,
    /// What was reported of those whose own counters deny the silence.
    blind: BTreeMap<u16, String>,
    /// This is not the host's network namespace.
    apart: bool,
    /// The value of `-i`.
    asked: String,
    messenger: Messenger,
}

impl Silence {
    /// Starts now.
    pub(super) fn new(asked: &[String], messenger: Messenger) -> Self {
        Self {
            watched: BTreeMap::new(),
            blind: BTreeMap::new(),
            apart: nic::is_namespace_of_its_own(),
            asked: asked.join(","),
            messenger,
        }
    }

    /// Reports what has changed. Call once a second, after the groups' update.
    pub(super) fn update(&mut self, groups: &Groups<'_>) {
        let now_ns = monotonic_ns();
        for group in groups.current() {
            let watched = self.watched.entry(group.interface);
            let watched = watched.or_insert_with(|| Watched::starting_at(now_ns));
            if group.is_gone() {
                // Reported by its own record.
                self.blind.remove(&group.interface);
                continue;
            }
            let now = now(group, groups);
            let has_program = || nic::xdp(group.ifindex).taken == Some(true);
            let silent_ns = now_ns.saturating_sub(watched.last_ns);
            let event = watched.look(now_ns, now, has_program, self.apart);
            let (rx_packets, tx_packets) = watched.unseen(now);
            let details = [
                ("in_iface", json!(group.name)),
                ("silent_s", json!(silent_ns as f64 / 1e9)),
            ];
            match event {
                None => {}
                Some(Event::Back(silent_ns)) => {
                    self.blind.remove(&group.interface);
                    let (name, silent_s) = (&group.name, silent_ns as f64 / 1e9);
                    let text = format!("frames come on {name} again, after {silent_s:.0} s");
                    self.messenger.line(&text);
                    self.messenger.record_with("frames_back", text, details);
                }
                Some(Event::Silent(cause)) => {
                    let unseen = (rx_packets, tx_packets);
                    let text = sentence(&group.name, silent_ns, cause, unseen, &self.asked);
                    self.messenger.line(&text);
                    if cause.is_blindness() {
                        self.blind.insert(group.interface, text.clone());
                    }
                    let more = [
                        ("cause", json!(cause.word())),
                        ("unseen_rx_packets", json!(rx_packets)),
                        ("unseen_tx_packets", json!(tx_packets)),
                    ];
                    let details = details.into_iter().chain(more);
                    self.messenger.record_with("no_frames", text, details);
                }
            }
        }
    }

    /// A sentence for each interface that takes in or sends packets of which no capture sees any.
    pub(super) fn blind(&self) -> Vec<String> {
        self.blind.values().cloned().collect()
    }

    /// Seconds since the last frame, or the start, by interface.
    pub(super) fn seconds(&self, groups: &Groups<'_>) -> Vec<(String, f64)> {
        let now_ns = monotonic_ns();
        let of = |group: &LiveGroup| {
            let watched = self.watched.get(&group.interface)?;
            let silent_ns = now_ns.saturating_sub(watched.last_ns);
            Some((group.name.clone(), silent_ns as f64 / 1e9))
        };
        groups.current().iter().filter_map(of).collect()
    }
}

fn now(group: &LiveGroup, groups: &Groups<'_>) -> Now {
    let offered: u64 = group.counts().map(|ring| ring.tp_packets).sum();
    let filtered = groups.filtered_of(group);
    let counters = groups.nic_counters(group).unwrap_or_default();
    let NicCounters {
        rx_packets,
        tx_packets,
        ..
    } = counters;
    Now {
        frames: offered + filtered.unwrap_or(0),
        filters: filtered.is_none(),
        is_down: group.link != LinkState::Up,
        rx_packets,
        tx_packets,
    }
}

fn sentence(
    name: &str,
    silent_ns: i64,
    cause: Cause,
    (rx_packets, tx_packets): (u64, u64),
    asked: &str,
) -> String {
    let (came, went) = (many(rx_packets, "packet"), many(tx_packets, "packet"));
    let why = match cause {
        Cause::Down => format!(
            "its link is down: `ip link set dev {name} up`, or see to the cable and the other end"
        ),
        Cause::Idle => format!(
            "nor by its own counters: does the traffic pass there? `ip -br addr` lists all interfaces; a mirror port \
             needs --promiscuous; `{} check -i {asked}` looks for what keeps it away",
            program()
        ),
        Cause::Namespace => "nor by its own counters, and this is not the host's network namespace: a container sees \
             only its own interfaces; start it with the host's (--network host, hostNetwork: true)"
            .to_owned(),
        Cause::Xdp => format!(
            "it took in {came} meanwhile, and an XDP program at it takes them before any capture: `ip link show dev \
             {name}` names it; end it, or watch an interface behind it"
        ),
        Cause::Taken => format!(
            "it took in {came} meanwhile, and something takes them before any capture (AF_XDP, DPDK, the driver): \
             `ethtool -S {name}` may say what"
        ),
        Cause::Bypass => format!(
            "it sent {went} meanwhile, past every capture: by PACKET_QDISC_BYPASS or AF_XDP"
        ),
        Cause::Filter => format!(
            "it took in {came}, of which --capture control takes none; without CAP_BPF they are not counted"
        ),
    };
    let silent_s = silent_ns / 1_000_000_000;
    format!("nothing has come on {name} for {silent_s} s: {why}")
}

/// The path as it was started: it may not be installed.
fn program() -> String {
    std::env::args()
        .next()
        .unwrap_or_else(|| "synledger".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    /// One second after another; `now`: what is known in each.
    fn watch(apart: bool, program: bool, seconds: &[Now]) -> Vec<(usize, Event)> {
        let mut watched = Watched::starting_at(0);
        let mut at_ns = 0;
        let look = |now: &Now| {
            at_ns += S;
            watched.look(at_ns, *now, || program, apart)
        };
        let events = seconds.iter().map(look).enumerate();
        events
            .filter_map(|(at, event)| Some((at + 1, event?)))
            .collect()
    }

    fn frames(frames: u64, rx_packets: u64) -> Now {
        Now {
            frames,
            rx_packets,
            ..Now::default()
        }
    }

    #[test]
    fn silence_from_the_start_is_said_after_five_seconds_and_once() {
        let idle = [frames(0, 0); 100];
        assert_eq!(
            watch(false, false, &idle),
            [(5, Event::Silent(Cause::Idle))]
        );
        let apart = Event::Silent(Cause::Namespace);
        assert_eq!(watch(true, false, &idle), [(5, apart)]);
        let down = [Now {
            is_down: true,
            ..Now::default()
        }; 100];
        assert_eq!(watch(true, false, &down), [(5, Event::Silent(Cause::Down))]);
    }

    #[test]
    fn an_idle_network_is_no_event_but_the_end_of_a_busy_minute_is() {
        let quiet: Vec<Now> = (0..300).map(|second| frames(1 + second / 20, 0)).collect();
        assert_eq!(watch(false, false, &quiet), []);
        let mut busy: Vec<Now> = (1..=70).map(|second| frames(second, second)).collect();
        busy.extend([frames(70, 70); 30]);
        busy.push(frames(71, 71));
        busy.extend([frames(71, 71); 30]);
        let expected = [(75, Event::Silent(Cause::Idle)), (101, Event::Back(31 * S))];
        assert_eq!(watch(true, false, &busy), expected);
    }

    #[test]
    fn what_the_interface_counts_and_nobody_sees_is_always_said() {
        let mut seen: Vec<Now> = (1..=10).map(|second| frames(second, 10 * second)).collect();
        // A driver that counts late is not blind.
        seen.extend([frames(10, 105), frames(10, 110), frames(10, 110)]);
        seen.extend([frames(10, 110); 20]);
        assert_eq!(watch(false, true, &seen), []);
        let blind = (111..=120).map(|packets| frames(10, packets));
        seen.extend(blind);
        assert_eq!(watch(false, true, &seen), [(34, Event::Silent(Cause::Xdp))]);
        assert_eq!(
            watch(false, false, &seen),
            [(34, Event::Silent(Cause::Taken))]
        );
    }

    #[test]
    fn a_known_silence_that_turns_out_to_be_blindness_is_said_again() {
        let mut idle = vec![frames(0, 0); 10];
        idle.extend((1..=10).map(|packets| frames(0, packets)));
        idle.push(frames(1, 11));
        let expected = [
            (5, Event::Silent(Cause::Idle)),
            (11, Event::Silent(Cause::Xdp)),
            (21, Event::Back(21 * S)),
        ];
        assert_eq!(watch(false, true, &idle), expected);
    }

    #[test]
    fn packets_that_only_go_out_bypass_the_taps_unless_filtered_ones_are_not_counted() {
        let sends = |second: u64, filters: bool| Now {
            tx_packets: second,
            filters,
            ..Now::default()
        };
        let out: Vec<Now> = (0..20).map(|second| sends(second, false)).collect();
        assert_eq!(
            watch(false, true, &out),
            [(5, Event::Silent(Cause::Bypass))]
        );
        let out: Vec<Now> = (0..20).map(|second| sends(second, true)).collect();
        assert_eq!(watch(false, true, &out), [(5, Event::Silent(Cause::Idle))]);
        let filtered = |second| Now {
            filters: true,
            ..frames(0, second)
        };
        let all: Vec<Now> = (0..20).map(filtered).collect();
        assert_eq!(
            watch(false, true, &all),
            [(5, Event::Silent(Cause::Filter))]
        );
    }

    #[test]
    fn each_cause_has_a_sentence_with_a_way_out() {
        for (cause, words) in [
            (Cause::Down, "its link is down: `ip link set dev eth0 up`"),
            (Cause::Idle, " check -i eth*` looks for what"),
            (Cause::Namespace, "hostNetwork"),
            (
                Cause::Xdp,
                "it took in 7 packets meanwhile, and an XDP program",
            ),
            (Cause::Taken, "`ethtool -S eth0`"),
            (Cause::Bypass, "it sent 1 packet meanwhile"),
            (Cause::Filter, "--capture control takes none"),
        ] {
            let text = sentence("eth0", 5 * S + 9, cause, (7, 1), "eth*");
            assert!(
                text.starts_with("nothing has come on eth0 for 5 s: "),
                "{text}"
            );
            assert!(text.contains(words), "{text}");
        }
    }
}
