//! Classic BPF interpreter, for tests on machines where no program may be attached
//! to a socket.

use libc::sock_filter;

/// A packet as a BPF program sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packet<'a> {
    /// Bytes from the kernel's `skb->data` on.
    pub data: &'a [u8],
    /// `SKF_AD_PROTOCOL`: the ethertype behind the outermost tag.
    pub protocol: u16,
    /// `SKF_AD_PKTTYPE`: 4 is `PACKET_OUTGOING`.
    pub pkttype: u8,
    /// `SKF_AD_HATYPE`: 1 is Ethernet.
    pub hatype: u16,
}

impl Packet<'_> {
    fn load(&self, at: u32, size: usize) -> Option<u32> {
        match at {
            0xffff_f000 => return Some(u32::from(self.protocol)),
            0xffff_f004 => return Some(u32::from(self.pkttype)),
            0xffff_f01c => return Some(u32::from(self.hatype)),
            _ => {}
        }
        let at = usize::try_from(at).ok()?;
        let bytes = self.data.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().fold(0, |v, b| v << 8 | u32::from(*b)))
    }
}

/// What `program` returns for `packet`.
///
/// # Panics
///
/// On an instruction that the sensor's assembler does not emit.
#[must_use]
pub fn run(program: &[sock_filter], packet: &Packet<'_>) -> u32 {
    let (mut a, mut x, mut m, mut pc) = (0u32, 0u32, [None; 16], 0usize);
    loop {
        let sock_filter { code, jt, jf, k } = program[pc];
        pc += 1;
        let slot = k as usize;
        let load = |at: u32, size| packet.load(at, size);
        let loaded = match code {
            0x20 => load(k, 4),
            0x28 => load(k, 2),
            0x30 => load(k, 1),
            0x40 => load(x.wrapping_add(k), 4),
            0x48 => load(x.wrapping_add(k), 2),
            0x50 => load(x.wrapping_add(k), 1),
            _ => Some(a),
        };
        let Some(now) = loaded else { return 0 };
        a = now;
        match code {
            0x20 | 0x28 | 0x30 | 0x40 | 0x48 | 0x50 => {}
            0x00 => a = k,
            0x60 => a = m[slot].expect("a slot is written before it is read"),
            0x61 => x = m[slot].expect("a slot is written before it is read"),
            0x80 => a = u32::try_from(packet.data.len()).unwrap_or(u32::MAX),
            0x01 => x = k,
            0x02 => m[slot] = Some(a),
            0x03 => m[slot] = Some(x),
            0x04 => a = a.wrapping_add(k),
            0x0c => a = a.wrapping_add(x),
            0x1c => a = a.wrapping_sub(x),
            0x24 => a = a.wrapping_mul(k),
            0x2c => a = a.wrapping_mul(x),
            0x44 => a |= k,
            0x54 => a &= k,
            0x64 => a <<= k,
            0x74 => a >>= k,
            0x94 => a %= k,
            0xac => a ^= x,
            0x07 => x = a,
            0x87 => a = x,
            0x05 => pc += slot,
            0x15 => pc += usize::from(if a == k { jt } else { jf }),
            0x25 => pc += usize::from(if a > k { jt } else { jf }),
            0x2d => pc += usize::from(if a > x { jt } else { jf }),
            0x35 => pc += usize::from(if a >= k { jt } else { jf }),
            0x45 => pc += usize::from(if a & k != 0 { jt } else { jf }),
            0x06 => return k,
            0x16 => return a,
            _ => panic!("instruction {code:#x} is not implemented"),
        }
    }
}
