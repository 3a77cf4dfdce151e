//! Segments for tests, and the rows that come out of Parquet files.

#![allow(dead_code, reason = "each test uses a part")]

use bytes::Bytes;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use synledger_parquet::segment::{Value, put_head, put_row};

pub const HOUR_NS: i64 = 3_600_000_000_000;

/// A command that delivers this spool.
pub fn program(spool: &Path, to: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synledger-parquet"));
    command.arg("--spool").arg(spool).args(["--to", to]);
    command
}

/// A segment of connections with these numbers as their sequence numbers, over three hours. Each has `more` bytes that
/// no compression makes smaller.
pub fn segment(numbers: std::ops::Range<i64>, more: usize) -> Vec<u8> {
    let mut out = Vec::new();
    put_head(&mut out, "probe-1");
    for number in numbers {
        let noise: String = (0..more as u64)
            .map(|at| {
                let mut mixed =
                    (number.unsigned_abs() << 32 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed ^= mixed >> 32;
                char::from(33 + u8::try_from(mixed >> 57).expect("seven bits") % 90)
            })
            .collect();
        let address =
            Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(number * 7919 % 5000).expect("small"));
        let mut values = vec![
            (0, Value::Long(number % 3 * HOUR_NS + number)),
            (1, Value::Kind(2)),
            (4, Value::Address(address.into())),
            (5, Value::Address(Ipv4Addr::LOCALHOST.into())),
            (7, Value::Int(443)),
            (14, Value::Long(number)),
        ];
        if more > 0 {
            values.push((42, Value::Text(&noise)));
        }
        put_row(&mut out, &values);
    }
    out
}

/// Fills a spool with this many segments of so many rows each; returns the sum of rows.
pub fn fill(spool: &Path, segments: i64, rows: i64) -> i64 {
    for at in 0..segments {
        let bytes = segment(at * rows..(at + 1) * rows, 0);
        fs::write(spool.join(format!("{:010}.rows", at + 1)), bytes).expect("written");
    }
    segments * rows
}

/// The sequence numbers in a Parquet file; panics if it is broken.
pub fn numbers(file: Vec<u8>) -> Vec<i64> {
    let reader = SerializedFileReader::new(Bytes::from(file)).expect("a whole file");
    let rows = reader.get_row_iter(None).expect("rows");
    let number = |row: parquet::record::Row| {
        let isn = row.get_column_iter().nth(14).expect("a column").1.clone();
        match isn {
            Field::Long(number) => number,
            other => panic!("{other:?}"),
        }
    };
    rows.map(|row| number(row.expect("a row"))).collect()
}

/// All Parquet files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false if path.extension().is_some_and(|end| end == "parquet") => all.push(path),
            false => {}
        }
    }
    all
}

/// The sequence numbers in all files below a folder, sorted.
pub fn delivered(folder: &Path) -> Vec<i64> {
    let each = |path: PathBuf| numbers(fs::read(path).expect("a file"));
    let mut all: Vec<i64> = files(folder).into_iter().flat_map(each).collect();
    all.sort_unstable();
    all
}

/// Closed segments in a spool.
pub fn waiting(spool: &Path) -> usize {
    let entries = fs::read_dir(spool).expect("a spool");
    let is_closed = |entry: &std::io::Result<fs::DirEntry>| {
        let path = entry.as_ref().expect("an entry").path();
        path.extension().is_some_and(|end| end == "rows")
    };
    entries.filter(is_closed).count()
}
