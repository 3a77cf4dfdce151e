use super::*;
use crate::host::services::{self, Bound};
use crate::inspect::detection::{Kind, Phase, Proof};
use crate::log::block_record::{BlockRecord, Why};
use crate::log::formats::interfaces::Interfaces;
use crate::log::formats::samples;
use serde_json::json;
use std::sync::Arc;

fn eve_of(interfaces: &[&str]) -> Eve {
    let names = interfaces.iter().map(|name| (*name).to_owned());
    Eve::new(Context {
        host: "edge \"1\"".into(),
        interfaces: Interfaces::new(names.collect()),
        direction: Arc::new(|_, _| "in"),
        services: None,
        frames: false,
    })
}

fn eve() -> Eve {
    eve_of(&["eth0\n"])
}

fn line(event: &Event) -> String {
    let mut out = Vec::new();
    eve().event(&mut out, event, 0);
    String::from_utf8(out).expect("UTF-8")
}

fn parsed(line: &str) -> Value {
    assert_eq!(line.find('\n'), Some(line.len() - 1), "one line: {line}");
    serde_json::from_str(line).expect("JSON")
}

#[test]
fn a_connection_is_written_to_the_byte() {
    let line = line(&samples::connection());
    let ids = flow_id::ids(&samples::attempt().tuple, 7);
    let id = ids.flow_id;
    let expected = format!(
        concat!(
            r#"{{"timestamp":"2021-04-28T15:28:05.123456+0000","host":"edge \"1\"","flow_id":{id},"#,
            r#""in_iface":"eth0\n","event_type":"new_connection","vlan":[10],"src_ip":"192.0.2.56","#,
            r#""src_port":5973,"dest_ip":"10.0.0.5","dest_port":80,"proto":"TCP","#,
            r#""community_id":"{community}","synledger":{{"isn":7,"direction":"in","odd":false}}}}"#,
            "\n"
        ),
        id = id,
        community = std::str::from_utf8(&ids.community_id).expect("ASCII"),
    );
    assert_eq!(line, expected);
    parsed(&line);
}

#[test]
fn a_flow_shares_its_id_with_its_attempt() {
    let flow = parsed(&line(&samples::flow()));
    let attempt = parsed(&line(&samples::connection()));
    assert_eq!(flow["flow_id"], attempt["flow_id"]);
    assert_eq!(flow["community_id"], attempt["community_id"]);
    assert_eq!(flow["timestamp"], "2021-04-28T15:28:07.123457+0000");
    assert_eq!(flow.get("vlan"), None);
    assert_eq!(
        flow["flow"],
        json!({
            "pkts_toserver": 10, "pkts_toclient": 8, "bytes_toserver": 1234, "bytes_toclient": 4321,
            "start": "2021-04-28T15:28:05.123456+0000", "end": "2021-04-28T15:28:07.123457+0000",
            "age": 2, "state": "closed", "reason": "timeout",
        })
    );
    assert_eq!(
        flow["tcp"],
        json!({"tcp_flags": "1b", "tcp_flags_ts": "1b", "tcp_flags_tc": "1b"})
    );
    assert_eq!(
        flow["synledger"],
        json!({
            "isn": 7, "direction": "in", "conn_state": "SF", "history": "ShADadFf",
            "basis": "handshake", "end_reason": "fin",
            "payload_bytes_toserver": 934, "payload_bytes_toclient": 4081,
            "gso": true, "midstream": false, "preexisting": false, "fragmented": false,
            "saturated": false, "shed": false,
        })
    );
}

fn with_services(event: &Event, listeners: &[(u8, u16, Bound, &str)]) -> Value {
    let mut eve = eve_of(&["lan", "wan"]);
    eve.context.services = Some(services::sample(&["10.0.0.5"], listeners));
    let mut out = Vec::new();
    eve.event(&mut out, event, 0);
    parsed(&String::from_utf8(out).expect("UTF-8"))["synledger"].take()
}

#[test]
fn records_name_the_service_of_their_destination_where_that_is_this_host() {
    let web = [(6, 80, Bound::Any, "a\"b.service")];
    let mut split = samples::flow_record();
    split.interface_resp = 1;
    let split = Event {
        body: Body::Flow(split),
        ..samples::flow()
    };
    for event in [samples::connection(), samples::flow(), split] {
        let plain = with_services(&event, &[]);
        assert_eq!(plain.get("service"), None);
        let mut named = with_services(&event, &web);
        let name = named.as_object_mut().expect("members").remove("service");
        assert_eq!(name, Some(json!("a\"b.service")));
        assert_eq!(named, plain, "nothing else changes");
        let udp = with_services(&event, &[(17, 80, Bound::Any, "udp")]);
        assert_eq!(udp, plain);
    }
    let elsewhere = with_services(&samples::connection6(), &web);
    assert_eq!(elsewhere.get("service"), None);
}

#[test]
fn alerts_name_the_services_of_at_most_eight_touched_ports() {
    let ports = [80, 22, 1000, 1001, 2000, 23, 24, 25, 26, 27, 28, 29];
    let listeners = ports.map(|port| (6, port, Bound::Any, "x"));
    let of = |ranges: Vec<(u16, u16)>| {
        let scan = samples::scan(Phase::Ended, ranges, 4);
        with_services(&samples::alert(&scan), &listeners)
    };
    assert_eq!(
        of(vec![(1, 22), (79, 81), (1001, 1500)])["services"],
        json!([
            {"port": 22, "service": "x"}, {"port": 80, "service": "x"}, {"port": 1001, "service": "x"},
        ])
    );
    assert_eq!(of(vec![(1, 21)]).get("services"), None);
    let listed = of(vec![(1, u16::MAX)])["services"].take();
    assert_eq!(listed.as_array().map(Vec::len), Some(8));

    // TCP listeners are no services of datagrams.
    let mut udp = samples::scan(Phase::Started, vec![(22, 80)], 4);
    udp.kind = Kind::UdpScan;
    let names = [(6, 22, Bound::Any, "ssh"), (17, 53, Bound::Any, "dns")];
    let udp = with_services(&samples::alert(&udp), &names);
    assert_eq!(udp["services"], json!([{"port": 53, "service": "dns"}]));

    let sweep = samples::alert(&samples::sweep(Phase::Started, 25));
    let sweep = with_services(&sweep, &listeners);
    assert_eq!(
        (&sweep["service"], sweep.get("services")),
        (&json!("x"), None)
    );
}

#[test]
fn a_responder_at_another_interface_is_named() {
    let mut flow = samples::flow_record();
    let of = |flow| {
        let mut event = samples::flow();
        event.body = Body::Flow(flow);
        let mut out = Vec::new();
        eve_of(&["lan", "wan", ""]).event(&mut out, &event, 0);
        parsed(&String::from_utf8(out).expect("text"))
    };
    flow.interface_resp = 1;
    let split = of(flow);
    let names = (&split["in_iface"], &split["synledger"]["in_iface_resp"]);
    assert_eq!(names, (&json!("lan"), &json!("wan")));
    for other in [0, 2] {
        flow.interface_resp = other;
        assert_eq!(of(flow)["synledger"].get("in_iface_resp"), None);
    }
}

#[test]
fn icmp_and_portless_flows_have_no_ports() {
    let mut flow = samples::flow_record();
    (flow.tuple.proto, flow.tuple.src_port, flow.tuple.dst_port) = (1, 3, 1);
    let mut event = samples::flow();
    event.body = Body::Flow(flow);
    let icmp = parsed(&line(&event));
    assert_eq!(
        (&icmp["proto"], &icmp["icmp_type"]),
        (&json!("ICMP"), &json!(3))
    );
    assert_eq!(icmp["icmp_code"], 1);
    assert_eq!((icmp.get("src_port"), icmp.get("tcp")), (None, None));

    (flow.tuple.proto, flow.tuple.src_port, flow.tuple.dst_port) = (47, 0, 0);
    flow.interface = 9;
    event.body = Body::Flow(flow);
    let gre = parsed(&line(&event));
    assert_eq!(gre["proto"], "47");
    assert_eq!((gre.get("dest_port"), gre.get("in_iface")), (None, None));
}

#[test]
fn an_alert_has_suricatas_fields_and_the_scans() {
    let mut scan = samples::scan(Phase::Ended, vec![(22, 22), (1000, 1998)], 1001);
    (scan.evidence.refused, scan.evidence.pending) = (994, 7);
    let alert = parsed(&line(&samples::alert(&scan)));
    assert_eq!(
        alert["alert"],
        json!({
            "action": "allowed", "gid": GID, "signature_id": 1003, "rev": 1,
            "signature": "synledger port scan ended",
            "category": "Attempted Information Leak", "severity": 3,
        })
    );
    assert_eq!(
        alert["synledger"]["scan"],
        json!({
            "kind": "port_scan", "phase": "ended", "ports": 1001, "hosts": 1,
            "port_list": "22,1000-1998", "ports_not_listed": 1, "window_s": 60,
            "exact": true, "complete": true,
            "first": "2021-04-28T15:28:04.123456+0000",
            "verdict": "unproven",
            "evidence": {
                "refused": 994, "unanswered": 0, "answered": 0, "pending": 7, "score": 994,
                "source": {
                    "places": 0, "answered": 0, "half_open": 0, "dark": 0, "friendly": false, "techniques": [],
                },
            },
            "proof": "none",
        })
    );
    assert_eq!(
        (&alert["src_ip"], &alert["dest_ip"]),
        (&json!("192.0.2.56"), &json!("10.0.0.5"))
    );
}

#[test]
fn a_sweep_names_its_port_and_counts_hosts() {
    let mut sweep = samples::sweep(Phase::Started, 25);
    sweep.proof = Proof::Handshake;
    let alert = parsed(&line(&samples::alert(&sweep)));
    assert_eq!(
        (
            &alert["alert"]["signature_id"],
            &alert["alert"]["signature"]
        ),
        (&json!(1011), &json!("synledger host sweep detected"))
    );
    assert_eq!(
        (&alert["src_ip"], &alert["dest_ip"], &alert["dest_port"]),
        (&json!("192.0.2.56"), &json!("10.0.0.5"), &json!(22))
    );
    let scan = &alert["synledger"]["scan"];
    assert_eq!((&scan["hosts"], &scan["ports"]), (&json!(25), &json!(1)));
    assert_eq!(
        (&scan["proof"], scan.get("port_list")),
        (&json!("handshake"), None)
    );
}

#[test]
fn notices_are_json_whatever_they_hold() {
    let mut out = Vec::new();
    eve().notice(&mut out, &samples::lifecycle(), 0);
    let start = parsed(std::str::from_utf8(&out).expect("UTF-8"));
    assert_eq!(start["event_type"], "lifecycle");
    assert_eq!(
        start["synledger"],
        json!({"event": "start", "message": "listening on\n eth0", "workers": 2, "a\"b": ["x\n"]})
    );
    out.clear();
    eve().notice(&mut out, &samples::stats(), 0);
    let stats = parsed(std::str::from_utf8(&out).expect("UTF-8"));
    assert_eq!(stats["stats"]["capture"]["kernel_packets"], 150);
    assert_eq!(stats["synledger"]["complete"], false);
}

#[test]
fn a_window_of_part_of_a_second_is_a_number() {
    let mut out = Vec::new();
    append::window(&mut out, 1_500_000_000);
    assert_eq!(out, b"1.500000000");
}

#[test]
fn controls_in_details_act_on_no_terminal() {
    let path = "a\u{1b}[2J\u{7f}\u{9b}2J\u{e9}\"";
    let notice = Notice::Lifecycle {
        ts_ns: 0,
        word: "start",
        text: path.to_owned(),
        details: vec![("output".into(), json!([path]))],
    };
    let mut out = Vec::new();
    eve().notice(&mut out, &notice, 0);
    let line = String::from_utf8(out).expect("UTF-8");
    let shown = |letter: char| letter == '\n' || !letter.is_control();
    assert!(line.chars().all(shown), "{line:?}");
    let record = parsed(&line);
    assert_eq!(record["synledger"]["output"][0], path);
}

#[test]
fn a_record_of_a_block_has_all_of_ours_under_one_member() {
    let render = |record: BlockRecord| {
        let mut out = Vec::new();
        eve().notice(&mut out, &Notice::Block(Box::new(record)), 0);
        parsed(&String::from_utf8(out).expect("UTF-8"))
    };
    let [_, of_network, _] = samples::block();
    let [blocked, refused, ended] = samples::block().map(render);
    let evidence = json!({"refused": 9, "unanswered": 2, "answered": 1, "pending": 0});
    let why = json!({
        "why": "detection", "kind": "port_scan", "dest_ip": "198.51.100.7", "count": 12, "proof": "handshake",
        "verdict": "scan", "evidence": evidence,
    });
    let with = |mut members: Value| {
        let all = members.as_object_mut().expect("an object");
        all.extend(why.as_object().expect("an object").clone());
        members
    };
    assert_eq!(blocked["event_type"], "block");
    assert_eq!(blocked["src_ip"], "192.0.2.9");
    let expected = json!({
        "net": "192.0.2.9/32", "mode": "nft", "dry_run": false, "action": "blocked", "for_s": 3600,
        "until": "2021-04-28T16:28:05.123456+0000", "renewed": false, "nth": 2, "delay_us": 1200,
    });
    assert_eq!(blocked["synledger"], json!({ "block": with(expected) }));
    assert_eq!(
        refused["src_ip"], "2001:db8::9",
        "who was detected in the network"
    );
    let of_nobody = render(BlockRecord {
        why: Why::Found,
        ..of_network
    });
    assert_eq!(of_nobody.get("src_ip"), None, "a network is no address");
    let expected = json!({
        "net": "2001:db8::/64", "mode": "dry-run", "dry_run": true, "action": "refused", "reason": "gateway",
    });
    assert_eq!(refused["synledger"], json!({ "block": with(expected) }));
    let expected = json!({
        "net": "192.0.2.9/32", "mode": "nft", "dry_run": false, "action": "ended", "cause": "expired",
        "since": "2021-04-28T15:28:04.123456+0000", "dropped_packets": 3, "dropped_bytes": 180,
        "why": "hand", "words": "noisy",
    });
    assert_eq!(ended["synledger"], json!({ "block": expected }));
}

#[test]
fn the_longest_records_are_whole() {
    use crate::flow::record::{Basis, ConnState, EndReason, History, Volume};
    let longest = "f123:4567:89ab:cdef:f123:4567:89ab:cdef";
    let volume = Volume {
        packets: u64::MAX,
        bytes: u64::MAX,
        payload_bytes: u64::MAX,
        ip_bytes: u64::MAX,
        retransmitted_packets: u64::MAX,
        retransmitted_bytes: u64::MAX,
        missed_bytes: u64::MAX,
        tcp_flags: 0xff,
    };
    let mut eve = Eve::new(Context {
        host: String::new(),
        interfaces: Interfaces::default(),
        direction: Arc::new(|_, _| "unknown"),
        services: None,
        frames: true,
    });
    for proto in 0..=255 {
        let tuple = FiveTuple {
            src: longest.parse().expect("an address"),
            dst: longest.parse().expect("an address"),
            // Types without a counterpart: the code is written, too.
            src_port: u16::MAX,
            dst_port: u16::MAX,
            proto,
        };
        let attempt = Attempt {
            ts_ns: i64::MIN,
            tuple,
            isn: u32::MAX,
            vlan: [u16::MAX; 2],
            vlan_count: 2,
            ..samples::attempt()
        };
        let flow = FlowRecord {
            tuple,
            isn: u32::MAX,
            start_ns: i64::MIN,
            end_ns: i64::MAX,
            orig: volume,
            resp: volume,
            conn_state: ConnState::Rstos0,
            history: History {
                letters: [b'S'; 12],
            },
            reason: EndReason::Unanswered,
            basis: Basis::Handshake,
            vlan: [u16::MAX; 2],
            vlan_count: 2,
            ..samples::flow_record()
        };
        for body in [Body::NewConnection(attempt), Body::Flow(flow)] {
            let event = Event {
                position: u64::MAX,
                body,
                ..samples::connection()
            };
            let mut out = Vec::new();
            eve.event(&mut out, &event, 0);
            parsed(&String::from_utf8(out).expect("UTF-8"));
        }
    }
}
