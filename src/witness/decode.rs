//! A frame of the sample, read by etherparse.
//!
//! By its stream readers, which share no code with the slices behind the sensor's `decode`. They need whole headers,
//! options included, where the sensor stops at the flags: a SYN here is one there, and a SYN that cannot be read here
//! is counted `unread`.

use super::Syn;
use crate::capture::bpf::sample::Ends;
use crate::capture::frame::{Frame, LinkType};
use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, SingleVlanHeader, TcpHeader,
};
use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const TAGS_MAX: usize = 2;

/// Reads a SYN without ACK.
pub fn syn(frame: &Frame<'_>) -> Option<Syn> {
    let mut cursor = Cursor::new(frame.bytes);
    let v4 = match frame.link {
        LinkType::Ethernet => ethernet(&mut cursor)?,
        LinkType::RawIp => frame.bytes.first()? >> 4 == 4,
        _ => return None,
    };
    let (src, dst, payload_len) = if v4 {
        ipv4(&mut cursor)?
    } else {
        ipv6(&mut cursor)?
    };
    let rest = frame
        .bytes
        .get(usize::try_from(cursor.position()).ok()?..)?;
    let segment = payload_len.and_then(|len| rest.get(..len)).unwrap_or(rest);
    let tcp = TcpHeader::read(&mut Cursor::new(segment)).ok()?;
    (tcp.syn && !tcp.ack).then_some(Syn {
        ends: Ends {
            src,
            dst,
            src_port: tcp.source_port,
            dst_port: tcp.destination_port,
        },
        isn: tcp.sequence_number,
    })
}

/// Reads up to the IP header; true for IPv4, false for IPv6.
fn ethernet(cursor: &mut Cursor<&[u8]>) -> Option<bool> {
    let mut ether_type = Ethernet2Header::read(cursor).ok()?.ether_type;
    for _ in 0..TAGS_MAX {
        let tagged = matches!(
            ether_type,
            EtherType::VLAN_TAGGED_FRAME
                | EtherType::PROVIDER_BRIDGING
                | EtherType::VLAN_DOUBLE_TAGGED_FRAME
        );
        if !tagged {
            break;
        }
        ether_type = SingleVlanHeader::read(cursor).ok()?.ether_type;
    }
    match ether_type {
        EtherType::IPV4 => Some(true),
        EtherType::IPV6 => Some(false),
        _ => None,
    }
}

/// Addresses, and length of the segment; `None`: to the frame's end.
type Read = (IpAddr, IpAddr, Option<usize>);

fn ipv4(cursor: &mut Cursor<&[u8]>) -> Option<Read> {
    let header = Ipv4Header::read(cursor).ok()?;
    if header.protocol != IpNumber::TCP || header.is_fragmenting_payload() {
        return None;
    }
    // Total length 0: merged segments (BIG TCP), too long for the field.
    let payload_len = match header.total_len {
        0 => None,
        _ => Some(usize::from(header.payload_len().ok()?)),
    };
    let address = |octets: [u8; 4]| IpAddr::V4(Ipv4Addr::from(octets));
    Some((
        address(header.source),
        address(header.destination),
        payload_len,
    ))
}

fn ipv6(cursor: &mut Cursor<&[u8]>) -> Option<Read> {
    let header = Ipv6Header::read(cursor).ok()?;
    if header.next_header != IpNumber::TCP {
        return None;
    }
    let address = |octets: [u8; 16]| IpAddr::V6(Ipv6Addr::from(octets));
    Some((
        address(header.source),
        address(header.destination),
        Some(usize::from(header.payload_length)),
    ))
}
