//! Messages of sets, as IPFIX and NetFlow v9 have them: a header, then sets with an identifier and a length each.
//!
//! A format renders each record as a set of its own; neighbours of one template are joined here.

use crate::log::formats::framing::Framing;

/// Identifier and length.
pub const SET_HEADER: usize = 4;
/// Identifiers of data sets begin here (RFC 7011, 3.3.2).
const DATA_MIN: u16 = 256;

words! {
    /// A protocol.
    pub enum Version {
        /// RFC 3954.
        V9 = "netflow9",
        /// RFC 7011.
        Ipfix = "ipfix",
    }
}

impl Version {
    const fn header(self) -> usize {
        match self {
            Self::V9 => 20,
            Self::Ipfix => 16,
        }
    }
}

/// What one output exports.
#[derive(Debug)]
pub struct Sets {
    /// The protocol.
    pub version: Version,
    /// Observation domain, or source id.
    pub domain: u32,
    /// Bytes of a record of a template.
    pub record_bytes: fn(u16) -> usize,
    /// Messages without header: templates, options and their data.
    pub introductions: fn() -> Vec<Vec<u8>>,
    /// Where the last set begins in the open message.
    last: usize,
    sequence: u32,
    started_ns: Option<i64>,
}

impl Sets {
    pub fn new(
        (version, domain): (Version, u32),
        record_bytes: fn(u16) -> usize,
        introductions: fn() -> Vec<Vec<u8>>,
    ) -> Self {
        Self {
            version,
            domain,
            record_bytes,
            introductions,
            last: 0,
            sequence: 0,
            started_ns: None,
        }
    }

    /// Records in data sets, and templates.
    fn count(&self, message: &[u8]) -> (u32, u32) {
        let (mut data, mut templates) = (0, 0);
        let mut rest = &message[self.version.header()..];
        while let Some((id, len)) = set_at(rest) {
            let bytes = usize::from(len) - SET_HEADER;
            match id {
                DATA_MIN.. => data += bytes / (self.record_bytes)(id).max(1),
                _ => templates += 1,
            }
            rest = &rest[usize::from(len)..];
        }
        let number = |count: usize| u32::try_from(count).expect("below 2^16 bytes");
        (number(data), templates)
    }
}

/// Identifier and length of the set at the start of `bytes`.
fn set_at(bytes: &[u8]) -> Option<(u16, u16)> {
    let (head, _) = bytes.split_first_chunk::<SET_HEADER>()?;
    let [a, b, c, d] = *head;
    let len = u16::from_be_bytes([c, d]);
    let is_whole = (SET_HEADER..=bytes.len()).contains(&usize::from(len));
    assert!(is_whole, "a set of {len} bytes in {}", bytes.len());
    Some((u16::from_be_bytes([a, b]), len))
}

impl Framing for Sets {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let header = [0; 20];
        out.extend_from_slice(&header[..self.version.header()]);
        self.last = 0;
    }

    #[inline]
    fn join(&mut self, out: &mut Vec<u8>, message: usize, record: usize, limit: usize) -> bool {
        if record == message + self.version.header() {
            self.last = record - message;
            return true;
        }
        let last = message + self.last;
        let is_same = out[last..last + 2] == out[record..record + 2];
        let saved = if is_same { SET_HEADER } else { 0 };
        if out.len() - message - saved > limit {
            return false;
        }
        if !is_same {
            self.last = record - message;
            return true;
        }
        out.copy_within(record + SET_HEADER.., record);
        out.truncate(out.len() - SET_HEADER);
        let len = u16::try_from(out.len() - last).expect("a message has at most 65,535 bytes");
        out[last + 2..last + 4].copy_from_slice(&len.to_be_bytes());
        true
    }

    fn complete(&mut self, message: &mut [u8], now_ns: i64) {
        let len = u16::try_from(message.len()).expect("a message has at most 65,535 bytes");
        let seconds = seconds(now_ns).to_be_bytes();
        let (sequence, domain) = (self.sequence.to_be_bytes(), self.domain.to_be_bytes());
        match self.version {
            Version::Ipfix => {
                message[..2].copy_from_slice(&10_u16.to_be_bytes());
                message[2..4].copy_from_slice(&len.to_be_bytes());
                message[4..8].copy_from_slice(&seconds);
                message[8..12].copy_from_slice(&sequence);
                message[12..16].copy_from_slice(&domain);
            }
            Version::V9 => {
                let (data, templates) = self.count(message);
                let records = u16::try_from(data + templates).unwrap_or(u16::MAX);
                let started_ns = *self.started_ns.get_or_insert(now_ns);
                let up_ms = now_ns.saturating_sub(started_ns) / 1_000_000;
                message[..2].copy_from_slice(&9_u16.to_be_bytes());
                message[2..4].copy_from_slice(&records.to_be_bytes());
                message[4..8].copy_from_slice(&wrapped(up_ms).to_be_bytes());
                message[8..12].copy_from_slice(&seconds);
                message[12..16].copy_from_slice(&sequence);
                message[16..20].copy_from_slice(&domain);
            }
        }
    }

    /// IPFIX numbers data records, NetFlow v9 messages.
    fn sent(&mut self, message: &[u8]) {
        let step = match self.version {
            Version::Ipfix => self.count(message).0,
            Version::V9 => 1,
        };
        self.sequence = self.sequence.wrapping_add(step);
    }

    fn restart(&mut self) {
        self.sequence = 0;
    }

    fn introductions(&mut self, limit: usize) -> Vec<Vec<u8>> {
        let all = (self.introductions)().into_iter();
        all.map(|sets| {
            let mut message = vec![0; self.version.header()];
            message.extend(sets);
            assert!(message.len() <= limit, "an introduction fits every path");
            message
        })
        .collect()
    }
}

/// Seconds since 1970, modulo 2^32 (RFC 7011, 3.1).
fn seconds(now_ns: i64) -> u32 {
    wrapped(now_ns.div_euclid(1_000_000_000))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters that wrap"
)]
fn wrapped(value: i64) -> u32 {
    value as u32
}
