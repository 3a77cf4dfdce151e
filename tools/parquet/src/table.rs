//! Rows of a segment, sorted and divided into the files that they go to.

use crate::columns::{DST, DST_PORT, KIND, SRC, TS};
use crate::segment::{Segment, Value, Values};
use jiff::Timestamp;
use parquet::data_type::ByteArray;
use sha2::{Digest as _, Sha256};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

const HOUR_NS: i64 = 3_600_000_000_000;

/// A row, and what it is sorted by: an address by its place among all addresses of the segment, sorted as text; 0: none.
#[derive(Clone, Debug)]
pub struct Row {
    hour: i64,
    kind: u8,
    /// Place of its source.
    pub src: u32,
    /// Place of its destination.
    pub dst: u32,
    dst_port: i32,
    ts_ns: i64,
    /// Its body in the segment.
    pub body: Range<usize>,
}

impl Row {
    fn key(&self) -> (i64, u8, u32, u32, i32, i64) {
        let Self {
            hour,
            kind,
            src,
            dst,
            dst_port,
            ts_ns,
            ..
        } = *self;
        (hour, kind, src, dst, dst_port, ts_ns)
    }
}

/// The sorted rows of a segment.
#[derive(Debug)]
pub struct Table {
    /// Texts of addresses by their place; the first is of none.
    pub addresses: Vec<ByteArray>,
    rows: Vec<Row>,
}

/// The rows of one file.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Sorted.
    pub rows: &'a [Row],
    hour: i64,
}

/// Numbers addresses in the order in which they come.
#[derive(Default)]
struct Numbers {
    of: HashMap<IpAddr, u32>,
    all: Vec<IpAddr>,
}

impl Numbers {
    fn of(&mut self, address: IpAddr) -> u32 {
        let fresh = u32::try_from(self.all.len() + 1).expect("a segment has fewer rows");
        let all = &mut self.all;
        *self.of.entry(address).or_insert_with(|| {
            all.push(address);
            fresh
        })
    }

    /// The sorted texts, and the place of each number among them.
    fn sorted(self) -> (Vec<ByteArray>, Vec<u32>) {
        let mut texts: Vec<(String, usize)> = Vec::with_capacity(self.all.len());
        let each = self.all.iter().enumerate();
        texts.extend(each.map(|(at, address)| (address.to_string(), at + 1)));
        texts.sort_unstable();
        let mut places = vec![0; texts.len() + 1];
        let mut sorted = vec![ByteArray::from("")];
        for (text, number) in texts {
            places[number] = u32::try_from(sorted.len()).expect("a segment has fewer rows");
            sorted.push(ByteArray::from(text.into_bytes()));
        }
        (sorted, places)
    }
}

impl Table {
    /// Sorts the rows of a segment by hour, kind, source, destination, port and time. Rows that are equal in all this
    /// are sorted by their bytes, so that the same rows always have one order.
    pub fn of(segment: &Segment) -> Self {
        let mut numbers = Numbers::default();
        let mut rows: Vec<Row> = Vec::with_capacity(segment.rows.len());
        for body in &segment.rows {
            rows.push(row(&mut numbers, segment, body.clone()));
        }
        let (addresses, places) = numbers.sorted();
        for row in &mut rows {
            row.src = places[row.src as usize];
            row.dst = places[row.dst as usize];
        }
        let bytes = |row: &Row| &segment.bytes[row.body.clone()];
        rows.sort_unstable_by(|one, other| match one.key().cmp(&other.key()) {
            Ordering::Equal => bytes(one).cmp(bytes(other)),
            unequal => unequal,
        });
        Self { addresses, rows }
    }

    /// The rows of each hour.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let same_hour = |one: &Row, other: &Row| one.hour == other.hour;
        self.rows.chunk_by(same_hour).map(|rows| Part {
            rows,
            hour: rows[0].hour,
        })
    }
}

fn row(numbers: &mut Numbers, segment: &Segment, body: Range<usize>) -> Row {
    let mut row = Row {
        hour: 0,
        kind: 0,
        src: 0,
        dst: 0,
        dst_port: -1,
        ts_ns: 0,
        body: body.clone(),
    };
    for (column, value) in Values::of(&segment.bytes[body]) {
        match (column, value) {
            (TS, Value::Long(ts_ns)) => {
                row.ts_ns = ts_ns;
                row.hour = ts_ns.div_euclid(HOUR_NS);
            }
            (KIND, Value::Kind(kind)) => row.kind = kind,
            (SRC, Value::Address(address)) => row.src = numbers.of(address),
            (DST, Value::Address(address)) => row.dst = numbers.of(address),
            (DST_PORT, Value::Int(port)) => row.dst_port = port,
            _ if column > DST_PORT => break,
            _ => {}
        }
    }
    row
}

impl Part<'_> {
    /// Path of its file: partitions, the time of its first row, and a hash of its rows. The same rows have the same path.
    pub fn path(&self, segment: &Segment) -> String {
        let mut hash = Sha256::new();
        hash.update(&segment.sensor);
        for row in self.rows {
            // Bodies say themselves where they end: their columns and lengths come first.
            hash.update(&segment.bytes[row.body.clone()]);
        }
        let digest = hash.finalize();
        let hex: String = digest[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let first_ns = self.rows.iter().map(|row| row.ts_ns).min().unwrap_or(0);
        let partition = stamp(self.hour * 3_600, "date=%Y-%m-%d/hour=%H");
        let first = stamp(first_ns.div_euclid(1_000_000_000), "%Y%m%dT%H%M%SZ");
        let sensor = &segment.sensor;
        format!("{partition}/sensor={sensor}/{first}-{hex}.parquet")
    }
}

/// A second since the Unix epoch in this form of strftime(3), UTC.
fn stamp(second: i64, form: &str) -> String {
    let moment = Timestamp::from_second(second).expect("64 bits of ns end in the year 2262");
    moment.strftime(form).to_string()
}

#[cfg(test)]
mod tests;
