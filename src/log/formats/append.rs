//! Numbers, addresses, port lists and JSON strings appended to a byte buffer.

use super::window::HEX;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

/// The decimal digits.
pub const DIGITS: [u8; 10] = *b"0123456789";

/// Ports, or ranges of ports, that a line lists before `(+N more)`.
pub const LISTED_MAX: usize = 64;

/// Appends an integer in decimal.
pub fn int(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends the low `width` decimal digits of `value`, with leading zeros.
pub fn padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut rest = value;
    for digit in out[start..].iter_mut().rev() {
        *digit = DIGITS[(rest % 10) as usize];
        rest /= 10;
    }
}

/// Appends a byte as two hexadecimal digits.
pub fn hex_byte(out: &mut Vec<u8>, value: u8) {
    out.push(HEX[usize::from(value >> 4)]);
    out.push(HEX[usize::from(value & 15)]);
}

/// Appends an address in its usual form (RFC 5952 for IPv6).
pub fn ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        // Without the machinery of `fmt`, which takes longer than all else in a syslog message.
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                int(out, octet);
            }
        }
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// Appends `address:port`, an IPv6 address in brackets.
pub fn endpoint(out: &mut Vec<u8>, address: IpAddr, port: u16) {
    let _ = write!(out, "{}", SocketAddr::new(address, port));
}

/// Appends at most [`LISTED_MAX`] ports of ascending inclusive ranges, one by one; returns their number.
pub fn ports(out: &mut Vec<u8>, ranges: &[(u16, u16)]) -> u64 {
    let each = ranges.iter().flat_map(|&(first, last)| first..=last);
    let mut listed = 0;
    for port in each.take(LISTED_MAX) {
        if listed > 0 {
            out.push(b',');
        }
        int(out, port);
        listed += 1;
    }
    listed
}

/// Appends at most [`LISTED_MAX`] ranges as `22,80-83`; returns the number of their ports.
pub fn ranges(out: &mut Vec<u8>, ranges: &[(u16, u16)]) -> u64 {
    let mut listed = 0;
    for (i, &(first, last)) in ranges.iter().take(LISTED_MAX).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        int(out, first);
        if last > first {
            out.push(b'-');
            int(out, last);
        }
        listed += u64::from(last.saturating_sub(first)) + 1;
    }
    listed
}

/// Appends a JSON string with its quotes.
pub fn json_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for letter in text.chars() {
        match letter {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            other => printable(out, other),
        }
    }
    out.push(b'"');
}

/// Appends JSON text that serde_json wrote on one line: controls stand within its strings alone.
pub fn json(out: &mut Vec<u8>, text: &str) {
    text.chars().for_each(|letter| printable(out, letter));
}

/// Appends a letter of a JSON string; DEL and the C1 controls are legal there, but would act on a terminal.
fn printable(out: &mut Vec<u8>, letter: char) {
    if letter.is_control() {
        out.extend_from_slice(b"\\u00");
        hex_byte(out, u8::try_from(letter).expect("controls end at U+009F"));
    } else {
        out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Appends text on one line: control characters become spaces.
pub fn one_line(out: &mut Vec<u8>, text: &str) {
    let mut utf8 = [0; 4];
    for letter in text.chars() {
        let printable = if letter.is_control() { ' ' } else { letter };
        out.extend_from_slice(printable.encode_utf8(&mut utf8).as_bytes());
    }
}

/// Seconds as a number, without decimals if they are whole.
pub fn window(out: &mut Vec<u8>, window_ns: i64) {
    let _ = write!(out, "{}", window_ns / 1_000_000_000);
    let rest = window_ns.unsigned_abs() % 1_000_000_000;
    if rest > 0 {
        let _ = write!(out, ".{rest:09}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(append: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        append(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn ports_stop_at_64_and_ranges_too() {
        let mut out = Vec::new();
        assert_eq!(ports(&mut out, &[(1, 1000)]), 64);
        assert!(out.ends_with(b",63,64"));
        assert_eq!(
            text(|o| assert_eq!(ranges(o, &[(22, 22), (80, 83)]), 5)),
            "22,80-83"
        );
        let odd: Vec<_> = (0..100).map(|i| (i * 2, i * 2)).collect();
        assert_eq!(ranges(&mut Vec::new(), &odd), 64);
        assert_eq!(ranges(&mut Vec::new(), &[(0, u16::MAX)]), 65_536);
    }

    #[test]
    fn endpoints_bracket_only_ipv6() {
        let v6 = "2001:db8::1".parse().expect("address");
        assert_eq!(text(|o| endpoint(o, v6, 5973)), "[2001:db8::1]:5973");
        let v4 = "192.0.2.56".parse().expect("address");
        assert_eq!(text(|o| endpoint(o, v4, 0)), "192.0.2.56:0");
    }

    #[test]
    fn no_control_character_reaches_a_terminal() {
        let hostile = "a\u{1b}[31m\u{9b}31m\u{7f}\r\nb\u{e9}";
        let json = text(|o| json_string(o, hostile));
        assert_eq!(json, "\"a\\u001b[31m\\u009b31m\\u007f\\u000d\\nb\u{e9}\"");
        let line = text(|o| one_line(o, hostile));
        assert_eq!(line, "a [31m 31m   b\u{e9}");
    }

    proptest! {
        #[test]
        fn addresses_read_as_the_standard_library_writes_them(address in any::<IpAddr>()) {
            prop_assert_eq!(text(|o| ip(o, address)), address.to_string());
        }

        #[test]
        fn any_string_survives_json(s in any::<String>()) {
            let mut out = Vec::new();
            json_string(&mut out, &s);
            let back: String = serde_json::from_slice(&out).expect("JSON");
            prop_assert_eq!(back, s);
        }
    }
}
