//! Durations that several stages share, and their parsers.

/// A SYN is a retransmission until this long after the first one (DESIGN 5).
pub const HORIZON_NS: i64 = 130_000_000_000;
/// An attempt, or a port, without an answer for this long is unanswered.
pub const UNANSWERED_NS: i64 = 5_000_000_000;
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

/// Reads the window of a rule: `500ms`, `60s`, `5m`, `1h`.
///
/// # Errors
///
/// Names range and units.
pub fn window(value: &str) -> Result<Window, String> {
    let range = "must be a time from 1s to 1h, such as 500ms, 60s, 5m";
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
