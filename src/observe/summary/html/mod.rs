//! A report as a page: one file, which refers to no other and works without a network.
//!
//! Its pictures are drawn by uPlot 1.6.32 (MIT), which is in the page. Without JavaScript the tables are there.

use super::content::{Column, Content, SourceBar, Table, length, source_bars};
use super::scans::EPISODES_MAX;
use super::tallies::{AttemptOutcome, OutcomeCounts, Tallies};
use crate::inspect::Kind;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Maximum size of a page, but for the names and errors of very many captures: its fixed parts take 70 KiB, times of
/// attempts 50 KiB, scans 1 KiB each.
pub const PAGE_BYTES_MAX: u64 = 1 << 20;

const PAGE_CSS: &str = include_str!("page.css");
const PAGE_JS: &str = include_str!("page.js");
const UPLOT_CSS: &str = include_str!("../uplot/uPlot.min.css");
const UPLOT_JS: &str = include_str!("../uplot/uPlot.iife.min.js");
const UPLOT_LICENSE: &str = include_str!("../uplot/LICENSE");

/// Sources in the picture, and ports that it gets; how many it shows depends on its width.
const BARS: usize = 15;
const PORTS_MAX: usize = 60;
/// From so many characters on, a cell's words may break.
const LONG_CELL: usize = 50;
/// Characters of a cell that is not opened.
const FOLDED_CELL: usize = 100;

/// The page may only be what it is: no request, whatever stands in it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The page.
pub fn page(content: &Content, tallies: &Tallies) -> String {
    let captures = escape(&content.captures);
    let version = env!("CARGO_PKG_VERSION");
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>synledger: {captures}</title>\n<style>{UPLOT_CSS}</style>\n<style>\n{PAGE_CSS}</style>\n</head>\n<body>\n\
         <h1>synledger: {captures}</h1>\n<p class=\"quiet\">{}</p>\n",
        escape(&content.span)
    );
    for table in &content.tables {
        section(&mut out, table, tallies);
    }
    missed(&mut out, content);
    let _ = write!(
        out,
        "<footer>Written by synledger {version}. Times are UTC. Pictures by uPlot 1.6.32 (MIT licence, in this page's source).</footer>\n\
         <script type=\"application/json\" id=\"data\">{}</script>\n\
         <script>\n/*\nuPlot 1.6.32\n\n{UPLOT_LICENSE}\n*/\n{UPLOT_JS}</script>\n<script>\n{PAGE_JS}</script>\n</body>\n</html>\n",
        data(tallies)
    );
    out
}

fn section(out: &mut String, table: &Table, tallies: &Tallies) {
    let (id, title) = (table.id, escape(&table.title));
    let _ = writeln!(out, "<h2 id=\"{id}\">{title}</h2>");
    if table.rows.is_empty() {
        let _ = writeln!(out, "<p>{}</p>", escape(table.none));
    } else {
        picture(out, table, tallies);
        write_table(out, table);
    }
    for note in &table.notes {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(note));
    }
}

fn picture(out: &mut String, table: &Table, tallies: &Tallies) {
    let mut plot = |id: &str, says: &str| {
        let _ = writeln!(
            out,
            "<div class=\"plot\" id=\"plot-{id}\" role=\"img\" aria-label=\"{says}\"></div>"
        );
    };
    match table.id {
        "attempts" => {
            plot("attempts", "Attempts over time by outcome");
            let width = length(0, tallies.over_time.width_ns());
            let _ = writeln!(out, "<p class=\"note\">Attempts in each {width}.</p>");
        }
        "kinds" => plot("ports", "How many scans tried each port"),
        "episodes" => {
            plot("episodes", "Scans and floods over time");
            let kept = match tallies.scans.sum() > EPISODES_MAX as u64 {
                true => format!("The picture has the {EPISODES_MAX} largest. "),
                false => String::new(),
            };
            let _ = writeln!(
                out,
                "<p class=\"hint\" id=\"episode\">{kept}Point at a bar to read what it is.</p>"
            );
        }
        "sources" => bars(out, tallies),
        _ => {}
    }
}

fn write_table(out: &mut String, table: &Table) {
    *out += "<div class=\"scroll\"><table>\n<tr>";
    let class = |column: &Column, cell: &str| match column {
        Column::Numbers(_) => " class=\"number\"",
        Column::Words(_) if cell.chars().count() >= LONG_CELL => " class=\"long\"",
        Column::Words(_) => "",
    };
    for column in &table.columns {
        let name = column.name();
        let _ = write!(out, "<th{}>{}</th>", class(column, ""), escape(name));
    }
    *out += "</tr>\n";
    for row in &table.rows {
        *out += "<tr>";
        for (cell, column) in row.iter().zip(&table.columns) {
            let _ = write!(out, "<td{}>{}</td>", class(column, cell), folded(cell));
        }
        *out += "</tr>\n";
    }
    *out += "</table></div>\n";
}

/// A cell; a long one is cut, and opens.
fn folded(cell: &str) -> String {
    let all = escape(cell);
    if cell.chars().count() <= FOLDED_CELL {
        return all;
    }
    let first: String = cell.chars().take(FOLDED_CELL - 1).collect();
    let first = escape(&first);
    format!("<details><summary>{first}\u{2026}</summary>{all}</details>")
}

/// The top sources as bars, by outcome.
fn bars(out: &mut String, tallies: &Tallies) {
    let bars = source_bars(tallies, BARS);
    let most = bars.iter().map(|bar| bar.outcomes.sum()).max();
    let most = most.unwrap_or(0).max(1) as f64;
    *out += "<ul class=\"keys\">";
    for outcome in AttemptOutcome::ALL {
        if bars.iter().any(|bar| bar.outcomes.of(outcome) > 0) {
            let _ = write!(out, "<li><span class=\"{outcome}\"></span>{outcome}</li>");
        }
    }
    *out += "</ul>\n<div class=\"bars\">\n";
    for SourceBar {
        source,
        outcomes,
        sum,
    } in &bars
    {
        let source = escape(source);
        let _ = write!(
            out,
            "<span class=\"name\">{source}</span><span class=\"bar\">"
        );
        for outcome in AttemptOutcome::ALL {
            let count = outcomes.of(outcome);
            if count > 0 {
                let percent = count as f64 * 100.0 / most;
                let _ = write!(
                    out,
                    "<span class=\"{outcome}\" style=\"width:{percent:.3}%\" title=\"{count} {outcome}\"></span>"
                );
            }
        }
        let _ = writeln!(out, "</span><span class=\"count\">{sum}</span>");
    }
    *out += "</div>\n";
}

fn missed(out: &mut String, content: &Content) {
    let class = if content.is_whole { "" } else { " some" };
    let _ = writeln!(
        out,
        "<h2 id=\"missed\">Damaged or missed</h2>\n<ul class=\"missed{class}\">"
    );
    for line in &content.missed {
        let _ = writeln!(out, "<li>{}</li>", escape(line));
    }
    *out += "</ul>\n";
}

/// Seconds since the Unix epoch.
fn seconds(ts_ns: i64) -> f64 {
    ts_ns as f64 / 1e9
}

/// What the pictures show, as JSON that may stand in a page.
fn data(tallies: &Tallies) -> String {
    let bins = &tallies.over_time;
    let kinds: Vec<Kind> = tallies.scans.kinds().map(|(kind, _)| kind).collect();
    let lane = |of: Kind| kinds.iter().position(|&kind| kind == of);
    let episodes = tallies.scans.largest().into_iter().map(|one| {
        json!([
            seconds(one.first_ns),
            seconds(one.last_ns),
            lane(one.kind),
            one.what
        ])
    });
    let times = bins.each().map(|(start_ns, _)| seconds(start_ns));
    let attempts = bins.each().map(|(_, OutcomeCounts(counts))| json!(counts));
    let data = json!({
        "outcomes": AttemptOutcome::ALL.map(AttemptOutcome::word),
        "width": seconds(bins.width_ns()),
        "times": times.collect::<Vec<f64>>(),
        "attempts": attempts.collect::<Vec<Value>>(),
        "kinds": kinds.iter().map(|kind| kind.about().title).collect::<Vec<_>>(),
        "episodes": episodes.collect::<Vec<Value>>(),
        "ports": tallies.scans.ports(&Kind::ALL, PORTS_MAX).first,
    });
    // Within a script element `</script>` and `<!--` would count, whatever the JSON says.
    data.to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// Text for an element or an attribute in double quotes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            letter if letter.is_control() => out.push('_'),
            // What turns the direction of text would let a name pose as another.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => {
                out.push('_');
            }
            letter => out.push(letter),
        }
    }
    out
}
