//! A destination and its packets in the present slot.

use crate::inspect::table::Ranked;

/// The unit of [`Slot::excess`].
const UNIT: u64 = 256;
/// What a slot may have in excess without consequence, in completed connections of a usual slot (DETECTION's a).
const SLACK: u64 = 2 * UNIT;

/// A slot that is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Slot {
    /// Packets of the flood.
    pub packets: u32,
    /// Connections completed.
    pub completed: u32,
    /// CUSUM of what was in excess, in 256ths of the completed connections of a usual slot.
    pub excess: u64,
}

/// A destination.
#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Target {
    slot: i64,
    /// Time of the slot's first packet; `i64::MAX`: there was none, or it came after the slot before was judged.
    pub first_ns: i64,
    now: Slot,
    /// Exponentially weighted mean of the connections completed in a slot, in 256ths.
    usual: u64,
    excess: u64,
    /// Index of its flood, or of what may become one.
    pub flood: Option<u32>,
}

impl Ranked for Target {
    type Rank = (bool, i64, u32);

    fn rank(&self) -> Self::Rank {
        (self.flood.is_some(), self.slot, self.now.packets)
    }
}

impl Target {
    pub fn new(slot: i64, first_ns: i64) -> Self {
        Self {
            slot,
            first_ns,
            ..Self::default()
        }
    }

    pub fn is_in_slot(&self, slot: i64) -> bool {
        self.slot >= slot
    }

    /// Packets of its newest slot.
    pub fn packets(&self) -> u32 {
        self.now.packets
    }

    /// Slots have another length, `new_ns` instead of `old_ns`: the present one, which begins anew, is `slot`.
    pub fn renumber(&mut self, slot: i64, (new_ns, old_ns): (i64, i64)) {
        let usual = i128::from(self.usual) * i128::from(new_ns) / i128::from(old_ns.max(1));
        *self = Self {
            usual: u64::try_from(usual).unwrap_or(u64::MAX),
            flood: self.flood,
            ..Self::new(slot, i64::MAX)
        };
    }

    /// Whether its sources are to be counted from now on: at `watch` packets, or at each `at_least` if there was no room.
    pub fn is_due(&self, before: u32, watch: u32, at_least: u32) -> bool {
        let now = self.now.packets;
        now >= watch && (before < watch || before / at_least != now / at_least)
    }

    /// The slot of its newest packet.
    pub fn slot(&self) -> i64 {
        self.slot
    }

    /// The present slot, or a new one of a packet at `ts_ns`. A packet stamped before it counts in it.
    #[inline]
    pub fn slot_mut(&mut self, slot: i64, ts_ns: i64) -> &mut Slot {
        if slot > self.slot {
            self.close(slot, ts_ns);
        }
        &mut self.now
    }

    /// Ends the present slot; the next is `slot`, with its first packet at `first_ns`.
    #[inline(never)]
    fn close(&mut self, slot: i64, first_ns: i64) {
        let over = self.sum();
        let passed = slot.abs_diff(self.slot);
        self.excess = over.excess.saturating_sub(SLACK.saturating_mul(passed - 1));
        let completed = u64::from(over.completed) * UNIT;
        self.usual = match passed {
            // A mean of eight slots.
            1..=64 => {
                let mean = self.usual - self.usual / 8 + completed / 8;
                (1..passed).fold(mean, |mean, _| mean - mean / 8)
            }
            _ => 0,
        };
        (self.slot, self.first_ns, self.now) = (slot, first_ns, Slot::default());
    }

    /// The present slot with its excess.
    fn sum(&self) -> Slot {
        let half_open = u64::from(self.now.packets.saturating_sub(self.now.completed));
        let share = half_open * UNIT * UNIT / self.usual.max(UNIT);
        let excess = (self.excess.saturating_add(share)).saturating_sub(SLACK);
        Slot { excess, ..self.now }
    }

    /// The slot `over`, or an empty one; the next follows.
    pub fn take_slot(&mut self, over: i64) -> Slot {
        if self.slot > over {
            return Slot::default();
        }
        let slot = match self.slot == over {
            true => self.sum(),
            false => Slot::default(),
        };
        self.close(over.saturating_add(1), i64::MAX);
        slot
    }
}
