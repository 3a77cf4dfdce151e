//! An assembler for classic BPF: labels in, `sock_filter`s out.
//!
//! A conditional jump of classic BPF reaches 255 instructions. For a farther target [`Asm::finish`] adds an
//! unconditional `ja`, which has no such limit.

use libc::sock_filter;

/// A place in the program. Forward only: classic BPF has no loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

enum Op {
    Plain {
        code: u16,
        k: u32,
    },
    Jump(Label),
    /// `None` is the next instruction.
    Branch {
        code: u16,
        k: u32,
        then: Option<Label>,
        or: Option<Label>,
        far: (bool, bool),
    },
}

impl Op {
    /// Instructions that this one becomes.
    fn len(&self) -> usize {
        match self {
            Op::Plain { .. } | Op::Jump(_) => 1,
            Op::Branch { far, .. } => 1 + usize::from(far.0) + usize::from(far.1),
        }
    }
}

#[derive(Default)]
pub struct Asm {
    ops: Vec<Op>,
    /// The op each label stands before; `usize::MAX` until it is bound.
    labels: Vec<usize>,
}

macro_rules! instructions {
    ($($name:ident $(($k:ident))? = $code:literal;)*) => {
        impl Asm {
            $(pub fn $name(&mut self $(, $k: u32)?) {
                let k = 0 $(+ $k)?;
                self.ops.push(Op::Plain { code: $code, k });
            })*
        }
    };
}

macro_rules! branches {
    ($($name:ident($($k:ident)?) = $code:literal;)*) => {
        impl Asm {
            $(pub fn $name(
                &mut self,
                $($k: u32,)?
                then: impl Into<Option<Label>>,
                or: impl Into<Option<Label>>,
            ) {
                let (then, or, far) = (then.into(), or.into(), (false, false));
                let k = 0 $(+ $k)?;
                self.ops.push(Op::Branch { code: $code, k, then, or, far });
            })*
        }
    };
}

instructions! {
    ld_imm(k) = 0x00; // A = k
    ld_abs(k) = 0x20; // A = the word at k, or the ancillary value at SKF_AD_OFF
    ldh_abs(k) = 0x28; // A = the half-word at k
    ldb_abs(k) = 0x30; // A = the byte at k
    ld_ind(k) = 0x40; // A = the word at X + k
    ldh_ind(k) = 0x48; // A = the half-word at X + k
    ldb_ind(k) = 0x50; // A = the byte at X + k
    ld_mem(k) = 0x60; // A = M[k]
    ld_len = 0x80; // A = bytes from the start of the data to the end of the frame
    ldx_imm(k) = 0x01; // X = k
    ldx_mem(k) = 0x61; // X = M[k]
    st(k) = 0x02; // M[k] = A
    stx(k) = 0x03; // M[k] = X
    add(k) = 0x04; // A += k
    add_x = 0x0c; // A += X
    sub_x = 0x1c; // A -= X
    mul(k) = 0x24; // A *= k
    mul_x = 0x2c; // A *= X
    or(k) = 0x44; // A |= k
    and(k) = 0x54; // A &= k
    lsh(k) = 0x64; // A <<= k
    rsh(k) = 0x74; // A >>= k
    modulo(k) = 0x94; // A %= k
    xor_x = 0xac; // A ^= X
    tax = 0x07; // X = A
    txa = 0x87; // A = X
    ret(k) = 0x06; // ends with k
    ret_a = 0x16; // ends with A
}

branches! {
    jeq(k) = 0x15; // A == k?
    jgt(k) = 0x25; // A > k?
    jgt_x() = 0x2d; // A > X?
    jge(k) = 0x35; // A >= k?
    jset(k) = 0x45; // A & k != 0?
}

impl Asm {
    /// A ^= A >> 15. X is lost.
    pub fn mix(&mut self) {
        self.tax();
        self.rsh(15);
        self.xor_x();
    }

    /// A new label, to be bound once.
    pub fn label(&mut self) -> Label {
        self.labels.push(usize::MAX);
        Label(self.labels.len() - 1)
    }

    /// Puts the label here; panics if it has a place already.
    pub fn bind(&mut self, label: Label) {
        assert_eq!(self.labels[label.0], usize::MAX, "a label is bound twice");
        self.labels[label.0] = self.ops.len();
    }

    pub fn ja(&mut self, label: Label) {
        self.ops.push(Op::Jump(label));
    }

    /// The first instruction of each op, and the program's length.
    fn starts(&self) -> Vec<usize> {
        let mut at = 0;
        let mut starts = Vec::with_capacity(self.ops.len() + 1);
        for op in &self.ops {
            starts.push(at);
            at += op.len();
        }
        starts.push(at);
        starts
    }

    fn target(&self, starts: &[usize], label: Label) -> usize {
        let op = self.labels[label.0];
        assert!(op < self.ops.len(), "a label is never bound");
        starts[op]
    }

    /// Marks the jumps that need a `ja`; false if no new one does.
    fn stretch(&mut self) -> bool {
        let starts = self.starts();
        let mut grew = false;
        for i in 0..self.ops.len() {
            let Op::Branch { then, or, far, .. } = self.ops[i] else {
                continue;
            };
            let reaches = |l: Option<Label>| {
                l.is_none_or(|l| self.target(&starts, l) - (starts[i] + 1) <= usize::from(u8::MAX))
            };
            let new = (far.0 || !reaches(then), far.1 || !reaches(or));
            if let Op::Branch { far, .. } = &mut self.ops[i] {
                grew |= *far != new;
                *far = new;
            }
        }
        grew
    }

    /// The program; panics if a label was never bound, or has a jump behind it.
    pub fn finish(mut self) -> Vec<sock_filter> {
        while self.stretch() {}
        let starts = self.starts();
        let mut out = Vec::with_capacity(starts[self.ops.len()]);
        let plain = |code, k| sock_filter {
            code,
            jt: 0,
            jf: 0,
            k,
        };
        let jump = |from: usize, to: Label| {
            let skip = self.target(&starts, to) - (from + 1);
            plain(0x05, u32::try_from(skip).expect("programs are short"))
        };
        for (op, &at) in self.ops.iter().zip(&starts) {
            match *op {
                Op::Plain { code, k } => out.push(plain(code, k)),
                Op::Jump(to) => out.push(jump(at, to)),
                Op::Branch {
                    code,
                    k,
                    then,
                    or,
                    far,
                } => {
                    let near = |label: Option<Label>, far: bool, slot: usize| {
                        let skip = match label {
                            None => op.len() - 1,
                            Some(_) if far => slot,
                            Some(l) => self.target(&starts, l) - (at + 1),
                        };
                        u8::try_from(skip).expect("far jumps go through ja")
                    };
                    let (jt, jf) = (near(then, far.0, 0), near(or, far.1, usize::from(far.0)));
                    out.push(sock_filter { code, jt, jf, k });
                    let ways = [then.filter(|_| far.0), or.filter(|_| far.1)];
                    for to in ways.into_iter().flatten() {
                        out.push(jump(out.len(), to));
                    }
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet::interp::{Packet, run};

    #[test]
    fn a_jump_over_more_than_255_instructions_arrives() {
        for (gap, value) in [(0, 7), (254, 7), (255, 7), (256, 8), (300, 7), (900, 8)] {
            let mut a = Asm::default();
            let (seven, other) = (a.label(), a.label());
            a.ld_imm(value);
            a.jeq(7, seven, other);
            (0..gap).for_each(|_| a.add(1));
            a.bind(other);
            a.ret(1);
            a.bind(seven);
            a.ret(2);
            let program = a.finish();
            let want = if value == 7 { 2 } else { 1 };
            assert_eq!(
                run(&program, &Packet::default()),
                want,
                "gap {gap}, value {value}"
            );
        }
    }
}
