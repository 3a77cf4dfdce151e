//! A segment that the sensor's own test wrote: both hold to one form.

use bytes::Bytes;
use std::fmt::Write as _;
use synledger_parquet::columns::{COLUMNS, KINDS};
use synledger_parquet::segment::{End, Segment, Value, Values};

#[test]
fn rows_of_the_sensor_are_read_with_every_value_in_its_column() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rows.golden");
    let bytes = std::fs::read(path).expect("it is there");
    let segment = Segment::read(Bytes::from(bytes)).expect("good");
    assert_eq!(
        (segment.sensor.as_str(), segment.end),
        ("probe-1", End::Whole)
    );
    let mut text = String::new();
    for row in &segment.rows {
        for (column, value) in Values::of(&segment.bytes[row.clone()]) {
            let _ = write!(text, "{}=", COLUMNS[column].name);
            let _ = match value {
                Value::Long(value) => write!(text, "{value} "),
                Value::Int(value) => write!(text, "{value} "),
                Value::Bool(value) => write!(text, "{value} "),
                Value::Kind(kind) => write!(text, "{} ", KINDS[usize::from(kind)]),
                Value::Address(address) => write!(text, "{address} "),
                Value::Text(value) => write!(text, "{value} "),
            };
        }
        text.push('\n');
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rows.txt");
    if std::env::var_os("SYNLEDGER_GOLDEN").is_some_and(|how| how == "write") {
        std::fs::write(path, &text).expect("written");
    }
    assert_eq!(std::fs::read_to_string(path).expect("it is there"), text);
}
