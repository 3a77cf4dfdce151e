//! A small assembler for classic BPF: labels in, `sock_filter`s out.
//!
//! A conditional jump of classic BPF reaches 255 instructions. [`Asm::finish`] puts an
//! unconditional `ja`, which reaches everything, behind each one whose target is farther.

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

/// A program in the making.
#[derive(Default)]
pub struct Asm {
    ops: Vec<Op>,
    /// The op each label stands before; `usize::MAX` until it is bound.
    labels: Vec<usize>,
}

macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl Asm {
            $($(#[$doc])* pub fn $name(&mut self, k: u32) { self.plain($code, k); })*
        }
    };
}

plain! {
    /// A = `k`.
    ld_imm = 0x00;
    /// A = the word at `k` (also the ancillary values at `SKF_AD_OFF`).
    ld_abs = 0x20;
    /// A = the half-word at `k`.
    ldh_abs = 0x28;
    /// A = the word at X + `k`.
    ld_ind = 0x40;
    /// A = the half-word at X + `k`.
    ldh_ind = 0x48;
    /// A = the byte at X + `k`.
    ldb_ind = 0x50;
    /// A = M\[`k`\].
    ld_mem = 0x60;
    /// X = `k`.
    ldx_imm = 0x01;
    /// X = M\[`k`\].
    ldx_mem = 0x61;
    /// M\[`k`\] = A.
    st = 0x02;
    /// M\[`k`\] = X.
    stx = 0x03;
    /// A += `k`.
    add = 0x04;
    /// A *= `k`.
    mul = 0x24;
    /// A &= `k`.
    and = 0x54;
    /// A <<= `k`.
    lsh = 0x64;
    /// A >>= `k`.
    rsh = 0x74;
    /// A %= `k`.
    modulo = 0x94;
    /// Ends with `k`.
    ret = 0x06;
}

impl Asm {
    fn plain(&mut self, code: u16, k: u32) {
        self.ops.push(Op::Plain { code, k });
    }

    /// A = bytes from the start of the data to the end of the frame.
    pub fn ld_len(&mut self) {
        self.plain(0x80, 0);
    }

    /// A += X.
    pub fn add_x(&mut self) {
        self.plain(0x0c, 0);
    }

    /// A -= X.
    pub fn sub_x(&mut self) {
        self.plain(0x1c, 0);
    }

    /// A ^= X.
    pub fn xor_x(&mut self) {
        self.plain(0xac, 0);
    }

    /// X = A.
    pub fn tax(&mut self) {
        self.plain(0x07, 0);
    }

    /// A = X.
    pub fn txa(&mut self) {
        self.plain(0x87, 0);
    }

    /// A ^= A >> 15. X is lost.
    pub fn mix(&mut self) {
        self.tax();
        self.rsh(15);
        self.xor_x();
    }

    /// Ends with A.
    pub fn ret_a(&mut self) {
        self.plain(0x16, 0);
    }

    /// A new label, to be bound once.
    pub fn label(&mut self) -> Label {
        self.labels.push(usize::MAX);
        Label(self.labels.len() - 1)
    }

    /// The label stands here.
    ///
    /// # Panics
    ///
    /// If it stands somewhere already.
    pub fn bind(&mut self, label: Label) {
        assert_eq!(self.labels[label.0], usize::MAX, "a label is bound twice");
        self.labels[label.0] = self.ops.len();
    }

    /// Goes to `label`.
    pub fn ja(&mut self, label: Label) {
        self.ops.push(Op::Jump(label));
    }

    fn branch(&mut self, code: u16, k: u32, then: Option<Label>, or: Option<Label>) {
        let far = (false, false);
        self.ops.push(Op::Branch {
            code,
            k,
            then,
            or,
            far,
        });
    }

    /// A == `k`?
    pub fn jeq(&mut self, k: u32, then: impl Into<Option<Label>>, or: impl Into<Option<Label>>) {
        self.branch(0x15, k, then.into(), or.into());
    }

    /// A > `k`?
    pub fn jgt(&mut self, k: u32, then: impl Into<Option<Label>>, or: impl Into<Option<Label>>) {
        self.branch(0x25, k, then.into(), or.into());
    }

    /// A > X?
    pub fn jgt_x(&mut self, then: impl Into<Option<Label>>, or: impl Into<Option<Label>>) {
        self.branch(0x2d, 0, then.into(), or.into());
    }

    /// A >= `k`?
    pub fn jge(&mut self, k: u32, then: impl Into<Option<Label>>, or: impl Into<Option<Label>>) {
        self.branch(0x35, k, then.into(), or.into());
    }

    /// A & `k` != 0?
    pub fn jset(&mut self, k: u32, then: impl Into<Option<Label>>, or: impl Into<Option<Label>>) {
        self.branch(0x45, k, then.into(), or.into());
    }

    /// Where each op starts, in instructions, and where the program ends.
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

    /// Marks the jumps that need a `ja`; false when there were no new ones.
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

    /// The finished program.
    ///
    /// # Panics
    ///
    /// If a label was never bound, or stands before a jump to it.
    #[must_use]
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
