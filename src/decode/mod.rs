//! Frame in, packet or one counted reason out.
//!
//! Reads outer headers only: link, IP, transport. Never allocates, never panics, never trusts a
//! length field beyond the bytes that are there. Where the standards leave room, a SYN that tshark
//! shows in the outer headers is a SYN here too.

pub mod link;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod naive_ip;
pub mod net;
pub mod packet;
mod rest;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod tests;
mod transport;
pub mod unread;

pub use packet::Packet;
pub use unread::{Cause, NotIpCause, Unread};

use crate::capture::frame::Frame;
use link::{Link, Version};
use net::Net;
use packet::Transport;

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
    // The plain way is one straight line, so that the packet is built where it is returned: merging
    // half-built packets of several ways cost 30 of 40 ns in stalled copies (2026-11).
    match Link::plain(frame) {
        Some(link) => ip(frame, link),
        None => winding(frame),
    }
}

/// Reads a frame with more than a plain link header.
#[inline(never)]
fn winding(frame: &Frame<'_>) -> Result<Packet, Unread> {
    ip(frame, link::walk(frame)?)
}

/// Reads on from the IP header.
#[inline(always)]
fn ip(frame: &Frame<'_>, mut link: Link<'_>) -> Result<Packet, Unread> {
    let net = match link.version()? {
        Version::V4 => net::v4(link.rest, frame.gso)?,
        Version::V6 => return plain_or_extended(frame, link, net::v6(link.rest, frame.gso)?),
    };
    plain_or_extended(frame, link, net)
}

/// Reads on from behind the IP header.
#[inline(always)]
fn plain_or_extended(
    frame: &Frame<'_>,
    mut link: Link<'_>,
    net: Net<'_>,
) -> Result<Packet, Unread> {
    if net.is_plain_tcp() {
        link.hinder_deep(&net);
        let tcp = transport::tcp(&net.rest)?;
        return Ok(assemble(frame, &link, &net, Transport::Tcp(tcp)));
    }
    extended(frame, link, net)
}

/// Reads everything that is not plain TCP: extension headers, fragments, other protocols.
#[inline(never)]
fn extended(frame: &Frame<'_>, mut link: Link<'_>, mut net: Net<'_>) -> Result<Packet, Unread> {
    net.follow_extensions()?;
    link.hinder_deep(&net);
    let transport = transport::read(&net, frame.gso)?;
    Ok(assemble(frame, &link, &net, transport))
}

#[inline(always)]
fn assemble(frame: &Frame<'_>, link: &Link<'_>, net: &Net<'_>, transport: Transport) -> Packet {
    Packet {
        ts_ns: frame.ts_ns,
        // The kernel leaves the tag that it took out of the frame out of the length, too.
        wire_len: frame
            .wire_len
            .saturating_add(4 * u32::from(frame.vlan.is_some())),
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
