//! Division of `--ring-mib`: an interface's share, its rings by class, and their blocks.

use super::flags::RingArgs;
use crate::capture::mode::{CaptureDepth, FanoutMode};
use crate::error::ConfigError;
use crate::settings::flags::RING_MIB_MAX;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Minimum number of blocks of a ring. The kernel cannot use a block that is being read or timed out: of few
/// blocks that would be a large part.
pub const BLOCKS_MIN: u64 = 8;
/// Blocks are halved until a ring has this many.
const BLOCKS_AIM: u64 = 16;
/// One ring of an interface.
#[derive(Clone, Copy, Debug)]
struct Part {
    name: &'static str,
    /// Eighths of the interface's share.
    eighths: u64,
    /// Preferred size of a block.
    block_bytes: u32,
    /// Smallest block: a multiple of the page (`packet_set_ring` in af_packet.c), which has 4 or 16 KiB.
    block_bytes_min: u32,
}

/// `--ring-mib` and the flags that divide it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingBudget {
    pub ring_mib: u32,
    per_interface: bool,
    fanout: FanoutMode,
    full: bool,
    block_kib: Option<u32>,
}

/// The rings of one worker on one interface: data, control, open. Outside `--fanout class` only the first, for all
/// packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSizes {
    /// In whole blocks; 0: no such ring.
    pub bytes: [u64; 3],
    pub block_bytes: [u32; 3],
}

impl RingBudget {
    pub fn new(rings: &RingArgs, capture: CaptureDepth, block_kib: Option<u32>) -> Self {
        Self {
            ring_mib: rings.ring_mib,
            per_interface: rings.ring_per_interface,
            fanout: rings.fanout,
            full: capture == CaptureDepth::Full,
            block_kib,
        }
    }

    fn parts(&self) -> Vec<Part> {
        let kib = |kib: u32| kib << 10;
        let data = |name, eighths| Part {
            name,
            eighths,
            block_bytes: kib(self.block_kib.unwrap_or(if self.full { 1024 } else { 256 })),
            block_bytes_min: kib(64),
        };
        // With --capture full a frame is cut to its block: frames of BIG TCP exceed 64 KiB.
        let small = |name, eighths| Part {
            name,
            eighths,
            block_bytes: match (self.full, self.block_kib) {
                (true, Some(asked)) => kib(asked),
                (true, None) => kib(128),
                (false, _) => kib(64),
            },
            block_bytes_min: kib(16),
        };
        match self.fanout {
            FanoutMode::Class => vec![data("data", 5), small("control", 1), small("open", 2)],
            _ => vec![data("all packets", 8)],
        }
    }

    /// The rings of one worker on each of `interfaces` interfaces.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the ring that is too small, and what fits.
    pub fn share(&self, interfaces: usize) -> Result<RingSizes, ConfigError> {
        let shared_by = if self.per_interface {
            1
        } else {
            interfaces.max(1) as u64
        };
        let share = u64::from(self.ring_mib) * MIB / shared_by;
        let least = self.share_bytes_min();
        if share < least {
            return Err(self.too_small(share, least, shared_by));
        }
        let mut sizes = RingSizes {
            bytes: [0; 3],
            block_bytes: [0; 3],
        };
        for (at, part) in self.parts().into_iter().enumerate() {
            let bytes = share * part.eighths / 8;
            let block = match self.block_kib {
                Some(_) if at == 0 => part.block_bytes,
                _ => part.block_for(bytes),
            };
            if bytes / u64::from(block) < BLOCKS_MIN {
                return Err(self.too_few_blocks(part, bytes, shared_by));
            }
            sizes.bytes[at] = bytes - bytes % u64::from(block);
            sizes.block_bytes[at] = block;
        }
        Ok(sizes)
    }

    /// The smallest share of an interface that gives each ring [`BLOCKS_MIN`] blocks.
    fn share_bytes_min(&self) -> u64 {
        let parts = self.parts().into_iter();
        let needs = parts.map(|part| part.share_bytes_for(u64::from(part.block_bytes_min)));
        needs.max().unwrap_or(0)
    }

    fn too_small(&self, share: u64, least: u64, shared_by: u64) -> ConfigError {
        let way_out = match ring_mib_for(least * shared_by) {
            Some(mib) => format!("--ring-mib {mib}, or watch fewer interfaces"),
            None => "watch fewer interfaces".to_owned(),
        };
        ConfigError(format!(
            "--ring-mib {}: shared by {shared_by} interfaces it leaves {} each, at least {} is needed: {way_out}",
            self.ring_mib,
            size(share),
            size(least),
        ))
    }

    /// The error about a `--block-kib` that leaves too few blocks.
    fn too_few_blocks(&self, part: Part, bytes: u64, shared_by: u64) -> ConfigError {
        let fits = 1 << (bytes / BLOCKS_MIN / KIB).max(1).ilog2();
        let ring = match self.fanout {
            FanoutMode::Class => "the data ring",
            _ => "the ring",
        };
        let asked = u64::from(part.block_bytes) / KIB;
        let instead =
            match ring_mib_for(part.share_bytes_for(u64::from(part.block_bytes)) * shared_by) {
                Some(mib) => format!("at most --block-kib {fits}, or --ring-mib {mib}"),
                None => format!("at most --block-kib {fits}"),
            };
        ConfigError(format!(
            "--block-kib {asked}: {ring} of {} must hold at least {BLOCKS_MIN} blocks: {instead}",
            size(bytes)
        ))
    }

    /// Name, bytes and bytes of a block of each ring.
    pub fn named(&self, sizes: &RingSizes) -> Vec<(&'static str, u64, u32)> {
        let each = sizes.bytes.into_iter().zip(sizes.block_bytes);
        let parts = self.parts().into_iter().zip(each);
        parts
            .map(|(part, (bytes, block))| (part.name, bytes, block))
            .collect()
    }
}

impl Part {
    /// The largest block up to the preferred size that gives a ring of `bytes` [`BLOCKS_AIM`] blocks, or the smallest.
    fn block_for(&self, bytes: u64) -> u32 {
        let mut block = self.block_bytes;
        while bytes / u64::from(block) < BLOCKS_AIM && block > self.block_bytes_min {
            block /= 2;
        }
        block
    }

    /// The share of an interface that gives this ring [`BLOCKS_MIN`] blocks of `block_bytes`, in whole KiB.
    fn share_bytes_for(&self, block_bytes: u64) -> u64 {
        let ring = BLOCKS_MIN * block_bytes;
        (ring * 8).div_ceil(self.eighths).next_multiple_of(KIB)
    }
}

impl RingSizes {
    pub fn sum(&self) -> u64 {
        self.bytes.iter().sum()
    }
}

/// The smallest `--ring-mib` of at least `bytes`; `None` beyond its range.
fn ring_mib_for(bytes: u64) -> Option<u64> {
    Some(bytes.div_ceil(MIB)).filter(|&mib| mib <= u64::from(RING_MIB_MAX))
}

/// In MiB if whole, else in KiB.
fn size(bytes: u64) -> String {
    match bytes % MIB {
        0 => format!("{} MiB", bytes / MIB),
        _ => format!("{} KiB", bytes / KIB),
    }
}

#[cfg(test)]
mod tests;
