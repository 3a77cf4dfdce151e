//! When a host uploads: each host at its own moment of a period, and after failures at moments of its own.
//!
//! Sensors of a fleet close segments at like times, and a store that comes back is awaited by all of them. What is added
//! here is derived from the host, not drawn: the same host is always at the same place, so that it can be told.

use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// The first wait after a failure, before it is spread.
const WAIT_MIN: Duration = Duration::from_millis(500);
/// The longest wait, before it is spread.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// What tells a host from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host(u64);

impl Host {
    /// From the machine's number (machine-id(5)) and the sensor's name.
    pub fn of(machine: &str, sensor: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(machine.trim());
        hash.update([0]);
        hash.update(sensor);
        let digest = hash.finalize();
        Self(u64::from_le_bytes(std::array::from_fn(|at| digest[at])))
    }

    /// The machine's number as the system has it; empty where it has none.
    pub fn machine() -> String {
        let of = |path| std::fs::read_to_string(path).ok();
        let id = of("/etc/machine-id").or_else(|| of("/proc/sys/kernel/random/boot_id"));
        id.unwrap_or_default()
    }

    /// A number below 1 that differs from host to host and from step to step.
    fn share(self, step: u64) -> f64 {
        let mut z = self
            .0
            .wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// How long until this host's moment in the current or the next period, seen from `now`, the time since the epoch.
    pub fn until_moment(self, now: Duration, period: Duration) -> Duration {
        if period.is_zero() {
            return Duration::ZERO;
        }
        let period_s = period.as_secs_f64();
        let moment_s = self.share(0) * period_s;
        let left_s = (moment_s - now.as_secs_f64()).rem_euclid(period_s);
        Duration::from_secs_f64(left_s)
    }

    /// How long to wait after this many failures in a row: twice as long each time, spread over half to one and a half.
    pub fn wait(self, failures: u32) -> Duration {
        let doubled = WAIT_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let spread = 0.5 + self.share(u64::from(failures.max(1)));
        doubled.min(WAIT_MAX).mul_f64(spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uploads of 500 sensors with two requests each: most requests in one second, with the phases of hosts or without.
    fn peak(spread: bool, period: Duration) -> usize {
        let start = Duration::from_secs(1_764_547_200);
        let mut seconds = vec![0_usize; 3 * 60];
        for sensor in 0..500 {
            let host = Host::of(
                "00000000000000000000000000000000",
                &format!("sensor-{sensor}"),
            );
            for round in 0..2 {
                let closed = start + period * round;
                let waits = match spread {
                    true => host.until_moment(closed, period),
                    false => Duration::ZERO,
                };
                let at = (closed + waits - start).as_secs();
                seconds[usize::try_from(at).expect("soon")] += 2;
            }
        }
        assert_eq!(seconds.iter().sum::<usize>(), 2_000, "no request is lost");
        seconds.into_iter().max().unwrap_or(0)
    }

    #[test]
    fn five_hundred_sensors_do_not_upload_at_once() {
        let period = Duration::from_secs(60);
        let (together, spread) = (peak(false, period), peak(true, period));
        let ratio = together as f64 / spread as f64;
        eprintln!(
            "500 sensors, 60 s: peak {together} requests/s at once, {spread} spread: 1/{ratio:.1}"
        );
        assert!(ratio > 20.0, "{together} {spread}");
    }

    #[test]
    fn five_hundred_sensors_do_not_come_back_at_once() {
        // The store is away at 0 s; each sensor tries until it is back at 60 s. Arrivals by second from then on.
        let arrivals = |wait: &dyn Fn(Host, u32) -> Duration| {
            let mut seconds = [0_usize; 700];
            for sensor in 0..500 {
                let host = Host::of("", &format!("sensor-{sensor}"));
                let (mut at, mut failures) = (Duration::ZERO, 0);
                while at < Duration::from_secs(60) {
                    failures += 1;
                    at += wait(host, failures);
                }
                seconds[usize::try_from(at.as_secs()).expect("soon")] += 1;
            }
            seconds.into_iter().max().unwrap_or(0)
        };
        let together = arrivals(&|_, failures| WAIT_MIN * (1 << (failures - 1)));
        let spread = arrivals(&|host, failures| host.wait(failures));
        eprintln!(
            "500 sensors after an outage of 60 s: peak {together} requests/s at once, {spread} spread"
        );
        assert!(together == 500 && spread < 50, "{together} {spread}");
    }

    #[test]
    fn waits_grow_to_a_limit_and_are_those_of_the_host() {
        let host = Host::of("machine", "sensor");
        assert_eq!(host, Host::of("machine\n", "sensor"));
        assert_ne!(host, Host::of("machine", "sensor2"));
        for failures in 0..40 {
            let wait = host.wait(failures);
            let middle = WAIT_MIN * (1 << failures.saturating_sub(1).min(16));
            let middle = middle.min(WAIT_MAX);
            assert!(wait >= middle / 2 && wait <= middle * 3 / 2, "{failures}");
            assert_eq!(wait, host.wait(failures));
        }
        let period = Duration::from_secs(60);
        for now in [0, 1, 59, 60, 61, 1_000_003].map(Duration::from_secs) {
            let left = host.until_moment(now, period);
            assert!(left < period);
            let there = host.until_moment(now + left, period).as_secs_f64();
            assert!(!(0.001..=59.999).contains(&there), "{there}");
        }
        assert_eq!(host.until_moment(period, Duration::ZERO), Duration::ZERO);
    }
}
