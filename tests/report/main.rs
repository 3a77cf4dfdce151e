//! `read --report`: what it says of captures, where it goes, and the page in a browser.

#[path = "../common/mod.rs"]
mod common;

mod browser;

use common::said::{MS, SECOND, START_NS, conversation, read_once};
use common::{NANOS, corpus, corpus_files, fails, syn, synledger};
use craft::{ACK, Capture, Flow, Ip, Link, LinkType, RST, Tcp};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

/// One whole conversation of each address family; a source that scans six ports of a host, five of them closed and one silent; and
/// one that sends SYNs to port 23 of thirty silent hosts.
fn busy() -> Capture {
    let mut capture = Capture::new("busy", LinkType::Ethernet);
    for (v6, at) in [(false, 0), (true, 1)] {
        capture
            .frames
            .extend(conversation(v6, START_NS + at * SECOND).frames);
    }
    let mut push = |ts_ns: i64, packet: &[u8]| {
        capture.push(START_NS + ts_ns, Link::ethernet().frame(packet));
    };
    for port in 1..=6_u16 {
        let flow = Flow::v4([203, 0, 113, 5], 4000 + port, [198, 51, 100, 9], port);
        let at = 2 * SECOND + i64::from(port) * 10 * MS;
        push(at, &syn(flow, 7));
        if port < 6 {
            let back = flow.reversed();
            let refusal = Tcp::new(back, RST | ACK, 0).ack(8);
            push(
                at + MS,
                &Ip::new(back.src, back.dst, 6).bytes(&refusal.bytes()),
            );
        }
    }
    for host in 1..=30_u8 {
        let flow = Flow::v4([203, 0, 113, 6], 5000, [198, 51, 101, host], 23);
        push(3 * SECOND + i64::from(host) * 10 * MS, &syn(flow, 9));
    }
    // Long after, so that it is another attempt and silence is one.
    capture
        .frames
        .extend(conversation(false, START_NS + 200 * SECOND).frames);
    capture
}

fn write(dir: &Path, name: &str, capture: &Capture) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, capture.to_pcap(NANOS)).expect("a file");
    path
}

fn read(args: &[&OsStr]) -> Output {
    let output = synledger().arg("read").args(args).output();
    output.expect("the program starts")
}

/// Standard output of a `read` that must succeed.
fn printed(args: &[&str], file: &Path) -> String {
    let words = args.iter().map(OsStr::new).chain([file.as_os_str()]);
    let output = read(&words.collect::<Vec<_>>());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn line_words<'a>(text: &'a str, begins: &str) -> Vec<&'a str> {
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with(begins));
    let line = line.unwrap_or_else(|| panic!("no line begins with {begins}: {text}"));
    line.split_whitespace().collect()
}

#[test]
fn a_report_counts_what_was_crafted() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = write(dir.path(), "busy.pcap", &busy());
    let text = printed(&["--report"], &file);
    assert!(
        text.contains("Attempts: 39 new TCP connections\n"),
        "{text}"
    );
    for words in [
        &["established", "3", "7.69", "%"][..],
        &["refused", "5", "12.8", "%"],
        &["unanswered", "31", "79.5", "%"],
        &[
            "203.0.113.6",
            "30",
            "\u{2248}30",
            "1",
            "0",
            "0",
            "0",
            "30",
            "0",
        ],
        &["203.0.113.5", "6", "1", "6", "0", "0", "5", "1", "0"],
        &["192.0.2.7", "2", "1", "1", "2", "0", "0", "0", "0"],
        &["2001:db8::7", "1", "1", "1", "1", "0", "0", "0", "0"],
        &["Port", "scan", "1", "1,", "2,", "3,", "4,", "5,", "6"],
        &["Host", "sweep", "1", "23"],
        &["198.51.100.7:443", "2", "100", "%"],
    ] {
        let begins = if words[1] == "scan" || words[1] == "sweep" {
            format!("{} {}", words[0], words[1])
        } else {
            words[0].to_owned()
        };
        let found = line_words(&text, &begins);
        // HyperLogLog may be one off.
        let same = |(found, words): (&&str, &&str)| found == words || words.starts_with('\u{2248}');
        assert!(
            found.len() == words.len() && found.iter().zip(words).all(same),
            "{found:?}: {words:?}\n{text}"
        );
    }
    assert!(
        text.contains("\nSources with most attempts: 4 of 4\n"),
        "{text}"
    );
    assert!(
        text.contains("  203.0.113.5 -> 198.51.100.9 on ports 1-6; verdict: scan\n"),
        "{text}"
    );
    assert!(
        text.contains("  203.0.113.6 on port 23: 30 hosts; verdict: scan\n"),
        "{text}"
    );
    assert!(
        text.ends_with("Damaged or missed\n  Nothing was missed: every frame is accounted for.\n"),
        "{text}"
    );
}

/// A SYN that is repeated after its attempt has ended opens a flow again, with a record of its own: no new attempt.
#[test]
fn a_repeated_syn_is_one_attempt() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut capture = Capture::new("repeated", LinkType::Ethernet);
    let flow = Flow::v4([192, 0, 2, 1], 1000, [198, 51, 100, 1], 80);
    for second in [0, 1, 3, 7, 15, 31, 63, 90] {
        capture.push(
            START_NS + second * SECOND,
            Link::ethernet().frame(&syn(flow, 7)),
        );
    }
    let file = write(dir.path(), "repeated.pcap", &capture);
    let said = read_once(&[], std::slice::from_ref(&file));
    assert!(
        said.flows().len() > 1,
        "the records that must not be counted: {:?}",
        said.flows()
    );
    let text = printed(&["--report"], &file);
    assert!(text.contains("Attempts: 1 new TCP connection\n"), "{text}");
    assert_eq!(
        line_words(&text, "192.0.2.1")[1..],
        ["1", "1", "1", "0", "0", "0", "1", "0"]
    );
}

/// By every crafted scenario, and every real capture: the books count attempts by another way.
#[test]
fn attempts_are_those_of_the_books_and_bytes_do_not_depend_on_workers() {
    let dir = tempfile::tempdir().expect("a folder");
    let crafted = craft::scenarios(3);
    let mut files: Vec<PathBuf> = (0..)
        .zip(&crafted)
        .map(|(number, capture)| write(dir.path(), &format!("{number}.pcap"), capture))
        .collect();
    files.push(write(dir.path(), "busy.pcap", &busy()));
    if let Some(folder) = corpus() {
        // Each takes three runs.
        files.extend(corpus_files(&folder).into_iter().step_by(60));
    }
    let (page, log) = (dir.path().join("page.html"), dir.path().join("log"));
    let mut attempts = 0;
    for file in &files {
        let mut first = None;
        for workers in ["1", "2", "8"] {
            // Each of eight has an eighth of the tables, and what a small one evicts depends on random keys.
            let output = synledger()
                .args(["read", "--memory-mib", "1024"])
                .args(["--workers", workers, "--report", "--report"])
                .arg(format!("html:{}", page.display()))
                .arg(format!("--output=eve:{},events=stats", log.display()))
                .arg(file)
                .output()
                .expect("the program starts");
            let both = (output.stdout, fs::read(&page).unwrap_or_default());
            let (text, page) = first.get_or_insert_with(|| both.clone());
            assert!(
                *text == both.0 && *page == both.1,
                "{}: {workers} workers",
                file.display()
            );
        }
        let (text, _) = first.expect("three runs");
        let text = String::from_utf8(text).expect("UTF-8");
        let _ = fs::remove_file(&page);
        // Without a frame a damaged capture has no report.
        if !text.is_empty() {
            let last = fs::read_to_string(&log).expect("a log");
            attempts += assert_same_attempts(file, &text, last.lines().last().expect("books"));
        }
        let _ = fs::remove_file(&log);
    }
    eprintln!("report: {} captures, {attempts} attempts", files.len());
    assert!(attempts > 1000, "{attempts}");
}

/// Compares a report with the last books; returns its attempts.
fn assert_same_attempts(file: &Path, text: &str, books: &str) -> u64 {
    let books: serde_json::Value = serde_json::from_str(books).expect("JSON");
    let count = |name: &str| books["synledger"]["books"][name].as_u64().unwrap_or(0);
    let said = line_words(text, "Attempts:")[1]
        .parse::<u64>()
        .expect("a number");
    let merged = count("flows_merged");
    assert_eq!(
        said,
        count("new_connections") - merged,
        "{}: {text}",
        file.display()
    );
    said
}

#[test]
fn a_report_takes_the_place_of_the_log_unless_one_is_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = write(dir.path(), "busy.pcap", &busy());
    let alone = printed(&["--report"], &file);
    assert!(
        alone.starts_with("synledger ") && !alone.contains("New connection"),
        "{alone}"
    );
    let log = printed(&["--output", "text:-"], &file);
    let both = printed(&["--output", "text:-", "--report"], &file);
    assert_eq!(both, log.clone() + &alone);
    let path = dir.path().join("log");
    let elsewhere = format!("--output=text:{},events=connection", path.display());
    assert_eq!(printed(&[&elsewhere, "--report"], &file), alone);
    let lines = fs::read_to_string(&path).expect("a log");
    assert_eq!(lines.matches("New connection").count(), 39);
    // Both ways to write its value.
    let page = dir.path().join("page.html");
    let value = format!("html:{}", page.display());
    assert_eq!(printed(&["--report", &value], &file), "");
    let first = fs::read(&page).expect("a page");
    fs::remove_file(&page).expect("removed");
    assert_eq!(
        printed(&[&format!("--report={value}"), "--report"], &file),
        alone
    );
    assert_eq!(fs::read(&page).expect("a page"), first);
    // A configuration file may ask for both.
    let config = dir.path().join("c.toml");
    fs::write(&config, format!("report = [\"text\", {value:?}]\n")).expect("a file");
    fs::remove_file(&page).expect("removed");
    let named = format!("--config={}", config.display());
    assert_eq!(printed(&[&named], &file), alone);
    assert_eq!(fs::read(&page).expect("a page"), first);
}

#[test]
fn what_cannot_be_written_is_named_and_left_as_it_was() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = write(dir.path(), "busy.pcap", &busy());
    let shown = |path: &Path| path.display().to_string();
    let refused = |args: &[&str], code: i32, parts: &[&str]| {
        let mut command = synledger();
        command.arg("read").args(args).arg(&file);
        fails(command, code, parts);
    };
    let here = shown(dir.path());
    refused(
        &["--report", &format!("html:{here}")],
        1,
        &[&here, "a directory: name a file in it"],
    );
    let missing = format!("{here}/missing/page.html");
    refused(
        &["--report", &format!("html:{missing}")],
        1,
        &[&missing, "is missing: create it"],
    );
    let capture = shown(&file);
    let bytes = fs::read(&file).expect("a file");
    refused(
        &["--report", &format!("html:{capture}")],
        2,
        &[&capture, "is a capture to be read"],
    );
    assert_eq!(fs::read(&file).expect("a file"), bytes);
    refused(
        &["--report=pdf:x"],
        2,
        &["--report", "must be text or html:FILE"],
    );
    refused(
        &["--report", "--output", "eve:-"],
        2,
        &["--report", "--output eve:-", "name a file"],
    );
    let page = format!("{here}/page.html");
    let twice = [
        &*format!("--report=html:{page}"),
        &*format!("--output=text:{page}"),
    ];
    refused(&twice, 2, &[&page, "name another"]);
    refused(
        &["--report", "--memory-mib", "16"],
        2,
        &["--memory-mib 16", "with --report", "need at least"],
    );
    refused(
        &["--report=html:/dev/full"],
        1,
        &["/dev/full", "no regular file"],
    );
    let names: Vec<_> = fs::read_dir(dir.path()).expect("a folder").collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn damage_is_in_the_report_and_in_the_exit_code() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut bytes = busy().to_pcap(NANOS);
    bytes.truncate(bytes.len() - 10);
    let file = dir.path().join("cut.pcap");
    fs::write(&file, bytes).expect("a file");
    let page = dir.path().join("page.html");
    let value = format!("--report=html:{}", page.display());
    let output = read(&[OsStr::new("--report"), value.as_ref(), file.as_os_str()]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    let page = fs::read_to_string(&page).expect("a page");
    for report in [&*text, &*page] {
        assert!(
            report.contains("cut.pcap") && report.contains("cut short")
                || report.contains("ends within"),
            "{text}"
        );
        assert!(report.contains("with what was missed"), "{text}");
    }
    assert!(page.contains("class=\"missed some\""));
}

/// Names that would be markup, end a script, or command a terminal.
#[test]
fn a_hostile_name_is_only_text() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("a<");
    fs::create_dir(&folder).expect("a folder");
    let name = "script><img src=x onerror=alert(1)>\u{1b}[31m&amp;\"'.pcap";
    let file = write(&folder, name, &busy());
    let page = dir.path().join("page.html");
    let value = format!("--report=html:{}", page.display());
    let text = printed(&["--report", &value], &file);
    assert!(
        !text.contains('\u{1b}') && text.contains("onerror=alert(1)>_[31m"),
        "{text}"
    );
    let page = fs::read_to_string(&page).expect("a page");
    assert!(page.contains(
        "a&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;_[31m&amp;amp;&quot;&#39;.pcap</h1>"
    ));
    assert!(!page.contains("<img"));
}
