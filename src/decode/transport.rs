//! TCP, UDP, ICMP and fragments of them.

use super::net::{self, FLAGS_END, Net, proto};
use super::packet::{Fragment, Icmp, Quoted, Tcp, Transport, Udp};
use super::rest::Rest;
use super::unread::{MalformedCause, Unread};

/// Decodes the headers behind IP. Under `gso` the lengths in UDP headers are ignored.
///
/// # Errors
///
/// The TCP, UDP and ICMP [`MalformedCause`]s.
pub(super) fn read(net: &Net<'_>, gso: bool) -> Result<Transport, Unread> {
    if net.place.offset != 0 {
        return Ok(later_fragment(net));
    }
    match net.proto {
        proto::TCP => match tcp(&net.rest) {
            Err(Unread::Malformed(MalformedCause::TruncatedTcp)) => {
                tiny_fragment(net).ok_or(MalformedCause::TruncatedTcp.into())
            }
            read => read.map(Transport::Tcp),
        },
        proto::UDP => udp(net, gso),
        proto::ICMP if net.src.is_ipv4() => icmp(net, false),
        proto::ICMPV6 if net.src.is_ipv6() => icmp(net, true),
        proto => Ok(Transport::Other { proto }),
    }
}

fn wire(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Reads a TCP header as far as its flags.
///
/// Options beyond the packet or the capture are ignored. A data offset below 20 bytes is an error: no stack accepts
/// such a segment, and tshark shows no flags for it. Source: RFC 9293, 3.1.
#[inline(always)]
pub(super) fn tcp(rest: &Rest<'_>) -> Result<Tcp, Unread> {
    let header = rest
        .bytes
        .first_chunk::<FLAGS_END>()
        .ok_or(MalformedCause::TruncatedTcp)?;
    let [a, b, c, d, s0, s1, s2, s3, a0, a1, a2, a3, offset, flags] = *header;
    let header_len = usize::from(offset >> 4) * 4;
    if header_len < 20 {
        return Err(MalformedCause::BadTcpDataOffset.into());
    }
    Ok(Tcp {
        src_port: u16::from_be_bytes([a, b]),
        dst_port: u16::from_be_bytes([c, d]),
        seq: u32::from_be_bytes([s0, s1, s2, s3]),
        ack: u32::from_be_bytes([a0, a1, a2, a3]),
        flags,
        payload_len: wire(rest.wire.saturating_sub(header_len)),
    })
}

/// The first 8 to 13 bytes of a TCP header that the sender, not the capture, cut before the flags; the next fragment
/// continues it. Source: RFC 1858.
#[cold]
fn tiny_fragment(net: &Net<'_>) -> Option<Transport> {
    let tiny = net.place.fragment() == Fragment::First && net.rest.wire < FLAGS_END;
    let head = net.rest.array(0)?;
    tiny.then_some(Transport::TinyFragment {
        id: net.place.id,
        head,
    })
}

/// A later fragment; the one at offset 8 may hold the flags of a tiny first fragment.
fn later_fragment(net: &Net<'_>) -> Transport {
    let payload_len = wire(net.rest.wire);
    match net.rest.array(0) {
        Some(tail) if net.place.offset == 1 && net.proto == proto::TCP => {
            Transport::SecondFragment {
                id: net.place.id,
                tail,
                payload_len,
            }
        }
        _ => Transport::LaterFragment {
            proto: net.proto,
            payload_len,
        },
    }
}

/// Reads a UDP header.
///
/// The payload ends at the length field or with the IP packet, whichever is earlier; a length of 0 is a jumbogram.
/// Source: RFC 768, RFC 2675.
fn udp(net: &Net<'_>, gso: bool) -> Result<Transport, Unread> {
    let [a, b, c, d, high, low, ..]: [u8; 8] =
        net.rest.array(0).ok_or(MalformedCause::TruncatedUdp)?;
    let len = match usize::from(u16::from_be_bytes([high, low])) {
        0 => net.rest.wire,
        _ if gso => net.rest.wire,
        1..8 => return Err(MalformedCause::BadUdpLen.into()),
        len => len.min(net.rest.wire),
    };
    Ok(Transport::Udp(Udp {
        src_port: u16::from_be_bytes([a, b]),
        dst_port: u16::from_be_bytes([c, d]),
        payload_len: wire(len.saturating_sub(8)),
    }))
}

/// Reads an ICMP or ICMPv6 header and, for errors, the packet it quotes.
///
/// Source: RFC 792, RFC 4443.
fn icmp(net: &Net<'_>, v6: bool) -> Result<Transport, Unread> {
    let [kind, code, _, _, high, low, ..]: [u8; 8] =
        net.rest.array(0).ok_or(MalformedCause::TruncatedIcmp)?;
    let (has_id, is_error) = if v6 {
        (matches!(kind, 128 | 129), matches!(kind, 1..=4))
    } else {
        (
            matches!(kind, 0 | 8 | 13..=18),
            matches!(kind, 3 | 4 | 11 | 12),
        )
    };
    let body = net.rest.skip(8).filter(|_| is_error);
    Ok(Transport::Icmp(Icmp {
        v6,
        kind,
        code,
        id: match has_id {
            true => u16::from_be_bytes([high, low]),
            false => 0,
        },
        payload_len: wire(net.rest.wire.saturating_sub(8)),
        quoted: body.and_then(|body| quoted(body, v6)),
    }))
}

/// Reads the packet that an ICMP error quotes, as far as its ports; `None` without ports, as in later fragments.
///
/// Its length fields are ignored: they describe the packet, not the quotation.
fn quoted(rest: Rest<'_>, v6: bool) -> Option<Quoted> {
    let version = rest.u8(0)? >> 4;
    let mut net = match (version, v6) {
        (4, false) => net::v4(rest, true).ok()?,
        (6, true) => net::v6(rest, true).ok()?,
        _ => return None,
    };
    net.follow_extensions().ok()?;
    if net.place.offset != 0 {
        return None;
    }
    let [src_port, dst_port] = match net.proto {
        proto::TCP | proto::UDP => [net.rest.u16(0)?, net.rest.u16(2)?],
        _ => [0, 0],
    };
    Some(Quoted {
        src: net.src,
        dst: net.dst,
        proto: net.proto,
        src_port,
        dst_port,
        seq: net.rest.u32(4).filter(|_| net.proto == proto::TCP),
    })
}
