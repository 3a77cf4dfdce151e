//! Parsers of flag values, with their ranges and their error messages.

use std::path::Path;

use anyhow::{Result, bail};

/// The largest seed on the command line. A run adds its number to the seed, which must not overflow.
pub const SEED_MAX: u64 = u32::MAX as u64;

/// A parser of whole numbers from `least` to `most`.
pub fn whole<T: TryFrom<u64> + Send + Sync + 'static>(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |word| {
        let number = word.parse().ok();
        let fits = number.filter(|number| (least..=most).contains(number));
        fits.and_then(|number: u64| T::try_from(number).ok())
            .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
    }
}

/// A parser of decimal numbers from `least` to `most`.
pub fn decimal(
    least: f64,
    most: f64,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |word| {
        let number = word.parse().ok();
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("must be a number from {least} to {most}"))
    }
}

/// Reads a number of seconds.
///
/// # Errors
///
/// For anything but a number from 0.05 to 3600.
pub fn seconds(word: &str) -> Result<f64, String> {
    decimal(0.05, 3600.0)(word)
}

/// Reads packets per second; `max` is not allowed.
///
/// # Errors
///
/// For anything but a number from 1 to 100000000.
pub fn packets_per_second(word: &str) -> Result<f64, String> {
    decimal(1.0, 1e8)(word)
}

/// `max`, or packets per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(pub Option<f64>);

/// Reads a [`Rate`].
///
/// # Errors
///
/// When it is neither.
pub fn rate(word: &str) -> Result<Rate, String> {
    if word == "max" {
        return Ok(Rate(None));
    }
    let pps = packets_per_second(word);
    pps.map(|pps| Rate(Some(pps)))
        .map_err(|error| format!("{error} (packets per second), or max"))
}

/// Checks, before a measurement, that the folder of `file` exists. `flag` is named in the error.
///
/// # Errors
///
/// When there is no such folder.
pub fn has_folder(flag: &str, file: &Path) -> Result<()> {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if folder.is_dir() {
        return Ok(());
    }
    bail!(
        "{flag} {}: there is no folder {}: make it, or name a file in another folder",
        file.display(),
        folder.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_range_is_an_error_that_names_the_range() {
        let small = whole::<u8>(1, 1000);
        assert_eq!((small("1"), small("255")), (Ok(1), Ok(255)));
        for bad in ["", "0", "256", "1001", "-1", "1.5", "x"] {
            let error = small(bad).expect_err(bad);
            assert_eq!(error, "must be a whole number from 1 to 1000", "{bad}");
        }
        let percent = decimal(0.1, 50.0);
        assert_eq!((percent("0.1"), percent("50")), (Ok(0.1), Ok(50.0)));
        for bad in ["", "0", "200", "nan", "inf", "-1", "x"] {
            let error = percent(bad).expect_err(bad);
            assert_eq!(error, "must be a number from 0.1 to 50", "{bad}");
        }
    }

    #[test]
    fn a_rate_or_a_time_out_of_range_is_an_error() {
        assert_eq!(rate("max"), Ok(Rate(None)));
        assert_eq!(rate("250000"), Ok(Rate(Some(250_000.0))));
        assert_eq!(seconds("0.05"), Ok(0.05));
        for bad in ["", "0", "-1", "NaN", "inf", "1e9", "fast"] {
            assert!(rate(bad).expect_err(bad).contains("100000000"), "{bad}");
            assert!(seconds(bad).expect_err(bad).contains("3600"), "{bad}");
        }
    }

    #[test]
    fn a_file_in_a_missing_folder_is_an_error() {
        assert!(has_folder("--csv", Path::new("a.csv")).is_ok());
        let error = has_folder("--csv", Path::new("/nosuch/a.csv")).expect_err("no folder");
        assert!(
            error.to_string().starts_with("--csv /nosuch/a.csv: "),
            "{error}"
        );
    }
}
