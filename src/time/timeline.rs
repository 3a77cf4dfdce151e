//! Log position of a deadline: that of the frame that made it due.

/// Maps deadlines to positions and positions to packet time.
#[derive(Clone, Copy, Debug)]
pub enum Timeline<'a> {
    /// `read`: positions are frame numbers, and every shard knows the watermark at each.
    Read {
        /// Number of the first frame of the current chunk.
        first: u64,
        /// Running maximum of the time stamps at each frame of the chunk.
        watermarks: &'a [i64],
    },
    /// Live: positions are time stamps.
    Live,
}

impl Timeline<'_> {
    /// The position at which `deadline_ns` became due.
    pub fn position_of(&self, deadline_ns: i64) -> u64 {
        match self {
            Self::Read { first, watermarks } => {
                let before = watermarks.partition_point(|&watermark| watermark < deadline_ns);
                first + before as u64
            }
            Self::Live => position_of_ts(deadline_ns),
        }
    }

    /// Packet time at `position`.
    pub fn watermark_at(&self, position: u64) -> i64 {
        match self {
            Self::Read { first, watermarks } => {
                let last = watermarks.len().saturating_sub(1);
                let index = usize::try_from(position.saturating_sub(*first)).unwrap_or(last);
                watermarks.get(index.min(last)).copied().unwrap_or(i64::MIN)
            }
            Self::Live => ts_of_position(position),
        }
    }
}

/// A time stamp as a position: monotone over all of `i64`.
pub fn position_of_ts(ts_ns: i64) -> u64 {
    ts_ns.cast_unsigned() ^ (1 << 63)
}

/// The inverse of [`position_of_ts`].
pub fn ts_of_position(position: u64) -> i64 {
    (position ^ (1 << 63)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_keep_the_order_of_time_stamps_and_come_back() {
        let stamps = [i64::MIN, -1, 0, 1, 1_700_000_000_000_000_000, i64::MAX];
        assert!(stamps.is_sorted_by_key(|&ts| position_of_ts(ts)));
        assert!(
            stamps
                .iter()
                .all(|&ts| ts_of_position(position_of_ts(ts)) == ts)
        );
    }

    #[test]
    fn a_deadline_falls_on_the_first_frame_that_reaches_it() {
        let timeline = Timeline::Read {
            first: 10,
            watermarks: &[5, 7, 7, 9],
        };
        let found = [4, 5, 6, 7, 8, 9, 10].map(|deadline| timeline.position_of(deadline));
        assert_eq!(found, [10, 10, 11, 11, 13, 13, 14]);
        assert_eq!(
            [10, 11, 13, 99].map(|at| timeline.watermark_at(at)),
            [5, 7, 9, 9]
        );
    }
}
