//! Run time: CLOCK_REALTIME without its steps since the start.
//!
//! The kernel stamps frames with CLOCK_REALTIME. When that clock is set (CLOCK_REALTIME - CLOCK_MONOTONIC moves by
//! more than half a second), expiry and scan windows must neither stall nor rush. So each step starts a new epoch,
//! and all stages behind the rings use run time. When a record is written, it gets the wall clock of its epoch
//! ([`RunTime::wall_shift_ns`]).

use nix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A smaller move of the clock is no step: stamps are then slightly early or late.
pub const STEP_MIN_NS: i64 = 500_000_000;
/// Longest time between the readings of the two clocks.
const READING_NS: i64 = 1_000_000;
/// Largest disorder of the stamps of one ring.
const DISORDER_NS: i64 = STEP_MIN_NS / 2;

/// A simultaneous reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// CLOCK_REALTIME, nanoseconds since the Unix epoch.
    pub real_ns: i64,
    /// CLOCK_REALTIME - CLOCK_MONOTONIC.
    pub offset_ns: i64,
}

impl Reading {
    /// Reads both clocks, again after an interruption.
    pub fn take() -> Self {
        loop {
            let before = ns(ClockId::CLOCK_MONOTONIC);
            let real_ns = ns(ClockId::CLOCK_REALTIME);
            let after = ns(ClockId::CLOCK_MONOTONIC);
            if after - before < READING_NS {
                let offset_ns = real_ns - before.midpoint(after);
                return Self { real_ns, offset_ns };
            }
        }
    }

    /// CLOCK_MONOTONIC.
    pub fn monotonic_ns(self) -> i64 {
        self.real_ns.saturating_sub(self.offset_ns)
    }
}

fn ns(clock: ClockId) -> i64 {
    let time = clock_gettime(clock).expect("both clocks exist on every Linux");
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

/// A step of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct ClockStep {
    /// Positive: forward.
    pub by_ns: i64,
    /// Sum of this step and all before it.
    pub sum_ns: i64,
    /// Run time when it was noticed.
    pub at_ns: i64,
    /// Upper bound of the stamps from before the step.
    pub stamps_until_ns: i64,
}

#[derive(Debug)]
struct Shared {
    base_offset_ns: i64,
    steps: Mutex<Vec<ClockStep>>,
    /// Number of steps, stored with Release behind the lock.
    count: AtomicUsize,
}

/// Run time, shared by all threads: they agree on every step.
#[derive(Clone, Debug)]
pub struct RunTime(Arc<Shared>);

impl RunTime {
    /// Starts with this reading; run time is then CLOCK_REALTIME.
    pub fn starting_at(reading: Reading) -> Self {
        Self(Arc::new(Shared {
            base_offset_ns: reading.offset_ns,
            steps: Mutex::default(),
            count: AtomicUsize::new(0),
        }))
    }

    /// What another process of this boot needs to have the same run time: where it began, and its steps.
    pub fn state(&self) -> (i64, Vec<ClockStep>) {
        (self.0.base_offset_ns, self.steps().clone())
    }

    /// The run time of another process of this boot.
    pub fn resume((base_offset_ns, steps): (i64, Vec<ClockStep>)) -> Self {
        Self(Arc::new(Shared {
            base_offset_ns,
            count: AtomicUsize::new(steps.len()),
            steps: Mutex::new(steps),
        }))
    }

    /// Adds the step that this reading shows, if any. The first observer decides for all threads.
    pub fn observe(&self, reading: Reading) {
        let expected = |sum_ns: i64| self.0.base_offset_ns.saturating_add(sum_ns);
        let mut steps = self.steps();
        let sum_ns = steps.last().map_or(0, |step| step.sum_ns);
        let by_ns = reading.offset_ns.saturating_sub(expected(sum_ns));
        if by_ns.abs() <= STEP_MIN_NS {
            return;
        }
        let sum_ns = sum_ns.saturating_add(by_ns);
        steps.push(ClockStep {
            by_ns,
            sum_ns,
            at_ns: reading.real_ns.saturating_sub(sum_ns),
            stamps_until_ns: reading.real_ns.saturating_sub(by_ns),
        });
        self.0.count.store(steps.len(), Ordering::Release);
    }

    /// Number of steps.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }

    /// The steps from number `from` on.
    pub fn steps_since(&self, from: usize) -> Vec<ClockStep> {
        self.steps().get(from..).unwrap_or_default().to_vec()
    }

    /// Wall clock less run time, at this run time.
    #[inline]
    pub fn wall_shift_ns(&self, run_ns: i64) -> i64 {
        match self.count() {
            0 => 0,
            _ => self.sum_before(run_ns),
        }
    }

    fn sum_before(&self, run_ns: i64) -> i64 {
        let steps = self.steps();
        let before = steps.partition_point(|step| step.at_ns <= run_ns);
        before.checked_sub(1).map_or(0, |last| steps[last].sum_ns)
    }

    fn steps(&self) -> MutexGuard<'_, Vec<ClockStep>> {
        self.0.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread's view of run time.
#[derive(Clone, Debug)]
pub struct Clock {
    shared: RunTime,
    steps: Vec<ClockStep>,
    now_ns: i64,
}

impl Clock {
    pub fn new(shared: &RunTime) -> Self {
        Self {
            shared: shared.clone(),
            steps: shared.steps_since(0),
            now_ns: i64::MIN,
        }
    }

    /// Run time of this reading.
    pub fn read(&mut self, reading: Reading) -> i64 {
        self.shared.observe(reading);
        if self.shared.count() != self.steps.len() {
            self.steps = self.shared.steps_since(0);
        }
        self.now_ns = reading.real_ns.saturating_sub(self.sum_ns());
        self.now_ns
    }

    fn sum_ns(&self) -> i64 {
        self.steps.last().map_or(0, |step| step.sum_ns)
    }
}

/// Converts the stamps of one ring, in the ring's order, to run time.
#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Stamps {
    /// Number of steps before the next frame.
    passed: usize,
    shift_ns: i64,
    last_ns: Option<i64>,
}

impl Stamps {
    /// For a ring that is opened now.
    pub fn new(clock: &Clock) -> Self {
        Self {
            passed: clock.steps.len(),
            shift_ns: clock.sum_ns(),
            last_ns: None,
        }
    }

    /// Run time of the ring's next frame. Calling it again for the same frame is harmless.
    #[inline]
    pub fn run_ns(&mut self, stamp_ns: i64, clock: &Clock) -> i64 {
        while let Some(step) = clock.steps.get(self.passed) {
            if !self.lies_after(step, stamp_ns, clock.now_ns) {
                break;
            }
            self.passed += 1;
            self.shift_ns = step.sum_ns;
            self.last_ns = None;
        }
        self.last_ns = Some(stamp_ns);
        stamp_ns.saturating_sub(self.shift_ns)
    }

    /// Run time of an earlier frame of the current epoch.
    pub fn passed_run_ns(&self, stamp_ns: i64) -> i64 {
        stamp_ns.saturating_sub(self.shift_ns)
    }

    fn lies_after(&self, step: &ClockStep, stamp_ns: i64, now_ns: i64) -> bool {
        if stamp_ns > step.stamps_until_ns {
            return true;
        }
        if step.by_ns > 0 {
            // Set forward: every later stamp is above all earlier ones.
            return false;
        }
        // Set back: the stamps of the two epochs overlap. The stamps of one ring never go back so far by themselves.
        // After an idle ring the epoch nearer to now is right, unless the worker is far behind.
        let back = self
            .last_ns
            .is_some_and(|last| stamp_ns < last.saturating_sub(DISORDER_NS));
        let away = |shift_ns: i64| stamp_ns.saturating_sub(shift_ns).abs_diff(now_ns);
        back || away(step.sum_ns) < away(self.shift_ns)
    }
}

/// CLOCK_REALTIME in nanoseconds since the Unix epoch.
pub fn wall_clock_ns() -> i64 {
    Reading::take().real_ns
}

/// CLOCK_BOOTTIME now: it counts on while the host is suspended.
pub fn boot_ns() -> i64 {
    ns(ClockId::CLOCK_BOOTTIME)
}

/// CLOCK_MONOTONIC now.
pub fn monotonic_ns() -> i64 {
    Reading::take().monotonic_ns()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;
    /// The time at the start, and CLOCK_MONOTONIC then.
    const START: i64 = 1_700_000_000 * S;
    const MONOTONIC: i64 = 5_000 * S;

    fn at(seconds: i64, set_by: i64) -> Reading {
        let real_ns = START + (seconds + set_by) * S;
        Reading {
            real_ns,
            offset_ns: real_ns - (MONOTONIC + seconds * S),
        }
    }

    fn started() -> (RunTime, Clock) {
        let shared = RunTime::starting_at(at(0, 0));
        let clock = Clock::new(&shared);
        (shared, clock)
    }

    #[test]
    fn readings_of_this_machine_agree() {
        let (a, b) = (Reading::take(), Reading::take());
        assert!(
            a.offset_ns.abs_diff(b.offset_ns) < 10_000_000,
            "{a:?} {b:?}"
        );
        assert!(a.real_ns > START);
    }

    #[test]
    fn run_time_goes_on_evenly_whatever_the_clock_is_set_to() {
        let (shared, mut clock) = started();
        let mut sets = [0, 0, 3600, 3600, -90, -90, 0];
        for (second, set) in (1..).zip(&mut sets) {
            assert_eq!(clock.read(at(second, *set)), START + second * S);
        }
        let by: Vec<i64> = shared.steps_since(0).iter().map(|s| s.by_ns / S).collect();
        assert_eq!(by, [3600, -3690, 90]);
    }

    #[test]
    fn slewing_and_small_corrections_are_no_step_until_they_add_up() {
        let (shared, mut clock) = started();
        let mut reading = at(1, 0);
        reading.offset_ns += STEP_MIN_NS;
        reading.real_ns += STEP_MIN_NS;
        clock.read(reading);
        assert_eq!(shared.count(), 0);
        reading.offset_ns += 1;
        clock.read(reading);
        assert_eq!(shared.count(), 1);
    }

    #[test]
    fn two_threads_notice_a_step_once() {
        let (shared, mut first) = started();
        let mut second = Clock::new(&shared);
        first.read(at(1, 10));
        assert_eq!(second.read(at(1, 10)), START + S);
        assert_eq!(shared.count(), 1);
    }

    #[test]
    fn frames_stamped_before_a_step_forward_keep_their_time() {
        let (_, mut clock) = started();
        let mut stamps = Stamps::new(&clock);
        clock.read(at(100, 50));
        // Still in the ring when the step was noticed, then the first ones after it.
        let run = |stamps: &mut Stamps, second: i64| {
            (stamps.run_ns(START + second * S, &clock) - START) / S
        };
        assert_eq!(run(&mut stamps, 97), 97);
        assert_eq!(run(&mut stamps, 99), 99);
        assert_eq!(run(&mut stamps, 150), 100);
        assert_eq!(run(&mut stamps, 151), 101);
    }

    #[test]
    fn frames_stamped_around_a_step_back_are_told_apart_by_their_order() {
        let (_, mut clock) = started();
        let mut stamps = Stamps::new(&clock);
        clock.read(at(100, -50));
        let run = |stamps: &mut Stamps, second: i64| {
            (stamps.run_ns(START + second * S, &clock) - START) / S
        };
        assert_eq!(run(&mut stamps, 98), 98, "as stamped before");
        assert_eq!(run(&mut stamps, 99), 99);
        assert_eq!(
            run(&mut stamps, 50),
            100,
            "set back: a ring's stamps never go back so far"
        );
        assert_eq!(run(&mut stamps, 99), 149, "and stays in its epoch");
    }

    #[test]
    fn a_ring_that_was_idle_before_a_step_back_is_put_near_now() {
        let (_, mut clock) = started();
        let mut stamps = Stamps::new(&clock);
        stamps.run_ns(START + 10 * S, &clock);
        clock.read(at(100, -50));
        assert_eq!(stamps.run_ns(START + 50 * S, &clock), START + 100 * S);
    }

    #[test]
    fn a_ring_that_missed_two_steps_passes_both() {
        let (_, mut clock) = started();
        let mut stamps = Stamps::new(&clock);
        stamps.run_ns(START + 10 * S, &clock);
        clock.read(at(100, 500));
        clock.read(at(200, 40));
        assert_eq!(stamps.run_ns(START + 241 * S, &clock), START + 201 * S);
    }

    #[test]
    fn the_wall_clock_of_each_epoch_comes_back() {
        let (shared, mut clock) = started();
        clock.read(at(100, 50));
        clock.read(at(200, 0));
        let wall = |second: i64| {
            let run_ns = START + second * S;
            (run_ns + shared.wall_shift_ns(run_ns) - START) / S
        };
        assert_eq!([99, 100, 199, 200].map(wall), [99, 150, 249, 200]);
    }
}
