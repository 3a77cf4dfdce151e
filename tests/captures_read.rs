//! The reader finds as many packets in real captures as an independent reader.

mod common;

use std::fs;
use std::path::Path;
use std::time::Instant;

use synledger::capture::pcap::CaptureReader;

/// Files whose second section has pcapng version 2.0. The independent reader ignores the version and
/// reads three frames; ours stops there with an error, as Wireshark does.
const OTHER_VERSION: [&str; 2] = [
    "google+gopacket/pcapgo/tests/be/test901.pcapng",
    "google+gopacket/pcapgo/tests/le/test901.pcapng",
];

/// Number of frames of a file, and the error that ended reading.
fn count(path: &Path) -> (u64, Option<String>) {
    let mut reader = match CaptureReader::open(path) {
        Ok(reader) => reader,
        Err(why) => return (0, Some(why.to_string())),
    };
    let mut frames = 0;
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => {
                assert!(frame.bytes.len() as u64 <= u64::from(frame.wire_len));
                assert!(usize::from(frame.interface) < reader.interfaces().len());
                frames += 1;
            }
            Ok(None) => return (frames, None),
            Err(why) => return (frames, Some(why.to_string())),
        }
    }
}

#[test]
fn real_captures_have_the_packets_that_an_independent_reader_found() {
    let Some(folder) = common::corpus() else {
        return;
    };
    let truth = fs::read_to_string(folder.join("truth.csv")).expect("truth.csv is readable");
    let mut lines = truth.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let column = |name| header.iter().position(|&is| is == name).expect("a column");
    let (path, packets, broken) = (column("path"), column("packets"), column("read_error"));
    let started = Instant::now();
    let (mut files, mut total, mut wrong) = (0, 0, Vec::new());
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let (found, error) = count(&folder.join(fields[path]));
        let (expected, sound) = match OTHER_VERSION.contains(&fields[path]) {
            true => (1, false),
            false => {
                let packets: u64 = fields[packets].parse().expect("a number");
                (packets, fields[broken].is_empty())
            }
        };
        files += 1;
        total += found;
        if found != expected || error.is_some() == sound {
            wrong.push(format!(
                "{}: {found}, not {expected}: {error:?}",
                fields[path]
            ));
        } else if let Some(error) = error {
            eprintln!("{error}");
        }
    }
    eprintln!("{files} files, {total} frames, {:?}", started.elapsed());
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}
