//! Metrics in Prometheus' text format 0.0.4 or as OpenMetrics.
//!
//! Counters have the names of their declaration ([`crate::counters`]). No address and no port becomes a label.

use super::losses::Reason;
use crate::books::Books;
use crate::books::ring::RingId;
use crate::counters::{Counter, Counters as _, Kind};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Upper bounds of the buckets of [`LogLag`], in seconds; the last bucket has none.
pub const LAG_BOUNDS_S: [f64; 8] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];

/// Histogram of the time from packet time stamp to log line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogLag {
    /// Events within each bound, those of lower buckets included.
    pub within: [u64; LAG_BOUNDS_S.len()],
    /// All events.
    pub count: u64,
    /// Sum of their lags, in seconds.
    pub sum_s: f64,
}

/// The values of one scrape.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// All counters.
    pub books: Books,
    /// Tables: name, entries held, room.
    pub tables: Vec<(&'static str, u64, u64)>,
    /// Share of each ring's bytes that wait for the worker, 0 to 1.
    pub ring_occupancy: Vec<(RingId, f64)>,
    /// Level of load shedding of each worker.
    pub shed_levels: Vec<u64>,
    /// Workers that the log's order no longer waits for.
    pub worker_behind: usize,
    /// Lag of log lines.
    pub log_lag: LogLag,
    /// Losses that have not ended: reason, and one sentence.
    pub degraded: Vec<(Reason, String)>,
}

/// Returns the newest snapshot.
pub type Source = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// The source of scrapes, and when the process started (seconds since the Unix epoch).
#[derive(Clone)]
pub struct Exposition {
    source: Source,
    started_s: f64,
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exposition")
    }
}

impl Exposition {
    /// Starts now.
    pub fn starting_now(source: Source) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            source,
            started_s: since.unwrap_or_default().as_secs_f64(),
        }
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Snapshot {
        (self.source)()
    }
}

/// Format of a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4, which everything reads.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Renders the newest snapshot.
///
/// # Errors
///
/// Never in practice: writing to a `String` does not fail.
pub fn render(exposition: Exposition, format: Format) -> Result<String, fmt::Error> {
    let mut process = Registry::default();
    process.register(
        "process_start_time_seconds",
        "Start time of the process since the Unix epoch in seconds",
        ConstGauge::new(exposition.started_s),
    );
    let mut registry = Registry::with_prefix("synledger");
    registry.register_collector(Box::new(exposition));
    let mut text = String::new();
    encode_registry(&mut text, &process)?;
    encode_registry(&mut text, &registry)?;
    encode_eof(&mut text)?;
    match format {
        Format::OpenMetrics => Ok(text),
        Format::Text => as_text(&text),
    }
}

/// Converts OpenMetrics to the text format 0.0.4: there a counter's name ends in `_total`, the type `info` is a
/// gauge, and there is no end mark.
fn as_text(openmetrics: &str) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = "";
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            writeln!(text, "# HELP {name}{suffix} {help}")?;
            writeln!(text, "# TYPE {name}{suffix} {kind}")?;
        } else if !line.starts_with('#') {
            writeln!(text, "{line}")?;
        }
    }
    Ok(text)
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let snapshot = (self.source)();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let help = "The program";
        build.encode(encoder.encode_descriptor("build", help, None, build.metric_type())?)?;
        counters(&mut encoder, &snapshot.books)?;
        bounds(&mut encoder, &snapshot.books)?;
        gauges(&mut encoder, &snapshot)?;
        log_lag(&mut encoder, &snapshot.log_lag)
    }
}

/// Every counter. Counters of one name form a family with labels.
fn counters(encoder: &mut DescriptorEncoder, books: &Books) -> fmt::Result {
    let mut all: BTreeMap<String, Vec<Counter>> = BTreeMap::new();
    let mut add = |counter: Counter| all.entry(counter.name()).or_default().push(counter);
    books.each(&mut add);
    for ring in &books.rings {
        let labels = ring_labels(&ring.id).map(|(label, value)| (label, value.into()));
        ring.each(&mut |counter| add(counter.among(&labels)));
    }
    for output in &books.outputs {
        let labels = [("output", output.name.clone().into())];
        output
            .counts
            .each(&mut |counter| add(counter.among(&labels)));
    }
    for responder in &books.responders {
        let labels = [("responder", responder.name.clone().into())];
        let each = &mut |counter: Counter| add(counter.among(&labels));
        responder.counts.each(each);
    }
    for (name, counters) in &all {
        let (kind, help) = (counters[0].kind, counters[0].help);
        let metric_type = match kind {
            Kind::Gauge => MetricType::Gauge,
            Kind::Count | Kind::Loss | Kind::Micros => MetricType::Counter,
        };
        let mut metric = encoder.encode_descriptor(name, help, None, metric_type)?;
        match counters.as_slice() {
            [one] if one.labels.is_empty() => encode(one, metric)?,
            several => {
                for one in several {
                    encode(one, metric.encode_family(&one.labels)?)?;
                }
            }
        }
    }
    let (name, help) = ("missed", "Everything lost, by the name of its counter");
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (cause, count) in books.losses() {
        let labels = [("cause", cause)];
        ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn encode(counter: &Counter, place: MetricEncoder<'_>) -> fmt::Result {
    let count = counter.count;
    match counter.kind {
        Kind::Gauge => ConstGauge::new(count).encode(place),
        Kind::Micros => ConstCounter::new(count as f64 / 1e6).encode(place),
        Kind::Count | Kind::Loss => ConstCounter::new(count).encode(place),
    }
}

fn bounds(encoder: &mut DescriptorEncoder, books: &Books) -> fmt::Result {
    let bound = books.missed_bound();
    for (name, help, count) in [
        (
            "missed_attempts_bound",
            "At most so many attempts were among the frames that rings lost",
            bound.attempts,
        ),
        (
            "missed_before_rings_bound",
            "Frames lost before the rings: nobody knows what they were",
            bound.before_rings,
        ),
    ] {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(metric)?;
    }
    Ok(())
}

fn ring_labels(id: &RingId) -> [(&'static str, String); 3] {
    [
        ("interface", id.interface.clone()),
        ("class", id.class.to_owned()),
        ("worker", id.worker.to_string()),
    ]
}

fn gauges(encoder: &mut DescriptorEncoder, snapshot: &Snapshot) -> fmt::Result {
    let ratio = |held: u64, room: u64| held as f64 / room.max(1) as f64;
    let tables = snapshot.tables.iter();
    let tables = tables.map(|&(name, held, room)| ([("table", name)], ratio(held, room)));
    let help = "Share of a table that is in use";
    family(encoder, "table_use_ratio", help, tables)?;
    let levels = snapshot.shed_levels.iter().enumerate();
    let levels = levels.map(|(worker, &level)| ([("worker", worker.to_string())], level));
    let help = "Level of load shedding, 0 (nothing is shed) to 3";
    family(encoder, "shed_level", help, levels)?;
    let rings = snapshot.ring_occupancy.iter();
    let rings = rings.map(|(id, ratio)| (ring_labels(id), *ratio));
    let help = "Share of a ring's bytes that wait for their worker";
    family(encoder, "ring_occupancy_ratio", help, rings)?;
    for (name, help, value) in snapshot.books.shards.horizons.seconds() {
        gauge(encoder, &name, help, value)?;
    }
    let is_active = |reason| snapshot.degraded.iter().any(|(of, _)| *of == reason);
    let reasons = Reason::ALL.into_iter();
    let reasons = reasons.map(|reason| ([("reason", reason.word())], i64::from(is_active(reason))));
    let help = "1 while something is lost for this reason, as /healthz says";
    family(encoder, "degraded", help, reasons)?;
    let help = "1 while every identity of the books holds";
    let closed = i64::from(snapshot.books.closed());
    gauge(encoder, "books_closed", help, closed)?;
    let help = "Workers so far behind that the log's order no longer waits for them";
    let behind = i64::try_from(snapshot.worker_behind).unwrap_or(i64::MAX);
    gauge(encoder, "worker_behind", help, behind)
}

fn gauge(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    value: impl EncodeGaugeValue,
) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(metric)
}

/// A gauge with one value for each set of labels.
fn family<L: EncodeLabelSet, V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (L, V)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn log_lag(encoder: &mut DescriptorEncoder, lag: &LogLag) -> fmt::Result {
    let (name, help) = ("log_lag_seconds", "Packet time stamp to log line");
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    let bounds = LAG_BOUNDS_S.into_iter().chain([f64::INFINITY]);
    let mut below = 0;
    let within = lag.within.into_iter().chain([lag.count]);
    let buckets: Vec<(f64, u64)> = bounds
        .zip(within)
        .map(|(bound, within)| {
            let own = within.saturating_sub(below);
            below = below.max(within);
            (bound, own)
        })
        .collect();
    metric.encode_histogram::<NoLabelSet>(lag.sum_s, below, &buckets, None)
}

#[cfg(test)]
mod tests;
