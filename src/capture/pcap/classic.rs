//! The records of a pcap file.
//!
//! Source: draft-ietf-opsawg-pcap; for versions below 2.4 and the modified form, libpcap's
//! `sf-pcap.c` (`pcap_check_header`, `pcap_next_packet`).

use super::buffer::Buffer;
use super::error::{Fault, ReadErrorKind};
use super::{BufferedFrame, FRAME_MAX_BYTES, InterfaceInfo, Order, link_type};
use crate::capture::frame::LinkType;

const FILE_HEADER_BYTES: usize = 24;
const RECORD_HEADER_BYTES: usize = 16;
/// The modified form adds interface index, protocol and packet type.
const MODIFIED_RECORD_HEADER_BYTES: usize = 24;

const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
/// Alexey Kuznetzov's patched libpcap of the 1990s.
const MAGIC_MODIFIED: u32 = 0xa1b2_cd34;

/// A record above the snaplen is read up to this size: programs write frames of GRO and BIG TCP whole. A length beyond
/// both is damage.
const LENIENT_RECORD_BYTES: usize = 1 << 20;

const NS_PER_SECOND: i64 = 1_000_000_000;

/// The format of a file, by its magic number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    order: Order,
    /// Nanoseconds in one unit of a time stamp's second half.
    unit_ns: i64,
    record_header_bytes: usize,
}

impl Layout {
    /// `None` if the file is no pcap file.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let magic = head.first_chunk::<4>()?;
        [Order::Little, Order::Big].into_iter().find_map(|order| {
            let (unit_ns, record_header_bytes) = match order.u32(magic, 0) {
                MAGIC_MICROSECONDS => (1_000, RECORD_HEADER_BYTES),
                MAGIC_NANOSECONDS => (1, RECORD_HEADER_BYTES),
                MAGIC_MODIFIED => (1_000, MODIFIED_RECORD_HEADER_BYTES),
                _ => return None,
            };
            Some(Self {
                order,
                unit_ns,
                record_header_bytes,
            })
        })
    }
}

/// Whether the wire length comes before the caplen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swapped {
    No,
    /// Version 2.3: some programs swapped them; the larger is the wire length.
    IfLarger,
    Yes,
}

impl Swapped {
    fn of(major: u16, minor: u16) -> Option<Self> {
        match (major, minor) {
            (2, 0..=2) | (543, _) => Some(Self::Yes),
            (2, 3) => Some(Self::IfLarger),
            (2, _) => Some(Self::No),
            _ => None,
        }
    }
}

/// Reads the records of a pcap file.
pub(super) struct Classic {
    layout: Layout,
    swapped: Swapped,
    link: LinkType,
    caplen_max: usize,
    /// Records read whole.
    pub(super) records: u64,
}

impl Classic {
    /// Reads the file header.
    pub(super) fn new(buffer: &mut Buffer, layout: Layout) -> Result<(Self, InterfaceInfo), Fault> {
        let have = buffer.fill(FILE_HEADER_BYTES)?;
        if have < FILE_HEADER_BYTES {
            return Err(Fault::cut(0, "the file header", have, FILE_HEADER_BYTES));
        }
        let header = buffer.peek(FILE_HEADER_BYTES);
        let order = layout.order;
        let (major, minor) = (order.u16(header, 4), order.u16(header, 6));
        let Some(swapped) = Swapped::of(major, minor) else {
            let what = format!("pcap version {major}.{minor}; version 2 is read");
            return Err(Fault::whole(ReadErrorKind::UnknownType, what));
        };
        let snaplen = match order.u32(header, 16) as usize {
            0 => FRAME_MAX_BYTES,
            snaplen => snaplen,
        };
        // The upper half holds the length of the FCS and reserved bits.
        let link = link_type(order.u32(header, 20) & 0xffff);
        buffer.take(FILE_HEADER_BYTES);
        let pcap = Self {
            layout,
            swapped,
            link,
            caplen_max: snaplen.clamp(LENIENT_RECORD_BYTES, FRAME_MAX_BYTES),
            records: 0,
        };
        let interface = InterfaceInfo {
            name: None,
            link,
            position: 0,
        };
        Ok((pcap, interface))
    }

    /// The next record; `None` if the file ends between two records.
    #[inline]
    pub(super) fn next(&mut self, buffer: &mut Buffer) -> Result<Option<BufferedFrame>, Fault> {
        let header_bytes = self.layout.record_header_bytes;
        let have = buffer.fill(header_bytes)?;
        if have < header_bytes {
            return match have {
                0 => Ok(None),
                _ => Err(cut(buffer, "a record header", have, header_bytes)),
            };
        }
        let header = buffer.peek(RECORD_HEADER_BYTES);
        let word = |at| self.layout.order.u32(header, at);
        let (seconds, fraction) = (word(0), word(4));
        let (caplen, wire_len) = self.lengths(word(8), word(12));
        if caplen as usize > self.caplen_max {
            return Err(self.too_large(buffer.offset(), caplen));
        }
        let caplen = caplen as usize;
        let have = buffer.fill(header_bytes + caplen)?;
        if have < header_bytes + caplen {
            return Err(cut(buffer, "a record", have - header_bytes, caplen));
        }
        let at = buffer.take(header_bytes + caplen) + header_bytes;
        self.records += 1;
        Ok(Some(BufferedFrame {
            at,
            caplen,
            wire_len,
            // At most 2^32 seconds and 2^32 microseconds: no overflow.
            ts_ns: i64::from(seconds) * NS_PER_SECOND + i64::from(fraction) * self.layout.unit_ns,
            interface: 0,
            link: self.link,
        }))
    }

    /// (caplen, wire length), the latter at least the former.
    #[inline]
    fn lengths(&self, first: u32, second: u32) -> (u32, u32) {
        let swap = match self.swapped {
            Swapped::No => false,
            Swapped::IfLarger => first > second,
            Swapped::Yes => true,
        };
        let (caplen, wire_len) = match swap {
            true => (second, first),
            false => (first, second),
        };
        (caplen, wire_len.max(caplen))
    }

    #[cold]
    fn too_large(&self, offset: u64, caplen: u32) -> Fault {
        let most = self.caplen_max;
        Fault::damaged(
            offset,
            format!("the record claims {caplen} bytes, at most {most} are read"),
        )
    }
}

/// The end of the capture inside a part of the next record.
#[cold]
fn cut(buffer: &Buffer, part: &str, have: usize, want: usize) -> Fault {
    Fault::cut(buffer.offset(), part, have, want)
}
