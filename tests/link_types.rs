//! `read` of captures with rare link types and tags: what is read, and what is said where nothing can be.

mod common;

use common::{syn, synledger};
use craft::{Flow, Link};
use std::path::{Path, PathBuf};
use std::process::Output;

/// A pcap file of this link type.
fn pcap(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, link] {
        bytes.extend(word.to_le_bytes());
    }
    for (second, frame) in (1_700_000_000_u32..).zip(frames) {
        let len = u32::try_from(frame.len()).expect("frames are short");
        for word in [second, 0, len, len] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    bytes
}

/// A pcapng file with one frame of each of these link types.
fn pcapng(frames: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let padding = body.len().next_multiple_of(4) - body.len();
        let len = u32::try_from(12 + body.len() + padding).expect("blocks are short");
        let words = [kind.to_le_bytes(), len.to_le_bytes()].concat();
        [&words[..], body, &vec![0; padding], &len.to_le_bytes()].concat()
    };
    let magic = 0x1a2b_3c4d_u32.to_le_bytes();
    let mut bytes = block(
        0x0a0d_0d0a,
        &[&magic[..], &[1, 0, 0, 0], &[0xff; 8]].concat(),
    );
    for (link, _) in frames {
        let link = u32::from(*link).to_le_bytes();
        bytes.extend(block(1, &[link, [0; 4]].concat()));
    }
    for (interface, (_, frame)) in (0_u32..).zip(frames) {
        let len = u32::try_from(frame.len()).expect("frames are short");
        let head: Vec<u8> = [interface, 0x0005_f5e1, 0, len, len]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        bytes.extend(block(6, &[&head, &frame[..]].concat()));
    }
    bytes
}

fn read(args: &[&str], file: &Path) -> Output {
    let mut command = synledger();
    command.arg("read").args(args).arg(file);
    command.output().expect("the program starts")
}

fn write(dir: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).expect("a file");
    path
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn four() -> Vec<u8> {
    syn(Flow::v4([192, 0, 2, 1], 1024, [198, 51, 100, 1], 443), 7)
}

fn six() -> Vec<u8> {
    let host = |last| [0x2001, 0xdb8, 0, 0, 0, 0, 0, last];
    syn(Flow::v6(host(1), 1024, host(2), 443), 7)
}

fn behind(head: &[u8], packet: &[u8]) -> Vec<u8> {
    [head, packet].concat()
}

/// A packet that netfilter logged.
fn nflog(family: u8, packet: &[u8]) -> Vec<u8> {
    let len = u16::try_from(packet.len() + 4).expect("packets are short");
    let [low, high] = len.to_le_bytes();
    let head = [family, 0, 0, 5, 5, 0, 10, 0, 0, 0, 0, 0, low, high, 9, 0];
    behind(&head, packet)
}

#[test]
fn serial_lines_and_netfilters_log_are_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let session: [u8; 8] = [0x11, 0, 0, 9, 0, 0, 0, 0x21];
    let pppoe = |packet: &[u8]| {
        let mut head = session;
        head[5] = u8::try_from(packet.len() + 2).expect("packets are short");
        behind(&head, packet)
    };
    let cases = [
        (
            9,
            [
                behind(&[0xff, 3, 0, 0x21], &four()),
                behind(&[0, 0x57], &six()),
            ],
        ),
        (
            50,
            [
                behind(&[0xff, 3, 0, 0x21], &four()),
                behind(&[0x0f, 0, 0x86, 0xdd], &six()),
            ],
        ),
        (
            51,
            [
                pppoe(&four()),
                behind(&[0x11, 0, 0, 9, 0, 62, 0, 0x57], &six()),
            ],
        ),
        (
            104,
            [
                behind(&[0x0f, 0, 8, 0], &four()),
                behind(&[0x8f, 0, 0x86, 0xdd], &six()),
            ],
        ),
        (
            166,
            [
                behind(&[0, 3, 0, 0x21], &four()),
                behind(&[1, 3, 0, 0x57], &six()),
            ],
        ),
        (
            204,
            [
                behind(&[0, 0xff, 3, 0, 0x21], &four()),
                behind(&[1, 0, 0x57], &six()),
            ],
        ),
        (239, [nflog(2, &four()), nflog(10, &six())]),
        // What netfilter's queue gives: no header at all.
        (228, [four(), four()]),
        (229, [six(), six()]),
    ];
    for (link, frames) in cases {
        let file = write(&dir, &format!("{link}.pcap"), &pcap(link, &frames));
        let output = read(&["--strict"], &file);
        let says = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{link}: {says}");
        assert!(says.contains("\n2 SYNs: "), "{link}: {says}");
        assert!(says.contains("nothing was missed"), "{link}: {says}");
    }
}

#[test]
fn a_link_type_that_is_not_read_is_named_missed_and_a_failure() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = write(&dir, "wlan.pcap", &pcap(105, &[four(), six()]));
    for args in [&[][..], &["--strict"], &["--quiet"]] {
        let output = read(args, &file);
        let says = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {says}");
        let why = "wlan.pcap: none of its frames (2) could be read: link type 105 (IEEE802_11) is not read\n";
        assert!(says.ends_with(why), "{args:?}: {says}");
    }
    let both = pcapng(&[(1, Link::ethernet().frame(&four())), (4_000, four())]);
    let file = write(&dir, "both.pcapng", &both);
    for (args, code) in [(&[][..], 0), (&["--strict"], 3)] {
        let output = read(args, &file);
        let says = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{says}");
        let why = "both.pcapng: link type 4000 (no name in the list of the tcpdump group) is not read: 1 of 2 \
                   frames are counted as missed\n";
        assert!(says.contains(why), "{says}");
        assert!(
            says.contains("1 of 2 frames (50 %) was of a link type that is not read"),
            "{says}"
        );
        assert!(says.contains("\n1 SYN: 1 new connection, "), "{says}");
    }
}
