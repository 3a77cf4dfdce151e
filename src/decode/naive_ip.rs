//! The slow, obvious reader from the IP header on; `naive` does what comes before.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::packet::{Icmp, Quoted, Tcp, Transport, Udp};
use super::unread::{MalformedCause, Unread};

/// A frame, where its captured bytes end and where its bytes on the wire end.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) b: &'a [u8],
    pub(super) end: usize,
    pub(super) wire_end: usize,
}

impl View<'_> {
    pub(super) fn has(&self, at: usize, len: usize) -> bool {
        at + len <= self.end
    }
    pub(super) fn two(&self, at: usize) -> usize {
        self.b[at] as usize * 256 + self.b[at + 1] as usize
    }
    pub(super) fn four(&self, at: usize) -> u32 {
        u32::try_from(self.two(at) * 65_536 + self.two(at + 2)).expect("four bytes")
    }
    pub(super) fn port(&self, at: usize) -> u16 {
        u16::try_from(self.two(at)).expect("two bytes")
    }
    pub(super) fn cut(&mut self, end: usize) {
        self.end = self.end.min(end);
        self.wire_end = self.wire_end.min(end);
    }
    pub(super) fn need(&self, at: usize, len: usize, cause: MalformedCause) -> Result<(), Unread> {
        if self.has(at, len) {
            Ok(())
        } else {
            Err(Unread::Malformed(cause))
        }
    }
}

/// IP addresses, protocol, fragment offset, more, id, whether the fanout program cannot follow some extension.
pub(super) struct Ip {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) proto: u8,
    pub(super) offset: usize,
    pub(super) more: bool,
    pub(super) id: u32,
    pub(super) beyond_program: bool,
}

pub(super) fn ip(v: &mut View<'_>, at: &mut usize, gso: bool) -> Result<Ip, Unread> {
    let version = v.b[*at] / 16;
    let base = *at;
    let mut p;
    if version == 4 {
        v.need(base, 20, MalformedCause::TruncatedIp)?;
        let header = usize::from(v.b[base] % 16) * 4;
        if header < 20 {
            return Err(Unread::Malformed(MalformedCause::BadIpHeaderLen));
        }
        v.need(base, header, MalformedCause::TruncatedIp)?;
        let total = v.two(base + 2);
        if total != 0 && !gso {
            if total < header {
                return Err(Unread::Malformed(MalformedCause::BadIpTotalLen));
            }
            v.cut(base + total);
        }
        p = Ip {
            src: Ipv4Addr::from(v.four(base + 12)).into(),
            dst: Ipv4Addr::from(v.four(base + 16)).into(),
            proto: v.b[base + 9],
            offset: v.two(base + 6) % 8192,
            more: v.two(base + 6) / 8192 % 2 == 1,
            id: u32::try_from(v.two(base + 4)).expect("two bytes"),
            beyond_program: false,
        };
        *at += header;
    } else {
        v.need(base, 40, MalformedCause::TruncatedIp)?;
        let address = |at: usize| Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|i| v.b[at + i]));
        p = Ip {
            src: address(base + 8).into(),
            dst: address(base + 24).into(),
            proto: v.b[base + 6],
            offset: 0,
            more: false,
            id: 0,
            beyond_program: false,
        };
        let len = v.two(base + 4);
        if !(gso || len == 0 && v.wire_end.saturating_sub(base + 40) > 65_535) {
            v.cut(base + 40 + len);
        }
        *at += 40;
    }
    extensions(v, at, &mut p)?;
    Ok(p)
}

fn extensions(v: &View<'_>, at: &mut usize, p: &mut Ip) -> Result<(), Unread> {
    for nth in 0..256 {
        if p.offset != 0 {
            return Ok(());
        }
        let known = if p.src.is_ipv4() {
            p.proto == 51
        } else {
            matches!(p.proto, 0 | 43 | 44 | 51 | 60 | 140)
        };
        if !known {
            return Ok(());
        }
        let mut len = 2;
        if v.has(*at, 2) {
            let units = usize::from(v.b[*at + 1]);
            len = match p.proto {
                44 => 8,
                51 => units * 4 + 8,
                _ => units * 8 + 8,
            };
        }
        let exceeds_packet = *at + len > v.wire_end;
        v.need(
            *at,
            len,
            if exceeds_packet {
                MalformedCause::BadExtension
            } else {
                MalformedCause::TruncatedExtension
            },
        )?;
        if p.proto == 44 {
            p.offset = v.two(*at + 2) / 8;
            p.more |= v.b[*at + 3] % 2 == 1;
            p.id = v.four(*at + 4);
        }
        // Hop-by-hop, routing, fragment and destination headers of up to 48 bytes, three at most.
        p.beyond_program |= nth >= 3 || !matches!(p.proto, 0 | 43 | 44 | 60) || len > 48;
        p.proto = v.b[*at];
        *at += len;
    }
    Err(Unread::Malformed(MalformedCause::BadExtension))
}

pub(super) fn transport(v: &View<'_>, at: usize, p: &Ip, gso: bool) -> Result<Transport, Unread> {
    let wire = v.wire_end.saturating_sub(at);
    let len = |header: usize| u32::try_from(wire.saturating_sub(header)).expect("a frame's length");
    if p.offset != 0 {
        if p.offset == 1 && p.proto == 6 && v.has(at, 6) {
            let tail = std::array::from_fn(|i| v.b[at + i]);
            return Ok(Transport::SecondFragment {
                id: p.id,
                tail,
                payload_len: len(0),
            });
        }
        return Ok(Transport::LaterFragment {
            proto: p.proto,
            payload_len: len(0),
        });
    }
    match (p.proto, p.src) {
        (6, _) => {
            if !v.has(at, 14) && v.has(at, 8) && p.more && wire < 14 {
                let head = std::array::from_fn(|i| v.b[at + i]);
                return Ok(Transport::TinyFragment { id: p.id, head });
            }
            v.need(at, 14, MalformedCause::TruncatedTcp)?;
            let header = usize::from(v.b[at + 12] / 16) * 4;
            if header < 20 {
                return Err(Unread::Malformed(MalformedCause::BadTcpDataOffset));
            }
            Ok(Transport::Tcp(Tcp {
                src_port: v.port(at),
                dst_port: v.port(at + 2),
                seq: v.four(at + 4),
                ack: v.four(at + 8),
                flags: v.b[at + 13],
                payload_len: len(header),
            }))
        }
        (17, _) => udp(v, at, gso),
        (1, IpAddr::V4(_)) | (58, IpAddr::V6(_)) => {
            v.need(at, 8, MalformedCause::TruncatedIcmp)?;
            let v6 = p.proto == 58;
            let kind = v.b[at];
            let ids: &[u8] = if v6 {
                &[128, 129]
            } else {
                &[0, 8, 13, 14, 15, 16, 17, 18]
            };
            let errors: &[u8] = if v6 { &[1, 2, 3, 4] } else { &[3, 4, 11, 12] };
            Ok(Transport::Icmp(Icmp {
                v6,
                kind,
                code: v.b[at + 1],
                id: if ids.contains(&kind) {
                    v.port(at + 4)
                } else {
                    0
                },
                payload_len: len(8),
                quoted: if errors.contains(&kind) {
                    quoted(*v, at + 8, v6)
                } else {
                    None
                },
            }))
        }
        (proto, _) => Ok(Transport::Other { proto }),
    }
}

fn udp(v: &View<'_>, at: usize, gso: bool) -> Result<Transport, Unread> {
    let wire = v.wire_end.saturating_sub(at);
    v.need(at, 8, MalformedCause::TruncatedUdp)?;
    let field = v.two(at + 4);
    if (1..8).contains(&field) && !gso {
        return Err(Unread::Malformed(MalformedCause::BadUdpLen));
    }
    let shown = if field == 0 || gso {
        wire
    } else {
        field.min(wire)
    };
    Ok(Transport::Udp(Udp {
        src_port: v.port(at),
        dst_port: v.port(at + 2),
        payload_len: u32::try_from(shown - 8).expect("a frame's length"),
    }))
}

fn quoted(mut v: View<'_>, mut at: usize, v6: bool) -> Option<Quoted> {
    if !v.has(at, 1) || v.b[at] / 16 != if v6 { 6 } else { 4 } {
        return None;
    }
    let p = ip(&mut v, &mut at, true).ok()?;
    let ports = p.proto == 6 || p.proto == 17;
    if p.offset != 0 || ports && !v.has(at, 4) {
        return None;
    }
    Some(Quoted {
        src: p.src,
        dst: p.dst,
        proto: p.proto,
        src_port: if ports { v.port(at) } else { 0 },
        dst_port: if ports { v.port(at + 2) } else { 0 },
        seq: if p.proto == 6 && v.has(at, 8) {
            Some(v.four(at + 4))
        } else {
            None
        },
    })
}
