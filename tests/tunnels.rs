//! `read --decap`: a capture in a tunnel has the log of the capture.

mod common;

use common::said::{self, read_once};
use common::{corpus, read_logs, syn, synledger};
use craft::{Capture, Flow, Ip, Link, LinkType, PcapFormat, Udp, checksum, scenarios};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What an Ethernet frame is wrapped in.
#[derive(Clone, Copy, Debug)]
enum Wrap {
    Vxlan,
    Geneve,
    Nvgre,
    /// IP in IP, over IPv4 or IPv6.
    Ip {
        v6: bool,
    },
    /// IP in GRE with a checksum, a key and a sequence number.
    Gre,
}

fn ends(v6: bool) -> Flow {
    match v6 {
        true => Flow::v6(
            [0x2001, 0xdb8, 9, 0, 0, 0, 0, 1],
            1,
            [0x2001, 0xdb8, 9, 0, 0, 0, 0, 2],
            2,
        ),
        false => Flow::v4([172, 31, 0, 1], 1, [172, 31, 0, 2], 2),
    }
}

fn outside(v6: bool, proto: u8, payload: &[u8]) -> Vec<u8> {
    let Flow { src, dst, .. } = ends(v6);
    Link::ethernet().frame(&Ip::new(src, dst, proto).bytes(payload))
}

fn datagram(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let flow = Flow {
        src_port: from,
        dst_port: to,
        ..ends(false)
    };
    outside(false, 17, &Udp::new(flow, payload).bytes())
}

/// `None`: the frame is no bare IP packet, which this tunnel needs.
fn wrap(frame: &[u8], how: Wrap, nth: usize) -> Option<Vec<u8>> {
    let from = 50_000 + u16::try_from(nth % 999).expect("small");
    let bare = || match frame.get(12..14)? {
        [0x08, 0x00] => Some((4, 0x0800_u16)),
        [0x86, 0xdd] => Some((41, 0x86dd)),
        _ => None,
    };
    Some(match how {
        Wrap::Vxlan => datagram(from, 4789, &[&[8, 0, 0, 0, 0, 0, 7, 0], frame].concat()),
        Wrap::Geneve => {
            let header = [1, 0x40, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 4];
            datagram(from, 6081, &[&header, frame].concat())
        }
        Wrap::Nvgre => outside(
            true,
            47,
            &[&[0x20, 0, 0x65, 0x58, 0, 0, 7, 1], frame].concat(),
        ),
        Wrap::Ip { v6 } => outside(v6, bare()?.0, &frame[14..]),
        Wrap::Gre => {
            let [high, low] = bare()?.1.to_be_bytes();
            let head = [0xb0, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
            let mut all = [&head, &frame[14..]].concat();
            let sum = checksum(&[&all]).to_be_bytes();
            all[4..6].copy_from_slice(&sum);
            outside(false, 47, &all)
        }
    })
}

/// The capture, and the same in tunnels; `None`: not all of its frames fit.
fn wrapped(capture: &Capture, how: Wrap) -> Option<Capture> {
    let mut all = capture.clone();
    for (nth, frame) in all.frames.iter_mut().enumerate() {
        let is_whole = frame.wire_len as usize == frame.bytes.len();
        frame.bytes = wrap(&frame.bytes, how, nth).filter(|_| is_whole)?;
        frame.wire_len = u32::try_from(frame.bytes.len()).expect("short");
    }
    Some(all)
}

fn written(dir: &Path, capture: &Capture) -> PathBuf {
    let path = dir.join("capture.pcapng");
    std::fs::write(&path, capture.to_pcapng()).expect("a file");
    path
}

/// Lines of connections and alerts, or all with flow records.
fn lines(log: &[u8], with_flows: bool) -> Vec<String> {
    let text = String::from_utf8_lossy(log);
    let all = text
        .lines()
        .filter(|line| with_flows || !line.contains("\"flow\""));
    let all = all.filter(|line| with_flows || !line.contains("low ended"));
    all.map(str::to_owned).collect()
}

/// What EVE says of a flow that came out of this tunnel.
fn told_of(how: Wrap) -> String {
    let word = match how {
        Wrap::Vxlan => "vxlan",
        Wrap::Geneve => "geneve",
        Wrap::Nvgre => "gre",
        Wrap::Ip { .. } | Wrap::Gre => unreachable!("their flows have other sizes"),
    };
    format!(",\"tunnel\":\"{word}\"")
}

#[test]
fn a_capture_in_a_tunnel_has_the_log_of_the_capture() {
    let hows = [
        Wrap::Vxlan,
        Wrap::Geneve,
        Wrap::Nvgre,
        Wrap::Ip { v6: false },
        Wrap::Ip { v6: true },
        Wrap::Gre,
    ];
    let dir = tempfile::tempdir().expect("a folder");
    let (mut compared, mut logged, mut flows) = ([0; 6], 0, 0);
    for (nth, capture) in scenarios(5).iter().enumerate() {
        let at = nth % hows.len();
        if !(nth / hows.len()).is_multiple_of(3) || capture.link != LinkType::Ethernet {
            continue;
        }
        let Some(inside) = wrapped(capture, hows[at]) else {
            continue;
        };
        let plain = read_logs(
            dir.path(),
            &["--workers", "1"],
            &[written(dir.path(), capture)],
        );
        let file = written(dir.path(), &inside);
        let opened = read_logs(
            dir.path(),
            &["--workers", "3", "--decap", "all"],
            std::slice::from_ref(&file),
        );
        // A packet without its Ethernet header has fewer bytes.
        let with_flows = at < 3;
        for (plain, opened) in [(&plain.0, &opened.0), (&plain.1, &opened.1)] {
            let (plain, mut opened) = (lines(plain, with_flows), lines(opened, with_flows));
            for line in &mut opened {
                let is_flow = line.contains("\"event_type\":\"flow\"");
                if !is_flow {
                    assert!(!line.contains("\"tunnel\""), "{line}");
                    continue;
                }
                let told = told_of(hows[at]);
                assert!(line.contains(&told), "{line}");
                flows += 1;
                *line = line.replace(&told, "");
            }
            if with_flows || !opened.iter().any(|line| line.starts_with('{')) {
                assert_eq!(opened, plain, "{} in {:?}", capture.name, hows[at]);
            }
            logged += plain.len();
        }
        compared[at] += 1;
        if compared[at] == 1 {
            let closed = read_logs(dir.path(), &["--workers", "1"], &[file]);
            assert!(lines(&closed.0, false).is_empty(), "{:?}", hows[at]);
        }
    }
    eprintln!("captures in each tunnel: {compared:?}, {logged} lines");
    assert!(compared.iter().all(|&count| count >= 5) && logged > 1000);
    assert!(flows > 100, "{flows} flows");
}

/// The counts of a counter that are not 0.
fn met(counts: &Value) -> Value {
    let all = counts.as_object().expect("counts by label");
    let met = all.iter().filter(|(_, count)| **count != 0);
    Value::Object(
        met.map(|(word, count)| (word.clone(), count.clone()))
            .collect(),
    )
}

/// Frames with tunnels that are opened, and one of each reason why not.
fn of_every_fate() -> Capture {
    let inner = syn(Flow::v4([192, 0, 2, 1], 1024, [198, 51, 100, 1], 443), 7);
    let bridged = Link::ethernet().frame(&inner);
    let arp = [&bridged[..12], &[8, 6], &[0; 28]].concat();
    let gre = |head: &[u8]| outside(false, 47, &[head, &inner].concat());
    let vxlan = |flags: u8, inner: &[u8]| {
        datagram(5, 4789, &[&[flags, 0, 0, 0, 0, 0, 7, 0], inner].concat())
    };
    let geneve = |first: u8, flags: u8| {
        datagram(
            5,
            6081,
            &[&[first, flags, 8, 0, 0, 0, 7, 0], &inner[..]].concat(),
        )
    };
    let nested = outside(
        false,
        47,
        &[&[0, 0, 8, 0], &outside(false, 47, &[0, 0, 8, 0])[14..]].concat(),
    );
    let frames = [
        vxlan(8, &bridged),
        vxlan(8, &arp),
        vxlan(0, &bridged),
        geneve(0, 0),
        geneve(0, 0x80),
        gre(&[0, 0, 8, 0]),
        gre(&[0x20, 1, 0x88, 0x0b, 0, 0, 0, 0]),
        gre(&[0x40, 0, 8, 0, 0, 0, 0, 0]),
        gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 0]),
        gre(&[0, 0, 0x88, 0x47]),
        gre(&[0, 0, 0x88, 0x3e]),
        nested,
        Link::ethernet()
            .frame(&Ip::new(ends(false).src, ends(false).dst, 4).fragment(&inner, 0, 24)),
    ];
    let mut capture = Capture::new("tunnels", LinkType::Ethernet);
    for (second, frame) in (0..).zip(&frames) {
        capture.push(said::START_NS + second * said::SECOND, frame.clone());
    }
    // Cut inside the tunnel's header.
    capture.push(said::START_NS + said::SECOND * 60, vxlan(8, &bridged));
    let last = capture.frames.last_mut().expect("just pushed");
    last.bytes.truncate(14 + 20 + 8 + 5);
    capture
}

#[test]
fn the_books_name_what_was_opened_and_what_was_not() {
    let capture = of_every_fate();
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("tunnels.pcap");
    std::fs::write(&file, capture.to_pcap(PcapFormat::NANOS)).expect("a file");
    let opened = read_once(&["--decap", "all"], std::slice::from_ref(&file));
    let books = &opened.last["books"];
    let expected = serde_json::json!({"gre": 2, "vxlan": 2, "geneve": 1});
    assert_eq!(met(&books["tunnels_opened"]), expected, "{books:#}");
    let expected = serde_json::json!({
        "truncated": 1, "fragment": 1, "bad_header": 1, "gre_version": 1, "gre_routing": 1, "erspan": 1, "mpls": 1,
        "control": 1, "other_payload": 1, "too_deep": 1,
    });
    assert_eq!(met(&books["tunnels_unopened"]), expected, "{books:#}");
    assert_eq!(met(&books["unread_frames"]), serde_json::json!({"arp": 1}));
    assert_eq!(
        met(&books["syn_outside_class"]),
        serde_json::json!({"tunnel": 3})
    );
    assert_eq!((opened.count("frames"), opened.count("packets")), (14, 13));
    assert_eq!(opened.count("decapsulated_frames"), 5);
    // One attempt: its SYN is the same in each tunnel.
    assert_eq!(
        (
            opened.count("new_connections"),
            opened.count("syn_retransmitted")
        ),
        (1, 2)
    );
    assert!(
        opened.stderr.contains("the books close"),
        "{}",
        opened.stderr
    );
    for line in [
        "tunnels of 5 frames opened: 2 gre, 2 vxlan, 1 geneve",
        "10 tunnels not opened: 1 truncated, 1 fragment, 1 bad_header",
    ] {
        assert!(opened.stderr.contains(line), "{}", opened.stderr);
    }
    let closed = read_once(&[], &[file]);
    assert_eq!(
        (closed.count("packets"), closed.count("new_connections")),
        (14, 0)
    );
    assert!(
        met(&closed.last["books"]["tunnels_opened"]) == serde_json::json!({})
            && !closed.stderr.contains("tunnel")
    );
}

#[test]
fn a_tunnel_that_is_none_is_refused_with_the_way_out() {
    for (args, why) in [
        (
            &["read", "--decap", "gtp", "-"][..],
            "must be all, gre, ipip, 4in6, 6in4, 6in6, vxlan or geneve",
        ),
        (
            &["read", "--decap", "ipip:4", "-"],
            "ipip has no port; vxlan and geneve have one",
        ),
        (
            &["run", "--decap", "vxlan:6081,geneve"],
            "--decap geneve:6081: vxlan has this port already",
        ),
        (
            &["run", "--decap", "all", "--fanout", "hash"],
            "leave --decap out, or use --fanout class",
        ),
    ] {
        let output = synledger().args(args).output().expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    }
}

/// Connections in tunnels of real captures, as many as tshark shows (`tools/oracle` compares all of them).
#[test]
fn real_tunnels_show_the_connections_that_tshark_shows() {
    let Some(folder) = corpus() else {
        return;
    };
    for (name, connections) in [
        ("OISF+suricata-verify/tests/vxlan-decoder-03/vxlan.pcap", 4),
        ("the-tcpdump-group+tcpdump/tests/geneve.pcap", 1),
        (
            "zeek+zeek/testing/btest/Traces/tunnels/vxlan-encapsulated-http.pcap",
            1,
        ),
    ] {
        let said = read_once(&["--decap", "all"], &[folder.join(name)]);
        assert_eq!(
            said.count("new_connections"),
            connections,
            "{name}: {}",
            said.stderr
        );
        let closed = read_once(&[], &[folder.join(name)]);
        assert_eq!(closed.count("new_connections"), 0, "{name}");
    }
}
