//! Findings as text, and as JSON.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Finding, Level, exit_status};
use crate::words::{many, printable};

/// Indent of a finding's further lines: the width of the level and its gap.
const INDENT: &str = "      ";
/// Width of wrapped text.
const LINE_BYTES: usize = 80;

/// Writes each finding with why and what to change, then the sum.
///
/// # Errors
///
/// Those of `out`.
pub fn write_text(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    for finding in findings {
        writeln!(
            out,
            "{:<4}  {}",
            finding.level.word(),
            printable(&finding.what)
        )?;
        if !finding.why.is_empty() {
            for (at, line) in wrapped(finding.why).iter().enumerate() {
                let label = if at == 0 { "why:" } else { "" };
                writeln!(out, "{INDENT}{label:<7} {line}")?;
            }
        }
        if !finding.change.is_empty() {
            writeln!(out, "{INDENT}change: {}", printable(&finding.change))?;
        }
    }
    let [fails, warns] = [Level::Fail, Level::Warn].map(|level| count(findings, level));
    let ready = match (fails, warns) {
        (0, 0) => "Ready.",
        (0, _) => "Ready, with warnings.",
        _ => "Not ready.",
    };
    let warnings = many(warns, "warning");
    writeln!(out, "{ready} {fails} failed, {warnings}.")
}

/// Wraps at [`LINE_BYTES`]. Commands are never wrapped, so that they can be copied.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + 1 + word.len() > LINE_BYTES {
            lines.push(word.to_owned());
            continue;
        }
        if !lines[last].is_empty() {
            lines[last].push(' ');
        }
        lines[last].push_str(word);
    }
    lines
}

/// [`to_json`] as text, without any control character but newlines: serde_json writes DEL and the C1 controls as they
/// are, and a terminal would obey them.
pub fn json_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for letter in format!("{:#}", to_json(findings)).chars() {
        match letter {
            '\n' => text.push(letter),
            letter if letter.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(letter));
            }
            letter => text.push(letter),
        }
    }
    text
}

/// The findings as JSON: `ready`, `failed`, `warnings`, and `findings` with level, what, why, change.
pub fn to_json(findings: &[Finding]) -> Value {
    let each = |finding: &Finding| {
        json!({
            "level": finding.level.word(),
            "what": finding.what,
            "why": finding.why,
            "change": finding.change,
        })
    };
    json!({
        "ready": exit_status(findings) == 0,
        "failed": count(findings, Level::Fail),
        "warnings": count(findings, Level::Warn),
        "findings": findings.iter().map(each).collect::<Vec<_>>(),
    })
}

fn count(findings: &[Finding], level: Level) -> usize {
    findings
        .iter()
        .filter(|finding| finding.level == level)
        .count()
}
