//! The program that the kernel runs on each frame: its class and its worker.
//!
//! [`super::native`] is the same in Rust; tests hold them together, here and in the kernel.

use super::asm::{Asm, Label, Op, Size, Test};
use super::keys::{Keys, MIX, SHIFT};
use crate::capture::frame::{Class, LinkType};
use libc::sock_filter;

/// What a program ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// `class × workers + hash % workers`: for PACKET_FANOUT_DATA.
    Member {
        /// Workers in the group.
        workers: u32,
    },
    /// `snaplen` for classes `open` and `control`, else 0: a socket filter.
    Filter {
        /// Bytes to keep.
        snaplen: u32,
    },
}

/// Everything that the program looks at lies in so many bytes.
pub const REACH_BYTES: u32 = 192;

// Scratch memory.
const L3: u32 = 0;
const L4: u32 = 1;
const PROTO: u32 = 2;
const SUM: u32 = 3;
const CLASS: u32 = 4;
const TEMP: u32 = 5;
const MORE: u32 = 6;
const NEXT: u32 = 7;

struct Builder<'k> {
    asm: Asm,
    keys: &'k Keys,
    leaf: Leaf,
    none: Label,
    finish: Label,
    tcp: Label,
    ports: Label,
    transport: Label,
    tiny: Label,
    quoted: Label,
}

/// The program for frames that start with `link`.
pub fn program(keys: &Keys, link: LinkType, leaf: Leaf) -> Vec<sock_filter> {
    let mut asm = Asm::default();
    let mut label = || asm.label();
    let (none, finish, tcp, ports) = (label(), label(), label(), label());
    let (transport, tiny, quoted) = (label(), label(), label());
    let mut builder = Builder {
        asm,
        keys,
        leaf,
        none,
        finish,
        tcp,
        ports,
        transport,
        tiny,
        quoted,
    };
    builder.build(link);
    builder.asm.finish()
}

impl Builder<'_> {
    fn build(&mut self, link: LinkType) {
        let (v4, v6) = (self.asm.label(), self.asm.label());
        match link {
            LinkType::Ethernet => self.ethernet(v4, v6),
            _ => self.raw(v4, v6),
        }
        self.asm.here(v4);
        self.ipv4();
        self.asm.here(v6);
        self.ipv6();
        self.transport();
        self.quoted();
        self.ends();
    }

    /// X = offset of the IP header.
    fn l3_at(&mut self, at: u32) {
        self.asm.imm(at);
        self.asm.set(L3);
        self.asm.tax();
    }

    fn ethernet(&mut self, v4: Label, v6: Label) {
        // The kernel has taken one tag out of incoming frames; outgoing ones have theirs inline.
        for tags in 0..=2 {
            let at = 14 + 4 * tags;
            let (is_v4, is_v6, tag) = (self.asm.label(), self.asm.label(), self.asm.label());
            self.asm.load(Size::Half, at - 2);
            self.asm.when(Test::Eq, 0x0800, is_v4);
            self.asm.when(Test::Eq, 0x86dd, is_v6);
            if tags < 2 {
                for tpid in [0x8100, 0x88a8, 0x9100] {
                    self.asm.when(Test::Eq, tpid, tag);
                }
            }
            self.asm.goto(self.none);
            self.asm.here(is_v4);
            self.l3_at(at);
            self.asm.goto(v4);
            self.asm.here(is_v6);
            self.l3_at(at);
            self.asm.goto(v6);
            self.asm.here(tag);
        }
    }

    fn raw(&mut self, v4: Label, v6: Label) {
        self.l3_at(0);
        self.asm.load(Size::Byte, 0);
        self.asm.op(Op::Rsh, 4);
        self.asm.when(Test::Eq, 4, v4);
        self.asm.when(Test::Eq, 6, v6);
        self.asm.goto(self.none);
    }

    /// A = mix(A); X is lost.
    fn mix(&mut self) {
        for (shift, multiplier) in SHIFT.into_iter().zip(MIX) {
            self.asm.tax();
            self.asm.op(Op::Rsh, shift);
            self.asm.op_x(Op::Xor);
            self.asm.op(Op::Mul, multiplier);
        }
    }

    /// SUM = both mixed IPv4 addresses of the header at M[base].
    fn addresses_v4(&mut self, base: u32) {
        for (index, at) in [12, 16].into_iter().enumerate() {
            self.asm.get_x(base);
            self.asm.load_x(Size::Word, at);
            self.asm.op(Op::Add, self.keys.offsets[0]);
            self.asm.op(Op::Mul, self.keys.words[0]);
            self.mix();
            self.add_to_sum(index > 0);
        }
        self.asm.get_x(base);
    }

    /// SUM = both mixed IPv6 addresses of the header at M[base].
    fn addresses_v6(&mut self, base: u32) {
        for (index, at) in [8, 24].into_iter().enumerate() {
            self.asm.imm(0);
            self.asm.set(TEMP);
            for word in 0..4_u32 {
                self.asm.get_x(base);
                self.asm.load_x(Size::Word, at + 4 * word);
                self.asm.get_x(TEMP);
                self.asm.op_x(Op::Xor);
                self.asm.op(Op::Add, self.keys.offsets[word as usize]);
                self.asm.op(Op::Mul, self.keys.words[word as usize]);
                self.mix();
                self.asm.set(TEMP);
            }
            self.asm.get(TEMP);
            self.add_to_sum(index > 0);
        }
        self.asm.get_x(base);
    }

    fn add_to_sum(&mut self, add: bool) {
        if add {
            self.asm.get_x(SUM);
            self.asm.op_x(Op::Add);
        }
        self.asm.set(SUM);
    }

    fn class(&mut self, class: Class) {
        let value = match self.leaf {
            Leaf::Member { workers } => class as u32 * workers,
            Leaf::Filter { snaplen } => u32::from(class != Class::Data) * snaplen,
        };
        self.asm.imm(value);
        self.asm.set(CLASS);
    }

    fn ipv4(&mut self) {
        let (whole, later) = (self.asm.label(), self.asm.label());
        self.asm.load_x(Size::Byte, 0);
        self.asm.op(Op::Rsh, 4);
        self.asm.unless(Test::Eq, 4, self.none);
        self.addresses_v4(L3);
        self.class(Class::Data);
        self.asm.load_x(Size::Byte, 9);
        self.asm.set(PROTO);
        // L4 = L3 + header length; below 20 bytes it is no header.
        self.asm.load_x(Size::Byte, 0);
        self.asm.op(Op::And, 15);
        self.asm.op(Op::Lsh, 2);
        self.asm.unless(Test::Ge, 20, self.finish);
        self.asm.set(TEMP);
        self.asm.op_x(Op::Add);
        self.asm.set(L4);
        self.asm.load_x(Size::Half, 6);
        self.asm.when(Test::Set, 0x1fff, later);
        self.asm.unless(Test::Set, 0x2000, whole);
        // A first fragment of TCP that ends before the flags: padding behind it is not its own.
        self.asm.get(PROTO);
        self.asm.unless(Test::Eq, 6, whole);
        self.asm.load_x(Size::Half, 2);
        self.asm.get_x(TEMP);
        self.asm.op_x(Op::Sub);
        self.asm.unless(Test::Ge, 14, self.tiny);
        self.asm.here(whole);
        self.asm.get_x(L4);
        self.asm.goto(self.transport);
        // Only the fragment at offset 8 can hold TCP flags.
        self.asm.here(later);
        self.asm.op(Op::And, 0x1fff);
        self.asm.unless(Test::Eq, 1, self.finish);
        self.asm.get(PROTO);
        self.asm.unless(Test::Eq, 6, self.finish);
        self.asm.goto(self.tiny);
    }

    fn ipv6(&mut self) {
        let (whole, later) = (self.asm.label(), self.asm.label());
        self.asm.load_x(Size::Byte, 0);
        self.asm.op(Op::Rsh, 4);
        self.asm.unless(Test::Eq, 6, self.none);
        self.addresses_v6(L3);
        self.class(Class::Data);
        self.asm.imm(0);
        self.asm.set(MORE);
        self.asm.load_x(Size::Byte, 6);
        self.asm.set(PROTO);
        self.asm.txa();
        self.asm.op(Op::Add, 40);
        self.asm.set(L4);
        for _ in 0..2 {
            self.extension();
        }
        let no_fragment = self.asm.label();
        self.asm.get(PROTO);
        self.asm.unless(Test::Eq, 44, no_fragment);
        self.in_reach(8);
        self.asm.load_x(Size::Byte, 0);
        self.asm.set(PROTO);
        self.asm.load_x(Size::Half, 2);
        self.asm.when(Test::Set, 0xfff8, later);
        self.asm.op(Op::And, 1);
        self.asm.set(MORE);
        self.asm.txa();
        self.asm.op(Op::Add, 8);
        self.asm.set(L4);
        self.asm.here(no_fragment);
        self.in_reach(14);
        self.asm.get(MORE);
        self.asm.when(Test::Eq, 0, whole);
        self.asm.get(PROTO);
        self.asm.unless(Test::Eq, 6, whole);
        // Bytes after the fragment header: L3 + 40 + payload length - L4.
        self.asm.get_x(L3);
        self.asm.load_x(Size::Half, 4);
        self.asm.op_x(Op::Add);
        self.asm.op(Op::Add, 40);
        self.asm.get_x(L4);
        self.asm.op_x(Op::Sub);
        self.asm.unless(Test::Ge, 14, self.tiny);
        self.asm.here(whole);
        self.asm.get_x(L4);
        self.asm.goto(self.transport);
        self.asm.here(later);
        self.asm.op(Op::And, 0xfff8);
        self.asm.unless(Test::Eq, 8, self.finish);
        self.asm.get(PROTO);
        self.asm.unless(Test::Eq, 6, self.finish);
        self.asm.goto(self.tiny);
    }

    /// Steps over one hop-by-hop, routing or destination options header, if there is one.
    fn extension(&mut self) {
        let (step, done) = (self.asm.label(), self.asm.label());
        self.asm.get(PROTO);
        for kind in [0, 43, 60] {
            self.asm.when(Test::Eq, kind, step);
        }
        self.asm.goto(done);
        self.asm.here(step);
        self.in_reach(8);
        self.asm.load_x(Size::Byte, 0);
        self.asm.set(NEXT);
        self.asm.load_x(Size::Byte, 1);
        self.asm.op(Op::Add, 1);
        self.asm.op(Op::Lsh, 3);
        self.asm.op_x(Op::Add);
        self.asm.set(L4);
        self.asm.get(NEXT);
        self.asm.set(PROTO);
        self.asm.here(done);
    }

    /// X = L4, if `bytes` from there on lie within reach; else the pair decides.
    fn in_reach(&mut self, bytes: u32) {
        self.asm.get(L4);
        self.asm.when(Test::Gt, REACH_BYTES - bytes, self.finish);
        self.asm.tax();
    }

    /// X = start of the transport header.
    fn transport(&mut self) {
        let (icmp, icmpv6, v4) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.here(self.transport);
        self.asm.get(PROTO);
        self.asm.when(Test::Eq, 6, self.tcp);
        self.asm.when(Test::Eq, 17, self.ports);
        self.asm.when(Test::Eq, 1, icmp);
        self.asm.when(Test::Eq, 58, icmpv6);
        self.asm.goto(self.finish);
        self.asm.here(icmp);
        self.asm.load_x(Size::Byte, 0);
        for kind in [3, 4, 5, 11, 12] {
            self.asm.when(Test::Eq, kind, v4);
        }
        self.asm.goto(self.finish);
        self.asm.here(icmpv6);
        self.asm.load_x(Size::Byte, 0);
        self.asm.when(Test::Eq, 0, self.finish);
        self.asm.when(Test::Gt, 4, self.finish);
        self.asm.here(v4);
        self.class(Class::Control);
        self.asm.goto(self.quoted);
        self.tcp_class();
    }

    fn tcp_class(&mut self) {
        let (control, open, fin, syn) = (
            self.asm.label(),
            self.asm.label(),
            self.asm.label(),
            self.asm.label(),
        );
        self.asm.here(self.tcp);
        self.asm.load_x(Size::Byte, 13);
        self.asm.when(Test::Set, 0x02, syn);
        self.asm.when(Test::Set, 0x04, control);
        self.asm.when(Test::Set, 0x01, fin);
        self.asm.when(Test::Set, 0x3f, self.ports);
        self.asm.goto(open);
        self.asm.here(syn);
        self.asm.here(fin);
        self.asm.when(Test::Set, 0x10, control);
        self.asm.here(open);
        self.class(Class::Open);
        self.asm.goto(self.ports);
        self.asm.here(control);
        self.class(Class::Control);
        self.asm.goto(self.ports);
        self.asm.here(self.tiny);
        self.class(Class::Open);
        self.asm.goto(self.finish);
    }

    /// The packet that an ICMP error quotes, 8 bytes into the message.
    fn quoted(&mut self) {
        let (v4, v6, ports) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.here(self.quoted);
        self.asm.txa();
        self.asm.op(Op::Add, 8);
        self.asm.when(Test::Gt, REACH_BYTES - 64, self.finish);
        self.asm.set(L3);
        self.asm.tax();
        self.asm.load_x(Size::Byte, 0);
        self.asm.op(Op::Rsh, 4);
        self.asm.when(Test::Eq, 4, v4);
        self.asm.when(Test::Eq, 6, v6);
        self.asm.goto(self.finish);
        self.asm.here(v4);
        self.addresses_v4(L3);
        self.asm.load_x(Size::Half, 6);
        self.asm.when(Test::Set, 0x1fff, self.finish);
        self.asm.load_x(Size::Byte, 9);
        self.asm.set(PROTO);
        self.asm.load_x(Size::Byte, 0);
        self.asm.op(Op::And, 15);
        self.asm.op(Op::Lsh, 2);
        self.asm.goto(ports);
        self.asm.here(v6);
        self.addresses_v6(L3);
        self.asm.load_x(Size::Byte, 6);
        self.asm.set(PROTO);
        self.asm.imm(40);
        self.asm.here(ports);
        self.asm.op_x(Op::Add);
        self.asm.set(L4);
        self.asm.tax();
        self.asm.get(PROTO);
        self.asm.when(Test::Eq, 6, self.ports);
        self.asm.when(Test::Eq, 17, self.ports);
        self.asm.goto(self.finish);
    }

    fn ends(&mut self) {
        self.asm.here(self.ports);
        // X is the transport header; in the quoted packet too.
        self.asm.txa();
        self.asm.set(L4);
        for at in [0, 2] {
            self.asm.get_x(L4);
            self.asm.load_x(Size::Half, at);
            self.asm.op(Op::Add, self.keys.port_offset);
            self.asm.op(Op::Mul, self.keys.port);
            self.mix();
            self.add_to_sum(true);
        }
        self.asm.here(self.finish);
        match self.leaf {
            Leaf::Member { workers } => {
                self.asm.get(SUM);
                self.asm.op(Op::Mul, self.keys.last);
                self.mix();
                self.asm.op(Op::Mod, workers);
                self.asm.get_x(CLASS);
                self.asm.op_x(Op::Add);
                self.asm.ret_a();
            }
            Leaf::Filter { .. } => {
                self.asm.get(CLASS);
                self.asm.ret_a();
            }
        }
        self.asm.here(self.none);
        self.asm.ret(0);
    }
}
