//! BPF live frames: the kernel makes copies of a template, and a BPF program writes the fields of each.
//!
//! The program is the load `syn` in BPF instructions: its frame `i` is byte for byte that of [`Load::write`]. A counter
//! in a map numbers the frames.

use std::io;

use crate::sys::bpf::{Counter, Insn, Program};
use crate::traffic::{FIRST, FRAME_LEN_MAX, Fields, Load, SECOND, Shuffle, Tally};

/// Most frames of one call. Each call allocates and frees pages, which would dominate with few frames.
pub const CALL_MAX: u32 = 65_536;

/// A sender of live frames.
#[derive(Debug)]
pub struct BpfSender {
    program: Program,
    counter: Counter,
    template: Vec<u8>,
    interface: u32,
}

impl BpfSender {
    /// A sender of `load` through this interface of the calling thread's namespace.
    ///
    /// # Errors
    ///
    /// For another load than `syn`; without `CAP_BPF` and `CAP_NET_ADMIN`.
    pub fn new(load: &Load, interface: u32) -> io::Result<Self> {
        let counter = Counter::new()?;
        let program = program(load, counter.fd(), Action::Redirect(interface))?;
        Ok(Self {
            program: Program::load(&program)?,
            counter,
            template: template(load),
            interface,
        })
    }

    /// Sends `count` frames from number `first` on, at most [`CALL_MAX`].
    ///
    /// # Errors
    ///
    /// Those of bpf(2); also when the program did not run once for each frame.
    pub fn send(
        &mut self,
        load: &Load,
        first: u64,
        count: u32,
        tally: &mut Tally,
    ) -> io::Result<u32> {
        let count = count.min(CALL_MAX);
        self.counter.set(first)?;
        self.program
            .run_live(&self.template, self.interface, count)?;
        let (made, len) = (self.counter.get()? - first, self.template.len());
        if made != u64::from(count) {
            return Err(io::Error::other(format!("{made} frames of {count} made")));
        }
        for index in (first..).take(usize::try_from(count).expect("few")) {
            tally.add(&load.frame(index), len);
        }
        Ok(count)
    }
}

/// The XDP action of the program.
#[derive(Clone, Copy)]
enum Action {
    /// Sends the frame out of an interface.
    Redirect(u32),
    /// Passes the frame, for a test run.
    #[cfg(test)]
    Pass,
}

fn template(load: &Load) -> Vec<u8> {
    let mut out = [0; FRAME_LEN_MAX];
    let (template, _) = load.spoofed().expect("checked by `program`");
    let len = template.write(&Fields::default(), &mut out);
    out[..len].to_vec()
}

// Registers of linux/bpf.h: a helper call overwrites 0 to 5 and keeps 6 to 9; 10 is the end of the stack.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R4: u8 = 4;
const R5: u8 = 5;
/// Address of the frame.
const DATA: u8 = 6;
/// Number of the frame.
const NUMBER: u8 = 7;
/// Checksum of the addresses, then of the segment.
const SUM: u8 = 8;
const R9: u8 = 9;
const R10: u8 = 10;

// Operations: class, source of the operand, operation.
const ALU32: u8 = 0x04;
const ALU64: u8 = 0x07;
const X: u8 = 0x08;
const ADD: u8 = 0x00;
const AND: u8 = 0x50;
const RSH: u8 = 0x70;
const MUL: u8 = 0x20;
const XOR: u8 = 0xA0;
const OR: u8 = 0x40;
const MOV: u8 = 0xB0;
const TO_BE: u8 = 0xDC;
const LOAD_W: u8 = 0x61;
const LOAD_DW: u8 = 0x79;
const STORE_H: u8 = 0x6B;
const STORE_W: u8 = 0x63;
const STORE_DW: u8 = 0x7B;
const STORE_W_IMM: u8 = 0x62;
const LOAD_IMM_64: u8 = 0x18;
const JUMP_GT: u8 = 0x2D;
const JUMP_EQ_IMM: u8 = 0x15;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const PSEUDO_MAP_FD: u8 = 1;
const MAP_LOOKUP_ELEM: i32 = 1;
const REDIRECT: i32 = 23;
const XDP_ABORTED: i32 = 0;

// Offsets of the fields, as in `Template::write`.
const IP_CHECKSUM: i16 = 24;
const SRC: i16 = 26;
const DST: i16 = 30;
const SRC_PORT: i16 = 34;
const DST_PORT: i16 = 36;
const SEQ: i16 = 38;
const TCP_CHECKSUM: i16 = 50;

#[derive(Default)]
struct Asm(Vec<Insn>);

impl Asm {
    fn put(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: i32) {
        self.0.push(Insn {
            code,
            registers: dst | src << 4,
            off,
            imm,
        });
    }

    fn imm32(&mut self, operation: u8, dst: u8, imm: u32) {
        self.put(ALU32 | operation, dst, 0, 0, imm.cast_signed());
    }

    fn reg32(&mut self, operation: u8, dst: u8, src: u8) {
        self.put(ALU32 | X | operation, dst, src, 0, 0);
    }

    /// `dst` = `Shuffle::permute(NUMBER)`; overwrites `spare`.
    fn shuffle(&mut self, key: Shuffle, dst: u8, spare: u8) {
        self.reg32(MOV, dst, NUMBER);
        self.imm32(XOR, dst, key.0);
        for (shift, factor) in [(16, Some(FIRST)), (15, Some(SECOND)), (16, None)] {
            self.reg32(MOV, spare, dst);
            self.imm32(RSH, spare, shift);
            self.reg32(XOR, dst, spare);
            if let Some(factor) = factor {
                self.imm32(MUL, dst, factor);
            }
        }
    }

    /// Writes the low `bits` of `src` to the frame in network order; overwrites `spare`.
    fn store(&mut self, bits: i32, at: i16, src: u8, spare: u8) {
        self.reg32(MOV, spare, src);
        self.put(TO_BE, spare, 0, 0, bits);
        let code = if bits == 16 { STORE_H } else { STORE_W };
        self.put(code, DATA, spare, at, 0);
    }

    /// `sum` += both halves of `word`; overwrites `spare`.
    fn add_words(&mut self, sum: u8, word: u8, spare: u8) {
        self.reg32(MOV, spare, word);
        self.imm32(RSH, spare, 16);
        self.reg32(ADD, sum, spare);
        self.reg32(MOV, spare, word);
        self.imm32(AND, spare, 0xFFFF);
        self.reg32(ADD, sum, spare);
    }

    /// Folds `sum` and writes its complement; overwrites `spare`.
    fn store_checksum(&mut self, at: i16, sum: u8, spare: u8) {
        for _ in 0..2 {
            self.reg32(MOV, spare, sum);
            self.imm32(RSH, spare, 16);
            self.imm32(AND, sum, 0xFFFF);
            self.reg32(ADD, sum, spare);
        }
        self.imm32(XOR, sum, 0xFFFF);
        self.store(16, at, sum, spare);
    }
}

/// The whole program.
fn program(load: &Load, counter_fd: i32, action: Action) -> io::Result<Vec<Insn>> {
    let Some((template, [isn, address, port])) = load.spoofed() else {
        let why = format!("the sender bpf has the load syn only, not {}", load.name);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    };
    let (bytes, ip_sum, tcp_sum) = template.sums();
    let target = load.attempt(0).ends;
    let mut a = Asm::default();
    let mut aborts = emit_frame_check(&mut a, bytes.len());
    aborts.push(emit_frame_number(&mut a, counter_fd));
    // Source address: 16.0.0.0 plus 30 bits.
    a.shuffle(address, R2, R3);
    a.imm32(AND, R2, 0x3FFF_FFFF);
    a.imm32(ADD, R2, 16 << 24);
    a.store(32, SRC, R2, R3);
    a.imm32(MOV, SUM, 0);
    a.add_words(SUM, R2, R3);
    a.imm32(MOV, R2, crate::traffic::low32(target.dst));
    a.store(32, DST, R2, R3);
    a.add_words(SUM, R2, R3);
    a.reg32(MOV, R4, SUM);
    a.imm32(ADD, R4, ip_sum);
    a.store_checksum(IP_CHECKSUM, R4, R3);
    a.imm32(ADD, SUM, tcp_sum);
    a.shuffle(port, R2, R3);
    a.imm32(AND, R2, 0xFFFF);
    a.imm32(OR, R2, 0x8000);
    a.store(16, SRC_PORT, R2, R3);
    a.reg32(ADD, SUM, R2);
    a.imm32(MOV, R2, target.dst_port.into());
    a.store(16, DST_PORT, R2, R3);
    a.reg32(ADD, SUM, R2);
    a.shuffle(isn, R2, R3);
    a.store(32, SEQ, R2, R3);
    a.add_words(SUM, R2, R3);
    a.store_checksum(TCP_CHECKSUM, SUM, R3);
    emit_exit(&mut a, action);
    let abort_at = a.0.len();
    a.imm32(MOV, R0, XDP_ABORTED.cast_unsigned());
    a.put(EXIT, 0, 0, 0, 0);
    for jump in aborts {
        a.0[jump].off = i16::try_from(abort_at - jump - 1).expect("a short program");
    }
    Ok(a.0)
}

/// DATA = the frame, if it has `frame_len` bytes; gives the jump taken if it has not.
fn emit_frame_check(a: &mut Asm, frame_len: usize) -> Vec<usize> {
    a.put(LOAD_W, DATA, R1, 0, 0);
    a.put(LOAD_W, R3, R1, 4, 0);
    a.put(ALU64 | X | MOV, R4, DATA, 0, 0);
    a.put(
        ALU64 | ADD,
        R4,
        0,
        0,
        i32::try_from(frame_len).expect("short"),
    );
    a.put(JUMP_GT, R4, R3, 0, 0);
    vec![a.0.len() - 1]
}

/// NUMBER = the counter, which is then incremented; gives the jump taken if there is no counter.
fn emit_frame_number(a: &mut Asm, counter_fd: i32) -> usize {
    a.put(STORE_W_IMM, R10, 0, -4, 0);
    a.put(ALU64 | X | MOV, R2, R10, 0, 0);
    a.put(ALU64 | ADD, R2, 0, 0, -4);
    a.put(LOAD_IMM_64, R1, PSEUDO_MAP_FD, 0, counter_fd);
    a.put(0, 0, 0, 0, 0);
    a.put(CALL, 0, 0, 0, MAP_LOOKUP_ELEM);
    a.put(JUMP_EQ_IMM, R0, 0, 0, 0);
    let none = a.0.len() - 1;
    a.put(LOAD_DW, R9, R0, 0, 0);
    a.reg32(MOV, NUMBER, R9);
    a.put(ALU64 | X | MOV, R5, R9, 0, 0);
    a.put(ALU64 | ADD, R5, 0, 0, 1);
    a.put(STORE_DW, R0, R5, 0, 0);
    none
}

fn emit_exit(a: &mut Asm, action: Action) {
    match action {
        Action::Redirect(interface) => {
            a.imm32(MOV, R1, interface);
            a.imm32(MOV, R2, 0);
            a.put(CALL, 0, 0, 0, REDIRECT);
        }
        #[cfg(test)]
        Action::Pass => a.imm32(MOV, R0, 2),
    }
    a.put(EXIT, 0, 0, 0, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::Name;

    #[test]
    fn the_program_makes_the_frames_of_the_load() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root to load a program into the kernel");
            return;
        }
        let counter = match Counter::new() {
            Ok(counter) => counter,
            Err(error) => {
                eprintln!("skipped: no BPF here: {error}");
                return;
            }
        };
        for seed in 1..4 {
            let load = Load::new(Name::Syn, seed);
            let program = program(&load, counter.fd(), Action::Pass).expect("a program");
            let program = Program::load(&program).expect("the kernel takes it");
            let template = template(&load);
            let mut out = [0; FRAME_LEN_MAX];
            for first in [0, 1, 65_535, 4_000_000_000] {
                counter.set(first).expect("set");
                for index in first..first + 300 {
                    let (len, _) = load.write(index, &mut out);
                    let made = program.try_on(&template).expect("it runs");
                    assert_eq!(made, out[..len], "seed {seed}, frame {index}");
                }
                assert_eq!(counter.get().expect("read"), first + 300);
            }
        }
    }

    #[test]
    fn another_load_is_an_error_that_names_it() {
        let load = Load::new(Name::Mix, 1);
        let error = program(&load, 0, Action::Pass).expect_err("not this one");
        assert!(error.to_string().contains("mix"), "{error}");
    }
}
