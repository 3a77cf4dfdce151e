//! tshark decodes every message.

use crate::common::synledger;
use crate::{captures, program};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

/// A capture of UDP datagrams with these payloads, so that tshark needs no privilege.
fn capture_of(messages: &[Vec<u8>], port: u16) -> Vec<u8> {
    let mut capture = craft::Capture::new("messages", craft::LinkType::Ethernet);
    for (at, message) in messages.iter().enumerate() {
        let flow = craft::Flow::v4([192, 0, 2, 1], 40_000, [192, 0, 2, 2], port);
        let udp = craft::Udp::new(flow, message).bytes();
        let packet = craft::Ip::new(flow.src, flow.dst, 17).bytes(&udp);
        let at = i64::try_from(at).expect("few");
        capture.push(at * 1000, craft::Link::ethernet().frame(&packet));
    }
    capture.to_pcap(craft::PcapFormat::NANOS)
}

/// Messages of a capture that is read with this output to a UDP socket of ours.
fn exported(capture: &Path, format: &str) -> Vec<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("bound").port();
    let timeout = Some(Duration::from_millis(500));
    socket.set_read_timeout(timeout).expect("a time-out");
    let mut child = synledger()
        .args([
            "read",
            "-q",
            "--output",
            &format!("{format}:udp://127.0.0.1:{port}"),
        ])
        .arg(capture)
        .spawn()
        .expect("the program starts");
    let (mut messages, mut bytes) = (Vec::new(), vec![0; 65_536]);
    loop {
        match socket.recv(&mut bytes) {
            Ok(len) => messages.push(bytes[..len].to_vec()),
            Err(_) if child.try_wait().expect("a child").is_some() => return messages,
            Err(_) => {}
        }
    }
}

#[test]
fn tshark_decodes_every_message() {
    let Some(tshark) = program("tshark", "tshark") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let (mut count, files) = (0, captures(dir.path()));
    for capture in &files {
        for (format, port) in [("ipfix", 4739), ("netflow9", 2055)] {
            let messages = exported(capture, format);
            count += messages.len();
            let file = dir.path().join("messages.pcap");
            std::fs::write(&file, capture_of(&messages, port)).expect("a file");
            let decode = format!("udp.port=={port},cflow");
            let output = tshark
                .command()
                .args(["-n", "-r"])
                .arg(&file)
                .args(["-d", &decode, "-T", "fields"])
                .args([
                    "-e",
                    "cflow.version",
                    "-e",
                    "_ws.malformed",
                    "-e",
                    "_ws.expert.message",
                ])
                .args([
                    "-e",
                    "cflow.template_frame",
                    "-e",
                    "cflow.len",
                    "-e",
                    "_ws.col.Info",
                ])
                .output()
                .expect("tshark starts");
            let text = String::from_utf8_lossy(&output.stdout);
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(text.lines().count(), messages.len(), "{error}");
            for line in text.lines() {
                let fields: Vec<&str> = line.split('\t').collect();
                let version = if format == "ipfix" { "10" } else { "9" };
                assert_eq!(fields[0], version, "{}: {line}", capture.display());
                assert_eq!(fields[1], "", "{}: {line}", capture.display());
                assert!(!line.contains("no template"), "{line}");
            }
        }
    }
    eprintln!(
        "tshark decodes {count} messages of {} captures",
        files.len()
    );
}

/// Messages of IPFIX in a stream.
fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some(head) = bytes.first_chunk::<4>() {
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        messages.push(bytes[..len].to_vec());
        bytes = &bytes[len..];
    }
    assert!(bytes.is_empty(), "whole messages");
    messages
}

#[test]
fn over_tcp_every_record_comes_with_the_numbers_before_it() {
    use std::io::Read as _;
    let dir = tempfile::tempdir().expect("a folder");
    for capture in captures(dir.path()) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let eve = dir.path().join("eve.json");
        let _ = std::fs::remove_file(&eve);
        let mut child = synledger()
            .args([
                "read",
                "-q",
                "--active-timeout",
                "60",
                "--output",
                &format!("ipfix:tcp://{address},events=flow"),
            ])
            .args(["--output", &format!("eve:{},events=flow", eve.display())])
            .arg(&capture)
            .spawn()
            .expect("the program starts");
        let mut all = Vec::new();
        listener
            .accept()
            .expect("a connection")
            .0
            .read_to_end(&mut all)
            .expect("the end");
        assert!(
            child
                .wait()
                .expect("it ends")
                .code()
                .is_some_and(|code| code <= 1)
        );
        let mut parser = netflow_parser::NetflowParser::default();
        let (mut records, mut next) = (0, None);
        for message in split(&all) {
            let parsed = parser.parse_bytes(&message);
            assert!(parsed.error.is_none(), "{:?}", parsed.error);
            for packet in parsed.packets {
                let netflow_parser::NetflowPacket::IPFix(packet) = packet else {
                    panic!("not IPFIX: {packet:?}");
                };
                let sequence = packet.header.sequence_number;
                assert_eq!(sequence, *next.get_or_insert(sequence), "no gap");
                let of = |set: &netflow_parser::variable_versions::ipfix::FlowSet| match &set.body {
                    netflow_parser::variable_versions::ipfix::FlowSetBody::Data(data) => {
                        (data.fields.len(), 0)
                    }
                    netflow_parser::variable_versions::ipfix::FlowSetBody::OptionsData(data) => {
                        (0, data.fields.len())
                    }
                    _ => (0, 0),
                };
                for (data, options) in packet.flowsets.iter().map(of) {
                    records += data;
                    next = next.map(|next| next + u32::try_from(data + options).expect("few"));
                }
            }
        }
        let lines = std::fs::read_to_string(&eve).expect("EVE").lines().count();
        assert_eq!(records, lines, "{}", capture.display());
    }
}
