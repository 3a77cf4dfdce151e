//! A window of an output's buffer, into which the bounded parts of a record are written in place: no allocation, no
//! copy of the record, no copy call per field.
//!
//! Every part has a known longest form, and the window has room for all of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The hexadecimal digits.
pub const HEX: [u8; 16] = *b"0123456789abcdef";

/// Bytes that a number or an address may write beyond its text; the next part writes over them.
const SLACK: usize = 8;
/// The longest address: IPv6, with the brackets of an endpoint.
const ADDRESS_MAX: usize = 47;
/// The longest endpoint.
pub const ENDPOINT_MAX: usize = ADDRESS_MAX + ":65535".len();

const EIGHT_DIGITS: u64 = 100_000_000;
const NO_ROOM: &str = "a window has room for all parts of its record";

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

/// Appends at most `room` bytes, which `write` puts into a window.
#[inline(always)]
pub fn in_place(out: &mut Vec<u8>, room: usize, write: impl FnOnce(&mut Window<'_>)) {
    let start = out.len();
    out.resize(start + room + SLACK, 0);
    let mut window = Window {
        rest: &mut out[start..],
    };
    write(&mut window);
    let unused = window.rest.len();
    out.truncate(out.len() - unused);
}

/// Room for the bounded parts of a record.
pub struct Window<'a> {
    rest: &'a mut [u8],
}

impl Window<'_> {
    /// Appends text of constant length.
    #[inline(always)]
    pub fn put<const LEN: usize>(&mut self, text: &[u8; LEN]) {
        let rest = std::mem::take(&mut self.rest);
        let (place, rest) = rest.split_first_chunk_mut().expect(NO_ROOM);
        *place = *text;
        self.rest = rest;
    }

    /// Appends the first `len` bytes of a text.
    #[inline(always)]
    fn put_some<const LEN: usize>(&mut self, text: &[u8; LEN], len: usize) {
        let rest = std::mem::take(&mut self.rest);
        *rest.first_chunk_mut().expect(NO_ROOM) = *text;
        self.rest = &mut rest[len..];
    }

    /// Appends a short word.
    #[inline(always)]
    pub fn word(&mut self, word: &'static str) {
        self.text(word.as_bytes());
    }

    /// Appends text for which room was made.
    #[inline(always)]
    pub fn text(&mut self, text: &[u8]) {
        let rest = std::mem::take(&mut self.rest);
        let (place, rest) = rest.split_at_mut(text.len());
        place.copy_from_slice(text);
        self.rest = rest;
    }

    /// Appends `true` or `false`.
    #[inline(always)]
    pub fn boolean(&mut self, value: bool) {
        let (text, len) = if value { (b"true ", 4) } else { (b"false", 5) };
        self.put_some(text, len);
    }

    /// Appends a byte as two hexadecimal digits.
    #[inline(always)]
    pub fn hex_byte(&mut self, value: u8) {
        self.put(&[HEX[usize::from(value >> 4)], HEX[usize::from(value & 15)]]);
    }

    /// Appends an integer in decimal.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "a digit")]
    pub fn int(&mut self, value: u64) {
        match value {
            0..10 => self.put(&[b'0' + value as u8]),
            // Out of line; the window stays in registers.
            _ => self.rest = put_int(std::mem::take(&mut self.rest), value),
        }
    }

    /// Appends an integer below 10^8 in decimal.
    #[inline(always)]
    fn digits(&mut self, value: u64) {
        let digits = u64::from_le_bytes(eight_digits(value));
        let zeros = (digits ^ u64::from_le_bytes(*b"00000000")).trailing_zeros() / 8;
        let zeros = zeros.min(7);
        self.put_some(&(digits >> (8 * zeros)).to_le_bytes(), 8 - zeros as usize);
    }

    /// Appends six digits, with leading zeros, of a number below 10^6.
    #[inline(always)]
    pub fn six_digits(&mut self, value: u64) {
        let digits = eight_digits(value);
        self.put(digits.last_chunk::<6>().expect("eight"));
    }

    /// Appends an address in its usual form (RFC 5952 for IPv6).
    #[inline(always)]
    pub fn ip(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.ip4(v4),
            IpAddr::V6(v6) => self.rest = put_ip6(std::mem::take(&mut self.rest), v6),
        }
    }

    /// Appends `address:port`, an IPv6 address in brackets.
    #[inline(always)]
    pub fn endpoint(&mut self, address: IpAddr, port: u16) {
        match address {
            IpAddr::V4(v4) => self.ip4(v4),
            IpAddr::V6(_) => {
                self.put(b"[");
                self.ip(address);
                self.put(b"]");
            }
        }
        self.put(b":");
        self.digits(port.into());
    }

    #[inline(always)]
    fn ip4(&mut self, address: Ipv4Addr) {
        let [leading @ .., last] = address.octets();
        for octet in leading {
            let (text, len) = &OCTETS[usize::from(octet)];
            self.put_some(text, usize::from(*len));
        }
        let (text, len) = &OCTETS[usize::from(last)];
        self.put_some(text, usize::from(*len) - 1);
    }

    fn ip6(&mut self, address: Ipv6Addr) {
        if let Some(v4) = address.to_ipv4_mapped() {
            self.put(b"::ffff:");
            return self.ip4(v4);
        }
        let words = address.segments();
        let (start, len) = longest_zeros(&words);
        let mut i = 0;
        while i < words.len() {
            if i == start && len > 1 {
                self.put(b"::");
                i += len;
                continue;
            }
            if i > 0 && !(len > 1 && i == start + len) {
                self.put(b":");
            }
            self.hex_word(words[i]);
            i += 1;
        }
    }

    fn hex_word(&mut self, word: u16) {
        let digits = (16 - word.leading_zeros()).div_ceil(4).max(1);
        for i in (0..digits).rev() {
            self.put(&[HEX[usize::from(word >> (4 * i) & 15)]]);
        }
    }
}

/// Puts an integer at the beginning of `rest`; returns what is behind it.
#[inline(never)]
fn put_int(rest: &mut [u8], value: u64) -> &mut [u8] {
    let mut window = Window { rest };
    let (high, low) = (value / EIGHT_DIGITS, value % EIGHT_DIGITS);
    match high {
        0 => window.digits(low),
        1..EIGHT_DIGITS => {
            window.digits(high);
            window.put(&eight_digits(low));
        }
        _ => {
            window.digits(high / EIGHT_DIGITS);
            window.put(&eight_digits(high % EIGHT_DIGITS));
            window.put(&eight_digits(low));
        }
    }
    window.rest
}

/// Puts an IPv6 address at the beginning of `rest`; returns what is behind it.
#[inline(never)]
fn put_ip6(rest: &mut [u8], address: Ipv6Addr) -> &mut [u8] {
    let mut window = Window { rest };
    window.ip6(address);
    window.rest
}

/// Start and length of the first longest run of zero words.
fn longest_zeros(words: &[u16; 8]) -> (usize, usize) {
    let (mut best, mut run) = ((0, 0), (0, 0));
    for (i, word) in words.iter().enumerate() {
        if *word != 0 {
            run = (i + 1, 0);
            continue;
        }
        run.1 += 1;
        if run.1 > best.1 {
            best = run;
        }
    }
    best
}

/// The digits of a number below 10^8, with leading zeros.
///
/// Two numbers below 10^4 side by side, then four below 100, then eight digits. The multiplications divide by 100 and
/// by 10 in all lanes at once: 10,486 / 2^20 and 103 / 2^10 are close enough for numbers that small.
#[inline(always)]
fn eight_digits(value: u64) -> [u8; 8] {
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    let digits = tens | ((twos - tens * 10) << 8);
    (digits | u64::from_le_bytes(*b"00000000")).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(put: impl FnOnce(&mut Window<'_>)) -> String {
        let mut out = b"<".to_vec();
        in_place(&mut out, 512, |window| {
            put(window);
            window.put(b">");
        });
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn every_octet_and_the_ends_of_integers_read_as_the_standard_library_writes_them() {
        for octet in 0..=255 {
            let address = Ipv4Addr::new(octet, 0, 255 - octet, octet);
            assert_eq!(
                text(|window| window.ip(address.into())),
                format!("<{address}>")
            );
        }
        let powers = (0..20).map(|n| 10_u64.pow(n));
        for value in powers.flat_map(|n| [n - 1, n, n + 1]).chain([u64::MAX]) {
            assert_eq!(text(|window| window.int(value)), format!("<{value}>"));
        }
        for port in 0..=u16::MAX {
            let end = std::net::SocketAddr::from(([1, 20, 255, 0], port));
            assert_eq!(
                text(|window| window.endpoint(end.ip(), port)),
                format!("<{end}>")
            );
        }
    }

    #[test]
    fn every_number_of_four_digits_reads_right_in_either_half() {
        for value in 0..10_000_u64 {
            let other = 9_999 - value;
            let both = eight_digits(value * 10_000 + other);
            assert_eq!(both[..], *format!("{value:04}{other:04}").as_bytes());
        }
    }

    proptest! {
        #[test]
        fn numbers_and_addresses_read_as_the_standard_library_writes_them(
            value in any::<u64>(), shift in 0_u32..64, address in any::<IpAddr>(), yes in any::<bool>(),
        ) {
            let value = value >> shift;
            let expected = format!("<{value},{:06} {address} in {yes}{:02x}>", value % 1_000_000, value & 0xff);
            let found = text(|window| {
                window.int(value);
                window.put(b",");
                window.six_digits(value % 1_000_000);
                window.put(b" ");
                window.ip(address);
                window.word(" in ");
                window.boolean(yes);
                window.hex_byte((value & 0xff) as u8);
            });
            prop_assert_eq!(found, expected);
            let port = u16::try_from(value % 65_536).expect("16 bits");
            let found = text(|window| window.endpoint(address, port));
            prop_assert_eq!(&found, &format!("<{}>", std::net::SocketAddr::new(address, port)));
            prop_assert!(found.len() - 2 <= ENDPOINT_MAX);
        }

        #[test]
        fn ipv6_reads_as_the_standard_library_writes_it(
            words in prop::array::uniform8(prop_oneof![3 => Just(0u16), 1 => Just(0xffff), 2 => any::<u16>()])
        ) {
            let address = Ipv6Addr::from(words);
            prop_assert_eq!(text(|window| window.ip(address.into())), format!("<{address}>"));
        }
    }
}
