//! Metrics in Prometheus' text format 0.0.4 or as OpenMetrics.
//!
//! Counters have the names of their declaration ([`crate::counters`]); which of them are served, [`series`] decides. No
//! address and no port becomes a label.

pub mod series;

use super::health::Health;
use super::losses::Reason;
use super::snapshot::{LAG_BOUNDS_S, LogLag, Snapshot, Source};
use crate::books::Books;
use crate::books::blocks::{DELAY_BOUNDS_US, Delays};
use crate::books::ring::RingId;
use crate::counters::{Counter, Kind, Label};
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
use series::Families;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The source of scrapes, and when the process started (seconds since the Unix epoch).
#[derive(Clone)]
pub struct Exposition {
    source: Source,
    started_s: f64,
    unanswered: Arc<AtomicU64>,
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
            unanswered: Arc::default(),
        }
    }

    /// Counts clients that were closed without an answer.
    pub(crate) fn unanswered(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.unanswered)
    }

    /// When it started, seconds since the Unix epoch.
    pub(crate) fn started_s(&self) -> f64 {
        self.started_s
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
    let mut text = String::new();
    encode_registry(&mut text, &process)?;
    finish(text, exposition, format)
}

/// The same as text, with the sensor's own names alone: whoever reads it adds its own, which are about another process.
///
/// # Errors
///
/// As [`render`].
pub(crate) fn render_own(exposition: Exposition) -> Result<String, fmt::Error> {
    finish(String::new(), exposition, Format::Text)
}

/// Adds the sensor's own names to `text`, which is OpenMetrics, and ends it in this format.
fn finish(mut text: String, exposition: Exposition, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("synledger");
    registry.register_collector(Box::new(exposition));
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
        let config_sha256 = snapshot.config_sha256.as_str();
        let version = env!("CARGO_PKG_VERSION");
        let build = Info::new([("version", version), ("config_sha256", config_sha256)]);
        let help = "The program, and a hash of its settings in force";
        build.encode(encoder.encode_descriptor("build", help, None, build.metric_type())?)?;
        let (name, help) = (
            "start_time_seconds",
            "Start of the sensor since the Unix epoch in seconds",
        );
        gauge(&mut encoder, name, help, self.started_s)?;
        counters(&mut encoder, &snapshot.books)?;
        bounds(&mut encoder, &snapshot.books)?;
        gauges(&mut encoder, &snapshot)?;
        log_lag(&mut encoder, &snapshot.log_lag)?;
        let (name, help) = (
            "metrics_clients_unanswered",
            "Clients of the metrics that were closed without an answer: too slow, or one too many",
        );
        let count = self.unanswered.load(Ordering::Relaxed);
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(metric)?;
        match &snapshot.books.blocks {
            Some(blocks) => block_delay(&mut encoder, &blocks.counts.delays),
            None => Ok(()),
        }
    }
}

/// Every counter that is served. Counters of one name form a family with labels.
fn counters(encoder: &mut DescriptorEncoder, books: &Books) -> fmt::Result {
    for (name, counters) in &Families::of(books) {
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
    for (cause, count) in series::missed(books) {
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

fn gauges(encoder: &mut DescriptorEncoder, snapshot: &Snapshot) -> fmt::Result {
    let ratio = |held: u64, room: u64| held as f64 / room.max(1) as f64;
    let tables = snapshot.tables.iter();
    let tables = tables.map(|&(name, held, room)| ([("table", name)], ratio(held, room)));
    let help = "Share of a table that is in use";
    family(encoder, "table_use_ratio", help, tables)?;
    let help = "Share of the bytes that wait for their worker, in the fullest ring of an interface and class";
    family(
        encoder,
        "ring_occupancy_ratio",
        help,
        fullest(&snapshot.ring_occupancy).into_iter(),
    )?;
    for (name, help, value) in snapshot.books.shards.horizons.seconds() {
        gauge(encoder, &name, help, value)?;
    }
    let is_active = |reason| snapshot.degraded.iter().any(|(of, _)| *of == reason);
    let reasons = Reason::ALL.into_iter();
    let reasons = reasons.map(|reason| ([("reason", reason.word())], i64::from(is_active(reason))));
    let help = "1 while something is lost for this reason, as /healthz says";
    family(encoder, "degraded", help, reasons)?;
    let help = "1 while /healthz answers with status 200";
    let healthy = i64::from(Health::of(snapshot).works());
    gauge(encoder, "healthy", help, healthy)?;
    if let Some(synchronized) = snapshot.clock_synchronized {
        let help = "1 while something keeps the clock right (adjtimex: no STA_UNSYNC)";
        gauge(encoder, "clock_synchronized", help, i64::from(synchronized))?;
    }
    let help = "1 while every identity of the books holds";
    let closed = i64::from(snapshot.books.closed());
    gauge(encoder, "books_closed", help, closed)?;
    let silences = snapshot.since_frame_s.iter();
    let silences = silences.map(|(name, seconds)| ([("interface", name.as_str())], *seconds));
    let help = "Time since the last frame on a watched interface, or since the start";
    family(encoder, "seconds_since_last_frame", help, silences)?;
    let threads = snapshot.since_progress_s.iter();
    let threads = threads.map(|(name, seconds)| ([("thread", name.as_str())], *seconds));
    let help = "Time since a thread made progress: below 3 while it works or waits for work";
    family(encoder, "seconds_since_progress", help, threads)?;
    if !snapshot.retention_s.is_empty() {
        let outputs = snapshot.retention_s.iter();
        let outputs = outputs.map(|(name, seconds)| ([("output", name.as_str())], *seconds));
        let help = "Age of the oldest kept record; until limits remove files, the age that they will allow at this rate";
        family(encoder, "log_retention_seconds", help, outputs)?;
    }
    if let Some(gap_s) = snapshot.gap_s {
        let help =
            "Time between the last moment that an earlier run watched and the start of this one";
        gauge(encoder, "not_watched_before_start_seconds", help, gap_s)?;
    }
    let help = "Workers so far behind that the log's order no longer waits for them";
    let behind = i64::try_from(snapshot.worker_behind).unwrap_or(i64::MAX);
    gauge(encoder, "worker_behind", help, behind)
}

/// The fullest ring of each interface and class.
fn fullest(rings: &[(RingId, f64)]) -> Vec<([Label; 2], f64)> {
    let mut all: Vec<([Label; 2], f64)> = Vec::new();
    for (id, ratio) in rings {
        let labels = series::labels(id);
        match all.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, fullest)) => *fullest = fullest.max(*ratio),
            None => all.push((labels, *ratio)),
        }
    }
    all
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
    let named = ("log_lag_seconds", "Packet time stamp to log line");
    let within = LAG_BOUNDS_S.into_iter().zip(lag.within);
    histogram(encoder, named, within, (lag.count, lag.sum_s))
}

fn block_delay(encoder: &mut DescriptorEncoder, delays: &Delays) -> fmt::Result {
    let (name, help) = (
        "block_delay_max_seconds",
        "The longest time from the moment when a detection was due to the kernel's answer",
    );
    gauge(encoder, name, help, delays.max_us as f64 / 1e6)?;
    let named = (
        "block_delay_seconds",
        "From the moment when a detection was due to the kernel's answer",
    );
    let bounds = DELAY_BOUNDS_US
        .into_iter()
        .map(|bound_us| bound_us as f64 / 1e6);
    let sum_s = delays.sum_us as f64 / 1e6;
    histogram(
        encoder,
        named,
        bounds.zip(delays.within),
        (delays.count, sum_s),
    )
}

/// A histogram; `within`: bound in seconds, and what is within it, lower buckets included.
fn histogram(
    encoder: &mut DescriptorEncoder,
    (name, help): (&str, &str),
    within: impl Iterator<Item = (f64, u64)>,
    (count, sum_s): (u64, f64),
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    let mut below = 0;
    let buckets: Vec<(f64, u64)> = within
        .chain([(f64::INFINITY, count)])
        .map(|(bound, within)| {
            let own = within.saturating_sub(below);
            below = below.max(within);
            (bound, own)
        })
        .collect();
    metric.encode_histogram::<NoLabelSet>(sum_s, below, &buckets, None)
}

#[cfg(test)]
mod tests;
