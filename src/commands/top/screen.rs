//! Draws one screen: heads, workers, sources and destinations, scans, keys. From 80 × 24 on; a smaller one is cut.

use super::rates::Looks;
use super::settings::{Order, Settings};
use crate::settings::flags::TOP_KEYS;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Table, Wrap};
use serde_json::Value;
use std::net::IpAddr;

/// A ring that is fuller is marked.
const FULL: f64 = 0.5;
/// Workers in a line.
const WORKERS_A_LINE: usize = 3;
/// Lines of workers at most.
const WORKER_LINES: usize = 4;

pub(super) struct Screen<'a> {
    looks: &'a Looks,
    settings: &'a Settings,
    /// It is printed: no keys, all rows that there is room for.
    printed: bool,
}

impl<'a> Screen<'a> {
    pub fn new(looks: &'a Looks, settings: &'a Settings) -> Self {
        Self {
            looks,
            settings,
            printed: false,
        }
    }

    pub fn for_print(self) -> Self {
        Self {
            printed: true,
            ..self
        }
    }

    pub fn draw(&self, frame: &mut Frame<'_>) {
        let heads = self.heads();
        let keys = u16::from(!self.printed);
        let lines = u16::try_from(heads.len()).unwrap_or(u16::MAX);
        let areas = Layout::vertical([
            Constraint::Length(lines),
            Constraint::Min(6),
            Constraint::Fill(1),
            Constraint::Length(keys),
        ]);
        let [head, tops, scans, foot] = areas.areas(frame.area());
        frame.render_widget(Paragraph::new(heads), head);
        let halves = Layout::horizontal([Constraint::Percentage(42), Constraint::Fill(1)]);
        let [left, right] = halves.areas(tops);
        self.sources(frame, left);
        self.destinations(frame, right);
        self.scans(frame, scans);
        if !self.printed {
            frame.render_widget(Paragraph::new(self.foot()), foot);
        }
        if self.settings.help {
            self.help(frame);
        }
    }

    fn style(&self, colour: Color) -> Style {
        match self.settings.colours {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }

    fn bold(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn word(&self, pointer: &str) -> String {
        let word = self.looks.newest().pointer(pointer).and_then(Value::as_str);
        word.unwrap_or_default().to_owned()
    }

    fn number(&self, pointer: &str) -> Option<u64> {
        self.looks.newest().pointer(pointer).and_then(Value::as_u64)
    }

    fn list(&self, pointer: &str) -> &'a [Value] {
        let list = self.looks.newest().pointer(pointer);
        list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn heads(&self) -> Vec<Line<'a>> {
        let mut lines = vec![
            self.title(),
            self.health(),
            self.connections(),
            self.frames(),
        ];
        lines.extend(self.blocks());
        lines.extend(self.outputs());
        lines.extend(self.workers());
        lines
    }

    fn title(&self) -> Line<'a> {
        let up_s = self.looks.newest()["up_s"].as_f64().unwrap_or(0.0);
        let (sensor, version) = (self.word("/sensor"), self.word("/version"));
        let mut spans = vec![
            Span::styled(format!("synledger {version} on {sensor}"), self.bold()),
            Span::raw(format!("  up {}  {}", length(up_s), self.word("/time"))),
        ];
        if self.settings.paused {
            spans.push(Span::styled("  paused", self.style(Color::Yellow)));
        }
        Line::from(spans)
    }

    /// The most important of what is wrong.
    fn health(&self) -> Line<'a> {
        if let Some(lost) = self.looks.lost() {
            return Line::styled(format!("no answer: {lost}"), self.style(Color::Red));
        }
        let kinds = ["stalled", "failing", "degraded"];
        let lists = kinds.map(|kind| self.list(&format!("/health/{kind}")));
        let count: usize = lists.iter().map(|list| list.len()).sum();
        let first = lists
            .iter()
            .flat_map(|list| list.iter())
            .find_map(Value::as_str);
        let books = match self.looks.newest()["health"]["books_closed"].as_bool() {
            Some(true) => "books closed",
            _ => "books do not close",
        };
        let colour = match (lists[0].len() + lists[1].len(), count) {
            (0, 0) => Color::Green,
            (0, _) => Color::Yellow,
            _ => Color::Red,
        };
        let says = match (first, count) {
            (None, _) => "works".to_owned(),
            (Some(first), 1) => first.to_owned(),
            (Some(first), count) => format!("{first} (and {} more)", count - 1),
        };
        Line::styled(format!("{books}; {says}"), self.style(colour))
    }

    /// `12.3 k/s`, or `-` while there is one look.
    fn rate(&self, pointer: &str) -> String {
        self.looks.rate(pointer).map_or("-".to_owned(), |rate| {
            let digits = if rate < 10.0 && rate.fract() > 0.05 {
                1
            } else {
                0
            };
            match rate < 1000.0 {
                true => format!("{rate:.digits$}/s"),
                false => format!("{}/s", short(rate)),
            }
        })
    }

    fn connections(&self) -> Line<'a> {
        let of = |name: &str| self.rate(&format!("/counters/{name}"));
        Line::from(format!(
            "connections {}  answered {}  established {}  refused {}  detections {}",
            of("connections"),
            of("answered"),
            of("established"),
            of("refused"),
            of("detections"),
        ))
    }

    fn frames(&self) -> Line<'a> {
        let sum = |name: &str| self.number(&format!("/counters/{name}")).unwrap_or(0);
        let (drops, missed) = (sum("ring_drops"), sum("missed"));
        let colour = if missed > 0 {
            Color::Yellow
        } else {
            Color::Reset
        };
        Line::from(vec![
            Span::raw(format!(
                "frames {}  dropped {}  ",
                self.rate("/counters/frames"),
                self.rate("/counters/ring_drops"),
            )),
            Span::styled(
                format!(
                    "since the start: {} dropped, {} missed",
                    grouped(drops),
                    grouped(missed)
                ),
                self.style(colour),
            ),
        ])
    }

    fn blocks(&self) -> Option<Line<'a>> {
        let blocks = self.number("/counters/blocks")?;
        let dropped = self.rate("/counters/block_dropped_packets");
        Some(Line::from(format!(
            "blocked now {}  packets of the blocked {dropped}",
            grouped(blocks)
        )))
    }

    /// Outputs that lose records, or the sum of all.
    fn outputs(&self) -> Option<Line<'a>> {
        let all = self.list("/outputs");
        let count = |of: &Value, name: &str| of[name].as_u64().unwrap_or(0);
        let [written, dropped, pending] = ["written", "dropped", "pending"]
            .map(|name| -> u64 { all.iter().map(|one| count(one, name)).sum() });
        let worst = all.iter().max_by_key(|one| count(one, "dropped"))?;
        let names = match dropped {
            0 => String::new(),
            _ => format!("  most at {}", worst["name"].as_str().unwrap_or_default()),
        };
        let colour = if dropped > 0 {
            Color::Red
        } else {
            Color::Reset
        };
        Some(Line::styled(
            format!(
                "records written {}  waiting {}  dropped {}{names}",
                grouped(written),
                grouped(pending),
                grouped(dropped)
            ),
            self.style(colour),
        ))
    }

    /// Frames of each worker in a second, and its fullest ring.
    fn workers(&self) -> Vec<Line<'a>> {
        let workers = self.list("/workers");
        let span = |(at, worker): (usize, &Value)| {
            let number = worker["worker"].as_u64().unwrap_or(0);
            let rings = self.list("/rings").iter();
            let own = rings.filter(|ring| ring["worker"].as_u64() == Some(number));
            let fullest = own.filter_map(|ring| ring["occupancy"].as_f64());
            let fullest = fullest.fold(0.0, f64::max);
            let rate = self.rate(&format!("/workers/{at}/frames"));
            let text = format!("worker {number}: {rate}, ring {:.0} %", fullest * 100.0);
            let colour = if fullest >= FULL {
                Color::Yellow
            } else {
                Color::Reset
            };
            Span::styled(format!("{text:<26}  "), self.style(colour))
        };
        let spans: Vec<Span<'_>> = workers.iter().enumerate().map(span).collect();
        let lines = spans.chunks(WORKERS_A_LINE).take(WORKER_LINES);
        let mut lines: Vec<Line<'_>> = lines.map(|part| Line::from(part.to_vec())).collect();
        let shown = WORKERS_A_LINE * WORKER_LINES;
        if workers.len() > shown {
            lines.push(Line::from(format!(
                "and {} workers more",
                workers.len() - shown
            )));
        }
        lines
    }

    fn table(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        title: String,
        (head, widths): (&[&str], &[Constraint]),
        rows: impl Iterator<Item = Vec<String>>,
    ) {
        let rows = rows.filter(|row| self.settings.shows(row));
        let rows = rows.map(|row| Row::new(row.into_iter().map(Cell::from)));
        let head = Row::new(head.iter().map(|name| Cell::from(*name))).style(self.bold());
        let block = Block::new().borders(Borders::TOP).title(title);
        let table = Table::new(rows, widths.iter().copied())
            .header(head)
            .block(block);
        frame.render_widget(table, area);
    }

    /// Rows of one of the two lists of attempts, as their order is chosen.
    fn ordered(&self, pointer: &str, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
        let mut all: Vec<&Value> = self.list(pointer).iter().collect();
        if self.settings.order == Order::Name {
            all.sort_by_key(|row| name(row));
        }
        all.into_iter().map(row).collect()
    }

    fn sources(&self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.ordered("/log/sources", |row| vec![count(row), text(&row["src"])]);
        let all = self.number("/log/attempts").unwrap_or(0);
        let over_s = self.looks.newest()["log"]["over_s"].as_f64().unwrap_or(0.0);
        let title = format!(" sources, {} in {over_s:.0} s ", grouped(all));
        let form = (
            &["attempts", "source"][..],
            &[Constraint::Length(9), Constraint::Fill(1)][..],
        );
        self.table(frame, area, title, form, rows.into_iter());
    }

    fn destinations(&self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.ordered("/log/destinations", |row| {
            let destination = match (row["dst"].as_str(), row["port"].as_u64()) {
                (Some(dst), Some(port)) if dst.contains(':') => format!("[{dst}]:{port}"),
                (Some(dst), Some(port)) => format!("{dst}:{port}"),
                (Some(dst), None) => format!("{dst}, several ports"),
                _ => "several".to_owned(),
            };
            vec![count(row), destination, text(&row["service"])]
        });
        let widths = [
            Constraint::Length(9),
            Constraint::Fill(3),
            Constraint::Fill(2),
        ];
        let form = (&["attempts", "destination", "service"][..], &widths[..]);
        self.table(
            frame,
            area,
            " destinations ".to_owned(),
            form,
            rows.into_iter(),
        );
    }

    fn scans(&self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.ordered("/log/scans", scan);
        let count = rows.len();
        let first = self.settings.first.min(count.saturating_sub(1));
        let widths = [
            Constraint::Length(16),
            Constraint::Fill(2),
            Constraint::Fill(2),
            Constraint::Length(9),
            Constraint::Length(13),
            Constraint::Length(9),
        ];
        let head = ["kind", "source", "target", "extent", "verdict", "last"];
        let title = format!(" scans and floods now: {count} ");
        self.table(
            frame,
            area,
            title,
            (&head, &widths),
            rows.into_iter().skip(first),
        );
    }

    fn foot(&self) -> Line<'a> {
        let (settings, filter) = (self.settings, &self.settings.filter);
        let order = match settings.order {
            Order::Count => "by count",
            Order::Name => "by name",
        };
        let says = match (settings.writes, filter.is_empty()) {
            (true, _) => format!("filter: {filter}_  Enter keep  Esc clear"),
            (false, true) => {
                format!("q quit  p pause  s sort ({order})  / filter  ↑↓ scans  h help")
            }
            (false, false) => {
                format!("q quit  p pause  s sort ({order})  / filter ({filter})  Esc clear  h help")
            }
        };
        Line::styled(says, Style::new().add_modifier(Modifier::REVERSED))
    }

    fn help(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let [across] = Layout::horizontal([Constraint::Percentage(80)])
            .flex(ratatui::layout::Flex::Center)
            .areas(area);
        let [middle] = Layout::vertical([Constraint::Length(12)])
            .flex(ratatui::layout::Flex::Center)
            .areas(across);
        frame.render_widget(Clear, middle);
        let block = Block::new().borders(Borders::ALL).title(" help ");
        let text = TOP_KEYS.replace('\n', " ");
        let text = Paragraph::new(text).wrap(Wrap { trim: true }).block(block);
        frame.render_widget(text, middle);
    }
}

/// By what a row is sorted: its addresses, as numbers where it has some.
fn name(row: &Value) -> (Option<IpAddr>, Option<IpAddr>, Option<u64>) {
    let address = |of: &Value| {
        let text = of.as_str().unwrap_or_default();
        let first = text.split('/').next().unwrap_or_default();
        first.parse().ok()
    };
    (
        address(&row["src"]),
        address(&row["dst"]),
        row["port"].as_u64(),
    )
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn count(row: &Value) -> String {
    grouped(row["attempts"].as_u64().unwrap_or(0))
}

fn scan(scan: &Value) -> Vec<String> {
    let target = match scan["port"].as_u64() {
        Some(port) => format!("{} port {port}", text(&scan["dst"])),
        None => text(&scan["dst"]),
    };
    let source = scan["src"].as_str().unwrap_or("many").to_owned();
    let verdict = match (scan["verdict"].as_str(), scan["status"].as_str()) {
        (_, Some(status)) if status != "alert" => status.to_owned(),
        (verdict, _) => verdict.unwrap_or_default().to_owned(),
    };
    let last = text(&scan["last"]);
    let clock = last.get(11..19).unwrap_or_default().to_owned();
    let extent = grouped(scan["count"].as_u64().unwrap_or(0));
    vec![text(&scan["kind"]), source, target, extent, verdict, clock]
}

/// `3d 04:05`, `04:05:06`
fn length(seconds: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole seconds, not negative"
    )]
    let all = seconds.max(0.0) as u64;
    let (days, hours) = (all / 86_400, all / 3600 % 24);
    let (minutes, seconds) = (all / 60 % 60, all % 60);
    match days {
        0 => format!("{hours:02}:{minutes:02}:{seconds:02}"),
        _ => format!("{days}d {hours:02}:{minutes:02}"),
    }
}

/// `1.2 k`, `3.4 M`
fn short(number: f64) -> String {
    match number {
        number if number < 999_950.0 => format!("{:.1} k", number / 1e3),
        number => format!("{:.1} M", number / 1e6),
    }
}

/// `1 234 567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}
