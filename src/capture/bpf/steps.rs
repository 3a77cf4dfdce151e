//! Steps that several parts of the program take.

use super::asm::{Asm, Label};

// Slots of M that steps use; the program has 1, 2 and those from 5 on.
pub(super) const TEMP: u32 = 0;
pub(super) const FROM: u32 = 3;
pub(super) const TO: u32 = 4;

/// Past two tags at most; A = the ethertype, X = what follows it.
pub(super) fn step_over_tags(a: &mut Asm, layer3: Label) {
    for _ in 0..2 {
        let tag = a.label();
        a.jeq(0x8100, tag, None);
        a.jeq(0x88a8, tag, None);
        a.jeq(0x9100, tag, layer3);
        a.bind(tag);
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
