//! An assembler for eBPF: labels in, instructions out.

/// One instruction in the machine's byte order.
pub(crate) type Insn = [u8; 8];

/// An instruction of its parts: operation, registers, offset, constant.
pub(crate) fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    let regs = if cfg!(target_endian = "little") {
        src << 4 | dst
    } else {
        dst << 4 | src
    };
    let (off, imm) = (off.to_ne_bytes(), imm.to_ne_bytes());
    [code, regs, off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
}

/// A register. A call returns in R0 and destroys R1 to R5; R10 is the end of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "registers have no more than their numbers")]
pub(crate) enum Reg {
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R8,
    R9,
    R10,
}

impl Reg {
    fn number(self) -> u8 {
        match self {
            Self::R0 => 0,
            Self::R1 => 1,
            Self::R2 => 2,
            Self::R3 => 3,
            Self::R6 => 6,
            Self::R7 => 7,
            Self::R8 => 8,
            Self::R9 => 9,
            Self::R10 => 10,
        }
    }
}

/// Bytes that a load or store moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// One.
    Byte,
    /// Two.
    Half,
    /// Four.
    Word,
    /// Eight.
    Double,
}

impl Size {
    fn bits(self) -> u8 {
        match self {
            Self::Word => 0x00,
            Self::Half => 0x08,
            Self::Byte => 0x10,
            Self::Double => 0x18,
        }
    }
}

/// When a jump is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum If {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Greater, unsigned.
    Gt,
}

impl If {
    fn bits(self) -> u8 {
        match self {
            Self::Eq => 0x10,
            Self::Gt => 0x20,
            Self::Ne => 0x50,
        }
    }
}

/// A place in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// A program under way.
#[derive(Default)]
pub(crate) struct Asm {
    code: Vec<Insn>,
    /// Instructions that jump, and where to.
    jumps: Vec<(usize, Label)>,
    /// Where each label is; `usize::MAX` until it is bound.
    places: Vec<usize>,
}

impl Asm {
    fn push(&mut self, code: u8, dst: Reg, src: Option<Reg>, off: i16, imm: i32) {
        let src = src.map_or(0, Reg::number);
        self.code.push(insn(code, dst.number(), src, off, imm));
    }

    /// A new label, to be bound once.
    pub fn label(&mut self) -> Label {
        self.places.push(usize::MAX);
        Label(self.places.len() - 1)
    }

    /// Puts the label here; panics if it has a place already.
    pub fn bind(&mut self, label: Label) {
        assert_eq!(self.places[label.0], usize::MAX, "a label is bound twice");
        self.places[label.0] = self.code.len();
    }

    /// dst = src
    pub fn mov(&mut self, dst: Reg, src: Reg) {
        self.push(0xbf, dst, Some(src), 0, 0);
    }

    /// dst = k
    pub fn set(&mut self, dst: Reg, k: i32) {
        self.push(0xb7, dst, None, 0, k);
    }

    /// dst += k
    pub fn add(&mut self, dst: Reg, k: i32) {
        self.push(0x07, dst, None, 0, k);
    }

    /// dst -= src
    pub fn sub(&mut self, dst: Reg, src: Reg) {
        self.push(0x1f, dst, Some(src), 0, 0);
    }

    /// dst >>= k
    pub fn shift_right(&mut self, dst: Reg, k: i32) {
        self.push(0x77, dst, None, 0, k);
    }

    /// dst = the bytes at src + off
    pub fn load(&mut self, size: Size, dst: Reg, src: Reg, off: i16) {
        self.push(0x61 | size.bits(), dst, Some(src), off, 0);
    }

    /// The bytes at dst + off = src
    pub fn store(&mut self, size: Size, dst: Reg, off: i16, src: Reg) {
        self.push(0x63 | size.bits(), dst, Some(src), off, 0);
    }

    /// The bytes at dst + off = k
    pub fn store_constant(&mut self, size: Size, dst: Reg, off: i16, k: i32) {
        self.push(0x62 | size.bits(), dst, None, off, k);
    }

    /// The eight bytes at dst + off += src, as one step for all processors. They must lie at a multiple of eight.
    pub fn atomic_add(&mut self, dst: Reg, off: i16, src: Reg) {
        self.push(0xdb, dst, Some(src), off, 0);
    }

    /// Goes to the label.
    pub fn jump(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(0x05, Reg::R0, None, 0, 0);
    }

    /// Goes to the label if `a` and `k` are so.
    pub fn jump_if(&mut self, a: Reg, is: If, k: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(0x05 | is.bits(), a, None, 0, k);
    }

    /// Goes to the label if `a` and `b` are so.
    pub fn jump_if_reg(&mut self, a: Reg, is: If, b: Reg, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(0x0d | is.bits(), a, Some(b), 0, 0);
    }

    /// dst = the map of this descriptor
    pub fn map(&mut self, dst: Reg, descriptor: i32) {
        const PSEUDO_MAP_FD: u8 = 1;
        self.code
            .push(insn(0x18, dst.number(), PSEUDO_MAP_FD, 0, descriptor));
        // Its upper half.
        self.code.push(insn(0, 0, 0, 0, 0));
    }

    /// R0 = helper(R1, …); `BPF_FUNC_*`.
    pub fn call(&mut self, helper: i32) {
        self.push(0x85, Reg::R0, None, 0, helper);
    }

    /// Ends with R0.
    pub fn exit(&mut self) {
        self.push(0x95, Reg::R0, None, 0, 0);
    }

    /// The program; panics if a label was never bound, or is too far.
    pub fn finish(mut self) -> Vec<Insn> {
        for (from, to) in self.jumps {
            let place = self.places[to.0];
            assert!(place < self.code.len(), "a label is never bound");
            let place = i64::try_from(place).expect("programs are short");
            let next = i64::try_from(from + 1).expect("programs are short");
            let skip = i16::try_from(place - next).expect("programs are short");
            let [low, high] = skip.to_ne_bytes();
            (self.code[from][2], self.code[from][3]) = (low, high);
        }
        self.code
    }
}
