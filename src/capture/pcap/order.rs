//! The order in which frames are handed on: by time stamp within a window of packet time.
//!
//! Each frame gets a key as it is read; the order is that of the keys, and of equal keys that in which the frames were
//! read. The key of a frame is its time stamp, unless that lies behind the newest one by more than the window: then the
//! frame is late and keeps its place, so its key is the newest time stamp before it. Keys depend on nothing but the
//! frames read so far, so the order does not depend on where chunks end.

/// Frames are sorted over at most so many bytes of them: then the memory of the window is bounded at any rate.
pub const SORTED_BYTES: u64 = 1 << 20;
/// Each frame counts for at least so many bytes: frames are sorted over at most 4096 of them.
pub const FRAME_BYTES_MIN: u64 = 256;

/// [`SORTED_BYTES`] are so many blocks.
const BLOCKS: usize = 64;
const BLOCK_BYTES: u64 = SORTED_BYTES / BLOCKS as u64;

/// What came of the order so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderCounts {
    /// Frames that were put before others that were read earlier.
    pub reordered: u64,
    /// Frames inside the window that kept their place, because too many frames lay between.
    pub window_full: u64,
}

/// Gives frames their keys.
#[derive(Debug)]
pub struct Order {
    window_ns: i64,
    /// The newest key so far.
    newest_ns: i64,
    /// Bytes of all frames so far.
    bytes: u64,
    /// Bytes at which the next block begins.
    next_block: u64,
    /// The newest key before the first frame of each of the last blocks.
    marks: [i64; BLOCKS],
    counts: OrderCounts,
}

impl Order {
    /// Sorts within `window_ns`; 0: every frame keeps its place.
    pub fn new(window_ns: i64) -> Self {
        Self {
            window_ns,
            newest_ns: i64::MIN,
            bytes: 0,
            next_block: BLOCK_BYTES,
            marks: [i64::MIN; BLOCKS],
            counts: OrderCounts::default(),
        }
    }

    /// The key of the next frame, of which `bytes` are kept.
    pub fn key(&mut self, ts_ns: i64, bytes: usize) -> i64 {
        let key = match ts_ns >= self.newest_ns {
            true => ts_ns,
            false => self.earlier_key(ts_ns),
        };
        self.keep(key.max(self.newest_ns), bytes);
        key
    }

    /// Takes a frame that comes behind all others, by at most `most_ns`: its time stamp is its key. False, and nothing
    /// is done, for any other.
    #[inline(always)]
    pub fn follow(&mut self, ts_ns: i64, bytes: usize, most_ns: i64) -> bool {
        // One comparison for both ends. The first frame fails it: no stamp is so near to the lowest number there is.
        let by_ns = ts_ns.wrapping_sub(self.newest_ns).cast_unsigned();
        let follows = by_ns <= most_ns.unsigned_abs();
        if follows {
            self.keep(ts_ns, bytes);
        }
        follows
    }

    #[inline(always)]
    fn keep(&mut self, newest_ns: i64, bytes: usize) {
        self.newest_ns = newest_ns;
        self.bytes += FRAME_BYTES_MIN.max(bytes as u64);
        if self.bytes >= self.next_block {
            self.mark();
        }
    }

    #[cold]
    fn earlier_key(&mut self, ts_ns: i64) -> i64 {
        if ts_ns >= self.settled_ns() {
            self.counts.reordered += 1;
            return ts_ns;
        }
        let in_window = ts_ns >= self.newest_ns.saturating_sub(self.window_ns);
        self.counts.window_full += u64::from(in_window);
        self.newest_ns
    }

    #[cold]
    fn mark(&mut self) {
        let end = self.bytes / BLOCK_BYTES + 1;
        let new = end - self.next_block / BLOCK_BYTES;
        for block in end - new.min(BLOCKS as u64)..end {
            self.marks[place(block)] = self.newest_ns;
        }
        self.next_block = end * BLOCK_BYTES;
    }

    /// The newest key so far.
    pub fn newest_ns(&self) -> Option<i64> {
        (self.newest_ns > i64::MIN).then_some(self.newest_ns)
    }

    /// No later frame is put before a frame with this key or a lower one.
    pub fn settled_ns(&self) -> i64 {
        let oldest = self.marks[place(self.bytes / BLOCK_BYTES + 1)];
        oldest.max(self.newest_ns.saturating_sub(self.window_ns))
    }

    /// What came of the order so far.
    pub fn counts(&self) -> OrderCounts {
        self.counts
    }
}

fn place(block: u64) -> usize {
    usize::try_from(block % BLOCKS as u64).expect("below BLOCKS")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Frames in their order, by their index.
    fn sorted(window_ns: i64, frames: &[(i64, usize)]) -> Vec<usize> {
        let mut order = Order::new(window_ns);
        let keys: Vec<i64> = frames
            .iter()
            .map(|&(ts, bytes)| order.key(ts, bytes))
            .collect();
        let mut all: Vec<usize> = (0..frames.len()).collect();
        all.sort_by_key(|&at| keys[at]);
        all
    }

    fn stamps(window_ns: i64, stamps: &[i64]) -> Vec<usize> {
        sorted(
            window_ns,
            &stamps.iter().map(|&ts| (ts, 60)).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn frames_inside_the_window_are_sorted_and_later_ones_keep_their_place() {
        assert_eq!(stamps(10, &[30, 20, 30, 25]), [1, 3, 0, 2]);
        assert_eq!(stamps(10, &[30, 20, 19, 40]), [1, 0, 2, 3], "19 is late");
        assert_eq!(
            stamps(0, &[30, 20, 30, 29]),
            [0, 1, 2, 3],
            "nothing is sorted"
        );
        assert_eq!(stamps(10, &[i64::MIN, i64::MAX, i64::MIN]), [0, 1, 2]);
    }

    #[test]
    fn a_frame_passes_no_more_than_the_window_holds() {
        for (bytes, passed_max) in [(60, 4096), (1024, 1024), (1 << 15, 32)] {
            for between in [passed_max / 2, passed_max * 2] {
                let mut frames = vec![(5, bytes); between];
                frames.push((4, bytes));
                let first = sorted(10, &frames)[0];
                assert_eq!(first != 0, between < passed_max, "{bytes} bytes, {between}");
            }
        }
        let mut order = Order::new(10);
        for _ in 0..10_000 {
            order.key(5, 60);
        }
        assert_eq!(order.key(4, 60), 5);
        let counts = OrderCounts {
            reordered: 0,
            window_full: 1,
        };
        assert_eq!(order.counts(), counts);
    }

    proptest! {
        /// The short way is the long one.
        #[test]
        fn a_frame_that_follows_gets_the_key_that_it_gets_anyway(
            window in 0..40_i64,
            frames in prop::collection::vec((0..60_i64, 0..100_000_usize), 0..300),
        ) {
            let mut plain = Order::new(window);
            let mut short = Order::new(window);
            for &(ts, bytes) in &frames {
                let newest = plain.newest_ns();
                let key = plain.key(ts, bytes);
                let follows = short.follow(ts, bytes, 30);
                prop_assert_eq!(follows, newest.is_some_and(|newest| (newest..=newest + 30).contains(&ts)));
                let found = if follows { ts } else { short.key(ts, bytes) };
                prop_assert_eq!((found, short.settled_ns()), (key, plain.settled_ns()));
            }
            prop_assert_eq!(short.counts(), plain.counts());
        }

        /// What is settled stays so, and frames keep inside their window.
        #[test]
        fn nothing_is_put_before_what_is_settled(
            window in 0..40_i64,
            frames in prop::collection::vec((0..200_i64, 0..100_000_usize), 0..300),
        ) {
            let mut order = Order::new(window);
            let (mut settled, mut newest) = (i64::MIN, i64::MIN);
            for &(ts, bytes) in &frames {
                let key = order.key(ts, bytes);
                prop_assert!(key >= settled, "{key} < {settled}");
                prop_assert!(key == ts || key == newest);
                prop_assert!(key == ts || ts < newest);
                newest = newest.max(key);
                prop_assert!(order.settled_ns() >= settled);
                settled = order.settled_ns();
                prop_assert!(settled <= newest);
            }
        }
    }
}
