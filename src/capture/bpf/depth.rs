//! Filters of single sockets: how much of which frames a ring keeps.

use libc::sock_filter;

use super::asm::Asm;
use super::asm::Label;
use super::fanout::{Keys, Mode, program, program_with};
use super::steps::{ETHERNET, FROM, TAGS_MAX, TEMP, forward, header_length, ip_header};
use crate::capture::frame::LinkType;
use crate::capture::tunnels::Tunnels;

/// Bytes of an IPv6 header.
const IPV6: u32 = 40;
const UDP: u32 = 17;
/// IPv6 headers that others may follow: hop-by-hop, routing, fragment, AH, destination, mobility, HIP, shim6.
const EXTENSIONS: [u32; 8] = [0, 43, 44, 51, 60, 135, 139, 140];

/// Every frame, cut to `snaplen` bytes; one with IPv6 extension headers, behind which a SYN may begin far from
/// its frame's start, or with one of these tunnels, to `deep` bytes.
#[must_use]
pub fn headers(link: LinkType, snaplen: u32, deep: u32, tunnels: &Tunnels) -> Vec<sock_filter> {
    let mut asm = Asm::default();
    let (v6, next, long, short) = (asm.label(), asm.label(), asm.label(), asm.label());
    let link_max = match link {
        LinkType::RawIp => 0,
        _ => ETHERNET + 4 * TAGS_MAX,
    };
    let (v4, ports_len) = match tunnels.any() {
        true => (asm.label(), 4),
        false => (short, 0),
    };
    // A load beyond the frame would end the filter and drop the frame.
    asm.ld_len();
    asm.jge(link_max + IPV6 + ports_len, None, short);
    if link == LinkType::Ethernet && !tunnels.any() {
        // The commonest frames, by absolute loads alone.
        let general = asm.label();
        asm.ldh_abs(ETHERNET - 2);
        asm.jeq(0x0800, short, None);
        asm.jeq(0x86dd, None, general);
        asm.ldb_abs(ETHERNET + 6);
        asm.ja(next);
        asm.bind(general);
    }
    ip_header(&mut asm, link, v4, v6, short);
    if tunnels.any() {
        asm.bind(v4);
        let udp = asm.label();
        asm.ldb_ind(9);
        protocols(&mut asm, tunnels, true, (udp, long));
        asm.ja(short);
        asm.bind(udp);
        // Ports behind options may lie beyond the frame.
        asm.ldb_ind(0);
        asm.jeq(0x45, None, long);
        asm.ldh_ind(22);
        ports(&mut asm, tunnels, long);
        asm.ja(short);
    }
    asm.bind(v6);
    asm.ldb_ind(6);
    asm.bind(next);
    for extension in EXTENSIONS {
        asm.jeq(extension, long, None);
    }
    if tunnels.any() {
        let udp = asm.label();
        protocols(&mut asm, tunnels, false, (udp, long));
        asm.ja(short);
        asm.bind(udp);
        asm.ldh_ind(IPV6 + 2);
        ports(&mut asm, tunnels, long);
    }
    asm.bind(short);
    asm.ret(snaplen);
    asm.bind(long);
    asm.ret(deep);
    asm.finish()
}

/// Goes to `tunnel` if the protocol in A is one of these tunnels, to `udp` if it is UDP and a tunnel may be in it, or on.
fn protocols(a: &mut Asm, tunnels: &Tunnels, v4: bool, (udp, tunnel): (Label, Label)) {
    for protocol in tunnels.protocols(v4) {
        a.jeq(protocol.into(), tunnel, None);
    }
    a.jeq(UDP, udp, None);
}

/// Goes to `tunnel` if the port in A leads into one of these tunnels, or on.
fn ports(a: &mut Asm, tunnels: &Tunnels, tunnel: Label) {
    for port in tunnels.ports() {
        a.jeq(port.into(), tunnel, None);
    }
}

/// Only frames with one of these tunnels, cut to `snaplen` bytes: the filter of a data ring under `--capture control`.
/// Without tunnels none. Of IPv6 extension headers it follows one: Linux writes one before IPv6's tunnels.
#[must_use]
pub fn only_tunnels(link: LinkType, snaplen: u32, tunnels: &Tunnels) -> Vec<sock_filter> {
    let mut a = Asm::default();
    let (v4, v6, udp4, udp6) = (a.label(), a.label(), a.label(), a.label());
    let (keep, refuse) = (a.label(), a.label());
    if tunnels.any() {
        ip_header(&mut a, link, v4, v6, refuse);
        a.bind(v4);
        a.ldb_ind(9);
        protocols(&mut a, tunnels, true, (udp4, keep));
        a.ja(refuse);
        a.bind(udp4);
        a.ldh_ind(6);
        a.jset(0x1fff, refuse, None);
        header_length(&mut a, 0, refuse);
        a.add_x();
        a.tax();
        a.ldh_ind(2);
        ports(&mut a, tunnels, keep);
        a.ja(refuse);
        a.bind(v6);
        let (extension, upper) = (a.label(), a.label());
        a.ldb_ind(6);
        for kind in [0, 43, 60] {
            a.jeq(kind, extension, None);
        }
        forward(&mut a, IPV6);
        a.ja(upper);
        a.bind(extension);
        a.ldb_ind(IPV6 + 1);
        a.add(1);
        a.lsh(3);
        a.add(IPV6);
        a.st(TEMP);
        a.ldb_ind(IPV6);
        a.st(FROM);
        a.ld_mem(TEMP);
        a.add_x();
        a.tax();
        a.ld_mem(FROM);
        a.bind(upper);
        protocols(&mut a, tunnels, false, (udp6, keep));
        a.ja(refuse);
        a.bind(udp6);
        a.ldh_ind(2);
        ports(&mut a, tunnels, keep);
    }
    a.bind(refuse);
    a.ret(0);
    a.bind(keep);
    a.ret(snaplen);
    a.finish()
}

/// Frames of the classes control and open, cut to `snaplen` bytes, for a group without a ring per class. The classes
/// are those of [`crate::capture::bpf::fanout::demux`].
#[must_use]
pub fn control_only(snaplen: u32) -> Vec<sock_filter> {
    // The filter ends before the hash: keys and workers have no effect.
    program(&Keys::from_seed(0), 1, Mode::Filter { snaplen })
}

/// The filter of a data ring under load: everything but bulk data, cut to `snaplen` bytes. A frame whose headers the
/// fanout program cannot follow is kept, as is one of these tunnels: it may open or refuse a connection.
#[must_use]
pub fn without_bulk(link: LinkType, snaplen: u32, tunnels: &Tunnels) -> Vec<sock_filter> {
    program_with(
        &Keys::from_seed(0),
        1,
        Mode::Bulk { link, snaplen },
        tunnels,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use craft::{Flow, Link};
    use packet::interp::{Packet, run};

    /// A SYN behind `extension` bytes of destination options.
    fn syn_behind(extension: usize) -> Vec<u8> {
        let flow = Flow::v6(
            [0xfd00, 0, 0, 0, 0, 0, 0, 1],
            1024,
            [0xfd00, 0, 0, 0, 0, 0, 0, 2],
            80,
        );
        let tcp = craft::Tcp::new(flow, craft::SYN, 1).bytes();
        if extension == 0 {
            return craft::Ip::new(flow.src, flow.dst, 6).bytes(&tcp);
        }
        let mut rest = vec![0; extension];
        rest[0] = 6;
        rest[1] = u8::try_from(extension / 8 - 1).expect("at most 2048");
        rest.extend(tcp);
        craft::Ip::new(flow.src, flow.dst, 60).bytes(&rest)
    }

    #[test]
    fn a_syn_far_behind_extension_headers_is_kept_whole_and_nothing_is_filtered() {
        let kept = |link, data: &[u8]| {
            let packet = Packet {
                data,
                ..Packet::default()
            };
            run(&headers(link, 192, 2048, &Tunnels::NONE), &packet)
        };
        let tagged = |link: Link, extension| link.frame(&syn_behind(extension));
        for link in [
            Link::ethernet(),
            Link::ethernet().vlan(5),
            Link::ethernet().qinq(5, 6),
        ] {
            assert_eq!(kept(LinkType::Ethernet, &tagged(link.clone(), 0)), 192);
            assert_eq!(kept(LinkType::Ethernet, &tagged(link, 256)), 2048);
        }
        assert_eq!(kept(LinkType::RawIp, &syn_behind(0)), 192);
        assert_eq!(kept(LinkType::RawIp, &syn_behind(256)), 2048);
        let whole = tagged(Link::ethernet().qinq(5, 6), 256);
        for length in 0..whole.len() {
            for link in [LinkType::Ethernet, LinkType::RawIp] {
                assert_ne!(kept(link, &whole[..length]), 0, "{length} bytes");
            }
        }
    }
}
