//! The content of a report: sentences and tables, which text and page both show.

use super::reach::{Count, Sure};
use super::scans::{Episode, PortCounts};
use super::tallies::{AttemptOutcome, Endpoint, OutcomeCounts, SourceTally, Tallies};
use super::top::{Place, Top};
use crate::books::Books;
use crate::inspect::Kind;
use crate::log::fold::sketch::SOURCES_ERROR_PCT;
use crate::log::formats::append;
use crate::log::formats::stamp::Stamp;
use crate::observe::losses::{self, percent};
use crate::observe::report;
use crate::words::many;
use std::net::IpAddr;

/// Captures that the head names.
const CAPTURES_NAMED: usize = 10;
/// Ports that the line of a kind lists.
const PORTS_LISTED: usize = 8;

/// What a report says beside its tallies.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Names of the captures, without control characters.
    pub captures: Vec<String>,
    /// Wall clock at the first and the last frame, ns; `None` without a frame.
    pub span_ns: Option<(i64, i64)>,
    /// The books at the end.
    pub books: Books,
    /// What is damaged or was left out, a sentence each.
    pub faults: Vec<String>,
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Words(&'static str),
    /// Aligned to the right.
    Numbers(&'static str),
}

impl Column {
    pub fn name(self) -> &'static str {
        match self {
            Self::Words(name) | Self::Numbers(name) => name,
        }
    }
}

/// A table with its title and the notes below it.
#[derive(Clone, Debug)]
pub struct Table {
    /// Names it in the page.
    pub id: &'static str,
    pub title: String,
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<String>>,
    /// Stands for a table without rows.
    pub none: &'static str,
    pub notes: Vec<String>,
}

/// The content of a report.
#[derive(Clone, Debug)]
pub struct Content {
    pub captures: String,
    /// When, and how many frames.
    pub span: String,
    pub tables: Vec<Table>,
    /// What is damaged or was missed, a sentence each.
    pub missed: Vec<String>,
    /// Nothing is.
    pub is_whole: bool,
}

/// The content, with at most `rows` rows in each list.
pub fn content(facts: &Facts, tallies: &Tallies, rows: usize) -> Content {
    let (missed, is_whole) = missed(facts);
    Content {
        captures: captures(&facts.captures),
        span: span(facts),
        tables: vec![
            attempts(tallies),
            sources(&tallies.sources, rows),
            kinds(tallies),
            episodes(tallies, rows),
            destinations(&tallies.destinations, rows),
        ],
        missed,
        is_whole,
    }
}

fn captures(names: &[String]) -> String {
    let named = names.iter().take(CAPTURES_NAMED).cloned();
    let mut named: Vec<String> = named.collect();
    if names.len() > CAPTURES_NAMED {
        named.push(format!("and {} more", names.len() - CAPTURES_NAMED));
    }
    named.join(", ")
}

/// Date and time to the second, UTC.
pub fn moment(ts_ns: i64) -> String {
    let mut out = Vec::new();
    Stamp::spaced().append_seconds(&mut out, ts_ns);
    String::from_utf8_lossy(&out).into_owned()
}

/// A length of time, to three digits or so.
pub fn length(from_ns: i64, to_ns: i64) -> String {
    // From so many seconds on, the unit in seconds, its name: below two of a unit the smaller one reads better.
    const UNITS: [(f64, f64, &str); 5] = [
        (172_800.0, 86_400.0, "days"),
        (7200.0, 3600.0, "h"),
        (120.0, 60.0, "min"),
        (1.0, 1.0, "s"),
        (f64::MIN, 0.001, "ms"),
    ];
    let seconds = to_ns.saturating_sub(from_ns) as f64 / 1e9;
    let fitting = UNITS.iter().find(|(least, ..)| seconds >= *least);
    let (_, unit, name) = fitting.expect("the last one always fits");
    format!("{:.1} {name}", seconds / unit)
}

fn span(facts: &Facts) -> String {
    let frames = many(facts.books.shards.frames, "frame");
    match facts.span_ns {
        Some((first_ns, last_ns)) => format!(
            "{} to {} UTC ({}), {frames}",
            moment(first_ns),
            moment(last_ns),
            length(first_ns, last_ns)
        ),
        None => frames,
    }
}

fn attempts(tallies: &Tallies) -> Table {
    let sum = tallies.attempts.sum();
    let row = |outcome: AttemptOutcome| {
        let count = tallies.attempts.of(outcome);
        vec![outcome.to_string(), count.to_string(), percent(count, sum)]
    };
    let rows = AttemptOutcome::ALL.into_iter();
    let rows = rows.filter(|outcome| tallies.attempts.of(*outcome) > 0);
    Table {
        id: "attempts",
        title: format!("Attempts: {}", many(sum, "new TCP connection")),
        columns: vec![
            Column::Words("outcome"),
            Column::Numbers("attempts"),
            Column::Numbers("share"),
        ],
        rows: rows.map(row).collect(),
        none: "No attempt was seen.",
        notes: vec![
            "An attempt counts once, with what first came of it: established (the client proved the handshake), answered \
             (without that proof), refused (RST or ICMP unreachable), unanswered for 5 s, or undecided at the end."
                .to_owned(),
        ],
    }
}

/// A number, marked if it is a bound or an estimate.
fn count(Count { count, sure }: Count) -> String {
    match sure {
        Sure::Exact => count.to_string(),
        Sure::About => format!("\u{2248}{count}"),
        Sure::AtLeast => format!("\u{2265}{count}"),
    }
}

/// Notes on marks that stand in `rows`, and on keys that may be missing.
fn notes<K: Copy + Eq + std::hash::Hash + Ord, V: Default>(
    rows: &[Vec<String>],
    top: &Top<K, V>,
    keys: &str,
) -> Vec<String> {
    let has = |mark: char| rows.iter().flatten().any(|cell| cell.starts_with(mark));
    let mut notes = Vec::new();
    if has('\u{2265}') {
        notes.push(
            "\u{2265}: a lower bound; behind attempts, all other numbers of the row are, too."
                .to_owned(),
        );
    }
    if has('\u{2248}') {
        notes.push(format!(
            "\u{2248}: an estimate (standard error {SOURCES_ERROR_PCT} %)."
        ));
    }
    if !top.is_exact() {
        notes.push(format!(
            "There were more {keys} than the {} that are counted at once: one that is not listed may have up to {}.",
            top.len(),
            many(top.unseen(), "attempt")
        ));
    }
    notes
}

/// The first of how many.
fn title<K: Copy + Eq + std::hash::Hash + Ord, V: Default>(
    what: &str,
    shown: usize,
    top: &Top<K, V>,
) -> String {
    let more = if top.is_exact() { "" } else { "more than " };
    format!("{what}: {shown} of {more}{}", top.len())
}

fn sources(top: &Top<IpAddr, SourceTally>, most: usize) -> Table {
    let row = |place: &Place<IpAddr, SourceTally>| {
        let SourceTally { outcomes, reach } = &place.value;
        let mut row = vec![place.key.to_string()];
        let sum = Count::new(place.at_least(), place.error == 0);
        row.extend([sum, reach.hosts(), reach.ports()].map(count));
        row.extend(outcomes.0.iter().map(u64::to_string));
        row
    };
    let rows: Vec<_> = top.first(most).into_iter().map(row).collect();
    let mut columns = vec![
        Column::Words("source"),
        Column::Numbers("attempts"),
        Column::Numbers("hosts"),
        Column::Numbers("ports"),
    ];
    let outcomes = AttemptOutcome::ALL.into_iter();
    columns.extend(outcomes.map(|outcome| Column::Numbers(outcome.word())));
    Table {
        id: "sources",
        title: title("Sources with most attempts", rows.len(), top),
        columns,
        notes: notes(&rows, top, "sources"),
        rows,
        none: "None.",
    }
}

/// A source in a picture.
pub struct SourceBar {
    pub source: String,
    pub outcomes: OutcomeCounts,
    /// Its attempts, marked if they are a lower bound.
    pub sum: String,
}

/// The attempts of the sources with most.
pub fn source_bars(tallies: &Tallies, most: usize) -> Vec<SourceBar> {
    let first = tallies.sources.first(most).into_iter();
    let bar = |place: &Place<IpAddr, SourceTally>| SourceBar {
        source: place.key.to_string(),
        outcomes: place.value.outcomes,
        sum: count(Count::new(place.at_least(), place.error == 0)),
    };
    first.map(bar).collect()
}

fn destinations(top: &Top<Endpoint, OutcomeCounts>, most: usize) -> Table {
    let row = |place: &Place<Endpoint, OutcomeCounts>| {
        let mut endpoint = Vec::new();
        append::endpoint(&mut endpoint, place.key.0, place.key.1);
        let outcomes = &place.value;
        let established = outcomes.of(AttemptOutcome::Established);
        vec![
            String::from_utf8_lossy(&endpoint).into_owned(),
            count(Count::new(place.at_least(), place.error == 0)),
            percent(established, outcomes.sum()),
        ]
    };
    let rows: Vec<_> = top.first(most).into_iter().map(row).collect();
    Table {
        id: "destinations",
        title: title("Busiest destinations", rows.len(), top),
        columns: vec![
            Column::Words("address and port"),
            Column::Numbers("attempts"),
            Column::Numbers("established"),
        ],
        notes: notes(&rows, top, "destinations"),
        rows,
        none: "None.",
    }
}

/// Ports with the number of scans that tried them.
fn ports(PortCounts { first, ports }: &PortCounts) -> String {
    let each = first.iter().map(|(port, scans)| match scans {
        1 => port.to_string(),
        scans => format!("{port} ({scans})"),
    });
    let mut each: Vec<String> = each.collect();
    if *ports > first.len() {
        each.push(format!("{} more", ports - first.len()));
    }
    each.join(", ")
}

fn kinds(tallies: &Tallies) -> Table {
    let scans = &tallies.scans;
    let row = |(kind, count): (Kind, u64)| {
        vec![
            kind.about().title.to_owned(),
            count.to_string(),
            ports(&scans.ports(&[kind], PORTS_LISTED)),
        ]
    };
    let mut notes = Vec::new();
    if scans.withheld > 0 {
        let withheld = many(scans.withheld, "other");
        notes.push(format!("{withheld} withheld by --allow or --alert."));
    }
    if scans.unfinished() > 0 {
        notes.push(format!(
            "{} more had no end, for a full table evicted them; they are in no list (raise --memory-mib).",
            scans.unfinished()
        ));
    }
    Table {
        id: "kinds",
        title: format!("Scans and floods: {}", scans.sum()),
        columns: vec![
            Column::Words("kind"),
            Column::Numbers("number"),
            Column::Words("ports (scans that tried them, if several)"),
        ],
        rows: scans.kinds().map(row).collect(),
        none: match notes[..] {
            [] => "None was detected.",
            _ => "None is listed.",
        },
        notes,
    }
}

fn episodes(tallies: &Tallies, most: usize) -> Table {
    let row = |one: &&Episode| {
        let evidence = &one.evidence;
        let numbers = [evidence.refused, evidence.unanswered, evidence.answered];
        let mut row = vec![
            moment(one.first_ns),
            length(one.first_ns, one.last_ns),
            one.kind.about().title.to_owned(),
        ];
        row.extend(numbers.map(|number| number.to_string()));
        row.extend([one.proof.to_string(), one.what.clone()]);
        row
    };
    let largest = tallies.scans.largest();
    let rows: Vec<_> = largest.iter().take(most).map(row).collect();
    Table {
        id: "episodes",
        title: format!("Largest of them: {} of {}", rows.len(), tallies.scans.sum()),
        columns: vec![
            Column::Words("began (UTC)"),
            Column::Numbers("lasted"),
            Column::Words("kind"),
            Column::Numbers("refused"),
            Column::Numbers("unanswered"),
            Column::Numbers("answered"),
            Column::Words("proof"),
            Column::Words("who and what"),
        ],
        rows,
        none: "None.",
        notes: vec![
            "Refused, unanswered and answered are ports or hosts. Proof: what shows that the source's address is not forged."
                .to_owned(),
        ],
    }
}

/// Sentences about what is damaged or was missed, and whether nothing is.
fn missed(facts: &Facts) -> (Vec<String>, bool) {
    let books = &facts.books;
    let mut all = facts.faults.clone();
    let losses = losses::all(books);
    let each = losses.iter();
    all.extend(each.map(|loss| format!("missed: {}; {}", loss.sentence(), loss.advice())));
    let closed = books.closed();
    let is_whole = all.is_empty() && closed;
    report::order(books, &mut |line| all.push(line));
    let undecoded = report::causes(books);
    if !undecoded.is_empty() {
        all.push(format!("frames not decoded: {}", undecoded.join(", ")));
    }
    all.push(match (is_whole, closed) {
        (true, _) => "Nothing was missed: every frame is accounted for.".to_owned(),
        (false, true) => "Every frame is accounted for, with what was missed.".to_owned(),
        (false, false) => {
            "THE BOOKS DO NOT CLOSE: please report it as a fault of synledger.".to_owned()
        }
    });
    (all, is_whole)
}
