//! IP header in, transport bytes and lengths out.

use super::Unread;
use super::link::{Network, Promised, be16};
use super::packet::Reach;
use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};
use std::net::IpAddr;

/// Extension headers that anyone stacks.
const EXTENSIONS_MAX: usize = 16;
/// Extension headers that the fanout program follows, the fragment header aside.
const PROGRAM_EXTENSIONS_MAX: usize = 2;
/// Bytes of a frame that the fanout program may look at.
pub const PROGRAM_BYTES_MAX: usize = 192;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;

/// A place in a fragmented datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Offset in units of 8 bytes.
    pub offset: u16,
    /// Identification.
    pub id: u32,
}

/// What the IP layer says.
#[derive(Clone, Copy, Debug)]
pub struct Internet<'a> {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Protocol of `payload`.
    pub proto: u8,
    /// The captured transport bytes, without link-layer padding.
    pub payload: &'a [u8],
    /// Transport bytes on the wire.
    pub wire_len: u32,
    /// Set for every fragment that is not the whole datagram.
    pub piece: Option<Piece>,
    /// Whether the fanout program gets this far.
    pub reach: Reach,
}

/// Reads the IP header that `network` found.
///
/// # Errors
///
/// [`Unread`] says why it cannot be read.
pub fn internet<'a>(
    bytes: &'a [u8],
    wire_len: u32,
    gso: bool,
    network: &Network,
) -> Result<Internet<'a>, Unread> {
    let packet = bytes.get(network.at..).ok_or(Unread::TruncatedIp)?;
    let before = u32::try_from(network.at).unwrap_or(u32::MAX);
    // A capture may claim a wire length below what it holds; what is there is there.
    let held = u32::try_from(packet.len()).unwrap_or(u32::MAX);
    let on_wire = wire_len.saturating_sub(before).max(held);
    let version = packet.first().ok_or(Unread::TruncatedIp)? >> 4;
    let internet = match (version, network.promised) {
        (4, Promised::V4 | Promised::Either) => ipv4(packet, on_wire, gso)?,
        (6, Promised::V6 | Promised::Either) => ipv6(packet, on_wire, gso)?,
        _ => return Err(Unread::BadIpVersion),
    };
    let header = packet.len() - packet.len().min(offset_of(packet, internet.payload));
    let transport_at = bytes.len() - header;
    let deep = internet.reach == Reach::DeepExtension || transport_at + 14 > PROGRAM_BYTES_MAX;
    let reach = match (network.reach, deep) {
        (Reach::Plain, true) => Reach::DeepExtension,
        (reach, _) => reach,
    };
    Ok(Internet { reach, ..internet })
}

fn offset_of(packet: &[u8], payload: &[u8]) -> usize {
    payload.as_ptr().addr() - packet.as_ptr().addr()
}

fn ipv4(packet: &[u8], on_wire: u32, gso: bool) -> Result<Internet<'_>, Unread> {
    let words = packet[0] & 15;
    if words < 5 {
        return Err(Unread::BadIpHeaderLen);
    }
    let header_len = usize::from(words) * 4;
    let header = Ipv4HeaderSlice::from_slice(packet).map_err(|_| Unread::TruncatedIp)?;
    let offset = header.fragments_offset().value();
    let fragmented = header.more_fragments() || offset != 0;
    if fragmented && header.total_len() == 0 {
        return Err(Unread::BadIpTotalLen);
    }
    let total_len = match u32::from(header.total_len()) {
        0 => on_wire,
        claimed if gso => claimed.max(on_wire),
        claimed => claimed,
    };
    let wire_len = total_len
        .checked_sub(u32::from(words) * 4)
        .ok_or(Unread::BadIpTotalLen)?;
    let end = packet.len().min(total_len as usize).max(header_len);
    Ok(Internet {
        src: IpAddr::V4(header.source_addr()),
        dst: IpAddr::V4(header.destination_addr()),
        proto: header.protocol().0,
        payload: &packet[header_len..end],
        wire_len,
        piece: fragmented.then(|| Piece {
            offset,
            id: u32::from(header.identification()),
        }),
        reach: Reach::Plain,
    })
}

fn ipv6(packet: &[u8], on_wire: u32, gso: bool) -> Result<Internet<'_>, Unread> {
    let header = Ipv6HeaderSlice::from_slice(packet).map_err(|_| Unread::TruncatedIp)?;
    let after = on_wire.saturating_sub(40);
    let payload_len = match u32::from(header.payload_length()) {
        0 => after, // a jumbo payload or BIG TCP
        claimed if gso => claimed.max(after),
        claimed => claimed,
    };
    let end = packet.len().min(40 + payload_len as usize);
    let mut walk = Walk {
        proto: header.next_header().0,
        at: 40,
        piece: None,
        extensions: 0,
    };
    walk.extensions(&packet[..end])?;
    let wire_len = payload_len.saturating_sub(u32::try_from(walk.at - 40).unwrap_or(u32::MAX));
    Ok(Internet {
        src: IpAddr::V6(header.source_addr()),
        dst: IpAddr::V6(header.destination_addr()),
        proto: walk.proto,
        payload: &packet[walk.at.min(end)..end],
        wire_len,
        piece: walk.piece,
        reach: if walk.extensions > PROGRAM_EXTENSIONS_MAX {
            Reach::DeepExtension
        } else {
            Reach::Plain
        },
    })
}

struct Walk {
    proto: u8,
    at: usize,
    piece: Option<Piece>,
    extensions: usize,
}

impl Walk {
    fn extensions(&mut self, packet: &[u8]) -> Result<(), Unread> {
        for _ in 0..EXTENSIONS_MAX {
            let field = |at: usize| packet.get(at).copied().ok_or(Unread::BadExtension);
            match self.proto {
                HOP_BY_HOP | ROUTING | DESTINATION | MOBILITY => {
                    self.step(field(self.at)?, (usize::from(field(self.at + 1)?) + 1) * 8);
                    self.extensions += 1;
                }
                AUTHENTICATION => {
                    self.step(field(self.at)?, (usize::from(field(self.at + 1)?) + 2) * 4);
                    // The fanout program does not follow it at all.
                    self.extensions += PROGRAM_EXTENSIONS_MAX + 1;
                }
                FRAGMENT => {
                    let bits = be16(packet, self.at + 2).ok_or(Unread::BadExtension)?;
                    let id: [u8; 4] = *packet
                        .get(self.at + 4..)
                        .and_then(<[u8]>::first_chunk)
                        .ok_or(Unread::BadExtension)?;
                    self.step(field(self.at)?, 8);
                    if bits & 0xfff9 != 0 {
                        self.piece = Some(Piece {
                            offset: bits >> 3,
                            id: u32::from_be_bytes(id),
                        });
                        if bits >> 3 != 0 {
                            return Ok(());
                        }
                    }
                }
                _ => return Ok(()),
            }
            if self.at > packet.len() {
                return Err(Unread::BadExtension);
            }
        }
        Err(Unread::BadExtension)
    }

    fn step(&mut self, next: u8, len: usize) {
        self.proto = next;
        self.at += len;
    }
}
