//! Puts the parts of a record together, then appends them to an output's buffer at once: no allocation, no check and no
//! copy call per part.
//!
//! The room is 2^16 bytes and the longest part, and the cursor is cut to 16 bits wherever it is used: so the compiler
//! sees that no part leaves the room, and checks nothing. That no record is longer than 2^16 bytes is checked once, at
//! its end. A number or an address may write a few bytes beyond its text; the next part writes over them.

use super::piece::{Piece, SHORT_MAX};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest record, without the long texts in it.
const RECORD_MAX: usize = 1 << 16;
/// Longest part that is put at once.
const PART_MAX: usize = 128;

type Room = [u8; RECORD_MAX + PART_MAX];

/// The hexadecimal digits.
pub const HEX: [u8; 16] = *b"0123456789abcdef";

const MILLION: u64 = 1_000_000;

/// At most four letters, the first in the lowest byte, and how many bits that is.
#[derive(Clone, Copy)]
struct Short {
    text: u32,
    bits: u32,
}

/// Octets in decimal, each with a dot behind it.
#[allow(clippy::cast_possible_truncation, reason = "octets")]
static OCTETS: [Short; 256] = {
    let mut octets = [Short { text: 0, bits: 0 }; 256];
    let mut n = 0;
    while n < 256 {
        let (text, len) = without_zeros(three_digits(n as u32));
        let bits = 8 * len;
        octets[n] = Short {
            text: text & ((1 << bits) - 1) | (b'.' as u32) << bits,
            bits: bits + 8,
        };
        n += 1;
    }
    octets
};

/// Numbers below 1000: three digits, the first in the lowest byte. Above them 5 bits that say how far to shift the leading
/// zeros out, and 3 bits that say how many digits are left.
#[allow(clippy::cast_possible_truncation, reason = "below 1000")]
static THREES: [u32; 1024] = {
    let mut threes = [0; 1024];
    let mut n = 0;
    while n < 1000 {
        threes[n] = three_digits(n as u32);
        n += 1;
    }
    threes
};

const fn three_digits(n: u32) -> u32 {
    let digits = 0x30_3030 | (n / 100) | (n / 10 % 10) << 8 | (n % 10) << 16;
    let len = 1 + (n >= 10) as u32 + (n >= 100) as u32;
    digits | (8 * (3 - len)) << 24 | len << 29
}

/// The entry of a number below 1000.
#[inline(always)]
fn three(value: u64) -> u32 {
    THREES[(value & 1023) as usize]
}

/// An entry's number without leading zeros, with something behind it, and how long that is.
#[inline(always)]
const fn without_zeros(three: u32) -> (u32, u32) {
    (three.wrapping_shr(three >> 24), three >> 29)
}

/// Memory in which records are put together, one after the other.
#[derive(Clone)]
pub struct Scratch(Box<Room>);

impl Scratch {
    /// Room for one record.
    pub fn new() -> Self {
        let room = vec![0; size_of::<Room>()].into_boxed_slice();
        Self(room.try_into().expect("as long as the room"))
    }

    /// Memory of a room.
    pub fn memory_bytes() -> u64 {
        size_of::<Room>() as u64
    }

    /// Appends to `out` what `put` puts together.
    #[inline(always)]
    pub fn append(&mut self, out: &mut Vec<u8>, put: impl FnOnce(&mut Window<'_>)) {
        let mut window = Window {
            room: &mut self.0,
            at: 0,
            out,
        };
        put(&mut window);
        let at = window.at;
        assert!(at <= RECORD_MAX, "a record of {at} bytes");
        out.extend_from_slice(&self.0[..at]);
    }
}

/// A record that is being put together.
pub struct Window<'a> {
    room: &'a mut Room,
    at: usize,
    out: &'a mut Vec<u8>,
}

impl Window<'_> {
    /// Appends text of constant length.
    #[inline(always)]
    pub fn put<const LEN: usize>(&mut self, text: &[u8; LEN]) {
        self.at = put_some(self.room, self.at, text, LEN);
    }

    /// Appends the first `len` bytes of a text of constant length.
    #[inline(always)]
    pub fn put_first<const LEN: usize>(&mut self, text: &[u8; LEN], len: usize) {
        self.at = put_some(self.room, self.at, text, len);
    }

    /// Appends a short word.
    #[inline(always)]
    pub fn word(&mut self, word: &'static str) {
        self.text(word.as_bytes());
    }

    /// Appends a text that was made ready for it.
    #[inline(always)]
    pub fn piece(&mut self, piece: &Piece) {
        match piece.text().len() {
            len @ 0..=SHORT_MAX => self.put_first(piece.short(), len),
            _ => self.text(piece.text()),
        }
    }

    /// Appends a text. A long one goes to the buffer at once, behind what was put together so far.
    #[inline(always)]
    pub fn text(&mut self, text: &[u8]) {
        match text.len() {
            0 => {}
            len @ 1..4 => {
                let ends = [text[0], text[len / 2]];
                put_at(self.room, self.at, &ends);
                put_at(self.room, self.at + len - 1, &[text[len - 1]]);
                self.at += len;
            }
            4..8 => self.ends::<4>(text),
            8..=16 => self.ends::<8>(text),
            17..=32 => self.ends::<16>(text),
            33..=64 => self.ends::<32>(text),
            _ => self.at = spill(self.out, &self.room[..self.at], text),
        }
    }

    /// Appends a text of `LEN` to twice as many bytes: its first and its last `LEN`, which may overlap.
    #[inline(always)]
    fn ends<const LEN: usize>(&mut self, text: &[u8]) {
        let before = text.len() - LEN;
        let first: &[u8; LEN] = text[..LEN].try_into().expect("so long");
        let last: &[u8; LEN] = text[before..].try_into().expect("so long");
        put_at(self.room, self.at, first);
        put_at(self.room, self.at + before, last);
        self.at += text.len();
    }

    /// Appends `true` or `false`.
    #[inline(always)]
    pub fn boolean(&mut self, value: bool) {
        let (text, len) = if value { (b"true ", 4) } else { (b"false", 5) };
        self.put_first(text, len);
    }

    /// Appends a byte as two hexadecimal digits.
    #[inline(always)]
    pub fn hex_byte(&mut self, value: u8) {
        self.put(&[HEX[usize::from(value >> 4)], HEX[usize::from(value & 15)]]);
    }

    /// Appends an integer in decimal.
    #[inline(always)]
    pub fn int(&mut self, value: u64) {
        self.at = match value {
            0..1000 => put_three(self.room, self.at, value),
            // Out of line; the cursor stays in a register.
            _ => put_int(self.room, self.at, value),
        }
    }

    /// Appends a port in decimal.
    #[inline(always)]
    pub fn port(&mut self, port: u16) {
        self.at = put_six(self.room, self.at, port.into());
    }

    /// Appends six digits, with leading zeros, of a number below 10^6.
    #[inline(always)]
    pub fn six_digits(&mut self, value: u64) {
        self.at = put_six_digits(self.room, self.at, value);
    }

    /// Appends microseconds as seconds with six decimals.
    #[inline(always)]
    pub fn seconds(&mut self, micros: u64) {
        self.int(micros / MILLION);
        self.put(b".");
        self.six_digits(micros % MILLION);
    }

    /// Appends an address in its usual form (RFC 5952 for IPv6).
    #[inline(always)]
    pub fn ip(&mut self, address: IpAddr) {
        self.at = match address {
            IpAddr::V4(v4) => put_ip4(self.room, self.at, v4),
            IpAddr::V6(v6) => put_ip6(self.room, self.at, v6),
        }
    }

    /// Appends `address:port`, an IPv6 address in brackets.
    #[inline(always)]
    pub fn endpoint(&mut self, address: IpAddr, port: u16) {
        if address.is_ipv6() {
            self.put(b"[");
            self.ip(address);
            self.put(b"]");
        } else {
            self.ip(address);
        }
        self.put(b":");
        self.port(port);
    }
}

/// Writes a part at this place of a record.
#[inline(always)]
fn put_at<const LEN: usize>(room: &mut Room, at: usize, text: &[u8; LEN]) {
    const { assert!(LEN <= PART_MAX) };
    let at = at & (RECORD_MAX - 1);
    room[at..at + LEN].copy_from_slice(text);
}

/// Appends what was put together, then a text; returns where the rest of the record begins.
#[cold]
#[inline(never)]
fn spill(out: &mut Vec<u8>, before: &[u8], text: &[u8]) -> usize {
    out.extend_from_slice(before);
    out.extend_from_slice(text);
    0
}

/// Puts the first `len` bytes of a text there; the next part writes over the others. Returns where it ends, as those
/// below do.
#[inline(always)]
fn put_some<const LEN: usize>(room: &mut Room, at: usize, text: &[u8; LEN], len: usize) -> usize {
    put_at(room, at, text);
    at + len
}

/// Puts an integer below 1000.
#[inline(always)]
fn put_three(room: &mut Room, at: usize, value: u64) -> usize {
    let (text, len) = without_zeros(three(value));
    put_some(room, at, &text.to_le_bytes(), len as usize)
}

/// Puts an integer below 10^6.
#[inline(always)]
fn put_six(room: &mut Room, at: usize, value: u64) -> usize {
    if value < 1000 {
        return put_three(room, at, value);
    }
    let at = put_three(room, at, value / 1000);
    put_some(room, at, &three(value % 1000).to_le_bytes(), 3)
}

/// Puts six digits, with leading zeros.
#[inline(always)]
fn put_six_digits(room: &mut Room, at: usize, value: u64) -> usize {
    let [high, low] = [value / 1000, value % 1000].map(three);
    let at = put_some(room, at, &high.to_le_bytes(), 3);
    put_some(room, at, &low.to_le_bytes(), 3)
}

/// Puts any integer.
#[inline(never)]
fn put_int(room: &mut Room, at: usize, value: u64) -> usize {
    let (high, low) = (value / MILLION, value % MILLION);
    if high == 0 {
        return put_six(room, at, low);
    }
    let at = if high < MILLION {
        put_six(room, at, high)
    } else {
        let (top, middle) = (high / MILLION, high % MILLION);
        let at = match top {
            0..MILLION => put_six(room, at, top),
            _ => put_int(room, at, top),
        };
        put_six_digits(room, at, middle)
    };
    put_six_digits(room, at, low)
}

#[inline(always)]
fn put_ip4(room: &mut Room, at: usize, address: Ipv4Addr) -> usize {
    let [a, b, c, d] = address.octets().map(|octet| OCTETS[usize::from(octet)]);
    let at = put_octets(room, at, a, b);
    // Without the last dot.
    put_octets(room, at, c, d) - 1
}

/// Puts two octets, each with a dot behind it.
#[inline(always)]
fn put_octets(room: &mut Room, at: usize, first: Short, second: Short) -> usize {
    let text = u64::from(first.text) | u64::from(second.text) << (first.bits & 63);
    let bits = first.bits + second.bits;
    put_some(room, at, &text.to_le_bytes(), (bits / 8) as usize)
}

#[inline(never)]
fn put_ip6(room: &mut Room, mut at: usize, address: Ipv6Addr) -> usize {
    if let Some(v4) = address.to_ipv4_mapped() {
        at = put_some(room, at, b"::ffff:", 7);
        return put_ip4(room, at, v4);
    }
    let words = address.segments();
    let (start, len) = longest_zeros(&words);
    let mut i = 0;
    while i < words.len() {
        if i == start && len > 1 {
            at = put_some(room, at, b"::", 2);
            i += len;
            continue;
        }
        if i > 0 && !(len > 1 && i == start + len) {
            at = put_some(room, at, b":", 1);
        }
        at = put_hex_word(room, at, words[i]);
        i += 1;
    }
    at
}

/// Puts a number in hexadecimal.
#[inline(always)]
fn put_hex_word(room: &mut Room, at: usize, word: u16) -> usize {
    let digit = |place: u32| HEX[usize::from(word >> (4 * place) & 15)];
    let digits = u32::from_le_bytes([digit(3), digit(2), digit(1), digit(0)]);
    let zeros = (word.leading_zeros() / 4).min(3);
    let text = (digits >> (8 * zeros)).to_le_bytes();
    put_some(room, at, &text, (4 - zeros) as usize)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::panic_of::panic_of;
    use proptest::prelude::*;

    fn text(put: impl FnOnce(&mut Window<'_>)) -> String {
        let mut out = Vec::new();
        Scratch::new().append(&mut out, |window| {
            window.put(b"<");
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
    fn every_number_of_three_digits_reads_right_in_each_place() {
        for value in 0..1000_u64 {
            let other = 999 - value;
            for number in [
                value * 1000 + other,
                (value * 1000 + other) * 1_000_000 + value,
            ] {
                assert_eq!(text(|window| window.int(number)), format!("<{number}>"));
            }
            let six = text(|window| window.six_digits(value * 1000 + other));
            assert_eq!(six, format!("<{value:03}{other:03}>"));
        }
    }

    #[test]
    fn texts_of_any_length_stand_where_they_were_put() {
        let long: String = (0..200_000)
            .map(|n| char::from(b'a' + (n % 23) as u8))
            .collect();
        for len in (0..200).chain([RECORD_MAX - 1, RECORD_MAX, 200_000]) {
            let found = text(|window| {
                window.text(&long.as_bytes()[..len]);
                window.put(b"|");
                window.text(&long.as_bytes()[..len]);
            });
            assert_eq!(found, format!("<{0}|{0}>", &long[..len]));
        }
    }

    #[test]
    fn a_record_that_is_too_long_is_not_written() {
        let says = panic_of(|| {
            text(|window| (0..=RECORD_MAX / PART_MAX).for_each(|_| window.put(&[b'x'; PART_MAX])));
        });
        assert_eq!(says, "a record of 65666 bytes");
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
