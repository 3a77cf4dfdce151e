//! The slow, obvious reader that the fast one is compared with: absolute positions, arithmetic on
//! single bytes, no shared code but the types.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::naive_ip::{Ip, View, ip, transport};
use super::packet::{Fragment, Packet, Reach};
use super::unread::{MalformedCause, NotIpCause, Unread};
use crate::capture::frame::{Frame, LinkType};

/// What a header announces next.
pub(super) enum Next {
    Type(usize),
    Cisco,
    Llc,
    Ppp,
    Mpls,
    Ip { v4: bool, v6: bool, mixed: bool },
}

pub(super) const V4: Next = Next::Ip {
    v4: true,
    v6: true,
    mixed: true,
};
pub(super) const V6: Next = Next::Ip {
    v4: false,
    v6: true,
    mixed: false,
};
const BOTH: Next = Next::Ip {
    v4: true,
    v6: true,
    mixed: false,
};

pub(super) struct Way<'a> {
    pub view: View<'a>,
    pub at: usize,
    tags: Vec<u16>,
    inline_tags: usize,
    pub reach: Vec<Reach>,
    steps: usize,
}

fn start(f: &Frame<'_>, w: &mut Way<'_>) -> Result<Next, Unread> {
    let v = w.view;
    let cut = MalformedCause::TruncatedLink;
    let (field, len) = match f.link {
        LinkType::Ethernet => (12, 14),
        LinkType::LinuxSll => (14, 16),
        LinkType::LinuxSll2 => (0, 20),
        LinkType::RawIp => return Ok(BOTH),
        LinkType::Null | LinkType::Loop => return loopback(f.link, w),
        LinkType::Other(9 | 50) => return serial(w),
        LinkType::Other(number @ (166 | 204)) => {
            w.reach.push(Reach::OddLink);
            v.need(0, 1, cut)?;
            w.at = 1;
            if number == 204 {
                return serial(w);
            }
            w.at += usize::from(v.has(1, 1) && v.b[1] == 3);
            return Ok(Next::Ppp);
        }
        LinkType::Other(239) => return super::naive_odd::nflog(w),
        LinkType::Other(10) => {
            v.need(0, 13, cut)?;
            w.reach.push(Reach::OddLink);
            w.at = 13;
            return Ok(Next::Llc);
        }
        LinkType::Other(51) => {
            w.reach.push(Reach::OddLink);
            return Ok(Next::Type(0x8864));
        }
        LinkType::Other(104) => {
            w.reach.push(Reach::OddLink);
            return Ok(Next::Cisco);
        }
        LinkType::Other(_) => return Err(Unread::NotIp(NotIpCause::LinkType)),
    };
    v.need(field, 2, cut)?;
    v.need(0, len, cut)?;
    w.at = len;
    let value = v.two(field);
    let ip = value == 0x800 || value == 0x86dd;
    if f.link == LinkType::Ethernet || ip {
        return Ok(Next::Type(value));
    }
    let netlink = match f.link {
        LinkType::LinuxSll => v.two(2) == 824,
        LinkType::LinuxSll2 => v.two(8) == 824,
        _ => false,
    };
    match value {
        _ if netlink => Err(Unread::NotIp(NotIpCause::Ethertype)),
        4 => Ok(Next::Llc),
        7 => serial(w),
        1536.. => Ok(Next::Type(value)),
        _ => Err(Unread::NotIp(NotIpCause::Ethertype)),
    }
}

/// PPP or Cisco HDLC, by the first byte.
fn serial(w: &mut Way<'_>) -> Result<Next, Unread> {
    let (v, at) = (w.view, w.at);
    w.reach.push(Reach::OddLink);
    if v.has(at, 1) && (v.b[at] == 0x0f || v.b[at] == 0x8f) {
        return Ok(Next::Cisco);
    }
    if v.has(at, 2) && v.two(at) == 0xff03 {
        w.at += 2;
    }
    Ok(Next::Ppp)
}

fn loopback(link: LinkType, w: &mut Way<'_>) -> Result<Next, Unread> {
    let v = w.view;
    v.need(0, 4, MalformedCause::TruncatedLink)?;
    let [a, b, c, d] = [v.b[0], v.b[1], v.b[2], v.b[3]].map(u64::from);
    if link == LinkType::Null && (a, b) == (0xff, 3) {
        w.reach.push(Reach::OddLink);
        w.at = 2;
        return Ok(Next::Ppp);
    }
    let mut value = a * 0x100_0000 + b * 0x1_0000 + c * 0x100 + d;
    if link == LinkType::Null && value >= 65_536 {
        value = d * 0x100_0000 + c * 0x1_0000 + b * 0x100 + a;
    }
    w.at = 4;
    match value {
        2 => Ok(V4),
        10 | 24 | 28 | 30 => Ok(V6),
        1536..65_536 if link == LinkType::Null => {
            Ok(Next::Type(usize::try_from(value).expect("below 65,536")))
        }
        _ => Err(Unread::NotIp(NotIpCause::Family)),
    }
}

fn step(w: &mut Way<'_>, next: &Next) -> Result<Next, Unread> {
    let (v, at, cut) = (w.view, w.at, MalformedCause::TruncatedLink);
    match *next {
        Next::Type(0x800) => Ok(V4),
        Next::Type(0x86dd) => Ok(V6),
        Next::Type(0x806 | 0x8035) => Err(Unread::NotIp(NotIpCause::Arp)),
        Next::Type(0x8847 | 0x8848) => Ok(Next::Mpls),
        Next::Type(0x8100 | 0x88a8 | 0x9100) => {
            v.need(at, 4, cut)?;
            w.tags
                .push(u16::try_from(v.two(at) % 4096).expect("below 4,096"));
            w.inline_tags += 1;
            if w.inline_tags > 2 {
                w.reach.push(Reach::DeepVlan);
            }
            w.at += 4;
            Ok(Next::Type(v.two(at + 2)))
        }
        Next::Type(0x8864) => {
            v.need(at, 6, cut)?;
            w.reach.push(Reach::Pppoe);
            w.at += 6;
            w.view.cut(at + 6 + v.two(at + 4));
            Ok(Next::Ppp)
        }
        Next::Type(0x88e5) => super::naive_odd::macsec(w),
        Next::Type(
            kind @ (0x8926 | 0xf1c1 | 0x892f | 0x8909 | 0x8988 | 0x6558 | 0x8903 | 0x88e7),
        ) => {
            let len = match kind {
                0x8909 | 0x8988 => 6,
                0x6558 => 12,
                0x8903 => 14,
                0x88e7 => 16,
                _ => 4,
            };
            v.need(at, len + 2, cut)?;
            w.reach.push(Reach::OddLink);
            w.at += len + 2;
            Ok(Next::Type(v.two(at + len)))
        }
        Next::Type(0x8870) => Ok(Next::Llc),
        Next::Type(len @ 0..=1500) => {
            w.view.cut(at + len);
            Ok(Next::Llc)
        }
        Next::Type(_) => Err(Unread::NotIp(NotIpCause::Ethertype)),
        Next::Llc => llc(w),
        Next::Ppp => {
            v.need(at, 1, cut)?;
            let short = v.b[at] % 2 == 1;
            v.need(at, if short { 1 } else { 2 }, cut)?;
            w.at += if short { 1 } else { 2 };
            match if short { v.b[at].into() } else { v.two(at) } {
                0x21 => Ok(V4),
                0x57 => Ok(V6),
                0x281 | 0x283 => Ok(Next::Mpls),
                _ => Err(Unread::NotIp(NotIpCause::Ppp)),
            }
        }
        Next::Cisco => cisco(w),
        Next::Mpls => mpls(w),
        Next::Ip { .. } => unreachable!("the walk ends at IP"),
    }
}

fn cisco(w: &mut Way<'_>) -> Result<Next, Unread> {
    let (v, at) = (w.view, w.at);
    v.need(at, 4, MalformedCause::TruncatedLink)?;
    w.at += 4;
    match v.two(at + 2) {
        value @ 1536.. => Ok(Next::Type(value)),
        _ => Err(Unread::NotIp(NotIpCause::Ethertype)),
    }
}

fn mpls(w: &mut Way<'_>) -> Result<Next, Unread> {
    let (v, at, cut) = (w.view, w.at, MalformedCause::TruncatedLink);
    w.reach.push(Reach::Mpls);
    for label in 0..32 {
        let at = at + label * 4;
        v.need(at, 4, cut)?;
        if v.b[at + 2] % 2 == 1 {
            v.need(at + 4, 1, cut)?;
            w.at = at + 4;
            let value = v.two(at) * 16 + usize::from(v.b[at + 2] / 16);
            let ip = v.b[at + 4] / 16 == 4 || v.b[at + 4] / 16 == 6;
            return if ip && value != 13 && value != 14 {
                Ok(BOTH)
            } else {
                Err(Unread::NotIp(NotIpCause::Mpls))
            };
        }
    }
    Err(Unread::Malformed(MalformedCause::TooManyTags))
}

fn llc(w: &mut Way<'_>) -> Result<Next, Unread> {
    let (v, at, cut) = (w.view, w.at, MalformedCause::TruncatedLink);
    let not_ip = Err(Unread::NotIp(NotIpCause::Llc));
    v.need(at, 3, cut)?;
    w.reach.push(Reach::OddLink);
    if v.b[at + 2] != 0x03 && v.b[at + 2] != 0x13 {
        return not_ip;
    }
    if v.b[at] == 6 {
        w.at += 3;
        return Ok(V4);
    }
    if v.b[at] != 0xaa || v.b[at + 1] != 0xaa {
        return not_ip;
    }
    v.need(at, 8, cut)?;
    let oui = (v.b[at + 3], v.b[at + 4], v.b[at + 5]);
    if (oui != (0, 0, 0) && oui != (0, 0, 0xf8)) || v.two(at + 6) < 1536 {
        return not_ip;
    }
    w.at += 8;
    Ok(Next::Type(v.two(at + 6)))
}

/// Walks to behind the IP headers of `f`: what was met on the way, the IP header, and where the transport header starts.
pub(super) fn headers<'a>(f: &Frame<'a>) -> Result<(Way<'a>, Ip, usize), Unread> {
    let end = f.bytes.len();
    let view = View {
        b: f.bytes,
        end,
        wire_end: end.max(f.wire_len as usize),
    };
    let mut w = Way {
        view,
        at: 0,
        tags: vec![],
        inline_tags: 0,
        reach: vec![],
        steps: 0,
    };
    w.tags.extend(f.vlan.map(|tag| tag.tci % 4096));
    let mut next = start(f, &mut w)?;
    while !matches!(next, Next::Ip { .. }) {
        if matches!(next, Next::Type(_)) {
            w.steps += 1;
            if w.steps > 32 {
                return Err(Unread::Malformed(MalformedCause::TooManyTags));
            }
        }
        next = step(&mut w, &next)?;
    }
    let mut at = w.at;
    let Next::Ip { v4, v6, mixed } = next else {
        unreachable!("the loop ends at IP")
    };
    w.view.need(at, 1, MalformedCause::TruncatedIp)?;
    match w.view.b[at] / 16 {
        4 if v4 => {}
        6 if v6 => w.reach.extend(mixed.then_some(Reach::OddLink)),
        _ => return Err(Unread::Malformed(MalformedCause::BadIpVersion)),
    }
    let start = at;
    let p = ip(&mut w.view, &mut at, f.gso)?;
    if p.beyond_program || at - start > 156 {
        w.reach.push(Reach::DeepExtension);
    }
    Ok((w, p, at))
}

/// Reads `f` the slow way.
pub(super) fn packet(f: &Frame<'_>) -> Result<Packet, Unread> {
    let (w, p, at) = headers(f)?;
    let transport = transport(&w.view, at, &p, f.gso)?;
    let mut vlan = [0; 2];
    for (place, tag) in vlan.iter_mut().zip(&w.tags) {
        *place = *tag;
    }
    Ok(Packet {
        ts_ns: f.ts_ns,
        wire_len: f
            .wire_len
            .saturating_add(if f.vlan.is_some() { 4 } else { 0 }),
        ip_len: u32::try_from(w.view.wire_end.saturating_sub(w.at)).expect("a frame's length"),
        interface: f.interface,
        vlan,
        inside: crate::capture::tunnels::Inside::NONE,
        vlan_count: u8::try_from(w.tags.len().min(2)).expect("at most 2"),
        src: p.src,
        dst: p.dst,
        fragment: if p.more && p.offset == 0 {
            Fragment::First
        } else {
            Fragment::Whole
        },
        reach: w.reach.first().copied().unwrap_or_default(),
        gso: f.gso,
        transport,
    })
}
