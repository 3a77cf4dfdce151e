//! Transport bytes in, header fields out.

use super::Unread;
use super::link::be16;
use super::net::Internet;
use super::packet::{Icmp, Quoted, Tcp, Transport, Udp};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|field| u32::from_be_bytes(*field))
}

/// Reads the transport header of `ip`.
///
/// # Errors
///
/// [`Unread`] says why it cannot be read.
pub fn transport(ip: &Internet<'_>) -> Result<Transport, Unread> {
    if let Some(piece) = ip.piece
        && (piece.offset != 0 || (ip.proto == TCP && ip.wire_len < 14))
    {
        return fragment(ip, piece.offset, piece.id);
    }
    match ip.proto {
        TCP => tcp(ip).map(Transport::Tcp),
        UDP => udp(ip).map(Transport::Udp),
        ICMP if ip.src.is_ipv4() => icmp(ip, false).map(Transport::Icmp),
        ICMPV6 if ip.src.is_ipv6() => icmp(ip, true).map(Transport::Icmp),
        proto => Ok(Transport::Other { proto }),
    }
}

fn fragment(ip: &Internet<'_>, offset: u16, id: u32) -> Result<Transport, Unread> {
    let payload_len = ip.wire_len;
    match (offset, ip.proto) {
        (0, _) => {
            let head = *ip.payload.first_chunk().ok_or(Unread::TruncatedFragment)?;
            Ok(Transport::TinyFragment { id, head })
        }
        (1, TCP) if ip.payload.len() >= 6 => {
            let tail = *ip.payload.first_chunk().expect("six bytes are there");
            Ok(Transport::SecondFragment {
                id,
                tail,
                payload_len,
            })
        }
        (_, proto) => Ok(Transport::LaterFragment { proto, payload_len }),
    }
}

/// A segment is read when its flags are there, even if options were cut off.
///
/// Source: RFC 9293.
fn tcp(ip: &Internet<'_>) -> Result<Tcp, Unread> {
    let bytes = ip.payload;
    if bytes.len() < 14 {
        return Err(Unread::TruncatedTcp);
    }
    let header_len = u32::from(bytes[12] >> 4) * 4;
    if header_len < 20 {
        return Err(Unread::BadTcpDataOffset);
    }
    let cut = Unread::TruncatedTcp;
    Ok(Tcp {
        src_port: be16(bytes, 0).ok_or(cut)?,
        dst_port: be16(bytes, 2).ok_or(cut)?,
        seq: be32(bytes, 4).ok_or(cut)?,
        ack: be32(bytes, 8).ok_or(cut)?,
        flags: bytes[13],
        payload_len: ip.wire_len.saturating_sub(header_len),
    })
}

/// Source: RFC 768. The length field is not trusted: the IP length decides.
fn udp(ip: &Internet<'_>) -> Result<Udp, Unread> {
    let cut = Unread::TruncatedUdp;
    if ip.payload.len() < 8 {
        return Err(cut);
    }
    Ok(Udp {
        src_port: be16(ip.payload, 0).ok_or(cut)?,
        dst_port: be16(ip.payload, 2).ok_or(cut)?,
        payload_len: ip.wire_len.saturating_sub(8),
    })
}

fn icmp(ip: &Internet<'_>, v6: bool) -> Result<Icmp, Unread> {
    let bytes = ip.payload;
    let [kind, code, ..] = *bytes else {
        return Err(Unread::TruncatedIcmp);
    };
    let (echo, error) = if v6 {
        (matches!(kind, 128 | 129), matches!(kind, 1..=4))
    } else {
        // Echo, timestamp, information and address mask messages carry an identifier.
        (
            matches!(kind, 0 | 8 | 13..=18),
            matches!(kind, 3 | 4 | 5 | 11 | 12),
        )
    };
    let id = if echo { be16(bytes, 4).unwrap_or(0) } else { 0 };
    let quoted = if error {
        bytes.get(8..).and_then(quoted)
    } else {
        None
    };
    Ok(Icmp {
        v6,
        kind,
        code,
        id,
        payload_len: ip.wire_len.saturating_sub(8),
        quoted,
    })
}

/// The start of a packet inside an ICMP error: its addresses, and its ports as far as they were quoted.
fn quoted(bytes: &[u8]) -> Option<Quoted> {
    let (src, dst, proto, at) = match bytes.first()? >> 4 {
        4 => {
            let src: [u8; 4] = *bytes.get(12..)?.first_chunk()?;
            let dst: [u8; 4] = *bytes.get(16..)?.first_chunk()?;
            let later = be16(bytes, 6)? & 0x1fff != 0;
            let at = if later {
                bytes.len()
            } else {
                usize::from(bytes[0] & 15) * 4
            };
            (
                IpAddr::V4(Ipv4Addr::from(src)),
                IpAddr::V4(Ipv4Addr::from(dst)),
                *bytes.get(9)?,
                at,
            )
        }
        6 => {
            let src: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
            let dst: [u8; 16] = *bytes.get(24..)?.first_chunk()?;
            (
                IpAddr::V6(Ipv6Addr::from(src)),
                IpAddr::V6(Ipv6Addr::from(dst)),
                *bytes.get(6)?,
                40,
            )
        }
        _ => return None,
    };
    let ports = matches!(proto, TCP | UDP)
        .then(|| Some((be16(bytes, at)?, be16(bytes, at + 2)?)))
        .flatten();
    let (src_port, dst_port) = ports.unwrap_or((0, 0));
    let seq = if proto == TCP {
        be32(bytes, at + 4)
    } else {
        None
    };
    Some(Quoted {
        src,
        dst,
        proto,
        src_port,
        dst_port,
        seq,
    })
}
