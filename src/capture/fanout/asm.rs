//! A small assembler for classic BPF with labels.

use libc::sock_filter;

// linux/bpf_common.h and linux/filter.h
const LD: u16 = 0x00;
const LDX: u16 = 0x01;
const ST: u16 = 0x02;
const ALU: u16 = 0x04;
const JMP: u16 = 0x05;
const RET: u16 = 0x06;
const MISC: u16 = 0x07;
const ABS: u16 = 0x20;
const IND: u16 = 0x40;
const MEM: u16 = 0x60;
const X: u16 = 0x08;
/// SKF_LL_OFF: offsets from here on count from the link header, for incoming and outgoing frames alike.
/// (At demultiplexing `skb->data` is the IP header of incoming frames and the link header of outgoing
/// ones; SKF_NET_OFF points at an inner VLAN tag of the one and behind it of the other.)
const LL: u32 = 0xffe0_0000;

/// Sizes of a load.
#[derive(Clone, Copy, Debug)]
pub enum Size {
    /// 32 bits.
    Word = 0x00,
    /// 16 bits.
    Half = 0x08,
    /// 8 bits.
    Byte = 0x10,
}

/// Arithmetic on A.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "linux/bpf_common.h names them")]
pub enum Op {
    Add = 0x00,
    Sub = 0x10,
    Mul = 0x20,
    And = 0x50,
    Lsh = 0x60,
    Rsh = 0x70,
    Mod = 0x90,
    Xor = 0xa0,
}

/// Tests of A.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "linux/bpf_common.h names them")]
pub enum Test {
    Eq = 0x10,
    Gt = 0x20,
    Ge = 0x30,
    Set = 0x40,
}

/// A place in the program, known or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// The program so far.
#[derive(Debug, Default)]
pub struct Asm {
    code: Vec<sock_filter>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

impl Asm {
    fn push(&mut self, code: u16, k: u32) {
        self.code.push(sock_filter {
            code,
            jt: 0,
            jf: 0,
            k,
        });
    }

    /// A label to be placed later.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Places `label` here.
    pub fn here(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    /// A = frame[at]. Beyond the frame the program ends with 0.
    pub fn load(&mut self, size: Size, at: u32) {
        self.push(LD | size as u16 | ABS, LL + at);
    }

    /// A = frame[X + at].
    pub fn load_x(&mut self, size: Size, at: u32) {
        self.push(LD | size as u16 | IND, LL + at);
    }

    /// A = k.
    pub fn imm(&mut self, k: u32) {
        self.push(LD, k);
    }

    /// A = M[slot].
    pub fn get(&mut self, slot: u32) {
        self.push(LD | MEM, slot);
    }

    /// X = M[slot].
    pub fn get_x(&mut self, slot: u32) {
        self.push(LDX | MEM, slot);
    }

    /// M[slot] = A.
    pub fn set(&mut self, slot: u32) {
        self.push(ST, slot);
    }

    /// X = A.
    pub fn tax(&mut self) {
        self.push(MISC, 0);
    }

    /// A = X.
    pub fn txa(&mut self) {
        self.push(MISC | 0x80, 0);
    }

    /// A = A op k.
    pub fn op(&mut self, op: Op, k: u32) {
        self.push(ALU | op as u16, k);
    }

    /// A = A op X.
    pub fn op_x(&mut self, op: Op) {
        self.push(ALU | op as u16 | X, 0);
    }

    /// Goes to `label`.
    pub fn goto(&mut self, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.push(JMP, 0);
    }

    /// Goes to `label` if the test of A holds. Two instructions, so that no distance is too far.
    pub fn when(&mut self, test: Test, k: u32, label: Label) {
        self.code.push(sock_filter {
            code: JMP | test as u16,
            jt: 0,
            jf: 1,
            k,
        });
        self.goto(label);
    }

    /// Goes to `label` unless the test of A holds.
    pub fn unless(&mut self, test: Test, k: u32, label: Label) {
        self.code.push(sock_filter {
            code: JMP | test as u16,
            jt: 1,
            jf: 0,
            k,
        });
        self.goto(label);
    }

    /// Ends with `k`.
    pub fn ret(&mut self, k: u32) {
        self.push(RET, k);
    }

    /// Ends with A.
    pub fn ret_a(&mut self) {
        self.push(RET | 0x10, 0);
    }

    /// The program.
    pub fn finish(mut self) -> Vec<sock_filter> {
        for (at, label) in self.jumps {
            let target = self.labels[label.0].expect("every label is placed");
            let distance = target
                .checked_sub(at + 1)
                .expect("classic BPF jumps forward only");
            self.code[at].k = u32::try_from(distance).expect("programs are short");
        }
        assert!(
            self.code.len() <= 4096,
            "{} instructions pass BPF_MAXINSNS",
            self.code.len()
        );
        self.code
    }
}
