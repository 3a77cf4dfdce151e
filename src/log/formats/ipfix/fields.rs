//! Information elements: templates as tables, and room in which a record is put together.

use std::net::IpAddr;

/// Reverse elements of a biflow (RFC 5103).
const REVERSE_PEN: u32 = 29305;
/// Marks an element with an enterprise number behind its length.
const ENTERPRISE: u16 = 0x8000;

/// An element of a template.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// IANA's number.
    pub id: u16,
    /// Bytes.
    pub len: u16,
    /// Of the way back.
    pub reverse: bool,
}

/// An element.
pub const fn field(id: u16, len: u16) -> Field {
    let reverse = false;
    Field { id, len, reverse }
}

/// The same element of the way back.
pub const fn reverse(id: u16, len: u16) -> Field {
    let reverse = true;
    Field { id, len, reverse }
}

/// These elements, all of which `LEN` counts, with others in place of those with these numbers.
pub const fn with_others<const LEN: usize>(
    fields: &[Field],
    others: &[(u16, Field)],
) -> [Field; LEN] {
    let mut all = [field(0, 0); LEN];
    let mut at = 0;
    while at < LEN {
        all[at] = fields[at];
        let mut other = 0;
        while other < others.len() {
            if others[other].0 == fields[at].id {
                all[at] = others[other].1;
            }
            other += 1;
        }
        at += 1;
    }
    all
}

/// Bytes of a record with these elements.
pub const fn record_bytes(fields: &[Field]) -> usize {
    let (mut sum, mut at) = (0, 0);
    while at < fields.len() {
        sum += fields[at].len as usize;
        at += 1;
    }
    sum
}

/// Appends the specifiers of these elements.
pub fn specifiers(out: &mut Vec<u8>, fields: &[Field]) {
    for field in fields {
        let id = if field.reverse {
            field.id | ENTERPRISE
        } else {
            field.id
        };
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&field.len.to_be_bytes());
        if field.reverse {
            out.extend_from_slice(&REVERSE_PEN.to_be_bytes());
        }
    }
}

/// Appends a set: identifier, length, and what `put` appends; `padded` to a multiple of four bytes.
pub fn set(out: &mut Vec<u8>, id: u16, padded: bool, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[0; 2]);
    put(out);
    while padded && !(out.len() - start).is_multiple_of(4) {
        out.push(0);
    }
    let len = u16::try_from(out.len() - start).expect("a set of few templates or records");
    out[start + 2..start + 4].copy_from_slice(&len.to_be_bytes());
}

/// Longest set of one record.
const ROOM: usize = 256;

/// Room for a set of few records, put together without allocation.
#[derive(Debug)]
pub struct Record {
    room: [u8; ROOM],
    at: usize,
}

impl Record {
    /// A set for this template; [`Record::finish`] sets its length.
    #[inline(always)]
    pub fn of(template: u16) -> Self {
        let mut record = Self {
            room: [0; ROOM],
            at: 0,
        };
        record.u16(template);
        record.u16(0);
        record
    }

    #[inline(always)]
    fn put<const LEN: usize>(&mut self, bytes: [u8; LEN]) {
        let end = self.at + LEN;
        self.room[self.at..end].copy_from_slice(&bytes);
        self.at = end;
    }

    #[inline(always)]
    pub fn u8(&mut self, value: u8) {
        self.put([value]);
    }

    #[inline(always)]
    pub fn u16(&mut self, value: u16) {
        self.put(value.to_be_bytes());
    }

    #[inline(always)]
    pub fn u32(&mut self, value: u32) {
        self.put(value.to_be_bytes());
    }

    #[inline(always)]
    pub fn u64(&mut self, value: u64) {
        self.put(value.to_be_bytes());
    }

    /// Milliseconds since the Unix epoch; before it: 0.
    #[inline(always)]
    pub fn millis(&mut self, ts_ns: i64) {
        self.u64(ts_ns.max(0).unsigned_abs() / 1_000_000);
    }

    #[inline(always)]
    pub fn ip(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.put(address.octets()),
            IpAddr::V6(address) => self.put(address.octets()),
        }
    }

    /// Appends the set.
    #[inline(always)]
    pub fn finish(mut self, out: &mut Vec<u8>) {
        let len = u16::try_from(self.at).expect("below 256");
        self.room[2..4].copy_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&self.room[..self.at]);
    }
}
