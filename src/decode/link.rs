//! From the link header to the IP header: Ethernet, tags, labels, PPPoE, LLC, cooked captures.
//!
//! Ends at the first IP header, also behind a second Ethernet header (802.1ah, FabricPath). Pseudo-wires over MPLS
//! and bridged SNAP are not followed.

use super::macsec::macsec;
use super::net::Net;
use super::nflog::nflog;
use super::packet::Reach;
use super::rest::Rest;
use super::unread::{MalformedCause, NotIpCause, Unread};
use crate::capture::bpf::fanout::UPPER;
use crate::capture::frame::{Frame, LinkType};

/// Most tags (and LLC or PPPoE headers) of a frame.
const TAGS_MAX: usize = 32;
/// Most MPLS labels of a frame.
const LABELS_MAX: usize = 32;
/// Most inline VLAN tags that the fanout program follows.
const PROGRAM_TAGS_MAX: usize = 2;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const REVERSE_ARP: u16 = 0x8035;
const VLAN: u16 = 0x8100;
const PROVIDER_VLAN: u16 = 0x88a8;
const OLD_QINQ: u16 = 0x9100;
const PPPOE_SESSION: u16 = 0x8864;
const MPLS: u16 = 0x8847;
const MPLS_UPSTREAM: u16 = 0x8848;
const JUMBO_LLC: u16 = 0x8870;
const MACSEC: u16 = 0x88e5;
/// Largest length of an 802.3 frame in the EtherType's field (IEEE 802.3, 3.2.6).
const LENGTH_MAX: u16 = 1500;
/// Smallest EtherType.
const ETHERTYPE_MIN: u16 = 1536;

/// The IP versions that the header before an IP packet allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// IPv4; an IPv6 header is accepted too, as in tshark.
    V4,
    /// IPv6, nothing else.
    V6,
    /// Both; the version field decides.
    Either,
}

/// The part from the IP header on, and the VLANs and obstacles before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'a> {
    pub rest: Rest<'a>,
    pub announced: Announced,
    pub vlan: [u16; 2],
    pub vlan_count: u8,
    pub reach: Reach,
}

/// The version of an IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

impl<'a> Link<'a> {
    /// The start of `frame`, with the tag that the kernel removed.
    #[inline(always)]
    fn start(frame: &Frame<'a>) -> Self {
        let wire = (frame.wire_len as usize).max(frame.bytes.len());
        Self {
            rest: Rest {
                bytes: frame.bytes,
                wire,
                at: 0,
            },
            announced: Announced::Either,
            vlan: [frame.vlan.map_or(0, |tag| tag.tci & 0x0fff), 0],
            vlan_count: u8::from(frame.vlan.is_some()),
            reach: Reach::Plain,
        }
    }

    /// The IP header directly behind an Ethernet header; `None` for any other frame.
    #[inline(always)]
    pub fn plain(frame: &Frame<'a>) -> Option<Self> {
        let start = Self::start(frame);
        let announced = match (frame.link, start.rest.u16(12)) {
            (LinkType::Ethernet, Some(IPV4)) => Announced::V4,
            (LinkType::Ethernet, Some(IPV6)) => Announced::V6,
            _ => return None,
        };
        let rest = start.rest.skip(14)?;
        Some(Self {
            rest,
            announced,
            ..start
        })
    }

    /// The version of the IP header.
    ///
    /// # Errors
    ///
    /// [`MalformedCause::TruncatedIp`], [`MalformedCause::BadIpVersion`].
    #[inline(always)]
    pub fn version(&mut self) -> Result<Version, Unread> {
        let first = self.rest.u8(0).ok_or(MalformedCause::TruncatedIp)?;
        match (first >> 4, self.announced) {
            (4, Announced::V4 | Announced::Either) => Ok(Version::V4),
            (6, announced) => {
                if announced == Announced::V4 {
                    self.mark(Reach::OddLink);
                }
                Ok(Version::V6)
            }
            _ => Err(MalformedCause::BadIpVersion.into()),
        }
    }

    /// Marks extension headers that the fanout program does not follow, and a transport header beyond its depth.
    #[inline(always)]
    pub fn check_depth(&mut self, net: &Net<'_>) {
        if net.beyond_program || net.rest.at - self.rest.at > UPPER as usize {
            self.mark(Reach::DeepExtension);
        }
    }

    /// Keeps a VLAN identifier, if there is still room.
    fn keep_tag(&mut self, tci: u16) {
        if let Some(place) = self.vlan.get_mut(usize::from(self.vlan_count)) {
            *place = tci & 0x0fff;
            self.vlan_count += 1;
        }
    }

    /// Marks an obstacle of the fanout program; the first one stays.
    fn mark(&mut self, reach: Reach) {
        if self.reach == Reach::Plain {
            self.reach = reach;
        }
    }

    fn skip(&mut self, len: usize) -> Result<(), Unread> {
        self.rest = self.rest.skip(len).ok_or(MalformedCause::TruncatedLink)?;
        Ok(())
    }

    fn u16(&self, at: usize) -> Result<u16, Unread> {
        Ok(self.rest.u16(at).ok_or(MalformedCause::TruncatedLink)?)
    }

    /// Ends the walk at an IP header, `len` bytes on.
    fn ip(mut self, len: usize, announced: Announced) -> Result<Self, Unread> {
        self.skip(len)?;
        self.announced = announced;
        Ok(self)
    }
}

/// Walks from the start of `frame` to its IP header.
///
/// # Errors
///
/// [`Unread::NotIp`] where a sound header leads elsewhere; [`MalformedCause::TruncatedLink`] and
/// [`MalformedCause::TooManyTags`] where the walk cannot go on.
pub(super) fn walk<'a>(frame: &Frame<'a>) -> Result<Link<'a>, Unread> {
    let mut link = Link::start(frame);
    let rest = link.rest;
    let (at, len) = match frame.link {
        LinkType::Ethernet => (12, 14),
        LinkType::RawIp => return Ok(link),
        LinkType::LinuxSll => (14, 16),
        LinkType::LinuxSll2 => (0, 20),
        LinkType::Null => return null(link),
        LinkType::Loop => return openbsd_loop(link),
        LinkType::Other(number) => return rare(link, number),
    };
    let ethertype = link.u16(at)?;
    link.skip(len)?;
    match ethertype {
        IPV4 => link.ip(0, Announced::V4),
        IPV6 => link.ip(0, Announced::V6),
        _ if frame.link == LinkType::Ethernet => ethertypes(link, ethertype),
        _ => cooked(link, ethertype, &rest, frame.link),
    }
}

/// Follows tags and labels from `ethertype`, whose header `link.rest` starts with.
fn ethertypes(mut link: Link<'_>, mut ethertype: u16) -> Result<Link<'_>, Unread> {
    let mut tags = 0;
    for _ in 0..TAGS_MAX {
        ethertype = match ethertype {
            IPV4 => return link.ip(0, Announced::V4),
            IPV6 => return link.ip(0, Announced::V6),
            ARP | REVERSE_ARP => return Err(NotIpCause::Arp.into()),
            MPLS | MPLS_UPSTREAM => return mpls(link),
            PPPOE_SESSION => return pppoe(link),
            VLAN | PROVIDER_VLAN | OLD_QINQ => {
                let (tci, next) = (link.u16(0)?, link.u16(2)?);
                link.skip(4)?;
                link.keep_tag(tci);
                tags += 1;
                if tags > PROGRAM_TAGS_MAX {
                    link.mark(Reach::DeepVlan);
                }
                next
            }
            JUMBO_LLC | 0..=LENGTH_MAX => {
                if ethertype <= LENGTH_MAX {
                    link.rest = link.rest.limit(usize::from(ethertype));
                }
                match llc(&mut link)? {
                    Some(next) => next,
                    None => return link.ip(3, Announced::V4),
                }
            }
            MACSEC => {
                link.rest = macsec(link.rest)?;
                link.mark(Reach::OddLink);
                let next = link.u16(0)?;
                link.skip(2)?;
                next
            }
            wrapper => {
                let at = inner_ethertype_at(wrapper).ok_or(NotIpCause::Ethertype)?;
                let next = link.u16(at)?;
                link.skip(at + 2)?;
                link.mark(Reach::OddLink);
                next
            }
        };
    }
    Err(MalformedCause::TooManyTags.into())
}

/// Offset of the next EtherType behind a rare tag or encapsulation.
fn inner_ethertype_at(ethertype: u16) -> Option<usize> {
    match ethertype {
        // VN-Tag (802.1BR's forerunner), 802.1CB redundancy, HSR (IEC 62439-3): four bytes.
        0x8926 | 0xf1c1 | 0x892f => Some(4),
        // Cisco metadata (TrustSec's security group), Palo Alto's heartbeat backup: six bytes. As in tshark, whatever
        // length the metadata claim.
        0x8909 | 0x8988 => Some(6),
        // Transparent Ethernet bridging: a whole Ethernet header.
        0x6558 => Some(12),
        // Cisco FabricPath: two bytes, then an Ethernet header.
        0x8903 => Some(14),
        // Provider backbone bridging (802.1ah): four bytes, then an Ethernet header.
        0x88e7 => Some(16),
        _ => None,
    }
}

/// Reads link types of files only, by their number in the tcpdump group's list.
#[cold]
fn rare(mut link: Link<'_>, number: u32) -> Result<Link<'_>, Unread> {
    link.mark(Reach::OddLink);
    match number {
        9 | 50 => ppp_hdlc(link),
        51 => pppoe(link),
        // The direction instead of the address byte.
        166 => {
            link.skip(1)?;
            if link.rest.u8(0) == Some(0x03) {
                link.skip(1)?;
            }
            ppp(link)
        }
        // The direction, then as 50.
        204 => {
            link.skip(1)?;
            ppp_hdlc(link)
        }
        239 => logged(link),
        // FDDI: frame control and two addresses, then 802.2.
        10 => {
            link.skip(13)?;
            logical(link)
        }
        104 => cisco_hdlc(link),
        _ => Err(NotIpCause::LinkType.into()),
    }
}

/// Follows a packet that netfilter logged: its EtherType says what it is, else the family.
fn logged(mut link: Link<'_>) -> Result<Link<'_>, Unread> {
    let packet = nflog(link.rest)?;
    link.rest = packet.rest;
    match (packet.ethertype, i32::from(packet.family)) {
        (ethertype @ ETHERTYPE_MIN.., _) => ethertypes(link, ethertype),
        (_, libc::AF_INET) => link.ip(0, Announced::V4),
        (_, libc::AF_INET6) => link.ip(0, Announced::V6),
        _ => Err(NotIpCause::Family.into()),
    }
}

/// Follows an 802.2 header without a length field.
fn logical(mut link: Link<'_>) -> Result<Link<'_>, Unread> {
    match llc(&mut link)? {
        Some(ethertype) => ethertypes(link, ethertype),
        None => link.ip(3, Announced::V4),
    }
}

/// Reads an 802.2 header: the EtherType behind SNAP, or `None` for IP directly behind the 3 bytes.
fn llc(link: &mut Link<'_>) -> Result<Option<u16>, Unread> {
    let [dsap, ssap, control] = link.rest.array(0).ok_or(MalformedCause::TruncatedLink)?;
    link.mark(Reach::OddLink);
    // Unnumbered information; the poll bit is ignored.
    if control & 0xef != 0x03 {
        return Err(NotIpCause::Llc.into());
    }
    if dsap == 0x06 {
        return Ok(None);
    }
    if (dsap, ssap) != (0xaa, 0xaa) {
        return Err(NotIpCause::Llc.into());
    }
    let [a, b, c, high, low] = link.rest.array(3).ok_or(MalformedCause::TruncatedLink)?;
    let ethertype = u16::from_be_bytes([high, low]);
    // Encapsulated Ethernet (RFC 1042) and its bridge tunnel form (802.1H).
    if !matches!([a, b, c], [0, 0, 0] | [0, 0, 0xf8]) || ethertype < ETHERTYPE_MIN {
        return Err(NotIpCause::Llc.into());
    }
    link.skip(8)?;
    Ok(Some(ethertype))
}

/// Reads a PPPoE session header and the PPP protocol behind it.
///
/// Version and code are ignored, as in tshark; the length cuts off padding. Source: RFC 2516.
fn pppoe(mut link: Link<'_>) -> Result<Link<'_>, Unread> {
    let len = usize::from(link.u16(4)?);
    link.skip(6)?;
    link.rest = link.rest.limit(len);
    link.mark(Reach::Pppoe);
    ppp(link)
}

/// Reads a PPP protocol number; an odd first byte is the whole number (RFC 1661, 6.5).
fn ppp(mut link: Link<'_>) -> Result<Link<'_>, Unread> {
    let first = link.rest.u8(0).ok_or(MalformedCause::TruncatedLink)?;
    let (protocol, len) = match first & 1 {
        1 => (u16::from(first), 1),
        _ => (link.u16(0)?, 2),
    };
    match protocol {
        0x0021 => link.ip(len, Announced::V4),
        0x0057 => link.ip(len, Announced::V6),
        0x0281 | 0x0283 => {
            link.skip(len)?;
            mpls(link)
        }
        _ => Err(NotIpCause::Ppp.into()),
    }
}

/// Reads PPP with or without its HDLC address and control bytes; two other addresses announce Cisco HDLC
/// (RFC 1547, 4.3.1).
fn ppp_hdlc(mut link: Link<'_>) -> Result<Link<'_>, Unread> {
    link.mark(Reach::OddLink);
    match link.rest.u8(0) {
        Some(0x0f | 0x8f) => return cisco_hdlc(link),
        Some(0xff) if link.rest.u8(1) == Some(0x03) => link.skip(2)?,
        _ => {}
    }
    ppp(link)
}

/// Reads Cisco HDLC: address, control, EtherType.
fn cisco_hdlc(mut link: Link<'_>) -> Result<Link<'_>, Unread> {
    let ethertype = link.u16(2)?;
    link.skip(4)?;
    match ethertype {
        ETHERTYPE_MIN.. => ethertypes(link, ethertype),
        _ => Err(NotIpCause::Ethertype.into()),
    }
}

/// Follows a stack of MPLS labels; the four bits behind it distinguish IP from pseudo-wires.
///
/// Source: RFC 3032, and RFC 4928 for the four bits.
fn mpls(mut link: Link<'_>) -> Result<Link<'_>, Unread> {
    link.mark(Reach::Mpls);
    for _ in 0..LABELS_MAX {
        let entry = link.rest.u32(0).ok_or(MalformedCause::TruncatedLink)?;
        link.skip(4)?;
        if entry & 0x100 == 0 {
            continue;
        }
        // Labels 13 and 14 announce operation and maintenance (RFC 5586, RFC 3429).
        let label = entry >> 12;
        let first = link.rest.u8(0).ok_or(MalformedCause::TruncatedLink)?;
        return match first >> 4 {
            4 | 6 if label != 13 && label != 14 => link.ip(0, Announced::Either),
            _ => Err(NotIpCause::Mpls.into()),
        };
    }
    Err(MalformedCause::TooManyTags.into())
}

/// Follows a Linux cooked header without IP; `head` starts at that header.
///
/// Source: `LINKTYPE_LINUX_SLL` and `LINKTYPE_LINUX_SLL2` of the tcpdump group.
fn cooked<'a>(
    link: Link<'a>,
    protocol: u16,
    head: &Rest<'_>,
    kind: LinkType,
) -> Result<Link<'a>, Unread> {
    const NETLINK: u16 = 824;
    const LLC_FRAME: u16 = 4;
    const PPP_HDLC: u16 = 7;
    let hatype = head.u16(if kind == LinkType::LinuxSll { 2 } else { 8 });
    if hatype == Some(NETLINK) {
        return Err(NotIpCause::Ethertype.into());
    }
    match protocol {
        LLC_FRAME => logical(link),
        PPP_HDLC => ppp_hdlc(link),
        ETHERTYPE_MIN.. => ethertypes(link, protocol),
        _ => Err(NotIpCause::Ethertype.into()),
    }
}

/// Reads a BSD loopback header: an address family in the byte order of the capturing host.
fn null(mut link: Link<'_>) -> Result<Link<'_>, Unread> {
    let word: [u8; 4] = link.rest.array(0).ok_or(MalformedCause::TruncatedLink)?;
    if word.starts_with(&[0xff, 0x03]) {
        return ppp_hdlc(link);
    }
    let big = u32::from_be_bytes(word);
    // A family is below 2^16: the byte order with an empty high half is the right one.
    let value = match big & 0xffff_0000 {
        0 => big,
        _ => u32::from_le_bytes(word),
    };
    if let Some(announced) = family(value) {
        return link.ip(4, announced);
    }
    match u16::try_from(value) {
        Ok(ethertype @ ETHERTYPE_MIN..) => {
            link.skip(4)?;
            ethertypes(link, ethertype)
        }
        _ => Err(NotIpCause::Family.into()),
    }
}

/// Reads an OpenBSD loopback header: an address family in network order.
fn openbsd_loop(link: Link<'_>) -> Result<Link<'_>, Unread> {
    let value = link.rest.u32(0).ok_or(MalformedCause::TruncatedLink)?;
    let announced = family(value).ok_or(NotIpCause::Family)?;
    link.ip(4, announced)
}

/// `AF_INET` is 2 everywhere; `AF_INET6` is 10 on Linux, 24, 28 and 30 on the BSDs and macOS.
fn family(value: u32) -> Option<Announced> {
    match value {
        2 => Some(Announced::V4),
        10 | 24 | 28 | 30 => Some(Announced::V6),
        _ => None,
    }
}
