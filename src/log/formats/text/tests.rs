use super::*;
use crate::log::fold::Folds;
use crate::log::formats::interfaces::Interfaces;
use crate::log::formats::samples;
use std::sync::Arc;

const S: i64 = 1_000_000_000;

fn text(format: TextFormat) -> Text {
    let context = Context {
        host: "edge".into(),
        interfaces: Interfaces::new(vec!["eth0".into()]),
        direction: Arc::new(|_, _| "in"),
        services: None,
        frames: false,
    };
    Text::new(format, context)
}

/// The line of an event that was due `after_ns` after its sample's time.
fn line_after(format: TextFormat, event: &Event, after_ns: i64) -> String {
    let mut out = Vec::new();
    text(format).event(&mut out, event, samples::TS_NS + after_ns);
    String::from_utf8(out).expect("UTF-8")
}

fn line(event: &Event) -> String {
    line_after(TextFormat::Short, event, 0)
}

fn full(event: &Event) -> String {
    line_after(TextFormat::Full, event, 0)
}

#[test]
fn a_connection_reads_exactly_as_promised() {
    assert_eq!(
        line(&samples::connection()),
        "2021-04-28 15:28:05: New connection: 192.0.2.56:5973 -> 10.0.0.5:80\n"
    );
    assert_eq!(
        line(&samples::connection6()),
        "2021-04-28 15:28:05: New connection: [2001:db8::1]:5973 -> [2001:db8::5]:80\n"
    );
}

#[test]
fn a_scan_reads_exactly_as_promised() {
    let mut scan = samples::scan(Phase::Started, vec![(80, 83)], 4);
    let head = "2021-04-28 15:28:05: Port scan";
    let pair = "192.0.2.56 -> 10.0.0.5 on ports";
    assert_eq!(
        line(&samples::alert(&scan)),
        format!("{head} detected: {pair} 80,81,82,83\n")
    );

    scan = samples::scan(Phase::Continues, vec![(1, 1000)], 1000);
    let first: Vec<_> = (1..=64).map(|port| port.to_string()).collect();
    let first = first.join(",");
    assert_eq!(
        line(&samples::alert(&scan)),
        format!("{head} continues: {pair} {first} (+936 more) (verdict: unproven)\n")
    );

    scan = samples::scan(Phase::Ended, vec![(1, 1000)], 1000);
    (scan.evidence.refused, scan.evidence.answered) = (994, 6);
    let counts = "(1000 ports, 994 refused, 0 unanswered, 6 answered; verdict: unproven)";
    assert_eq!(
        line(&samples::alert(&scan)),
        format!("{head} ended: {pair} 1-1000, last touch 15:28:05 {counts}\n")
    );
    (scan.evidence.refused, scan.evidence.pending) = (990, 4);
    let counts = "(1000 ports, 990 refused, 0 unanswered, 6 answered, 4 may still answer; verdict: unproven)";
    assert_eq!(
        line(&samples::alert(&scan)),
        format!("{head} ended: {pair} 1-1000, last touch 15:28:05 {counts}\n")
    );
}

#[test]
fn a_summary_stops_at_64_ranges_and_says_what_it_cannot_vouch_for() {
    let ranges: Vec<_> = (0..70).map(|i| (i * 2 + 1, i * 2 + 1)).collect();
    let mut scan = samples::scan(Phase::Ended, ranges, 70);
    (scan.exact, scan.complete) = (false, false);
    let line = line(&samples::alert(&scan));
    assert!(line.ends_with(
        ",125,127 (+6 more), last touch 15:28:05 (70 ports, 0 refused, 0 unanswered, 0 answered; verdict: unproven) (not exact) (not complete)\n"
    ), "{line}");
}

#[test]
fn a_flow_and_a_notice_have_lines_of_the_same_shape() {
    assert_eq!(
        line_after(TextFormat::Short, &samples::flow(), 2 * S),
        "2021-04-28 15:28:07: Flow ended: 192.0.2.56:5973 -> 10.0.0.5:80 TCP SF fin \
         after 2.000001 s, sent 10 packets 1234 bytes, received 8 packets 4321 bytes\n"
    );
    let mut out = Vec::new();
    let mut text = text(TextFormat::Short);
    text.notice(&mut out, &samples::lifecycle(), samples::TS_NS);
    text.notice(&mut out, &samples::stats(), samples::TS_NS);
    let [.., ended] = samples::block();
    let ended = Notice::Block(Box::new(ended));
    text.notice(&mut out, &ended, samples::TS_NS);
    assert_eq!(
        String::from_utf8(out).expect("UTF-8"),
        "2021-04-28 15:28:05: Sensor start: listening on  eth0\n\
         2021-04-28 15:28:05: Stats: the whole run 2.5 s: 143 frames, 93 new connections, 0 port scans, 7 missed; the books close\n\
         2021-04-28 15:28:05: Block ended: 192.0.2.9: expired, 3 packets (180 bytes) dropped; its reason: by hand: noisy\n"
    );
}

#[test]
fn a_flow_whose_clock_went_backwards_is_written() {
    let mut out = Vec::new();
    seconds(&mut out, -1_500_000_000);
    assert_eq!(out, b"-1.500000");
}

#[test]
fn a_line_says_when_it_was_due_and_the_time_of_its_event_where_that_is_another() {
    let flow = samples::flow();
    let long_after = line_after(TextFormat::Short, &flow, 70 * S);
    assert!(
        long_after.starts_with("2021-04-28 15:29:15: Flow ended: 192.0.2.56:5973 -> "),
        "{long_after}"
    );
    let last = ", received 8 packets 4321 bytes, last packet 15:28:07\n";
    assert!(long_after.ends_with(last), "{long_after}");
    let next_day = line_after(TextFormat::Short, &flow, 40_000 * S);
    assert!(
        next_day.ends_with(", last packet 2021-04-28 15:28:07\n"),
        "{next_day}"
    );
    let full = line_after(TextFormat::Full, &flow, 2 * S);
    assert!(
        full.ends_with(", last packet 2021-04-28T15:28:07.123457Z\n"),
        "{full}"
    );
    let with_it = line_after(TextFormat::Full, &flow, 2_000_001_000);
    assert!(with_it.ends_with("4321 bytes\n"), "{with_it}");

    let scan = samples::scan(Phase::Ended, vec![(1, 4)], 4);
    let summary = line_after(TextFormat::Short, &samples::alert(&scan), 120 * S);
    assert_eq!(
        summary,
        "2021-04-28 15:30:05: Port scan ended: 192.0.2.56 -> 10.0.0.5 on ports 1-4, last touch 15:28:05 \
         (4 ports, 0 refused, 0 unanswered, 0 answered; verdict: unproven)\n"
    );
}

#[test]
fn a_full_line_has_fraction_interface_and_direction_before_the_same_words() {
    assert_eq!(
        full(&samples::connection()),
        "2021-04-28T15:28:05.123456Z eth0 in: New connection: 192.0.2.56:5973 -> 10.0.0.5:80\n"
    );
    let mut nameless = samples::attempt();
    nameless.interface = 9;
    let mut event = samples::connection();
    event.body = Body::NewConnection(nameless);
    assert!(full(&event).starts_with("2021-04-28T15:28:05.123456Z - in: New connection: "));
    let mut out = Vec::new();
    text(TextFormat::Full).notice(&mut out, &samples::stats(), samples::TS_NS);
    assert_eq!(out, b"2021-04-28T15:28:05.123456Z - -: Stats: the whole run 2.5 s: 143 frames, 93 new connections, 0 port scans, 7 missed; the books close\n");
}

#[test]
fn a_full_alert_says_what_the_ports_answered_and_how_sure_it_is() {
    let mut scan = samples::scan(Phase::Started, vec![(80, 83)], 4);
    (scan.evidence.refused, scan.evidence.pending) = (3, 1);
    scan.complete = false;
    assert_eq!(
        full(&samples::alert(&scan)),
        "2021-04-28T15:28:05.123456Z eth0 in: Port scan detected: 192.0.2.56 -> 10.0.0.5 on ports 80,81,82,83 \
         (4 ports, 3 refused, 0 unanswered, 0 answered, 1 may still answer; verdict: unproven) (exact) (not complete)\n"
    );
}

#[test]
fn a_flood_record_stands_at_the_end_of_its_second() {
    let mut folds = Folds::new(0, [0; 2]);
    assert!(folds.takes(samples::attempt()));
    let fold = folds.close_all().pop().expect("one");
    let mut event = samples::connection();
    event.body = Body::Folded(Box::new(fold));
    let words = "New connections folded: -> 10.0.0.5:80: 1 from about 1 sources (+-3.25 %) in 0.000000 s until";
    assert_eq!(
        line_after(TextFormat::Short, &event, S),
        format!("2021-04-28 15:28:06: {words} 15:28:05, most from 192.0.2.0/24 (1)\n")
    );
    let until = "2021-04-28T15:28:05.123456Z";
    assert_eq!(
        line_after(TextFormat::Full, &event, S),
        format!("2021-04-28T15:28:06.123456Z - -: {words} {until}, most from 192.0.2.0/24 (1)\n")
    );
}

#[test]
fn the_sensors_own_line_says_its_own_time_where_the_log_is_a_second_behind() {
    let line = |behind_ns: i64| {
        let mut out = Vec::new();
        let stamp_ns = samples::TS_NS - behind_ns;
        text(TextFormat::Short).notice(&mut out, &samples::stats(), stamp_ns);
        String::from_utf8(out).expect("UTF-8")
    };
    assert_eq!(
        line(S - 1),
        "2021-04-28 15:28:04: Stats: the whole run 2.5 s: 143 frames, 93 new connections, 0 port scans, 7 missed; the books close\n"
    );
    assert_eq!(
        line(10 * S),
        "2021-04-28 15:27:55: Stats: the whole run 2.5 s: 143 frames, 93 new connections, 0 port scans, 7 missed; the books close (at 15:28:05)\n"
    );
}

#[test]
fn the_last_record_of_statistics_speaks_of_the_whole_run() {
    let mut out = Vec::new();
    text(TextFormat::Short).notice(&mut out, &samples::stats(), samples::TS_NS);
    let says = "Stats: the whole run 2.5 s: 143 frames, 93 new connections, 0 port scans, 7 missed; the books close\n";
    let line = String::from_utf8(out).expect("UTF-8");
    assert!(line.ends_with(says), "{line}");
}

/// The window is as long as the longest line; it panics where a part has no room.
#[test]
fn the_longest_lines_have_room() {
    let mut event = samples::connection();
    let Body::NewConnection(attempt) = &mut event.body else {
        panic!("a connection");
    };
    let longest = "f123:4567:89ab:cdef:f123:4567:89ab:cdef";
    attempt.tuple.src = longest.parse().expect("an address");
    (attempt.tuple.dst, attempt.tuple.src_port) = (attempt.tuple.src, u16::MAX);
    attempt.tuple.dst_port = u16::MAX;
    let ends = format!("New connection: [{longest}]:65535 -> [{longest}]:65535\n");
    assert!(line(&event).ends_with(&ends) && full(&event).ends_with(&ends));
}
