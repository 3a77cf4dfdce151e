//! NetFlow v9 (RFC 3954): a record for each direction of a flow that has packets, for collectors without IPFIX.
//!
//! Times are absolute, in milliseconds, by the elements of IPFIX: those of RFC 3954 count from the exporter's start, and
//! a capture may be older.

use super::fields::{Field, Record, field, record_bytes, set, specifiers, with_others};
use super::sets::{Sets, Version};
use super::{end_reason, interface, ports_or_icmp, template, vlan};
use crate::books::record_kind::EventKind;
use crate::flow::record::FlowRecord;
use crate::log::event::{Body, Event};
use crate::log::formats::framing::{Messaging, Transport};
use crate::log::formats::{Format, Registered, SinkKind};
use crate::log::notice::Notice;
use std::net::IpAddr;

/// `netflow9:udp://HOST:PORT`.
pub static NETFLOW9: Registered = Registered {
    word: "netflow9",
    about: "flow records of each direction to a collector (RFC 3954)",
    renders: &[EventKind::Flow],
    events: &[EventKind::Flow],
    parts: true,
    services: false,
    sink_kind: SinkKind::Messages(&Messaging {
        transports: &[Transport::Udp],
        port: 2055,
        socket: None,
        templates: true,
        framing: |framed| {
            let version = (Version::V9, framed.domain);
            Box::new(Sets::new(version, bytes_of, introductions))
        },
    }),
    open: |_, _| Box::new(Netflow9),
};

/// Sets of templates (RFC 3954, 5.2 and 6.1).
const TEMPLATES: u16 = 0;
const OPTIONS_TEMPLATES: u16 = 1;
/// Templates.
const FLOW_4: u16 = 256;
const FLOW_6: u16 = 257;
const SAMPLING: u16 = 258;

/// Elements of one direction of IPv4, in the order of [`half`]. Their bytes are a multiple of four: no padding.
const FLOW_4_FIELDS: &[Field] = &[
    // IPV4_SRC_ADDR, IPV4_DST_ADDR, L4_SRC_PORT, L4_DST_PORT, PROTOCOL, TCP_FLAGS, ICMP_TYPE
    field(8, 4),
    field(12, 4),
    field(7, 2),
    field(11, 2),
    field(4, 1),
    field(6, 1),
    field(32, 2),
    // flowStartMilliseconds, flowEndMilliseconds
    field(152, 8),
    field(153, 8),
    // IN_BYTES, IN_PKTS
    field(1, 8),
    field(2, 8),
    // INPUT_SNMP, SRC_VLAN, flowEndReason, DIRECTION: ingress
    field(10, 4),
    field(58, 2),
    field(136, 1),
    field(61, 1),
];

/// The same of IPv6: IPV6_SRC_ADDR and IPV6_DST_ADDR.
const FLOW_6_FIELDS: &[Field] = &with_others::<{ FLOW_4_FIELDS.len() }>(
    FLOW_4_FIELDS,
    &[(8, field(27, 16)), (12, field(28, 16))],
);

/// Scope: the system, then SAMPLING_INTERVAL, SAMPLING_ALGORITHM, and padding.
const SAMPLING_FIELDS: &[Field] = &[field(1, 4), field(34, 4), field(35, 1)];

fn bytes_of(template: u16) -> usize {
    match template {
        FLOW_4 => record_bytes(FLOW_4_FIELDS),
        FLOW_6 => record_bytes(FLOW_6_FIELDS),
        // One record to a set, whose padding is no other one.
        _ => record_bytes(SAMPLING_FIELDS).next_multiple_of(4),
    }
}

fn introductions() -> Vec<Vec<u8>> {
    let mut flows = Vec::new();
    for (id, fields) in [(FLOW_4, FLOW_4_FIELDS), (FLOW_6, FLOW_6_FIELDS)] {
        set(&mut flows, TEMPLATES, true, |out| {
            template(out, id, fields, None)
        });
    }
    set(&mut flows, OPTIONS_TEMPLATES, true, |out| {
        let (scope, options) = SAMPLING_FIELDS.split_at(1);
        let bytes = |fields: &[Field]| u16::try_from(4 * fields.len()).expect("a few elements");
        for number in [SAMPLING, bytes(scope), bytes(options)] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        specifiers(out, SAMPLING_FIELDS);
    });
    // One packet of one, deterministic.
    set(&mut flows, SAMPLING, true, |out| {
        out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 1]);
    });
    vec![flows]
}

/// Renders records, both directions of a flow in one set.
struct Netflow9;

impl Format for Netflow9 {
    fn event(&mut self, out: &mut Vec<u8>, event: &Event, _: i64) {
        match &event.body {
            Body::Flow(record) => flow(out, record),
            Body::NewConnection(_) | Body::Folded(_) | Body::Alert(_) => {
                unreachable!("`renders` names flows alone")
            }
        }
    }

    fn notice(&mut self, _: &mut Vec<u8>, _: &Notice, _: i64) {
        unreachable!("`renders` names flows alone")
    }
}

#[inline(always)]
fn flow(out: &mut Vec<u8>, flow: &FlowRecord) {
    let mut record = Record::of(match flow.tuple.src {
        IpAddr::V4(_) => FLOW_4,
        IpAddr::V6(_) => FLOW_6,
    });
    // Of a part without packets the originator's direction says that the flow is over.
    if flow.orig.packets > 0 || flow.resp.packets == 0 {
        half(&mut record, flow, false);
    }
    if flow.resp.packets > 0 {
        half(&mut record, flow, true);
    }
    record.finish(out);
}

/// Puts one direction, in the order of [`FLOW_4_FIELDS`].
#[inline(always)]
fn half(record: &mut Record, flow: &FlowRecord, is_back: bool) {
    let (tuple, (ports, icmp)) = (&flow.tuple, ports_or_icmp(flow));
    let sides = [(tuple.src, ports.0), (tuple.dst, ports.1)];
    let ([from, to], volume, index) = match is_back {
        false => (sides, &flow.orig, flow.interface),
        true => ([sides[1], sides[0]], &flow.resp, flow.interface_resp),
    };
    record.ip(from.0);
    record.ip(to.0);
    record.u16(from.1);
    record.u16(to.1);
    record.u8(tuple.proto);
    record.u8(volume.tcp_flags);
    record.u16(icmp);
    record.millis(flow.since_ns);
    record.millis(flow.end_ns);
    record.u64(volume.ip_bytes);
    record.u64(volume.packets);
    record.u32(interface(index));
    record.u16(vlan(flow));
    record.u8(end_reason(flow));
    record.u8(0);
}
