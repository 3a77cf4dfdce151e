//! What the kernel writes into a TPACKET_V3 ring, to the byte.
//!
//! The structures are never cast onto ring memory, except for the status word of [`BlockDesc`]: fields
//! are read as integers at `offset_of!`. Source: `include/uapi/linux/if_packet.h`, `net/packet/af_packet.c`.

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
/// `tp_status`: `tp_vlan_tci` holds a tag; its value may be 0.
pub const TP_STATUS_VLAN_VALID: u32 = 0x10;
/// `tp_status`: `tp_vlan_tpid` is filled in.
pub const TP_STATUS_VLAN_TPID_VALID: u32 = 0x40;
/// `tp_status`: the frame is several TCP segments in one. Not in libc 0.2.
pub const TP_STATUS_GSO_TCP: u32 = 0x100;

/// The tag protocol that an older kernel means when it leaves `tp_vlan_tpid` out.
pub const ETH_P_8021Q: u16 = 0x8100;

/// Headers and frames start at multiples of this.
#[cfg(test)]
pub const TPACKET_ALIGNMENT: usize = 16;
/// Records in a block, and its private area, are padded to this.
pub const V3_ALIGNMENT: usize = 8;

/// `tpacket_block_desc` with its only variant, `tpacket_hdr_v1`.
#[repr(C)]
#[derive(Debug)]
pub struct BlockDesc {
    /// 2, `TPACKET_V3`'s own count.
    pub version: u32,
    /// Where the private area starts.
    pub offset_to_priv: u32,
    /// Who owns the block. The only word that both sides write.
    pub block_status: AtomicU32,
    /// Frames in the block; 0 is possible.
    pub num_pkts: u32,
    /// Where the first frame's header starts.
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
pub struct FrameHdr {
    /// Bytes to the next header; 0 in the last frame of a block.
    pub tp_next_offset: u32,
    /// Seconds since the Unix epoch.
    pub tp_sec: u32,
    /// Nanoseconds within the second.
    pub tp_nsec: u32,
    /// Bytes stored.
    pub tp_snaplen: u32,
    /// Bytes on the wire, less a tag that was taken out.
    pub tp_len: u32,
    /// `TP_STATUS_*` of the frame.
    pub tp_status: u32,
    /// Where the stored bytes start, from this structure.
    pub tp_mac: u16,
    /// Where the network header starts, from this structure.
    pub tp_net: u16,
    /// The NIC's or the kernel's flow hash, if asked for.
    pub tp_rxhash: u32,
    /// The tag that was taken out.
    pub tp_vlan_tci: u32,
    /// Its protocol.
    pub tp_vlan_tpid: u16,
    /// Nothing.
    pub tp_padding: [u8; 10],
}

/// `sockaddr_ll`, which follows each [`FrameHdr`].
#[repr(C)]
#[derive(Debug)]
pub struct SockaddrLl {
    /// `AF_PACKET`.
    pub sll_family: u16,
    /// The ethertype, big-endian.
    pub sll_protocol: u16,
    /// The interface's index.
    pub sll_ifindex: i32,
    /// The interface's `ARPHRD_*`.
    pub sll_hatype: u16,
    /// `PACKET_HOST`, `PACKET_OUTGOING`, …
    pub sll_pkttype: u8,
    /// Bytes used of `sll_addr`.
    pub sll_halen: u8,
    /// The sender's hardware address.
    pub sll_addr: [u8; 8],
}

/// Bytes of a block before its first record, as no private area is asked for.
pub const BLOCK_HEADER_LEN: usize = size_of::<BlockDesc>();
/// Bytes of a record's headers: `TPACKET3_HDRLEN`.
pub const RECORD_HEADER_LEN: usize = size_of::<FrameHdr>() + size_of::<SockaddrLl>();

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
const _: () = assert!(size_of::<SockaddrLl>() == size_of::<libc::sockaddr_ll>());
const _: () =
    assert!(offset_of!(SockaddrLl, sll_pkttype) == offset_of!(libc::sockaddr_ll, sll_pkttype));
const _: () = assert!(RECORD_HEADER_LEN == 68);

/// Rounds `n` up to a multiple of `to`, a power of two.
#[cfg(test)]
pub const fn align(n: usize, to: usize) -> usize {
    (n + to - 1) & !(to - 1)
}
