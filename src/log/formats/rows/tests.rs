use super::*;
use crate::inspect::detection::Phase;
use crate::log::formats::interfaces::Interfaces;
use crate::log::formats::samples;
use std::sync::Arc;

/// A segment of one row of each kind.
fn segment() -> Vec<u8> {
    let context = Context {
        host: "probe".into(),
        interfaces: Interfaces::new(vec!["eth0".into(), "eth1".into()]),
        direction: Arc::new(|_, _| "in"),
        services: None,
        frames: false,
    };
    let mut rows = Rows::new(&context, 0);
    let mut out = Vec::new();
    head(&mut out, "probe-1");
    let scan = samples::scan(Phase::Started, vec![(1, 20)], 20);
    let sweep = samples::sweep(Phase::Ended, 30);
    for event in [
        samples::connection(),
        samples::connection6(),
        samples::flow(),
        samples::alert(&scan),
        samples::alert(&sweep),
    ] {
        rows.event(&mut out, &event, 0);
    }
    rows.notice(&mut out, &samples::stats(), 0);
    out
}

/// `synledger-parquet` reads the same file: if this fails after a wanted change, write it anew with SYNLEDGER_GOLDEN=write.
#[test]
fn rows_are_those_that_the_other_program_reads() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tools/parquet/tests/rows.golden"
    );
    let segment = segment();
    if std::env::var_os("SYNLEDGER_GOLDEN").is_some_and(|how| how == "write") {
        std::fs::write(path, &segment).expect("written");
    }
    assert_eq!(std::fs::read(path).expect("it is there"), segment);
}

#[test]
fn a_row_of_the_books_covers_those_that_were_dropped_before_it() {
    let Notice::Stats { stats, .. } = samples::stats() else {
        unreachable!("statistics")
    };
    let context = Context {
        host: String::new(),
        interfaces: Interfaces::default(),
        direction: Arc::new(|_, _| "in"),
        services: None,
        frames: false,
    };
    let mut rows = Rows::new(&context, 0);
    let mut stats = *stats;
    rows.books(&mut Vec::new(), samples::TS_NS, &stats);
    let before = rows.covered.expect("a row");
    stats.now.host.nic_drops += 7;
    stats.now.host.unwatched_us += 5;
    let mut out = Vec::new();
    rows.books(&mut out, samples::TS_NS + 9, &stats);
    let after = rows.covered.expect("a row");
    assert_eq!(after.lost - before.lost, 7);
    // The last values: lost, and nanoseconds without an interface.
    let values: Vec<i64> = out[out.len() - 16..]
        .chunks(8)
        .map(|value| i64::from_le_bytes(value.try_into().expect("eight")))
        .collect();
    assert_eq!(values, [7, 5_000]);
    let first = &out[16 + 8 + 1..][..8];
    assert_eq!(first, samples::TS_NS.to_le_bytes());
}
