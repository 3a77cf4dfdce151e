//! Interface Description Blocks: link type, name and clock of an interface.

use super::super::{InterfaceInfo, Order, link_type};
use super::HEAD_BYTES;
use crate::capture::frame::LinkType;

/// The fixed fields of the block.
pub(super) const FIELDS_BYTES: usize = 8;

const OPTION_END: u16 = 0;
const OPTION_IF_NAME: u16 = 2;
const OPTION_IF_TSRESOL: u16 = 9;
const OPTION_IF_TSOFFSET: u16 = 14;

const NAME_MAX_BYTES: usize = 255;
const NS_PER_SECOND: i128 = 1_000_000_000;

/// Resolution and offset of an interface's time stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capture::pcap) struct InterfaceClock {
    /// `if_tsresol`: a second has 10^n ticks, or 2^n with the high bit.
    pub(in crate::capture::pcap) resolution: u8,
    /// Seconds to add.
    pub(in crate::capture::pcap) offset_s: i64,
}

impl InterfaceClock {
    /// Nanoseconds since the epoch, rounded down, clamped to [`TIME_MAX_NS`].
    #[inline]
    pub(in crate::capture::pcap) fn ns(self, ticks: u64) -> i64 {
        let ticks = i128::from(ticks);
        let exponent = u32::from(self.resolution & 0x7f);
        let ns = if self.resolution & 0x80 != 0 {
            (ticks * NS_PER_SECOND) >> exponent
        } else {
            match exponent {
                0..=9 => ticks * TICKS_NS[exponent as usize],
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

/// Nanoseconds in a tick of 10^-n s.
const TICKS_NS: [i128; 10] = {
    let mut all = [1; 10];
    let mut at = 9;
    while at > 0 {
        at -= 1;
        all[at] = all[at + 1] * 10;
    }
    all
};

/// Times are clamped to the years 1709 to 2230: windows and deadlines fit 64 bits.
pub(in crate::capture::pcap) const TIME_MAX_NS: i64 = i64::MAX - 1_000_000_000_000_000_000;
pub(in crate::capture::pcap) const TIME_MIN_NS: i64 = -TIME_MAX_NS;

#[derive(Clone, Copy, Debug)]
pub(super) struct Interface {
    pub(super) link: LinkType,
    pub(super) clock: InterfaceClock,
    /// 0 where there is no limit.
    pub(super) snaplen: u32,
}

/// Reads an Interface Description Block, given without its tail.
///
/// An option that exceeds the block ends the options: frames can be read without it. Of equal options the first counts.
pub(super) fn interface(order: Order, block: &[u8]) -> (Interface, InterfaceInfo) {
    let link = link_type(u32::from(order.u16(block, HEAD_BYTES)));
    let snaplen = order.u32(block, HEAD_BYTES + 4);
    let (mut name, mut resolution, mut offset_s) = (None, None, None);
    let mut rest = &block[HEAD_BYTES + FIELDS_BYTES..];
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
