//! IPv4 and IPv6 up to the transport header: lengths, extension headers, fragments.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::packet::Fragment;
use super::rest::Rest;
use super::unread::{MalformedCause, Unread};
use crate::capture::bpf::fanout::{EXTENSION, EXTENSIONS};

/// Most extension headers of a packet.
const EXTENSIONS_MAX: usize = 256;
/// The bytes of a TCP header up to its flags.
pub(super) const FLAGS_END: usize = 14;
/// Bytes of an IPv6 header without extension headers.
const IPV6_HEADER: usize = 40;
/// Largest value of an IP length field; a longer packet has 0.
const LENGTH_FIELD_MAX: usize = 65_535;

pub(super) mod proto {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IPV4: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const DESTINATION: u8 = 60;
    pub const SHIM6: u8 = 140;
}

/// A fragment's place in its datagram.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// Identification of the datagram.
    pub id: u32,
    /// Offset in units of 8 bytes.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
}

impl Place {
    /// Later fragments are `Whole` here: their transport tells.
    pub fn fragment(self) -> Fragment {
        if self.more && self.offset == 0 {
            Fragment::First
        } else {
            Fragment::Whole
        }
    }
}

/// A decoded IP header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Net<'a> {
    pub src: IpAddr,
    pub dst: IpAddr,
    /// Protocol of `rest`.
    pub proto: u8,
    pub place: Place,
    /// Bytes from the IP header on.
    pub len: u32,
    /// The part behind the IP headers. `rest.wire` follows the IP length.
    pub rest: Rest<'a>,
    /// Extension headers that the fanout program does not follow: of other kinds, longer, or more of them.
    pub beyond_program: bool,
}

impl Net<'_> {
    /// A whole TCP segment, or the first fragment of one long enough to hold its flags.
    #[inline(always)]
    pub fn is_plain_tcp(&self) -> bool {
        self.proto == proto::TCP && self.place.offset == 0 && self.rest.bytes.len() >= FLAGS_END
    }

    /// Follows extension headers up to the transport header, or to a fragment that is not the first.
    ///
    /// IPv4 has the authentication header only.
    ///
    /// # Errors
    ///
    /// [`MalformedCause::TruncatedExtension`], [`MalformedCause::BadExtension`].
    pub fn follow_extensions(&mut self) -> Result<(), Unread> {
        if self.place.offset != 0 {
            return Ok(());
        }
        let v4 = self.src.is_ipv4();
        for nth in 0..EXTENSIONS_MAX {
            let len_of = match self.proto {
                proto::AUTHENTICATION => |len: u8| (usize::from(len) + 2) * 4,
                proto::HOP_BY_HOP | proto::ROUTING | proto::DESTINATION | proto::SHIM6 if !v4 => {
                    |len: u8| (usize::from(len) + 1) * 8
                }
                proto::FRAGMENT if !v4 => |_| 8,
                _ => return Ok(()),
            };
            let [next, units] = self.rest.array(0).ok_or(self.short_of(2))?;
            let len = len_of(units);
            let after = self.rest.skip(len).ok_or(self.short_of(len))?;
            if self.proto == proto::FRAGMENT {
                let word = self.rest.u16(2).ok_or(self.short_of(len))?;
                self.place = Place {
                    id: self.rest.u32(4).ok_or(self.short_of(len))?,
                    offset: word >> 3,
                    more: self.place.more || word & 1 != 0,
                };
            }
            let followed = match self.proto {
                proto::FRAGMENT => true,
                proto::HOP_BY_HOP | proto::ROUTING | proto::DESTINATION => units <= EXTENSION,
                _ => false,
            };
            self.beyond_program |= !followed || nth >= EXTENSIONS;
            self.proto = next;
            self.rest = after;
            if self.place.offset != 0 {
                return Ok(());
            }
        }
        Err(MalformedCause::BadExtension.into())
    }

    /// The error for a header of `len` bytes that exceeds the packet, or only its captured part.
    fn short_of(&self, len: usize) -> Unread {
        match self.rest.wire < len {
            true => MalformedCause::BadExtension.into(),
            false => MalformedCause::TruncatedExtension.into(),
        }
    }
}

/// Reads an IPv4 header.
///
/// The packet ends at its total length or with the frame, whichever is earlier. A total length of 0 is a segment too
/// long for the field (BIG TCP): the frame's length counts.
///
/// Source: RFC 791; `iph_totlen` in the kernel's `linux/ip.h`.
#[inline(always)]
pub(super) fn v4(rest: Rest<'_>, gso: bool) -> Result<Net<'_>, Unread> {
    let Ok(header) = Ipv4HeaderSlice::from_slice(rest.bytes) else {
        return Err(v4_error(rest));
    };
    let header_len = header.slice().len();
    let total_len = usize::from(header.total_len());
    let rest = match total_len {
        0 => rest,
        _ if gso => rest,
        _ if total_len < header_len => return Err(MalformedCause::BadIpTotalLen.into()),
        _ => rest.limit(total_len),
    };
    Ok(Net {
        src: IpAddr::V4(Ipv4Addr::from(header.source())),
        dst: IpAddr::V4(Ipv4Addr::from(header.destination())),
        proto: header.protocol().0,
        place: Place {
            id: u32::from(header.identification()),
            offset: header.fragments_offset().value(),
            more: header.more_fragments(),
        },
        len: u32::try_from(rest.wire).unwrap_or(u32::MAX),
        rest: rest.skip(header_len).ok_or(MalformedCause::TruncatedIp)?,
        beyond_program: false,
    })
}

/// Why etherparse refused an IPv4 header whose version is 4.
#[cold]
fn v4_error(rest: Rest<'_>) -> Unread {
    match rest.u8(0) {
        Some(first) if first & 0x0f < 5 && rest.bytes.len() >= 20 => {
            MalformedCause::BadIpHeaderLen.into()
        }
        _ => MalformedCause::TruncatedIp.into(),
    }
}

/// Reads an IPv6 header, without its extension headers.
///
/// A payload length of 0 is taken literally, as in tshark and the kernel, unless the frame is too long for
/// the field or holds several segments (BIG TCP, jumbograms): then the frame's length counts.
///
/// Source: RFC 8200, RFC 2675.
#[inline(always)]
pub(super) fn v6(rest: Rest<'_>, gso: bool) -> Result<Net<'_>, Unread> {
    let whole = rest.wire;
    let header =
        Ipv6HeaderSlice::from_slice(rest.bytes).map_err(|_| MalformedCause::TruncatedIp)?;
    let payload_len = usize::from(header.payload_length());
    let payload = rest
        .skip(header.slice().len())
        .ok_or(MalformedCause::TruncatedIp)?;
    let rest = if gso || (payload_len == 0 && payload.wire > LENGTH_FIELD_MAX) {
        payload
    } else {
        payload.limit(payload_len)
    };
    Ok(Net {
        src: IpAddr::V6(Ipv6Addr::from(header.source())),
        dst: IpAddr::V6(Ipv6Addr::from(header.destination())),
        proto: header.next_header().0,
        place: Place::default(),
        len: u32::try_from(whole.min(rest.wire + IPV6_HEADER)).unwrap_or(u32::MAX),
        rest,
        beyond_program: false,
    })
}
