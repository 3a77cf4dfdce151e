use super::content::content;
use super::*;
use crate::books::Books;
use crate::flow::record::{Basis, EndReason, FlowRecord};
use crate::inspect::detection::Phase;
use crate::log::event::{Body, Event, Step};
use crate::log::formats::samples;

fn tell(tallies: &mut Tallies, body: Body) {
    let event = Event {
        position: 1,
        step: Step::Frame(0, samples::TS_NS),
        body,
    };
    tallies.on_event(TapEvent {
        event: &event,
        due: LogTime::default(),
        shift_ns: 0,
    });
}

fn flow(last: u8, port: u16, (basis, reason): (Basis, EndReason)) -> Body {
    let mut flow = FlowRecord {
        basis,
        reason,
        ..samples::flow_record()
    };
    flow.tuple.src = [192, 0, 2, last].into();
    flow.tuple.dst_port = port;
    Body::Flow(flow)
}

const PROVEN: (Basis, EndReason) = (Basis::Handshake, EndReason::Fin);
const REFUSED: (Basis, EndReason) = (Basis::None, EndReason::Refused);

fn facts(captures: &[&str]) -> Facts {
    Facts {
        captures: captures.iter().map(|&name| name.to_owned()).collect(),
        span_ns: Some((samples::TS_NS, samples::TS_NS + 90_000_000_000)),
        books: Books::default(),
        faults: Vec::new(),
    }
}

fn page_of(facts: &Facts, tallies: &Tallies) -> String {
    html::page(&content(facts, tallies, PAGE_ROWS), tallies)
}

#[test]
fn text_has_every_table_in_columns() {
    let mut tallies = Tallies::default();
    tell(&mut tallies, flow(1, 443, PROVEN));
    for port in 20..24 {
        tell(&mut tallies, flow(2, port, REFUSED));
    }
    for phase in [Phase::Started, Phase::Ended] {
        let scan = samples::scan(phase, vec![(20, 23)], 4);
        tell(&mut tallies, Body::Alert(Box::new(scan)));
    }
    let mut facts = facts(&["a.pcap", "b.pcap"]);
    facts.faults.push("b.pcap: cut short".to_owned());
    let text = text::text(&content(&facts, &tallies, 3));
    let expected = "\
2021-04-28 15:28:05 to 2021-04-28 15:29:35 UTC (90.0 s), 0 frames

Attempts: 5 new TCP connections
  outcome      attempts  share
  established         1   20 %
  refused             4   80 %
  An attempt counts once, with what first came of it: established (the client proved the handshake),
  answered (without that proof), refused (RST or ICMP unreachable), unanswered for 5 s, or undecided
  at the end.

Sources with most attempts: 2 of 2
  source     attempts  hosts  ports  established  answered  refused  unanswered  undecided
  192.0.2.2         4      1      4            0         0        4           0          0
  192.0.2.1         1      1      1            1         0        0           0          0

Scans and floods: 1
  kind       number  ports (scans that tried them, if several)
  Port scan       1  20, 21, 22, 23

Largest of them: 1 of 1
  began (UTC)          lasted  kind       refused  unanswered  answered  proof  who and what
  2021-04-28 15:28:04     1.0 s  Port scan        0           0         0  none   192.0.2.56 -> 10.0.0.5 on ports 20-23; verdict: unproven
";
    let body = text.split_once('\n').expect("a head").1;
    let head = text.lines().next().expect("a head");
    assert!(head.ends_with(": report of a.pcap, b.pcap"), "{head}");
    // The widths of columns follow from what stands in them.
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (body_words, expected_words) = (words(body), words(expected));
    assert_eq!(body_words[..expected_words.len()], expected_words, "{text}");
    assert!(
        body.contains(&expected[..expected.find("\nLargest").expect("it is there")]),
        "{text}"
    );
    assert!(text.contains("\nBusiest destinations: 3 of 5\n"), "{text}");
    assert!(text.contains(
        "\n  b.pcap: cut short\n  Every frame is accounted for, with what was missed.\n"
    ));
}

#[test]
fn without_anything_a_report_says_so() {
    let mut facts = facts(&["a.pcap"]);
    facts.span_ns = None;
    let tallies = Tallies::default();
    let text = text::text(&content(&facts, &tallies, 3));
    for line in [
        "  No attempt was seen.",
        "  None was detected.",
        "  Nothing was missed: every frame is accounted for.",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
    assert!(!text.contains("source "), "no head without rows: {text}");
    let page = page_of(&facts, &tallies);
    assert!(page.contains("<p>No attempt was seen.</p>"));
    assert!(!page.contains("id=\"plot-"), "no picture of nothing");
}

#[test]
fn a_report_without_scans_says_that_some_were_withheld() {
    let mut tallies = Tallies::default();
    tallies.scans.withheld = 2;
    let text = text::text(&content(&facts(&["a.pcap"]), &tallies, 3));
    let expected =
        "\nScans and floods: 0\n  None is listed.\n  2 others withheld by --allow or --alert.\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_source_that_took_the_place_of_another_is_marked_as_a_lower_bound() {
    let mut tallies = Tallies::default();
    let mut told = |source: [u8; 4]| {
        let Body::Flow(mut flow) = flow(1, 80, REFUSED) else {
            unreachable!("a flow");
        };
        flow.tuple.src = source.into();
        tell(&mut tallies, Body::Flow(flow));
    };
    for number in 0..9000_u32 {
        told(number.to_be_bytes());
    }
    for _ in 0..10 {
        told([9, 9, 9, 9]);
    }
    let text = text::text(&content(&facts(&["a.pcap"]), &tallies, 1));
    assert!(
        text.contains("Sources with most attempts: 1 of more than 8192\n"),
        "{text}"
    );
    let row = text.lines().find(|line| line.starts_with("  9.9.9.9"));
    let row: Vec<&str> = row.expect("it has most").split_whitespace().collect();
    assert_eq!(
        row,
        ["9.9.9.9", "\u{2265}10", "1", "1", "0", "0", "10", "0", "0"]
    );
    assert!(
        text.contains("one that is not listed may have up\n  to"),
        "{text}"
    );
}

#[test]
fn a_page_is_whole_and_no_name_in_it_is_markup() {
    let mut tallies = Tallies::default();
    tell(&mut tallies, flow(1, 443, PROVEN));
    let scan = samples::scan(Phase::Ended, vec![(20, 23)], 4);
    tell(&mut tallies, Body::Alert(Box::new(scan)));
    let hostile = "</script><script>alert(1)</script><!--<img src=x onerror='alert(2)'>&quot;\"\u{1b}\u{202e}";
    let mut facts = facts(&[hostile, hostile]);
    facts.faults.push(hostile.to_owned());
    let page = page_of(&facts, &tallies);
    let shown = "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;!--&lt;img src=x onerror=&#39;alert(2)&#39;&gt;&amp;quot;&quot;__";
    // Title, heading, each twice; and the fault.
    assert_eq!(page.matches(shown).count(), 5);
    assert!(!page.contains("<img") && !page.contains("<!--"));
    assert_eq!(page.matches("<script").count(), 3, "data, uPlot, pictures");
    for tag in [
        "html", "head", "body", "style", "script", "table", "tr", "td", "th", "div", "ul", "li",
        "h2", "p", "span", "details", "summary",
    ] {
        let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
        let opened = page.match_indices(&open);
        let opened = opened.filter(|(at, _)| page[at + open.len()..].starts_with([' ', '>']));
        assert_eq!(opened.count(), page.matches(&close).count(), "{tag}");
    }
    assert!(page.contains("Copyright (c) 2022 Leon Sorokin"));
    assert!(page.len() as u64 <= html::PAGE_BYTES_MAX);
}

#[test]
fn the_data_of_the_pictures_are_json_that_no_script_element_ends_in() {
    let mut tallies = Tallies::default();
    for phase in [Phase::Started, Phase::Ended] {
        let scan = samples::scan(phase, vec![(20, 23)], 4);
        tell(&mut tallies, Body::Alert(Box::new(scan)));
    }
    tell(&mut tallies, flow(1, 443, PROVEN));
    let page = page_of(&facts(&["a"]), &tallies);
    let data = page
        .split("id=\"data\">")
        .nth(1)
        .and_then(|rest| rest.split("</script>").next());
    let data = data.expect("data");
    assert!(!data.contains(['<', '>', '&']), "{data}");
    let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(data["kinds"], serde_json::json!(["Port scan"]));
    assert_eq!(
        data["episodes"][0][3],
        "192.0.2.56 -> 10.0.0.5 on ports 20-23; verdict: unproven"
    );
    assert_eq!(
        data["ports"],
        serde_json::json!([[20, 1], [21, 1], [22, 1], [23, 1]])
    );
    assert_eq!(data["attempts"], serde_json::json!([[1, 0, 0, 0, 0]]));
    assert_eq!(
        (&data["width"], &data["times"][0]),
        (&0.001.into(), &1_619_623_685.123.into())
    );
}

#[test]
fn pages_of_the_fullest_tallies_fit_into_their_room() {
    let mut tallies = Tallies::default();
    let scattered = |most: u16| {
        (0..most)
            .map(|port| (2 * port + 20_000, 2 * port + 20_000))
            .collect()
    };
    for size in 0..300_u16 {
        let scan = samples::scan(Phase::Ended, scattered(5000 + size), u32::from(5000 + size));
        tell(&mut tallies, Body::Alert(Box::new(scan)));
    }
    for second in 0..480 {
        let Body::Flow(mut flow) = flow(1, 80, REFUSED) else {
            unreachable!("a flow");
        };
        flow.start_ns += second * 1_000_000_000;
        tell(&mut tallies, Body::Flow(flow));
    }
    let page = page_of(&facts(&["a"]), &tallies);
    eprintln!("a page of {} bytes", page.len());
    assert!(page.len() as u64 <= html::PAGE_BYTES_MAX, "{}", page.len());
}
