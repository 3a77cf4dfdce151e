//! The rule as classic BPF, for the kernel.
//!
//! Loads are plain offsets from `skb->data`, not `SKF_NET_OFF`: those reach only the linear part
//! of a packet (`bpf_internal_load_pointer_neg_helper` in `kernel/bpf/core.c`), and where the network header lies on
//! egress depends on who built the frame. `skb->data` has two places only. A fanout program
//! sees the network header of a packet that came in and the link header of one that goes
//! out; a socket filter always sees the link header.

use libc::sock_filter;

use super::{EXTENSION, EXTENSIONS, Keys, QUOTING, TCP_FLAGS, UPPER};
use crate::capture::bpf::asm::{Asm, Label};
use crate::capture::bpf::steps::{
    FROM, TEMP, TO, both_ports, forward, header_length, ip_header, skip_tags,
};
use crate::capture::frame::LinkType;

/// The use of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `PACKET_FANOUT_CBPF`: returns the member.
    Fanout,
    /// A socket's own filter: returns this many bytes to keep for control and open, 0 for data.
    Filter {
        /// Bytes to keep.
        snaplen: u32,
    },
    /// The filter of a data ring under load. It returns 0 for bulk data: UDP, and TCP that neither opens, answers
    /// nor ends a connection. It keeps this many bytes of every other frame, and of frames that it cannot follow.
    /// A frame cut within its headers is refused. It reads nothing but the frame's bytes.
    Bulk {
        /// What the frames start with.
        link: LinkType,
        /// Bytes to keep.
        snaplen: u32,
    },
}

// Ancillary values (linux/filter.h).
const AD_PROTOCOL: u32 = 0xffff_f000;
const AD_PKTTYPE: u32 = 0xffff_f004;
const AD_HATYPE: u32 = 0xffff_f01c;
const OUTGOING: u32 = 4;
const ARPHRD_ETHER: u32 = 1;
const ARPHRD_LOOPBACK: u32 = 772;

// Slots of M, in addition to those of steps.
/// Where the IP header starts.
const IP: u32 = 1;
/// class × workers.
const CLASS: u32 = 2;
/// Where the source address starts.
const ADDRESS: u32 = 5;
const FAMILY: u32 = 6;
const PROTOCOL: u32 = 7;
/// A first fragment: more follow.
const MORE: u32 = 8;
/// Bytes behind the IP header that are in this fragment.
const ROOM: u32 = 9;
/// Where the upper header starts.
const UPPER_AT: u32 = 10;
/// The same, from the start of the IP header.
const REACH: u32 = 11;
const END: u32 = 12;
const SUM: u32 = 13;
const QUOTED: u32 = 14;

const TCP: u32 = 6;
const UDP: u32 = 17;

struct Builder<'k> {
    a: Asm,
    keys: &'k Keys,
    workers: u32,
    zero: Label,
    v4: Label,
    v6: Label,
    tcp: Label,
    udp: Label,
    open: Label,
    control: Label,
    /// Bulk data; only the hash is left.
    bulk: Label,
    /// Only the hash is left.
    hash: Label,
}

/// The program for `workers` workers.
///
/// # Panics
///
/// If `workers` is 0.
#[must_use]
pub fn program(keys: &Keys, workers: u32, mode: Mode) -> Vec<sock_filter> {
    assert!(workers > 0, "a group has at least one worker");
    let mut a = Asm::default();
    let mut b = Builder {
        zero: a.label(),
        v4: a.label(),
        v6: a.label(),
        tcp: a.label(),
        udp: a.label(),
        open: a.label(),
        control: a.label(),
        bulk: a.label(),
        hash: a.label(),
        a,
        keys,
        workers,
    };
    match mode {
        Mode::Bulk { link, .. } => ip_header(&mut b.a, link, b.v4, b.v6, b.zero),
        _ => b.link(mode),
    }
    b.ipv4();
    b.ipv6();
    b.ports();
    b.leaf(mode);
    b.a.finish()
}

impl Builder<'_> {
    /// X = the IP header, A = the ethertype before it.
    fn link(&mut self, mode: Mode) {
        let (zero, v4, v6) = (self.zero, self.v4, self.v6);
        let a = &mut self.a;
        let (ethernet, network, tags, layer3) = (a.label(), a.label(), a.label(), a.label());
        if mode == Mode::Fanout {
            a.ld_abs(AD_PKTTYPE);
            a.jeq(OUTGOING, None, network);
        }
        a.ld_abs(AD_HATYPE);
        a.jeq(ARPHRD_ETHER, ethernet, None);
        a.jeq(ARPHRD_LOOPBACK, ethernet, network);
        a.bind(ethernet);
        a.ldx_imm(14);
        a.ldh_abs(12);
        a.ja(tags);
        // What came in, and devices without a link header.
        a.bind(network);
        a.ldx_imm(0);
        a.ld_abs(AD_PROTOCOL);
        a.bind(tags);
        skip_tags(a, layer3);
        a.bind(layer3);
        a.jeq(0x0800, v4, None);
        a.jeq(0x86dd, v6, zero);
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
        let (syn, ack) = (a.label(), a.label());
        a.bind(self.udp);
        a.ld_mem(ROOM);
        a.jge(4, None, hash);
        both_ports(a, 0);
        a.ja(bulk);
        a.bind(self.tcp);
        a.ld_mem(ROOM);
        a.jge(TCP_FLAGS, None, open);
        both_ports(a, 0);
        a.ldb_ind(13);
        a.jset(0x02, syn, None);
        a.jset(0x04, control, None);
        a.jset(0x10, ack, open);
        a.bind(ack);
        a.jset(0x01, control, bulk);
        a.bind(syn);
        a.jset(0x10, control, open);
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
                self.sum(1);
                self.a.ja(done);
                self.a.bind(six);
                self.sum(4);
                self.a.bind(done);
                self.a.mul(self.keys.last);
                self.a.mix();
                self.a.modulo(self.workers);
                self.a.ldx_mem(CLASS);
                self.a.add_x();
                self.a.ret_a();
            }
        }
        self.a.bind(self.zero);
        self.a.ret(0);
    }

    /// A = the sum of both ends' hashes, for addresses of so many words.
    fn sum(&mut self, words: u8) {
        self.end(words, FROM, 0);
        self.a.st(SUM);
        self.end(words, TO, 4 * u32::from(words));
        self.a.ldx_mem(SUM);
        self.a.add_x();
    }

    fn end(&mut self, words: u8, port: u32, offset: u32) {
        let a = &mut self.a;
        a.ld_mem(port);
        a.mul(self.keys.port);
        a.mix();
        for i in 0..words {
            let word = usize::from(i);
            a.st(END);
            a.ldx_mem(ADDRESS);
            a.ld_ind(offset + 4 * u32::from(i));
            a.mul(self.keys.word[word]);
            a.mix();
            a.ldx_mem(END);
            a.add_x();
            a.mul(self.keys.fold[word]);
            a.mix();
        }
    }
}
