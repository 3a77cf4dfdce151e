//! Formats numbers for tables.

use super::stats::{Spread, spread};

/// Formats with three significant digits.
pub fn digits(value: f64) -> String {
    let size = value.abs();
    let places = match size {
        _ if size >= 99.95 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 || size == 0.0 => 2,
        _ if size >= 0.09995 => 3,
        _ if size >= 0.009995 => 4,
        _ => 5,
    };
    format!("{value:.places$}")
}

/// The median and, of several values, the least and the greatest in brackets, each divided by `scale`. Empty for no
/// values.
pub fn median(values: &[f64], scale: f64) -> String {
    let Some(Spread {
        median,
        least,
        most,
        count,
    }) = spread(values)
    else {
        return String::new();
    };
    let show = |value: f64| digits(value / scale);
    if count == 1 || show(least) == show(most) {
        return show(median);
    }
    format!("{} ({}–{})", show(median), show(least), show(most))
}

/// The median share in percent. A share that would be rounded to 0 % or 100 % is shown as below or above.
pub fn percent(values: &[f64]) -> String {
    let Some(spread) = spread(values) else {
        return String::new();
    };
    let share = spread.median * 100.0;
    match share {
        _ if share == 0.0 => "0 %".to_owned(),
        _ if spread.median == 1.0 => "100 %".to_owned(),
        _ if share < 0.01 => "below 0.01 %".to_owned(),
        _ if share >= 99.995 && spread.median < 1.0 => "above 99.99 %".to_owned(),
        _ => format!("{share:.2} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_significant_digits_are_shown() {
        for (value, shown) in [
            (1234.4, "1234"),
            (99.96, "100"),
            (12.34, "12.3"),
            (1.0, "1.00"),
            (0.9996, "1.00"),
            (0.5, "0.500"),
            (0.096, "0.0960"),
            (0.0, "0.00"),
            (0.001234, "0.00123"),
        ] {
            assert_eq!(digits(value), shown);
        }
    }

    #[test]
    fn medians_show_their_range() {
        assert_eq!(median(&[], 1.0), "");
        assert_eq!(median(&[2e6], 1e6), "2.00");
        assert_eq!(median(&[1e6, 3e6, 2e6], 1e6), "2.00 (1.00–3.00)");
        assert_eq!(median(&[2.0, 2.0], 1.0), "2.00");
    }

    #[test]
    fn shares_are_not_rounded_to_all_or_nothing() {
        assert_eq!(percent(&[0.0]), "0 %");
        assert_eq!(percent(&[0.000_01]), "below 0.01 %");
        assert_eq!(percent(&[0.999_99]), "above 99.99 %");
        assert_eq!(percent(&[1.0]), "100 %");
        assert_eq!(percent(&[1.012]), "101.20 %");
        assert_eq!(percent(&[0.2501]), "25.01 %");
    }
}
