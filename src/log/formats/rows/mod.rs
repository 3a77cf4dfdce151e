//! Rows of one table, for Parquet: connections, folds, flows, alerts, and the books of each interval.
//!
//! The sensor writes them into segments; `synledger-parquet` makes Parquet files of these.

mod row;

use super::context::Context;
use super::eve;
use super::flow_id::{self, has_ports};
use super::interfaces::Rendered;
use super::stamp::Stamp;
use super::{Format, Registered, SinkKind};
use crate::books::Books;
use crate::books::record_kind::EventKind;
use crate::counters::{Counter, Counters as _, Kind};
use crate::flow::conn::TCP;
use crate::flow::record::{Attempt, FiveTuple, FlowRecord};
use crate::inspect::detection::{Detection, Subject};
use crate::log::event::{Body, Event};
use crate::log::fold::Fold;
use crate::log::notice::{Notice, Stats};
pub(crate) use row::head;
use row::{Column, Row, RowKind};

/// `parquet:DIR`.
pub static PARQUET: Registered = Registered {
    word: "parquet",
    about: "one table for flows, attempts, alerts and the books, as Parquet files of the program synledger-parquet",
    renders: &RENDERS,
    events: &RENDERS,
    services: false,
    parts: false,
    sink_kind: SinkKind::Segments,
    open: |context, traits| Box::new(Rows::new(context, traits.output)),
};

const RENDERS: [EventKind; 4] = [
    EventKind::Connection,
    EventKind::Alert,
    EventKind::Flow,
    EventKind::Stats,
];

/// Losses and unwatched time up to the last row of the books.
#[derive(Clone, Copy, Debug)]
struct Covered {
    ts_ns: i64,
    lost: u64,
    unwatched_us: u64,
}

/// Renders rows.
struct Rows {
    interfaces: Rendered,
    responders: Rendered,
    /// Its place among the outputs in the books.
    output: usize,
    covered: Option<Covered>,
    first: Stamp,
    evidence: Vec<u8>,
}

impl Rows {
    fn new(context: &Context, output: usize) -> Self {
        Self {
            interfaces: Rendered::plain(context.interfaces.clone()),
            responders: Rendered::plain(context.interfaces.clone()),
            output,
            covered: None,
            first: Stamp::iso(),
            evidence: Vec::new(),
        }
    }

    fn connection(&mut self, out: &mut Vec<u8>, attempt: &Attempt) {
        let tuple = &attempt.tuple;
        let ids = flow_id::ids(tuple, attempt.isn);
        let mut row = Row::begin(out, attempt.ts_ns, RowKind::Connection);
        endpoints(&mut row, tuple);
        row.long(Column::Attempts, 1);
        row.text(
            Column::Interface,
            self.interfaces.name(attempt.interface).text(),
        );
        row.vlans(attempt.vlan, attempt.vlan_count);
        row.long(Column::Isn, attempt.isn.into());
        row.boolean(Column::Odd, attempt.odd);
        row.count(Column::FlowId, ids.flow_id);
        row.text(Column::CommunityId, &ids.community_id);
        row.end();
    }

    fn flow(&mut self, out: &mut Vec<u8>, flow: &FlowRecord) {
        let (tuple, orig, resp) = (&flow.tuple, &flow.orig, &flow.resp);
        let ids = flow_id::ids(tuple, flow.isn);
        let mut row = Row::begin(out, flow.end_ns, RowKind::Flow);
        row.long(Column::First, flow.since_ns);
        row.long(Column::Last, flow.end_ns);
        endpoints(&mut row, tuple);
        let name = self.interfaces.name(flow.interface);
        row.text(Column::Interface, name.text());
        let name = self.responders.name(flow.interface_resp);
        row.text(Column::ReplyInterface, name.text());
        row.vlans(flow.vlan, flow.vlan_count);
        row.count(Column::FlowId, ids.flow_id);
        row.text(Column::CommunityId, &ids.community_id);
        row.text(Column::ConnState, flow.conn_state.word().as_bytes());
        let letters = &flow.history.letters[..flow.history.len()];
        row.text(Column::History, letters);
        row.text(Column::Reason, flow.end_word().as_bytes());
        let lasted_ns = flow.end_ns.saturating_sub(flow.since_ns);
        row.long(Column::Duration, lasted_ns.max(0));
        row.count(Column::OrigPkts, orig.packets);
        row.count(Column::RespPkts, resp.packets);
        row.count(Column::OrigBytes, orig.payload_bytes);
        row.count(Column::RespBytes, resp.payload_bytes);
        row.count(Column::OrigIpBytes, orig.ip_bytes);
        row.count(Column::RespIpBytes, resp.ip_bytes);
        let both = |one: u64, other: u64| one.saturating_add(other);
        let packets = both(orig.retransmitted_packets, resp.retransmitted_packets);
        row.count(Column::RetransmittedPkts, packets);
        let bytes = both(orig.retransmitted_bytes, resp.retransmitted_bytes);
        row.count(Column::RetransmittedBytes, bytes);
        let missed = both(orig.missed_bytes, resp.missed_bytes);
        row.count(Column::MissedBytes, missed);
        if tuple.proto == TCP {
            row.int(Column::TcpFlagsOrig, orig.tcp_flags);
            row.int(Column::TcpFlagsResp, resp.tcp_flags);
        }
        row.boolean(Column::Midstream, flow.midstream);
        row.boolean(Column::Tunnel, flow.inside.tunnel().is_some());
        row.boolean(Column::Interim, flow.interim);
        row.long(Column::Part, flow.part.into());
        row.end();
    }

    fn alert(&mut self, out: &mut Vec<u8>, detection: &Detection) {
        let (subject, about) = (detection.subject, detection.kind.about());
        eve::evidence(&mut self.evidence, detection, &mut self.first);
        let mut row = Row::begin(out, detection.ts_ns, RowKind::Alert);
        row.long(Column::First, detection.first_ns);
        row.long(Column::Last, detection.last_ns);
        if let Some(src) = subject.src() {
            row.address(Column::Src, src);
        }
        // A source that touches many hosts has no one destination.
        let has_many = matches!(subject, Subject::SourcePort { .. } | Subject::Source { .. });
        if !has_many {
            row.address(Column::Dst, subject.dst());
        }
        if let Some(port) = subject.port() {
            row.int(Column::DstPort, port);
        }
        if let Some(proto) = proto_number(about.proto) {
            row.int(Column::Proto, proto);
        }
        let name = self.interfaces.name(detection.interface);
        row.text(Column::Interface, name.text());
        row.vlans(detection.vlan, detection.vlan_count);
        row.text(Column::Alert, detection.kind.word().as_bytes());
        row.int(Column::Severity, eve::severity(detection));
        row.count(Column::Distinct, detection.extent.count());
        row.long(Column::Window, detection.window_ns);
        row.text(Column::Evidence, &self.evidence);
        row.end();
    }

    /// Since its last row: one that was dropped is covered by the next.
    fn books(&mut self, out: &mut Vec<u8>, ts_ns: i64, stats: &Stats) {
        let own = stats.now.outputs.get(self.output).map_or(0, dropped);
        let now = Covered {
            ts_ns,
            lost: lost_before_outputs(&stats.now) + own,
            unwatched_us: stats.now.host.unwatched_us,
        };
        let interval_ns = std::time::Duration::try_from_secs_f64(stats.run_s).unwrap_or_default();
        let start = Covered {
            ts_ns: ts_ns.saturating_sub(i64::try_from(interval_ns.as_nanos()).unwrap_or(0)),
            lost: 0,
            unwatched_us: 0,
        };
        let since = self.covered.unwrap_or(start);
        let mut row = Row::begin(out, ts_ns, RowKind::Books);
        row.long(Column::First, since.ts_ns.min(ts_ns));
        row.long(Column::Last, ts_ns);
        row.count(Column::Lost, now.lost.saturating_sub(since.lost));
        let unwatched_us = now.unwatched_us.saturating_sub(since.unwatched_us);
        row.count(Column::NotWatched, unwatched_us.saturating_mul(1_000));
        row.end();
        self.covered = Some(now);
    }
}

/// Losses before records reach the outputs.
fn lost_before_outputs(books: &Books) -> u64 {
    let mut lost = 0;
    let mut add = |counter: Counter| {
        if counter.kind == Kind::Loss {
            lost += counter.count;
        }
    };
    books.each(&mut add);
    for ring in &books.rings {
        ring.each(&mut add);
    }
    lost
}

/// Records that this output dropped.
fn dropped(output: &crate::books::output::OutputBooks) -> u64 {
    output.counts.dropped.iter().flatten().sum()
}

/// The number of a protocol that a detector names.
fn proto_number(word: &str) -> Option<i32> {
    match word {
        "TCP" => Some(6),
        "UDP" => Some(17),
        "ICMP" => Some(1),
        _ => None,
    }
}

#[inline]
fn endpoints(row: &mut Row<'_>, tuple: &FiveTuple) {
    row.address(Column::Src, tuple.src);
    row.address(Column::Dst, tuple.dst);
    if has_ports(tuple.proto) {
        row.int(Column::SrcPort, tuple.src_port);
        row.int(Column::DstPort, tuple.dst_port);
    }
    row.int(Column::Proto, tuple.proto);
}

fn fold(out: &mut Vec<u8>, fold: &Fold) {
    let mut row = Row::begin(out, fold.last_ns, RowKind::Fold);
    row.long(Column::First, fold.first_ns);
    row.long(Column::Last, fold.last_ns);
    if let Some(dst) = fold.target.dst {
        row.address(Column::Dst, dst);
    }
    if let Some(port) = fold.target.port {
        row.int(Column::DstPort, port);
    }
    row.int(Column::Proto, TCP);
    row.count(Column::Attempts, fold.count);
    row.count(Column::Distinct, fold.sources.estimate());
    row.end();
}

impl Format for Rows {
    fn event(&mut self, out: &mut Vec<u8>, event: &Event, _: i64) {
        match &event.body {
            Body::NewConnection(attempt) => self.connection(out, attempt),
            Body::Flow(flow) => self.flow(out, flow),
            Body::Alert(detection) => self.alert(out, detection),
            Body::Folded(folded) => fold(out, folded),
        }
    }

    fn notice(&mut self, out: &mut Vec<u8>, notice: &Notice, _: i64) {
        let Notice::Stats { ts_ns, stats } = notice else {
            unreachable!("`renders` names no other records of the sensor")
        };
        self.books(out, *ts_ns, stats);
    }
}

#[cfg(test)]
mod tests;
