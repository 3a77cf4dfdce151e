//! The HTML page: one file, without references to others.

use std::fmt::Write as _;

use super::plots::Plot;
use super::svg::escape;
use super::{Sources, Table};

const STYLE: &str = "
:root { color-scheme: light dark; --text: #1b1f24; --quiet: #57606a; --page: #ffffff; --line: #d0d7de;
  --c0: #c2410c; --c1: #3b6ea5; --c2: #4d7c0f; --c3: #7e22ce; --c4: #0f766e; --c5: #a16207; --c6: #be185d; --c7: #525252; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --quiet: #9da7b3; --page: #0d1117; --line: #30363d;
  --c0: #fb923c; --c1: #79b8ff; --c2: #a3e635; --c3: #d8b4fe; --c4: #5eead4; --c5: #facc15; --c6: #f9a8d4; --c7: #a3a3a3; } }
body { background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
a { color: var(--c1); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: 0.3rem 0.7rem; text-align: left; vertical-align: top; }
th { color: var(--quiet); font-weight: 600; }
p.note { max-width: 50rem; } p.from, ul.from { color: var(--quiet); font-size: 0.8rem; overflow-wrap: anywhere; }
svg { display: block; max-width: 760px; width: 100%; margin: 1.2rem 0; font: 12px system-ui, sans-serif; }
svg text { fill: var(--text); } svg text.title { font-weight: 600; font-size: 13px; } svg text.mark { fill: var(--quiet); }
svg .grid { stroke: var(--line); } svg .reach { stroke: var(--text); stroke-width: 1.5; }
svg .wanted { stroke: var(--text); stroke-dasharray: 4 3; } svg polyline { fill: none; stroke-width: 2; }
";

/// A page with these tables and their plots.
pub fn page(tables: &[Table], plots: &[Plot]) -> String {
    let mut colours = String::new();
    for number in 0..super::svg::COLOURS {
        let _ = writeln!(
            colours,
            "svg .c{number} {{ fill: var(--c{number}); }} svg .l{number} {{ stroke: var(--c{number}); }}"
        );
    }
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>synledger under load</title>\n<style>{STYLE}{colours}</style>\n</head>\n<body>\n\
         <h1>synledger under load</h1>\n\
         <p class=\"note\">Every figure was measured by <code>loadtest</code>. The CSV files beside this page have each \
         number in a row, with machine, kernel, commit and command.</p>\n<ul>\n"
    );
    for table in tables {
        let _ = writeln!(
            out,
            "<li><a href=\"#{}\">{}</a></li>",
            table.name,
            escape(table.title)
        );
    }
    out += "</ul>\n";
    for table in tables {
        section(&mut out, table, plots);
    }
    out + "</body>\n</html>\n"
}

fn section(out: &mut String, table: &Table, plots: &[Plot]) {
    let _ = writeln!(
        out,
        "<h2 id=\"{}\">{}</h2>\n<p class=\"note\">{}</p>",
        table.name,
        escape(table.title),
        escape(&table.note)
    );
    for plot in plots.iter().filter(|plot| plot.table == table.name) {
        *out += &plot.svg;
    }
    *out += "<div class=\"scroll\"><table>\n<tr>";
    for head in &table.head {
        let _ = write!(out, "<th>{}</th>", escape(head));
    }
    *out += "</tr>\n";
    for line in &table.lines {
        *out += "<tr>";
        for word in line {
            let _ = write!(out, "<td>{}</td>", escape(word));
        }
        *out += "</tr>\n";
    }
    *out += "</table></div>\n";
    if table.sources != Sources::default() {
        let _ = writeln!(
            out,
            "<p class=\"from\">{}.</p>\n<ul class=\"from\">",
            escape(&table.sources.sentence())
        );
        for command in &table.sources.commands {
            let _ = writeln!(out, "<li><code>{}</code></li>", escape(command));
        }
        *out += "</ul>\n";
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::super::{plots, tables};
    use super::*;

    #[test]
    fn the_page_is_well_formed_and_has_no_references() {
        let mut rows = vec![
            row("synledger", "mix", "file_rate", 4e6, 1),
            row("a<script>", "mix", "file_rate", 1e6, 1),
            row("synledger", "syn", "rate_without_loss", 1e6, 1),
        ];
        for at in ["1x", "2x", "4x", "max"] {
            rows.push(row("synledger", "syn", &format!("rate_{at}"), 1e6, 1));
            rows.push(row("synledger", "syn", &format!("loss_{at}"), 0.5, 1));
        }
        let page = page(&tables::all(&rows), &plots::all(&rows));
        assert!(!page.contains("<script") && page.contains("a&lt;script&gt;"));
        for outside in ["http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        for tag in [
            "html", "body", "table", "svg", "tr", "td", "ul", "h2", "div",
        ] {
            let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
            let opened = page
                .match_indices(&open)
                .filter(|(at, _)| page[at + open.len()..].starts_with([' ', '>']));
            assert_eq!(opened.count(), page.matches(&close).count(), "{tag}");
        }
        assert_eq!(page.matches("<svg").count(), 3);
    }
}
