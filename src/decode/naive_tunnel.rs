//! The slow, obvious opener of tunnels, and the fast one against it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use proptest::prelude::*;

use super::naive;
use super::shapes::{be, ethernet, ip4, ip4_as, ip6, join, shapes, tags, tcp, udp};
use super::tunnel::{LEVELS_MAX, Unopened, open};
use super::{MalformedCause, Packet, Unread, packet};
use crate::capture::frame::{Frame, LinkType};
use crate::capture::tunnels::{Choice, Tunnel, Tunnels};

type Found = (Vec<Tunnel>, Option<(Tunnel, Unopened)>);

fn chosen(list: &str) -> Tunnels {
    let choices = list.split(',').map(|one| one.parse::<Choice>().unwrap());
    Tunnels::new(&choices.collect::<Vec<_>>()).unwrap()
}

/// The inner packet's link, where it starts and where it ends: captured, on the wire.
type Inside = (LinkType, usize, usize, usize);

/// Why a header that ends at `need` is not there.
fn short(need: usize, wire: usize) -> Unopened {
    if need > wire {
        Unopened::BadHeader
    } else {
        Unopened::Truncated
    }
}

/// One level, by absolute positions. `None`: no tunnel of those chosen.
fn level(f: &Frame<'_>, tunnels: &Tunnels) -> Option<(Tunnel, Result<Inside, Unopened>)> {
    let (w, p, at) = naive::headers(f).ok()?;
    let (b, end, wire) = (w.view.b, w.view.end, w.view.wire_end);
    let tunnel = match (p.proto, p.src.is_ipv4()) {
        (47, _) => Tunnel::Gre,
        (4, true) => Tunnel::Ipip,
        (4, false) => Tunnel::FourInSix,
        (41, true) => Tunnel::SixInFour,
        (41, false) => Tunnel::SixInSix,
        (17, _) if p.offset == 0 && at + 4 <= end => {
            tunnels.by_port(u16::from_be_bytes([b[at + 2], b[at + 3]]))?
        }
        _ => return None,
    };
    if !tunnels.has(tunnel) {
        return None;
    }
    if p.more || p.offset > 0 {
        return Some((tunnel, Err(Unopened::Fragment)));
    }
    let inside = match tunnel {
        Tunnel::Ipip | Tunnel::FourInSix => carried(b, (0x800, at, end, wire)),
        Tunnel::SixInFour | Tunnel::SixInSix => carried(b, (0x86dd, at, end, wire)),
        Tunnel::Gre => gre_header(b, (at, end, wire)),
        Tunnel::Vxlan | Tunnel::Geneve => over_udp(b, tunnel, (at, end, wire), f.gso),
    };
    Some((tunnel, inside))
}

fn gre_header(b: &[u8], (at, end, wire): (usize, usize, usize)) -> Result<Inside, Unopened> {
    if at + 4 > end {
        return Err(short(at + 4, wire));
    }
    if !b[at + 1].is_multiple_of(8) {
        return Err(Unopened::GreVersion);
    }
    let (c, r, k, s, strict) = (128, 64, 32, 16, 8);
    let has = |bit: u8| b[at] / bit % 2 == 1;
    if has(r) || has(strict) {
        return Err(Unopened::GreRouting);
    }
    let mut to = at + 4;
    for bit in [c, k, s] {
        to += if has(bit) { 4 } else { 0 };
    }
    if to > end {
        return Err(short(to, wire));
    }
    let kind = usize::from(b[at + 2]) * 256 + usize::from(b[at + 3]);
    carried(b, (kind, to, end, wire))
}

fn over_udp(
    b: &[u8],
    tunnel: Tunnel,
    (at, mut end, mut wire): (usize, usize, usize),
    gso: bool,
) -> Result<Inside, Unopened> {
    if at + 8 > end {
        return Err(short(at + 8, wire));
    }
    let len = usize::from(b[at + 4]) * 256 + usize::from(b[at + 5]);
    if len > 0 && !gso {
        if len < 8 {
            return Err(Unopened::BadHeader);
        }
        (end, wire) = (end.min(at + len), wire.min(at + len));
    }
    if at + 16 > end {
        return Err(short(at + 16, wire));
    }
    if tunnel == Tunnel::Vxlan {
        return match b[at + 8] / 8 % 2 {
            0 => Err(Unopened::BadHeader),
            _ => carried(b, (0x6558, at + 16, end, wire)),
        };
    }
    if b[at + 8] >= 64 {
        return Err(Unopened::BadHeader);
    }
    if b[at + 9] >= 128 {
        return Err(Unopened::Control);
    }
    let to = at + 16 + usize::from(b[at + 8]) * 4;
    if to > end {
        return Err(short(to, wire));
    }
    let kind = usize::from(b[at + 10]) * 256 + usize::from(b[at + 11]);
    carried(b, (kind, to, end, wire))
}

/// What an EtherType announces at a position.
fn carried(
    b: &[u8],
    (kind, at, end, wire): (usize, usize, usize, usize),
) -> Result<Inside, Unopened> {
    let version = match kind {
        0x6558 => return Ok((LinkType::Ethernet, at, end, wire)),
        0x800 => 4,
        0x86dd => 6,
        0x8847 | 0x8848 => return Err(Unopened::Mpls),
        0x88be | 0x22eb => return Err(Unopened::Erspan),
        _ => return Err(Unopened::OtherPayload),
    };
    if at >= end {
        return Err(short(at + 1, wire));
    }
    if b[at] / 16 != version {
        return Err(Unopened::OtherPayload);
    }
    Ok((LinkType::RawIp, at, end, wire))
}

/// Opens `f` the slow way: tunnels, and the innermost packet.
fn slow(f: &Frame<'_>, tunnels: &Tunnels) -> (Found, Result<Packet, Unread>) {
    let (mut f, mut met) = (*f, vec![]);
    loop {
        let closed = match level(&f, tunnels) {
            None => None,
            Some((tunnel, _)) if met.len() == 4 || met.contains(&tunnel) => {
                Some((tunnel, Unopened::TooDeep))
            }
            Some((tunnel, Err(why))) => Some((tunnel, why)),
            Some((tunnel, Ok((link, at, end, wire)))) => {
                met.push(tunnel);
                f = Frame {
                    bytes: &f.bytes[at..end],
                    wire_len: u32::try_from(wire - at).unwrap(),
                    link,
                    vlan: None,
                    ..f
                };
                continue;
            }
        };
        return ((met, closed), naive::packet(&f));
    }
}

fn fast<'a>(f: &Frame<'a>, tunnels: &Tunnels) -> (Found, Frame<'a>) {
    let opened = open(f, tunnels, |_| Ok::<_, ()>(())).unwrap();
    let met = opened.tunnels.into_iter().flatten().collect();
    ((met, opened.unopened), opened.frame)
}

fn assert_same(f: &Frame<'_>, tunnels: &Tunnels) -> Found {
    let (found, inner) = fast(f, tunnels);
    let same = (found.clone(), packet(&inner));
    assert_eq!(same, slow(f, tunnels), "{f:?}");
    found
}

fn frame(bytes: &[u8], wire_len: usize, link: LinkType) -> Frame<'_> {
    Frame {
        incoming: true,
        ..super::tests::frame(bytes, wire_len, link)
    }
}

fn gre(flags: usize, ethertype: usize, optional: usize, payload: &[u8]) -> Vec<u8> {
    join(&[&be(flags), &be(ethertype), &vec![0x77; optional], payload])
}

fn to_port(port: usize, payload: &[u8]) -> Vec<u8> {
    let len = be(8 + payload.len());
    join(&[&[0xd0, 1], &be(port), &len, &[0, 0], payload])
}

fn vxlan(flags: u8, payload: &[u8]) -> Vec<u8> {
    to_port(4789, &join(&[&[flags, 0, 0, 0, 0, 0, 9, 0], payload]))
}

fn geneve(head: [u8; 2], ethertype: usize, payload: &[u8]) -> Vec<u8> {
    let options = vec![3; usize::from(head[0] % 64) * 4];
    let header = join(&[&head, &be(ethertype), &[0, 0, 9, 0], &options]);
    to_port(6081, &join(&[&header, payload]))
}

/// IP packets with a tunnel of every kind around `four` or `six`, sound and not, with what comes of them.
fn tunnelled(four: &[u8], six: &[u8]) -> Vec<(Vec<u8>, Tunnel, Option<Unopened>)> {
    use Tunnel::*;
    use Unopened::*;
    let (bridged, tagged) = (ethernet(0x800, four), tags(1, 0x86dd, six));
    let options = join(&[&[4, 0, 4, 1, 4, 1, 1, 0], four]);
    let head = |bytes: &[u8], len: usize| bytes[..len].to_vec();
    let mut all = vec![
        (ip4(4, four), Ipip, None),
        (ip4(41, six), SixInFour, None),
        (ip6(4, four), FourInSix, None),
        (ip6(41, six), SixInSix, None),
        // The encapsulation limit that Linux writes.
        (ip6(60, &options), FourInSix, None),
        (ip4(4, six), Ipip, Some(OtherPayload)),
        (ip6(41, four), SixInSix, Some(OtherPayload)),
        (ip4(4, &[]), Ipip, Some(BadHeader)),
        (ip4_as(0x45, 900, 0x2000, 4, four), Ipip, Some(Fragment)),
        (ip4_as(0x45, 900, 9, 47, four), Gre, Some(Fragment)),
    ];
    let gres = [
        (gre(0, 0x800, 0, four), None),
        (gre(0, 0x86dd, 0, six), None),
        (gre(0x2000, 0x6558, 4, &bridged), None),
        (gre(0x2000, 0x6558, 4, &tagged), None),
        (gre(0xb000, 0x800, 12, four), None),
        (gre(0x9000, 0x86dd, 8, six), None),
        (gre(0x2001, 0x880b, 4, four), Some(GreVersion)),
        (gre(0x4000, 0x800, 4, four), Some(GreRouting)),
        (gre(0x0800, 0x800, 0, four), Some(GreRouting)),
        (gre(0x1000, 0x88be, 4, &bridged), Some(Erspan)),
        (gre(0x1000, 0x22eb, 12, &bridged), Some(Erspan)),
        (
            gre(0, 0x8847, 0, &join(&[&[0, 0, 0x11, 9], four])),
            Some(Mpls),
        ),
        (gre(0, 0x883e, 4, four), Some(OtherPayload)),
        (gre(0, 0, 0, &[]), Some(OtherPayload)),
        (gre(0, 0x800, 0, six), Some(OtherPayload)),
        (gre(0xb000, 0x800, 5, &[]), Some(BadHeader)),
    ];
    for (bytes, why) in gres {
        all.push((ip4(47, &bytes), Gre, why));
        all.push((ip6(47, &bytes), Gre, why));
    }
    let datagrams = [
        (vxlan(0x08, &bridged), Vxlan, None),
        (vxlan(0xff, &tagged), Vxlan, None),
        (vxlan(0xf7, &bridged), Vxlan, Some(BadHeader)),
        (head(&vxlan(0x08, &[]), 15), Vxlan, Some(BadHeader)),
        (geneve([0, 0], 0x6558, &bridged), Geneve, None),
        (geneve([2, 0x40], 0x800, four), Geneve, None),
        (geneve([63, 0], 0x86dd, six), Geneve, None),
        (geneve([0x40, 0], 0x6558, &bridged), Geneve, Some(BadHeader)),
        (geneve([0, 0x80], 0x6558, &bridged), Geneve, Some(Control)),
        (geneve([0, 0], 0x8847, four), Geneve, Some(Mpls)),
        (
            head(&geneve([9, 0], 0x800, &[]), 40),
            Geneve,
            Some(BadHeader),
        ),
    ];
    for (bytes, tunnel, why) in datagrams {
        all.push((ip4(17, &bytes), tunnel, why));
        all.push((ip6(17, &bytes), tunnel, why));
    }
    all
}

/// A SYN over IPv4 and one over IPv6.
fn syns() -> (Vec<u8>, Vec<u8>) {
    let syn = tcp(5, b"xyz");
    (ip4(6, &syn), ip6(6, &syn))
}

fn is_ip6(bytes: &[u8]) -> bool {
    bytes[0] >> 4 == 6
}

fn framed(ip: &[u8]) -> Vec<u8> {
    ethernet(if is_ip6(ip) { 0x86dd } else { 0x800 }, ip)
}

#[test]
fn each_tunnel_is_opened_or_says_why_not() {
    let (four, six) = syns();
    let (all, mut met) = (chosen("all"), std::collections::HashSet::new());
    for (ip, tunnel, why) in tunnelled(&four, &six) {
        let bytes = framed(&ip);
        let whole = frame(&bytes, bytes.len(), LinkType::Ethernet);
        let found = assert_same(&whole, &all);
        let expected = match why {
            None => (vec![tunnel], None),
            Some(why) => (vec![], Some((tunnel, why))),
        };
        assert_eq!(found, expected, "{bytes:02x?}");
        met.extend(why);
        let inner = packet(&fast(&whole, &all).1);
        match why {
            // As if there were no tunnel, but for what the frame's own header says.
            None => assert!(inner.unwrap().tcp().is_some_and(|tcp| tcp.payload_len == 3)),
            Some(_) => assert_eq!(inner, packet(&whole)),
        }
        // Not asked for, it is no tunnel.
        for list in ["gre", "ipip,6in4,vxlan:1", "4in6,6in6,geneve:2"] {
            let some = chosen(list);
            let found = assert_same(&whole, &some);
            let is_asked = some.has(tunnel) && tunnel.default_port().is_none();
            assert_eq!(found != (vec![], None), is_asked, "{list}: {tunnel}");
        }
    }
    for why in Unopened::ALL {
        let elsewhere = matches!(why, Unopened::Truncated | Unopened::TooDeep);
        assert!(met.contains(&why) || elsewhere, "{why} is never met");
    }
}

#[test]
fn every_cut_of_every_tunnel_opens_like_the_slow_opener() {
    let ((four, six), all) = (syns(), chosen("all"));
    let (mut cuts, mut truncated) = (0, 0);
    for (ip, ..) in tunnelled(&four, &six) {
        let bytes = framed(&ip);
        for len in 0..=bytes.len() {
            for wire_len in [len, bytes.len(), 70_000] {
                for gso in [false, true] {
                    let cut = frame(&bytes[..len], wire_len, LinkType::Ethernet);
                    let found = assert_same(&Frame { gso, ..cut }, &all);
                    cuts += 1;
                    truncated +=
                        u32::from(found.1.is_some_and(|(_, why)| why == Unopened::Truncated));
                }
            }
        }
    }
    eprintln!("{cuts} cuts, {truncated} truncated tunnels");
    assert!(truncated > 500);
}

#[test]
fn four_tunnels_are_opened_and_one_of_each_kind() {
    let (four, _) = syns();
    let all = chosen("all");
    // Outermost last.
    let wrapped = |kinds: &[Tunnel]| {
        kinds
            .iter()
            .fold(four.clone(), |inner, tunnel| match tunnel {
                Tunnel::Gre => ip4(
                    47,
                    &gre(0, if is_ip6(&inner) { 0x86dd } else { 0x800 }, 0, &inner),
                ),
                Tunnel::Ipip => ip4(4, &inner),
                Tunnel::FourInSix => ip6(4, &inner),
                Tunnel::SixInFour => ip4(41, &inner),
                Tunnel::SixInSix => ip6(41, &inner),
                Tunnel::Vxlan => ip4(17, &vxlan(8, &framed(&inner))),
                Tunnel::Geneve => ip6(17, &geneve([0, 0], 0x6558, &framed(&inner))),
            })
    };
    use Tunnel::*;
    for (kinds, opened, deep) in [
        (&[Ipip, Gre, Vxlan][..], 3, None),
        (&[Ipip, Gre, Vxlan, Geneve], 4, None),
        (
            &[FourInSix, SixInFour, Gre, Vxlan, Geneve],
            4,
            Some(FourInSix),
        ),
        (&[Gre, Gre], 1, Some(Gre)),
        (&[Ipip, Gre, Ipip], 2, Some(Ipip)),
        (&[Vxlan, Geneve, SixInFour, Vxlan], 3, Some(Vxlan)),
    ] {
        let bytes = framed(&wrapped(kinds));
        let found = assert_same(&frame(&bytes, bytes.len(), LinkType::Ethernet), &all);
        assert_eq!(found.0.len(), opened, "{kinds:?}");
        assert_eq!(
            found.1,
            deep.map(|tunnel| (tunnel, Unopened::TooDeep)),
            "{kinds:?}"
        );
    }
    assert_eq!(LEVELS_MAX, 4);
}

proptest! {
    #[test]
    fn damaged_tunnels_open_like_the_slow_opener(
        which in any::<prop::sample::Index>(), inner in any::<prop::sample::Index>(), cut in 0..3_usize,
        wire_len in 0..100_000_usize, gso in any::<bool>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let ((four, six), all) = (syns(), chosen("all"));
        // A tunnel in a tunnel.
        let outer = tunnelled(&four, &six);
        let middle = &inner.get(&outer).0;
        let nested = match is_ip6(middle) {
            true => tunnelled(&four, middle),
            false => tunnelled(middle, &six),
        };
        let mut bytes = framed(&which.get(&nested).0);
        for (place, value) in damage {
            *place.get_mut(&mut bytes) = value;
        }
        let len = bytes.len() - bytes.len() * cut / 4;
        let damaged = frame(&bytes[..len], wire_len, LinkType::Ethernet);
        assert_same(&Frame { gso, ..damaged }, &all);
    }

    #[test]
    fn other_frames_open_like_the_slow_opener(
        which in any::<prop::sample::Index>(), wire_len in 0..100_000_usize,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let all = shapes();
        let (link, mut bytes) = which.get(&all).clone();
        for (place, value) in damage {
            *place.get_mut(&mut bytes) = value;
        }
        assert_same(&frame(&bytes, wire_len, link), &chosen("all,vxlan:53,geneve:39169"));
    }
}

#[test]
fn a_packet_in_a_tunnel_keeps_the_frames_time_and_has_its_own_length() {
    let (four, six) = syns();
    let bytes = framed(&ip4(
        17,
        &vxlan(8, &join(&[&ethernet(0x800, &four), &[0; 9]])),
    ));
    let outer = frame(&bytes, bytes.len() + 50, LinkType::Ethernet);
    let inner = fast(&outer, &chosen("vxlan")).1;
    // Padding behind the inner packet belongs to the inner frame, what is behind the datagram does not.
    assert_eq!(inner.wire_len as usize, 14 + four.len() + 9);
    assert_eq!((inner.ts_ns, inner.interface, inner.incoming), (7, 3, true));
    let bytes = tags(2, 0x800, &ip4(41, &six));
    let inner = fast(
        &frame(&bytes, bytes.len(), LinkType::Ethernet),
        &chosen("6in4"),
    )
    .1;
    let inner = packet(&inner).unwrap();
    assert_eq!((inner.vlan_count, inner.wire_len as usize), (0, six.len()));
}

#[test]
fn what_a_tunnel_carries_counts_even_where_it_cannot_be_read() {
    let bytes = framed(&ip4(47, &gre(0, 0x6558, 0, &ethernet(0x800, &[0x45; 9]))));
    let inner = fast(
        &frame(&bytes, bytes.len(), LinkType::Ethernet),
        &chosen("gre"),
    )
    .1;
    assert_eq!(packet(&inner), Err(MalformedCause::TruncatedIp.into()));
    // A question to DNS from VXLAN's port is no VXLAN.
    let bytes = framed(&ip4(17, &udp(13, b"hello")));
    let found = assert_same(
        &frame(&bytes, bytes.len(), LinkType::Ethernet),
        &chosen("vxlan:53"),
    );
    assert_eq!(found, (vec![], None));
}
