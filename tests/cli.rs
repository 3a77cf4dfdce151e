//! Errors are one clear line: what failed, its value, what to do.

mod common;

use common::{NANOS, RUN, refused, syn, synledger};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
    let zip = write(dir.path(), "zip.pcap", b"PK\x03\x04 and so on");
    let packed = write(dir.path(), "text.gz", &gzip(b"hello"));
    let empty = write(dir.path(), "empty.pcap", b"");
    let missing = "/does/not/exist.pcap";
    refused(&["read", missing], 1, &[missing, "no such file"]);
    refused(&["read", &folder], 1, &[&folder, "directory"]);
    let types = "pcap and pcapng are read, plain or in gzip or zstd";
    let starts = "the first bytes are 68 65 6c 6c 6f";
    refused(&["read", &text], 1, &[&text, "known type", starts, types]);
    refused(&["read", &zip], 1, &[&zip, "zip: unpack it first", types]);
    let inside = "the first bytes inside the gzip data are 68 65 6c 6c 6f";
    refused(&["read", &packed], 1, &[&packed, inside, types]);
    refused(&["read", &empty], 1, &[&empty, "empty"]);
    refused(&["read", "/dev/null"], 1, &["/dev/null", "empty"]);
    let mut piped = synledger();
    piped.args(["read", "-"]).stdin(std::process::Stdio::null());
    common::fails(piped, 1, &["standard input", "empty"]);
    refused(&["read"], 2, &["required", "not provided"]);
}

/// Gzip of one stored block.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packer.write_all(bytes).expect("memory takes it");
    packer.finish().expect("memory takes it")
}

#[test]
fn a_file_without_permission_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let capture = craft::Capture::new("none", craft::LinkType::Ethernet);
    let good = write(dir.path(), "good.pcap", &capture.to_pcap(NANOS));
    let secret = write(dir.path(), "secret.pcap", &capture.to_pcap(NANOS));
    let log = write(dir.path(), "log", b"");
    for file in [&secret, &log] {
        let none = Permissions::from_mode(0o000);
        std::fs::set_permissions(file, none).expect("our own file");
    }
    let mut command = common::synledger_as_nobody(dir.path());
    command.args(["read", &secret]);
    common::fails(command, 1, &[&secret, "no permission to read it"]);
    let mut command = common::synledger_as_nobody(dir.path());
    command.args(["read", "--output", &format!("eve:{log}"), &good]);
    common::fails(command, 1, &["output", &log, "Permission denied"]);
}

#[test]
fn a_missing_capability_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = common::synledger_as_nobody(dir.path());
    command.args(RUN).args(["-i", "lo"]);
    let expected = [
        "socket(AF_PACKET)",
        "lo",
        "needs CAP_NET_RAW",
        "run as root",
    ];
    common::fails(command, 1, &expected);
}

#[test]
fn more_memory_than_available_is_refused_with_the_numbers() {
    let tables = ["run", "-i", "lo", "--memory-mib", "1048576"];
    refused(
        &tables,
        2,
        &[
            "--memory-mib",
            "MiB for the process",
            "available",
            "ask for less",
        ],
    );
    let reading = ["read", "--memory-mib", "1048576", "/dev/null"];
    let expected = ["--memory-mib 1048576 takes", "available", "ask for less"];
    refused(&reading, 2, &expected);
    let rings = ["run", "-i", "lo", "--ring-mib", "4096", "--workers", "64"];
    let asked = "262144 MiB of rings";
    // Some machines have 256 GiB.
    if available_gib() < 256 {
        refused(
            &rings,
            2,
            &["--ring-mib", asked, "available", "or for fewer --workers"],
        );
    } else {
        eprintln!("skipped: rings larger than memory: this machine has room for all of {asked}");
    }
}

fn available_gib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("a file");
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number")
        >> 20
}

#[test]
fn a_damaged_capture_is_read_up_to_the_damage() {
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
    refused(
        &["read", "--workers", "0", "x"],
        2,
        &["--workers", "from 1 to 64"],
    );
    refused(
        &["run", "--block-kib", "5"],
        2,
        &["--block-kib", "power of two"],
    );
    refused(
        &["run", "--cores", "99", "--dry-run"],
        2,
        &["--cores 99", "not one this process may use", "0"],
    );
    refused(&["run", "--fanout", "lb"], 2, &["splits connections"]);
    refused(
        &["read", "--output", "xml:-", "x"],
        2,
        &["xml", "text", "eve"],
    );
}

#[test]
fn an_output_that_cannot_be_opened_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let capture = craft::Capture::new("none", craft::LinkType::Ethernet);
    let file = write(dir.path(), "none.pcap", &capture.to_pcap(NANOS));
    refused(
        &["read", "--output", "text:/no/such/folder/log", &file],
        1,
        &["/no/such/folder/log", "No such file"],
    );
    let target = write(dir.path(), "target", b"");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(target, &link).expect("a link");
    let spec = format!("text:{}", link.display());
    let expected = [spec.strip_prefix("text:").expect("it has"), "symbolic link"];
    refused(&["read", "--output", &spec, &file], 1, &expected);
    let folder = format!("eve:{}", dir.path().display());
    let expected = ["a directory: name a file in it"];
    refused(&["read", "--output", &folder, &file], 1, &expected);
    // `run` reports it before it opens anything, so without privileges, too.
    let live = ["run", "-i", "lo", "--output", "text:/no/such/folder/log"];
    let missing = "its directory /no/such/folder is missing: create it";
    refused(&live, 1, &["/no/such/folder/log", missing]);
    // These directories exist and take no new file: the message is the system's error.
    for (target, answer) in [
        ("/proc/no-such-log", "No such file or directory"),
        ("/sys/no-such-log", "Permission denied"),
    ] {
        let (output, expected) = (
            format!("eve:{target}"),
            format!("open failed for output {target}: {answer}"),
        );
        refused(&["read", "--output", &output, &file], 1, &[&expected]);
        let dry_run = ["-i", "lo", "--dry-run", "--output", &output];
        let dry_run = synledger().args(RUN).args(dry_run).output();
        let dry_run = dry_run.expect("it starts");
        let error = String::from_utf8_lossy(&dry_run.stderr);
        assert_eq!(dry_run.status.code(), Some(1), "{error}");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn names_of_standard_output_and_error_are_the_open_streams() {
    let dir = tempfile::tempdir().expect("a folder");
    let capture = &craft::scenarios(3)[0];
    let file = write(dir.path(), "one.pcap", &capture.to_pcap(NANOS));
    let log = synledger().args(["read", "-q", &file]).output();
    let log = log.expect("the program starts").stdout;
    assert!(!log.is_empty());
    // Into a file that a shell has open: the log goes between the lines of others.
    let script = "echo before; \"$0\" read -q --output \"text:$1\" \"$2\"; echo after";
    let whole = [&b"before\n"[..], &log, b"after\n"].concat();
    for (name, redirection) in [
        ("-", ""),
        ("/dev/stdout", ""),
        ("/dev/fd/1", ""),
        ("/proc/self/fd/1", ""),
        ("/dev/stderr", "exec 2>&1; "),
        ("/dev/fd/2", "exec 2>&1; "),
    ] {
        let into = dir.path().join("log");
        let shell = |stdout: std::process::Stdio| {
            std::process::Command::new("sh")
                .args(["-c", &format!("{redirection}{script}")])
                .args([env!("CARGO_BIN_EXE_synledger"), name, &file])
                .stdout(stdout)
                .output()
                .expect("sh starts")
        };
        shell(std::fs::File::create(&into).expect("a file").into());
        let written = std::fs::read(&into).expect("it was written");
        assert_eq!(written, whole, "{name}");
        let piped = shell(std::process::Stdio::piped());
        assert_eq!(piped.stdout, whole, "{name}: {piped:?}");
    }
    let both = ["--output", "text:-", "--output", "eve:/dev/stdout"];
    let twice = [&["read"], &both[..], &[&file]].concat();
    refused(&twice, 2, &["standard output is named twice"]);
}

#[test]
fn a_reader_that_closes_standard_output_ends_the_program_with_0() {
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

#[test]
fn an_output_is_never_an_input_and_an_incomplete_log_fails() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut capture = craft::Capture::new("one", craft::LinkType::Ethernet);
    let flow = craft::Flow::v4([192, 0, 2, 1], 1000, [198, 51, 100, 1], 80);
    capture.push(1, craft::Link::ethernet().frame(&syn(flow, 7)));
    let bytes = capture.to_pcap(NANOS);
    let file = write(dir.path(), "one.pcap", &bytes);
    let other_name = dir.path().join("same.log").display().to_string();
    std::fs::hard_link(&file, &other_name).expect("a second name");
    let expected = ["is a capture to be read", "name another file"];
    refused(
        &["read", "--output", &format!("text:{other_name}"), &file],
        2,
        &expected,
    );
    assert_eq!(std::fs::read(&file).expect("it is there"), bytes);
    refused(
        &["read", "-q", "--output", "text:/dev/full", &file],
        1,
        &["1 of 1 records of text:/dev/full", "not whole"],
    );
}

fn help(args: &[&str]) -> String {
    let output = synledger().args(args).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{args:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Whether a line of a help begins with a flag.
fn is_flag(line: &str) -> bool {
    line.starts_with("  -") || line.starts_with("      --")
}

/// Headings of a help, each with the number of its flags.
fn headings(help: &str) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    for line in help.lines() {
        match line.strip_suffix(':') {
            Some(heading) if !line.starts_with(' ') => found.push((heading, 0)),
            _ if is_flag(line) => {
                found.last_mut().expect("below a heading").1 += 1;
            }
            _ => {}
        }
    }
    found
}

#[test]
fn the_short_help_has_a_line_for_each_flag_and_few_others() {
    for (subcommand, expected) in [
        (
            "run",
            &[
                "Capture",
                "Detection",
                "Blocking",
                "Output",
                "Resources",
                "Behaviour",
            ][..],
        ),
        (
            "read",
            &[
                "Arguments",
                "Capture",
                "Detection",
                "Output",
                "Resources",
                "Behaviour",
            ],
        ),
        ("check", &["Capture", "Resources", "Behaviour"]),
    ] {
        let short = help(&[subcommand, "-h"]);
        let long = help(&[subcommand, "--help"]);
        for line in short.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let found = headings(&short);
        let names: Vec<&str> = found.iter().map(|(heading, _)| *heading).collect();
        assert_eq!(names, expected, "{subcommand}");
        assert_eq!(headings(&long), found, "{subcommand}");
        // What it does, usage, the files of `read`, and for each heading its line and an empty one.
        let flags: usize = found.iter().map(|(_, flags)| flags).sum();
        let others = 4 + 2 * found.len();
        assert!(short.lines().count() <= flags + others, "{short}");
        // The description is in the flag's line, behind two spaces.
        let flags = short.lines().filter(|line| is_flag(line));
        for line in flags {
            let what = line
                .trim_start()
                .split_once("  ")
                .map(|(_, what)| what.trim());
            assert!(what.is_some_and(|what| what.len() > 5), "{line}");
        }
    }
}

#[test]
fn the_first_sentence_of_each_long_help_is_the_short_one() {
    for subcommand in ["run", "read", "check"] {
        let short = help(&[subcommand, "-h"]);
        let long = help(&[subcommand, "--help"]);
        let mut lines = long
            .lines()
            .skip_while(|line| !line.ends_with(':'))
            .peekable();
        let mut flags = 0;
        while let Some(line) = lines.next() {
            if !is_flag(line) || line.contains("--help") {
                continue;
            }
            let first = lines.next().expect("a description").trim();
            let sentence = first
                .strip_suffix('.')
                .unwrap_or_else(|| panic!("{line}: {first}"));
            assert!(short.contains(sentence), "{line}: {first}");
            let rest = lines.next().map(str::trim);
            assert_eq!(rest, Some(""), "{line}: a blank line follows");
            flags += 1;
        }
        assert!(flags > 8, "{subcommand}: {flags} flags");
    }
}
