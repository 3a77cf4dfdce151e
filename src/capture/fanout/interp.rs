//! A slow, obvious classic BPF machine: what the kernel does with the program.

use libc::sock_filter;

/// Runs `program` on a frame's bytes. A load beyond them ends it with 0.
pub fn run(program: &[sock_filter], frame: &[u8]) -> u32 {
    let (mut a, mut x, mut m, mut pc) = (0_u32, 0_u32, [0_u32; 16], 0_usize);
    loop {
        let i = program[pc];
        pc += 1;
        let load = |offset: u32, code: u16| -> Option<u32> {
            let at = offset.wrapping_sub(0xffe0_0000) as usize;
            let size = match code & 0x18 {
                0x00 => 4,
                0x08 => 2,
                _ => 1,
            };
            let bytes = frame.get(at..at + size)?;
            Some(
                bytes
                    .iter()
                    .fold(0, |value, byte| value * 256 + u32::from(*byte)),
            )
        };
        match i.code {
            0x20 | 0x28 | 0x30 => match load(i.k, i.code) {
                Some(value) => a = value,
                None => return 0,
            },
            0x40 | 0x48 | 0x50 => match load(i.k.wrapping_add(x), i.code) {
                Some(value) => a = value,
                None => return 0,
            },
            0x00 => a = i.k,
            0x60 => a = m[i.k as usize],
            0x61 => x = m[i.k as usize],
            0x02 => m[i.k as usize] = a,
            0x07 => x = a,
            0x87 => a = x,
            0x05 => pc += i.k as usize,
            0x06 => return i.k,
            0x16 => return a,
            code if code & 7 == 4 => {
                let operand = if code & 8 != 0 { x } else { i.k };
                a = match code & 0xf0 {
                    0x00 => a.wrapping_add(operand),
                    0x10 => a.wrapping_sub(operand),
                    0x20 => a.wrapping_mul(operand),
                    0x50 => a & operand,
                    0x60 => a << operand,
                    0x70 => a >> operand,
                    0x90 => a % operand,
                    0xa0 => a ^ operand,
                    other => panic!("operation {other:#x}"),
                };
            }
            code if code & 7 == 5 => {
                let holds = match code & 0xf0 {
                    0x10 => a == i.k,
                    0x20 => a > i.k,
                    0x30 => a >= i.k,
                    0x40 => a & i.k != 0,
                    other => panic!("test {other:#x}"),
                };
                pc += usize::from(if holds { i.jt } else { i.jf });
            }
            other => panic!("code {other:#x}"),
        }
    }
}
