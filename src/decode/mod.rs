//! Frame in, packet or one counted reason out.
//!
//! Outer headers only. Length fields are never trusted: bytes are those that were captured, lengths those
//! that agree with the frame. Nothing is allocated, nothing panics, whatever the bytes.

mod link;
mod net;
pub mod packet;
mod transport;
mod unread;

pub use unread::Unread;

use crate::capture::frame::Frame;
use packet::{Fragment, Packet};

/// Reads `frame`.
///
/// # Errors
///
/// [`Unread`]: the one reason why it could not be read.
pub fn packet(frame: &Frame<'_>) -> Result<Packet, Unread> {
    let network = link::network(frame)?;
    let ip = net::internet(frame.bytes, frame.wire_len, frame.gso, &network)?;
    let transport = transport::transport(&ip)?;
    Ok(Packet {
        ts_ns: frame.ts_ns,
        wire_len: frame.wire_len,
        interface: frame.interface,
        vlan: network.vlan,
        vlan_count: network.vlan_count,
        src: ip.src,
        dst: ip.dst,
        fragment: if ip.piece.is_some() {
            Fragment::First
        } else {
            Fragment::Whole
        },
        reach: ip.reach,
        gso: frame.gso,
        transport,
    })
}
