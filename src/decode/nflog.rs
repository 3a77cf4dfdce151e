//! Packets that netfilter logged (link type 239).

use super::rest::Rest;
use super::unread::{MalformedCause, Unread};

/// Most attributes before the packet; the kernel knows fewer than 30.
const ATTRIBUTES_MAX: usize = 64;

/// Family, version, group.
const HEADER: usize = 4;
/// Length and type of an attribute; the length counts them, too.
const ATTRIBUTE: usize = 4;
/// Attributes start at multiples of this (`NLA_ALIGNTO`).
const ALIGN: usize = 4;

const PACKET_HDR: u16 = 1;
const PAYLOAD: u16 = 9;
/// Two flags of netlink stand above an attribute's type.
const KIND: u16 = 0x3fff;

/// A packet among the attributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logged<'a> {
    pub rest: Rest<'a>,
    /// The EtherType that the kernel names; 0: none.
    pub ethertype: u16,
    /// The address family of the hook.
    pub family: u8,
}

/// Finds the packet among the attributes.
///
/// # Errors
///
/// [`MalformedCause::TruncatedLink`]: there is none.
///
/// Source: `LINKTYPE_NFLOG` of the tcpdump group; `nfulnl_attr_type` (linux/netfilter/nfnetlink_log.h).
pub(super) fn nflog(frame: Rest<'_>) -> Result<Logged<'_>, Unread> {
    const CUT: MalformedCause = MalformedCause::TruncatedLink;
    let family = frame.u8(0).ok_or(CUT)?;
    let mut rest = frame.skip(HEADER).ok_or(CUT)?;
    let mut ethertype = 0;
    let read = byte_order(rest.array(2).ok_or(CUT)?);
    for _ in 0..ATTRIBUTES_MAX {
        let [a, b, c, d] = rest.array(0).ok_or(CUT)?;
        let (len, kind) = (usize::from(read([a, b])), read([c, d]) & KIND);
        let value = len.checked_sub(ATTRIBUTE).ok_or(CUT)?;
        if kind == PAYLOAD {
            return Ok(Logged {
                rest: rest.skip(ATTRIBUTE).ok_or(CUT)?.limit(value),
                ethertype,
                family,
            });
        }
        if kind == PACKET_HDR && value >= 2 {
            ethertype = rest.u16(ATTRIBUTE).ok_or(CUT)?;
        }
        rest = rest.skip(len.next_multiple_of(ALIGN)).ok_or(CUT)?;
    }
    Err(CUT.into())
}

/// The byte order of the host that logged, which no header names: types are small numbers, so of the first one's two
/// bytes the upper is zero, but for the flags.
fn byte_order(kind: [u8; 2]) -> fn([u8; 2]) -> u16 {
    match u16::from_le_bytes(kind) & KIND {
        0..=0xff => u16::from_le_bytes,
        _ => u16::from_be_bytes,
    }
}
