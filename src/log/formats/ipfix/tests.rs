use super::*;
use crate::log::event::Event;
use crate::log::formats::context::Context;
use crate::log::formats::framing::{Framed, Framing};
use crate::log::formats::interfaces::Interfaces;
use crate::log::formats::{OutputTraits, samples};
use netflow_parser::NetflowParser;
use serde_json::{Value, json};
use std::sync::Arc;

/// Elements and their values in the order of the template, as the parser has them.
type Read = Vec<(String, Value)>;

struct Exporter {
    format: Box<dyn Format>,
    framing: Box<dyn Framing>,
}

impl Exporter {
    fn new(of: &Registered) -> Self {
        let context = Context {
            host: "test".into(),
            interfaces: Interfaces::new(vec!["eth0".into()]),
            direction: Arc::new(|_, _| "in"),
            services: None,
            frames: false,
        };
        let traits = OutputTraits {
            text_format: None,
            person: false,
            output: 0,
            transport: Some(Transport::Udp),
        };
        let SinkKind::Messages(messaging) = of.sink_kind else {
            panic!("no messages");
        };
        let transport = Transport::Udp;
        let domain = 7;
        Self {
            format: (of.open)(&context, &traits),
            framing: (messaging.framing)(&Framed { transport, domain }),
        }
    }

    /// Messages of these flows, none longer than `limit`.
    fn messages(&mut self, flows: &[FlowRecord], limit: usize) -> Vec<Vec<u8>> {
        let events = flows.iter().map(|&flow| Event {
            body: Body::Flow(flow),
            ..samples::flow()
        });
        let (mut all, mut message) = (Vec::new(), Vec::new());
        self.framing.begin(&mut message);
        for event in events {
            let record = message.len();
            self.format.event(&mut message, &event, 0);
            if self.framing.join(&mut message, 0, record, limit) {
                continue;
            }
            let rest = message.split_off(record);
            all.push(std::mem::take(&mut message));
            self.framing.begin(&mut message);
            let record = message.len();
            message.extend(rest);
            assert!(self.framing.join(&mut message, 0, record, limit));
        }
        all.push(message);
        for message in &mut all {
            assert!(message.len() <= limit);
            self.framing.complete(message, samples::TS_NS);
            self.framing.sent(message);
        }
        all
    }

    fn introductions(&mut self) -> Vec<Vec<u8>> {
        let mut all = self.framing.introductions(548);
        for message in &mut all {
            self.framing.complete(message, samples::TS_NS);
            self.framing.sent(message);
        }
        all
    }
}

/// The records of a message, each with the set that has it.
fn read(parser: &mut NetflowParser, message: &[u8]) -> Vec<Read> {
    let parsed = parser.parse_bytes(message);
    assert!(parsed.error.is_none(), "{:?}", parsed.error);
    let mut records = Vec::new();
    for packet in parsed.packets {
        let packet = serde_json::to_value(&packet).expect("JSON");
        collect(&packet, &mut records);
    }
    records
}

/// Adds each list of (element, value), wherever it is.
fn collect(value: &Value, records: &mut Vec<Read>) {
    match value {
        Value::Array(all) => {
            let pair = |one: &Value| match one.as_array()?.as_slice() {
                [element, value] => Some((plain(element).as_str()?.to_owned(), plain(value))),
                _ => None,
            };
            match all.iter().map(pair).collect::<Option<Read>>() {
                Some(record) if !record.is_empty() => records.push(record),
                _ => all.iter().for_each(|one| collect(one, records)),
            }
        }
        Value::Object(all) => all.values().for_each(|one| collect(one, records)),
        _ => {}
    }
}

/// What is behind the parser's types.
fn plain(value: &Value) -> Value {
    match value.as_object() {
        Some(all) if all.len() == 1 => plain(all.values().next().expect("one")),
        _ => value.clone(),
    }
}

fn flow_of(src: &str, dst: &str, proto: u8) -> FlowRecord {
    let mut flow = samples::flow_record();
    flow.tuple.src = src.parse().expect("an address");
    flow.tuple.dst = dst.parse().expect("an address");
    flow.tuple.proto = proto;
    (flow.orig.ip_bytes, flow.resp.ip_bytes) = (1094, 4209);
    (flow.vlan, flow.vlan_count, flow.interface_resp) = ([10, 0], 1, 3);
    // Unlike those of the originator.
    flow.resp.tcp_flags = 0x12;
    if proto == 1 {
        // An echo, and the type of its answer.
        (flow.tuple.src_port, flow.tuple.dst_port) = (8, 0);
    }
    flow
}

/// Values of a record, without those whose form is the parser's own.
fn numbers(record: &Read) -> Vec<Value> {
    let values = record.iter().map(|(_, value)| value.clone());
    values
        .filter(|value| value.is_number() || value.is_string())
        .collect()
}

const FLOWS: [(&str, &str, u8); 3] = [
    ("192.0.2.1", "192.0.2.2", 6),
    ("2001:db8::1", "2001:db8::2", 17),
    ("192.0.2.3", "192.0.2.4", 1),
];

fn flows() -> Vec<FlowRecord> {
    FLOWS
        .map(|(src, dst, proto)| flow_of(src, dst, proto))
        .to_vec()
}

/// A record with these names and values.
fn expected(members: &[(&str, Value)]) -> Read {
    let members = members.iter();
    members
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

/// Milliseconds, as the parser has them.
fn millis(ts_ns: i64) -> Value {
    let (secs, rest_ns) = (ts_ns / 1_000_000_000, ts_ns % 1_000_000_000);
    json!({ "secs": secs, "nanos": rest_ns / 1_000_000 * 1_000_000 })
}

/// Flags, as the parser has them.
fn flags(flags: u8) -> Value {
    let names = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];
    let each = names.iter().enumerate();
    let each = each.map(|(bit, name)| ((*name).to_owned(), json!(flags & 1 << bit != 0)));
    // The ninth flag, for which our element has no room.
    let ns = ("ns".to_owned(), json!(false));
    Value::Object(each.chain([ns]).collect())
}

/// Ports and type and code of a flow of [`FLOWS`], and the parser's word for its protocol.
fn of_protocol(flow: &FlowRecord) -> ((u16, u16), u16, &'static str) {
    let ports = (flow.tuple.src_port, flow.tuple.dst_port);
    match flow.tuple.proto {
        6 => (ports, 0, "Tcp"),
        17 => (ports, 0, "Udp"),
        _ => ((0, 0), 8 << 8, "Icmp"),
    }
}

#[test]
fn a_parser_reads_every_element_of_ipfix_back() {
    let (mut parser, mut exporter) = (NetflowParser::default(), Exporter::new(&IPFIX));
    let introduced: Vec<Read> = (exporter.introductions().iter())
        .flat_map(|message| read(&mut parser, message))
        .collect();
    assert!(numbers(&introduced[introduced.len() - 1]).contains(&json!(1)));
    let messages = exporter.messages(&flows(), 1400);
    let records: Vec<Read> = (messages.iter())
        .flat_map(|one| read(&mut parser, one))
        .collect();
    assert_eq!(records.len(), FLOWS.len());
    for (record, flow) in records.iter().zip(flows()) {
        let (orig, resp) = (&flow.orig, &flow.resp);
        let (ports, icmp, proto) = of_protocol(&flow);
        let names = match flow.tuple.src {
            IpAddr::V4(_) => [
                "SourceIpv4address",
                "DestinationIpv4address",
                "IcmpTypeCodeIpv4",
            ],
            IpAddr::V6(_) => [
                "SourceIpv6address",
                "DestinationIpv6address",
                "IcmpTypeCodeIpv6",
            ],
        };
        let all = expected(&[
            (names[0], json!(flow.tuple.src)),
            (names[1], json!(flow.tuple.dst)),
            ("SourceTransportPort", json!(ports.0)),
            ("DestinationTransportPort", json!(ports.1)),
            ("ProtocolIdentifier", json!(proto)),
            (names[2], json!(icmp)),
            ("FlowStartMilliseconds", millis(flow.since_ns)),
            ("FlowEndMilliseconds", millis(flow.end_ns)),
            ("OctetDeltaCount", json!(orig.ip_bytes)),
            ("PacketDeltaCount", json!(orig.packets)),
            ("ReverseOctetDeltaCount", json!(resp.ip_bytes)),
            ("ReversePacketDeltaCount", json!(resp.packets)),
            ("Layer2octetDeltaCount", json!(orig.bytes)),
            ("ReverseLayer2OctetDeltaCount", json!(resp.bytes)),
            ("InitiatorOctets", json!(orig.payload_bytes)),
            ("ResponderOctets", json!(resp.payload_bytes)),
            ("TcpControlBits", flags(orig.tcp_flags)),
            ("ReverseTcpControlBits", flags(resp.tcp_flags)),
            ("FlowEndReason", json!("EndOfFlow")),
            ("BiflowDirection", json!(1)),
            ("VlanId", json!(10)),
            ("IngressInterface", json!(1)),
            ("ReverseIngressInterface", json!(4)),
            ("FlowId", json!(flow_id::id(&flow.tuple, flow.isn))),
        ]);
        assert_eq!((record.len(), record), (FLOW_4_FIELDS.len(), &all));
    }
}

#[test]
fn a_parser_reads_both_directions_of_netflow_v9_back() {
    let (mut parser, mut exporter) = (NetflowParser::default(), Exporter::new(&netflow9::NETFLOW9));
    for message in exporter.introductions() {
        read(&mut parser, &message);
    }
    let messages = exporter.messages(&flows(), 1400);
    let records: Vec<Read> = (messages.iter())
        .flat_map(|one| read(&mut parser, one))
        .collect();
    assert_eq!(records.len(), 2 * FLOWS.len(), "{records:?}");
    for (pair, flow) in records.chunks(2).zip(flows()) {
        let (ports, icmp, proto) = of_protocol(&flow);
        let names = match flow.tuple.src {
            IpAddr::V4(_) => ["Ipv4SrcAddr", "Ipv4DstAddr"],
            IpAddr::V6(_) => ["Ipv6SrcAddr", "Ipv6DstAddr"],
        };
        let (there, back) = ((flow.tuple.src, ports.0), (flow.tuple.dst, ports.1));
        for (record, from, to, volume, interface) in [
            (&pair[0], there, back, &flow.orig, 1),
            (&pair[1], back, there, &flow.resp, 4),
        ] {
            let all = expected(&[
                (names[0], json!(from.0)),
                (names[1], json!(to.0)),
                ("L4SrcPort", json!(from.1)),
                ("L4DstPort", json!(to.1)),
                ("Protocol", json!(proto)),
                ("TcpFlags", flags(volume.tcp_flags)),
                ("IcmpType", json!(icmp)),
                ("FlowStartMilliseconds", millis(flow.since_ns)),
                ("FlowEndMilliseconds", millis(flow.end_ns)),
                ("InBytes", json!(volume.ip_bytes)),
                ("InPkts", json!(volume.packets)),
                ("InputSnmp", json!(interface)),
                ("SrcVlan", json!(10)),
                ("FlowEndReason", json!("EndOfFlow")),
                ("Direction", json!(0)),
            ]);
            assert_eq!(record, &all);
        }
    }
}

#[test]
fn messages_keep_to_the_limit_and_number_their_records() {
    let many: Vec<FlowRecord> = (0..50).flat_map(|_| flows()).collect();
    for limit in [548, 1472, 16_384] {
        let (mut parser, mut exporter) = (NetflowParser::default(), Exporter::new(&IPFIX));
        for message in exporter.introductions() {
            read(&mut parser, &message);
        }
        // One record of options was sent.
        let mut next = 1;
        for message in exporter.messages(&many, limit) {
            let sequence = message[8..12].try_into().expect("four bytes");
            assert_eq!(u32::from_be_bytes(sequence), next);
            next += u32::try_from(read(&mut parser, &message).len()).expect("few");
        }
        assert_eq!(next, 151);
    }
}

#[test]
fn an_icmp_flow_has_type_and_code_and_no_ports() {
    let mut flow = flow_of("192.0.2.3", "192.0.2.4", 1);
    (flow.tuple.src_port, flow.tuple.dst_port) = (3, 13);
    assert_eq!(ports_or_icmp(&flow), ((0, 0), 3 << 8 | 13));
    // An echo, whose second number is the type of the answer.
    (flow.tuple.src_port, flow.tuple.dst_port) = (8, 0);
    assert_eq!(ports_or_icmp(&flow), ((0, 0), 8 << 8));
}

#[test]
fn statistics_are_options_with_the_losses_of_this_output() {
    let (mut parser, mut exporter) = (NetflowParser::default(), Exporter::new(&IPFIX));
    for message in exporter.introductions() {
        read(&mut parser, &message);
    }
    let mut stats = samples::books();
    stats.outputs[0].counts.written[EventKind::Flow as usize] = 4711;
    stats.outputs[0].counts.dropped[Cause::Slow as usize][EventKind::Flow as usize] = 17;
    let missed = stats.missed();
    let notice = Stats {
        now: stats,
        before: crate::books::Books::default(),
        interval_s: 1.0,
        run_s: 1.0,
        last: true,
    }
    .notice(samples::TS_NS);
    let mut message = Vec::new();
    exporter.framing.begin(&mut message);
    let record = message.len();
    exporter.format.notice(&mut message, &notice, 0);
    assert!(exporter.framing.join(&mut message, 0, record, 1400));
    exporter.framing.complete(&mut message, samples::TS_NS);
    let records = read(&mut parser, &message);
    let text = format!("{records:?}");
    for number in [4711, 17, missed] {
        assert!(
            text.contains(&format!("Number({number})")),
            "{number}: {text}"
        );
    }
}
