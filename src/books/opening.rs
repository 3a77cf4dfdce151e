//! Counters of what happens to frames before they are decoded.

use crate::capture::tunnels::Tunnel;
use crate::counters::counters;
use crate::decode::checksums::Checksum;
use crate::decode::tunnel::Unopened;

counters! {
    /// What `--decap` met.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
    pub struct TunnelCounts "" {
        decapsulated_frames: "Frames of which --decap opened a tunnel: what is inside counts",
        tunnels_opened (count by tunnel Tunnel): "Tunnels that --decap opened; a frame may have several",
        tunnels_unopened (count by cause Unopened): "Tunnels that --decap names and that could not be opened: the packet around them counts",
    }
}

counters! {
    /// What `--checksums verify` found.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
    pub struct ChecksumCounts "" {
        checksums (count by outcome Checksum): "Segments and datagrams by what --checksums verify found; frames with bad ones are among unread_frames",
    }
}
