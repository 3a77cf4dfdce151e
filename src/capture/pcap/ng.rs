//! The blocks of a pcapng file.
//!
//! Source: draft-ietf-opsawg-pcapng; the obsolete Packet Block from its appendix A.

use super::buffer::{BUFFER_MAX_BYTES, Buffer};
use super::error::Fault;
use super::{BufferedFrame, FRAME_MAX_BYTES, INTERFACES_MAX, InterfaceInfo, Order, link_type};
use crate::capture::frame::LinkType;

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

const OPTION_END: u16 = 0;
const OPTION_IF_NAME: u16 = 2;
const OPTION_IF_TSRESOL: u16 = 9;
const OPTION_IF_TSOFFSET: u16 = 14;

const NAME_MAX_BYTES: usize = 255;
const NS_PER_SECOND: i128 = 1_000_000_000;

/// Resolution and offset of an interface's time stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InterfaceClock {
    /// `if_tsresol`: a second has 10^n ticks, or 2^n with the high bit.
    pub(super) resolution: u8,
    /// Seconds to add.
    pub(super) offset_s: i64,
}

impl InterfaceClock {
    /// Nanoseconds since the epoch, rounded down, clamped to [`TIME_MAX_NS`].
    #[inline]
    pub(super) fn ns(self, ticks: u64) -> i64 {
        let ticks = i128::from(ticks);
        let exponent = u32::from(self.resolution & 0x7f);
        let ns = if self.resolution & 0x80 != 0 {
            (ticks * NS_PER_SECOND) >> exponent
        } else {
            match exponent {
                0..=9 => ticks * 10_i128.pow(9 - exponent),
                // 2^64 ticks of 10^-29 s are less than a nanosecond.
                10..29 => ticks / 10_i128.pow(exponent - 9),
                _ => 0,
            }
        };
        let ns = ns + i128::from(self.offset_s) * NS_PER_SECOND;
        let ns = ns.clamp(TIME_MIN_NS.into(), TIME_MAX_NS.into());
        i64::try_from(ns).expect("clamped to i64")
    }
}

/// Times are clamped to the years 1709 to 2230: windows and deadlines fit 64 bits.
pub(super) const TIME_MAX_NS: i64 = i64::MAX - 1_000_000_000_000_000_000;
pub(super) const TIME_MIN_NS: i64 = -TIME_MAX_NS;

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    clock: InterfaceClock,
    /// 0 where there is no limit.
    snaplen: u32,
}

/// The type and the total length of a block.
#[derive(Clone, Copy, Debug)]
struct Head {
    kind: u32,
    len: usize,
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
    ) -> Result<Option<BufferedFrame>, Fault> {
        if let Some(skipping) = self.skipping {
            self.skip(buffer, skipping)?;
            self.blocks += 1;
        }
        while let Some(head) = self.head(buffer)? {
            let found = match head.kind {
                ENHANCED_PACKET | OBSOLETE_PACKET | SIMPLE_PACKET => {
                    Some(self.packet(buffer, head)?)
                }
                SECTION_HEADER | INTERFACE_DESCRIPTION => {
                    self.describe(buffer, head, interfaces)?;
                    None
                }
                _ => {
                    let (offset, skipped) = (buffer.offset(), 0);
                    let skipping = Skipping {
                        head,
                        offset,
                        skipped,
                    };
                    self.skip(buffer, skipping)?;
                    None
                }
            };
            self.blocks += 1;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
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
        let least = HEAD_BYTES + TAIL_BYTES + fields_bytes(kind);
        let len = len as usize;
        if len < least || !len.is_multiple_of(4) {
            let what = format!(
                "the block (type {kind:#x}) claims {len} bytes: \
                 must be at least {least} and a multiple of 4"
            );
            return Err(Fault::damaged(offset, what));
        }
        Ok(Some(Head { kind, len }))
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
            let (interface, mut info) = interface(self.order, &block[..head.len - TAIL_BYTES]);
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
    #[inline]
    fn packet(&mut self, buffer: &mut Buffer, head: Head) -> Result<BufferedFrame, Fault> {
        self.whole(buffer, head)?;
        let offset = buffer.offset();
        let packet = self.fields(buffer.peek(head.len), head);
        let Some(&interface) = self.section.get(packet.interface as usize) else {
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
        if let Some(ticks) = packet.ticks {
            self.ts_ns_last = interface.clock.ns(ticks);
        }
        let at = buffer.take(head.len) + packet.data_at;
        Ok(BufferedFrame {
            at,
            caplen,
            wire_len: packet.wire_len.max(packet.caplen),
            ts_ns: self.ts_ns_last,
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
        INTERFACE_DESCRIPTION => 8,
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

/// Reads an Interface Description Block, given without its tail.
///
/// An option that exceeds the block ends the options: frames can be read without it. Of equal options the first counts.
fn interface(order: Order, block: &[u8]) -> (Interface, InterfaceInfo) {
    let link = link_type(u32::from(order.u16(block, HEAD_BYTES)));
    let snaplen = order.u32(block, HEAD_BYTES + 4);
    let (mut name, mut resolution, mut offset_s) = (None, None, None);
    let mut rest = &block[HEAD_BYTES + fields_bytes(INTERFACE_DESCRIPTION)..];
    while rest.len() >= 4 {
        let (code, len) = (order.u16(rest, 0), usize::from(order.u16(rest, 2)));
        let Some(value) = rest[4..].get(..len) else {
            break;
        };
        match (code, value) {
            (OPTION_END, _) => break,
            (OPTION_IF_NAME, [_, ..]) => {
                name.get_or_insert_with(|| text(value));
            }
            (OPTION_IF_TSRESOL, [byte, ..]) => {
                resolution.get_or_insert(*byte);
            }
            (OPTION_IF_TSOFFSET, &[a, b, c, d, e, f, g, h]) => {
                let bytes = [a, b, c, d, e, f, g, h];
                offset_s.get_or_insert(match order {
                    Order::Little => i64::from_le_bytes(bytes),
                    Order::Big => i64::from_be_bytes(bytes),
                });
            }
            _ => {}
        }
        rest = rest.get(4 + len.next_multiple_of(4)..).unwrap_or(&[]);
    }
    let clock = InterfaceClock {
        resolution: resolution.unwrap_or(6),
        offset_s: offset_s.unwrap_or(0),
    };
    let interface = Interface {
        link,
        clock,
        snaplen,
    };
    let info = InterfaceInfo {
        name,
        link,
        position: 0,
    };
    (interface, info)
}

/// A string option: UTF-8 that may end in zeros, cut to [`NAME_MAX_BYTES`].
fn text(value: &[u8]) -> String {
    let value = &value[..value.len().min(NAME_MAX_BYTES)];
    let text = String::from_utf8_lossy(value);
    text.trim_end_matches('\0').to_owned()
}
