//! A report as text, for a terminal or a mail.

use super::content::{Column, Content, Table};
use std::fmt::Write as _;

/// Characters of a cell, which is cut, and of a note's line.
const WORDS_MAX: usize = 100;

/// The report's lines.
pub fn text(content: &Content) -> String {
    let mut out = format!(
        "synledger {}: report of {}\n{}\n",
        env!("CARGO_PKG_VERSION"),
        content.captures,
        content.span
    );
    for table in &content.tables {
        write_table(&mut out, table);
    }
    out += "\nDamaged or missed\n";
    for line in &content.missed {
        let _ = writeln!(out, "  {line}");
    }
    out
}

fn write_table(out: &mut String, table: &Table) {
    let _ = writeln!(out, "\n{}", table.title);
    let heads = table.columns.iter().map(|column| column.name().to_owned());
    let mut lines = vec![heads.collect::<Vec<String>>()];
    lines.extend(
        table
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| cut(cell)).collect()),
    );
    if table.rows.is_empty() {
        lines.clear();
        let _ = writeln!(out, "  {}", table.none);
    }
    let width = |at: usize| {
        let cells = lines
            .iter()
            .map(|line: &Vec<String>| line[at].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
    for line in &lines {
        let mut shown = String::new();
        for ((cell, width), column) in line.iter().zip(&widths).zip(&table.columns) {
            let _ = match column {
                Column::Words(_) => write!(shown, "  {cell:<width$}"),
                Column::Numbers(_) => write!(shown, "  {cell:>width$}"),
            };
        }
        let _ = writeln!(out, "{}", shown.trim_end());
    }
    for note in &table.notes {
        wrap(out, note);
    }
}

/// Lines of at most [`WORDS_MAX`] characters.
fn wrap(out: &mut String, note: &str) {
    let mut line = String::new();
    for word in note.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WORDS_MAX {
            let _ = writeln!(out, " {line}");
            line.clear();
        }
        line.push(' ');
        line += word;
    }
    let _ = writeln!(out, " {line}");
}

fn cut(cell: &str) -> String {
    match cell.chars().count() > WORDS_MAX {
        true => cell
            .chars()
            .take(WORDS_MAX - 1)
            .chain(['\u{2026}'])
            .collect(),
        false => cell.to_owned(),
    }
}
