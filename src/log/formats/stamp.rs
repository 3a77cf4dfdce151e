//! Nanoseconds since the Unix epoch to date and time, UTC; the last second is cached.

use super::append;
use super::window::Window;
use jiff::Timestamp;
use jiff::tz::Offset;

const NS_PER_S: i64 = 1_000_000_000;
/// Bytes of `2021-04-28 15:28:05`.
const SECOND_LEN: usize = 19;
/// Those, a dot, and as many as are copied at once.
const DIGITS_LEN: usize = 24;

/// Renders time stamps; a second is rendered once and cached.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// Start of the rendered second, and for how long it is valid: 0 where none is rendered, and for one that starts
    /// before the first nanosecond of an `i64`.
    start_ns: i64,
    valid_ns: u64,
    separator: u8,
    /// Date and time, and a dot.
    digits: [u8; DIGITS_LEN],
}

impl Stamp {
    /// `2021-04-28 15:28:05`: a space between date and time.
    pub fn spaced() -> Self {
        Self::with_separator(b' ')
    }

    /// `2021-04-28T15:28:05`: ISO 8601.
    pub fn iso() -> Self {
        Self::with_separator(b'T')
    }

    fn with_separator(separator: u8) -> Self {
        Self {
            start_ns: 0,
            valid_ns: 0,
            separator,
            digits: *b"0000-00-00 00:00:00.    ",
        }
    }

    /// Appends the whole second that holds `ts_ns`; before 1970 it is still the second below.
    pub fn append_seconds(&mut self, out: &mut Vec<u8>, ts_ns: i64) {
        self.turn_to(ts_ns);
        out.extend_from_slice(&self.digits[..SECOND_LEN]);
    }

    /// Appends the second's time of day: `15:28:05`.
    pub fn append_time_of_day(&mut self, out: &mut Vec<u8>, ts_ns: i64) {
        self.turn_to(ts_ns);
        out.extend_from_slice(&self.digits[11..SECOND_LEN]);
    }

    /// Appends seconds, microseconds and `Z` (RFC 3339).
    pub fn append_utc(&mut self, out: &mut Vec<u8>, ts_ns: i64) {
        self.append_fraction(out, ts_ns);
        out.push(b'Z');
    }

    /// The same to a window.
    #[inline(always)]
    pub fn put_utc(&mut self, window: &mut Window<'_>, ts_ns: i64) {
        self.put_fraction(window, ts_ns);
        window.put(b"Z");
    }

    /// Appends seconds, microseconds and `+0000`, as Suricata does.
    pub fn append_micros(&mut self, out: &mut Vec<u8>, ts_ns: i64) {
        self.append_fraction(out, ts_ns);
        out.extend_from_slice(b"+0000");
    }

    /// The same to a window.
    #[inline(always)]
    pub fn put_micros(&mut self, window: &mut Window<'_>, ts_ns: i64) {
        self.put_fraction(window, ts_ns);
        window.put(b"+0000");
    }

    fn append_fraction(&mut self, out: &mut Vec<u8>, ts_ns: i64) {
        let within_ns = self.turn_to(ts_ns);
        out.extend_from_slice(&self.digits[..=SECOND_LEN]);
        append::padded(out, within_ns / 1000, 6);
    }

    #[inline(always)]
    fn put_fraction(&mut self, window: &mut Window<'_>, ts_ns: i64) {
        let within_ns = self.turn_to(ts_ns);
        window.put_first(&self.digits, SECOND_LEN + 1);
        window.six_digits(within_ns / 1000);
    }

    /// The whole second that holds `ts_ns`, with `: ` behind it, to a window.
    #[inline(always)]
    pub fn put_lead(&mut self, window: &mut Window<'_>, ts_ns: i64) {
        self.turn_to(ts_ns);
        window.put_first(&self.digits, SECOND_LEN);
        window.put(b": ");
    }

    /// Renders the second that holds `ts_ns`; returns the nanoseconds since its start.
    #[inline]
    fn turn_to(&mut self, ts_ns: i64) -> u64 {
        let within_ns = ts_ns.wrapping_sub(self.start_ns).cast_unsigned();
        if within_ns < self.valid_ns {
            within_ns
        } else {
            self.render(ts_ns)
        }
    }

    #[cold]
    fn render(&mut self, ts_ns: i64) -> u64 {
        let second = ts_ns.div_euclid(NS_PER_S);
        // An i64 of nanoseconds spans the years 1677 to 2262: four digits always.
        let moment = Timestamp::from_second(second).expect("within the years -9999 to 9999");
        let moment = Offset::UTC.to_datetime(moment);
        self.put(0, 4, moment.year().into());
        self.put(5, 2, moment.month().into());
        self.put(8, 2, moment.day().into());
        self.digits[10] = self.separator;
        self.put(11, 2, moment.hour().into());
        self.put(14, 2, moment.minute().into());
        self.put(17, 2, moment.second().into());
        let start = second.checked_mul(NS_PER_S);
        self.valid_ns = start.map_or(0, |_| NS_PER_S.unsigned_abs());
        self.start_ns = start.unwrap_or(0);
        ts_ns.rem_euclid(NS_PER_S).unsigned_abs()
    }

    fn put(&mut self, at: usize, width: usize, value: i32) {
        let mut rest = value.unsigned_abs();
        for digit in self.digits[at..at + width].iter_mut().rev() {
            *digit = append::DIGITS[rest as usize % 10];
            rest /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spaced(ts_ns: i64) -> String {
        let mut out = Vec::new();
        Stamp::spaced().append_seconds(&mut out, ts_ns);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn known_seconds_have_known_dates() {
        assert_eq!(spaced(1_619_623_685 * NS_PER_S), "2021-04-28 15:28:05");
        assert_eq!(spaced(0), "1970-01-01 00:00:00");
        assert_eq!(spaced(-1), "1969-12-31 23:59:59");
        assert_eq!(spaced(951_782_400 * NS_PER_S), "2000-02-29 00:00:00");
        assert_eq!(spaced(i64::MIN), "1677-09-21 00:12:43");
        assert_eq!(spaced(i64::MAX), "2262-04-11 23:47:16");
        let (mut stamp, mut out) = (Stamp::iso(), Vec::new());
        let ends = [i64::MIN, i64::MAX, i64::MIN + 1000, i64::MAX];
        ends.iter()
            .for_each(|&ts_ns| stamp.append_utc(&mut out, ts_ns));
        let (first, last) = (b"1677-09-21T00:12:43.14522", b"2262-04-11T23:47:16.854775Z");
        assert!(out.starts_with(first) && out.ends_with(last));
    }

    #[test]
    fn a_time_in_utc_says_so() {
        let mut out = Vec::new();
        Stamp::iso().append_utc(&mut out, 1_619_623_685_000_001_999);
        Stamp::spaced().append_time_of_day(&mut out, 1_619_623_685_000_001_999);
        assert_eq!(out, b"2021-04-28T15:28:05.000001Z15:28:05");
    }

    #[test]
    fn microseconds_are_six_digits_and_round_down() {
        let mut stamp = Stamp::iso();
        let mut out = Vec::new();
        stamp.append_micros(&mut out, 1_619_623_685_000_001_999);
        assert_eq!(out, b"2021-04-28T15:28:05.000001+0000");
        out.clear();
        stamp.append_micros(&mut out, -1);
        assert_eq!(out, b"1969-12-31T23:59:59.999999+0000");
    }

    /// Year, month, day of a day number counted from 1970-01-01, in the proleptic Gregorian calendar.
    ///
    /// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
    fn civil_from_days(days: i64) -> (i64, i64, i64) {
        // Years start in March, so that the leap day is the last day of its year.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        (year, month, day)
    }

    proptest! {
        #[test]
        fn every_time_reads_as_hinnants_algorithm_has_it(times in prop::collection::vec(any::<i64>(), 1..20)) {
            let mut stamp = Stamp::iso();
            for ts_ns in times {
                let mut out = Vec::new();
                stamp.append_micros(&mut out, ts_ns);
                let second = ts_ns.div_euclid(NS_PER_S);
                let (year, month, day) = civil_from_days(second.div_euclid(86_400));
                let of_day = second.rem_euclid(86_400);
                let micros = ts_ns.rem_euclid(NS_PER_S) / 1000;
                let expected = format!(
                    "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{micros:06}+0000",
                    of_day / 3600, of_day / 60 % 60, of_day % 60,
                );
                prop_assert_eq!(String::from_utf8(out).expect("ASCII"), expected);
            }
        }
    }
}
