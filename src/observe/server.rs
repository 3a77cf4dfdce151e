//! Metrics and a health check over HTTP, and the status socket, on a thread of their own.
//!
//! A scrape reads copies that workers publish, so it cannot slow a worker. Connections are few, short and
//! answered once, so that slow clients cannot take the descriptors that the sensor needs. One that is too many takes
//! the place of the oldest that has not asked yet, so that nobody waits behind clients who say nothing.

mod clients;

use super::health::Health;
use super::metrics::{Exposition, Format, render};
use super::status::StatusSocket;
use crate::host::sandbox::Pass;
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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
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

/// Where clients come in.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    pub tcp: Vec<std::net::TcpListener>,
    pub unix: Vec<std::os::unix::net::UnixListener>,
    pub status: Option<StatusSocket>,
}

impl Listeners {
    pub(crate) fn is_empty(&self) -> bool {
        self.tcp.is_empty() && self.unix.is_empty() && self.status.is_none()
    }
}

/// Serves clients of `listeners` until the process ends.
///
/// # Errors
///
/// The system has no thread or no file to give.
pub(crate) fn serve(listeners: Listeners, exposition: Exposition, pass: Pass) -> io::Result<()> {
    serve_within(LIMITS, listeners, exposition, pass)
}

fn serve_within(
    limits: Limits,
    listeners: Listeners,
    exposition: Exposition,
    pass: Pass,
) -> io::Result<()> {
    let Listeners { tcp, unix, status } = listeners;
    tcp.iter().try_for_each(|one| one.set_nonblocking(true))?;
    unix.iter().try_for_each(|one| one.set_nonblocking(true))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let clients = Arc::new(Clients::at_most(
        limits.connections,
        exposition.unanswered(),
    ));
    let shown = exposition.clone();
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .fallback(not_found)
        .with_state(exposition);
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || {
            pass.enter();
            runtime.block_on(async move {
                let tcp = tcp.into_iter().flat_map(TcpListener::from_std);
                let unix = unix.into_iter().flat_map(UnixListener::from_std);
                let tcp =
                    tcp.map(|one| tokio::spawn(accept(one, app.clone(), clients.clone(), limits)));
                let unix =
                    unix.map(|one| tokio::spawn(accept(one, app.clone(), clients.clone(), limits)));
                let mut tasks: Vec<_> = tcp.chain(unix).collect();
                tasks.extend(status.map(|status| tokio::spawn(status.serve(shown))));
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
/// `failing` with a line for each reason and status 503, if the query is `live` only while a thread stands still.
async fn healthz(State(exposition): State<Exposition>, RawQuery(query): RawQuery) -> Response {
    let health = Health::of(&exposition.snapshot());
    let query = query.unwrap_or_default();
    let fails = match (asks(&query, "live"), asks(&query, "strict")) {
        (true, _) => !health.stalled.is_empty(),
        (false, true) => !health.works() || !health.degraded.is_empty(),
        (false, false) => !health.works(),
    };
    let status = match fails {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    };
    // Names of interfaces and outputs stand in the reasons.
    let text = printable(&health.text()).into_owned();
    answer(status, "text/plain; charset=utf-8", text)
}

/// Whether a query has this word. A probe that misspells the value means it all the same.
fn asks(query: &str, word: &str) -> bool {
    query.split('&').any(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let off = ["0", "false", "no", "off"];
        key.eq_ignore_ascii_case(word) && !off.contains(&value.to_ascii_lowercase().as_str())
    })
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
async fn accept<L: Listener>(mut listener: L, app: Router, clients: Arc<Clients>, limits: Limits) {
    loop {
        let (stream, _) = listener.accept().await;
        let (app, others) = (app.clone(), Arc::clone(&clients));
        clients.admit(|asked| {
            tokio::spawn(async move {
                if !serve_one(stream, app, asked, limits).await {
                    others.note_unanswered();
                }
            })
        });
        // In a burst of clients each is read once before the next is let in.
        tokio::task::yield_now().await;
    }
}

/// Answers one request; `asked` is called when its head is there. False: there was no whole request, or its answer was not
/// taken in time.
async fn serve_one(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    app: Router,
    asked: impl Fn(),
    limits: Limits,
) -> bool {
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
    matches!(timeout(limits.deadline, connection).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests;
