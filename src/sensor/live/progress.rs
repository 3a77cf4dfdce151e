//! Since when each thread has made no progress.

use super::service::Beat;

/// Threads, each with its newest beat and when that came; nanoseconds of CLOCK_MONOTONIC.
#[derive(Debug, Default)]
pub(super) struct ThreadProgress(Vec<(Beat, i64)>);

impl ThreadProgress {
    /// Takes the beats of all threads, in the same order each time. Call once a second.
    pub(super) fn update(&mut self, now_ns: i64, beats: Vec<Beat>) {
        let mut before = std::mem::take(&mut self.0).into_iter();
        let dated = |beat: Beat| match before.next() {
            Some((known, since_ns)) if known == beat => (beat, since_ns),
            _ => (beat, now_ns),
        };
        self.0 = beats.into_iter().map(dated).collect();
    }

    /// Seconds since each thread made progress, by name.
    pub(super) fn seconds(&self, now_ns: i64) -> Vec<(String, f64)> {
        let since = |(beat, since_ns): &(Beat, i64)| {
            let seconds = now_ns.saturating_sub(*since_ns) as f64 / 1e9;
            (beat.name.clone(), seconds)
        };
        self.0.iter().map(since).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn a_thread_that_stands_still_grows_older_and_the_others_do_not() {
        let mut progress = ThreadProgress::default();
        let beats = |rounds: [u64; 2]| {
            let names = ["worker-0", "logger"].into_iter().zip(rounds);
            let beat = |(name, rounds): (&str, u64)| Beat {
                name: name.to_owned(),
                rounds,
            };
            names.map(beat).collect::<Vec<_>>()
        };
        for second in 0..5_u32 {
            progress.update(i64::from(second) * S, beats([7, second.into()]));
        }
        let of = |name: &str, seconds: f64| (name.to_owned(), seconds);
        let expected = [of("worker-0", 4.5), of("logger", 0.5)];
        assert_eq!(progress.seconds(4 * S + S / 2), expected);
        progress.update(5 * S, beats([8, 4]));
        let expected = [of("worker-0", 0.0), of("logger", 1.0)];
        assert_eq!(progress.seconds(5 * S), expected);
    }
}
