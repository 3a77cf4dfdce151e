//! What goes wrong is said in one clear sentence: the thing, the value, the way out.

mod common;

use common::{NANOS, syn, synledger};
use std::path::Path;

fn fails(args: &[&str], code: i32, says: &[&str]) {
    let output = synledger().args(args).output().expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    for part in says {
        assert!(
            error.contains(part),
            "{args:?} should say `{part}`: {error}"
        );
    }
    assert!(!error.contains("panicked"), "{args:?}: {error}");
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> String {
    let path = dir.join(name);
    std::fs::write(&path, bytes).expect("a file");
    path.display().to_string()
}

#[test]
fn captures_that_cannot_be_read_are_named_with_the_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().display().to_string();
    let text = write(dir.path(), "text.pcap", b"hello, this is no capture");
    let empty = write(dir.path(), "empty.pcap", b"");
    fails(
        &["read", "/does/not/exist.pcap"],
        1,
        &["/does/not/exist.pcap", "no such file"],
    );
    fails(&["read", &folder], 1, &[&folder, "directory"]);
    fails(&["read", &text], 1, &[&text, "pcap"]);
    fails(&["read", &empty], 1, &[&empty, "empty"]);
    fails(&["read"], 2, &["FILE"]);
}

#[test]
fn a_damaged_capture_is_read_as_far_as_it_goes() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut capture = craft::Capture::new("cut", craft::LinkType::Ethernet);
    for port in 1..=5 {
        let flow = craft::Flow::v4([192, 0, 2, 1], 1000, [198, 51, 100, 1], port);
        capture.push(
            i64::from(port),
            craft::Link::ethernet().frame(&syn(flow, 7)),
        );
    }
    let bytes = capture.to_pcap(NANOS);
    let cut = write(dir.path(), "cut.pcap", &bytes[..bytes.len() - 10]);
    let output = synledger()
        .args(["read", &cut])
        .output()
        .expect("the program starts");
    let (log, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(
        log.lines()
            .filter(|line| line.contains("New connection"))
            .count(),
        4,
        "{log}"
    );
    assert_eq!(
        log.lines()
            .filter(|line| line.contains("Port scan detected"))
            .count(),
        1,
        "{log}"
    );
    assert!(error.contains(&cut) && error.contains("byte"), "{error}");
}

#[test]
fn flags_out_of_range_are_named_with_their_range() {
    fails(
        &["read", "--workers", "0", "x"],
        2,
        &["--workers", "1..=64"],
    );
    fails(
        &["run", "--block-kib", "5"],
        2,
        &["--block-kib", "power of two"],
    );
    fails(
        &["run", "--cores", "99", "--dry-run"],
        2,
        &["--cores", "99"],
    );
    fails(&["run", "--fanout", "lb"], 2, &["tears connections apart"]);
    fails(
        &["read", "--output", "xml:-", "x"],
        2,
        &["xml", "text", "eve"],
    );
    fails(
        &["run", "-i", "no-such-nic0", "--dry-run"],
        1,
        &["no-such-nic0", "lo"],
    );
}

#[test]
fn an_output_that_cannot_be_opened_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let capture = craft::Capture::new("none", craft::LinkType::Ethernet);
    let file = write(dir.path(), "none.pcap", &capture.to_pcap(NANOS));
    fails(
        &["read", "--output", "text:/no/such/folder/log", &file],
        1,
        &["/no/such/folder/log", "No such file"],
    );
    let target = write(dir.path(), "target", b"");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(target, &link).expect("a link");
    let spec = format!("text:{}", link.display());
    fails(&["read", "--output", &spec, &file], 1, &["link"]);
}

#[test]
fn a_reader_that_goes_away_ends_the_program_cleanly() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut capture = craft::Capture::new("many", craft::LinkType::Ethernet);
    for i in 0..50_000_u32 {
        let [_, b, c, d] = i.to_be_bytes();
        let flow = craft::Flow::v4([10, b, c, d], 1024, [198, 51, 100, 7], 80);
        capture.push(i64::from(i), craft::Link::ethernet().frame(&syn(flow, i)));
    }
    let file = write(dir.path(), "many.pcap", &capture.to_pcap(NANOS));
    let script = format!(
        "'{}' read '{file}' | head -n 1; exit ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_synledger")
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .output()
        .expect("bash");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
}

#[test]
fn standard_input_is_read_like_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let capture = &craft::scenarios(3)[0];
    let file = write(dir.path(), "one.pcap", &capture.to_pcap(NANOS));
    let by_name = synledger()
        .args(["read", &file])
        .output()
        .expect("the program starts");
    let piped = synledger()
        .args(["read", "-"])
        .stdin(std::fs::File::open(&file).expect("the file"))
        .output()
        .expect("the program starts");
    assert!(!by_name.stdout.is_empty());
    assert_eq!(by_name.stdout, piped.stdout);
}
