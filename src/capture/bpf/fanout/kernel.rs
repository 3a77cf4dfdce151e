//! The rule as classic BPF, for the kernel: the general way, and the entries of the short one.
//!
//! Loads are plain offsets from `skb->data`, not `SKF_NET_OFF`: those reach only the linear part
//! of a packet (`bpf_internal_load_pointer_neg_helper` in `kernel/bpf/core.c`), and where the network header lies on
//! egress depends on who built the frame. `skb->data` has two places only. A fanout program
//! sees the network header of a packet that came in and the link header of one that goes
//! out; a socket filter always sees the link header.

use libc::sock_filter;

use super::builder::{
    ADDRESS, Builder, CLASS, FAMILY, IP, MORE, Mode, PROTOCOL, QUOTED, REACH, ROOM, TCP, UDP,
    UPPER_AT, class,
};
use super::plain::Plain;
use super::{EXTENSION, EXTENSIONS, Keys, QUOTING, TCP_FLAGS, UPPER, WORKERS_MAX};
use crate::capture::bpf::steps::{
    ETHERNET, FROM, TEMP, TO, both_ports, forward, header_length, ip_header, skip_tags,
};
use crate::capture::frame::LinkType;
use crate::capture::tunnels::Tunnels;

// Ancillary values (linux/filter.h).
const AD_PROTOCOL: u32 = 0xffff_f000;
const AD_PKTTYPE: u32 = 0xffff_f004;
const AD_HATYPE: u32 = 0xffff_f01c;
const OUTGOING: u32 = 4;
const ARPHRD_ETHER: u32 = 1;
const ARPHRD_LOOPBACK: u32 = 772;

/// The program for `workers` workers.
///
/// # Panics
///
/// If `workers` is 0 or above [`WORKERS_MAX`].
#[must_use]
pub fn program(keys: &Keys, workers: u32, mode: Mode) -> Vec<sock_filter> {
    program_with(keys, workers, mode, &Tunnels::NONE)
}

/// The same where these tunnels are opened: a tunnel goes to one worker, both its directions, as data.
///
/// # Panics
///
/// As [`program`].
#[must_use]
pub fn program_with(keys: &Keys, workers: u32, mode: Mode, tunnels: &Tunnels) -> Vec<sock_filter> {
    assert!((1..=WORKERS_MAX).contains(&workers), "{workers} workers");
    let mut b = Builder::new(keys, workers, tunnels);
    match mode {
        Mode::Bulk { link, .. } => b.link_by_bytes(link, mode),
        _ => b.link(mode),
    }
    b.ipv4();
    b.ipv6();
    b.ports();
    b.leaf(mode);
    b.a.finish()
}

impl Builder<'_> {
    fn link_by_bytes(&mut self, link: LinkType, mode: Mode) {
        let ip = if link == LinkType::RawIp { 0 } else { ETHERNET };
        let a = &mut self.a;
        let plain = Plain::at(a, ip);
        if link == LinkType::RawIp {
            a.ldb_abs(0);
            a.rsh(4);
            a.jeq(4, plain.v4, None);
            a.jeq(6, plain.v6, None);
        } else {
            a.ldh_abs(ip - 2);
            plain.enter(a);
        }
        ip_header(&mut self.a, link, self.v4, self.v6, self.zero);
        self.plain(plain, mode);
    }

    /// X = the IP header, A = the ethertype before it.
    fn link(&mut self, mode: Mode) {
        let (zero, v4, v6) = (self.zero, self.v4, self.v6);
        let a = &mut self.a;
        let behind_link = Plain::at(a, ETHERNET);
        let at_start = Plain::at(a, 0);
        let (ethernet, network, tags, layer3) = (a.label(), a.label(), a.label(), a.label());
        if mode == Mode::Fanout {
            a.ld_abs(AD_PKTTYPE);
            a.jeq(OUTGOING, None, network);
        }
        a.ld_abs(AD_HATYPE);
        a.jeq(ARPHRD_ETHER, ethernet, None);
        a.jeq(ARPHRD_LOOPBACK, ethernet, network);
        a.bind(ethernet);
        a.ldh_abs(ETHERNET - 2);
        behind_link.enter(a);
        a.ldx_imm(ETHERNET);
        a.ja(tags);
        // What came in, and devices without a link header.
        a.bind(network);
        a.ld_abs(AD_PROTOCOL);
        at_start.enter(a);
        a.ldx_imm(0);
        a.bind(tags);
        skip_tags(a, layer3);
        a.bind(layer3);
        a.jeq(0x0800, v4, None);
        a.jeq(0x86dd, v6, zero);
        self.plain(behind_link, mode);
        self.plain(at_start, mode);
    }

    /// Defaults: class data, no ports.
    fn begin(&mut self, version: u32, address: u32) {
        let a = &mut self.a;
        a.stx(IP);
        a.ldb_ind(0);
        a.rsh(4);
        a.jeq(version, None, self.zero);
        a.st(FAMILY);
        // Ends the program where an address is cut.
        a.ldb_ind(if version == 4 { 19 } else { 39 });
        a.ld_imm(0);
        for slot in [CLASS, FROM, TO, MORE] {
            a.st(slot);
        }
        a.ld_imm(u32::MAX);
        a.st(ROOM);
        a.txa();
        a.add(address);
        a.st(ADDRESS);
    }

    fn ipv4(&mut self) {
        self.a.bind(self.v4);
        self.begin(4, 12);
        let (zero, hash, open) = (self.zero, self.hash, self.open);
        let a = &mut self.a;
        let (later, second, first, whole) = (a.label(), a.label(), a.label(), a.label());
        let icmp = a.label();
        header_length(a, 0, zero);
        a.st(TEMP);
        a.ldb_ind(9);
        a.st(PROTOCOL);
        a.ldh_ind(6);
        a.jset(0x1fff, later, None);
        a.jset(0x2000, first, whole);
        a.bind(later);
        a.and(0x1fff);
        a.jeq(1, second, hash);
        a.bind(second);
        a.ld_mem(PROTOCOL);
        a.jeq(TCP, open, hash);
        a.bind(first);
        a.ldh_ind(2);
        a.ldx_mem(TEMP);
        a.sub_x();
        a.st(ROOM);
        a.ldx_mem(IP);
        a.bind(whole);
        a.ld_mem(TEMP);
        a.add_x();
        a.tax();
        a.ld_mem(PROTOCOL);
        a.jeq(TCP, self.tcp, None);
        a.jeq(UDP, self.udp, None);
        a.jeq(1, icmp, hash);
        a.bind(icmp);
        self.quote4();
    }

    fn quote4(&mut self) {
        let hash = self.hash;
        let control = self.workers;
        let a = &mut self.a;
        let (error, ports, addresses) = (a.label(), a.label(), a.label());
        a.ldb_ind(0);
        for kind in [3, 4, 5, 11] {
            a.jeq(kind, error, None);
        }
        a.jeq(12, error, hash);
        a.bind(error);
        a.stx(UPPER_AT);
        a.ld_imm(control);
        a.st(CLASS);
        a.ld_len();
        a.sub_x();
        a.st(ROOM);
        a.jge(28, None, hash);
        a.ldb_ind(8);
        a.rsh(4);
        a.jeq(4, None, hash);
        header_length(a, 8, hash);
        a.st(QUOTED);
        a.ldh_ind(14);
        a.jset(0x1fff, addresses, None);
        a.ldb_ind(17);
        a.jeq(TCP, ports, None);
        a.jeq(UDP, ports, addresses);
        a.bind(ports);
        a.ld_mem(QUOTED);
        a.add(12);
        a.ldx_mem(ROOM);
        a.jgt_x(hash, None);
        a.ld_mem(QUOTED);
        a.ldx_mem(UPPER_AT);
        a.add_x();
        a.tax();
        both_ports(a, 8);
        a.bind(addresses);
        a.ld_mem(UPPER_AT);
        a.add(20);
        a.st(ADDRESS);
        a.ja(hash);
    }

    fn ipv6(&mut self) {
        self.a.bind(self.v6);
        self.begin(6, 8);
        let (hash, open) = (self.hash, self.open);
        let a = &mut self.a;
        let upper = a.label();
        a.ldb_ind(6);
        forward(a, 40);
        for _ in 0..EXTENSIONS {
            let (extension, fragment, first, second) = (a.label(), a.label(), a.label(), a.label());
            let (atomic, done) = (a.label(), a.label());
            for kind in [0, 43, 60] {
                a.jeq(kind, extension, None);
            }
            a.jeq(44, fragment, upper);
            a.bind(extension);
            a.ldb_ind(1);
            a.jgt(u32::from(EXTENSION), hash, None);
            a.add(1);
            a.lsh(3);
            a.add_x();
            a.st(TEMP);
            a.ldb_ind(0);
            a.ldx_mem(TEMP);
            a.ja(done);
            a.bind(fragment);
            a.ldh_ind(2);
            a.rsh(3);
            a.jeq(0, first, None);
            a.jeq(1, second, hash);
            a.bind(second);
            a.ldb_ind(0);
            a.jeq(TCP, open, hash);
            a.bind(first);
            a.ldh_ind(2);
            a.jset(1, None, atomic);
            a.st(MORE);
            a.bind(atomic);
            a.ldb_ind(0);
            forward(a, 8);
            a.bind(done);
        }
        a.bind(upper);
        self.upper6();
    }

    /// A = the protocol, X = where it starts.
    fn upper6(&mut self) {
        let hash = self.hash;
        let a = &mut self.a;
        let (whole, icmp) = (a.label(), a.label());
        a.st(PROTOCOL);
        a.stx(UPPER_AT);
        a.txa();
        a.ldx_mem(IP);
        a.sub_x();
        a.jgt(UPPER, hash, None);
        a.st(REACH);
        a.ld_mem(MORE);
        a.jeq(0, whole, None);
        a.ldh_ind(4);
        a.add(40);
        a.ldx_mem(REACH);
        a.sub_x();
        a.st(ROOM);
        a.bind(whole);
        a.ldx_mem(UPPER_AT);
        a.ld_mem(PROTOCOL);
        a.jeq(TCP, self.tcp, None);
        a.jeq(UDP, self.udp, None);
        a.jeq(58, icmp, hash);
        a.bind(icmp);
        self.quote6();
    }

    fn quote6(&mut self) {
        let hash = self.hash;
        let control = self.workers;
        let a = &mut self.a;
        let (ports, addresses) = (a.label(), a.label());
        a.ldb_ind(0);
        a.jeq(0, hash, None);
        a.jgt(4, hash, None);
        a.ld_imm(control);
        a.st(CLASS);
        a.ld_mem(REACH);
        a.jgt(QUOTING, hash, None);
        a.ld_len();
        a.sub_x();
        a.st(ROOM);
        a.jge(48, None, hash);
        a.ldb_ind(8);
        a.rsh(4);
        a.jeq(6, None, hash);
        a.ldb_ind(14);
        a.jeq(TCP, ports, None);
        a.jeq(UDP, ports, addresses);
        a.bind(ports);
        a.ld_mem(ROOM);
        a.jge(52, None, hash);
        both_ports(a, 48);
        a.bind(addresses);
        a.txa();
        a.add(16);
        a.st(ADDRESS);
        a.ja(hash);
    }

    /// TCP and UDP, and the class that the flags give.
    fn ports(&mut self) {
        let (hash, open, control) = (self.hash, self.open, self.control);
        let bulk = self.bulk;
        let a = &mut self.a;
        a.bind(self.udp);
        a.ld_mem(ROOM);
        a.jge(4, None, hash);
        both_ports(a, 0);
        if self.tunnels.any() {
            let tunnel = a.label();
            for port in self.tunnels.ports() {
                a.jeq(port.into(), tunnel, None);
            }
            a.ja(bulk);
            a.bind(tunnel);
            a.ld_imm(0);
            a.st(FROM);
            a.st(TO);
            a.ja(hash);
        } else {
            a.ja(bulk);
        }
        a.bind(self.tcp);
        a.ld_mem(ROOM);
        a.jge(TCP_FLAGS, None, open);
        both_ports(a, 0);
        a.ldb_ind(TCP_FLAGS - 1);
        class(a, open, control, bulk);
        a.bind(open);
        a.ld_imm(2 * self.workers);
        a.st(CLASS);
        a.ja(hash);
        a.bind(control);
        a.ld_imm(self.workers);
        a.st(CLASS);
    }

    fn leaf(&mut self, mode: Mode) {
        let six = self.a.label();
        let done = self.a.label();
        match mode {
            Mode::Bulk { snaplen, .. } => {
                // Frames it could not follow, and those of control or open.
                self.a.bind(self.hash);
                self.a.bind(self.zero);
                self.a.ret(snaplen);
                self.a.bind(self.bulk);
                return self.a.ret(0);
            }
            Mode::Filter { snaplen } => {
                self.a.bind(self.bulk);
                self.a.bind(self.hash);
                self.a.ld_mem(CLASS);
                self.a.jeq(0, self.zero, None);
                self.a.ret(snaplen);
            }
            Mode::Fanout => {
                self.a.bind(self.bulk);
                self.a.bind(self.hash);
                self.a.ld_mem(FAMILY);
                self.a.jeq(6, six, None);
                self.hash_at_address(1);
                self.a.ja(done);
                self.a.bind(six);
                self.hash_at_address(4);
                self.a.bind(done);
                self.a.ldx_mem(CLASS);
                self.a.add_x();
                self.a.ret_a();
            }
        }
        self.a.bind(self.zero);
        self.a.ret(0);
    }

    /// A = the worker, for addresses of so many words.
    fn hash_at_address(&mut self, words: u8) {
        let ports = [FROM, TO];
        let offsets = [0, 4 * u32::from(words)];
        self.hash(
            words,
            |a, end| a.ld_mem(ports[end]),
            |a, end, offset| {
                a.stx(TEMP);
                a.ldx_mem(ADDRESS);
                a.ld_ind(offsets[end] + offset);
                a.ldx_mem(TEMP);
            },
        );
    }
}
