use super::rates::Looks;
use super::screen::Screen;
use super::settings::{Asked, Order, Settings};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use serde_json::{Value, json};

/// An answer `at_s` into a run, with so many connections.
fn answer(at_s: f64, connections: u64) -> Value {
    let sources: Vec<Value> = (0..60_u64)
        .map(|n| json!({ "src": format!("198.51.100.{n}"), "attempts": 6_000 - n }))
        .collect();
    let scans: Vec<Value> = (0..60)
        .map(|n| {
            json!({
                "kind": "port_scan", "src": format!("203.0.113.{n}"), "dst": "192.0.2.1", "port": null, "count": n,
                "verdict": "scan", "status": "alert", "since": "2026-12-01T05:00:00Z",
                "last": format!("2026-12-01T05:00:{:02}Z", 59 - n),
            })
        })
        .collect();
    json!({
        "synledger": 1, "ok": true, "sensor": "edge-1", "version": "0.1.0", "time": "2026-12-01T05:01:00Z",
        "up_s": at_s, "at_s": at_s + 1000.0,
        "health": { "works": true, "books_closed": true, "stalled": [], "failing": [], "degraded": ["ring_drops: 3 frames"] },
        "counters": {
            "frames_offered": 10 * connections, "frames": 10 * connections, "ring_drops": 3, "missed": 3,
            "connections": connections, "answered": 0, "established": 0, "refused": 0, "detections": 0, "blocks": 2,
            "block_dropped_packets": 5,
        },
        "workers": [
            { "worker": 0, "frames": 10 * connections, "drops": 3, "since_progress_s": 0.1 },
            { "worker": 1, "frames": 0, "drops": 0, "since_progress_s": 0.1 },
        ],
        "rings": [{ "interface": "eth0", "class": "open", "worker": 0, "occupancy": 0.75 }],
        "interfaces": [], "tables": [],
        "outputs": [{ "name": "text:/log", "written": 1_234_567, "dropped": 9, "pending": 0 }],
        "log": {
            "over_s": 42.0, "attempts": 1_000_000, "sources": sources,
            "destinations": [
                { "dst": "2001:db8::1", "port": 443, "service": "nginx.service", "attempts": 77 },
                { "dst": "192.0.2.1", "port": null, "service": null, "attempts": 5 },
                { "dst": null, "port": null, "service": null, "attempts": 4 },
            ],
            "scans": scans,
        },
    })
}

fn looks() -> Looks {
    let mut looks = Looks::default();
    looks.take(answer(10.0, 1000));
    looks.take(answer(12.0, 3500));
    looks
}

fn drawn(looks: &Looks, settings: &Settings, (width, height): (u16, u16)) -> (String, bool) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen in memory");
    terminal
        .draw(|frame| Screen::new(looks, settings).draw(frame))
        .expect("drawn");
    let buffer = terminal.backend().buffer();
    let has_colour = buffer.content().iter().any(|cell| cell.fg != Color::Reset);
    let cells = buffer.content().chunks(usize::from(width));
    let lines = cells.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
    let lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    (lines.join("\n"), has_colour)
}

fn press(settings: &mut Settings, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '\u{8}' => KeyCode::Backspace,
            letter => KeyCode::Char(letter),
        };
        assert_eq!(settings.on_key(code.into()), Asked::Draw, "{key:?}");
    }
}

#[test]
fn rates_are_of_what_grew_between_two_answers_of_one_run() {
    let mut looks = Looks::default();
    looks.take(answer(10.0, 1000));
    assert_eq!(looks.rate("/counters/connections"), None, "one look");
    looks.take(answer(12.0, 3500));
    assert_eq!(looks.rate("/counters/connections"), Some(1250.0));
    looks.take(answer(12.0, 3500));
    assert_eq!(
        looks.rate("/counters/connections"),
        Some(1250.0),
        "the same answer"
    );
    let json = looks.as_json();
    assert_eq!(json["rates"]["connections"], 1250.0);
    assert_eq!(json["rates"]["ring_drops"], 0.0);
    assert_eq!(json["workers"][0]["frames_rate"], 12_500.0);
    looks.take(answer(1.0, 50));
    assert_eq!(looks.rate("/counters/connections"), None, "it began anew");
}

#[test]
fn every_size_has_heads_lists_and_keys() {
    for size in [(80, 24), (120, 40), (200, 60)] {
        let (screen, _) = drawn(&looks(), &Settings::new(true), size);
        for part in [
            "synledger 0.1.0 on edge-1  up 00:00:12",
            "books closed; ring_drops: 3 frames",
            "connections 1.2 k/s",
            "since the start: 3 dropped, 3 missed",
            "blocked now 2",
            "records written 1 234 567  waiting 0  dropped 9  most at text:/log",
            "worker 0: 12.5 k/s, ring 75 %",
            "worker 1: 0/s, ring 0 %",
            "sources, 1 000 000 in 42 s",
            "6 000     198.51.100.0",
            "[2001:db8::1]:443",
            "192.0.2.1, several",
            "scans and floods now: 60",
            "port_scan        203.0.113.0",
            "q quit",
        ] {
            assert!(
                screen.contains(part),
                "{size:?}: {part:?} is missing:\n{screen}"
            );
        }
    }
    // A smaller one is cut, and nothing panics.
    for size in [(1, 1), (20, 5), (80, 9)] {
        drawn(&looks(), &Settings::new(true), size);
    }
    drawn(&Looks::default(), &Settings::new(true), (80, 24));
}

#[test]
fn keys_pause_sort_filter_scroll_and_end() {
    let (looks, mut settings) = (looks(), Settings::new(true));
    press(&mut settings, "p");
    assert!(settings.paused && drawn(&looks, &settings, (80, 24)).0.contains("paused"));
    press(&mut settings, "ps");
    assert_eq!((settings.paused, settings.order), (false, Order::Name));
    let (screen, _) = drawn(&looks, &settings, (80, 24));
    let at = |text: &str| screen.find(text).expect(text);
    assert!(at("192.0.2.1, sev") < at("[2001:db8::1]:443"), "{screen}");
    press(&mut settings, "s/q.59x\u{8}\n");
    assert_eq!(settings.filter, "q.59");
    press(&mut settings, "\u{1b}/.59\n");
    let (screen, _) = drawn(&looks, &settings, (80, 24));
    assert!(
        screen.contains("198.51.100.59") && !screen.contains("198.51.100.58"),
        "{screen}"
    );
    assert!(
        screen.contains("203.0.113.59") && screen.contains("filter (.59)"),
        "{screen}"
    );
    press(&mut settings, "\u{1b}");
    settings.on_key(KeyCode::PageDown.into());
    let (screen, _) = drawn(&looks, &settings, (80, 24));
    assert!(
        screen.contains("203.0.113.10") && !screen.contains("203.0.113.9 "),
        "{screen}"
    );
    press(&mut settings, "h");
    assert!(drawn(&looks, &settings, (80, 24)).0.contains("NO_COLOR"));
    let end = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(settings.on_key(end), Asked::End);
    assert_eq!(settings.on_key(KeyCode::Char('q').into()), Asked::End);
}

#[test]
fn no_colour_is_left_where_none_is_wanted() {
    assert!(drawn(&looks(), &Settings::new(true), (80, 24)).1);
    assert!(!drawn(&looks(), &Settings::new(false), (80, 24)).1);
}

#[test]
fn a_sensor_that_does_not_answer_is_named_and_the_last_screen_stays() {
    let mut looks = looks();
    looks.lose("sock: \u{1b}[2J gone");
    let (screen, _) = drawn(&looks, &Settings::new(true), (80, 24));
    assert!(screen.contains("no answer: sock: _[2J gone"), "{screen}");
    assert!(screen.contains("198.51.100.0"));
    let mut hostile = answer(13.0, 3500);
    hostile["sensor"] = json!("a\u{1b}[2J\nb");
    looks.take(hostile);
    assert!(
        drawn(&looks, &Settings::new(true), (80, 24))
            .0
            .contains("on a_[2J_b  up")
    );
    assert!(
        !drawn(&looks, &Settings::new(true), (80, 24))
            .0
            .contains("no answer")
    );
}
