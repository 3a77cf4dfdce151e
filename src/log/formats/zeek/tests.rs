use super::*;
use crate::inspect::detection::{Phase, Proof};
use crate::log::formats::interfaces::Interfaces;
use crate::log::formats::samples;
use std::sync::Arc;

fn zeek(direction: &'static str) -> Zeek {
    Zeek::new(Context {
        host: "edge 1".into(),
        interfaces: Interfaces::default(),
        direction: Arc::new(move |_, _| direction),
        services: None,
        frames: false,
    })
}

fn row(event: &Event, direction: &'static str) -> Vec<String> {
    let mut out = Vec::new();
    zeek(direction).event(&mut out, event, 0);
    let line = String::from_utf8(out).expect("ASCII");
    let line = line.strip_suffix('\n').expect("a line");
    assert!(!line.contains('\n'));
    line.split('\t').map(str::to_owned).collect()
}

fn header(path: &str, fields: &[Field]) -> Vec<String> {
    let mut out = Vec::new();
    begin(&mut out, path, fields, samples::TS_NS);
    end(&mut out, samples::TS_NS + 3_600_000_000_000);
    let text = String::from_utf8(out).expect("ASCII");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_file_begins_and_ends_as_zeeks_do() {
    let lines = header("conn", CONN);
    let expected = [
        "#separator \\x09",
        "#set_separator\t,",
        "#empty_field\t(empty)",
        "#unset_field\t-",
        "#path\tconn",
        "#open\t2021-04-28-15-28-05",
    ];
    assert_eq!(lines[..6], expected);
    assert!(lines[6].starts_with("#fields\tts\tuid\tid.orig_h\tid.orig_p\t"));
    assert!(lines[7].starts_with("#types\ttime\tstring\taddr\tport\t"));
    assert_eq!(lines[8], "#close\t2021-04-28-16-28-05");
    for (path, fields) in [("conn", CONN), ("notice", NOTICE), ("stats", STATS)] {
        let lines = header(path, fields);
        let columns = |line: &str| line.split('\t').count();
        assert_eq!(columns(&lines[6]), columns(&lines[7]));
        assert_eq!(columns(&lines[6]), fields.len() + 1);
    }
}

#[test]
fn a_flow_is_a_row_of_conn_log() {
    let flow = samples::flow();
    let found = row(&flow, "in");
    let named = |name: &str| {
        let at = CONN.iter().position(|field| field.0 == name);
        found[at.expect("a field")].as_str()
    };
    assert_eq!(found.len(), CONN.len());
    let Body::Flow(record) = &flow.body else {
        panic!("a flow")
    };
    assert_eq!(named("id.orig_h"), record.tuple.src.to_string());
    assert_eq!(named("id.resp_p"), record.tuple.dst_port.to_string());
    assert_eq!((named("proto"), named("service")), ("tcp", "-"));
    assert_eq!((named("local_orig"), named("local_resp")), ("F", "T"));
    assert_eq!(named("orig_pkts"), record.orig.packets.to_string());
    assert_eq!(named("orig_bytes"), record.orig.payload_bytes.to_string());
    let ip_bytes = record.orig.ip_bytes.to_string();
    assert_eq!(
        (named("orig_ip_bytes"), named("missed_bytes")),
        (ip_bytes.as_str(), "0")
    );
    assert!(named("community_id").starts_with("1:"));
    let uid = named("uid");
    assert!(
        uid.len() == 18 && uid.starts_with('C') && uid.chars().all(|c| c.is_ascii_alphanumeric())
    );
    for (way, locals) in [
        ("out", ["T", "F"]),
        ("local", ["T", "T"]),
        ("transit", ["F", "F"]),
        ("unknown", ["-", "-"]),
    ] {
        assert_eq!(row(&flow, way)[12..14], locals, "{way}");
    }
}

#[test]
fn what_has_no_duration_has_no_bytes_and_times_have_six_decimals() {
    let with = |start_ns, end_ns| {
        let mut event = samples::flow();
        if let Body::Flow(flow) = &mut event.body {
            (flow.start_ns, flow.since_ns, flow.end_ns) = (start_ns, start_ns, end_ns);
        }
        row(&event, "in")
    };
    assert_eq!(with(1_500_000_000, 1_500_000_000)[8..11], ["-", "-", "-"]);
    assert_eq!(
        with(2_000_000_000, 1_000_000_000)[8],
        "-",
        "a clock that went back"
    );
    let short = with(1_500_000_999, 1_502_001_999);
    assert_eq!((&short[0][..], &short[8][..]), ("1.500000", "0.002001"));
    assert_eq!(with(-1, 0)[0], "-0.000001");
    assert_ne!(with(1, 5)[1], with(2, 5)[1], "another flow, another uid");
    assert_eq!(with(1, 5)[1], with(1, 6)[1]);
}

#[test]
fn detections_are_rows_of_notice_log_whatever_their_kind() {
    let mut scan = samples::scan(Phase::Started, vec![(80, 83)], 4);
    scan.proof = Proof::Answered;
    let found = row(&samples::alert(&scan), "in");
    assert_eq!(found.len(), NOTICE.len());
    let expected = [
        "tcp",
        "Scan::Port_Scan",
        "Port scan detected: 192.0.2.56 -> 10.0.0.5 on ports 80,81,82,83",
        "started; verdict: unproven; proof of the source: answered; 0 refused, 0 unanswered, 0 answered, 0 may still answer",
        "192.0.2.56",
        "10.0.0.5",
        "-",
        "4",
    ];
    assert_eq!(found[9..17], expected);
    let sweep = row(&samples::alert(&samples::sweep(Phase::Ended, 25)), "in");
    let expected = [
        "Scan::Address_Scan",
        "Host sweep ended: 192.0.2.56 on port 22: 25 hosts",
    ];
    assert_eq!(sweep[10..12], expected);
    assert_eq!((&sweep[15][..], &sweep[16][..]), ("22", "25"));
}

#[test]
fn names_cannot_break_a_row() {
    let is = |text: &str| {
        let mut out = Vec::new();
        escaped(&mut out, text);
        String::from_utf8(out).expect("ASCII")
    };
    for (text, written) in [
        ("edge 1", "edge 1"),
        ("a\tb\nc", "a\\x09b\\x0ac"),
        ("\\x09", "\\x5cx09"),
        ("é", "\\xc3\\xa9"),
        ("", "(empty)"),
        ("-", "\\x2d"),
        ("(empty)", "\\x28empty)"),
    ] {
        assert_eq!(is(text), written);
    }
}

#[test]
fn json_has_the_members_that_are_set() {
    let context = zeek("in").context;
    let mut json = Json::new(Zeek::new(Context {
        host: "caf\u{e9} \\ 1".into(),
        ..context
    }));
    let mut out = Vec::new();
    json.event(&mut out, &samples::flow(), 0);
    json.event(
        &mut out,
        &samples::alert(&samples::scan(Phase::Started, vec![(80, 83)], 4)),
        0,
    );
    json.notice(&mut out, &samples::stats(), 0);
    let text = String::from_utf8(out).expect("UTF-8");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let [flow, notice, stats]: [serde_json::Value; 3] =
        lines.collect::<Vec<_>>().try_into().expect("three lines");
    assert_eq!(flow["id.orig_h"], "192.0.2.56");
    assert_eq!(
        (&flow["id.resp_p"], &flow["local_resp"]),
        (&80.into(), &true.into())
    );
    assert_eq!(
        (&flow["missed_bytes"], &flow["ip_proto"]),
        (&0.into(), &6.into())
    );
    assert_eq!(flow["duration"], 2.000_001);
    assert!(flow.get("service").is_none() && flow.get("tunnel_parents").is_none());
    assert_eq!(notice["note"], "Scan::Port_Scan");
    assert_eq!(notice["peer_descr"], "caf\u{e9} \\ 1");
    assert_eq!(notice["actions"], serde_json::json!(["Notice::ACTION_LOG"]));
    assert_eq!(notice["email_dest"], serde_json::json!([]));
    assert_eq!(
        (&stats["pkts_link"], &stats["pkts_dropped"]),
        (&150.into(), &7.into())
    );
    assert_eq!(
        (&stats["pkts_proc"], &stats["tcp_conns"]),
        (&143.into(), &93.into())
    );
    assert!(stats.get("mem").is_none());
}
