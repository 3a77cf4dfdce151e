//! The short way of the program: whole TCP segments and UDP datagrams in IPv4 without options or IPv6 without extension
//! headers, untagged in the frame's bytes.
//!
//! Every load is absolute. The kernel reads an absolute load inline; an indirect one is a call of a helper. The
//! way reads the same fields as the general one, so a frame that is cut ends either with 0.

use super::TCP_FLAGS;
use super::builder::{Builder, Mode, TCP, UDP, class};
use crate::capture::bpf::asm::{Asm, Label};
use crate::capture::bpf::steps::TO;

/// The entries of the short way of one place where IP headers start.
#[derive(Clone, Copy)]
pub(super) struct Plain {
    /// Offset of the IP header.
    ip: u32,
    pub(super) v4: Label,
    pub(super) v6: Label,
}

/// Where an IP header keeps what the rule reads.
struct Shape {
    source: u32,
    /// 32-bit words of an address.
    words: u8,
    /// Length of the header.
    upper: u32,
}

const IPV4: Shape = Shape {
    source: 12,
    words: 1,
    upper: 20,
};

const IPV6: Shape = Shape {
    source: 8,
    words: 4,
    upper: 40,
};

impl Plain {
    pub(super) fn at(a: &mut Asm, ip: u32) -> Self {
        let (v4, v6) = (a.label(), a.label());
        Self { ip, v4, v6 }
    }

    /// Goes to the short way by the ethertype in A, or on.
    pub(super) fn enter(self, a: &mut Asm) {
        a.jeq(0x0800, self.v4, None);
        a.jeq(0x86dd, self.v6, None);
    }
}

impl Builder<'_> {
    /// The short way; what it does not take goes the general one.
    pub(super) fn plain(&mut self, Plain { ip, v4, v6 }: Plain, mode: Mode) {
        let general = self.a.label();
        self.a.bind(v4);
        self.a.ldb_abs(ip);
        self.a.jeq(0x45, None, general);
        // Fragment offset and flag, time to live, protocol.
        self.a.ld_abs(ip + 6);
        self.a.jset(0x3fff << 16, general, None);
        self.a.and(0xff);
        self.upper(&IPV4, ip, mode, general);
        self.a.bind(general);
        self.a.ldx_imm(ip);
        self.a.ja(self.v4);

        let general = self.a.label();
        self.a.bind(v6);
        self.a.ldb_abs(ip);
        self.a.rsh(4);
        self.a.jeq(6, None, general);
        self.a.ldb_abs(ip + 6);
        self.upper(&IPV6, ip, mode, general);
        self.a.bind(general);
        self.a.ldx_imm(ip);
        self.a.ja(self.v6);
    }

    /// Ends the program for TCP and UDP; A = the protocol.
    fn upper(&mut self, shape: &Shape, ip: u32, mode: Mode, general: Label) {
        let a = &mut self.a;
        let (tcp, udp) = (a.label(), a.label());
        let (open, control, bulk) = (a.label(), a.label(), a.label());
        a.jeq(TCP, tcp, None);
        a.jeq(UDP, udp, general);
        // The hash stands twice, so that nothing asks for the protocol again behind it.
        self.a.bind(udp);
        if self.tunnels.any() {
            let tunnel = self.a.label();
            self.a.ldh_abs(ip + shape.upper + 2);
            for port in self.tunnels.ports() {
                self.a.jeq(port.into(), tunnel, None);
            }
            self.worker(shape, ip, mode, true);
            self.end(0, mode);
            self.a.bind(tunnel);
            self.worker(shape, ip, mode, false);
            match mode {
                // As what it cannot follow.
                Mode::Bulk { snaplen, .. } => self.a.ret(snaplen),
                _ => self.end(0, mode),
            }
        } else {
            self.worker(shape, ip, mode, true);
            self.end(0, mode);
        }
        self.a.bind(tcp);
        self.worker(shape, ip, mode, true);
        self.a.ldb_abs(ip + shape.upper + TCP_FLAGS - 1);
        class(&mut self.a, open, control, bulk);
        for (class, label) in [bulk, control, open].into_iter().enumerate() {
            let class = u32::try_from(class).expect("three classes");
            self.a.bind(label);
            self.end(class, mode);
        }
    }

    /// Ends the program; in [`Mode::Fanout`] X is the worker.
    fn end(&mut self, class: u32, mode: Mode) {
        match mode {
            Mode::Fanout => {
                self.a.ld_imm(class * self.workers);
                self.a.add_x();
                self.a.ret_a();
            }
            Mode::Filter { .. } | Mode::Bulk { .. } if class == 0 => self.a.ret(0),
            Mode::Filter { snaplen } | Mode::Bulk { snaplen, .. } => self.a.ret(snaplen),
        }
    }

    /// In [`Mode::Fanout`] X = the worker, by ports, too, or by addresses alone.
    fn worker(&mut self, shape: &Shape, ip: u32, mode: Mode, by_ports: bool) {
        if mode != Mode::Fanout {
            return;
        }
        // One load for both ports.
        self.a.ld_abs(ip + shape.upper);
        self.a.st(TO);
        self.hash(
            shape.words,
            |a, end| match end {
                _ if !by_ports => a.ld_imm(0),
                0 => a.rsh(16),
                _ => {
                    a.ld_mem(TO);
                    a.and(0xffff);
                }
            },
            |a, end, offset| {
                let end = u32::try_from(end).expect("two ends");
                a.ld_abs(ip + shape.source + 4 * u32::from(shape.words) * end + offset);
            },
        );
        self.a.tax();
    }
}
