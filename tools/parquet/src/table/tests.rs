use super::*;
use crate::columns::KINDS;
use crate::segment::{put_head, put_row};
use bytes::Bytes;

fn segment(rows: &[(i64, u8, &str, i32)]) -> Segment {
    let mut out = Vec::new();
    put_head(&mut out, "a.b");
    for (ts_ns, kind, src, port) in rows {
        let values = [
            (TS, Value::Long(*ts_ns)),
            (KIND, Value::Kind(*kind)),
            (SRC, Value::Address(src.parse().expect("good"))),
            (DST_PORT, Value::Int(*port)),
        ];
        put_row(&mut out, &values);
    }
    Segment::read(Bytes::from(out)).expect("good")
}

/// Kind, source, port and time of a row.
type Key = (u8, String, i32, i64);

fn sorted(segment: &Segment) -> Vec<(String, Vec<Key>)> {
    let table = Table::of(segment);
    let text = |row: &Row| {
        let src = table.addresses[row.src as usize].as_utf8().expect("text");
        (row.kind, src.to_owned(), row.dst_port, row.ts_ns)
    };
    let part = |part: Part<'_>| (part.path(segment), part.rows.iter().map(text).collect());
    table.parts().map(part).collect()
}

#[test]
fn rows_are_sorted_by_kind_text_of_address_port_and_time_within_their_hour() {
    let rows = [
        (HOUR_NS + 5, 2, "10.0.0.9", 80),
        (HOUR_NS + 4, 2, "10.0.0.10", 80),
        (HOUR_NS + 6, 0, "9.9.9.9", 1),
        (-1, 3, "2001:db8::1", 7),
        (HOUR_NS + 3, 2, "10.0.0.10", 79),
        (HOUR_NS + 2, 2, "10.0.0.10", 80),
    ];
    let files = sorted(&segment(&rows));
    assert_eq!(files.len(), 2);
    assert!(
        files[0]
            .0
            .starts_with("date=1969-12-31/hour=23/sensor=a.b/19691231T235959Z-")
    );
    assert!(
        files[1]
            .0
            .starts_with("date=1970-01-01/hour=01/sensor=a.b/19700101T010000Z-")
    );
    assert!(files[1].0.ends_with(".parquet"));
    let second = |ts| HOUR_NS + ts;
    let expected = [
        (0, "9.9.9.9".to_owned(), 1, second(6)),
        (2, "10.0.0.10".to_owned(), 79, second(3)),
        (2, "10.0.0.10".to_owned(), 80, second(2)),
        (2, "10.0.0.10".to_owned(), 80, second(4)),
        (2, "10.0.0.9".to_owned(), 80, second(5)),
    ];
    assert_eq!(files[1].1, expected);
    assert_eq!(KINDS[2], "connection");
}

#[test]
fn the_same_rows_in_any_order_have_the_same_path_and_others_have_another() {
    let mut rows = [
        (1, 2, "10.0.0.9", 80),
        (1, 2, "10.0.0.9", 80),
        (1, 2, "10.0.0.8", 80),
    ];
    let path = sorted(&segment(&rows))[0].0.clone();
    rows.reverse();
    assert_eq!(sorted(&segment(&rows))[0].0, path);
    assert_ne!(sorted(&segment(&rows[..2]))[0].0, path);
    rows[0].3 = 81;
    assert_ne!(sorted(&segment(&rows))[0].0, path);
}

#[test]
fn times_at_both_ends_of_the_calendar_have_a_path() {
    let files = sorted(&segment(&[(i64::MIN, 2, "::", 0), (i64::MAX, 2, "::", 0)]));
    assert!(files[0].0.starts_with("date=1677-09-21/hour=00/"));
    assert!(files[1].0.starts_with("date=2262-04-11/hour=23/"));
}
