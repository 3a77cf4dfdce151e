//! Segments: files of rows that a sensor wrote, with a length and a sum before each row.
//!
//! A segment begins with [`MAGIC`], the length of the sensor's name in two bytes, the name, and the CRC-32 of all this.
//! Each row follows as its length in four bytes, its CRC-32, and its body: a bit for each column that has a value, in
//! eight bytes, then the values in the order of [`COLUMNS`]. Numbers are little-endian. A sensor that is killed within a
//! write leaves its last row without an end; the rows before it are good.

use crate::columns::{COLUMNS, KIND, KINDS, TS, Type};
use bytes::Bytes;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

/// First bytes of a segment, with the version of its form.
pub const MAGIC: &[u8; 8] = b"SYNROWS1";
/// The longest body of a row.
pub const BODY_MAX: usize = 64 << 10;
/// The longest name of a sensor.
pub const NAME_MAX: usize = 64;
/// Bytes of a row before its body.
const ROW_HEAD: usize = 8;

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Of a long column.
    Long(i64),
    /// Of an int column.
    Int(i32),
    /// Of a bool column.
    Bool(bool),
    /// Place in [`KINDS`].
    Kind(u8),
    /// Of an address column.
    Address(IpAddr),
    /// Of a text column.
    Text(&'a str),
}

/// Why a segment, or a part of it, cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The beginning is not that of a segment.
    Magic,
    /// The sensor's name is empty, too long, or has other letters than `[A-Za-z0-9._-]`.
    Name,
    /// The sum does not fit the bytes.
    Sum,
    /// The length is below that of the smallest row, or above [`BODY_MAX`].
    Length,
    /// A value ends behind its row, or bytes follow the last value.
    Cut,
    /// There is no such column.
    Column,
    /// A value is none of its type.
    Value,
    /// The row has no time or no kind.
    Incomplete,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Magic => "not a segment, or of another version",
            Self::Name => "the sensor's name is not of [A-Za-z0-9._-]{1,64}",
            Self::Sum => "the sum does not fit the bytes",
            Self::Length => "the length of a row is out of range",
            Self::Cut => "a row's values do not fill it",
            Self::Column => "a row has a column that is not known",
            Self::Value => "a value is none of its column's type",
            Self::Incomplete => "a row lacks its time or kind",
        })
    }
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With its last row.
    Whole,
    /// Within a row, at this offset: the sensor was killed, or its disk was full.
    Torn(usize),
    /// What follows this offset cannot be read.
    Damaged(usize, Wrong),
}

/// A segment that was read.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The sensor's name.
    pub sensor: String,
    /// The whole file.
    pub bytes: Bytes,
    /// Bodies of its good rows.
    pub rows: Vec<Range<usize>>,
    /// How it ends.
    pub end: End,
}

fn le16(bytes: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([bytes[0], bytes[1]]))
}

fn le32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Whether a sensor may have this name.
pub fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_letter)
}

impl Segment {
    /// Reads a segment: every row up to its end, or up to what cannot be read.
    ///
    /// # Errors
    ///
    /// Its head cannot be read; `None`: it ends within the head, so no row was ever written.
    pub fn read(bytes: Bytes) -> Result<Self, Option<Wrong>> {
        let (sensor, first) = head(&bytes)?;
        let mut rows = Vec::with_capacity(bytes.len() / 128);
        let mut at = first;
        let end = loop {
            let left = bytes.len() - at;
            if left == 0 {
                break End::Whole;
            }
            // A file system may have made the file longer before its bytes came.
            if left < ROW_HEAD || bytes[at..].iter().take(BODY_MAX).all(|&byte| byte == 0) {
                break End::Torn(at);
            }
            let len = le32(&bytes[at..]) as usize;
            if !(ROW_HEAD..=BODY_MAX).contains(&len) {
                break End::Damaged(at, Wrong::Length);
            }
            if left - ROW_HEAD < len {
                break End::Torn(at);
            }
            let body = at + ROW_HEAD..at + ROW_HEAD + len;
            if crc32fast::hash(&bytes[body.clone()]) != le32(&bytes[at + 4..]) {
                break End::Damaged(at, Wrong::Sum);
            }
            if let Err(wrong) = check(&bytes[body.clone()]) {
                break End::Damaged(at, wrong);
            }
            at = body.end;
            rows.push(body);
        };
        Ok(Self {
            sensor,
            bytes,
            rows,
            end,
        })
    }

    /// Bytes behind the last good row.
    pub fn lost_bytes(&self) -> usize {
        match self.end {
            End::Whole => 0,
            End::Torn(at) | End::Damaged(at, _) => self.bytes.len() - at,
        }
    }
}

/// The sensor's name, and the offset of the first row.
fn head(bytes: &[u8]) -> Result<(String, usize), Option<Wrong>> {
    let begins = bytes.iter().zip(MAGIC).all(|(byte, good)| byte == good);
    if !begins {
        return Err(Some(Wrong::Magic));
    }
    let Some(length) = bytes.get(MAGIC.len()..MAGIC.len() + 2) else {
        return Err(None);
    };
    let name = MAGIC.len() + 2..MAGIC.len() + 2 + le16(length);
    if name.len() > NAME_MAX {
        return Err(Some(Wrong::Name));
    }
    let Some(sum) = bytes.get(name.end..name.end + 4) else {
        return Err(None);
    };
    if crc32fast::hash(&bytes[..name.end]) != le32(sum) {
        return Err(Some(Wrong::Sum));
    }
    match str::from_utf8(&bytes[name.clone()]) {
        Ok(text) if is_name(text) => Ok((text.to_owned(), name.end + 4)),
        _ => Err(Some(Wrong::Name)),
    }
}

/// Checks every value of a row.
fn check(body: &[u8]) -> Result<(), Wrong> {
    let needed = 1_u64 << TS | 1 << KIND;
    let mut values = Values::of(body);
    if values.columns & needed != needed {
        return Err(Wrong::Incomplete);
    }
    if values.columns >> COLUMNS.len() != 0 {
        return Err(Wrong::Column);
    }
    while values.columns != 0 {
        values.step()?;
    }
    match values.left.is_empty() {
        true => Ok(()),
        false => Err(Wrong::Cut),
    }
}

/// Values of a row, each with the place of its column, in the order of columns.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    columns: u64,
    left: &'a [u8],
}

impl<'a> Values<'a> {
    /// Of a body, which has at least eight bytes.
    pub fn of(body: &'a [u8]) -> Self {
        let (columns, left) = body.split_first_chunk::<8>().expect("at least eight bytes");
        let columns = u64::from_le_bytes(*columns);
        Self { columns, left }
    }

    #[inline]
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], Wrong> {
        let (taken, left) = self.left.split_at_checked(len).ok_or(Wrong::Cut)?;
        self.left = left;
        Ok(taken)
    }

    #[inline]
    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], Wrong> {
        let (taken, left) = self.left.split_first_chunk::<LEN>().ok_or(Wrong::Cut)?;
        self.left = left;
        Ok(*taken)
    }

    /// The next value; there must be one.
    #[inline]
    fn step(&mut self) -> Result<(usize, Value<'a>), Wrong> {
        let column = self.columns.trailing_zeros() as usize;
        self.columns &= self.columns - 1;
        let value = match COLUMNS[column].of {
            Type::Long => Value::Long(i64::from_le_bytes(self.array()?)),
            Type::Int => Value::Int(i32::from_le_bytes(self.array()?)),
            Type::Bool => match self.array()? {
                [bit @ 0..=1] => Value::Bool(bit == 1),
                _ => return Err(Wrong::Value),
            },
            Type::Kind => match self.array()? {
                [kind] if usize::from(kind) < KINDS.len() => Value::Kind(kind),
                _ => return Err(Wrong::Value),
            },
            Type::Address => match self.array()? {
                [4] => Value::Address(IpAddr::from(self.array::<4>()?)),
                [6] => Value::Address(IpAddr::from(self.array::<16>()?)),
                _ => return Err(Wrong::Value),
            },
            Type::Text => {
                let len = usize::from(u16::from_le_bytes(self.array()?));
                let text = str::from_utf8(self.bytes(len)?);
                Value::Text(text.map_err(|_| Wrong::Value)?)
            }
        };
        Ok((column, value))
    }
}

/// Of rows that [`Segment::read`] has checked.
impl<'a> Iterator for Values<'a> {
    type Item = (usize, Value<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        (self.columns != 0).then(|| self.step().expect("checked when it was read"))
    }
}

/// Appends the head of a segment.
pub fn put_head(out: &mut Vec<u8>, sensor: &str) {
    let start = out.len();
    out.extend_from_slice(MAGIC);
    let len = u16::try_from(sensor.len()).expect("a name is short");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(sensor.as_bytes());
    let sum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// Appends a row of these values, which are in the order of columns.
pub fn put_row(out: &mut Vec<u8>, values: &[(usize, Value<'_>)]) {
    let start = out.len();
    out.extend_from_slice(&[0; 16]);
    let mut columns = 0_u64;
    for (column, value) in values {
        columns |= 1 << column;
        match value {
            Value::Long(value) => out.extend_from_slice(&value.to_le_bytes()),
            Value::Int(value) => out.extend_from_slice(&value.to_le_bytes()),
            Value::Bool(value) => out.push(u8::from(*value)),
            Value::Kind(kind) => out.push(*kind),
            Value::Address(IpAddr::V4(address)) => {
                out.push(4);
                out.extend_from_slice(&address.octets());
            }
            Value::Address(IpAddr::V6(address)) => {
                out.push(6);
                out.extend_from_slice(&address.octets());
            }
            Value::Text(text) => {
                let len = u16::try_from(text.len()).expect("a row is short");
                out.extend_from_slice(&len.to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
    let body = start + ROW_HEAD;
    out[body..body + 8].copy_from_slice(&columns.to_le_bytes());
    let len = u32::try_from(out.len() - body).expect("a row is short");
    let sum = crc32fast::hash(&out[body..]);
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 4..body].copy_from_slice(&sum.to_le_bytes());
}

#[cfg(test)]
mod tests;
