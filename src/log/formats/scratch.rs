//! Fixed scratch buffer for bounded record parts: no allocation, no copy call per field.
//!
//! Every part that is put there has a known longest form, and all of them together fit.

use super::append::HEX;
use std::net::{IpAddr, Ipv4Addr};

/// Size of the buffer: more than all bounded parts of a record.
const SIZE: usize = 2048;
/// The longest text of somebody's choice that goes into the buffer.
const TEXT_MAX: usize = 128;

/// Digits of the largest number.
const DIGITS_MAX: usize = 20;

/// `00` to `99`.
#[allow(clippy::cast_possible_truncation, reason = "digits")]
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// An octet in decimal with a dot behind it, and how long that is.
#[allow(
    clippy::cast_possible_truncation,
    reason = "digits, and at most three of them"
)]
const OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut n = 0;
    while n < 256 {
        let (hundreds, tens, ones) = (n / 100, n / 10 % 10, n % 10);
        let mut text = [b'.'; 4];
        let mut len = 0;
        if n >= 100 {
            text[len] = b'0' + hundreds as u8;
            len += 1;
        }
        if n >= 10 {
            text[len] = b'0' + tens as u8;
            len += 1;
        }
        text[len] = b'0' + ones as u8;
        octets[n] = (text, len as u8 + 2);
        n += 1;
    }
    octets
};

/// Bounded parts of a record.
#[derive(Clone, Debug)]
pub struct Scratch {
    bytes: [u8; SIZE],
    len: usize,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            bytes: [0; SIZE],
            len: 0,
        }
    }
}

impl Scratch {
    /// Appends text of constant length.
    #[inline]
    pub fn put<const LEN: usize>(&mut self, text: &[u8; LEN]) {
        let end = self.len + LEN;
        self.bytes[self.len..end].copy_from_slice(text);
        self.len = end;
    }

    /// Appends a short word.
    #[inline]
    pub fn word(&mut self, word: &'static str) {
        self.append(word.as_bytes());
    }

    #[inline(always)]
    fn append(&mut self, text: &[u8]) {
        let end = self.len + text.len();
        self.bytes[self.len..end].copy_from_slice(text);
        self.len = end;
    }

    /// Appends text of any length; a long one to `out`, after the buffered bytes.
    #[inline]
    pub fn text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if text.len() > TEXT_MAX {
            self.flush(out);
            return out.extend_from_slice(text);
        }
        self.append(text);
    }

    /// Appends `true` or `false`.
    #[inline]
    pub fn boolean(&mut self, value: bool) {
        if value {
            self.put(b"true");
        } else {
            self.put(b"false");
        }
    }

    /// Appends a byte as two hexadecimal digits.
    #[inline]
    pub fn hex_byte(&mut self, value: u8) {
        self.put(&[HEX[usize::from(value >> 4)], HEX[usize::from(value & 15)]]);
    }

    /// Appends an integer in decimal.
    #[inline]
    pub fn int(&mut self, value: u64) {
        // From the last digit on, into a place for the longest number.
        let mut text = [0; DIGITS_MAX];
        let (mut rest, mut start) = (value, DIGITS_MAX);
        while rest >= 10 {
            start -= 2;
            text[start..start + 2].copy_from_slice(&pair(rest % 100));
            rest /= 100;
        }
        if rest > 0 || start == DIGITS_MAX {
            start -= 1;
            text[start] = pair(rest)[1];
        }
        self.append(&text[start..]);
    }

    /// Appends six digits, with leading zeros.
    #[inline]
    pub fn six_digits(&mut self, value: u64) {
        for part in [value / 10_000, value / 100, value] {
            self.put(&pair(part % 100));
        }
    }

    /// Appends an address. An IPv6 address is appended to `out`, after the buffered bytes.
    #[inline]
    pub fn ip(&mut self, address: IpAddr, out: &mut Vec<u8>) {
        match address {
            IpAddr::V4(v4) => self.ip4(v4),
            IpAddr::V6(_) => {
                self.flush(out);
                crate::log::formats::append::ip(out, address);
            }
        }
    }

    /// Appends `address:port`, an IPv6 address in brackets and, with its port, after the buffered bytes to `out`.
    #[inline]
    pub fn endpoint(&mut self, address: IpAddr, port: u16, out: &mut Vec<u8>) {
        match address {
            IpAddr::V4(v4) => {
                self.ip4(v4);
                self.put(b":");
                self.int(u64::from(port));
            }
            IpAddr::V6(_) => {
                self.flush(out);
                crate::log::formats::append::endpoint(out, address, port);
            }
        }
    }

    #[inline]
    fn ip4(&mut self, address: Ipv4Addr) {
        for octet in address.octets() {
            let (text, len) = &OCTETS[usize::from(octet)];
            self.bytes[self.len..self.len + 4].copy_from_slice(text);
            self.len += usize::from(*len);
        }
        self.len -= 1;
    }

    /// Moves the buffered bytes to the end of `out`.
    #[inline]
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes[..self.len]);
        self.len = 0;
    }
}

/// The digits of a number below 100.
#[allow(clippy::cast_possible_truncation, reason = "below 100")]
#[inline]
fn pair(value: u64) -> [u8; 2] {
    PAIRS[value as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(put: impl FnOnce(&mut Scratch, &mut Vec<u8>)) -> String {
        let (mut scratch, mut out) = (Scratch::default(), b"<".to_vec());
        put(&mut scratch, &mut out);
        scratch.put(b">");
        scratch.flush(&mut out);
        scratch.flush(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn every_octet_and_the_ends_of_integers_read_as_the_standard_library_writes_them() {
        for octet in 0..=255 {
            let address = Ipv4Addr::new(octet, 0, 255 - octet, octet);
            let expected = format!("<{address}>");
            assert_eq!(
                text(|scratch, out| scratch.ip(address.into(), out)),
                expected
            );
        }
        let powers = (0..20).map(|n| 10_u64.pow(n));
        for value in powers.flat_map(|n| [n - 1, n, n + 1]).chain([u64::MAX]) {
            assert_eq!(text(|scratch, _| scratch.int(value)), format!("<{value}>"));
        }
    }

    proptest! {
        #[test]
        fn numbers_and_addresses_read_as_the_standard_library_writes_them(
            value in any::<u64>(), shift in 0_u32..64, address in any::<IpAddr>(),
        ) {
            let value = value >> shift;
            let expected = format!("<{value},{:06} {address} in>", value % 1_000_000);
            let found = text(|scratch, out| {
                scratch.int(value);
                scratch.put(b",");
                scratch.six_digits(value % 1_000_000);
                scratch.put(b" ");
                scratch.ip(address, out);
                scratch.word(" in");
            });
            prop_assert_eq!(found, expected);
            for len in [0, TEXT_MAX, TEXT_MAX + 1, SIZE + 1] {
                let long = "x".repeat(len);
                let found = text(|scratch, out| {
                    scratch.word("a ");
                    scratch.text(long.as_bytes(), out);
                });
                prop_assert_eq!(found, format!("<a {long}>"));
            }
            let port = u16::try_from(value % 65_536).expect("16 bits");
            let found = text(|scratch, out| {
                scratch.word("on ");
                scratch.endpoint(address, port, out);
            });
            prop_assert_eq!(found, format!("<on {}>", std::net::SocketAddr::new(address, port)));
        }
    }
}
