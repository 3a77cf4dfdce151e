//! Decodes a frame into a packet, or into one counted reason.
//!
//! Reads outer headers only: link, IP, transport. Never allocates, never panics, never trusts a
//! length field beyond the captured bytes. Where the standards allow several readings, a SYN that tshark
//! shows in the outer headers is a SYN here too.
//!
//! One file a layer: `link` up to the IP header, `net` up to the transport header (extension headers), `transport`;
//! `tunnel` goes from a frame to the one inside. The kernel's fanout program reads the same headers in [`crate::capture::bpf::fanout`]: what
//! one of them follows and the other does not is a [`packet::Reach`].

pub mod checksums;
pub mod headers;
pub mod key;
mod link;
mod macsec;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod naive_ip;
#[cfg(test)]
mod naive_odd;
#[cfg(test)]
mod naive_tunnel;
mod net;
mod nflog;
pub mod packet;
mod rest;
#[cfg(test)]
pub(crate) mod shapes;
#[cfg(test)]
mod shapes_odd;
#[cfg(test)]
mod tests;
mod transport;
pub mod tunnel;
mod unread;
pub(crate) mod vlan;

pub use headers::Headers;
pub use packet::Packet;
pub use unread::{MalformedCause, NotIpCause, Unread};

use crate::capture::frame::Frame;
use crate::capture::tunnels::Inside;
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
    match Link::plain(frame) {
        Some(link) => ip(frame, link),
        None => unusual_link(frame),
    }
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
        ip_len: net.len,
        interface: frame.interface,
        vlan: link.vlan,
        vlan_count: link.vlan_count,
        src: net.src,
        dst: net.dst,
        fragment: net.place.fragment(),
        reach: link.reach,
        inside: Inside::NONE,
        gso: frame.gso,
        transport,
    }
}
