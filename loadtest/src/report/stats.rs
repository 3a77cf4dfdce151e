//! Statistics of a few repetitions: median, geometric mean, lower bound.

/// Median, smallest and largest of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle value, or the mean of the two middle values.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
    /// Number of values.
    pub count: usize,
}

/// Spread of these values; `None` if there are none.
#[must_use]
pub fn spread(values: &[f64]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    Some(Spread {
        median: f64::midpoint(low, high),
        least,
        most,
        count: sorted.len(),
    })
}

/// Fewest pairs for a bound.
pub const PAIRS_MIN: usize = 5;

/// The geometric mean of ratios.
#[must_use]
pub fn mean_ratio(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / float(ratios.len())).exp()
}

/// Lower bound of the mean ratio of pairs, with 95 % confidence: one-sided, Student's t on the logarithms.
/// `None` for fewer than [`PAIRS_MIN`] pairs, or if a ratio is not above 0.
#[must_use]
pub fn lower_bound(ratios: &[f64]) -> Option<f64> {
    if ratios.len() < PAIRS_MIN || ratios.iter().any(|ratio| *ratio <= 0.0) {
        return None;
    }
    let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    let count = float(logs.len());
    let mean = logs.iter().sum::<f64>() / count;
    let square: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
    let error = (square / (count - 1.0) / count).sqrt();
    Some((mean - t95(count - 1.0) * error).exp())
}

/// 95 % quantile of Student's t, by expansion about the normal quantile.
///
/// Source: Abramowitz and Stegun, 26.7.5; within 0.2 % from 4 degrees of freedom on.
fn t95(freedom: f64) -> f64 {
    const NORMAL: f64 = 1.644_853_627;
    let z = NORMAL;
    let terms = [
        (z.powi(3) + z) / 4.0,
        (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0,
        (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0,
        (79.0 * z.powi(9) + 776.0 * z.powi(7) + 1482.0 * z.powi(5)
            - 1920.0 * z.powi(3)
            - 945.0 * z)
            / 92_160.0,
    ];
    let (mut t, mut power) = (z, 1.0);
    for term in terms {
        power *= freedom;
        t += term / power;
    }
    t
}

#[allow(clippy::cast_precision_loss, reason = "a number of repetitions")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        assert_eq!(spread(&[]), None);
        let odd = spread(&[3.0, 1.0, 2.0]).expect("values");
        assert_eq!(
            (odd.median, odd.least, odd.most, odd.count),
            (2.0, 1.0, 3.0, 3)
        );
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]).expect("values").median, 2.5);
    }

    #[test]
    fn quantiles_agree_with_published_tables() {
        for (freedom, table) in [(4.0, 2.132), (9.0, 1.833), (29.0, 1.699), (120.0, 1.658)] {
            assert!(
                (t95(freedom) - table).abs() < 0.005,
                "{freedom}: {}",
                t95(freedom)
            );
        }
    }

    #[test]
    fn the_bound_is_below_the_mean_by_t_standard_errors() {
        let ratios = [0.98, 1.00, 0.99, 0.97, 1.01];
        let (mean, bound) = (mean_ratio(&ratios), lower_bound(&ratios).expect("five"));
        assert!((mean - 0.98990).abs() < 1e-4, "{mean}");
        // ln: standard error 0.00714; t 2.132.
        assert!((bound - 0.97494).abs() < 3e-4, "{bound}");
        assert_eq!(lower_bound(&ratios[..4]), None);
        assert_eq!(lower_bound(&[1.0, 1.0, 1.0, 1.0, 0.0]), None);
        assert_eq!(lower_bound(&[0.5; 6]), Some(0.5));
    }
}
