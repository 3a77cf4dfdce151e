//! curl against a web server on the watched host: jumbo frames, GRO, bulk in both directions, exact counts.

use super::peer::Peer;
use super::programs::{installed, text_of};
use super::sensor::{Ended, Sensor, of_type};
use crate::common::netns::{SENDER, SENSOR, ip, with_veth};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread::{self, JoinHandle};

const BULK_DOWN: u64 = 4_000_000;
const BULK_UP: usize = 3_000_000;
/// Arguments of curl, a line a run: each run is one connection.
const RUNS: [&str; 6] = [
    "URL/100",
    "URL/0",
    "URL/70000",
    "URL/10 URL/20 URL/30",
    "URL/4000000",
    "-H Expect: --data-binary @UPLOAD URL/7",
];

/// TCP payload of one connection, as its server counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Payload {
    received: u64,
    sent: u64,
}

type Served = BTreeMap<SocketAddr, Payload>;

/// Serves connections one after the other: `GET /N` gets N bytes; connections are kept alive.
fn serve(listener: TcpListener, connections: usize) -> JoinHandle<Served> {
    thread::spawn(move || {
        let accepted = (0..connections).map(|_| listener.accept().expect("a client"));
        accepted
            .map(|(stream, client)| (client, answer_all(&stream)))
            .collect()
    })
}

fn answer_all(stream: &TcpStream) -> Payload {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    let mut payload = Payload::default();
    while let Some((head, size)) = request(&mut reader) {
        payload.received += head;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
        writer.write_all(answer.as_bytes()).expect("a head is sent");
        writer.write_all(&vec![b'x'; size]).expect("a body is sent");
        payload.sent += (answer.len() + size) as u64;
    }
    payload
}

/// Reads one request with its body; returns its bytes, and the number of bytes that it asks for.
fn request(reader: &mut impl BufRead) -> Option<(u64, usize)> {
    let (mut bytes, mut body, mut asked) = (0, 0, None);
    loop {
        let mut line = String::new();
        bytes += reader.read_line(&mut line).expect("a line") as u64;
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            [_, path, "HTTP/1.1"] => asked = path[1..].parse().ok(),
            ["Content-Length:", length] => body = length.parse().expect("a length"),
            [] => break,
            _ => {}
        }
    }
    let read = std::io::copy(&mut reader.take(body), &mut std::io::sink());
    assert_eq!(read.expect("a body"), body);
    asked.map(|asked| (bytes + body, asked))
}

fn curl(words: &str, url: &str, upload: &str) {
    let words = words.replace("URL", url).replace("UPLOAD", upload);
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-g", "--max-time", "20", "--noproxy", "*"]);
    let mut words = words.split(' ');
    while let Some(word) = words.next() {
        match word {
            // `-H Expect:` removes the header: curl then does not wait for "100 Continue".
            "-H" | "--data-binary" => curl.args([word, words.next().expect("a value")]),
            url => curl.args([url, "-o", "/dev/null"]),
        };
    }
    let output = curl.output().expect("curl starts");
    assert!(output.status.success(), "{curl:?}: {}", text_of(&output));
}

/// Segments that this thread's namespace retransmitted.
pub fn retransmitted() -> u64 {
    let snmp = std::fs::read_to_string("/proc/thread-self/net/snmp").expect("a file");
    let tcp: Vec<Vec<&str>> = snmp
        .lines()
        .filter_map(|line| line.strip_prefix("Tcp: "))
        .map(|line| line.split(' ').collect())
        .collect();
    let at = tcp[0].iter().position(|&name| name == "RetransSegs");
    tcp[1][at.expect("a column")].parse().expect("a number")
}

/// The client segments in software (TSO off); the server keeps TSO; both merge by GRO.
fn set_offloads() {
    for words in [
        ["-K", SENDER, "tso", "off", "gro", "on"],
        ["-K", SENSOR, "tso", "on", "gro", "on"],
    ] {
        let output = Command::new("ethtool").args(words).output();
        let output = output.expect("ethtool starts");
        assert!(output.status.success(), "{}", text_of(&output));
    }
}

/// TCP records by client. Hosts with IPv6 send frames by themselves: those are no TCP.
fn by_client<'a>(ended: &'a Ended, kind: &'a str) -> BTreeMap<SocketAddr, &'a Value> {
    let tcp = of_type(&ended.eve, kind).filter(|record| record["proto"] == "TCP");
    let client = |record: &Value| {
        let address = record["src_ip"].as_str().expect("an address");
        let port = record["src_port"].as_u64().expect("a port");
        let address = address.parse().expect("an address");
        SocketAddr::new(address, u16::try_from(port).expect("a port"))
    };
    let records: Vec<_> = tcp.map(|record| (client(record), record)).collect();
    let count = records.len();
    let map: BTreeMap<_, _> = records.into_iter().collect();
    assert_eq!(map.len(), count, "one {kind} a connection: {:?}", ended.eve);
    map
}

/// Each connection once, from SYN to FIN, with its payload to the byte.
fn assert_counts(ended: &Ended, served: &Served, resent: u64, family: &str) {
    let opened = by_client(ended, "new_connection");
    assert!(opened.keys().eq(served.keys()), "{opened:?} {served:?}");
    let incoming = |record: &&Value| record["synledger"]["direction"] == "in";
    assert!(opened.values().all(incoming));
    let flows = by_client(ended, "flow");
    assert!(flows.keys().eq(served.keys()), "{flows:?} {served:?}");
    let mut merged = 0;
    for (client, payload) in served {
        let flow = flows[client];
        let ours = &flow["synledger"];
        let expected = [&ours["basis"], &ours["conn_state"], &ours["direction"]];
        assert_eq!(expected, ["handshake", "SF", "in"], "{flow}");
        // Most flows end with the run, which stops within 5 s of their FINs; the others have timed out.
        assert!(
            ["eof", "fin"].iter().any(|end| ours["end_reason"] == *end),
            "{flow}"
        );
        assert_eq!(flow["in_iface"], SENSOR, "{flow}");
        let bytes = |name: &str| ours[name].as_u64().expect("a number");
        let seen = Payload {
            received: bytes("payload_bytes_toserver"),
            sent: bytes("payload_bytes_toclient"),
        };
        if resent == 0 {
            assert_eq!(seen, *payload, "{flow}");
        } else {
            assert!(seen.received >= payload.received && seen.sent >= payload.sent);
        }
        // A payload of one frame has nothing to merge.
        let small = payload.received.max(payload.sent) < 8000;
        let bulk = payload.received.max(payload.sent) > 1_000_000;
        let gso = ours["gso"] == true;
        assert!((!small || !gso) && (!bulk || gso), "{flow}");
        merged += u32::from(gso);
    }
    assert_eq!(
        ended.number("answered, ", " established"),
        served.len() as u64
    );
    eprintln!(
        "curl over {family}: {} connections, {} bytes up, {} down, {merged} with merged frames, \
         {} frames offered, {resent} segments retransmitted",
        served.len(),
        served.values().map(|payload| payload.received).sum::<u64>(),
        served.values().map(|payload| payload.sent).sum::<u64>(),
        ended.offered()
    );
}

/// One sensor, one server, every run of curl; returns the number of retransmitted segments.
fn round(peer: &Peer, host: &str, family: &str) -> u64 {
    let address = SocketAddr::new(host.parse().expect("an address"), 0);
    let listener = TcpListener::bind(address).expect("a listener");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let dir = tempfile::tempdir().expect("a folder");
    let upload = dir.path().join("upload");
    std::fs::write(&upload, vec![b'y'; BULK_UP]).expect("a file");
    let sensor = Sensor::start(&["--workers", "2"]);
    let before = retransmitted();
    let server = serve(listener, RUNS.len());
    let by_clients = peer.run(move || {
        let before = retransmitted();
        for words in RUNS {
            curl(words, &url, &upload.display().to_string());
        }
        retransmitted() - before
    });
    let served = server.join().expect("the server does not panic");
    let resent = by_clients + retransmitted() - before;
    let ended = sensor.stop(Signal::SIGINT);
    ended.assert_exact();
    let most = |of: fn(&Payload) -> u64| served.values().map(of).max();
    assert!(most(|payload| payload.sent) > Some(BULK_DOWN));
    assert!(most(|payload| payload.received) > Some(BULK_UP as u64));
    assert_counts(&ended, &served, resent, family);
    resent
}

fn curl_counts(family: &'static str, here: &'static str, there: &'static str) {
    if !installed("curl") || !installed("ethtool") {
        return;
    }
    with_veth(move |_| {
        let v6 = here.contains(':');
        let off = format!("/proc/sys/net/ipv6/conf/{SENSOR}/disable_ipv6");
        if v6 && std::fs::write(off, "0").is_err() {
            return eprintln!("skipped: this kernel has no IPv6");
        }
        let at_once = if v6 { " nodad" } else { "" };
        set_offloads();
        ip(&format!("addr add {here} dev {SENSOR}{at_once}"));
        let peer = Peer::new();
        peer.run(move || ip(&format!("addr add {there} dev {SENDER}{at_once}")));
        let (host, _) = here.split_once('/').expect("a prefix");
        // The sensor sees retransmissions, too: payload is then not exact. That is one round in 30.
        if !(0..3).any(|_| round(&peer, host, family) == 0) {
            eprintln!("skipped: payload to the byte: the kernel retransmitted in each of 3 rounds");
        }
    });
}

#[test]
fn curl_over_ipv4_is_counted_to_the_byte() {
    curl_counts("IPv4", "10.9.0.2/24", "10.9.0.1/24");
}

#[test]
fn curl_over_ipv6_is_counted_to_the_byte() {
    curl_counts("IPv6", "fd00:9::2/64", "fd00:9::1/64");
}
