//! Steps that several programs share.

use super::asm::{Asm, Label};
use crate::capture::frame::LinkType;

/// Bytes of an Ethernet header without tags.
pub(super) const ETHERNET: u32 = 14;
/// Tags in the frame that are skipped; of an incoming frame the ring's header holds the outermost.
pub(super) const TAGS_MAX: u32 = 2;
pub(super) const TAGS: [u32; 3] = [0x8100, 0x88a8, 0x9100];

// Slots of M that steps use; the fanout program has 1, 2 and those from 5 on.
pub(super) const TEMP: u32 = 0;
pub(super) const FROM: u32 = 3;
pub(super) const TO: u32 = 4;

/// Goes to `v4` or `v6` with X = the start of the IP header, by the frame's bytes; else to `other`.
pub(super) fn ip_header(a: &mut Asm, link: LinkType, v4: Label, v6: Label, other: Label) {
    if link == LinkType::RawIp {
        a.ldx_imm(0);
        a.ldb_ind(0);
        a.rsh(4);
        a.jeq(4, v4, None);
        a.jeq(6, v6, other);
        return;
    }
    for tags in 0..=TAGS_MAX {
        a.ldx_imm(ETHERNET + 4 * tags);
        a.ldh_abs(ETHERNET - 2 + 4 * tags);
        a.jeq(0x0800, v4, None);
        if tags == TAGS_MAX {
            a.jeq(0x86dd, v6, other);
            break;
        }
        a.jeq(0x86dd, v6, None);
        tag(a, other);
    }
}

/// Goes on if A is the ethertype of a tag, else to `other`.
fn tag(a: &mut Asm, other: Label) {
    let tag = a.label();
    a.jeq(TAGS[0], tag, None);
    a.jeq(TAGS[1], tag, None);
    a.jeq(TAGS[2], tag, other);
    a.bind(tag);
}

/// Skips two tags at most; A = the ethertype, X = the start of its header.
pub(super) fn skip_tags(a: &mut Asm, layer3: Label) {
    for _ in 0..TAGS_MAX {
        tag(a, layer3);
        a.ldh_ind(2);
        forward(a, 4);
    }
}

/// X += `by`; A stays.
pub(super) fn forward(a: &mut Asm, by: u32) {
    a.st(TEMP);
    a.txa();
    a.add(by);
    a.tax();
    a.ld_mem(TEMP);
}

/// A = the length of the IPv4 header at X + `at`; under 20 bytes goes to `short`.
pub(super) fn header_length(a: &mut Asm, at: u32, short: Label) {
    a.ldb_ind(at);
    a.and(15);
    a.lsh(2);
    a.jge(20, None, short);
}

pub(super) fn both_ports(a: &mut Asm, at: u32) {
    a.ldh_ind(at);
    a.st(FROM);
    a.ldh_ind(at + 2);
    a.st(TO);
}
