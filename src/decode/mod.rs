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
    let mut link = link::walk(frame)?;
    let net = net::read(&mut link, frame.gso)?;
    let transport = transport::read(&net, frame.gso)?;
    let fragment = match net.place.offset {
        0 => net.place.fragment(),
        _ => packet::Fragment::Whole,
    };
    Ok(Packet {
        ts_ns: frame.ts_ns,
        wire_len: frame.wire_len,
        interface: frame.interface,
        vlan: link.vlan,
        vlan_count: link.vlan_count,
        src: net.src,
        dst: net.dst,
        fragment,
        reach: link.reach,
        gso: frame.gso,
        transport,
    })
}
