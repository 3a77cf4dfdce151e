//! Verifies checksums (`--checksums verify`): of IPv4 headers, of TCP and of UDP. Source: RFC 1071, RFC 8200 (8.1).

use std::net::IpAddr;

use super::link::{self, Link, Version};
use super::net::{self, Net, proto};
use super::rest::Rest;
use super::unread::MalformedCause;
use crate::capture::frame::{ChecksumState, Frame};
use crate::capture::tunnels::Tunnel;

const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

words! {
    /// What came of the checksum of a segment or a datagram, if it is not bad.
    #[derive(Hash)]
    pub enum Checksum {
        /// Computed, and right.
        Right = "right",
        /// The kernel or the NIC has verified it (TP_STATUS_CSUM_VALID).
        Proven = "proven",
        /// Not verified: it is not computed yet (TP_STATUS_CSUMNOTREADY), as in frames that this host sends or has merged.
        Pending = "pending",
        /// Not verified: not all bytes were captured.
        Cut = "cut",
        /// Not verified: a fragment.
        Fragment = "fragment",
        /// Not verified: a datagram without one.
        Absent = "absent",
        /// Not verified: the addresses it is computed with stand in an extension header.
        Extension = "extension",
    }
}

/// What came of the checksum of the outermost segment or datagram of `frame`; `None`: there is none, or decoding refuses
/// the frame.
///
/// # Errors
///
/// [`MalformedCause::BadIpChecksum`], [`MalformedCause::BadTcpChecksum`], [`MalformedCause::BadUdpChecksum`]: the
/// receiver drops such a packet.
pub fn verify(frame: &Frame<'_>, state: ChecksumState) -> Result<Option<Checksum>, MalformedCause> {
    let Some((ip, mut net)) = ip(frame)? else {
        return Ok(None);
    };
    let is_known = net.follow_extensions().is_ok() && matches!(net.proto, proto::TCP | proto::UDP);
    if !is_known {
        return Ok(None);
    }
    if net.place.more || net.place.offset != 0 {
        return Ok(Some(Checksum::Fragment));
    }
    match state {
        ChecksumState::Pending => return Ok(Some(Checksum::Pending)),
        ChecksumState::Proven => return Ok(Some(Checksum::Proven)),
        // Of several segments in one frame nobody computes it.
        ChecksumState::Unknown if frame.gso => return Ok(Some(Checksum::Pending)),
        ChecksumState::Unknown => {}
    }
    let (len, bad) = match net.proto {
        proto::TCP if net.rest.wire < TCP_HEADER => return Ok(None),
        proto::TCP => (net.rest.wire, MalformedCause::BadTcpChecksum),
        _ => match datagram(&net) {
            Datagram::Of(len) => (len, MalformedCause::BadUdpChecksum),
            Datagram::Absent => return Ok(Some(Checksum::Absent)),
            Datagram::Cut => return Ok(Some(Checksum::Cut)),
            Datagram::Unread => return Ok(None),
            Datagram::Bad => return Err(MalformedCause::BadUdpChecksum),
        },
    };
    let Some(bytes) = net.rest.bytes.get(..len) else {
        return Ok(Some(Checksum::Cut));
    };
    let sum = pseudo_header(&net, len) + sum(bytes);
    match fold(sum) {
        0xffff => Ok(Some(Checksum::Right)),
        _ if has_other_ends(&ip, &net) => Ok(Some(Checksum::Extension)),
        _ => Err(bad),
    }
}

/// The part from the IP header on, and the header, whose checksum is right; `None` where decoding refuses it.
fn ip<'a>(frame: &Frame<'a>) -> Result<Option<(Rest<'a>, Net<'a>)>, MalformedCause> {
    let link = Link::plain(frame).or_else(|| link::walk(frame).ok());
    let Some(mut link) = link else {
        return Ok(None);
    };
    let net = match link.version() {
        Ok(Version::V4) => net::v4(link.rest, frame.gso),
        Ok(Version::V6) => net::v6(link.rest, frame.gso),
        Err(why) => Err(why),
    };
    let Ok(net) = net else {
        return Ok(None);
    };
    if net.src.is_ipv4() {
        let header = &link.rest.bytes[..net.rest.at - link.rest.at];
        // A packet too long for the length field, which is 0 then, is on no wire (BIG TCP).
        let is_long = header[2..4] == [0, 0] && link.rest.wire > usize::from(u16::MAX);
        if !is_long && fold(sum(header)) != 0xffff {
            return Err(MalformedCause::BadIpChecksum);
        }
    }
    Ok(Some((link.rest, net)))
}

/// The checksum of a datagram.
enum Datagram {
    /// Over so many bytes.
    Of(usize),
    Absent,
    Cut,
    /// Decoding refuses it.
    Unread,
    Bad,
}

/// None is allowed in IPv4 and, in IPv6, of tunnels (RFC 6935). A datagram that ends beyond its packet is dropped, too.
fn datagram(net: &Net<'_>) -> Datagram {
    let Some(header) = net.rest.array::<UDP_HEADER>(0) else {
        return match net.rest.wire < UDP_HEADER {
            true => Datagram::Unread,
            false => Datagram::Cut,
        };
    };
    let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let is_tunnel = Tunnel::ALL
        .into_iter()
        .any(|tunnel| tunnel.default_port() == Some(half(2)));
    match (usize::from(half(4)), half(6)) {
        (1..UDP_HEADER, _) => Datagram::Unread,
        (_, 0) if net.src.is_ipv4() || is_tunnel => Datagram::Absent,
        (_, 0) => Datagram::Bad,
        (0, _) => Datagram::Of(net.rest.wire),
        (len, _) if len > net.rest.wire => Datagram::Bad,
        (len, _) => Datagram::Of(len),
    }
}

/// Whether a routing header holds the last destination, or an option the source's home address.
#[cold]
fn has_other_ends(ip: &Rest<'_>, net: &Net<'_>) -> bool {
    const HOME_ADDRESS: u8 = 0xc9;
    if net.src.is_ipv4() {
        return false;
    }
    let Some(mut next) = ip.u8(6) else {
        return false;
    };
    let mut rest = *ip;
    let mut len = IPV6_HEADER;
    while let Some(header) = rest.skip(len) {
        let Some([after, units, _, left]) = header.array(0) else {
            return false;
        };
        rest = header;
        len = match next {
            proto::AUTHENTICATION => (usize::from(units) + 2) * 4,
            proto::FRAGMENT => 8,
            proto::HOP_BY_HOP | proto::ROUTING | proto::DESTINATION | proto::SHIM6 => {
                (usize::from(units) + 1) * 8
            }
            _ => return false,
        };
        let options = header.bytes.get(2..len).unwrap_or_default();
        let is_other = match next {
            proto::ROUTING => left > 0,
            proto::DESTINATION => holds(options, HOME_ADDRESS),
            _ => false,
        };
        if is_other {
            return true;
        }
        next = after;
    }
    false
}

/// Whether IPv6 options hold one of this kind.
fn holds(mut options: &[u8], kind: u8) -> bool {
    while let [first, rest @ ..] = options {
        options = match (*first, rest) {
            (found, _) if found == kind => return true,
            // Padding of one byte.
            (0, _) => rest,
            (_, [len, body @ ..]) => body.get(usize::from(*len)..).unwrap_or_default(),
            _ => &[],
        };
    }
    false
}

fn pseudo_header(net: &Net<'_>, len: usize) -> u64 {
    let address = |address: IpAddr| match address {
        IpAddr::V4(v4) => sum(&v4.octets()),
        IpAddr::V6(v6) => sum(&v6.octets()),
    };
    address(net.src) + address(net.dst) + u64::from(net.proto) + len as u64
}

/// The sum of 16-bit words, an odd last byte followed by a zero.
fn sum(bytes: &[u8]) -> u64 {
    let (pairs, last) = bytes.as_chunks::<2>();
    let pairs = pairs
        .iter()
        .map(|pair| u64::from(u16::from_be_bytes(*pair)));
    let last = last.first().map_or(0, |byte| u64::from(*byte) << 8);
    pairs.sum::<u64>() + last
}

/// In ones' complement on 16 bits.
fn fold(mut sum: u64) -> u64 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

#[cfg(test)]
mod tests;
