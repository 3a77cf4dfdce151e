//! Counters of `--block`.

use super::output::Named;
use crate::counters::{Identity, State, counters};

words! {
    /// Where the wish for a block comes from.
    pub enum Origin {
        /// A detection.
        Detection = "detection",
        /// `synledger block add`.
        Hand = "hand",
        /// `synledger block import`.
        Import = "import",
        /// The kernel had it when the run began, or somebody else put it there.
        Adopted = "adopted",
    }
}

words! {
    /// Why a detection is no wish for a block.
    pub enum Unwished {
        /// It has no one source: a flood, a scan by many.
        NoSource = "no_source",
        /// `--block-on` names neither its kind nor its verdict, or it is the summary of a scan that has ended.
        NotAsked = "not_asked",
        /// Its source is blocked, or about to be.
        Already = "already",
    }
}

words! {
    /// Why a wish was not carried out.
    #[derive(Hash)]
    pub enum BlockRefusal {
        /// Nothing proves that the source is who it says.
        Unproven = "unproven",
        /// `--allow` names the source.
        Allowed = "allowed",
        /// An address of this host or of `--local`.
        OwnAddress = "own_address",
        /// No single host: loopback, multicast, broadcast, unspecified.
        NoHost = "no_host",
        /// Valid on one link alone.
        LinkLocal = "link_local",
        /// Of a private network.
        Private = "private",
        /// The next hop of a default route.
        Gateway = "gateway",
        /// A name server of this host.
        Resolver = "resolver",
        /// A time server of this host.
        TimeServer = "time_server",
        /// The other end of an SSH connection that is open.
        SshPeer = "ssh_peer",
        /// A host on our side connected to it within the last half hour.
        ContactedFirst = "contacted_first",
        /// The network is larger than may be blocked.
        TooLarge = "too_large",
        /// More than `--block-rate`.
        Rate = "rate",
        /// `--block-max` blocks are there, and each is more severe.
        Full = "full",
        /// The firewall's own check.
        FirewallGuard = "firewall_guard",
        /// The kernel's set was full.
        KernelFull = "kernel_full",
        /// The kernel said no.
        KernelError = "kernel_error",
        /// The firewall did not answer before the run ended, or answers nothing any more.
        NoAnswer = "no_answer",
    }
}

words! {
    /// Why a block ended before its time.
    pub enum Removal {
        /// `synledger block del` or `flush`.
        ByHand = "by_hand",
        /// It made room for a newer or more severe one.
        Displaced = "displaced",
        /// The guard spares the address by now.
        Guarded = "guarded",
        /// The run ended without `--block-keep`.
        EndOfRun = "end_of_run",
    }
}

/// Upper bounds of the buckets of [`Delays`], microseconds; the last bucket has none.
pub const DELAY_BOUNDS_US: [u64; 8] = [
    1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 1_000_000,
];

/// Time from the moment when a detection was due to the kernel's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// Blocks within each bound, those of lower buckets included.
    pub within: [u64; DELAY_BOUNDS_US.len()],
    /// All blocks by detections that the kernel has carried out.
    pub count: u64,
    /// Sum, microseconds.
    pub sum_us: u64,
    /// The longest, microseconds.
    pub max_us: u64,
}

impl Delays {
    /// Counts one.
    pub fn record(&mut self, delay_us: u64) {
        for (within, bound_us) in self.within.iter_mut().zip(DELAY_BOUNDS_US) {
            *within += u64::from(delay_us <= bound_us);
        }
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(delay_us);
        self.max_us = self.max_us.max(delay_us);
    }
}

impl State for Delays {
    fn join(&mut self, other: &Self) {
        self.within.join(&other.within);
        self.count += other.count;
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self.max_us = self.max_us.max(other.max_us);
    }
}

counters! {
    /// Counters of `--block`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct BlockCounts "block_" {
        detections: "Detections that reached the blocker",
        unwished (count by reason Unwished): "Detections that are no wish for a block",
        wanted (count by origin Origin): "Wishes for a block",
        in_kernel (gauge): "Blocks that the kernel has",
        in_flight (gauge): "Blocks that the kernel has not answered yet",
        refused (count by reason BlockRefusal): "Wishes that were not carried out",
        expired: "Blocks that ended when their time was over",
        removed (count by cause Removal): "Blocks that ended before their time",
        renewed: "Times of blocks that began anew by hand or by an import",
        restored: "Blocks that the kernel had lost, ordered again",
        remove_failures: "Blocks that the kernel did not remove: they end when their time is over",
        helper_gone (gauge): "1 if the helper process has ended and cannot be started again in this run: nobody is blocked or let in any more",
        compared_ours (gauge): "Blocks by these books at the last comparison with the kernel, but for those that changed meanwhile",
        compared_kernel (gauge): "Those of them that the kernel had",
        dropped_packets: "Packets that blocks dropped, where the kernel counts them",
        dropped_bytes: "Bytes of these packets; of their frames with --block xdp",
        records_unsaid: "Refusals without a record: one of the same source and reason is young, or too many came",
        delays (state Delays): "Time from the deciding moment to the kernel's answer",
    }
}

/// The books of `--block`; its name is the mode.
pub type BlockBooks = Named<BlockCounts>;

impl BlockBooks {
    /// `raised`: detections of the shards that were not lost before the tap.
    pub(super) fn identities(&self, raised: u64, in_flight: u64) -> [Identity; 4] {
        let counts = &self.counts;
        let sum = |all: &[u64]| all.iter().sum::<u64>();
        let kept = counts.in_kernel + counts.in_flight + counts.expired;
        [
            Identity::within(
                "block: detections raised and not lost = detections of the responder",
                raised,
                counts.detections,
                in_flight,
            ),
            Identity::exact(
                "block_detections = block_unwished + block_wanted by detections",
                counts.detections,
                sum(&counts.unwished) + counts.wanted[Origin::Detection as usize],
            ),
            Identity::exact(
                "block_wanted = block_in_kernel + block_in_flight + block_refused + block_expired + block_removed",
                sum(&counts.wanted),
                kept + sum(&counts.refused) + sum(&counts.removed),
            ),
            Identity::exact(
                "block_compared_ours = block_compared_kernel",
                counts.compared_ours,
                counts.compared_kernel,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_within_its_bound_and_all_larger_ones() {
        let mut delays = Delays::default();
        for delay_us in [1_000, 1_001, 2_000_000] {
            delays.record(delay_us);
        }
        assert_eq!(delays.within, [1, 2, 2, 2, 2, 2, 2, 2]);
        assert_eq!((delays.count, delays.max_us), (3, 2_000_000));
        let mut both = delays;
        both.join(&delays);
        assert_eq!((both.within[0], both.sum_us), (2, 2 * 2_002_001));
    }
}
