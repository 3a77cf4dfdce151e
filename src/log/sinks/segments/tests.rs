use super::*;
use crate::books::record_kind::EventKind;
use crate::log::sinks::spec::OutputSpec;

const S: i64 = 1_000_000_000;
const KIND: EventKind = EventKind::Connection;
const ENTRY: Entry = Entry {
    kind: KIND,
    folded: 0,
};

fn at(log_ns: i64) -> Moment {
    let now_ns = log_ns;
    Moment { log_ns, now_ns }
}

fn spool(folder: &Path, options: &str) -> Spool {
    let value = format!("parquet:{}{options}", folder.display());
    let spec: OutputSpec = value.parse().expect("good");
    spec.spool.expect("it has a spool")
}

fn open(folder: &Path, options: &str) -> Segments {
    let mut segments = Segments::open(&spool(folder, options)).expect("it opens");
    segments.set_patience(Patience::Live);
    segments
}

fn put(segments: &mut Segments, bytes: usize, at: Moment) -> bool {
    let admitted = segments.admit(ENTRY, at).map(|out| {
        out.resize(out.len() + bytes, b'x');
    });
    if admitted.is_some() {
        segments.commit(ENTRY, at);
    }
    admitted.is_some()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join(".spool")).expect("a spool");
    let name = |entry: io::Result<fs::DirEntry>| {
        let name = entry.expect("an entry").file_name();
        name.to_string_lossy().into_owned()
    };
    let mut all: Vec<_> = entries.map(name).collect();
    all.sort_unstable();
    all
}

#[test]
fn age_size_and_the_end_close_a_segment_under_the_next_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut segments = open(folder.path(), ",size=1MiB,age=10s,sensor=a");
    assert_eq!(names(folder.path()), [""; 0]);
    assert!(put(&mut segments, 10, at(S)));
    assert_eq!(names(folder.path()), ["0000000001.open"]);
    segments.flush(at(12 * S));
    assert_eq!(names(folder.path()), ["0000000001.rows"]);
    assert!(put(&mut segments, 1 << 20, at(13 * S)));
    assert!(put(&mut segments, 5, at(13 * S)));
    let closed = ["0000000001.rows", "0000000002.rows", "0000000003.open"];
    assert_eq!(names(folder.path()), closed);
    segments.finish(at(14 * S));
    assert!(
        names(folder.path())
            .iter()
            .all(|name| name.ends_with(".rows"))
    );
    let carried = segments.carried();
    assert_eq!(carried.written[KIND as usize], 3);
    assert_eq!((carried.pending, carried.dropped), Default::default());
    let first = fs::read(folder.path().join(".spool/0000000001.rows")).expect("a segment");
    let mut head = Vec::new();
    rows::head(&mut head, "a");
    assert_eq!(first, [&head[..], b"xxxxxxxxxx"].concat());
}

#[test]
fn the_segment_of_a_killed_run_is_closed_by_the_next_and_a_second_run_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut killed = open(folder.path(), "");
    assert!(put(&mut killed, 10, at(S)));
    assert!(Segments::open(&spool(folder.path(), "")).is_err());
    // As after a kill: nothing is closed.
    drop(killed);
    let mut next = open(folder.path(), "");
    assert_eq!(names(folder.path()), ["0000000001.rows"]);
    assert!(put(&mut next, 10, at(S)));
    assert_eq!(names(folder.path()), ["0000000001.rows", "0000000002.open"]);
}

#[test]
fn a_full_spool_takes_nothing_and_counts_it_until_segments_are_delivered() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut segments = open(folder.path(), ",size=1MiB,spool=4MiB");
    let mut admitted = 0;
    for _ in 0..10 {
        admitted += u64::from(put(&mut segments, 1 << 20, at(S)));
    }
    assert_eq!(admitted, 4);
    assert_eq!(segments.blocked(), Some(Cause::DiskFull));
    let dropped = segments.carried().dropped[Cause::DiskFull as usize];
    assert_eq!(dropped[KIND as usize], 6);
    let bytes = segments.look().expect("it is there");
    assert!((4 << 20..5 << 20).contains(&bytes), "{bytes}");
    for name in names(folder.path()) {
        assert!(
            name.ends_with(".rows"),
            "what waits can be delivered: {name}"
        );
        fs::remove_file(folder.path().join(".spool").join(name)).expect("removed");
    }
    assert!(!put(&mut segments, 9, at(S)), "looked at once a second");
    assert!(put(&mut segments, 9, at(2 * S + 1)));
    let recovery = segments.take_recovery().expect("the outage has ended");
    assert_eq!(recovery.lost[KIND as usize], 7);
    segments.finish(at(3 * S));
    let carried = segments.carried();
    assert_eq!(carried.written[KIND as usize], 5);
    assert_eq!(carried.pending, [0; KINDS]);
}

#[test]
fn times_of_a_capture_close_no_segment() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut segments = Segments::open(&spool(folder.path(), ",age=1s")).expect("it opens");
    for second in 0..5 {
        assert!(put(&mut segments, 10, at(second * 100 * S)));
        segments.flush(at(second * 100 * S));
    }
    assert_eq!(names(folder.path()), ["0000000001.open"]);
}

#[test]
fn options_are_read_and_what_is_out_of_range_is_named() {
    let read = |value: &str| {
        value
            .parse::<OutputSpec>()
            .map_err(|error| error.to_string())
    };
    let spec = read("parquet:s3://b/p,spool-dir=/s,size=8MiB,age=2m,spool=32MiB,sensor=x-1");
    let spec = spec.expect("good");
    assert_eq!(spec.target, Target::Path("/s".into()));
    assert_eq!(spec.name(), "parquet:s3://b/p");
    let spool = spec.spool.expect("it has one");
    assert_eq!((spool.segment_bytes, spool.age_ns), (8 << 20, 120 * S));
    assert_eq!((spool.bytes_max, spool.sensor_name()), (32 << 20, "x-1"));
    let default = read("parquet:/d").expect("good");
    assert_eq!(default.target, Target::Path("/d/.spool".into()));
    let mut named = default.spool.expect("it has one");
    named.set_default_sensor("höst/1");
    assert_eq!(named.sensor_name(), "h-st-1");
    named.set_default_sensor("other");
    assert_eq!(named.sensor_name(), "h-st-1", "a name that is given stays");
    for (value, says) in [
        ("parquet:-", "name a folder"),
        ("parquet:s3://", "names no bucket"),
        ("parquet:gs://b", "neither a folder nor s3://"),
        ("parquet:/d,sensor=a/b", "sensor: \"a/b\" is out of range"),
        ("parquet:/d,size=1KiB", "size: \"1KiB\" is out of range"),
        ("parquet:/d,age=1ms", "age: \"1ms\" is out of range"),
        ("parquet:/d,spool=100MiB", "less than four segments"),
        ("parquet:/d,spool-dir=/x", "unknown option"),
        ("parquet:/d,rotate=1h", "unknown option"),
    ] {
        let error = read(value).expect_err(value);
        assert!(error.contains(says), "{value}: {error}");
    }
}
