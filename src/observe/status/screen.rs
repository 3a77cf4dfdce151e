//! The answer to `top`: what one screen shows of the run. Rates are the client's to take: counters are sums, with the
//! time of their publication.

use super::protocol::{VERSION, stamp};
use crate::books::Books;
use crate::counters::Counters as _;
use crate::observe::health::Health;
use crate::observe::metrics::Exposition;
use crate::observe::snapshot::Snapshot;
use crate::observe::view::{Scan, Shown, View};
use crate::time::clock::{monotonic_ns, wall_clock_ns};
use crate::words::printable;
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};

/// Clients that ask within this time get the same answer: ten cost what one costs.
const FRESH_NS: i64 = 400_000_000;

/// Renders the answer.
#[derive(Debug)]
pub(super) struct Screen {
    sensor: String,
    view: View,
    exposition: Exposition,
    /// The last answer, and when it was made.
    last: Mutex<Option<(i64, String)>>,
}

impl Screen {
    pub fn new(sensor: String, view: View, exposition: Exposition) -> Self {
        Self {
            sensor,
            view,
            exposition,
            last: Mutex::default(),
        }
    }

    /// The answer, with its newline.
    pub fn rendered(&self) -> String {
        let now_ns = monotonic_ns();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((made_ns, text)) if now_ns.saturating_sub(*made_ns) < FRESH_NS => text.clone(),
            _ => {
                let text = self.render(now_ns);
                *last = Some((now_ns, text.clone()));
                text
            }
        }
    }

    fn render(&self, now_ns: i64) -> String {
        let wall_ns = wall_clock_ns();
        let shown = self.view.look(wall_ns);
        let snapshot = self.exposition.snapshot();
        let age_s = |(name, age_s): &(String, f64)| (name == "main").then_some(*age_s);
        let age_s = snapshot.since_progress_s.iter().find_map(age_s);
        let answer = json!({
            "synledger": VERSION,
            "ok": true,
            "sensor": self.sensor,
            "version": env!("CARGO_PKG_VERSION"),
            "time": stamp(wall_ns),
            "up_s": wall_ns as f64 / 1e9 - self.exposition.started_s(),
            "at_s": now_ns as f64 / 1e9 - age_s.unwrap_or(0.0),
            "health": health(&snapshot),
            "counters": counters(&snapshot.books),
            "workers": workers(&snapshot),
            "rings": rings(&snapshot),
            "interfaces": interfaces(&snapshot),
            "tables": tables(&snapshot),
            "outputs": outputs(&snapshot.books),
            "log": self.log(&shown),
        });
        format!("{answer}\n")
    }

    fn log(&self, shown: &Shown) -> Value {
        let sources = shown.sources.iter().map(|row| {
            let src = shown_net(&row.key);
            json!({ "src": src, "attempts": row.attempts })
        });
        let destinations = shown.destinations.iter().map(|row| {
            let ((dst, port), service) = (row.key, self.view.service(row.key));
            let service = service.as_deref().map(printable);
            json!({ "dst": dst, "port": port, "service": service, "attempts": row.attempts })
        });
        json!({
            "over_s": shown.over_s,
            "attempts": shown.attempts,
            "sources": sources.collect::<Vec<_>>(),
            "destinations": destinations.collect::<Vec<_>>(),
            "scans": shown.scans.iter().map(scan).collect::<Vec<_>>(),
        })
    }
}

fn health(snapshot: &Snapshot) -> Value {
    let health = Health::of(snapshot);
    let words = |lines: &[String]| -> Vec<String> {
        let lines = lines.iter().map(|line| printable(line).into_owned());
        lines.collect()
    };
    json!({
        "works": health.works(),
        "books_closed": snapshot.books.closed(),
        "stalled": words(&health.stalled),
        "failing": words(&health.failing),
        "degraded": words(&health.degraded),
    })
}

/// Sums since the start of the run.
fn counters(books: &Books) -> Value {
    let (shards, flow) = (&books.shards, &books.shards.flow);
    let blocks = books.blocks.as_ref().map(|blocks| &blocks.counts);
    let rings = books.rings.iter();
    let drops: u64 = rings.clone().map(|ring| ring.tp_drops).sum();
    let offered: u64 = rings.map(|ring| ring.tp_packets).sum();
    json!({
        "frames_offered": offered,
        "frames": shards.frames,
        "ring_drops": drops,
        "missed": books.missed(),
        "connections": flow.new_connections,
        "answered": flow.answered_connections,
        "established": flow.established_connections,
        "refused": flow.refused_connections,
        "detections": shards.detections,
        "blocks": blocks.map(|blocks| blocks.in_kernel),
        "block_dropped_packets": blocks.map(|blocks| blocks.dropped_packets),
    })
}

/// Frames that reached the rings of each worker, and how long ago it made progress.
fn workers(snapshot: &Snapshot) -> Vec<Value> {
    let rings = &snapshot.books.rings;
    let count = rings.iter().map(|ring| ring.id.worker + 1).max();
    let of = |worker: usize| {
        let own = rings.iter().filter(|ring| ring.id.worker == worker);
        let name = format!("worker-{worker}");
        let progress = snapshot.since_progress_s.iter();
        let progress = progress
            .filter(|(one, _)| *one == name)
            .map(|(_, age_s)| *age_s);
        json!({
            "worker": worker,
            "frames": own.clone().map(|ring| ring.frames_read).sum::<u64>(),
            "drops": own.map(|ring| ring.tp_drops).sum::<u64>(),
            "since_progress_s": progress.reduce(f64::max),
        })
    };
    (0..count.unwrap_or(0)).map(of).collect()
}

fn rings(snapshot: &Snapshot) -> Vec<Value> {
    let rings = snapshot.ring_occupancy.iter();
    let of = rings.map(|(id, occupancy)| {
        json!({
            "interface": printable(&id.interface),
            "class": id.class,
            "worker": id.worker,
            "occupancy": occupancy,
        })
    });
    of.collect()
}

fn interfaces(snapshot: &Snapshot) -> Vec<Value> {
    let all = snapshot.since_frame_s.iter();
    all.map(|(name, age_s)| json!({ "name": printable(name), "since_frame_s": age_s }))
        .collect()
}

fn tables(snapshot: &Snapshot) -> Vec<Value> {
    let all = snapshot.tables.iter();
    all.map(|(name, held, room)| json!({ "name": name, "held": held, "room": room }))
        .collect()
}

fn outputs(books: &Books) -> Vec<Value> {
    let of = |output: &crate::books::output::OutputBooks| {
        let mut sums = [0, 0, 0];
        output.counts.each(&mut |counter| {
            let at = match counter.name().as_str() {
                "records_written" => 0,
                "records_dropped" => 1,
                "records_pending" => 2,
                _ => return,
            };
            sums[at] += counter.count;
        });
        let [written, dropped, pending] = sums;
        let name = printable(&output.name);
        json!({ "name": name, "written": written, "dropped": dropped, "pending": pending })
    };
    books.outputs.iter().map(of).collect()
}

/// An address without its length.
fn shown_net(net: &ipnet::IpNet) -> String {
    match net.prefix_len() == net.max_prefix_len() {
        true => net.addr().to_string(),
        false => net.to_string(),
    }
}

fn scan(scan: &Scan) -> Value {
    json!({
        "kind": scan.kind.word(),
        "src": scan.src,
        "dst": scan.dst,
        "port": scan.port,
        "count": scan.count,
        "verdict": scan.verdict.map(|verdict| verdict.word()),
        "status": scan.status.word(),
        "since": stamp(scan.first_ns),
        "last": stamp(scan.last_ns),
    })
}
