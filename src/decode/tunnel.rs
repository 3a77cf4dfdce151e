//! Opens tunnels (`--decap`): from a frame to the frame inside.

use super::link::{self, Link, Version};
use super::net::{self, Net, proto};
use super::rest::Rest;
use crate::capture::frame::{Frame, LinkType};
use crate::capture::tunnels::{Tunnel, Tunnels};

/// Most tunnels of a frame that are opened.
pub const LEVELS_MAX: usize = 4;

const UDP_HEADER: usize = 8;

words! {
    /// Why a tunnel was not opened. The packet around it counts, as without `--decap`.
    #[derive(Hash)]
    pub enum Unopened {
        /// The captured bytes end inside the tunnel's header, though the packet goes on.
        Truncated = "truncated",
        /// A fragment of the packet around the tunnel.
        Fragment = "fragment",
        /// The packet ends inside the tunnel's header, or the header is none: VXLAN without a network identifier, Geneve
        /// of another version.
        BadHeader = "bad_header",
        /// GRE of another version than 0: PPTP.
        GreVersion = "gre_version",
        /// GRE with routing (RFC 1701).
        GreRouting = "gre_routing",
        /// ERSPAN, a mirror's GRE.
        Erspan = "erspan",
        /// MPLS labels in GRE or Geneve.
        Mpls = "mpls",
        /// A control message of Geneve's.
        Control = "control",
        /// Neither IP nor Ethernet, or another IP version than announced.
        OtherPayload = "other_payload",
        /// A fifth tunnel, or a second one of a kind.
        TooDeep = "too_deep",
    }
}

/// A tunnel that a frame's packet is, and what is inside.
#[derive(Clone, Copy, Debug)]
struct Met<'a> {
    tunnel: Tunnel,
    inner: Result<Frame<'a>, Unopened>,
}

/// A frame without its tunnels.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// The innermost frame; the frame itself where no tunnel was opened.
    pub frame: Frame<'a>,
    /// The tunnels that were opened, outermost first.
    pub tunnels: [Option<Tunnel>; LEVELS_MAX],
    /// A tunnel in `frame` that was not.
    pub unopened: Option<(Tunnel, Unopened)>,
}

impl Opened<'_> {
    /// Whether the frame has a tunnel, opened or not.
    pub fn has_tunnel(&self) -> bool {
        self.tunnels[0].is_some() || self.unopened.is_some()
    }
}

/// Opens the tunnels of `frame`, one of each kind at most. `see` is called with each frame that is met, the outermost
/// first; its error ends the opening.
///
/// # Errors
///
/// That of `see`.
pub fn open<'a, E>(
    frame: &Frame<'a>,
    tunnels: &Tunnels,
    mut see: impl FnMut(&Frame<'a>) -> Result<(), E>,
) -> Result<Opened<'a>, E> {
    let mut opened = Opened {
        frame: *frame,
        tunnels: [None; LEVELS_MAX],
        unopened: None,
    };
    for level in 0..=LEVELS_MAX {
        see(&opened.frame)?;
        let Some(met) = meet(&opened.frame, tunnels) else {
            break;
        };
        let is_deep = level == LEVELS_MAX || opened.tunnels.contains(&Some(met.tunnel));
        let inner = if is_deep {
            Err(Unopened::TooDeep)
        } else {
            met.inner
        };
        match inner {
            Ok(inner) => (opened.frame, opened.tunnels[level]) = (inner, Some(met.tunnel)),
            Err(why) => {
                opened.unopened = Some((met.tunnel, why));
                break;
            }
        }
    }
    Ok(opened)
}

/// The headers up to the transport header; `None` where decoding refuses them.
pub(super) fn outer<'a>(frame: &Frame<'a>) -> Option<Net<'a>> {
    let mut link = match Link::plain(frame) {
        Some(link) => link,
        None => link::walk(frame).ok()?,
    };
    match link.version().ok()? {
        Version::V4 => net::v4(link.rest, frame.gso).ok(),
        Version::V6 => net::v6(link.rest, frame.gso).ok(),
    }
}

/// The tunnel that the outermost packet of `frame` is, if it is opened.
fn meet<'a>(frame: &Frame<'a>, tunnels: &Tunnels) -> Option<Met<'a>> {
    let mut net = outer(frame)?;
    if net.proto == proto::TCP {
        return None;
    }
    net.follow_extensions().ok()?;
    let v4 = net.src.is_ipv4();
    let tunnel = match net.proto {
        proto::GRE => Tunnel::Gre,
        proto::IPV4 if v4 => Tunnel::Ipip,
        proto::IPV4 => Tunnel::FourInSix,
        proto::IPV6 if v4 => Tunnel::SixInFour,
        proto::IPV6 => Tunnel::SixInSix,
        proto::UDP if net.place.offset == 0 => tunnels.by_port(net.rest.u16(2)?)?,
        _ => return None,
    };
    if !tunnels.has(tunnel) {
        return None;
    }
    let inner = match net.place.more || net.place.offset != 0 {
        true => Err(Unopened::Fragment),
        false => inside(tunnel, net.rest, frame.gso),
    };
    let inner = inner.map(|(link, rest)| Frame {
        bytes: rest.bytes,
        wire_len: u32::try_from(rest.wire).unwrap_or(u32::MAX),
        link,
        vlan: None,
        ..*frame
    });
    Some(Met { tunnel, inner })
}

/// What a tunnel whose header `rest` begins with carries.
fn inside(tunnel: Tunnel, rest: Rest<'_>, gso: bool) -> Result<(LinkType, Rest<'_>), Unopened> {
    match tunnel {
        Tunnel::Gre => gre(rest),
        Tunnel::Ipip | Tunnel::FourInSix => packet(rest, 4),
        Tunnel::SixInFour | Tunnel::SixInSix => packet(rest, 6),
        Tunnel::Vxlan => vxlan(datagram(rest, gso)?),
        Tunnel::Geneve => geneve(datagram(rest, gso)?),
    }
}

/// Bare IP of this version.
fn packet(rest: Rest<'_>, version: u8) -> Result<(LinkType, Rest<'_>), Unopened> {
    let first: [u8; 1] = head(&rest)?;
    match first[0] >> 4 == version {
        true => Ok((LinkType::RawIp, rest)),
        false => Err(Unopened::OtherPayload),
    }
}

/// What an EtherType announces.
fn payload(rest: Rest<'_>, ethertype: u16) -> Result<(LinkType, Rest<'_>), Unopened> {
    match ethertype {
        0x0800 => packet(rest, 4),
        0x86dd => packet(rest, 6),
        // Transparent Ethernet bridging.
        0x6558 => Ok((LinkType::Ethernet, rest)),
        0x8847 | 0x8848 => Err(Unopened::Mpls),
        // Types I and II, type III.
        0x88be | 0x22eb => Err(Unopened::Erspan),
        _ => Err(Unopened::OtherPayload),
    }
}

/// Checksum, key and sequence number are skipped. Source: RFC 2784, RFC 2890; RFC 2637 for version 1.
fn gre(rest: Rest<'_>) -> Result<(LinkType, Rest<'_>), Unopened> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const STRICT_ROUTE: u16 = 0x0800;
    const VERSION: u16 = 7;
    let [a, b, c, d] = head(&rest)?;
    let (flags, ethertype) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    if flags & VERSION != 0 {
        return Err(Unopened::GreVersion);
    }
    if flags & (ROUTING | STRICT_ROUTE) != 0 {
        return Err(Unopened::GreRouting);
    }
    let optional = [CHECKSUM, KEY, SEQUENCE].map(|bit| usize::from(flags & bit != 0));
    payload(
        behind(rest, 4 + 4 * optional.iter().sum::<usize>())?,
        ethertype,
    )
}

/// The payload of a UDP datagram.
fn datagram(rest: Rest<'_>, gso: bool) -> Result<Rest<'_>, Unopened> {
    let [.., high, low, _, _]: [u8; UDP_HEADER] = head(&rest)?;
    let rest = match usize::from(u16::from_be_bytes([high, low])) {
        0 => rest,
        _ if gso => rest,
        1..UDP_HEADER => return Err(Unopened::BadHeader),
        len => rest.limit(len),
    };
    behind(rest, UDP_HEADER)
}

/// Reserved bits are ignored. Source: RFC 7348, 5.
fn vxlan(rest: Rest<'_>) -> Result<(LinkType, Rest<'_>), Unopened> {
    let [flags, ..]: [u8; 8] = head(&rest)?;
    match flags & 0x08 {
        0 => Err(Unopened::BadHeader),
        _ => Ok((LinkType::Ethernet, behind(rest, 8)?)),
    }
}

/// Options are skipped, critical ones too. Source: RFC 8926, 3.4.
fn geneve(rest: Rest<'_>) -> Result<(LinkType, Rest<'_>), Unopened> {
    let [first, flags, high, low, ..]: [u8; 8] = head(&rest)?;
    if first >> 6 != 0 {
        return Err(Unopened::BadHeader);
    }
    if flags & 0x80 != 0 {
        return Err(Unopened::Control);
    }
    let rest = behind(rest, 8 + 4 * usize::from(first & 0x3f))?;
    payload(rest, u16::from_be_bytes([high, low]))
}

/// The first bytes of a header.
fn head<const N: usize>(rest: &Rest<'_>) -> Result<[u8; N], Unopened> {
    rest.array(0).ok_or(short_of(rest, N))
}

/// The part behind a header of `len` bytes.
fn behind(rest: Rest<'_>, len: usize) -> Result<Rest<'_>, Unopened> {
    rest.skip(len).ok_or(short_of(&rest, len))
}

/// The error for a header of `len` bytes that exceeds the packet, or only its captured part.
fn short_of(rest: &Rest<'_>, len: usize) -> Unopened {
    match rest.wire < len {
        true => Unopened::BadHeader,
        false => Unopened::Truncated,
    }
}
