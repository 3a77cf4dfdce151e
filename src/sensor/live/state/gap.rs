//! From the last record of an earlier run: since when nothing was watched, and why.

use super::record::{NO_BOOT_ID, Record};
use crate::log::formats::stamp::Stamp;
use crate::sensor::live::messenger::Detail;
use crate::time::clock::STEP_MIN_NS;
use serde_json::{Value, json};

words! {
    /// Why nothing was watched.
    pub(super) enum Cause {
        /// The run before was told to stop.
        CleanStop = "clean_stop",
        /// The run before ended without closing its books: killed, crashed, out of memory.
        Killed = "killed",
        /// The host restarted.
        Reboot = "reboot",
        /// The last record lies in the future: nobody knows for how long.
        Clock = "clock",
    }
}

/// A moment by all clocks.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// Nanoseconds since the Unix epoch.
    pub wall_ns: i64,
    /// CLOCK_BOOTTIME.
    pub boot_ns: i64,
    pub boot_id: String,
}

/// The time between two runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    cause: Cause,
    /// By today's clock, nanoseconds since the Unix epoch.
    from_ns: i64,
    until_ns: i64,
    /// The clock was set by so much meanwhile; 0 if that cannot be known.
    clock_step_ns: i64,
    process: u32,
    stopped: bool,
}

impl Gap {
    pub(super) fn between(last: &Record, now: &Moment) -> Self {
        let same_boot = last.boot_id == now.boot_id && last.boot_id != NO_BOOT_ID;
        let elapsed_ns = now.boot_ns.saturating_sub(last.boot_ns);
        let gap = |cause: Cause, from_ns: i64, clock_step_ns: i64| Self {
            cause,
            from_ns,
            until_ns: now.wall_ns,
            clock_step_ns,
            process: last.process,
            stopped: last.stopped,
        };
        if same_boot && elapsed_ns >= 0 {
            let cause = match last.stopped {
                true => Cause::CleanStop,
                false => Cause::Killed,
            };
            // CLOCK_BOOTTIME counts on whatever is done to the wall clock.
            let from_ns = now.wall_ns.saturating_sub(elapsed_ns);
            let step_ns = from_ns.saturating_sub(last.watched_ns);
            return match step_ns.abs() > STEP_MIN_NS {
                true => gap(cause, from_ns, step_ns),
                false => gap(cause, last.watched_ns.min(now.wall_ns), 0),
            };
        }
        match last.watched_ns <= now.wall_ns {
            true => gap(Cause::Reboot, last.watched_ns, 0),
            false => gap(Cause::Clock, last.watched_ns, 0),
        }
    }

    /// Its length in seconds; `None`: unknown.
    pub(super) fn seconds(&self) -> Option<f64> {
        let length_ns = self.until_ns.saturating_sub(self.from_ns);
        (self.cause != Cause::Clock).then_some(length_ns as f64 / 1e9)
    }

    /// One sentence.
    pub(super) fn text(&self) -> String {
        let from = spaced(self.from_ns);
        let Some(length_s) = self.seconds() else {
            return format!(
                "not watched for an unknown time: by the state file an earlier run watched until {from} UTC, which lies \
                 in the future: the clock was set back while the host restarted"
            );
        };
        let process = self.process;
        let why = match (self.cause, self.stopped) {
            (Cause::Reboot, true) => "synledger was stopped, and the host restarted".to_owned(),
            (Cause::Reboot, false) => "the host restarted".to_owned(),
            (Cause::CleanStop, _) => "synledger was stopped".to_owned(),
            _ => format!("synledger (process {process}) was killed or crashed"),
        };
        let until = spaced(self.until_ns);
        let mut text = format!("not watched from {from} to {until} UTC ({length_s:.1} s): {why}");
        if self.clock_step_ns != 0 {
            let way = ["back", "forward"][usize::from(self.clock_step_ns > 0)];
            let by_s = self.clock_step_ns.unsigned_abs() as f64 / 1e9;
            text += &format!("; the clock was set {way} by {by_s:.1} s meanwhile");
        }
        text
    }

    /// Members of its record.
    pub(super) fn details(&self) -> Vec<Detail> {
        let mut details = vec![
            ("cause", json!(self.cause.word())),
            ("from", iso(self.from_ns)),
            ("until", iso(self.until_ns)),
            ("not_watched_s", json!(self.seconds())),
            ("process", json!(self.process)),
            ("stopped", json!(self.stopped)),
        ];
        if self.clock_step_ns != 0 {
            details.push(("step_s", json!(self.clock_step_ns as f64 / 1e9)));
        }
        details
    }
}

fn spaced(ts_ns: i64) -> String {
    let mut text = Vec::new();
    Stamp::spaced().append_seconds(&mut text, ts_ns);
    String::from_utf8_lossy(&text).into_owned()
}

fn iso(ts_ns: i64) -> Value {
    let mut text = Vec::new();
    Stamp::iso().append_micros(&mut text, ts_ns);
    String::from_utf8_lossy(&text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;
    /// 2026-11-30 08:48:42 UTC.
    const LAST: i64 = 1_796_028_522 * S;

    fn last(stopped: bool) -> Record {
        Record {
            watched_ns: LAST,
            boot_ns: 100 * S,
            boot_id: "a".to_owned(),
            process: 7,
            stopped,
        }
    }

    fn now(wall_s: i64, boot_s: i64, boot_id: &str) -> Moment {
        Moment {
            wall_ns: LAST + wall_s * S,
            boot_ns: boot_s * S,
            boot_id: boot_id.to_owned(),
        }
    }

    /// Cause, length in seconds, step of the clock in seconds, sentence.
    fn judged(stopped: bool, now: &Moment) -> (Cause, Option<f64>, i64, String) {
        let gap = Gap::between(&last(stopped), now);
        (gap.cause, gap.seconds(), gap.clock_step_ns / S, gap.text())
    }

    #[test]
    fn each_cause_is_told_from_the_others() {
        let range = "not watched from 2026-11-30 08:48:42 to 2026-11-30 08:49:12 UTC (30.0 s): ";
        let cases = [
            (true, "a", Cause::CleanStop, "synledger was stopped"),
            (
                false,
                "a",
                Cause::Killed,
                "synledger (process 7) was killed or crashed",
            ),
            (
                true,
                "b",
                Cause::Reboot,
                "synledger was stopped, and the host restarted",
            ),
            (false, "b", Cause::Reboot, "the host restarted"),
        ];
        for (stopped, boot_id, cause, why) in cases {
            let expected = (cause, Some(30.0), 0, format!("{range}{why}"));
            assert_eq!(judged(stopped, &now(30, 130, boot_id)), expected);
        }
    }

    #[test]
    fn without_a_restart_of_the_host_no_step_of_the_clock_changes_the_length() {
        for (wall_s, step, words) in [
            (-570, -600, "; the clock was set back by 600.0 s meanwhile"),
            (
                3_630,
                3_600,
                "; the clock was set forward by 3600.0 s meanwhile",
            ),
        ] {
            let (cause, length, by, text) = judged(false, &now(wall_s, 130, "a"));
            assert_eq!((cause, length, by), (Cause::Killed, Some(30.0), step));
            assert!(text.ends_with(words), "{text}");
        }
    }

    #[test]
    fn a_time_in_the_future_is_called_unknown_not_negative() {
        // Another boot, or a boot that is younger than the record.
        for moment in [now(-5, 130, "b"), now(-5, 99, "a"), now(-5, 130, "-")] {
            let (cause, length, _, text) = judged(false, &moment);
            assert_eq!((cause, length), (Cause::Clock, None));
            let future = "until 2026-11-30 08:48:42 UTC, which lies in the future";
            assert!(text.contains(future), "{text}");
        }
        let gap = Gap::between(&last(false), &now(-5, 130, "b"));
        assert!(gap.details().contains(&("not_watched_s", Value::Null)));
    }

    #[test]
    fn boots_without_an_id_are_never_the_same() {
        let record = Record {
            boot_id: NO_BOOT_ID.to_owned(),
            ..last(false)
        };
        let gap = Gap::between(&record, &now(30, 130, NO_BOOT_ID));
        assert_eq!((gap.cause, gap.seconds()), (Cause::Reboot, Some(30.0)));
    }
}
