//! The hash: symmetric, keyed from the system's random numbers at each start.
//!
//! Every 32-bit word of an address is multiplied by its own secret odd number and mixed before the
//! symmetric sum; so are ports. A sum that is mixed only afterwards lets an attacker choose flows that
//! all land on one worker, under every key. 32 bits withstand a blind attacker, no more.

use std::net::IpAddr;

/// Mixing constants; public, the secrets come before them.
pub const MIX: [u32; 2] = [0x85eb_ca6b, 0xc2b2_ae35];
/// Shifts that go with them.
pub const SHIFT: [u32; 2] = [16, 13];

/// The secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// One odd multiplier for each word of an address; IPv4 has the first only.
    pub words: [u32; 4],
    /// Added before the multiplication.
    pub offsets: [u32; 4],
    /// Odd multiplier of a port.
    pub port: u32,
    /// Added to a port before the multiplication.
    pub port_offset: u32,
    /// Odd multiplier of the sum.
    pub last: u32,
}

impl Keys {
    /// Keys from the system's random numbers.
    ///
    /// # Errors
    ///
    /// The system has none to give.
    pub fn random() -> std::io::Result<Self> {
        getrandom::u64()
            .map(Self::from_seed)
            .map_err(std::io::Error::other)
    }

    /// Keys from a seed, so that a run can be repeated.
    pub fn from_seed(seed: u64) -> Self {
        let mut state = seed;
        // splitmix64, Steele, Lea, Flood 2014.
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let [_, _, _, _, a, b, c, d] = (z ^ (z >> 31)).to_le_bytes();
            u32::from_le_bytes([a, b, c, d])
        };
        Self {
            words: std::array::from_fn(|_| next() | 1),
            offsets: std::array::from_fn(|_| next()),
            port: next() | 1,
            port_offset: next(),
            last: next() | 1,
        }
    }

    /// The mixed sum of an IPv4 address's word.
    pub fn v4(&self, word: u32) -> u32 {
        mix(word
            .wrapping_add(self.offsets[0])
            .wrapping_mul(self.words[0]))
    }

    /// The mixed sum of an IPv6 address's words, one after the other.
    pub fn v6(&self, words: [u32; 4]) -> u32 {
        let mut hash = 0_u32;
        for (word, (key, offset)) in words
            .into_iter()
            .zip(self.words.into_iter().zip(self.offsets))
        {
            hash = mix((hash ^ word).wrapping_add(offset).wrapping_mul(key));
        }
        hash
    }

    /// A mixed port.
    pub fn port(&self, port: u16) -> u32 {
        mix(u32::from(port)
            .wrapping_add(self.port_offset)
            .wrapping_mul(self.port))
    }

    /// The hash of both addresses' and both ports' sum.
    pub fn finish(&self, sum: u32) -> u32 {
        mix(sum.wrapping_mul(self.last))
    }

    fn address(&self, address: IpAddr) -> u32 {
        match address {
            IpAddr::V4(v4) => self.v4(u32::from(v4)),
            IpAddr::V6(v6) => {
                let s = v6.segments().map(u32::from);
                self.v6([
                    s[0] << 16 | s[1],
                    s[2] << 16 | s[3],
                    s[4] << 16 | s[5],
                    s[6] << 16 | s[7],
                ])
            }
        }
    }

    /// The hash of a pair of addresses.
    pub fn pair_hash(&self, a: IpAddr, b: IpAddr) -> u32 {
        self.finish(self.address(a).wrapping_add(self.address(b)))
    }

    /// The hash of addresses and ports.
    pub fn flow_hash(&self, a: (IpAddr, u16), b: (IpAddr, u16)) -> u32 {
        let addresses = self.address(a.0).wrapping_add(self.address(b.0));
        let ports = self.port(a.1).wrapping_add(self.port(b.1));
        self.finish(addresses.wrapping_add(ports))
    }
}

fn mix(mut x: u32) -> u32 {
    x ^= x >> SHIFT[0];
    x = x.wrapping_mul(MIX[0]);
    x ^= x >> SHIFT[1];
    x.wrapping_mul(MIX[1])
}
