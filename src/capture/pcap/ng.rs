//! The blocks of a pcapng file.
//!
//! Source: draft-ietf-opsawg-pcapng; the obsolete Packet Block from its appendix A.

mod interface;

use super::batch::{self, Like, Record};
use super::buffer::{BUFFER_MAX_BYTES, Buffer};
use super::error::Fault;
use super::{BufferedFrame, FRAME_MAX_BYTES, INTERFACES_MAX, InterfaceInfo, Order};
use interface::Interface;
pub(super) use interface::TIME_MAX_NS;
#[cfg(test)]
pub(super) use interface::{InterfaceClock, TIME_MIN_NS};

/// The type of a Section Header Block, the same in both byte orders.
pub(super) const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// Type and length before a block's body, and the length again behind it.
const HEAD_BYTES: usize = 8;
const TAIL_BYTES: usize = 4;
/// The fixed fields of an Enhanced or obsolete Packet Block.
const PACKET_FIELDS_BYTES: usize = 20;

/// The type and the total length of a block.
#[derive(Clone, Copy, Debug)]
struct Head {
    kind: u32,
    len: usize,
}

impl Head {
    /// The least length of a block of this type.
    #[inline(always)]
    fn least(self) -> usize {
        HEAD_BYTES + TAIL_BYTES + fields_bytes(self.kind)
    }

    #[inline(always)]
    fn is_sound(self) -> bool {
        self.len >= self.least() && self.len.is_multiple_of(4)
    }
}

/// A block that is being skipped.
#[derive(Clone, Copy, Debug)]
struct Skipping {
    head: Head,
    offset: u64,
    /// Bytes consumed.
    skipped: usize,
}

/// The fixed fields of a packet block.
struct Packet {
    interface: u32,
    ticks: Option<u64>,
    caplen: u32,
    wire_len: u32,
    /// Start of the frame within the block.
    data_at: usize,
}

/// Reads the blocks of a pcapng file.
pub(super) struct Ng {
    order: Order,
    /// Interfaces of the current section.
    section: Vec<Interface>,
    /// Index of the section's first interface in the file.
    section_first: usize,
    /// Interfaces of the file so far, also those beyond [`INTERFACES_MAX`].
    interfaces: usize,
    ts_ns_last: i64,
    /// Set while a skipped block is incomplete.
    skipping: Option<Skipping>,
    /// Blocks read whole.
    pub(super) blocks: u64,
}

impl Ng {
    pub(super) fn new() -> Self {
        Self {
            order: Order::Little,
            section: Vec::new(),
            section_first: 0,
            interfaces: 0,
            ts_ns_last: 0,
            skipping: None,
            blocks: 0,
        }
    }

    /// The next frame; `None` if the file ends between two blocks.
    ///
    /// After [`NotYet`](super::ReadErrorKind::NotYet) it resumes: a block is consumed only as a whole, and the position
    /// inside a skipped block is kept.
    #[inline]
    pub(super) fn next(
        &mut self,
        buffer: &mut Buffer,
        interfaces: &mut Vec<InterfaceInfo>,
        found: &mut Option<BufferedFrame>,
    ) -> Result<(), Fault> {
        if let Some(skipping) = self.skipping {
            self.skip(buffer, skipping)?;
            self.blocks += 1;
        }
        while let Some(head) = self.head(buffer)? {
            match head.kind {
                ENHANCED_PACKET | OBSOLETE_PACKET | SIMPLE_PACKET => {
                    *found = Some(self.packet(buffer, head)?);
                }
                SECTION_HEADER | INTERFACE_DESCRIPTION => {
                    self.describe(buffer, head, interfaces)?;
                }
                _ => {
                    let (offset, skipped) = (buffer.offset(), 0);
                    let skipping = Skipping {
                        head,
                        offset,
                        skipped,
                    };
                    self.skip(buffer, skipping)?;
                }
            }
            self.blocks += 1;
            if found.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Reads type and length of the next block, and for a new section its byte order.
    #[inline]
    fn head(&mut self, buffer: &mut Buffer) -> Result<Option<Head>, Fault> {
        let have = buffer.fill(HEAD_BYTES)?;
        let offset = buffer.offset();
        if have < HEAD_BYTES {
            return match have {
                0 => Ok(None),
                _ => Err(Fault::cut(offset, "a block header", have, HEAD_BYTES)),
            };
        }
        if buffer.peek(HEAD_BYTES).starts_with(&MAGIC) {
            self.order = section_order(buffer)?;
        }
        let head = buffer.peek(HEAD_BYTES);
        let kind = self.order.u32(head, 0);
        let len = self.order.u32(head, 4);
        let len = len as usize;
        let head = Head { kind, len };
        if !head.is_sound() {
            let least = head.least();
            let what = format!(
                "the block (type {kind:#x}) claims {len} bytes: \
                 must be at least {least} and a multiple of 4"
            );
            return Err(Fault::damaged(offset, what));
        }
        Ok(Some(head))
    }

    /// Makes a whole block available and checks its end.
    #[inline]
    fn whole(&self, buffer: &mut Buffer, head: Head) -> Result<(), Fault> {
        let offset = buffer.offset();
        if head.len > BUFFER_MAX_BYTES {
            let (kind, len) = (head.kind, head.len);
            let what = format!(
                "the block (type {kind:#x}) claims {len} bytes, at most {BUFFER_MAX_BYTES} are read"
            );
            return Err(Fault::damaged(offset, what));
        }
        let have = buffer.fill(head.len)?;
        if have < head.len {
            return Err(Fault::cut(offset, "a block", have, head.len));
        }
        let tail = self.order.u32(buffer.peek(head.len), head.len - TAIL_BYTES);
        check_tail(offset, head, tail)
    }

    /// Skips a block of any length.
    fn skip(&mut self, buffer: &mut Buffer, mut skipping: Skipping) -> Result<(), Fault> {
        let Skipping { head, offset, .. } = skipping;
        let body = head.len - TAIL_BYTES;
        while skipping.skipped < body {
            self.skipping = Some(skipping);
            match buffer.skip(body - skipping.skipped)? {
                0 => return Err(Fault::cut(offset, "a block", skipping.skipped, head.len)),
                step => skipping.skipped += step,
            }
        }
        self.skipping = Some(skipping);
        let have = buffer.fill(TAIL_BYTES)?;
        if have < TAIL_BYTES {
            return Err(Fault::cut(offset, "a block", body + have, head.len));
        }
        let tail = self.order.u32(buffer.peek(TAIL_BYTES), 0);
        check_tail(offset, head, tail)?;
        buffer.take(TAIL_BYTES);
        self.skipping = None;
        Ok(())
    }

    /// Reads a section header or an interface description.
    fn describe(
        &mut self,
        buffer: &mut Buffer,
        head: Head,
        interfaces: &mut Vec<InterfaceInfo>,
    ) -> Result<(), Fault> {
        self.whole(buffer, head)?;
        let offset = buffer.offset();
        let block = buffer.peek(head.len);
        if head.kind == SECTION_HEADER {
            let (major, minor) = (self.order.u16(block, 12), self.order.u16(block, 14));
            if major != 1 {
                let what = format!("pcapng version {major}.{minor}; version 1 is read");
                return Err(Fault::damaged(offset, what));
            }
            self.section.clear();
            self.section_first = self.interfaces;
        } else {
            if self.section.len() == INTERFACES_MAX {
                let what = format!("more than {INTERFACES_MAX} interfaces in one section");
                return Err(Fault::damaged(offset, what));
            }
            let (interface, mut info) =
                interface::interface(self.order, &block[..head.len - TAIL_BYTES]);
            info.position = self.section.len();
            self.section.push(interface);
            self.interfaces += 1;
            if interfaces.len() < INTERFACES_MAX {
                interfaces.push(info);
            }
        }
        buffer.take(head.len);
        Ok(())
    }

    /// Reads a block that holds a frame.
    fn packet(&mut self, buffer: &mut Buffer, head: Head) -> Result<BufferedFrame, Fault> {
        self.whole(buffer, head)?;
        let mut found = self.frame(buffer.peek(head.len), head, buffer.offset())?;
        self.ts_ns_last = found.record.ts_ns;
        found.record.at += buffer.take(head.len);
        Ok(found)
    }

    /// Takes the frames of Enhanced Packet Blocks that are in the buffer and such frames, a batch of them at most.
    pub(super) fn batch(&mut self, buffer: &mut Buffer, like: &Like, records: &mut Vec<Record>) {
        let (start, ready) = (buffer.taken().len(), buffer.ready());
        let mut len = 0;
        while records.len() < batch::FRAMES_MAX
            && len < batch::BYTES_MAX
            && let Some((mut record, block_len)) = self.enhanced(&ready[len..], like)
        {
            record.at += start + len;
            records.push(record);
            len += block_len;
        }
        buffer.take(len);
        self.blocks += records.len() as u64;
        if let Some(last) = records.last() {
            self.ts_ns_last = last.ts_ns;
        }
    }

    /// The frame of the block that these bytes start with, and how long that is; if all of it is here, and it is sound.
    #[inline(always)]
    fn enhanced(&self, bytes: &[u8], like: &Like) -> Option<(Record, usize)> {
        let first: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
        let head = Head {
            kind: self.order.u32(first, 0),
            len: self.order.u32(first, 4) as usize,
        };
        let block = bytes.get(..head.len)?;
        if head.kind != ENHANCED_PACKET || !head.is_sound() {
            return None;
        }
        let tail = self.order.u32(block, head.len - TAIL_BYTES) as usize;
        let BufferedFrame {
            record, interface, ..
        } = self.frame(block, head, 0).ok()?;
        let bytes = || &block[record.at..][..record.caplen as usize];
        let is_like = tail == head.len && interface == like.interface;
        (is_like && like.has(record.ts_ns, bytes)).then_some((record, head.len))
    }

    /// The frame in a whole block at this offset. Its place is that in the block.
    #[inline(always)]
    fn frame(&self, block: &[u8], head: Head, offset: u64) -> Result<BufferedFrame, Fault> {
        let packet = self.fields(block, head);
        let Some(interface) = self.section.get(packet.interface as usize) else {
            return Err(self.no_interface(offset, packet.interface));
        };
        let room = head.len - TAIL_BYTES - packet.data_at;
        let caplen = match head.kind {
            SIMPLE_PACKET => simple_caplen(packet.wire_len, interface.snaplen, room),
            _ => packet.caplen as usize,
        };
        if caplen > room.min(FRAME_MAX_BYTES) {
            return Err(too_large(offset, caplen, room));
        }
        let ticks = packet.ticks.map(|ticks| interface.clock.ns(ticks));
        let record = Record {
            ts_ns: ticks.unwrap_or(self.ts_ns_last),
            at: packet.data_at,
            caplen: u32::try_from(caplen).expect("at most FRAME_MAX_BYTES"),
            wire_len: packet.wire_len.max(packet.caplen),
        };
        Ok(BufferedFrame {
            record,
            interface: self.section_first + packet.interface as usize,
            link: interface.link,
        })
    }

    /// `Ng::head` has checked that the fields are there.
    #[inline]
    fn fields(&self, block: &[u8], head: Head) -> Packet {
        let order = self.order;
        let word = |at: usize| order.u32(block, HEAD_BYTES + at);
        if head.kind == SIMPLE_PACKET {
            return Packet {
                interface: 0,
                ticks: None,
                caplen: 0,
                wire_len: word(0),
                data_at: HEAD_BYTES + fields_bytes(SIMPLE_PACKET),
            };
        }
        Packet {
            interface: match head.kind {
                OBSOLETE_PACKET => u32::from(order.u16(block, HEAD_BYTES)),
                _ => word(0),
            },
            ticks: Some(u64::from(word(4)) << 32 | u64::from(word(8))),
            caplen: word(12),
            wire_len: word(16),
            data_at: HEAD_BYTES + PACKET_FIELDS_BYTES,
        }
    }

    #[cold]
    fn no_interface(&self, offset: u64, interface: u32) -> Fault {
        let known = self.section.len();
        let what = format!("a frame of interface {interface}, but the section describes {known}");
        Fault::damaged(offset, what)
    }
}

/// The length of a block's fixed fields; a shorter block of this type is damaged.
#[inline]
fn fields_bytes(kind: u32) -> usize {
    match kind {
        SECTION_HEADER => 16,
        INTERFACE_DESCRIPTION => interface::FIELDS_BYTES,
        SIMPLE_PACKET => 4,
        ENHANCED_PACKET | OBSOLETE_PACKET => PACKET_FIELDS_BYTES,
        _ => 0,
    }
}

/// The byte order of the section that starts here.
fn section_order(buffer: &mut Buffer) -> Result<Order, Fault> {
    let want = HEAD_BYTES + 4;
    let offset = buffer.offset();
    let have = buffer.fill(want)?;
    if have < want {
        return Err(Fault::cut(offset, "a section header", have, want));
    }
    let magic = buffer.peek(want);
    for order in [Order::Little, Order::Big] {
        if order.u32(magic, HEAD_BYTES) == BYTE_ORDER_MAGIC {
            return Ok(order);
        }
    }
    let found = Order::Big.u32(magic, HEAD_BYTES);
    let what = format!("a section header with byte order {found:#010x} instead of 0x1a2b3c4d");
    Err(Fault::damaged(offset, what))
}

#[inline]
fn check_tail(offset: u64, head: Head, tail: u32) -> Result<(), Fault> {
    if tail as usize == head.len {
        return Ok(());
    }
    let (kind, len) = (head.kind, head.len);
    let what = format!("the block (type {kind:#x}) starts as {len} bytes but ends as {tail}");
    Err(Fault::damaged(offset, what))
}

/// The caplen of a Simple Packet Block, which has no field for it.
fn simple_caplen(wire_len: u32, snaplen: u32, room: usize) -> usize {
    let snaplen = if snaplen == 0 { u32::MAX } else { snaplen };
    room.min(wire_len.min(snaplen) as usize)
}

#[cold]
fn too_large(offset: u64, caplen: usize, room: usize) -> Fault {
    let what = if caplen > room {
        format!("a frame of {caplen} bytes in a block with room for {room}")
    } else {
        format!("a frame of {caplen} bytes, at most {FRAME_MAX_BYTES} are read")
    };
    Fault::damaged(offset, what)
}
