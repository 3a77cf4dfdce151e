use super::*;
use crate::segment::{put_head, put_row};
use parquet::basic::Encoding;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use std::collections::BTreeMap;

/// A text for each value that a row has.
type Plain = BTreeMap<&'static str, String>;

/// Numbers that look random and are always the same.
struct Draws(u64);

impl Draws {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % most
    }
}

fn byte(number: u64) -> u8 {
    u8::try_from(number).expect("small")
}

/// A segment of rows with drawn columns and values, and the same rows as texts.
fn drawn(rows: usize, seed: u64) -> (Vec<u8>, Vec<Plain>) {
    let mut draws = Draws(seed);
    let (mut out, mut plain) = (Vec::new(), Vec::new());
    put_head(&mut out, "probe");
    for _ in 0..rows {
        let mut texts = Plain::new();
        let words: Vec<String> = (0..COLUMNS.len())
            .map(|_| format!("w{}é", draws.below(5)))
            .collect();
        let mut values = Vec::new();
        for (at, column) in COLUMNS.iter().enumerate() {
            if at > KIND && draws.below(2) == 0 {
                continue;
            }
            let number = draws.below(1 << 20);
            let (value, text) = match column.of {
                _ if at == TS => {
                    let ts = i64::try_from(number).expect("small") * 10_000_000;
                    (Value::Long(ts), ts.to_string())
                }
                Type::Long => {
                    let long = i64::MIN + i64::try_from(number).expect("small");
                    (Value::Long(long), long.to_string())
                }
                Type::Int => {
                    let int = i32::try_from(number).expect("small") - 9;
                    (Value::Int(int), int.to_string())
                }
                Type::Bool => (Value::Bool(number % 2 == 1), (number % 2 == 1).to_string()),
                Type::Kind => {
                    let kind = byte(number % KINDS.len() as u64);
                    (Value::Kind(kind), KINDS[usize::from(kind)].to_owned())
                }
                Type::Address => {
                    let address = match number % 2 {
                        0 => std::net::IpAddr::from([10, 0, 0, byte(number % 200)]),
                        _ => std::net::IpAddr::from([
                            0x20,
                            1,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            byte(number % 200),
                        ]),
                    };
                    (Value::Address(address), address.to_string())
                }
                Type::Text => (Value::Text(&words[at]), words[at].clone()),
            };
            values.push((at, value));
            texts.insert(column.name, text);
        }
        put_row(&mut out, &values);
        plain.push(texts);
    }
    (out, plain)
}

fn files(bytes: &[u8]) -> BTreeMap<String, Bytes> {
    let segment = Segment::read(Bytes::copy_from_slice(bytes)).expect("good");
    let (table, encoder) = (Table::of(&segment), Encoder::new());
    let file = |part: Part<'_>| {
        let bytes = encoder.file(&segment, &table, part).expect("it encodes");
        (part.path(&segment), bytes)
    };
    table.parts().map(file).collect()
}

fn read_back(file: &Bytes) -> Vec<Plain> {
    let reader = SerializedFileReader::new(file.clone()).expect("it opens");
    let rows = reader.get_row_iter(None).expect("rows");
    let plain = |row: parquet::record::Row| {
        let columns = row.get_column_iter().zip(&COLUMNS);
        let text = |((name, field), column): ((&String, &Field), &crate::columns::Column)| {
            assert_eq!(name, column.name);
            let text = match field {
                Field::Null => return None,
                Field::Long(value) => value.to_string(),
                Field::Int(value) => value.to_string(),
                Field::Bool(value) => value.to_string(),
                Field::Str(value) => value.clone(),
                other => panic!("{other:?}"),
            };
            Some((column.name, text))
        };
        columns.filter_map(text).collect()
    };
    rows.map(|row| plain(row.expect("a row"))).collect()
}

fn key(row: &Plain) -> impl Ord {
    let of = |name: &str| row.get(name).cloned();
    let number = |name: &str| of(name).map(|text| text.parse::<i64>().expect("a number"));
    (
        of("kind"),
        of("src_ip"),
        of("dst_ip"),
        number("dst_port"),
        number("ts_ns"),
    )
}

#[test]
fn rows_come_back_each_once_from_their_hour_and_sorted() {
    let (bytes, mut plain) = drawn(3_000, 7);
    let mut back = Vec::new();
    for (path, file) in files(&bytes) {
        let rows = read_back(&file);
        assert!(rows.is_sorted_by_key(key), "{path}");
        for row in &rows {
            let hour = row["ts_ns"].parse::<i64>().expect("a number") / 3_600_000_000_000;
            assert!(path.starts_with(&format!("date=1970-01-01/hour={hour:02}/sensor=probe/")));
        }
        back.extend(rows);
    }
    plain.sort();
    back.sort();
    assert!(back == plain, "{} of {}", back.len(), plain.len());
}

#[test]
fn the_same_rows_give_the_same_bytes_and_more_rows_more_groups() {
    let (bytes, plain) = drawn(200, 1);
    assert_eq!(files(&bytes), files(&bytes));
    let mut many = Vec::new();
    put_head(&mut many, "probe");
    for ts in 0..GROUP_ROWS as i64 + 1 {
        let kind = (KIND, Value::Kind(2));
        put_row(&mut many, &[(TS, Value::Long(ts)), kind]);
    }
    let all = files(&many);
    let (_, file) = all.first_key_value().expect("a file");
    let reader = SerializedFileReader::new(file.clone()).expect("it opens");
    assert_eq!((all.len(), reader.num_row_groups()), (1, 2));
    assert_eq!(read_back(file).len(), GROUP_ROWS + 1);
    assert_eq!(plain.len(), 200);
}

#[test]
fn files_say_how_they_are_sorted_and_have_dictionaries_of_addresses_and_zstd() {
    let (bytes, _) = drawn(500, 3);
    let file = files(&bytes).into_values().next().expect("a file");
    let reader = SerializedFileReader::new(file).expect("it opens");
    let group = reader.metadata().row_group(0);
    let sorting = group.sorting_columns().expect("they are sorted");
    let columns: Vec<i32> = sorting.iter().map(|one| one.column_idx).collect();
    assert_eq!(columns, [1, 4, 5, 7, 0]);
    for column in [SRC, DST] {
        let chunk = group.column(column);
        assert!(chunk.encodings().any(|one| one == Encoding::RLE_DICTIONARY));
        assert!(matches!(chunk.compression(), Compression::ZSTD(_)));
        assert!(chunk.statistics().is_some());
    }
}
