//! Rows a second of CPU time, from segments to Parquet files in memory, on one thread: `cargo run --release --example throughput`.

use bytes::Bytes;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use synledger_parquet::encode::Encoder;
use synledger_parquet::segment::{End, Segment, Value, put_head, put_row};
use synledger_parquet::table::Table;

const ROWS: u32 = 400_000;
const START_NS: i64 = 1_764_547_200_000_000_000;

/// A segment of connections, or of flows with all their counts.
fn segment(flows: bool) -> Bytes {
    let mut out = Vec::new();
    put_head(&mut out, "probe-1");
    for number in 0..ROWS {
        let mixed = number.wrapping_mul(2_654_435_761);
        let id = format!("1:{:08x}{:08x}{:08x}AAA=", mixed, mixed ^ 0x5555, !mixed);
        let long = i64::from(number);
        let source = Ipv4Addr::from_bits(0x0a00_0000 | mixed >> 18);
        let target = Ipv4Addr::from_bits(0xc000_0200 | mixed & 0xff);
        let mut values = vec![
            (0, Value::Long(START_NS + long * 1_000)),
            (1, Value::Kind(if flows { 3 } else { 2 })),
            (4, Value::Address(source.into())),
            (5, Value::Address(target.into())),
            (6, Value::Int((mixed >> 16).try_into().unwrap_or(0))),
            (7, Value::Int(443)),
            (8, Value::Int(6)),
            (10, Value::Text("eth0")),
            (16, Value::Long(long * 7_919)),
            (17, Value::Text(&id)),
        ];
        if flows {
            values.extend([
                (19, Value::Text("SF")),
                (20, Value::Text("ShADadfF")),
                (21, Value::Text("fin")),
            ]);
            values.extend((22..32).map(|column| (column, Value::Long(i64::from(mixed % 100_000)))));
            values.extend([32, 33].map(|column| (column, Value::Int(27))));
            values.extend([34, 35, 36].map(|column| (column, Value::Bool(false))));
        } else {
            values.insert(7, (9, Value::Long(1)));
            values.insert(9, (14, Value::Long(mixed.into())));
            values.insert(10, (15, Value::Bool(false)));
        }
        put_row(&mut out, &values);
    }
    out.into()
}

/// How long this thread has run: other programs on the same core do not count.
fn on_cpu_ns() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split(' ').next().and_then(|word| word.parse().ok());
    first.ok_or_else(|| io::Error::other("schedstat has another form"))
}

fn main() -> io::Result<()> {
    let encoder = Encoder::new();
    for (name, flows) in [("connections", false), ("flows", true)] {
        let bytes = segment(flows);
        let (mut best, mut file_bytes) = (0.0_f64, 0);
        for _ in 0..5 {
            let begun_ns = on_cpu_ns()?;
            let segment = Segment::read(bytes.clone()).expect("good");
            let table = Table::of(&segment);
            let mut rows = 0;
            file_bytes = 0;
            for part in table.parts() {
                file_bytes += encoder
                    .file(&segment, &table, part)
                    .expect("it encodes")
                    .len();
                assert!(part.path(&segment).contains("sensor=probe-1"));
                rows += part.rows.len();
            }
            let took_s = (on_cpu_ns()? - begun_ns) as f64 / 1e9;
            assert_eq!((rows, segment.end), (ROWS as usize, End::Whole));
            best = best.max(f64::from(ROWS) / took_s);
        }
        let each = file_bytes as f64 / f64::from(ROWS);
        let rate = best / 1e6;
        writeln!(
            io::stdout(),
            "{name}: {rate:.2} M rows/s, best of 5; {each:.1} bytes a row"
        )?;
    }
    Ok(())
}
