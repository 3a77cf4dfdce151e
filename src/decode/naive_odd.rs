//! The slow, obvious reader of MACsec tags and netfilter's log.

use super::naive::{Next, V4, V6, Way};
use super::packet::Reach;
use super::unread::{MalformedCause, NotIpCause, Unread};

const CUT: MalformedCause = MalformedCause::TruncatedLink;

pub(super) fn macsec(w: &mut Way<'_>) -> Result<Next, Unread> {
    let at = w.at;
    w.view.need(at, 2, CUT)?;
    let flags = w.view.b[at];
    if flags >= 128 {
        return Err(Unread::NotIp(NotIpCause::Ethertype));
    }
    if flags & 0x0c != 0 {
        return Err(Unread::NotIp(NotIpCause::Encrypted));
    }
    let len = if flags / 32 % 2 == 1 { 14 } else { 6 };
    w.view.need(at, len, CUT)?;
    w.reach.push(Reach::OddLink);
    w.view.wire_end = w.view.wire_end.saturating_sub(16).max(at + len);
    w.view.need(at, len + 2, CUT)?;
    w.at += len + 2;
    Ok(Next::Type(w.view.two(at + len)))
}

pub(super) fn nflog(w: &mut Way<'_>) -> Result<Next, Unread> {
    w.reach.push(Reach::OddLink);
    let mut v = w.view;
    v.need(0, 8, CUT)?;
    let little = v.b[7] & 0x3f == 0;
    let word = |at: usize| match little {
        true => usize::from(v.b[at]) + usize::from(v.b[at + 1]) * 256,
        false => v.two(at),
    };
    let (mut at, mut ethertype) = (4, 0);
    for _ in 0..64 {
        v.need(at, 4, CUT)?;
        let (len, kind) = (word(at), word(at + 2) % 16_384);
        if len < 4 {
            break;
        }
        if kind == 9 {
            v.cut(at + len);
            (w.view, w.at) = (v, at + 4);
            return match v.b[0] {
                _ if ethertype >= 1536 => Ok(Next::Type(ethertype)),
                2 => Ok(V4),
                10 => Ok(V6),
                _ => Err(Unread::NotIp(NotIpCause::Family)),
            };
        }
        if kind == 1 && len >= 6 {
            v.need(at, 6, CUT)?;
            ethertype = v.two(at + 4);
        }
        at += len.div_ceil(4) * 4;
        v.need(at, 0, CUT)?;
    }
    Err(Unread::Malformed(CUT))
}
