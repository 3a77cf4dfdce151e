//! What the program does, in Rust, on a frame's bytes.

use super::keys::Keys;
use super::program::REACH_BYTES;
use crate::capture::frame::{Class, Frame, LinkType};

/// Where a frame belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demux {
    /// Its class.
    pub class: Class,
    /// Its hash.
    pub hash: u32,
    /// The program could follow the headers to where it decides; else it left the frame to class `data`.
    pub reached: bool,
}

impl Demux {
    /// The frame the program cannot read: class `data`, first worker.
    const NONE: Self = Self {
        class: Class::Data,
        hash: 0,
        reached: false,
    };

    /// Class and worker.
    pub fn member(self, workers: usize) -> (Class, usize) {
        (self.class, self.hash as usize % workers)
    }
}

struct Header<'a> {
    bytes: &'a [u8],
    keys: &'a Keys,
    sum: u32,
}

/// The program's choice for `frame`.
///
/// Link layers other than Ethernet and raw IP exist in captures only; their IP header is found as the
/// program would find it after an Ethernet header.
pub fn demux(keys: &Keys, frame: &Frame<'_>) -> Demux {
    let mut header = Header {
        bytes: frame.bytes,
        keys,
        sum: 0,
    };
    header.link(frame.link).unwrap_or(Demux::NONE)
}

impl Header<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn half(&self, at: usize) -> Option<u16> {
        self.bytes
            .get(at..)?
            .first_chunk()
            .map(|field| u16::from_be_bytes(*field))
    }

    fn word(&self, at: usize) -> Option<u32> {
        self.bytes
            .get(at..)?
            .first_chunk()
            .map(|field| u32::from_be_bytes(*field))
    }

    fn by_pair(&self, class: Class, reached: bool) -> Demux {
        Demux {
            class,
            hash: self.keys.finish(self.sum),
            reached,
        }
    }

    fn link(&mut self, link: LinkType) -> Option<Demux> {
        let (mut ethertype, mut at) = match link {
            LinkType::Ethernet => (self.half(12)?, 14),
            LinkType::LinuxSll => (self.half(14)?, 16),
            LinkType::LinuxSll2 => (self.half(0)?, 20),
            LinkType::RawIp => return self.by_version(0),
            LinkType::Null | LinkType::Loop => return self.by_version(4),
            LinkType::Other(_) => return None,
        };
        for tags in 0..=2 {
            match ethertype {
                0x0800 => return self.ipv4(at),
                0x86dd => return self.ipv6(at),
                0x8100 | 0x88a8 | 0x9100 if tags < 2 => {
                    ethertype = self.half(at + 2)?;
                    at += 4;
                }
                _ => return None,
            }
        }
        None
    }

    fn by_version(&mut self, at: usize) -> Option<Demux> {
        match self.byte(at)? >> 4 {
            4 => self.ipv4(at),
            6 => self.ipv6(at),
            _ => None,
        }
    }

    fn addresses_v4(&mut self, l3: usize) -> Option<()> {
        let (src, dst) = (self.word(l3 + 12)?, self.word(l3 + 16)?);
        self.sum = self.keys.v4(src).wrapping_add(self.keys.v4(dst));
        Some(())
    }

    fn addresses_v6(&mut self, l3: usize) -> Option<()> {
        let words = |at: usize| {
            Some([
                self.word(at)?,
                self.word(at + 4)?,
                self.word(at + 8)?,
                self.word(at + 12)?,
            ])
        };
        let (src, dst) = (words(l3 + 8)?, words(l3 + 24)?);
        self.sum = self.keys.v6(src).wrapping_add(self.keys.v6(dst));
        Some(())
    }

    fn ipv4(&mut self, l3: usize) -> Option<Demux> {
        if self.byte(l3)? >> 4 != 4 {
            return None;
        }
        self.addresses_v4(l3)?;
        let proto = self.byte(l3 + 9)?;
        let header_len = usize::from(self.byte(l3)? & 15) * 4;
        if header_len < 20 {
            return Some(self.by_pair(Class::Data, false));
        }
        let fragment = self.half(l3 + 6)?;
        if fragment & 0x1fff != 0 {
            return Some(self.later_fragment(fragment & 0x1fff, proto));
        }
        if fragment & 0x2000 != 0 && proto == 6 {
            let total = u32::from(self.half(l3 + 2)?);
            if total.wrapping_sub(u32::try_from(header_len).expect("at most 60")) < 14 {
                return Some(self.by_pair(Class::Open, true));
            }
        }
        self.transport(proto, l3 + header_len)
    }

    fn later_fragment(&self, offset: u16, proto: u8) -> Demux {
        let second = offset == 1 && proto == 6;
        self.by_pair(if second { Class::Open } else { Class::Data }, true)
    }

    fn ipv6(&mut self, l3: usize) -> Option<Demux> {
        if self.byte(l3)? >> 4 != 6 {
            return None;
        }
        self.addresses_v6(l3)?;
        let mut proto = self.byte(l3 + 6)?;
        let mut l4 = l3 + 40;
        for _ in 0..2 {
            if matches!(proto, 0 | 43 | 60) {
                if !in_reach(l4, 8) {
                    return Some(self.by_pair(Class::Data, false));
                }
                let (next, len) = (self.byte(l4)?, self.byte(l4 + 1)?);
                proto = next;
                l4 += (usize::from(len) + 1) * 8;
            }
        }
        let mut more = false;
        if proto == 44 {
            if !in_reach(l4, 8) {
                return Some(self.by_pair(Class::Data, false));
            }
            proto = self.byte(l4)?;
            let bits = self.half(l4 + 2)?;
            if bits & 0xfff8 != 0 {
                return Some(self.later_fragment(bits >> 3, proto));
            }
            more = bits & 1 != 0;
            l4 += 8;
        }
        if !in_reach(l4, 14) {
            return Some(self.by_pair(Class::Data, false));
        }
        if more && proto == 6 {
            let end = u32::from(self.half(l3 + 4)?) + u32::try_from(l3 + 40).expect("in reach");
            if end.wrapping_sub(u32::try_from(l4).expect("in reach")) < 14 {
                return Some(self.by_pair(Class::Open, true));
            }
        }
        self.transport(proto, l4)
    }

    fn transport(&mut self, proto: u8, l4: usize) -> Option<Demux> {
        match proto {
            6 => {
                let class = tcp_class(self.byte(l4 + 13)?);
                self.by_flow(class, l4)
            }
            17 => self.by_flow(Class::Data, l4),
            1 if matches!(self.byte(l4)?, 3 | 4 | 5 | 11 | 12) => self.quoted(l4 + 8),
            58 if matches!(self.byte(l4)?, 1..=4) => self.quoted(l4 + 8),
            // Extension headers that are not followed end here too.
            0 | 43 | 44 | 51 | 60 | 135 => Some(self.by_pair(Class::Data, false)),
            _ => Some(self.by_pair(Class::Data, true)),
        }
    }

    fn by_flow(&mut self, class: Class, l4: usize) -> Option<Demux> {
        let (src, dst) = (self.half(l4)?, self.half(l4 + 2)?);
        let ports = self.keys.port(src).wrapping_add(self.keys.port(dst));
        self.sum = self.sum.wrapping_add(ports);
        Some(self.by_pair(class, true))
    }

    fn quoted(&mut self, l3: usize) -> Option<Demux> {
        if l3 > REACH_BYTES as usize - 64 {
            return Some(self.by_pair(Class::Control, false));
        }
        let (proto, l4) = match self.byte(l3)? >> 4 {
            4 => {
                self.addresses_v4(l3)?;
                if self.half(l3 + 6)? & 0x1fff != 0 {
                    return Some(self.by_pair(Class::Control, true));
                }
                (
                    self.byte(l3 + 9)?,
                    l3 + usize::from(self.byte(l3)? & 15) * 4,
                )
            }
            6 => {
                self.addresses_v6(l3)?;
                (self.byte(l3 + 6)?, l3 + 40)
            }
            _ => return Some(self.by_pair(Class::Control, true)),
        };
        match proto {
            6 | 17 => self.by_flow(Class::Control, l4),
            _ => Some(self.by_pair(Class::Control, true)),
        }
    }
}

fn in_reach(at: usize, bytes: usize) -> bool {
    at + bytes <= REACH_BYTES as usize
}

/// SYN with ACK, RST, FIN with ACK: control. SYN or FIN without ACK, no flag at all: open.
fn tcp_class(flags: u8) -> Class {
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;
    match flags {
        _ if flags & SYN != 0 && flags & ACK != 0 => Class::Control,
        _ if flags & SYN != 0 => Class::Open,
        _ if flags & RST != 0 => Class::Control,
        _ if flags & FIN != 0 && flags & ACK != 0 => Class::Control,
        _ if flags & FIN != 0 || flags & 0x3f == 0 => Class::Open,
        _ => Class::Data,
    }
}
