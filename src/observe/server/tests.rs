//! The server, asked over sockets.

use super::*;
use crate::host::sandbox::{Sandbox, Thread};
use crate::observe::losses::Reason;
use crate::observe::snapshot::{Snapshot, Source};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

fn server(limits: Limits, source: Source) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    serve_all(limits, vec![listener], source);
    address
}

fn serve_all(limits: Limits, tcp: Vec<TcpListener>, source: Source) {
    let listeners = Listeners {
        tcp,
        ..Listeners::default()
    };
    let pass = Sandbox::off().pass(Thread::Metrics);
    let exposition = Exposition::starting_now(source);
    serve_within(limits, listeners, exposition, pass).expect("a thread");
}

fn healthy() -> Source {
    Arc::new(Snapshot::default)
}

/// Status line and head, body.
fn get(address: SocketAddr, path: &str, headers: &str) -> (String, String) {
    let mut stream = std::net::TcpStream::connect(address).expect("served");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    (head.to_owned(), body.to_owned())
}

#[test]
fn openmetrics_is_for_those_who_ask_for_it() {
    use Format::{OpenMetrics, Text};
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
        application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for (accept, format) in [
        ("", Text),
        ("*/*", Text),
        ("text/plain", Text),
        ("application/json", Text),
        ("application/openmetrics-text", OpenMetrics),
        (
            "Application/OpenMetrics-Text; version=\"1.0.0\"",
            OpenMetrics,
        ),
        ("application/openmetrics-text;q=0", Text),
        ("application/openmetrics-text;q=0.2, text/plain", Text),
        ("application/openmetrics-text;version=9.0.0,*/*;q=0.1", Text),
        (prometheus, OpenMetrics),
    ] {
        assert_eq!(negotiate(accept), format, "{accept}");
    }
}

#[test]
fn a_scrape_gets_text_by_default_and_openmetrics_on_request() {
    let address = server(LIMITS, healthy());
    let (head, body) = get(address, "/metrics", "");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(!body.contains("# EOF"), "{body}");
    let accept = "Accept: application/openmetrics-text;version=1.0.0\r\n";
    let (head, body) = get(address, "/metrics", accept);
    let kind = "content-type: application/openmetrics-text; version=1.0.0";
    assert!(head.contains(kind), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
}

#[test]
fn health_names_an_identity_that_does_not_hold() {
    let address = server(LIMITS, healthy());
    let (head, body) = get(address, "/healthz", "");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && body == "ok\n",
        "{head}"
    );
    let mut ill = Snapshot::default();
    ill.books.shards.frames = 3;
    ill.books.at_exit = true;
    let address = server(LIMITS, Arc::new(move || ill.clone()));
    let (head, body) = get(address, "/healthz", "");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(
        body.starts_with("failing\nbooks do not close: frames") && body.contains("0 against 3"),
        "{body}"
    );
}

#[test]
fn health_says_what_is_lost_and_fails_for_it_only_if_asked_to() {
    let mut lossy = Snapshot::default();
    let says = "3 of 9 frames (33.3 %) were dropped by full rings";
    lossy.degraded.push((Reason::Rings, says.to_owned()));
    let source = Arc::new(move || lossy.clone());
    let address = server(LIMITS, source);
    let expected = format!("degraded\nring_drops: {says}\n");
    for (path, status) in [
        ("/healthz", "200"),
        ("/healthz?verbose", "200"),
        ("/healthz?strict=0", "200"),
        ("/healthz?strict=No", "200"),
        ("/healthz?strict", "503"),
        ("/healthz?STRICT=yes", "503"),
        ("/healthz?a=b&strict=1", "503"),
    ] {
        let (head, body) = get(address, path, "");
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {head}"
        );
        assert_eq!(body, expected, "{path}");
    }
    let (_, metrics) = get(address, "/metrics", "");
    for line in [
        "synledger_degraded{reason=\"ring_drops\"} 1\n",
        "synledger_degraded{reason=\"output\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    let (head, body) = get(server(LIMITS, healthy()), "/", "");
    assert!(
        head.starts_with("HTTP/1.1 404 ") && body.contains("/metrics"),
        "{head}"
    );
    let (head, body) = get(server(LIMITS, healthy()), "/healthz?strict", "");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && body == "ok\n",
        "{head}"
    );
}

#[test]
fn an_output_that_fails_is_503_and_a_probe_for_life_fails_only_for_a_thread_that_stands_still() {
    let mut ill = Snapshot::default();
    ill.degraded
        .push((Reason::Output, "its disk is full".to_owned()));
    let source = ill.clone();
    let failing = server(LIMITS, Arc::new(move || source.clone()));
    ill.since_progress_s.push(("worker-3".to_owned(), 12.0));
    let stalled = server(LIMITS, Arc::new(move || ill.clone()));
    for (address, path, status) in [
        (failing, "/healthz", "503"),
        (failing, "/healthz?live", "200"),
        (failing, "/healthz?live=0", "503"),
        (stalled, "/healthz", "503"),
        (stalled, "/healthz?live", "503"),
    ] {
        let (head, body) = get(address, path, "");
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {head}"
        );
        assert!(body.starts_with("failing\n"), "{body}");
        assert!(body.ends_with("output: its disk is full\n"), "{body}");
    }
    let (_, body) = get(stalled, "/healthz", "");
    assert!(
        body.contains("\nstalled: worker-3 has made no progress for 12 s\n"),
        "{body}"
    );
}

#[test]
fn every_address_is_served_and_they_share_what_clients_may_take() {
    let bind = |ip: &str| TcpListener::bind((ip, 0)).expect("a free port");
    let listeners = vec![bind("127.0.0.1"), bind("127.0.0.2")];
    let [first, second] = [0, 1].map(|at: usize| listeners[at].local_addr().expect("bound"));
    let limits = Limits {
        connections: 2,
        head: Duration::from_secs(60),
        deadline: Duration::from_secs(60),
    };
    serve_all(limits, listeners, healthy());
    let mut idle: Vec<_> = (0..2).map(|_| connect(first)).collect();
    for address in [first, second] {
        let (head, _) = get(address, "/healthz", "");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    // The first of them made room, long before its deadline.
    assert_closed(&mut idle[0]);
}

fn connect(address: SocketAddr) -> std::net::TcpStream {
    std::net::TcpStream::connect(address).expect("served")
}

/// The server closes the connection, with or without a word.
fn assert_closed(stream: &mut std::net::TcpStream) {
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).expect("a timeout");
    let mut rest = Vec::new();
    if let Err(why) = stream.read_to_end(&mut rest) {
        assert_eq!(why.kind(), std::io::ErrorKind::ConnectionReset, "{why}");
    }
}

#[test]
fn clients_that_say_nothing_or_one_byte_at_a_time_are_let_go() {
    let limits = Limits {
        connections: 8,
        head: Duration::from_millis(300),
        deadline: Duration::from_secs(60),
    };
    let address = server(limits, healthy());
    let mut silent = connect(address);
    let mut half = connect(address);
    half.write_all(b"GET /metrics HT").expect("half a request");
    let mut slow = connect(address);
    let start = Instant::now();
    // Each byte comes well within the limit; the head as a whole does not.
    let sent = b"GET /healthz HTTP/1.1\r\nHost: a-long-name\r\n".iter();
    let taken = sent.take_while(|&&byte| {
        std::thread::sleep(Duration::from_millis(100));
        slow.write_all(&[byte]).is_ok()
    });
    assert!(taken.count() < 40, "a slow client was read to the end");
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_closed(&mut silent);
    assert_closed(&mut half);
}

#[test]
fn a_client_that_reads_nothing_is_let_go() {
    let limits = Limits {
        connections: 1,
        head: Duration::from_secs(60),
        deadline: Duration::from_millis(300),
    };
    let address = server(limits, healthy());
    let mut client = connect(address);
    client.write_all(b"GET /met").expect("half a request");
    assert_closed(&mut client);
}

#[test]
fn a_scrape_beside_many_idle_clients_does_not_wait() {
    let limits = Limits {
        head: Duration::from_secs(60),
        deadline: Duration::from_secs(60),
        ..LIMITS
    };
    let address = server(limits, healthy());
    let idle: Vec<_> = (0..200).map(|_| connect(address)).collect();
    for path in ["/healthz", "/metrics"] {
        let (head, _) = get(address, path, "");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    // All but so many were closed.
    for mut stream in idle.into_iter().take(200 - CONNECTIONS_MAX) {
        assert_closed(&mut stream);
    }
}

#[test]
fn every_answer_closes_its_connection() {
    let address = server(LIMITS, healthy());
    for (method, path, status) in [
        ("GET", "/healthz", "200"),
        ("HEAD", "/metrics", "200"),
        ("POST", "/metrics", "405"),
        ("DELETE", "/healthz", "405"),
        ("GET", "/else", "404"),
    ] {
        let mut stream = connect(address);
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it ends");
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{answer}");
        let head = answer.to_ascii_lowercase();
        assert_eq!(
            head.matches("\r\nconnection: close\r\n").count(),
            1,
            "{answer}"
        );
    }
}
