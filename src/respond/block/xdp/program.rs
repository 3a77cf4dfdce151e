//! The program: drops frames whose source is blocked, and lets all others pass.
//!
//! In: an Ethernet frame with up to two VLAN tags. A source is blocked while the longest prefix that holds it, and whose
//! time is not over, is in the map of its family. An element that is over hides no shorter prefix. What is short, odd or
//! no IP passes.

use super::elements::{BYTES, END_NS, PACKETS, PREFIX, V4_KEY_BYTES, V6_KEY_BYTES};
use crate::respond::block::helper::{V4_PREFIX_MIN, V6_PREFIX_MIN};
use crate::sys::bpf::asm::{Asm, If, Insn, Label, Reg, Size};
use crate::sys::bpf::{Kind, Map, Program, Rejected};

/// `BPF_PROG_TYPE_XDP` and `BPF_XDP`.
const XDP: Kind = Kind {
    number: 6,
    attach: 37,
    flags: 0,
};
/// `BPF_F_XDP_HAS_FRAGS`: also for frames that the driver has in several parts (Linux 5.18), such as large ones.
const HAS_FRAGS: u32 = 1 << 5;
const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;

// `BPF_FUNC_*`.
const MAP_LOOKUP_ELEM: i32 = 1;
const KTIME_GET_NS: i32 = 5;
const XDP_GET_BUFF_LEN: i32 = 188;

// `struct xdp_md`.
const DATA: i16 = 0;
const DATA_END: i16 = 4;

const ETHERNET: i32 = 14;
const TAG: i32 = 4;
const TAGS_MAX: usize = 2;
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// The key on the stack, of the longer kind.
const KEY: i16 = -24;
const _: () = assert!(V4_KEY_BYTES <= 24 && V6_KEY_BYTES <= 24);

/// Loads the program for these maps, of IPv4 and IPv6.
///
/// # Errors
///
/// Those of bpf(2), with the verifier's log.
pub fn load(maps: &[Map; 2]) -> Result<Program, Rejected> {
    let maps = maps.each_ref().map(Map::descriptor);
    let with_parts = Kind {
        flags: HAS_FRAGS,
        ..XDP
    };
    match Program::load(with_parts, &code(maps, true), "synledger") {
        // The flag is not known.
        Err(rejected) if rejected.error.raw_os_error() == Some(libc::EINVAL) => load_whole(maps),
        other => other,
    }
}

/// The same before Linux 5.18, where a frame has one part.
pub(super) fn load_whole(maps: [i32; 2]) -> Result<Program, Rejected> {
    Program::load(XDP, &code(maps, false), "synledger")
}

/// The program for maps with these descriptors. `in_parts`: frames may have several.
fn code(maps: [i32; 2], in_parts: bool) -> Vec<Insn> {
    let mut a = Asm::default();
    let (pass, hit, v4, v6) = (a.label(), a.label(), a.label(), a.label());
    a.mov(Reg::R6, Reg::R1);
    a.load(Size::Word, Reg::R7, Reg::R6, DATA);
    a.load(Size::Word, Reg::R8, Reg::R6, DATA_END);
    link(&mut a, v4, v6, pass);
    a.bind(v4);
    ip(&mut a, 4, pass);
    let longest = 32;
    key(&mut a, longest, &[12]);
    a.store_constant(Size::Word, Reg::R10, KEY + 8, 0);
    search(
        &mut a,
        maps[0],
        longest - i32::from(V4_PREFIX_MIN),
        hit,
        pass,
    );
    a.bind(v6);
    ip(&mut a, 6, pass);
    let longest = 128;
    key(&mut a, longest, &[8, 12, 16, 20]);
    search(
        &mut a,
        maps[1],
        longest - i32::from(V6_PREFIX_MIN),
        hit,
        pass,
    );
    a.bind(hit);
    count(&mut a, in_parts);
    a.set(Reg::R0, XDP_DROP);
    a.exit();
    a.bind(pass);
    a.set(Reg::R0, XDP_PASS);
    a.exit();
    a.finish()
}

/// Goes to `pass` if fewer than `bytes` bytes of the frame are left at R7.
fn need(a: &mut Asm, bytes: i32, pass: Label) {
    a.mov(Reg::R2, Reg::R7);
    a.add(Reg::R2, bytes);
    a.jump_if_reg(Reg::R2, If::Gt, Reg::R8, pass);
}

/// Skips the Ethernet header and its tags, and goes to the label of the protocol with R7 at its header.
fn link(a: &mut Asm, v4: Label, v6: Label, pass: Label) {
    let ethertype = |kind: u16| i32::from(u16::from_ne_bytes(kind.to_be_bytes()));
    let untagged = a.label();
    need(a, ETHERNET, pass);
    a.load(Size::Half, Reg::R3, Reg::R7, 12);
    a.add(Reg::R7, ETHERNET);
    for _ in 0..TAGS_MAX {
        let tagged = a.label();
        for tag in TAGS {
            a.jump_if(Reg::R3, If::Eq, ethertype(tag), tagged);
        }
        a.jump(untagged);
        a.bind(tagged);
        need(a, TAG, pass);
        a.load(Size::Half, Reg::R3, Reg::R7, 2);
        a.add(Reg::R7, TAG);
    }
    a.bind(untagged);
    a.jump_if(Reg::R3, If::Eq, ethertype(IPV6), v6);
    a.jump_if(Reg::R3, If::Eq, ethertype(IPV4), v4);
    a.jump(pass);
}

/// Goes to `pass` unless a whole header of this version is at R7.
fn ip(a: &mut Asm, version: i32, pass: Label) {
    need(a, if version == 4 { 20 } else { 40 }, pass);
    a.load(Size::Byte, Reg::R2, Reg::R7, 0);
    a.shift_right(Reg::R2, 4);
    a.jump_if(Reg::R2, If::Ne, version, pass);
}

/// Writes a key with a prefix of `bits` bits, and the words of the header at these offsets.
fn key(a: &mut Asm, bits: i32, words: &[i16]) {
    a.store_constant(Size::Word, Reg::R10, KEY, bits);
    for (to, from) in (KEY + 4..).step_by(4).zip(words) {
        a.load(Size::Word, Reg::R2, Reg::R7, *from);
        a.store(Size::Word, Reg::R10, to, Reg::R2);
    }
}

/// Goes to `hit` with R7 at the value of the longest prefix that holds the key and is not over, or to `pass`. There are
/// `shorter` lengths of a prefix below the longest.
fn search(a: &mut Asm, map: i32, shorter: i32, hit: Label, pass: Label) {
    let again = a.label();
    // The verifier wants to see an end.
    a.set(Reg::R9, shorter + 1);
    a.bind(again);
    a.map(Reg::R1, map);
    a.mov(Reg::R2, Reg::R10);
    a.add(Reg::R2, i32::from(KEY));
    a.call(MAP_LOOKUP_ELEM);
    a.jump_if(Reg::R0, If::Eq, 0, pass);
    a.mov(Reg::R7, Reg::R0);
    a.call(KTIME_GET_NS);
    a.load(Size::Double, Reg::R1, Reg::R7, END_NS);
    a.jump_if_reg(Reg::R1, If::Gt, Reg::R0, hit);
    // It is over: a shorter one may not be.
    a.load(Size::Word, Reg::R1, Reg::R7, PREFIX);
    a.jump_if(Reg::R1, If::Eq, 0, pass);
    a.add(Reg::R1, -1);
    a.store(Size::Word, Reg::R10, KEY, Reg::R1);
    a.add(Reg::R9, -1);
    a.jump_if(Reg::R9, If::Ne, 0, again);
    a.jump(pass);
}

/// Counts the frame and its bytes at the value at R7.
fn count(a: &mut Asm, in_parts: bool) {
    a.set(Reg::R1, 1);
    a.atomic_add(Reg::R7, PACKETS, Reg::R1);
    if in_parts {
        a.mov(Reg::R1, Reg::R6);
        a.call(XDP_GET_BUFF_LEN);
    } else {
        a.load(Size::Word, Reg::R0, Reg::R6, DATA_END);
        a.load(Size::Word, Reg::R1, Reg::R6, DATA);
        a.sub(Reg::R0, Reg::R1);
    }
    a.atomic_add(Reg::R7, BYTES, Reg::R0);
}
