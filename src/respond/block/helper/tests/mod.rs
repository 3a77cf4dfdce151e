//! The gate against random and changed datagrams.

mod fuzz;

/// A generator of numbers that gives the same ones each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        crate::splitmix::splitmix64(&mut self.0)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % end
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}
