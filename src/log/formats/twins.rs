//! Slow twins of the formats: `format!` and the libraries write the same lines of random attempts and flows.

use super::context::Context;
use super::flow_id::{has_ports, icmp_counterpart, ids, is_icmp};
use super::interfaces::Interfaces;
use super::text::TextFormat;
use super::{Format, OutputTraits, eve, text, zeek};
use crate::capture::tunnels::Inside;
use crate::flow::record::{
    Attempt, Basis, ConnState, EndReason, FiveTuple, FlowRecord, History, Volume, proto_word,
};
use crate::log::event::{Body, Event, Step};
use jiff::Timestamp;
use proptest::prelude::*;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

const HOST: &str = "edge \"1\"";
const ISO: &str = "%Y-%m-%dT%H:%M:%S.%6f";
const SPACED: &str = "%Y-%m-%d %H:%M:%S";
const DIRECTIONS: [&str; 5] = ["in", "out", "local", "transit", "unknown"];

/// Interfaces of the run; the last one is longer than any text that is put together in place.
fn names() -> Vec<String> {
    ["eth0", "", "a\"b\\", &"long".repeat(30_000)]
        .map(str::to_owned)
        .to_vec()
}

fn name(interface: u16) -> String {
    names()
        .get(usize::from(interface))
        .cloned()
        .unwrap_or_default()
}

fn context(direction: &'static str, frames: bool) -> Context {
    Context {
        host: HOST.into(),
        interfaces: Interfaces::new(names()),
        direction: Arc::new(move |_, _| direction),
        services: None,
        frames,
    }
}

fn time(ts_ns: i64, format: &str) -> String {
    let moment = Timestamp::from_nanosecond(ts_ns.into()).expect("a time");
    moment.strftime(format).to_string()
}

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("JSON")
}

fn eve_head(
    kind: &str,
    event: &Event,
    frames: bool,
    (tuple, isn): (&FiveTuple, u32),
    (interface, vlan): (u16, &[u16]),
) -> String {
    let ids = ids(tuple, isn);
    let mut line = format!(
        "{{\"timestamp\":\"{}+0000\",\"host\":{}",
        time(event.ts_ns(), ISO),
        json(HOST)
    );
    if frames {
        line += &format!(",\"pcap_cnt\":{}", event.position);
    }
    line += &format!(",\"flow_id\":{}", ids.flow_id);
    if !name(interface).is_empty() {
        line += &format!(",\"in_iface\":{}", json(&name(interface)));
    }
    line += &format!(",\"event_type\":\"{kind}\"");
    if !vlan.is_empty() {
        line += &format!(",\"vlan\":{}", serde_json::to_string(vlan).expect("JSON"));
    }
    let port = |name: &str, port: u16| match has_ports(tuple.proto) {
        true => format!(",\"{name}\":{port}"),
        false => String::new(),
    };
    line += &format!(
        ",\"src_ip\":\"{}\"{}",
        tuple.src,
        port("src_port", tuple.src_port)
    );
    line += &format!(
        ",\"dest_ip\":\"{}\"{}",
        tuple.dst,
        port("dest_port", tuple.dst_port)
    );
    line += &format!(",\"proto\":\"{}\"", proto(tuple.proto));
    if is_icmp(tuple.proto) {
        line += &format!(",\"icmp_type\":{}", tuple.src_port);
        if icmp_counterpart(tuple.proto, tuple.src_port).is_none() {
            line += &format!(",\"icmp_code\":{}", tuple.dst_port);
        }
    }
    let community_id = String::from_utf8_lossy(&ids.community_id).into_owned();
    line + &format!(",\"community_id\":\"{community_id}\"")
}

fn proto(proto: u8) -> String {
    proto_word(proto).map_or_else(|| proto.to_string(), str::to_owned)
}

fn eve_attempt(event: &Event, attempt: &Attempt, frames: bool, direction: &str) -> String {
    let vlan = &attempt.vlan[..usize::from(attempt.vlan_count)];
    let ends = (&attempt.tuple, attempt.isn);
    let head = eve_head(
        "new_connection",
        event,
        frames,
        ends,
        (attempt.interface, vlan),
    );
    let (isn, odd) = (attempt.isn, attempt.odd);
    format!(
        "{head},\"synledger\":{{\"isn\":{isn},\"direction\":\"{direction}\",\"odd\":{odd}}}}}\n"
    )
}

fn letters(history: &History) -> String {
    let letters = history.letters.iter().take_while(|letter| **letter != 0);
    letters.map(|letter| char::from(*letter)).collect()
}

fn eve_sums(flow: &FlowRecord) -> String {
    let (orig, resp) = (&flow.orig, &flow.resp);
    let mut line = format!(
        ",\"ip_bytes_toserver\":{},\"ip_bytes_toclient\":{}",
        orig.ip_bytes, resp.ip_bytes
    );
    let irregular = [orig, resp].map(|side| {
        [
            ("retransmitted_pkts", side.retransmitted_packets),
            ("retransmitted_bytes", side.retransmitted_bytes),
            ("missed_bytes", side.missed_bytes),
        ]
    });
    if irregular.iter().flatten().any(|(_, count)| *count > 0) {
        for ((name, to_server), (_, to_client)) in irregular[0].iter().zip(&irregular[1]) {
            line += &format!(",\"{name}_toserver\":{to_server},\"{name}_toclient\":{to_client}");
        }
    }
    if let Some(tunnel) = flow.inside.tunnel() {
        line += &format!(",\"tunnel\":\"{tunnel}\"");
    }
    if flow.interim || flow.part > 0 {
        line += &format!(
            ",\"interim\":{},\"part\":{},\"since\":\"{}+0000\"",
            flow.interim,
            flow.part,
            time(flow.since_ns, ISO)
        );
    }
    line
}

fn eve_flow(event: &Event, flow: &FlowRecord, frames: bool, direction: &str) -> String {
    let vlan = &flow.vlan[..usize::from(flow.vlan_count)];
    let mut line = eve_head(
        "flow",
        event,
        frames,
        (&flow.tuple, flow.isn),
        (flow.interface, vlan),
    );
    let (orig, resp) = (&flow.orig, &flow.resp);
    let second = |ts_ns: i64| ts_ns.div_euclid(1_000_000_000);
    let state = match flow.reason {
        EndReason::Fin | EndReason::Rst | EndReason::Refused => "closed",
        _ if resp.packets > 0 => "established",
        _ => "new",
    };
    let reason = match flow.reason {
        EndReason::Evicted => "forced",
        EndReason::Eof => "shutdown",
        _ => "timeout",
    };
    line += &format!(
        ",\"flow\":{{\"pkts_toserver\":{},\"pkts_toclient\":{},\"bytes_toserver\":{},\"bytes_toclient\":{},\
         \"start\":\"{}+0000\",\"end\":\"{}+0000\",\"age\":{},\"state\":\"{state}\",\"reason\":\"{reason}\"}}",
        orig.packets,
        resp.packets,
        orig.bytes,
        resp.bytes,
        time(flow.start_ns, ISO),
        time(flow.end_ns, ISO),
        (second(flow.end_ns) - second(flow.start_ns)).max(0),
    );
    if flow.tuple.proto == 6 {
        let (ts, tc) = (orig.tcp_flags, resp.tcp_flags);
        line += &format!(
            ",\"tcp\":{{\"tcp_flags\":\"{:02x}\",\"tcp_flags_ts\":\"{ts:02x}\",\"tcp_flags_tc\":\"{tc:02x}\"}}",
            ts | tc,
        );
    }
    line += &format!(
        ",\"synledger\":{{\"isn\":{},\"direction\":\"{direction}\",\"conn_state\":\"{}\",\"history\":\"{}\",\"basis\":\"{}\",\
         \"end_reason\":\"{}\",\"payload_bytes_toserver\":{},\"payload_bytes_toclient\":{}",
        flow.isn,
        flow.conn_state,
        letters(&flow.history),
        flow.basis,
        flow.end_word(),
        orig.payload_bytes,
        resp.payload_bytes,
    );
    line += &format!(
        ",\"gso\":{},\"midstream\":{},\"preexisting\":{},\"fragmented\":{},\"saturated\":{},\"shed\":{}",
        flow.gso, flow.midstream, flow.preexisting, flow.fragmented, flow.saturated, flow.shed,
    );
    line += &eve_sums(flow);
    let other = name(flow.interface_resp);
    if flow.interface_resp != flow.interface && !other.is_empty() {
        line += &format!(",\"in_iface_resp\":{}", json(&other));
    }
    line + "}}\n"
}

/// Seconds of nanoseconds, with six decimals.
fn seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns / 1000 % 1_000_000)
}

fn zeek_size(side: &Volume) -> u64 {
    let once = u128::from(side.payload_bytes.max(side.retransmitted_bytes))
        - u128::from(side.retransmitted_bytes);
    u64::try_from(once + u128::from(side.missed_bytes)).unwrap_or(u64::MAX)
}

fn zeek_uid(flow: &FlowRecord) -> (String, String) {
    let tuple = &flow.tuple;
    let ids = ids(tuple, flow.isn);
    let mut hasher = SipHasher13::new_with_keys(0x7379_6e6c_6564_6765, 0x7a65_656b_5f75_6964);
    let numbers = [
        ids.flow_id,
        flow.start_ns.cast_unsigned(),
        u64::from(flow.id),
    ];
    numbers.iter().for_each(|number| hasher.write_u64(*number));
    hasher.write_u8(u8::from(flow.joined));
    let mut left = hasher.finish128().as_u128();
    let mut uid = String::from("C");
    for _ in 0..17 {
        let digit = u32::try_from(left % 62).expect("a digit");
        let letter = match digit {
            0..10 => char::from_digit(digit, 10),
            10..36 => char::from_u32(digit - 10 + u32::from(b'A')),
            _ => char::from_u32(digit - 36 + u32::from(b'a')),
        };
        uid.push(letter.expect("a letter"));
        left /= 62;
    }
    let community_id = String::from_utf8_lossy(&ids.community_id);
    (uid, community_id.into_owned())
}

fn zeek_row(flow: &FlowRecord, direction: &str) -> String {
    let tuple = &flow.tuple;
    let (uid, community_id) = zeek_uid(flow);
    let start = flow.since_ns.div_euclid(1000);
    let sign = if start < 0 { "-" } else { "" };
    let start = format!("{sign}{}", seconds(start.unsigned_abs() * 1000));
    let proto = match tuple.proto {
        6 => "tcp",
        17 => "udp",
        1 | 58 => "icmp",
        _ => "unknown_transport",
    };
    let lasted = match flow.end_ns.saturating_sub(flow.since_ns) {
        ns @ 1.. => format!(
            "{}\t{}\t{}",
            seconds(ns.unsigned_abs()),
            zeek_size(&flow.orig),
            zeek_size(&flow.resp)
        ),
        _ => "-\t-\t-".to_owned(),
    };
    let missed = u128::from(flow.orig.missed_bytes) + u128::from(flow.resp.missed_bytes);
    let missed = match flow.midstream {
        true => 0,
        false => u64::try_from(missed).unwrap_or(u64::MAX),
    };
    let local = |there: &str| match direction {
        "unknown" => "-",
        one if one == there || one == "local" => "T",
        _ => "F",
    };
    let history = match letters(&flow.history) {
        none if none.is_empty() => "-".to_owned(),
        some => some,
    };
    format!(
        "{start}\t{uid}\t{}\t{}\t{}\t{}\t{proto}\t-\t{lasted}\t{}\t{}\t{}\t{missed}\t{history}\t{}\t{}\t{}\t{}\t-\t{}\t{}\n",
        tuple.src,
        tuple.src_port,
        tuple.dst,
        tuple.dst_port,
        flow.conn_state,
        local("out"),
        local("in"),
        flow.orig.packets,
        flow.orig.ip_bytes,
        flow.resp.packets,
        flow.resp.ip_bytes,
        tuple.proto,
        community_id,
    )
}

fn text_head(full: bool, due_ns: i64, interface: u16, direction: &str) -> String {
    let blank = |letter: char| letter.is_whitespace() || letter.is_control();
    match full {
        true => {
            let name = name(interface).replace(blank, "_");
            let name = if name.is_empty() { "-" } else { &name };
            format!("{}Z {name} {direction}: ", time(due_ns, ISO))
        }
        false => format!("{}: ", time(due_ns, SPACED)),
    }
}

fn text_ends(tuple: &FiveTuple) -> String {
    let end = SocketAddr::new;
    format!(
        "{} -> {}",
        end(tuple.src, tuple.src_port),
        end(tuple.dst, tuple.dst_port)
    )
}

fn text_flow(flow: &FlowRecord, full: bool, due_ns: i64) -> String {
    let lasted = flow.end_ns.saturating_sub(flow.start_ns);
    let sign = if lasted < 0 { "-" } else { "" };
    let mut line = format!(
        "Flow {}: {} {} {} {} after {sign}{} s, sent {} packets {} bytes, received {} packets {} bytes",
        if flow.interim { "goes on" } else { "ended" },
        text_ends(&flow.tuple),
        proto(flow.tuple.proto),
        flow.conn_state,
        flow.end_word(),
        seconds(lasted.unsigned_abs()),
        flow.orig.packets,
        flow.orig.bytes,
        flow.resp.packets,
        flow.resp.bytes,
    );
    let [orig, resp] = [&flow.orig, &flow.resp];
    let sums = [
        orig.retransmitted_packets,
        resp.retransmitted_packets,
        orig.missed_bytes,
        resp.missed_bytes,
    ];
    if sums.iter().any(|sum| *sum > 0) || orig.retransmitted_bytes | resp.retransmitted_bytes > 0 {
        let [a, b, c, d] = sums;
        line += &format!(", retransmitted {a}+{b} packets, missed {c}+{d} bytes");
    }
    let format = if full { ISO } else { SPACED };
    let (due, end) = (time(due_ns, format), time(flow.end_ns, format));
    if due != end {
        line += &match full {
            true => format!(", last packet {end}Z"),
            false if due[..10] == end[..10] => format!(", last packet {}", &end[11..]),
            false => format!(", last packet {end}"),
        };
    }
    line + if flow.shed { ", others shed\n" } else { "\n" }
}

prop_compose! {
    fn tuples()(
        v4 in any::<[[u8; 4]; 2]>(), is_v4 in any::<bool>(), dense in any::<[[u16; 8]; 2]>(), zeros in any::<u8>(),
        ports in any::<(u16, u16)>(), small in any::<bool>(),
        proto in prop_oneof![4 => Just(6), 2 => Just(17), 1 => Just(1), 1 => Just(58), 2 => any::<u8>()],
    ) -> FiveTuple {
        let sparse = |mut words: [u16; 8]| {
            let words_zero = (0..8).filter(|bit| zeros >> bit & 1 == 1);
            words_zero.for_each(|word| words[word] = 0);
            IpAddr::from(words)
        };
        let [src, dst] = if is_v4 { v4.map(IpAddr::from) } else { dense.map(sparse) };
        let port = |port: u16| if small { port % 20 } else { port };
        FiveTuple { src, dst, src_port: port(ports.0), dst_port: port(ports.1), proto }
    }
}

prop_compose! {
    fn volumes()(numbers in any::<[u64; 7]>(), shift in 0_u32..64, tcp_flags in any::<u8>()) -> Volume {
        let [packets, bytes, payload_bytes, ip_bytes, retransmitted_packets, retransmitted_bytes, missed_bytes] =
            numbers.map(|number| number >> shift);
        Volume {
            packets, bytes, payload_bytes, ip_bytes, retransmitted_packets, retransmitted_bytes, missed_bytes, tcp_flags,
        }
    }
}

prop_compose! {
    fn flows()(
        tuple in tuples(), isn in any::<u32>(), start_ns in any::<i64>(), orig in volumes(), resp in volumes(),
        lasted in prop_oneof![0_i64..3_000_000_000, any::<i64>()], words in any::<[usize; 3]>(), flags in any::<[bool; 8]>(), inside in 0_u32..8,
        letters in "[shfrdaiqgtSHFRDAIQGT^]{0,16}", interfaces in (0_u16..6, 0_u16..6), id in any::<u16>(),
        vlan in any::<[u16; 2]>(), vlan_count in 0_u8..3, part in any::<u16>(), since_ns in any::<Option<i64>>(),
    ) -> FlowRecord {
        let [gso, midstream, preexisting, fragmented, saturated, shed, joined, interim] = flags;
        let mut history = History::default();
        history.letters[..letters.len()].copy_from_slice(letters.as_bytes());
        FlowRecord {
            tuple, id, joined, isn, start_ns, end_ns: start_ns.saturating_add(lasted), orig, resp,
            conn_state: ConnState::ALL[words[0] % ConnState::COUNT],
            history,
            reason: EndReason::ALL[words[1] % EndReason::COUNT],
            basis: Basis::ALL[words[2] % Basis::COUNT],
            midstream, preexisting, gso, fragmented, saturated, reopened: false, shed, inside: Inside::of_bits(inside), interim, part,
            since_ns: since_ns.unwrap_or(start_ns),
            total: false,
            interface: interfaces.0, interface_resp: interfaces.1, vlan, vlan_count,
        }
    }
}

fn lines(format: &mut dyn Format, event: &Event, due_ns: i64) -> String {
    // Twice: what a renderer keeps from the first line may not show in the second.
    let mut out = Vec::new();
    format.event(&mut out, event, due_ns);
    format.event(&mut out, event, due_ns);
    String::from_utf8(out).expect("UTF-8")
}

proptest! {
    #[test]
    fn lines_are_those_of_the_slow_twins(
        flow in flows(), position in any::<u64>(), frames in any::<bool>(), odd in any::<bool>(), full in any::<bool>(),
        direction in 0..DIRECTIONS.len(), late_ns in prop_oneof![Just(0), 0_i64..200_000_000_000_000, any::<i64>()],
    ) {
        let direction = DIRECTIONS[direction];
        let traits = OutputTraits {
            text_format: Some(if full { TextFormat::Full } else { TextFormat::Short }),
            person: false,
            output: 0,
            transport: None,
        };
        let attempt = Attempt {
            ts_ns: flow.start_ns, tuple: flow.tuple, isn: flow.isn, odd, interface: flow.interface, vlan: flow.vlan,
            vlan_count: flow.vlan_count,
        };
        let event = |body| Event { position, step: Step::Frame(0, 0), body };
        let (attempted, ended) = (event(Body::NewConnection(attempt)), event(Body::Flow(flow)));
        let due_ns = flow.end_ns.saturating_add(late_ns);
        let context = context(direction, frames);
        let mut formats = [&eve::EVE, &text::TEXT, &zeek::ZEEK].map(|format| (format.open)(&context, &traits));
        let head = text_head(full, due_ns, flow.interface, direction);
        let expected = [
            (0, &attempted, eve_attempt(&attempted, &attempt, frames, direction)),
            (0, &ended, eve_flow(&ended, &flow, frames, direction)),
            (1, &attempted, format!("{head}New connection: {}\n", text_ends(&flow.tuple))),
            (1, &ended, head + &text_flow(&flow, full, due_ns)),
            (2, &ended, zeek_row(&flow, direction)),
        ];
        for (format, event, line) in expected {
            prop_assert_eq!(lines(formats[format].as_mut(), event, due_ns), line.repeat(2));
        }
    }
}
