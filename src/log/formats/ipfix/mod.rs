//! IPFIX (RFC 7011): a flow record of both directions (RFC 5103) for each flow, and the sensor's losses as options.
//!
//! Attempts, folds, alerts, blocks and lifecycle events have no elements at IANA, and are not exported: an attempt is
//! a packet of a flow that follows, so a collector's sums would count it twice.

mod fields;
pub(super) mod netflow9;
pub(super) mod sets;
#[cfg(test)]
mod tests;

use super::framing::{Messaging, Transport};
use super::{Format, Registered, SinkKind, flow_id};
use crate::books::output::{Cause, OutputCounts};
use crate::books::record_kind::EventKind;
use crate::flow::record::{EndReason, FlowRecord, Volume};
use crate::log::event::{Body, Event};
use crate::log::notice::{Notice, Stats};
use fields::{Field, Record, field, record_bytes, reverse, set, specifiers, with_others};
use sets::{Sets, Version};
use std::net::IpAddr;

/// `ipfix:udp://HOST:PORT` and `ipfix:tcp://HOST:PORT`.
pub static IPFIX: Registered = Registered {
    word: "ipfix",
    about: "flow records of both directions, and losses, to a collector (RFC 7011, RFC 5103)",
    renders: &[EventKind::Flow, EventKind::Stats],
    events: &[EventKind::Flow, EventKind::Stats],
    parts: true,
    services: false,
    sink_kind: SinkKind::Messages(&Messaging {
        transports: &[Transport::Udp, Transport::Tcp],
        port: 4739,
        socket: None,
        templates: true,
        framing: |framed| {
            let version = (Version::Ipfix, framed.domain);
            Box::new(Sets::new(version, bytes_of, introductions))
        },
    }),
    open: |_, traits| {
        Box::new(Ipfix {
            output: traits.output,
        })
    },
};

/// Sets of templates (RFC 7011, 3.3.2).
const TEMPLATES: u16 = 2;
const OPTIONS_TEMPLATES: u16 = 3;

/// Templates.
const FLOW_4: u16 = 256;
const FLOW_6: u16 = 257;
const LOSSES: u16 = 258;
const SELECTION: u16 = 259;

/// Elements of a flow of IPv4, in the order of [`flow`].
const FLOW_4_FIELDS: &[Field] = &[
    // sourceIPv4Address, destinationIPv4Address
    field(8, 4),
    field(12, 4),
    // sourceTransportPort, destinationTransportPort, protocolIdentifier
    field(7, 2),
    field(11, 2),
    field(4, 1),
    // icmpTypeCodeIPv4
    field(32, 2),
    // flowStartMilliseconds, flowEndMilliseconds
    field(152, 8),
    field(153, 8),
    // octetDeltaCount, packetDeltaCount
    field(1, 8),
    field(2, 8),
    reverse(1, 8),
    reverse(2, 8),
    // layer2OctetDeltaCount
    field(352, 8),
    reverse(352, 8),
    // initiatorOctets, responderOctets
    field(231, 8),
    field(232, 8),
    // tcpControlBits
    field(6, 1),
    reverse(6, 1),
    // flowEndReason, biflowDirection
    field(136, 1),
    field(239, 1),
    // vlanId, ingressInterface
    field(58, 2),
    field(10, 4),
    reverse(10, 4),
    // flowId
    field(148, 8),
];

/// The same of IPv6: sourceIPv6Address, destinationIPv6Address, icmpTypeCodeIPv6.
const FLOW_6_FIELDS: &[Field] = &with_others::<{ FLOW_4_FIELDS.len() }>(
    FLOW_4_FIELDS,
    &[(8, field(27, 16)), (12, field(28, 16)), (32, field(139, 2))],
);

/// What was lost (RFC 7011, 4): observationDomainId as scope, observationTimeMilliseconds; packets that the sensor missed:
/// ignoredPacketTotalCount; flows: observedFlowTotalCount; of this output exportedFlowRecordTotalCount and
/// notSentFlowTotalCount.
const LOSSES_FIELDS: &[Field] = &[
    field(149, 4),
    field(323, 8),
    field(164, 8),
    field(163, 8),
    field(42, 8),
    field(166, 8),
];
/// No packet is left out by choice (RFC 5477): selectorId as scope, selectorAlgorithm, samplingPacketInterval,
/// samplingPacketSpace.
const SELECTION_FIELDS: &[Field] = &[field(302, 8), field(304, 2), field(305, 4), field(306, 4)];

/// Bytes of a record of a template.
fn bytes_of(template: u16) -> usize {
    record_bytes(match template {
        FLOW_4 => FLOW_4_FIELDS,
        FLOW_6 => FLOW_6_FIELDS,
        LOSSES => LOSSES_FIELDS,
        _ => SELECTION_FIELDS,
    })
}

/// Templates, then templates of options with the one record that never changes.
fn introductions() -> Vec<Vec<u8>> {
    let mut flows = Vec::new();
    set(&mut flows, TEMPLATES, false, |out| {
        template(out, FLOW_4, FLOW_4_FIELDS, None);
        template(out, FLOW_6, FLOW_6_FIELDS, None);
    });
    let mut options = Vec::new();
    set(&mut options, OPTIONS_TEMPLATES, false, |out| {
        template(out, LOSSES, LOSSES_FIELDS, Some(1));
        template(out, SELECTION, SELECTION_FIELDS, Some(1));
    });
    let mut all = Record::of(SELECTION);
    all.u64(1);
    // Systematic count-based sampling, in which every packet is taken.
    all.u16(1);
    all.u32(1);
    all.u32(0);
    all.finish(&mut options);
    vec![flows, options]
}

/// Appends a template; of options with how many elements are its scope.
fn template(out: &mut Vec<u8>, id: u16, fields: &[Field], scopes: Option<u16>) {
    let count = u16::try_from(fields.len()).expect("a few elements");
    let numbers = [Some(id), Some(count), scopes];
    for number in numbers.into_iter().flatten() {
        out.extend_from_slice(&number.to_be_bytes());
    }
    specifiers(out, fields);
}

/// Renders records, each as a set of its own.
struct Ipfix {
    /// Number of this output in the books.
    output: usize,
}

impl Format for Ipfix {
    fn event(&mut self, out: &mut Vec<u8>, event: &Event, _: i64) {
        match &event.body {
            Body::Flow(record) => flow(out, record),
            Body::NewConnection(_) | Body::Folded(_) | Body::Alert(_) => {
                unreachable!("`renders` names flows and statistics alone")
            }
        }
    }

    fn notice(&mut self, out: &mut Vec<u8>, notice: &Notice, _: i64) {
        match notice {
            Notice::Stats { ts_ns, stats } => losses(out, *ts_ns, stats, self.output),
            Notice::Lifecycle { .. } | Notice::Block(_) => {
                unreachable!("`renders` names flows and statistics alone")
            }
        }
    }
}

/// Appends a flow, in the order of [`FLOW_4_FIELDS`].
#[inline(always)]
fn flow(out: &mut Vec<u8>, flow: &FlowRecord) {
    let tuple = &flow.tuple;
    let template = match tuple.src {
        IpAddr::V4(_) => FLOW_4,
        IpAddr::V6(_) => FLOW_6,
    };
    let (ports, icmp) = ports_or_icmp(flow);
    let mut record = Record::of(template);
    record.ip(tuple.src);
    record.ip(tuple.dst);
    record.u16(ports.0);
    record.u16(ports.1);
    record.u8(tuple.proto);
    record.u16(icmp);
    record.millis(flow.since_ns);
    record.millis(flow.end_ns);
    for Volume {
        ip_bytes, packets, ..
    } in [&flow.orig, &flow.resp]
    {
        record.u64(*ip_bytes);
        record.u64(*packets);
    }
    record.u64(flow.orig.bytes);
    record.u64(flow.resp.bytes);
    record.u64(flow.orig.payload_bytes);
    record.u64(flow.resp.payload_bytes);
    record.u8(flow.orig.tcp_flags);
    record.u8(flow.resp.tcp_flags);
    record.u8(end_reason(flow));
    // The source began it.
    record.u8(1);
    record.u16(vlan(flow));
    record.u32(interface(flow.interface));
    record.u32(interface(flow.interface_resp));
    record.u64(flow_id::id(tuple, flow.isn));
    record.finish(out);
}

/// Ports, or type and code of ICMP.
#[inline(always)]
fn ports_or_icmp(flow: &FlowRecord) -> ((u16, u16), u16) {
    let tuple = &flow.tuple;
    if !flow_id::is_icmp(tuple.proto) {
        return ((tuple.src_port, tuple.dst_port), 0);
    }
    let has_answer = flow_id::icmp_counterpart(tuple.proto, tuple.src_port).is_some();
    let code = if has_answer { 0 } else { tuple.dst_port };
    ((0, 0), tuple.src_port << 8 | code & 0xff)
}

/// flowEndReason.
fn end_reason(flow: &FlowRecord) -> u8 {
    match flow.reason {
        _ if flow.interim => 2,
        EndReason::Timeout | EndReason::Unanswered => 1,
        EndReason::Fin | EndReason::Rst | EndReason::Refused => 3,
        EndReason::Eof => 4,
        EndReason::Evicted => 5,
    }
}

/// The outermost VLAN; 0: none.
fn vlan(flow: &FlowRecord) -> u16 {
    if flow.vlan_count > 0 { flow.vlan[0] } else { 0 }
}

/// The number of an interface: its place in the run's table, from 1.
fn interface(index: u16) -> u32 {
    u32::from(index) + 1
}

/// Appends what was lost so far.
fn losses(out: &mut Vec<u8>, ts_ns: i64, stats: &Stats, output: usize) {
    let output = stats.now.outputs.get(output);
    let (written, lost) = output.map_or((0, 0), |one| flows_of(&one.counts));
    let mut record = Record::of(LOSSES);
    // Whatever domain the message is of.
    record.u32(0);
    record.millis(ts_ns);
    record.u64(stats.now.missed());
    record.u64(stats.now.shards.flow.flows_opened);
    record.u64(written);
    record.u64(lost);
    record.finish(out);
}

/// Flow records written and lost.
fn flows_of(counts: &OutputCounts) -> (u64, u64) {
    let flow = EventKind::Flow as usize;
    let lost = Cause::ALL
        .iter()
        .map(|cause| counts.dropped[cause.index()][flow]);
    (counts.written[flow], lost.sum())
}
