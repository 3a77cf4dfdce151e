//! Captures as files: pcap (written and read), pcapng (written).

use std::fmt;

use crate::capture::{Capture, Frame};
use crate::link::LinkType;

const SNAP_LEN: u32 = 262_144;

/// How a pcap file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcapFormat {
    /// Nanoseconds rather than microseconds (which lose the last three digits).
    pub nanos: bool,
    /// Big-endian headers.
    pub big_endian: bool,
}

impl PcapFormat {
    /// Nanoseconds, little-endian.
    pub const NANOS: Self = Self {
        nanos: true,
        big_endian: false,
    };

    fn u16(self, value: u16) -> [u8; 2] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn read(self, bytes: &[u8], at: usize) -> u32 {
        let word = bytes[at..at + 4].try_into().expect("four bytes");
        if self.big_endian {
            u32::from_be_bytes(word)
        } else {
            u32::from_le_bytes(word)
        }
    }
}

/// Why a pcap file could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PcapError {
    /// The file does not start with a pcap magic number.
    Magic,
    /// A link type that [`LinkType`] does not have.
    Link(u32),
    /// The file ends within a header or a frame.
    Cut,
}

impl fmt::Display for PcapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => write!(f, "not a pcap file"),
            Self::Link(number) => write!(f, "link type {number} is not supported"),
            Self::Cut => write!(f, "the file is cut short"),
        }
    }
}

impl std::error::Error for PcapError {}

fn len_u32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a frame is short")
}

impl Capture {
    /// The capture as a pcap file. Times before 1970 or after 2106 are written as the nearest
    /// second that pcap can hold.
    #[must_use]
    pub fn to_pcap(&self, format: PcapFormat) -> Vec<u8> {
        let magic = if format.nanos {
            0xA1B2_3C4D
        } else {
            0xA1B2_C3D4
        };
        let mut out = format.u32(magic).to_vec();
        out.extend(format.u16(2));
        out.extend(format.u16(4));
        out.extend([0; 8]);
        out.extend(format.u32(SNAP_LEN));
        out.extend(format.u32(u32::from(self.link.number())));
        for frame in &self.frames {
            let seconds = frame
                .ts_ns
                .div_euclid(1_000_000_000)
                .clamp(0, i64::from(u32::MAX));
            let nanos = frame.ts_ns.rem_euclid(1_000_000_000);
            let fraction = if format.nanos { nanos } else { nanos / 1000 };
            out.extend(format.u32(u32::try_from(seconds).expect("clamped")));
            out.extend(format.u32(u32::try_from(fraction).expect("below 10^9")));
            out.extend(format.u32(len_u32(&frame.bytes)));
            out.extend(format.u32(frame.wire_len));
            out.extend(&frame.bytes);
        }
        out
    }

    /// The capture as a little-endian pcapng file with nanoseconds, one interface description for
    /// each interface.
    #[must_use]
    pub fn to_pcapng(&self) -> Vec<u8> {
        let mut header = 0x1A2B_3C4D_u32.to_le_bytes().to_vec();
        header.extend([1, 0, 0, 0]);
        header.extend(u64::MAX.to_le_bytes()); // section length not given
        let mut out = block(0x0A0D_0D0A, &header);
        for interface in 0..self.interfaces() {
            let name = format!("eth{interface}");
            let mut body = self.link.number().to_le_bytes().to_vec();
            body.extend([0, 0]);
            body.extend(SNAP_LEN.to_le_bytes());
            body.extend([2, 0]); // if_name
            body.extend(u16::try_from(name.len()).expect("short").to_le_bytes());
            body.extend(name.as_bytes());
            body.resize(body.len().next_multiple_of(4), 0);
            body.extend([9, 0, 1, 0, 9, 0, 0, 0]); // if_tsresol: 10^-9
            body.extend([0; 4]); // opt_endofopt
            out.extend(block(1, &body));
        }
        for frame in &self.frames {
            let ts = u64::try_from(frame.ts_ns).unwrap_or(0).to_le_bytes();
            let mut body = frame.interface.to_le_bytes().to_vec();
            body.extend(&ts[4..]);
            body.extend(&ts[..4]);
            body.extend(len_u32(&frame.bytes).to_le_bytes());
            body.extend(frame.wire_len.to_le_bytes());
            body.extend(&frame.bytes);
            out.extend(block(6, &body));
        }
        out
    }
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let total = u32::try_from(padded + 12).expect("short").to_le_bytes();
    let mut out = kind.to_le_bytes().to_vec();
    out.extend(total);
    out.extend(body);
    out.resize(8 + padded, 0);
    out.extend(total);
    out
}

/// Reads a pcap file (not pcapng) whose link type [`LinkType`] has.
///
/// # Errors
///
/// [`PcapError`] by cause; a file that is cut short gives no frames.
pub fn read_pcap(name: &str, bytes: &[u8]) -> Result<Capture, PcapError> {
    let format = match bytes.get(..4) {
        Some([0xD4, 0xC3, 0xB2, 0xA1]) => PcapFormat {
            nanos: false,
            big_endian: false,
        },
        Some([0xA1, 0xB2, 0xC3, 0xD4]) => PcapFormat {
            nanos: false,
            big_endian: true,
        },
        Some([0x4D, 0x3C, 0xB2, 0xA1]) => PcapFormat {
            nanos: true,
            big_endian: false,
        },
        Some([0xA1, 0xB2, 0x3C, 0x4D]) => PcapFormat {
            nanos: true,
            big_endian: true,
        },
        _ => return Err(PcapError::Magic),
    };
    if bytes.len() < 24 {
        return Err(PcapError::Cut);
    }
    let number = format.read(bytes, 20) & 0xFFFF;
    let link = LinkType::from_number(number).ok_or(PcapError::Link(number))?;
    let mut out = Capture::new(name, link);
    let mut at = 24;
    while at < bytes.len() {
        let head = bytes.get(at..at + 16).ok_or(PcapError::Cut)?;
        let unit = if format.nanos { 1 } else { 1000 };
        let ts_ns = i64::from(format.read(head, 0)) * 1_000_000_000
            + i64::from(format.read(head, 4)) * unit;
        let len = usize::try_from(format.read(head, 8)).map_err(|_| PcapError::Cut)?;
        let data = bytes
            .get(at + 16..)
            .and_then(|rest| rest.get(..len))
            .ok_or(PcapError::Cut)?;
        let wire_len = format.read(head, 12);
        out.frames.push(Frame {
            ts_ns,
            interface: 0,
            wire_len,
            bytes: data.to_vec(),
        });
        at += 16 + len;
    }
    Ok(out)
}
