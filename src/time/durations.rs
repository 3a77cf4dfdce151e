//! Durations that several stages share, and their parsers.

use std::time::Duration;

/// A SYN is a retransmission until this long after the first one (DESIGN 5).
pub const HORIZON_NS: i64 = 130_000_000_000;
/// An attempt, or a port, without an answer for this long is unanswered.
pub const UNANSWERED_NS: i64 = 5_000_000_000;
/// A TCP connection without a packet for this long has ended.
pub const TCP_IDLE_NS: i64 = 300_000_000_000;
/// As much where its packets are not captured: five days, as Linux's own connection tracking has it
/// (`nf_conntrack_tcp_timeout_established`).
pub const TCP_UNHEARD_NS: i64 = 5 * 86_400_000_000_000;
/// Live: the log's order does not wait for a worker further behind the others.
pub const LAG_MAX_NS: u64 = 500_000_000;

/// The window of a rule, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window(pub i64);

/// Splits a value into its leading digits and the unit behind them.
pub fn number_and_unit(value: &str) -> (&str, &str) {
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    value.split_at(digits)
}

/// Nanoseconds of a unit.
pub fn unit_ns(unit: &str) -> Option<i64> {
    Some(match unit {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return None,
    })
}

/// Reads a duration: `500ms`, `90s`, `10m`, `1h`, `7d`. In nanoseconds.
pub fn length_ns(value: &str) -> Option<i64> {
    let (number, unit) = number_and_unit(value);
    number.parse::<i64>().ok()?.checked_mul(unit_ns(unit)?)
}

/// Reads the window of a rule: `1500ms`, `60s`, `5m`, `1h`.
///
/// # Errors
///
/// Names range and units.
pub fn window(value: &str) -> Result<Window, String> {
    let range = "must be a time from 1s to 1h, such as 30s, 5m (units ms, s, m, h)";
    let allowed = 1_000_000_000..=3_600_000_000_000;
    let (number, unit) = number_and_unit(value);
    let number: i64 = number.parse().map_err(|_| range.to_owned())?;
    let unit_ns = unit_ns(unit).filter(|ns| ns <= allowed.end());
    let unit_ns = unit_ns.ok_or_else(|| format!("{range}; the unit is missing or unknown"))?;
    let ns = number
        .checked_mul(unit_ns)
        .filter(|ns| allowed.contains(ns));
    ns.map(Window).ok_or_else(|| range.to_owned())
}

/// `--reorder`, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reorder(pub i64);

/// Reads `--reorder`: `500us`, `10ms`, `1s`, or 0.
///
/// # Errors
///
/// Names range and units.
pub fn reorder(value: &str) -> Result<Reorder, String> {
    const MAX_NS: i64 = 10_000_000_000;
    let (number, unit) = number_and_unit(value);
    let ns = match (number.parse::<i64>(), unit) {
        (Ok(0), "") => Some(0),
        (Ok(number), "us") => number.checked_mul(1_000),
        (Ok(number), "ms" | "s") => unit_ns(unit).and_then(|ns| number.checked_mul(ns)),
        _ => None,
    };
    let ns = ns.filter(|ns| (0..=MAX_NS).contains(ns));
    ns.map(Reorder)
        .ok_or_else(|| "must be 0 or a time up to 10s, such as 500us, 10ms, 1s".to_owned())
}

/// Reads `--listen`: `500ms`, `2s`, or 0.
///
/// # Errors
///
/// Names range and units.
pub fn listen(value: &str) -> Result<Duration, String> {
    let ns = match value {
        "0" => Some(0),
        _ => length_ns(value),
    };
    ns.and_then(|ns| u64::try_from(ns).ok())
        .map(Duration::from_nanos)
        .filter(|time| *time <= Duration::from_secs(60))
        .ok_or_else(|| "must be 0 or a time up to 60s, such as 500ms, 2s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_listen_has_a_unit_and_a_range() {
        for (value, ms) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("60s", 60_000),
            ("1m", 60_000),
        ] {
            assert_eq!(listen(value), Ok(Duration::from_millis(ms)), "{value}");
        }
        for value in [
            "",
            "2",
            "61s",
            "60001ms",
            "-1s",
            "1.5s",
            "s",
            "9223372036854775807d",
        ] {
            let error = listen(value).expect_err(value);
            assert!(error.contains("up to 60s"), "{error}");
        }
    }

    #[test]
    fn a_time_to_reorder_has_a_unit_and_a_range() {
        for (value, ns) in [
            ("0", 0),
            ("0ms", 0),
            ("500us", 500_000),
            ("10ms", 10_000_000),
            ("10s", 10_000_000_000),
        ] {
            assert_eq!(reorder(value), Ok(Reorder(ns)), "{value}");
        }
        for value in [
            "",
            "10",
            "11s",
            "1m",
            "-1ms",
            "1.5ms",
            "ms",
            "10000001us",
            "9223372036854775807s",
        ] {
            let error = reorder(value).expect_err(value);
            assert!(error.contains("up to 10s"), "{error}");
        }
    }
}
