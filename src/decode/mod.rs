//! Decodes a frame into a packet, or into one counted reason.
//!
//! Reads outer headers only: link, IP, transport. Never allocates, never panics, never trusts a
//! length field beyond the captured bytes. Where the standards allow several readings, a SYN that tshark
//! shows in the outer headers is a SYN here too.
//!
//! One file a layer: `link` up to the IP header, `net` up to the transport header (extension headers; a tunnel would
//! begin here), `transport`. The kernel's fanout program reads the same headers in [`crate::capture::bpf::fanout`]: what
//! one of them follows and the other does not is a [`packet::Reach`].

mod link;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod naive_ip;
mod net;
pub mod packet;
mod rest;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod tests;
mod transport;
mod unread;

pub use packet::Packet;
pub use unread::{MalformedCause, NotIpCause, Unread};

use crate::capture::frame::{Frame, LinkType};
use link::{Link, Version};
use net::Net;
use packet::{Fragment, Reach, Tcp, Transport};
use std::net::{IpAddr, Ipv4Addr};

/// Reads the outer headers of `frame`.
///
/// Payload lengths are those on the wire, from the IP length and at most the frame's; under
/// `frame.gso`, or where the IP length is 0 because the packet is too long for it, the frame's.
///
/// # Errors
///
/// [`Unread::NotIp`] for a sound frame without an IP packet, [`Unread::Malformed`] for one that
/// cannot be read, each with its one cause.
#[inline]
pub fn packet(frame: &Frame<'_>) -> Result<Packet, Unread> {
    // One path per case, so that the packet is built in its return slot: merging half-built packets of several
    // paths cost 30 of 40 ns in stalled copies (2026-11).
    if let Some(packet) = commonest(frame) {
        return Ok(packet);
    }
    match Link::plain(frame) {
        Some(link) => ip(frame, link),
        None => unusual_link(frame),
    }
}

/// Decodes the commonest frames by fixed offsets: Ethernet, IPv4 without options, TCP, no fragment. `None` for every
/// other frame: use [`packet()`].
#[inline(always)]
pub fn commonest(frame: &Frame<'_>) -> Option<Packet> {
    const ETHERNET_LEN: usize = 14;
    const HEADER_LEN: usize = 20;
    let head = frame
        .bytes
        .first_chunk::<{ ETHERNET_LEN + HEADER_LEN + net::FLAGS_END }>()?;
    let u16_at = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let u32_at =
        |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let total_len = usize::from(u16_at(16));
    let header_len = usize::from(head[46] >> 4) * 4;
    // No fragment: offset and "more fragments" are 0.
    let whole = u16_at(20) & 0x3fff == 0;
    let plain = frame.link == LinkType::Ethernet
        && [head[12], head[13], head[14]] == [0x08, 0x00, 0x45]
        && head[23] == net::proto::TCP
        && whole
        && !frame.gso
        && total_len >= HEADER_LEN + net::FLAGS_END
        && header_len >= HEADER_LEN;
    if !plain {
        return None;
    }
    let wire = (frame.wire_len as usize).max(frame.bytes.len()) - ETHERNET_LEN;
    let payload_len = wire.min(total_len).saturating_sub(HEADER_LEN + header_len);
    Some(Packet {
        ts_ns: frame.ts_ns,
        wire_len: wire_len(frame),
        interface: frame.interface,
        vlan: [frame.vlan.map_or(0, |tag| tag.tci & 0x0fff), 0],
        vlan_count: u8::from(frame.vlan.is_some()),
        src: IpAddr::V4(Ipv4Addr::from_bits(u32_at(26))),
        dst: IpAddr::V4(Ipv4Addr::from_bits(u32_at(30))),
        fragment: Fragment::Whole,
        reach: Reach::Plain,
        gso: false,
        transport: Transport::Tcp(Tcp {
            src_port: u16_at(34),
            dst_port: u16_at(36),
            seq: u32_at(38),
            ack: u32_at(42),
            flags: head[47],
            payload_len: u32::try_from(payload_len).unwrap_or(u32::MAX),
        }),
    })
}

/// The frame's length with a removed tag, which the kernel does not count.
#[inline(always)]
fn wire_len(frame: &Frame<'_>) -> u32 {
    frame
        .wire_len
        .saturating_add(4 * u32::from(frame.vlan.is_some()))
}

/// Decodes a frame with tags, labels or another link header than Ethernet.
#[inline(never)]
fn unusual_link(frame: &Frame<'_>) -> Result<Packet, Unread> {
    ip(frame, link::walk(frame)?)
}

/// Decodes from the IP header on.
#[inline(always)]
fn ip(frame: &Frame<'_>, mut link: Link<'_>) -> Result<Packet, Unread> {
    match link.version()? {
        Version::V4 => behind_ip(frame, link, net::v4(link.rest, frame.gso)?),
        Version::V6 => behind_ip(frame, link, net::v6(link.rest, frame.gso)?),
    }
}

/// Decodes from behind the IP header on.
#[inline(always)]
fn behind_ip(frame: &Frame<'_>, mut link: Link<'_>, net: Net<'_>) -> Result<Packet, Unread> {
    if net.is_plain_tcp() {
        link.check_depth(&net);
        let tcp = transport::tcp(&net.rest)?;
        return Ok(assemble(frame, &link, &net, Transport::Tcp(tcp)));
    }
    extended(frame, link, net)
}

/// Decodes extension headers, later fragments and protocols other than TCP.
#[inline(never)]
fn extended(frame: &Frame<'_>, mut link: Link<'_>, mut net: Net<'_>) -> Result<Packet, Unread> {
    net.follow_extensions()?;
    link.check_depth(&net);
    let transport = transport::read(&net, frame.gso)?;
    Ok(assemble(frame, &link, &net, transport))
}

#[inline(always)]
fn assemble(frame: &Frame<'_>, link: &Link<'_>, net: &Net<'_>, transport: Transport) -> Packet {
    Packet {
        ts_ns: frame.ts_ns,
        wire_len: wire_len(frame),
        interface: frame.interface,
        vlan: link.vlan,
        vlan_count: link.vlan_count,
        src: net.src,
        dst: net.dst,
        fragment: net.place.fragment(),
        reach: link.reach,
        gso: frame.gso,
        transport,
    }
}
