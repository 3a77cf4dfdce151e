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

#[test]
fn a_parser_reads_every_element_of_ipfix_back() {
    let (mut parser, mut exporter) = (NetflowParser::default(), Exporter::new(&IPFIX));
    let introduced: Vec<Read> = (exporter.introductions().iter())
        .flat_map(|message| read(&mut parser, message))
        .collect();
    eprintln!("{introduced:?}");
    assert!(numbers(&introduced[introduced.len() - 1]).contains(&json!(1)));
    let messages = exporter.messages(&flows(), 1400);
    let records: Vec<Read> = (messages.iter())
        .flat_map(|one| read(&mut parser, one))
        .collect();
    assert_eq!(records.len(), 3);
    for (record, flow) in records.iter().zip(flows()) {
        assert_eq!(record.len(), FLOW_4_FIELDS.len(), "{record:?}");
        let text = format!("{record:?}");
        for number in [
            flow.orig.ip_bytes,
            flow.resp.ip_bytes,
            flow.orig.packets,
            flow.resp.packets,
            flow.orig.bytes,
            flow.resp.bytes,
            flow.orig.payload_bytes,
            flow.resp.payload_bytes,
            flow_id::id(&flow.tuple, flow.isn),
            10,
            1,
            4,
        ] {
            assert!(
                text.contains(&format!("Number({number})")),
                "{number}: {text}"
            );
        }
        assert!(text.contains(&format!("\"{}\"", flow.tuple.src)), "{text}");
        assert!(text.contains(&format!("\"{}\"", flow.tuple.dst)), "{text}");
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
    assert_eq!(records.len(), 6, "{records:?}");
    for (pair, flow) in records.chunks(2).zip(flows()) {
        for (record, volume) in pair.iter().zip([&flow.orig, &flow.resp]) {
            let text = format!("{record:?}");
            for number in [volume.ip_bytes, volume.packets] {
                assert!(
                    text.contains(&format!("Number({number})")),
                    "{number}: {text}"
                );
            }
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
