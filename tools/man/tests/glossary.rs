//! `synledger`(7), README and RESULTS.md name only flags, metrics and commands that exist, and the glossary has every reason of a loss.

use clap::Parser;
use man::{commands, glossary_page};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use synledger::books::blocks::BlockBooks;
use synledger::books::horizons::Horizons;
use synledger::books::ring::RingCounts;
use synledger::inspect::Kind;
use synledger::observe::losses::Reason;
use synledger::observe::metrics::{Exposition, Format, render};
use synledger::observe::snapshot::Snapshot;
use synledger::settings::flags::Cli;

/// A file of the repository.
fn text(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(name)).expect(name)
}

/// `synledger`(7) without roff's escapes.
fn glossary() -> String {
    let page = String::from_utf8(glossary_page().bytes).expect("UTF-8");
    page.replace("\\-", "-")
}

/// Words whose characters satisfy `of` and that begin with `start`.
fn words<'a>(text: &'a str, start: &str, of: fn(char) -> bool) -> BTreeSet<&'a str> {
    let words = text.split(|c: char| !of(c));
    words
        .filter(|word| word.len() > start.len() && word.starts_with(start))
        .collect()
}

fn flags(text: &str) -> BTreeSet<&str> {
    let mut found = words(text, "--", |c| c.is_ascii_lowercase() || c == '-');
    // Lines between the rows of a table.
    found.retain(|word| !word.starts_with("---"));
    found
}

#[test]
fn flags_of_the_glossary_and_of_the_readme_exist() {
    let mut help = String::new();
    for mut command in commands() {
        help += &command.render_long_help().to_string();
    }
    let known = flags(&help);
    for (name, text) in [
        ("synledger.7", glossary()),
        ("README.md", text("README.md")),
    ] {
        let named = flags(&text);
        assert!(named.len() >= 8, "{name}: {named:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{name} names {unknown:?}");
    }
}

#[test]
fn metrics_of_the_glossary_are_served() {
    let snapshot = || {
        let mut snapshot = Snapshot::default();
        snapshot.books.shards.horizons = Horizons {
            dedup_ns: 1,
            scan_gaps_ns: [1; Kind::COUNT],
        };
        snapshot.books.blocks = Some(BlockBooks::default());
        snapshot.books.rings = vec![RingCounts::default()];
        snapshot.gap_s = Some(1.0);
        snapshot.clock_synchronized = Some(true);
        snapshot.retention_s = vec![("eve:/x".to_owned(), 1.0)];
        snapshot
    };
    let exposition = Exposition::starting_now(Arc::new(snapshot));
    let served = render(exposition, Format::Text).expect("text");
    let served: BTreeSet<&str> = served
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let page = glossary();
    let named = words(&page, "synledger_", |c| c.is_ascii_lowercase() || c == '_');
    assert!(named.len() >= 7, "{named:?}");
    let unknown: Vec<_> = named.difference(&served).collect();
    assert!(unknown.is_empty(), "not served: {unknown:?}");
}

#[test]
fn every_reason_of_a_loss_is_in_the_glossary() {
    let sections = man::glossary::sections();
    let found = sections
        .iter()
        .find(|section| section.title == "WHEN SOMETHING IS LOST");
    let terms: BTreeSet<&str> = found
        .expect("the section")
        .blocks
        .iter()
        .filter_map(|block| match block {
            man::sections::Block::Item(term, _) => Some(term.split(", ")),
            _ => None,
        })
        .flatten()
        .collect();
    let reasons: BTreeSet<&str> = Reason::ALL.into_iter().map(Reason::word).collect();
    assert_eq!(terms, reasons);
}

#[test]
fn commands_of_readme_and_results_exist() {
    let makefile = text("Makefile");
    let read = text("README.md") + "\n" + &text("loadtest/RESULTS.md");
    let code = read.split("```").skip(1).step_by(2);
    let lines = code
        .flat_map(str::lines)
        .map(|line| line.split('#').next().unwrap_or_default());
    let mut tried = 0;
    for line in lines {
        let last = line.rsplit(" | ").next().unwrap_or_default().trim();
        let flags = last
            .split_once("ARGS=")
            .map(|(_, flags)| flags.trim_matches('"'));
        if let Some(target) = last
            .strip_prefix("make ")
            .and_then(|rest| rest.split(' ').next())
        {
            assert!(makefile.contains(&format!("\n{target}:")), "{line}");
            tried += 1;
        }
        let words = match flags {
            Some(flags) => format!("synledger run {flags}"),
            None => last.to_owned(),
        };
        if words.starts_with("synledger ") {
            let words = words.split_whitespace();
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
            tried += 1;
        }
    }
    assert!(tried >= 8, "{tried} commands");
}
