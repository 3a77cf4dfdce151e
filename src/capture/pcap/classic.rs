//! The records of a pcap file.
//!
//! Source: draft-ietf-opsawg-pcap; for versions below 2.4 and the modified form, libpcap's
//! `sf-pcap.c` (`pcap_check_header`, `pcap_next_packet`).

use std::ops::Range;

use super::batch::{self, Like, Record};
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

/// What the header of a record says.
struct Header {
    header_bytes: usize,
    caplen: u32,
    /// At least `caplen`.
    wire_len: u32,
    ts_ns: i64,
}

impl Header {
    /// Bytes of the record.
    #[inline(always)]
    fn len(&self) -> usize {
        self.header_bytes + self.caplen as usize
    }

    /// Its frame within the record.
    #[inline(always)]
    fn bytes(&self) -> Range<usize> {
        self.header_bytes..self.len()
    }

    /// The record whose header begins at `at`.
    #[inline(always)]
    fn record(&self, at: usize) -> Record {
        Record {
            ts_ns: self.ts_ns,
            at: at + self.header_bytes,
            caplen: self.caplen,
            wire_len: self.wire_len,
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

    /// Puts the next record into `found`; leaves it if the file ends between two records.
    pub(super) fn next(
        &mut self,
        buffer: &mut Buffer,
        found: &mut Option<BufferedFrame>,
    ) -> Result<(), Fault> {
        let order = self.layout.order;
        if self.whole(order, buffer.ready()).is_none() && !self.fetch(buffer)? {
            return Ok(());
        }
        if let Some(header) = self.whole(order, buffer.ready()) {
            let record = header.record(buffer.take(header.len()));
            *found = Some(BufferedFrame {
                record,
                interface: 0,
                link: self.link,
            });
            self.records += 1;
        }
        Ok(())
    }

    /// Takes the records that are in the buffer and have such frames, a batch of them at most.
    pub(super) fn batch(&mut self, buffer: &mut Buffer, like: &Like, records: &mut Vec<Record>) {
        // A loop for each: it does not ask for every number.
        let len = match self.layout.order {
            Order::Little => self.index(Order::Little, buffer, like, records),
            Order::Big => self.index(Order::Big, buffer, like, records),
        };
        buffer.take(len);
        self.records += records.len() as u64;
    }

    /// Finds them; returns how many bytes they are.
    #[inline(always)]
    fn index(
        &self,
        order: Order,
        buffer: &Buffer,
        like: &Like,
        records: &mut Vec<Record>,
    ) -> usize {
        let (start, ready) = (buffer.taken().len(), buffer.ready());
        let mut len = 0;
        while records.len() < batch::FRAMES_MAX
            && len < batch::BYTES_MAX
            && let Some(header) = self.whole(order, &ready[len..])
            && like.has(header.ts_ns, || &ready[len..][header.bytes()])
        {
            records.push(header.record(start + len));
            len += header.len();
        }
        len
    }

    /// The header of the record that these bytes start with, if they hold all of it and it is sound.
    #[inline(always)]
    fn whole(&self, order: Order, bytes: &[u8]) -> Option<Header> {
        let header = self.header(order, bytes.first_chunk()?);
        let sound = header.caplen as usize <= self.caplen_max && header.len() <= bytes.len();
        sound.then_some(header)
    }

    /// Reads on until the next record is in the buffer. False: the file ends between two records.
    #[cold]
    fn fetch(&self, buffer: &mut Buffer) -> Result<bool, Fault> {
        let header_bytes = self.layout.record_header_bytes;
        let have = buffer.fill(header_bytes)?;
        let header = match buffer.ready().first_chunk() {
            Some(header) if have >= header_bytes => self.header(self.layout.order, header),
            _ if have == 0 => return Ok(false),
            _ => return Err(cut(buffer, "a record header", have, header_bytes)),
        };
        let caplen = header.caplen as usize;
        if caplen > self.caplen_max {
            return Err(self.too_large(buffer.offset(), caplen));
        }
        let have = buffer.fill(header.len())?;
        match have < header.len() {
            true => Err(cut(buffer, "a record", have - header_bytes, caplen)),
            false => Ok(true),
        }
    }

    /// The fields that all layouts have.
    #[inline(always)]
    fn header(&self, order: Order, bytes: &[u8; RECORD_HEADER_BYTES]) -> Header {
        let word = |at: usize| order.u32(bytes, at);
        let (seconds, fraction) = (word(0), word(4));
        let (caplen, wire_len) = self.lengths(word(8), word(12));
        Header {
            header_bytes: self.layout.record_header_bytes,
            caplen,
            wire_len,
            // At most 2^32 seconds and 2^32 microseconds: no overflow.
            ts_ns: i64::from(seconds) * NS_PER_SECOND + i64::from(fraction) * self.layout.unit_ns,
        }
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
    fn too_large(&self, offset: u64, caplen: usize) -> Fault {
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
