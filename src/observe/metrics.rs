//! Prometheus text and a health check over HTTP, on a thread of its own.
//!
//! A scrape reads copies that workers leave when nobody reads them: it cannot slow a worker. No address
//! and no port ever becomes a label.

use crate::books::Books;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// What a scrape shows.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The books.
    pub books: Books,
    /// Tables: name, entries held, room.
    pub tables: Vec<(&'static str, u64, u64)>,
    /// Rings: interface and class, share of blocks that wait for their worker, 0 to 1.
    pub ring_occupancy: Vec<(String, f64)>,
    /// Packet time stamp to log line: upper bounds in seconds with counts below, and the sum.
    pub log_lag: (Vec<(f64, u64)>, f64),
}

/// Gives the newest snapshot.
pub type Source = Arc<dyn Fn() -> Snapshot + Send + Sync>;

struct Exposition(Source);

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exposition")
    }
}

/// Binds `address` and serves until the process ends.
///
/// # Errors
///
/// The address is in use or not this host's.
pub fn serve(address: SocketAddr, source: Source) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                let app = axum::Router::new()
                    .route("/metrics", get(metrics))
                    .route("/healthz", get(healthz))
                    .with_state(source);
                if let Ok(listener) = tokio::net::TcpListener::from_std(listener)
                    && let Err(error) = axum::serve(listener, app).await
                {
                    eprintln!("synledger: the metrics server ended: {error}");
                }
            });
        })?;
    Ok(bound)
}

async fn metrics(State(source): State<Source>) -> impl IntoResponse {
    let kind = [(
        header::CONTENT_TYPE,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )];
    match render(source) {
        Ok(text) => (StatusCode::OK, kind, text),
        Err(fmt::Error) => (StatusCode::INTERNAL_SERVER_ERROR, kind, String::new()),
    }
}

async fn healthz(State(source): State<Source>) -> (StatusCode, String) {
    let snapshot = source();
    let open = snapshot
        .books
        .identities()
        .into_iter()
        .find(|identity| !identity.holds());
    match open {
        Some(open) => {
            let text = format!(
                "books do not close: {}: {} against {}\n",
                open.name, open.left, open.right
            );
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
        None => (StatusCode::OK, "ok\n".to_owned()),
    }
}

/// The exposition text of one snapshot.
///
/// # Errors
///
/// Never in practice: a `String` takes all that is written to it.
pub fn render(source: Source) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("synledger");
    registry.register_collector(Box::new(Exposition(source)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let snapshot = (self.0)();
        totals(&mut encoder, &snapshot)?;
        by_cause(&mut encoder, &snapshot.books)?;
        rings(&mut encoder, &snapshot)?;
        outputs(&mut encoder, &snapshot.books)?;
        gauges(&mut encoder, &snapshot)
    }
}

fn counter(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = ConstCounter::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn totals(encoder: &mut DescriptorEncoder, snapshot: &Snapshot) -> fmt::Result {
    let books = &snapshot.books;
    let (shards, flow, scan) = (&books.shards, &books.shards.flow, &books.shards.port_scan);
    let seen = [
        ("frames", "Frames read", shards.frames),
        ("packets", "Frames that could be decoded", shards.packets),
        ("syn_packets", "SYN packets without ACK", flow.syn_packets),
        ("new_connections", "New connection attempts", flow.attempts),
        (
            "syn_retransmitted",
            "SYNs of a known attempt",
            flow.retransmitted,
        ),
        (
            "established_connections",
            "Handshakes proven",
            flow.established,
        ),
        ("port_scans", "Port scans (rising edges)", scan.started),
        (
            "detections",
            "Edges, doublings, summaries",
            shards.detections,
        ),
        ("late_packets", "Packets behind packet time", shards.late),
        (
            "contacts_sent",
            "Contacts sent to owners",
            shards.contacts_sent,
        ),
    ];
    let lost = [
        (
            "misrouted_frames",
            "Frames in a wrong ring",
            shards.misrouted,
        ),
        (
            "contacts_dropped",
            "Contacts without room",
            shards.contacts_dropped,
        ),
        (
            "flow_evictions",
            "Flows pushed out of full tables",
            flow.evicted(),
        ),
        (
            "pair_evictions",
            "Pairs pushed out of full tables",
            scan.pair_evicted,
        ),
        (
            "nic_drops",
            "Frames the network cards lost",
            books.nic_drops,
        ),
        (
            "softnet_drops",
            "Frames the backlog lost",
            books.softnet_drops,
        ),
        ("missed", "Everything lost with a cause", books.missed()),
    ];
    let mut all = seen.into_iter().chain(lost);
    all.try_for_each(|(name, help, value)| counter(encoder, name, help, value))
}

fn by_cause(encoder: &mut DescriptorEncoder, books: &Books) -> fmt::Result {
    let zero = ConstCounter::new(0_u64);
    let help = "Frames that could not be decoded, by cause";
    let mut family = encoder.encode_descriptor("unread_frames", help, None, zero.metric_type())?;
    for why in crate::decode::Unread::ALL {
        let value = ConstCounter::new(books.shards.unread[why.index()]);
        value.encode(family.encode_family(&[("cause", why.word())])?)?;
    }
    let help = "Flow records, by end reason";
    let mut family = encoder.encode_descriptor("flows_closed", help, None, zero.metric_type())?;
    for (reason, value) in books.shards.flow.closed_by_reason() {
        ConstCounter::new(value).encode(family.encode_family(&[("reason", reason)])?)?;
    }
    Ok(())
}

fn rings(encoder: &mut DescriptorEncoder, snapshot: &Snapshot) -> fmt::Result {
    let zero = ConstCounter::new(0_u64);
    type Field = fn(&crate::books::RingCounts) -> u64;
    let fields: [(&str, &str, Field); 4] = [
        (
            "ring_packets",
            "Frames that reached a ring, drops included (tp_packets)",
            |ring| ring.tp_packets,
        ),
        (
            "ring_drops",
            "Frames for which a ring had no room (tp_drops)",
            |ring| ring.tp_drops,
        ),
        (
            "ring_freezes",
            "How often a ring was found full (tp_freeze_q_cnt)",
            |ring| ring.tp_freezes,
        ),
        ("ring_shed", "Data frames returned unread", |ring| {
            ring.shed_data
        }),
    ];
    for (name, help, field) in fields {
        let mut family = encoder.encode_descriptor(name, help, None, zero.metric_type())?;
        for ring in &snapshot.books.rings {
            ConstCounter::new(field(ring))
                .encode(family.encode_family(&[("ring", ring.name.as_str())])?)?;
        }
    }
    Ok(())
}

fn outputs(encoder: &mut DescriptorEncoder, books: &Books) -> fmt::Result {
    let zero = ConstCounter::new(0_u64);
    let help = "Records written, by output and kind";
    let mut family =
        encoder.encode_descriptor("records_written", help, None, zero.metric_type())?;
    for output in &books.outputs {
        for (kind, written, _) in output.kinds() {
            let labels = [("output", output.name.as_str()), ("kind", kind)];
            ConstCounter::new(written).encode(family.encode_family(&labels)?)?;
        }
    }
    let help = "Records that could not be written, by output and kind";
    let mut family =
        encoder.encode_descriptor("records_dropped", help, None, zero.metric_type())?;
    for output in &books.outputs {
        for (kind, _, dropped) in output.kinds() {
            let labels = [("output", output.name.as_str()), ("kind", kind)];
            ConstCounter::new(dropped).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn gauges(encoder: &mut DescriptorEncoder, snapshot: &Snapshot) -> fmt::Result {
    let kind = ConstGauge::new(0.0_f64);
    let help = "Share of a table that is in use";
    let mut family =
        encoder.encode_descriptor("table_use_ratio", help, None, kind.metric_type())?;
    for &(name, held, room) in &snapshot.tables {
        let ratio = held as f64 / room.max(1) as f64;
        ConstGauge::new(ratio).encode(family.encode_family(&[("table", name)])?)?;
    }
    let help = "Share of a ring's blocks that wait for their worker";
    let mut family =
        encoder.encode_descriptor("ring_occupancy_ratio", help, None, kind.metric_type())?;
    for (name, ratio) in &snapshot.ring_occupancy {
        ConstGauge::new(*ratio).encode(family.encode_family(&[("ring", name.as_str())])?)?;
    }
    let closed = snapshot.books.closed();
    let metric = ConstGauge::new(i64::from(closed));
    let help = "1 while every identity of the books holds";
    metric.encode(encoder.encode_descriptor(
        "books_closed",
        help,
        None,
        metric.metric_type(),
    )?)?;
    let help = "Packet time stamp to log line";
    let (bounds, sum) = &snapshot.log_lag;
    let kind = prometheus_client::metrics::MetricType::Histogram;
    let mut histogram = encoder.encode_descriptor("log_lag_seconds", help, None, kind)?;
    let mut cumulative = 0;
    let buckets: Vec<(f64, u64)> = bounds
        .iter()
        .map(|&(bound, below)| {
            let own = below.saturating_sub(cumulative);
            cumulative = below;
            (bound, own)
        })
        .collect();
    histogram.encode_histogram::<prometheus_client::encoding::NoLabelSet>(
        *sum, cumulative, &buckets, None,
    )
}
