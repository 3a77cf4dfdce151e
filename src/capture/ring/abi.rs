//! The layout of a TPACKET_V3 ring.
//!
//! Ring memory is never cast to these structures, except for the status word of `BlockDesc`: fields are read as
//! integers at `offset_of!`. Source: `include/uapi/linux/if_packet.h`, `net/packet/af_packet.c`.

use std::mem::{offset_of, size_of};
use std::sync::atomic::AtomicU32;

/// `block_status`: the kernel may write the block.
pub const TP_STATUS_KERNEL: u32 = 0;
/// `block_status`: the block is ours until we store [`TP_STATUS_KERNEL`].
pub const TP_STATUS_USER: u32 = 1;
/// `block_status`: frames were dropped before this block and after the last reading of the statistics.
pub const TP_STATUS_LOSING: u32 = 4;
/// `block_status`: the block was handed over by the timer, not because it was full.
pub const TP_STATUS_BLK_TMO: u32 = 0x20;
/// `tp_status`: the checksum of the transport header is still to be computed.
pub const TP_STATUS_CSUMNOTREADY: u32 = 8;
/// `tp_status`: the kernel or the NIC found that checksum right.
pub const TP_STATUS_CSUM_VALID: u32 = 0x80;
/// `tp_status`: `tp_vlan_tci` holds a tag; its value may be 0.
pub const TP_STATUS_VLAN_VALID: u32 = 0x10;
/// `tp_status`: `tp_vlan_tpid` is filled in.
pub const TP_STATUS_VLAN_TPID_VALID: u32 = 0x40;
/// `tp_status`: the frame is several TCP segments in one. Not in libc 0.2.
pub const TP_STATUS_GSO_TCP: u32 = 0x100;

/// The tag protocol if an older kernel does not set `tp_vlan_tpid`.
pub const ETH_P_8021Q: u16 = 0x8100;

/// Headers and frames start at multiples of this.
#[cfg(test)]
pub const TPACKET_ALIGNMENT: usize = 16;
/// Padding of records and of the private area.
pub const V3_ALIGNMENT: usize = 8;

/// `tpacket_block_desc` with its only variant, `tpacket_hdr_v1`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct BlockDesc {
    pub version: u32,
    pub offset_to_priv: u32,
    /// The owner of the block. The only word that both sides write.
    pub block_status: AtomicU32,
    /// Frames in the block; 0 is possible.
    pub num_pkts: u32,
    /// Start of the first frame's header.
    pub offset_to_first_pkt: u32,
    /// Bytes used, this structure included.
    pub blk_len: u32,
    /// Counts opened blocks from 1.
    pub seq_num: u64,
    /// When the block was opened, which may be long before its first frame: seconds, nanoseconds.
    pub ts_first_pkt: [u32; 2],
    /// The last frame's stamp: seconds, nanoseconds.
    pub ts_last_pkt: [u32; 2],
}

/// `tpacket3_hdr`, in front of each frame.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct FrameHdr {
    /// Bytes to the next header; 0 in the last frame of a block.
    pub tp_next_offset: u32,
    pub tp_sec: u32,
    pub tp_nsec: u32,
    /// Bytes stored.
    pub tp_snaplen: u32,
    /// Bytes on the wire, less a removed tag.
    pub tp_len: u32,
    pub tp_status: u32,
    /// Start of the stored bytes, from this structure.
    pub tp_mac: u16,
    /// Start of the network header, from this structure.
    pub tp_net: u16,
    pub tp_rxhash: u32,
    /// The removed tag.
    pub tp_vlan_tci: u32,
    /// Its protocol.
    pub tp_vlan_tpid: u16,
    pub tp_padding: [u8; 10],
}

/// Bytes of a block before its first record, without a private area.
pub const BLOCK_HEADER_LEN: usize = size_of::<BlockDesc>();
/// `sll_pkttype` of a frame that this host has sent.
pub const PACKET_OUTGOING: u8 = libc::PACKET_OUTGOING;
/// Bytes of a record's headers, `FrameHdr` and `sockaddr_ll`: `TPACKET3_HDRLEN`.
pub const RECORD_HEADER_LEN: usize = size_of::<FrameHdr>() + size_of::<libc::sockaddr_ll>();

const _: () = assert!(size_of::<BlockDesc>() == 48);
const _: () = assert!(size_of::<BlockDesc>() == size_of::<libc::tpacket_block_desc>());
const _: () = assert!(align_of::<BlockDesc>() == V3_ALIGNMENT);
const _: () = assert!(offset_of!(BlockDesc, block_status) == 8);
const _: () = assert!(offset_of!(BlockDesc, seq_num) == 24);
const _: () = assert!(offset_of!(BlockDesc, ts_last_pkt) == 40);
const _: () = assert!(size_of::<FrameHdr>() == 48);
const _: () = assert!(size_of::<FrameHdr>() == size_of::<libc::tpacket3_hdr>());
const _: () = assert!(offset_of!(FrameHdr, tp_mac) == offset_of!(libc::tpacket3_hdr, tp_mac));
const _: () = assert!(offset_of!(FrameHdr, tp_vlan_tci) == 32);
const _: () = assert!(offset_of!(FrameHdr, tp_vlan_tpid) == 36);
const _: () = assert!(RECORD_HEADER_LEN == 68);

/// Rounds `n` up to a multiple of `to`, a power of two.
#[cfg(test)]
pub const fn align(n: usize, to: usize) -> usize {
    (n + to - 1) & !(to - 1)
}
