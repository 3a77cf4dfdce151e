//! What a terminal would obey is not printed: paths, names within captures, values of flags.

mod common;

use common::{syn, synledger};
use craft::{Flow, Link};
use std::path::Path;
use std::process::Command;

const RED: &str = "\u{1b}[31m";

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = body.len().next_multiple_of(4) - body.len();
    let len = u32::try_from(12 + body.len() + padding).expect("blocks are short");
    let head = [kind.to_le_bytes(), len.to_le_bytes()].concat();
    [&head[..], body, &vec![0; padding], &len.to_le_bytes()].concat()
}

fn option(code: u16, value: &str) -> Vec<u8> {
    let len = u16::try_from(value.len()).expect("values are short");
    let padding = value.len().next_multiple_of(4) - value.len();
    let head = [code.to_le_bytes(), len.to_le_bytes()].concat();
    [&head[..], value.as_bytes(), &vec![0; padding]].concat()
}

/// A SYN of an interface with a hostile name, in a section with a hostile comment.
fn capture() -> Vec<u8> {
    let flow = Flow::v4([192, 0, 2, 1], 1024, [198, 51, 100, 1], 443);
    let frame = Link::ethernet().frame(&syn(flow, 7));
    let len = u32::try_from(frame.len()).expect("short").to_le_bytes();
    let comment = option(1, &format!("{RED}comment\n"));
    let magic = 0x1a2b_3c4d_u32.to_le_bytes();
    let section = [&magic[..], &[1, 0, 0, 0], &[0xff; 8], &comment].concat();
    let name = option(2, &format!("eth{RED}\u{9b}0\r\n"));
    let interface = [&[1, 0, 0, 0, 0, 0, 0, 0], &name[..], &comment].concat();
    let head = [[0; 4], [0, 0, 6, 0], [0; 4], len, len].concat();
    [
        block(0x0a0d_0d0a, &section),
        block(1, &interface),
        block(6, &[head, frame].concat()),
    ]
    .concat()
}

/// Runs it and checks both streams.
fn assert_harmless(command: &mut Command, code: i32) -> String {
    let output = command.output().expect("it starts");
    let texts = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    for text in &texts {
        let obeyed = |letter: char| letter.is_control() && letter != '\n';
        assert!(!text.contains(obeyed), "{command:?}: {text:?}");
    }
    assert_eq!(output.status.code(), Some(code), "{command:?}: {texts:?}");
    texts.concat()
}

#[test]
fn names_in_a_capture_and_its_path_command_no_terminal() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    let hostile = path(&format!("a{RED}\n.pcapng"));
    std::fs::write(&hostile, capture()).expect("a file");
    for format in ["full", "short"] {
        let text = assert_harmless(
            synledger()
                .args(["read", "--text-format", format])
                .arg(&hostile),
            0,
        );
        assert!(text.contains("New connection: 192.0.2.1:1024"), "{text}");
    }
    let eve = ["--output", "eve:-,events=connection+flow+stats+lifecycle"];
    assert_harmless(synledger().arg("read").args(eve).arg(&hostile), 0);
    // Damaged, missing, a folder: each names the path, on one line.
    let cut = path(&format!("b{RED}\n.pcapng"));
    std::fs::write(&cut, &capture()[..150]).expect("a file");
    let folder = path(&format!("c{RED}"));
    std::fs::create_dir(&folder).expect("a folder");
    for (file, shown) in [
        (cut.as_path(), "b_[31m_.pcapng"),
        (&folder, "c_[31m"),
        (&path(&format!("d{RED}\n")), "d_[31m_"),
    ] {
        let text = assert_harmless(synledger().arg("read").arg(file), 1);
        assert!(text.contains(shown), "{text}");
    }
}

#[test]
fn values_of_flags_command_no_terminal() {
    let dir = tempfile::tempdir().expect("a folder");
    let hostile = format!("{}/x{RED}/y", dir.path().display());
    let capture_path = dir.path().join("good.pcapng");
    std::fs::write(&capture_path, capture()).expect("a file");
    let read = |args: &[&str]| {
        let mut command = synledger();
        command.arg("read").args(args).arg(&capture_path);
        command
    };
    for output in ["text", "eve", "zeek", "blocklist"] {
        let value = format!("{output}:{hostile}");
        assert_harmless(&mut read(&["--output", &value]), 1);
        let twice = ["--output", &value, "--output", &value];
        assert_harmless(&mut read(&twice), 2);
    }
    let unknown = format!("--{RED}");
    for (flag, value) in [
        ("--output", RED),
        ("--workers", RED),
        (&unknown, "1"),
        ("--local", RED),
        ("--text-format", RED),
    ] {
        assert_harmless(&mut read(&[flag, value]), 2);
    }
    let config = dir.path().join(format!("conf{RED}.toml"));
    std::fs::write(&config, format!("workers = \"{RED}\"\n{RED} = 1\n")).expect("a file");
    let mut run = synledger();
    run.args(["run", "--config"]).arg(&config);
    assert_harmless(&mut run, 2);
    let mut run = synledger();
    run.args(["run", "--config"]).arg(Path::new(&hostile));
    assert_harmless(&mut run, 2);
}
