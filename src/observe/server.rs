//! Metrics and a health check over HTTP, on a thread of its own.
//!
//! A scrape reads copies that workers publish, so it cannot slow a worker. Connections are few, short and
//! answered once, so that slow clients cannot take the descriptors that the sensor needs. One that is too many takes
//! the place of the oldest that has not asked yet, so that nobody waits behind clients who say nothing.

mod clients;

use super::metrics::{Exposition, Format, Source, render};
use crate::words::printable;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use clients::Clients;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Limits on clients.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections open at once, over all listeners.
    connections: usize,
    /// From accept to the last byte of the request's head, however slowly its bytes come.
    head: Duration,
    /// From accept to the last byte of the answer.
    deadline: Duration,
}

/// Most connections that clients have at once.
pub const CONNECTIONS_MAX: usize = 32;

const LIMITS: Limits = Limits {
    connections: CONNECTIONS_MAX,
    head: Duration::from_secs(2),
    deadline: Duration::from_secs(5),
};

/// Serves clients of `listeners` until the process ends.
///
/// # Errors
///
/// The system has no thread or no file to give.
pub fn serve(listeners: Vec<std::net::TcpListener>, source: Source) -> io::Result<()> {
    serve_within(LIMITS, listeners, source)
}

fn serve_within(
    limits: Limits,
    listeners: Vec<std::net::TcpListener>,
    source: Source,
) -> io::Result<()> {
    for listener in &listeners {
        listener.set_nonblocking(true)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .fallback(not_found)
        .with_state(Exposition::starting_now(source));
    let clients = Arc::new(Clients::at_most(limits.connections));
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                let tasks: Vec<_> = listeners
                    .into_iter()
                    .filter_map(|listener| TcpListener::from_std(listener).ok())
                    .map(|listener| accept(listener, app.clone(), clients.clone(), limits))
                    .map(tokio::spawn)
                    .collect();
                for task in tasks {
                    let _ = task.await;
                }
            });
        })?;
    Ok(())
}

async fn metrics(State(exposition): State<Exposition>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).into_iter();
    let accept: Vec<&str> = accept.filter_map(|value| value.to_str().ok()).collect();
    let format = negotiate(&accept.join(","));
    match render(exposition, format) {
        Ok(text) => answer(StatusCode::OK, format.content_type(), text),
        Err(std::fmt::Error) => answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            Format::Text.content_type(),
            String::new(),
        ),
    }
}

/// `ok`; `degraded` with a line for each reason while something is lost, with status 503 if the query is `strict`;
/// 503 in any case while the books do not close.
async fn healthz(State(exposition): State<Exposition>, RawQuery(query): RawQuery) -> Response {
    let snapshot = exposition.snapshot();
    let strict = query.is_some_and(|query| {
        let mut parts = query.split('&');
        // A probe that misspells the value means it all the same.
        parts.any(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let off = ["0", "false", "no", "off"];
            key.eq_ignore_ascii_case("strict")
                && !off.contains(&value.to_ascii_lowercase().as_str())
        })
    });
    let identities = snapshot.books.identities();
    let open = identities.into_iter().find(|identity| !identity.holds());
    let (status, text) = match open {
        Some(open) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "books do not close: {}: {} against {}\n",
                open.name, open.left, open.right
            ),
        ),
        None if snapshot.degraded.is_empty() => (StatusCode::OK, "ok\n".to_owned()),
        None => {
            let reasons = snapshot.degraded.iter();
            let reasons = reasons.map(|(reason, says)| format!("{}: {says}\n", reason.word()));
            let status = match strict {
                true => StatusCode::SERVICE_UNAVAILABLE,
                false => StatusCode::OK,
            };
            (status, format!("degraded\n{}", reasons.collect::<String>()))
        }
    };
    // Names of interfaces and outputs stand in the reasons.
    let text = printable(&text).into_owned();
    answer(status, "text/plain; charset=utf-8", text)
}

/// One response a connection, so that the deadline is that of the request.
fn answer(status: StatusCode, content_type: &'static str, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONNECTION, "close"),
    ];
    (status, headers, text).into_response()
}

async fn not_found() -> Response {
    let text = "synledger serves /metrics and /healthz\n".to_owned();
    answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", text)
}

/// Chooses by an Accept header: OpenMetrics only if it is named, with at least the quality of text.
fn negotiate(accept: &str) -> Format {
    let (mut open, mut text) = (0.0, 0.0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut quality, mut known) = (1.0, true);
        for parameter in parts {
            match parameter.split_once('=') {
                Some(("q", value)) => quality = value.trim().parse::<f32>().unwrap_or(0.0),
                Some(("version", value)) if kind.ends_with("openmetrics-text") => {
                    known = matches!(value.trim_matches('"'), "1.0.0" | "0.0.1");
                }
                _ => {}
            }
        }
        match kind.as_str() {
            "application/openmetrics-text" if known => open = quality.max(open),
            "text/plain" | "text/*" | "*/*" => text = quality.max(text),
            _ => {}
        }
    }
    if open > 0.0 && open >= text {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

/// Accepts every connection at once, and closes it at its deadlines or when it must make room.
async fn accept(mut listener: TcpListener, app: Router, clients: Arc<Clients>, limits: Limits) {
    loop {
        let (stream, _) = Listener::accept(&mut listener).await;
        clients.admit(|asked| tokio::spawn(serve_one(stream, app.clone(), asked, limits)));
        // In a burst of clients each is read once before the next is let in.
        tokio::task::yield_now().await;
    }
}

/// Answers one request; `asked` is called when its head is there.
async fn serve_one(stream: TcpStream, app: Router, asked: impl Fn(), limits: Limits) {
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |request| {
        asked();
        app.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that is slow, gone or speaks no HTTP is no fault of ours.
    let _ = timeout(limits.deadline, connection).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::losses::Reason;
    use crate::observe::metrics::Snapshot;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::time::Instant;

    fn server(limits: Limits, source: Source) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        serve_within(limits, vec![listener], source).expect("a thread");
        address
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
            body.contains("frames") && body.contains("0 against 3"),
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
    fn every_address_is_served_and_they_share_what_clients_may_take() {
        let bind = |ip: &str| TcpListener::bind((ip, 0)).expect("a free port");
        let listeners = vec![bind("127.0.0.1"), bind("127.0.0.2")];
        let [first, second] = [0, 1].map(|at: usize| listeners[at].local_addr().expect("bound"));
        let limits = Limits {
            connections: 2,
            head: Duration::from_secs(60),
            deadline: Duration::from_secs(60),
        };
        serve_within(limits, listeners, healthy()).expect("a thread");
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
}
