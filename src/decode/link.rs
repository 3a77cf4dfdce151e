//! Link header in, the IP packet's bytes out.

use super::Unread;
use super::packet::Reach;
use crate::capture::frame::{Frame, LinkType};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;
const MPLS: [u16; 2] = [0x8847, 0x8848];
const PPPOE_SESSION: u16 = 0x8864;
const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
/// Tags and labels beyond this many are an attack on the decoder, not a network.
const TAGS_MAX: usize = 8;
/// Inline VLAN tags that the fanout program follows.
const PROGRAM_VLANS_MAX: u8 = 2;

/// Which IP version the link layer promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promised {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// The version field decides.
    Either,
}

/// Where the IP packet starts and what lay before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Offset of the IP header in the frame.
    pub at: usize,
    /// What the link layer promises.
    pub promised: Promised,
    /// VLAN identifiers, outermost first.
    pub vlan: [u16; 2],
    /// How many of `vlan` are set.
    pub vlan_count: u8,
    /// Whether the fanout program gets this far.
    pub reach: Reach,
}

/// A big-endian 16-bit field, where the frame reaches so far.
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|field| u16::from_be_bytes(*field))
}

/// Finds the IP header of `frame`.
///
/// # Errors
///
/// [`Unread`] says why there is none.
pub fn network(frame: &Frame<'_>) -> Result<Network, Unread> {
    let bytes = frame.bytes;
    let mut network = Network {
        at: 0,
        promised: Promised::Either,
        vlan: [0; 2],
        vlan_count: 0,
        reach: Reach::Plain,
    };
    if let Some(tag) = frame.vlan {
        network.add_vlan(tag.tci);
    }
    let cut = Unread::TruncatedLink;
    match frame.link {
        LinkType::Ethernet => network.ethertype(bytes, be16(bytes, 12).ok_or(cut)?, 14),
        LinkType::LinuxSll => network.ethertype(bytes, be16(bytes, 14).ok_or(cut)?, 16),
        LinkType::LinuxSll2 if bytes.len() < 20 => Err(cut),
        LinkType::LinuxSll2 => network.ethertype(bytes, be16(bytes, 0).ok_or(cut)?, 20),
        LinkType::RawIp => Ok(network),
        LinkType::Null | LinkType::Loop => {
            let family: [u8; 4] = *bytes.first_chunk().ok_or(cut)?;
            let family = [u32::from_be_bytes(family), u32::from_le_bytes(family)];
            network.at = 4;
            network.promised = match family {
                [2, _] | [_, 2] => Promised::V4,
                // Each BSD has its own number for AF_INET6.
                [10 | 24 | 28 | 30, _] | [_, 10 | 24 | 28 | 30] => Promised::V6,
                _ => return Err(Unread::OtherEthertype),
            };
            Ok(network)
        }
        LinkType::Other(_) => Err(Unread::LinkType),
    }
}

impl Network {
    fn add_vlan(&mut self, tci: u16) {
        if let Some(vlan) = self.vlan.get_mut(usize::from(self.vlan_count)) {
            *vlan = tci & 0x0fff;
            self.vlan_count += 1;
        }
    }

    fn ethertype(
        mut self,
        bytes: &[u8],
        mut ethertype: u16,
        mut at: usize,
    ) -> Result<Self, Unread> {
        let mut inline = 0;
        for _ in 0..TAGS_MAX {
            match ethertype {
                IPV4 => {
                    return Ok(Self {
                        at,
                        promised: Promised::V4,
                        ..self
                    });
                }
                IPV6 => {
                    return Ok(Self {
                        at,
                        promised: Promised::V6,
                        ..self
                    });
                }
                ARP | RARP => return Err(Unread::Arp),
                tpid if VLAN.contains(&tpid) => {
                    self.add_vlan(be16(bytes, at).ok_or(Unread::TruncatedLink)?);
                    ethertype = be16(bytes, at + 2).ok_or(Unread::TruncatedLink)?;
                    at += 4;
                    inline += 1;
                    if inline > PROGRAM_VLANS_MAX {
                        self.reach = Reach::DeepVlan;
                    }
                }
                PPPOE_SESSION => return self.pppoe(bytes, at),
                label if MPLS.contains(&label) => return self.mpls(bytes, at),
                // 802.3 with LLC and SNAP: aa-aa-03, organisation 0, then an ethertype.
                length if length <= 1500 => {
                    let snap = bytes.get(at..at + 6).ok_or(Unread::OtherEthertype)?;
                    if snap != [0xaa, 0xaa, 3, 0, 0, 0] {
                        return Err(Unread::OtherEthertype);
                    }
                    ethertype = be16(bytes, at + 6).ok_or(Unread::TruncatedLink)?;
                    at += 8;
                    if ethertype <= 1500 {
                        return Err(Unread::OtherEthertype);
                    }
                    self.reach = Reach::DeepVlan;
                }
                _ => return Err(Unread::OtherEthertype),
            }
        }
        Err(Unread::TooManyTags)
    }

    /// RFC 2516: version and type, code, session, length; then a PPP protocol number.
    fn pppoe(self, bytes: &[u8], at: usize) -> Result<Self, Unread> {
        let protocol = be16(bytes, at + 6).ok_or(Unread::TruncatedLink)?;
        let promised = match protocol {
            PPP_IPV4 => Promised::V4,
            PPP_IPV6 => Promised::V6,
            _ => return Err(Unread::OtherEthertype),
        };
        Ok(Self {
            at: at + 8,
            promised,
            reach: Reach::Pppoe,
            ..self
        })
    }

    /// RFC 3032: 20 bits of label, 3 of class, the bottom-of-stack bit, 8 of time to live.
    fn mpls(self, bytes: &[u8], mut at: usize) -> Result<Self, Unread> {
        for _ in 0..TAGS_MAX {
            let entry: [u8; 4] = *bytes
                .get(at..)
                .and_then(<[u8]>::first_chunk)
                .ok_or(Unread::TruncatedLink)?;
            at += 4;
            if entry[2] & 1 == 1 {
                // Nothing names the payload; a nibble that is no IP version may be a pseudowire.
                return match bytes.get(at).ok_or(Unread::TruncatedLink)? >> 4 {
                    4 | 6 => Ok(Self {
                        at,
                        reach: Reach::Mpls,
                        ..self
                    }),
                    _ => Err(Unread::OtherEthertype),
                };
            }
        }
        Err(Unread::TooManyTags)
    }
}
