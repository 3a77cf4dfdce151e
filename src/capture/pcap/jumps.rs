//! Time stamps that jump: outliers, and clocks that start again.
//!
//! A stamp that lies more than [`JUMP_NS`] off the packet time reached so far is judged by the frames behind it, at most
//! [`WITNESSES`]. A jump forward is an outlier unless one of them lies beyond the jump, too: so one wrong stamp never
//! moves packet time, and a link that was silent for an hour needs one more frame. A jump back is a clock that starts
//! again if all of them stay behind; otherwise the frame is late. The first stamp of all is an outlier, too, if all of
//! them lie more than [`FIRST_GAP_NS`] behind it: a clock that was not set yet. Nothing confirms a stamp beyond
//! [`LATEST_NS`]. At the end of a capture those that are there decide;
//! without any, a jump forward stands (nothing follows that it could harm) and a frame far behind is late.

use super::ng::TIME_MAX_NS;

/// Stamps that differ by no more are no jump: ten minutes.
pub const JUMP_NS: i64 = 600_000_000_000;
/// A capture whose first frame comes so long before the next ones has a wrong stamp rather than a silent link, or parts of
/// several captures: five years.
pub const FIRST_GAP_NS: i64 = 5 * 365 * 86_400_000_000_000;
/// Later stamps are wrong, those that a reader had to clamp among them: so packet time never ends.
pub const LATEST_NS: i64 = TIME_MAX_NS - 1;
/// Frames that judge a jump.
pub const WITNESSES: usize = 4;

/// What a stamp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be, or late.
    Sound,
    /// Wrong: the frame belongs to this time.
    Outlier(i64),
    /// The first of another epoch.
    Restart,
    /// More frames are needed.
    Open,
}

/// Whether a stamp is a jump from the time reached so far.
#[inline]
pub fn is_jump(reached_ns: i64, ts_ns: i64) -> bool {
    ts_ns.abs_diff(reached_ns) > JUMP_NS.unsigned_abs()
}

/// Judges a stamp by those behind it. `reached_ns`: the newest stamp before it, `None` for the first. `is_end`: no more
/// follow.
pub fn judge(
    reached_ns: Option<i64>,
    ts_ns: i64,
    followers: impl ExactSizeIterator<Item = i64> + Clone,
    is_end: bool,
) -> Verdict {
    let count = followers.len();
    let is_full = count >= WITNESSES;
    let is_decided = is_end || is_full;
    let beyond = |limit_ns: i64| followers.clone().any(|follower| follower >= limit_ns);
    let is_back = match reached_ns {
        Some(reached_ns) if !is_jump(reached_ns, ts_ns) => return Verdict::Sound,
        Some(reached_ns) => ts_ns < reached_ns,
        None => false,
    };
    if ts_ns > LATEST_NS {
        let sound_ns = followers.clone().find(|&follower| follower <= LATEST_NS);
        return match reached_ns.or(sound_ns) {
            None if !is_decided => Verdict::Open,
            belongs_ns => Verdict::Outlier(belongs_ns.unwrap_or(LATEST_NS)),
        };
    }
    if is_back {
        let reached_ns = reached_ns.unwrap_or(ts_ns);
        return match beyond(reached_ns.saturating_sub(JUMP_NS)) {
            true => Verdict::Sound,
            false if is_decided && count > 0 => Verdict::Restart,
            false if is_decided => Verdict::Sound,
            false => Verdict::Open,
        };
    }
    let is_far_before = |follower| follower > ts_ns.saturating_add(FIRST_GAP_NS);
    if reached_ns.is_none() && count > 0 && followers.clone().all(is_far_before) {
        let next_ns = followers.clone().find(|&follower| follower <= LATEST_NS);
        return match (is_full, next_ns) {
            (true, Some(next_ns)) => Verdict::Outlier(next_ns),
            _ if is_decided => Verdict::Sound,
            _ => Verdict::Open,
        };
    }
    match beyond(ts_ns.saturating_sub(JUMP_NS)) {
        true => Verdict::Sound,
        false if is_decided => match reached_ns.or_else(|| followers.clone().next()) {
            Some(belongs_ns) if count > 0 => Verdict::Outlier(belongs_ns),
            _ => Verdict::Sound,
        },
        false => Verdict::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn judged(reached_s: Option<i64>, s: i64, followers_s: &[i64], is_end: bool) -> Verdict {
        let followers = followers_s.iter().map(|s| s * S);
        judge(reached_s.map(|s| s * S), s * S, followers, is_end)
    }

    #[test]
    fn ten_minutes_are_no_jump() {
        assert_eq!(judged(Some(1000), 1600, &[], false), Verdict::Sound);
        assert_eq!(judged(Some(1000), 400, &[], false), Verdict::Sound);
        assert_eq!(judged(Some(1000), 1601, &[], false), Verdict::Open);
        assert_eq!(judged(Some(1000), 399, &[], false), Verdict::Open);
        assert!(is_jump(i64::MIN, i64::MAX));
    }

    #[test]
    fn a_jump_forward_stands_if_one_of_four_confirms_it_or_nothing_follows() {
        for followers in [&[9000][..], &[8400], &[20, 9000], &[20, 21, 22, 8500]] {
            assert_eq!(judged(Some(0), 9000, followers, false), Verdict::Sound);
        }
        assert_eq!(judged(Some(0), 9000, &[], true), Verdict::Sound);
        assert_eq!(judged(Some(0), 9000, &[20, 21, 8399], false), Verdict::Open);
        let outlier = Verdict::Outlier(0);
        assert_eq!(judged(Some(0), 9000, &[20, 21, 22, 23], false), outlier);
        assert_eq!(judged(Some(0), 9000, &[20], true), outlier);
    }

    #[test]
    fn the_first_stamp_is_judged_like_a_jump_forward() {
        assert_eq!(judged(None, 9000, &[], true), Verdict::Sound);
        assert_eq!(judged(None, 9000, &[8400], false), Verdict::Sound);
        assert_eq!(judged(None, 9000, &[20], false), Verdict::Open);
        let outlier = Verdict::Outlier(20 * S);
        assert_eq!(judged(None, 9000, &[20, 21, 22, 23], false), outlier);
    }

    #[test]
    fn a_first_stamp_of_a_clock_that_was_not_set_is_an_outlier() {
        const GAP: i64 = FIRST_GAP_NS / S;
        let later = [2, 3, 4, 5].map(|gap| gap * GAP);
        assert_eq!(
            judged(None, 0, &later, false),
            Verdict::Outlier(2 * GAP * S)
        );
        assert_eq!(judged(None, 0, &later[..3], false), Verdict::Open);
        assert_eq!(judged(None, 0, &later[..3], true), Verdict::Sound);
        assert_eq!(
            judged(None, 0, &[GAP], false),
            Verdict::Sound,
            "a quiet link"
        );
        assert_eq!(judged(Some(0), 1, &later, false), Verdict::Sound);
    }

    #[test]
    fn nothing_confirms_a_stamp_at_the_end_of_time() {
        let last = i64::MAX;
        let judged = |reached, followers: &[i64], is_end| {
            judge(reached, last, followers.iter().copied(), is_end)
        };
        assert_eq!(judged(Some(7), &[last; 4], false), Verdict::Outlier(7));
        assert_eq!(judged(Some(7), &[], false), Verdict::Outlier(7));
        assert_eq!(judged(None, &[last, 9], false), Verdict::Outlier(9));
        assert_eq!(judged(None, &[last; 3], false), Verdict::Open);
        assert_eq!(judged(None, &[last; 3], true), Verdict::Outlier(LATEST_NS));
    }

    #[test]
    fn a_jump_back_is_another_epoch_if_all_four_stay_behind() {
        let restart = Verdict::Restart;
        assert_eq!(judged(Some(9000), 20, &[21, 22, 23, 8399], false), restart);
        assert_eq!(judged(Some(9000), 20, &[21], true), restart);
        assert_eq!(judged(Some(9000), 20, &[21, 22, 23], false), Verdict::Open);
        assert_eq!(
            judged(Some(9000), 20, &[21, 22, 8400], false),
            Verdict::Sound
        );
        assert_eq!(judged(Some(9000), 20, &[], true), Verdict::Sound, "late");
    }
}
