//! `benign.json`: what is known about each capture.

use std::fmt::Write as _;

use super::Benign;

/// The manifest of these captures: a JSON array, one object a line.
///
/// Members: `kind`, `file`, `seed`, `minutes`, `frames`, `sources` (addresses that a rule may take
/// for scanners) and `naive` (rules that find a scan, each with the reason).
#[must_use]
pub fn manifest(captures: &[Benign]) -> String {
    let mut out = String::from("[\n");
    for (i, benign) in captures.iter().enumerate() {
        let end = if i + 1 == captures.len() { "" } else { "," };
        line(&mut out, benign);
        out.push_str(end);
        out.push('\n');
    }
    out + "]\n"
}

fn line(out: &mut String, benign: &Benign) {
    let sources: Vec<String> = benign
        .sources
        .iter()
        .map(|source| text(&source.to_string()))
        .collect();
    let naive: Vec<String> = benign
        .naive
        .iter()
        .map(|naive| {
            let (rule, because) = (text(naive.rule), text(naive.because));
            format!("{{\"rule\":{rule},\"because\":{because}}}")
        })
        .collect();
    let file = text(&benign.file());
    let kind = text(benign.kind);
    let _ = write!(
        out,
        "{{\"kind\":{kind},\"file\":{file},\"seed\":{},\"minutes\":{},\"frames\":{},\
         \"sources\":[{}],\"naive\":[{}]}}",
        benign.seed,
        benign.minutes,
        benign.frames,
        sources.join(","),
        naive.join(",")
    );
}

/// A JSON string. Names, addresses and reasons are printable ASCII.
fn text(of: &str) -> String {
    let plain = |c: char| (' '..='~').contains(&c);
    assert!(of.chars().all(plain), "{of:?} needs an escape");
    format!("\"{}\"", of.replace('\\', "\\\\").replace('"', "\\\""))
}
