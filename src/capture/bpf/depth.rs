//! Filters of single sockets: how much of which frames a ring keeps.

use libc::sock_filter;

use super::asm::Asm;
use super::fanout::{Keys, Mode, program};
use super::steps::{ETHERNET, TAGS_MAX, ip_header};
use crate::capture::frame::LinkType;

/// Bytes of an IPv6 header.
const IPV6: u32 = 40;
/// IPv6 headers that others may follow: hop-by-hop, routing, fragment, AH, destination, mobility, HIP, shim6.
const EXTENSIONS: [u32; 8] = [0, 43, 44, 51, 60, 135, 139, 140];

/// Every frame, cut to `snaplen` bytes; one with IPv6 extension headers, behind which a SYN may begin far from
/// its frame's start, to `deep` bytes.
#[must_use]
pub fn headers(link: LinkType, snaplen: u32, deep: u32) -> Vec<sock_filter> {
    let mut asm = Asm::default();
    let (v6, next, long, short) = (asm.label(), asm.label(), asm.label(), asm.label());
    let link_max = match link {
        LinkType::RawIp => 0,
        _ => ETHERNET + 4 * TAGS_MAX,
    };
    // A load beyond the frame would end the filter and drop the frame.
    asm.ld_len();
    asm.jge(link_max + IPV6, None, short);
    if link == LinkType::Ethernet {
        // The commonest frames, by absolute loads alone.
        let general = asm.label();
        asm.ldh_abs(ETHERNET - 2);
        asm.jeq(0x0800, short, None);
        asm.jeq(0x86dd, None, general);
        asm.ldb_abs(ETHERNET + 6);
        asm.ja(next);
        asm.bind(general);
    }
    ip_header(&mut asm, link, short, v6, short);
    asm.bind(v6);
    asm.ldb_ind(6);
    asm.bind(next);
    for extension in EXTENSIONS {
        asm.jeq(extension, long, None);
    }
    asm.bind(short);
    asm.ret(snaplen);
    asm.bind(long);
    asm.ret(deep);
    asm.finish()
}

/// Frames of the classes control and open, cut to `snaplen` bytes, for a group without a ring per class. The classes
/// are those of [`crate::capture::bpf::fanout::demux`].
#[must_use]
pub fn control_only(snaplen: u32) -> Vec<sock_filter> {
    // The filter ends before the hash: keys and workers have no effect.
    program(&Keys::from_seed(0), 1, Mode::Filter { snaplen })
}

/// The filter of a data ring under load: everything but bulk data, cut to `snaplen` bytes. A frame whose headers the
/// fanout program cannot follow is kept: it may open or refuse a connection.
#[must_use]
pub fn without_bulk(link: LinkType, snaplen: u32) -> Vec<sock_filter> {
    program(&Keys::from_seed(0), 1, Mode::Bulk { link, snaplen })
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
            run(&headers(link, 192, 2048), &packet)
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
