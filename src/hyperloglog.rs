//! HyperLogLog: how many distinct items came, by their hashes, in fixed memory (Flajolet et al., 2007), with Ertl's
//! estimator (2017), which is unbiased from the first item on.

/// The sketch; `REGISTERS` is a power of two. The standard error is 104 % / √`REGISTERS`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct HyperLogLog<const REGISTERS: usize>([u8; REGISTERS]);

impl<const REGISTERS: usize> Default for HyperLogLog<REGISTERS> {
    fn default() -> Self {
        Self([0; REGISTERS])
    }
}

impl<const REGISTERS: usize> HyperLogLog<REGISTERS> {
    /// Bits from the top of a hash that choose a register.
    const CHOICE: u32 = {
        assert!(REGISTERS.is_power_of_two() && REGISTERS > 1);
        REGISTERS.trailing_zeros()
    };
    /// The largest rank: zeros at the end of the other bits, plus one.
    const RANK_MAX: usize = 64 - Self::CHOICE as usize + 1;

    /// Adds an item by its hash.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a register's number; a rank below 66"
    )]
    #[inline(always)]
    pub fn add(&mut self, hash: u64) {
        let rank = (hash | 1 << (64 - Self::CHOICE)).trailing_zeros() as u8 + 1;
        let register = &mut self.0[(hash >> (64 - Self::CHOICE)) as usize];
        if rank > *register {
            *register = rank;
        }
    }

    /// Adds the items of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (register, theirs) in self.0.iter_mut().zip(other.0) {
            *register = (*register).max(theirs);
        }
    }

    /// Estimated number of distinct items.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "finite, not negative, and far below 2^53"
    )]
    pub fn estimate(&self) -> u64 {
        let mut ranks = [0_u32; 66];
        for &register in &self.0 {
            ranks[usize::from(register)] += 1;
        }
        let m = REGISTERS as f64;
        let mut z = m * tau(1.0 - f64::from(ranks[Self::RANK_MAX]) / m);
        for &count in ranks[1..Self::RANK_MAX].iter().rev() {
            z = 0.5 * (z + f64::from(count));
        }
        z += m * sigma(f64::from(ranks[0]) / m);
        (m * m / (2.0 * std::f64::consts::LN_2 * z)).round() as u64
    }
}

/// Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", 2017, equation 13.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

/// The same, equation 16.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splitmix::mix64;
    use proptest::prelude::*;

    fn within_four_standard_errors<const REGISTERS: usize>() {
        for seed in 0..8_u64 {
            let mut items = HyperLogLog::<REGISTERS>::default();
            let mut added = 0;
            for goal in [1, 2, 10, 100, 1_000, 5_000, 100_000, 1_000_000] {
                while added < goal {
                    added += 1;
                    // Each twice: an item counts once.
                    let hash = mix64(mix64(seed) ^ added);
                    items.add(hash);
                    items.add(hash);
                }
                let (estimate, goal) = (items.estimate() as f64, goal as f64);
                let allowed = (4.0 * 1.04 / (REGISTERS as f64).sqrt() * goal).max(1.0);
                assert!(
                    (estimate - goal).abs() <= allowed,
                    "{estimate} of {goal}, seed {seed}"
                );
            }
        }
        assert_eq!(HyperLogLog::<REGISTERS>::default().estimate(), 0);
    }

    #[test]
    fn items_are_estimated_within_four_standard_errors_at_any_number() {
        within_four_standard_errors::<256>();
        within_four_standard_errors::<1024>();
    }

    #[test]
    fn every_hash_has_its_place() {
        let mut items = HyperLogLog::<256>::default();
        for hash in [0, u64::MAX, 1 << 63, 1 << 56, (1 << 56) - 1] {
            items.add(hash);
        }
        assert_eq!(items.0[0], 57, "no one before the bits of the choice");
        assert_eq!((items.0[1], items.0[0x80], items.0[0xff]), (57, 57, 1));
    }

    proptest! {
        #[test]
        fn merged_parts_are_the_whole(hashes in prop::collection::vec(any::<(u64, bool)>(), 0..600)) {
            let mut parts = [HyperLogLog::<256>::default(), HyperLogLog::default()];
            let mut whole = HyperLogLog::default();
            for &(hash, second) in &hashes {
                parts[usize::from(second)].add(hash);
                whole.add(hash);
            }
            let [mut merged, other] = parts;
            merged.merge(&other);
            prop_assert_eq!(merged, whole);
        }
    }
}
