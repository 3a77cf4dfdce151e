//! The kernel's side of a ring, in plain memory: what tests and benches read from.
//!
//! [`Kernel`] does what `tpacket_rcv` and `prb_*` in `net/packet/af_packet.c` do, less the clock: a test
//! says when a block's time is up. It can fill from another thread while a reader reads.

use super::abi::{
    BLOCK_HEADER_LEN, BlockDesc, FrameHdr, RECORD_HEADER_LEN, TP_STATUS_BLK_TMO, TP_STATUS_GSO_TCP,
    TP_STATUS_LOSING, TP_STATUS_USER, TP_STATUS_VLAN_TPID_VALID, TP_STATUS_VLAN_VALID,
    TPACKET_ALIGNMENT, V3_ALIGNMENT, align,
};
use super::block::Origin;
use super::memory::Memory;
use super::{Ring, RingGeometry};
use crate::capture::frame::VlanTag;
use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Where the stored bytes of an Ethernet frame start, from its header: `tp_mac` = 82.
const MAC: usize = align(RECORD_HEADER_LEN + 16, TPACKET_ALIGNMENT) - 14;

/// A frame as it reaches the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrival<'a> {
    /// The frame from its link header on, a tag in `vlan` left out.
    pub bytes: &'a [u8],
    /// How many bytes the socket filter lets through.
    pub snaplen: Option<u32>,
    /// Nanoseconds since the Unix epoch.
    pub ts_ns: i64,
    /// A tag that was taken out. A `tpid` of 0 is left out, as older kernels do.
    pub vlan: Option<VlanTag>,
    /// Several segments in one.
    pub gso: bool,
    /// This host has sent it.
    pub outgoing: bool,
}

/// What the kernel counts for a socket, not cleared by reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounts {
    /// Frames that passed the filter, dropped ones included.
    pub tp_packets: u64,
    /// Frames for which the ring had no room.
    pub tp_drops: u64,
    /// How often the ring became full.
    pub tp_freeze_q_cnt: u64,
}

/// The writing side of a ring in plain memory.
#[derive(Debug)]
pub struct Kernel {
    memory: Arc<Memory>,
    /// The block being filled, or, if `open` is not, the one to open next.
    active: u32,
    open: Option<Filling>,
    frozen: bool,
    seq_num: u64,
    counts: KernelCounts,
}

#[derive(Clone, Copy, Debug)]
struct Filling {
    end: usize,
    last: usize,
    num_pkts: u32,
    last_ts_ns: i64,
}

/// A ring in plain memory: its kernel and its reader.
pub fn ring(geometry: RingGeometry, origin: Origin) -> (Kernel, Ring) {
    let memory = Arc::new(Memory::plain(geometry));
    let kernel = Kernel {
        memory: Arc::clone(&memory),
        active: 0,
        open: None,
        frozen: false,
        seq_num: 1,
        counts: KernelCounts::default(),
    };
    // SAFETY: the only ring of this memory, and `Kernel` writes only blocks whose status is KERNEL.
    let ring = unsafe { Ring::new(memory, origin) };
    (kernel, ring)
}

impl Kernel {
    /// Stores a frame as `tpacket_rcv` would. False if it was dropped because the ring is full.
    pub fn push(&mut self, arrival: &Arrival<'_>) -> bool {
        self.counts.tp_packets += 1;
        let block_size = self.memory.geometry().block_size as usize;
        let asked = arrival
            .snaplen
            .map_or(usize::MAX, |snaplen| snaplen as usize);
        // A frame that no block could hold is cut (tpacket_rcv: "packet too big, clamped").
        let caplen = arrival
            .bytes
            .len()
            .min(asked)
            .min(block_size - BLOCK_HEADER_LEN - MAC);
        let record = align(MAC + caplen, V3_ALIGNMENT);
        let Some(mut filling) = self.open_block(arrival.ts_ns) else {
            self.counts.tp_drops += 1;
            return false;
        };
        if filling.end + record >= block_size {
            // The next block, even if this one is empty.
            self.hand_over(0, arrival.ts_ns);
            match self.open_block(arrival.ts_ns) {
                Some(next) => filling = next,
                None => {
                    self.counts.tp_drops += 1;
                    return false;
                }
            }
        }
        self.store(&mut filling, arrival, caplen, record);
        self.open = Some(filling);
        true
    }

    /// The block's time is up: hands it over if it holds a frame. True if it did.
    pub fn retire(&mut self) -> bool {
        match self.open {
            Some(filling) if filling.num_pkts > 0 => {
                self.hand_over(TP_STATUS_BLK_TMO, filling.last_ts_ns);
                true
            }
            _ => false,
        }
    }

    /// Breaks the contract: the first record of the open block points `step` bytes on.
    #[cfg(test)]
    pub(super) fn corrupt_next_offset(&mut self, step: u32) {
        self.write_u32(
            BLOCK_HEADER_LEN + offset_of!(FrameHdr, tp_next_offset),
            step,
        );
    }

    /// What was counted so far.
    pub fn counts(&self) -> KernelCounts {
        self.counts
    }

    /// `prb_open_block`, unless a block is open.
    fn open_block(&mut self, now_ns: i64) -> Option<Filling> {
        if let Some(filling) = self.open {
            return Some(filling);
        }
        // Acquire stands for the smp_rmb() behind the kernel's reading of the status: the reader's last
        // read of the block happens before our first write.
        let status = self.memory.status(self.active).load(Ordering::Acquire);
        if status & TP_STATUS_USER != 0 {
            self.counts.tp_freeze_q_cnt += u64::from(!self.frozen);
            self.frozen = true;
            return None;
        }
        self.frozen = false;
        let filling = Filling {
            end: BLOCK_HEADER_LEN,
            last: 0,
            num_pkts: 0,
            last_ts_ns: now_ns,
        };
        self.write_u32(offset_of!(BlockDesc, version), 2);
        self.write_u32(
            offset_of!(BlockDesc, offset_to_priv),
            to_u32(BLOCK_HEADER_LEN),
        );
        self.write_u32(
            offset_of!(BlockDesc, offset_to_first_pkt),
            to_u32(BLOCK_HEADER_LEN),
        );
        self.write(offset_of!(BlockDesc, seq_num), &self.seq_num.to_ne_bytes());
        self.write_ts(offset_of!(BlockDesc, ts_first_pkt), now_ns);
        self.seq_num += 1;
        self.open = Some(filling);
        Some(filling)
    }

    fn store(
        &mut self,
        filling: &mut Filling,
        arrival: &Arrival<'_>,
        caplen: usize,
        record: usize,
    ) {
        let at = filling.end;
        if filling.num_pkts > 0 {
            let step = to_u32(at - filling.last);
            self.write_u32(filling.last + offset_of!(FrameHdr, tp_next_offset), step);
        }
        let mut status = if arrival.gso { TP_STATUS_GSO_TCP } else { 0 };
        let tag = arrival.vlan.unwrap_or(VlanTag { tpid: 0, tci: 0 });
        status |= if arrival.vlan.is_some() {
            TP_STATUS_VLAN_VALID
        } else {
            0
        };
        status |= if tag.tpid != 0 {
            TP_STATUS_VLAN_TPID_VALID
        } else {
            0
        };
        let mac = u16::try_from(MAC).expect("82");
        self.write(at, &[0; RECORD_HEADER_LEN]); // tp_next_offset is 0 until there is a next one.
        self.write_ts(at + offset_of!(FrameHdr, tp_sec), arrival.ts_ns);
        self.write_u32(at + offset_of!(FrameHdr, tp_snaplen), to_u32(caplen));
        self.write_u32(
            at + offset_of!(FrameHdr, tp_len),
            to_u32(arrival.bytes.len()),
        );
        self.write_u32(at + offset_of!(FrameHdr, tp_status), status);
        self.write(at + offset_of!(FrameHdr, tp_mac), &mac.to_ne_bytes());
        self.write(at + offset_of!(FrameHdr, tp_net), &(mac + 14).to_ne_bytes());
        self.write_u32(at + offset_of!(FrameHdr, tp_vlan_tci), tag.tci.into());
        self.write(
            at + offset_of!(FrameHdr, tp_vlan_tpid),
            &tag.tpid.to_ne_bytes(),
        );
        let packet_type = at + size_of::<FrameHdr>() + offset_of!(libc::sockaddr_ll, sll_pkttype);
        let direction = [libc::PACKET_HOST, libc::PACKET_OUTGOING];
        self.write(packet_type, &[direction[usize::from(arrival.outgoing)]]);
        self.write(at + MAC, &arrival.bytes[..caplen]);
        *filling = Filling {
            end: at + record,
            last: at,
            num_pkts: filling.num_pkts + 1,
            last_ts_ns: arrival.ts_ns,
        };
    }

    /// `prb_close_block` and `prb_flush_block`.
    fn hand_over(&mut self, status: u32, now_ns: i64) {
        let filling = self.open.take().expect("a block is open");
        let last_ts_ns = match filling.num_pkts {
            0 => now_ns,
            _ => filling.last_ts_ns,
        };
        self.write_u32(offset_of!(BlockDesc, num_pkts), filling.num_pkts);
        self.write_u32(offset_of!(BlockDesc, blk_len), to_u32(filling.end));
        self.write_ts(offset_of!(BlockDesc, ts_last_pkt), last_ts_ns);
        let losing = if self.counts.tp_drops > 0 {
            TP_STATUS_LOSING
        } else {
            0
        };
        let status = status | losing | TP_STATUS_USER;
        // Release stands for the smp_wmb() before the kernel sets the status: whoever sees USER sees
        // every byte above.
        self.memory
            .status(self.active)
            .store(status, Ordering::Release);
        self.active = (self.active + 1) % self.memory.geometry().block_nr;
    }

    fn write_ts(&mut self, at: usize, ts_ns: i64) {
        let (seconds, rest) = (
            ts_ns.div_euclid(1_000_000_000),
            ts_ns.rem_euclid(1_000_000_000),
        );
        self.write_u32(at, u32::try_from(seconds).expect("between 1970 and 2106"));
        self.write_u32(at + 4, u32::try_from(rest).expect("less than 10^9"));
    }

    fn write_u32(&mut self, at: usize, value: u32) {
        self.write(at, &value.to_ne_bytes());
    }

    /// Writes into the active block, which is ours while `open` is set or being set.
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let block_size = self.memory.geometry().block_size as usize;
        let inside = at + bytes.len() <= block_size;
        assert!(
            inside,
            "{at}+{} leaves a block of {block_size}",
            bytes.len()
        );
        let to = self.memory.block(self.active).as_ptr().wrapping_add(at);
        // SAFETY: inside the block by the assertion; its status is KERNEL, so no reader looks at it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).expect("a block is less than 4 GiB")
}
