//! Seeded frames that are hard to assign to a worker.

use std::cell::Cell;
use synledger::capture::frame::{Frame, LinkType};

/// splitmix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).expect("fits")).expect("fits")
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }

    pub fn half(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.byte()).collect()
    }
}

/// The two ends of a flow.
struct Ends {
    a: [u8; 16],
    b: [u8; 16],
    ports: [[u8; 2]; 2],
    /// A field is missing: bytes read in its place are not swapped with the direction.
    cut: Cell<bool>,
}

impl Ends {
    fn new(rng: &mut Rng, back: bool) -> Self {
        let mut address = || {
            let mut a = [0; 16];
            a.copy_from_slice(&rng.bytes(16));
            a
        };
        let (a, b) = (address(), address());
        let ports = [rng.half().to_be_bytes(), rng.half().to_be_bytes()];
        let cut = Cell::new(false);
        match back {
            false => Self { a, b, ports, cut },
            true => Self {
                a: b,
                b: a,
                ports: [ports[1], ports[0]],
                cut,
            },
        }
    }
}

/// An Ethernet frame with `id` as its source address, and whether no field is missing. `back` gives the
/// other direction.
pub fn frame(seed: u64, id: u64, back: bool) -> (Vec<u8>, bool) {
    let rng = &mut Rng(seed);
    let mut f = vec![0x02, 0xfe, 0, 0, 0, 1, 0x02];
    f.extend(&id.to_be_bytes()[3..]);
    for _ in 0..rng.pick(&[0, 0, 0, 0, 1, 1, 2, 2, 3]) {
        f.extend(rng.pick(&[0x8100u16, 0x8100, 0x88a8, 0x9100]).to_be_bytes());
        f.extend(rng.half().to_be_bytes());
    }
    let ends = Ends::new(rng, back);
    match rng.below(16) {
        0 => {
            let other = [0x0806, 0x8864, 0x8847, 0x0100, 0x88cc, rng.half() | 0x0600];
            let kind = rng.pick(&other);
            f.extend(kind.to_be_bytes());
            f.extend(rng.bytes(60));
        }
        1..9 => {
            f.extend([0x08, 0x00]);
            f.extend(ipv4(rng, &ends, false));
        }
        _ => {
            f.extend([0x86, 0xdd]);
            f.extend(ipv6(rng, &ends, false));
        }
    }
    if rng.one_in(5) {
        let end = 14 + rng.below(f.len() - 13);
        f.truncate(end);
        ends.cut.set(true);
    }
    if rng.one_in(3) && f.len() < 60 {
        let pad = 60 - f.len();
        let noise = if rng.one_in(2) {
            rng.bytes(pad)
        } else {
            vec![0; pad]
        };
        f.extend(noise);
    }
    (f, !ends.cut.get())
}

/// [`frame`] with some bytes changed behind the Ethernet addresses.
pub fn noisy(seed: u64, id: u64) -> Vec<u8> {
    let mut f = frame(seed, id, false).0;
    let rng = &mut Rng(!seed);
    for _ in 0..rng.below(4) {
        let span = f.len().min(90);
        let at = 12 + rng.below(span - 12);
        f[at] = rng.pick(&[rng.0.to_le_bytes()[1], 0, 6, 0x45, 0x60, 44, 0x81, 0xff]);
    }
    if rng.one_in(20) {
        f.truncate(14);
        let n = rng.below(200);
        f.extend(rng.bytes(n));
    }
    f
}

fn length(n: usize) -> [u8; 2] {
    u16::try_from(n).expect("frames are short").to_be_bytes()
}

fn ipv4(rng: &mut Rng, ends: &Ends, quoted: bool) -> Vec<u8> {
    let ihl = match rng.below(8) {
        0 => rng.below(16),
        1 => 15,
        2 => 6,
        _ => 5,
    };
    let version = if rng.one_in(60) { rng.byte() & 15 } else { 4 };
    let protocol = rng.pick(&[6, 6, 6, 6, 6, 17, 17, 1, 1, 58, 132, 47]);
    let fragment = match rng.below(12) {
        0 => 0x2000,
        1 => 0x0001,
        2 => 0x2001,
        3 => rng.half(),
        4 => 0x2003,
        5 => 0x8000,
        6 | 7 => 0x4000,
        _ => 0,
    };
    let upper = upper(rng, ends, protocol, quoted);
    let header = ihl.max(5) * 4;
    let total = match rng.below(10) {
        0 => rng.below(70),
        1 => 0,
        _ => header + upper.len(),
    };
    let mut p = vec![version << 4 | u8::try_from(ihl).expect("4 bits"), 0];
    p.extend(length(total));
    p.extend(rng.bytes(2));
    p.extend(fragment.to_be_bytes());
    p.extend([64, protocol, 0, 0]);
    p.extend(&ends.a[..4]);
    p.extend(&ends.b[..4]);
    p.extend(rng.bytes(header - 20));
    p.extend(upper);
    p
}

fn ipv6(rng: &mut Rng, ends: &Ends, quoted: bool) -> Vec<u8> {
    let mut chain = Vec::new();
    for _ in 0..rng.pick(&[0, 0, 0, 0, 1, 1, 2, 2, 3, 4]) {
        chain.push(rng.pick(&[0u8, 43, 60, 44, 44]));
    }
    let protocol = rng.pick(&[6, 6, 6, 6, 17, 58, 58, 1, 132, 59]);
    chain.push(protocol);
    let mut rest = Vec::new();
    for pair in chain.windows(2) {
        match pair[0] {
            44 => {
                let field = rng.pick(&[0u16, 0, 1, 1, 8, 9, 16, 6, 0xfff9]);
                rest.extend([pair[1], rng.byte()]);
                rest.extend(field.to_be_bytes());
                rest.extend(rng.bytes(4));
            }
            _ => {
                let units = rng.pick(&[0usize, 0, 1, 2, 5, 5, 5, 6, 8, 30]);
                rest.extend([pair[1], u8::try_from(units).expect("small")]);
                rest.extend(rng.bytes(units * 8 + 6));
            }
        }
    }
    rest.extend(upper(rng, ends, protocol, quoted));
    let payload = match rng.below(10) {
        0 => rng.below(80),
        1 => 0,
        _ => rest.len(),
    };
    let version = if rng.one_in(60) { rng.byte() } else { 0x60 };
    let mut p = vec![version, 0, 0, 0];
    p.extend(length(payload));
    p.extend([chain[0], 64]);
    p.extend(ends.a);
    p.extend(ends.b);
    p.extend(rest);
    p
}

fn upper(rng: &mut Rng, ends: &Ends, protocol: u8, quoted: bool) -> Vec<u8> {
    let mut u = Vec::new();
    match protocol {
        6 => {
            u.extend(ends.ports.as_flattened());
            u.extend(rng.bytes(8));
            let common = [
                0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0, 0x01, 0x29, 0x03, 0xc2,
            ];
            let flags = if rng.one_in(3) {
                rng.byte()
            } else {
                rng.pick(&common)
            };
            u.extend([0x50, flags]);
            u.extend(rng.bytes(6));
        }
        17 => {
            u.extend(ends.ports.as_flattened());
            u.extend(rng.bytes(4));
        }
        1 | 58 if !quoted => {
            let kinds = [0u8, 1, 2, 3, 4, 5, 8, 11, 12, 128, 129, 135];
            u.extend([rng.pick(&kinds), rng.byte()]);
            u.extend(rng.bytes(6));
            let six = (protocol == 58) != rng.one_in(30);
            u.extend(if six {
                ipv6(rng, ends, true)
            } else {
                ipv4(rng, ends, true)
            });
        }
        _ => u.extend(rng.bytes(24)),
    }
    if rng.one_in(4) {
        let end = rng.pick(&[0, 4, 8, 13, 14, 16, 28, 35, 36, 48, 51, 52, 56]);
        u.truncate(end);
        ends.cut.set(true);
    } else if rng.one_in(4) {
        let more = rng.below(300);
        u.extend(rng.bytes(more));
    }
    u
}

/// A frame as it was captured, whole.
pub fn captured(link: LinkType, bytes: &[u8]) -> Frame<'_> {
    Frame {
        bytes,
        wire_len: u32::try_from(bytes.len()).expect("frames are short"),
        ts_ns: 0,
        interface: 0,
        link,
        vlan: None,
        gso: false,
        incoming: false,
    }
}
