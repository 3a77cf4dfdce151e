use super::*;

fn sample() -> Vec<u8> {
    let mut out = Vec::new();
    put_head(&mut out, "probe-1");
    for ts in 0..3 {
        put_row(
            &mut out,
            &[
                (0, Value::Long(ts)),
                (1, Value::Kind(2)),
                (4, Value::Address("192.0.2.1".parse().expect("good"))),
                (5, Value::Address("2001:db8::1".parse().expect("good"))),
                (7, Value::Int(443)),
                (10, Value::Text("eth0")),
                (15, Value::Bool(true)),
            ],
        );
    }
    out
}

fn read(bytes: &[u8]) -> Result<Segment, Option<Wrong>> {
    Segment::read(Bytes::copy_from_slice(bytes))
}

#[test]
fn what_is_written_is_read() {
    let whole = read(&sample()).expect("good");
    assert_eq!((whole.sensor.as_str(), whole.end), ("probe-1", End::Whole));
    assert_eq!((whole.rows.len(), whole.lost_bytes()), (3, 0));
    let row: Vec<_> = Values::of(&whole.bytes[whole.rows[2].clone()]).collect();
    assert_eq!(row[0], (0, Value::Long(2)));
    assert_eq!(row[5], (10, Value::Text("eth0")));
    assert_eq!(row.len(), 7);
}

#[test]
fn every_cut_keeps_the_good_rows_before_it() {
    let all = sample();
    let whole = read(&all).expect("good");
    let first = whole.rows[0].start - ROW_HEAD;
    for len in 0..all.len() {
        for zeros in [0, 1, 100] {
            let cut = [&all[..len], &vec![0; zeros][..]].concat();
            let good = whole.rows.iter().filter(|row| row.end <= len).count();
            match read(&cut) {
                Ok(segment) => {
                    let kept = segment.rows.len();
                    assert!(
                        kept == good || len + zeros >= whole.rows[good].end,
                        "{len} {zeros}"
                    );
                }
                Err(None) => assert!(len < first && zeros < 100, "{len} {zeros}"),
                Err(Some(_)) => assert!(len < first && zeros > 0, "{len} {zeros}"),
            }
        }
    }
}

#[test]
fn every_changed_byte_is_noticed_and_none_panics() {
    let all = sample();
    let whole = read(&all).expect("good");
    for at in 0..all.len() {
        for bit in 0..8 {
            let mut changed = all.clone();
            changed[at] ^= 1 << bit;
            match read(&changed) {
                Ok(segment) => {
                    let good = whole.rows.iter().filter(|row| row.end <= at).count();
                    assert_eq!(segment.rows.len(), good, "byte {at}, bit {bit}");
                    let start = whole.rows[good].start - ROW_HEAD;
                    match segment.end {
                        End::Torn(offset) | End::Damaged(offset, _) => assert_eq!(offset, start),
                        End::Whole => panic!("byte {at}, bit {bit} is not noticed"),
                    }
                }
                Err(_) => assert!(at < whole.rows[0].start),
            }
        }
    }
}

#[test]
fn rows_that_lie_about_themselves_are_refused_though_their_sum_is_good() {
    let with = |columns: u64, values: &[u8]| {
        let mut out = Vec::new();
        put_head(&mut out, "s");
        let at = out.len();
        let body = [&columns.to_le_bytes()[..], values].concat();
        out.extend_from_slice(&u32::try_from(body.len()).expect("short").to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        out.extend_from_slice(&body);
        let end = read(&out).expect("the head is good").end;
        match end {
            End::Damaged(offset, wrong) if offset == at => wrong,
            end => panic!("{end:?}"),
        }
    };
    let ts_kind = [0, 0, 0, 0, 0, 0, 0, 1, 0];
    let and = |more: &[u8]| [&ts_kind[..], more].concat();
    assert_eq!(with(1, &ts_kind[..8]), Wrong::Incomplete);
    assert_eq!(with(2, &[0]), Wrong::Incomplete);
    assert_eq!(with(3 | 1 << 45, &ts_kind), Wrong::Column);
    assert_eq!(with(3, &and(&[0])), Wrong::Cut);
    assert_eq!(with(7, &ts_kind), Wrong::Cut);
    assert_eq!(with(3, &[0, 0, 0, 0, 0, 0, 0, 1, 5]), Wrong::Value);
    assert_eq!(
        with(3 | 1 << SRC_COLUMN, &and(&[5, 0, 0, 0, 0])),
        Wrong::Value
    );
    assert_eq!(with(3 | 1 << 10, &and(&[1, 0, 0xff])), Wrong::Value);
    assert_eq!(with(3 | 1 << 10, &and(&[9, 0, b'a'])), Wrong::Cut);
    assert_eq!(with(3 | 1 << 15, &and(&[2])), Wrong::Value);
}

const SRC_COLUMN: usize = crate::columns::SRC;

#[test]
fn heads_of_others_are_refused() {
    assert_eq!(read(b"PAR1").err(), Some(Some(Wrong::Magic)));
    for name in ["", "a/b", "a b", &"x".repeat(65)] {
        let mut out = Vec::new();
        put_head(&mut out, name);
        assert_eq!(read(&out).err(), Some(Some(Wrong::Name)), "{name}");
    }
}
