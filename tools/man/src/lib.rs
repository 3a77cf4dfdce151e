//! Manual pages, shell completions and an example of the configuration file, from the program's own definitions of its flags.
//!
//! Name, synopsis, description and options come from these definitions; all else (exit status, signals, output
//! format, files, examples) is in [`sections`]. The sensor never depends on this crate.

mod block;
mod collectors;
pub mod example;
pub mod glossary;
mod interfaces;
mod metrics;
mod parquet;
mod restarts;
mod rotation;
mod sandbox;
pub mod sections;
mod top;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use sections::{Block, Section};
use std::io;
use std::path::Path;
use synledger::books::Books;
use synledger::books::blocks::BlockBooks;
use synledger::books::output::OutputCounts;
use synledger::books::reading::ReadingCounts;
use synledger::books::responder::ResponderCounts;
use synledger::books::ring::RingCounts;
use synledger::books::witness::WitnessCounts;
use synledger::counters::{Counter, Counters, Kind};
use synledger::observe::metrics::series::{self, Fate};
use synledger::settings::flags::HEADINGS;
use synledger::settings::program::program;

/// A generated file.
#[derive(Clone, Debug)]
pub struct Written {
    /// File name.
    pub name: String,
    /// Contents.
    pub bytes: Vec<u8>,
}

/// The program's commands with their full names (`synledger run`).
///
/// Without `help`: it has no page.
pub fn commands() -> Vec<Command> {
    let mut program = program().disable_help_subcommand(true);
    program.build();
    let mut all: Vec<Command> = program.get_subcommands().cloned().collect();
    all.insert(0, program);
    all
}

/// A command's page: `synledger-run.1`.
///
/// # Errors
///
/// None in practice: it writes to memory.
pub fn page(command: &Command) -> io::Result<Written> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let man = Man::new(command.clone());
    let mut bytes = Vec::new();
    man.render_name_section(&mut bytes)?;
    bytes.extend_from_slice(synopsis(command).as_bytes());
    man.render_description_section(&mut bytes)?;
    bytes.extend_from_slice(render(sections::description(name)).as_bytes());
    bytes.extend_from_slice(options(&man)?.as_bytes());
    // Those of `block` have no pages of their own.
    if command.has_subcommands() && command.get_name() != "block" {
        man.render_subcommands_section(&mut bytes)?;
    }
    let from_help = String::from_utf8(bytes).map_err(io::Error::other)?;
    let mut bytes = title(name, 1, "User Commands").into_bytes();
    bytes.extend(
        from_help
            .lines()
            .map(bold_words)
            .flat_map(String::into_bytes),
    );
    for section in sections::of(name) {
        bytes.extend_from_slice(render_section(&section).as_bytes());
        if section.title == "OUTPUT FORMAT" && matches!(command.get_name(), "run" | "read") {
            bytes.extend_from_slice(counters().as_bytes());
        }
    }
    Ok(Written {
        name: format!("{name}.1"),
        bytes,
    })
}

/// One section of options. clap_mangen makes a section of each heading.
fn options(man: &Man) -> io::Result<String> {
    let mut bytes = Vec::new();
    man.render_options_section(&mut bytes)?;
    let mut text = String::from_utf8(bytes).map_err(io::Error::other)?;
    for heading in HEADINGS {
        let section = format!(".SH {}\n", heading.to_uppercase());
        text = text.replacen(&section, &format!(".SS {heading}\n"), 1);
    }
    match text.find(".SH OPTIONS\n") {
        Some(_) => Ok(text),
        None => Ok(format!(".SH OPTIONS\n{text}")),
    }
}

/// The title line. clap_mangen omits an empty date, which shifts all fields behind it.
fn title(name: &str, section: u8, manual: &str) -> String {
    let (name, version) = (name.to_uppercase(), env!("CARGO_PKG_VERSION"));
    format!(".TH {name} {section} \"\" \"synledger {version}\" \"{manual}\"\n")
}

/// The page of concepts: `synledger.7`.
pub fn glossary_page() -> Written {
    let mut text = title("synledger", 7, "Miscellaneous");
    for section in glossary::sections() {
        text += &render_section(&section);
    }
    Written {
        name: "synledger.7".to_owned(),
        bytes: text.into_bytes(),
    }
}

/// The usage line of the help: a synopsis of two dozen flags is unreadable.
fn synopsis(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([roman(usage)]);
    roff.render()
}

/// A rendered line with bold text between backticks.
fn bold_words(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    if line.starts_with('.') || parts.len().is_multiple_of(2) {
        return format!("{line}\n");
    }
    let shown = |(at, part): (usize, &&str)| match at % 2 {
        0 => (*part).to_owned(),
        _ => format!("\\fB{part}\\fR"),
    };
    parts.iter().enumerate().map(shown).collect::<String>() + "\n"
}

fn render_section(section: &Section) -> String {
    let mut roff = Roff::new();
    roff.control("SH", [section.title]);
    roff.render() + &render(section.blocks)
}

fn render(blocks: &[Block]) -> String {
    let mut roff = Roff::new();
    for block in blocks {
        match block {
            Block::Text(text) => {
                roff.control("PP", []);
                roff.text(words(text));
            }
            Block::Item(term, text) => {
                roff.control("TP", []);
                roff.text([bold(*term)]);
                roff.text(words(text));
            }
            Block::Lines(lines) => {
                roff.control("PP", []);
                roff.control("EX", []);
                for line in *lines {
                    roff.text([roman(*line)]);
                }
                roff.control("EE", []);
            }
        }
    }
    roff.render()
}

/// Every counter with the help that the program has for it.
fn counters() -> String {
    let books = Books {
        reading: Some(ReadingCounts::default()),
        filtered: Some(0),
        shed_in_kernel: Some(0),
        witness: Some(WitnessCounts::default()),
        blocks: Some(BlockBooks::default()),
        ..Books::default()
    };
    let mut roff = Roff::new();
    roff.control("SS", ["Counters"]);
    roff.text(words(
        "Members of `synledger.books`. As metrics they have the prefix `synledger_` and, unless marked (now), the suffix `_total`. Metrics have the sum over the labels of what is marked (sum), what is marked (missed) as a cause of `synledger_missed_total` (those of all detectors together), and nothing of what is marked (EVE). Scans are counted by kind, and again by direction as `synledger_scans_by_direction_total`.",
    ));
    let section = |roff: &mut Roff, is_place: bool, all: Vec<Counter>| {
        for counters in all.chunk_by(|one, other| one.name() == other.name()) {
            let Counter {
                help, kind, labels, ..
            } = &counters[0];
            let by = labels.iter().enumerate().map(|(at, (label, _))| {
                let mut values: Vec<&str> = Vec::new();
                for counter in counters {
                    let value = counter.labels[at].1.as_ref();
                    if !values.contains(&value) {
                        values.push(value);
                    }
                }
                format!(", by {label}: {}", values.join(", "))
            });
            let by: String = by.collect();
            let now = if *kind == Kind::Gauge { " (now)" } else { "" };
            let fate = match series::fate(*kind, &counters[0].name()) {
                _ if is_place => "",
                Fate::Own => "",
                Fate::Summed => " (sum)",
                Fate::Missed => " (missed)",
                Fate::LeftOut => " (EVE)",
            };
            roff.control("TP", []);
            roff.text([bold(counters[0].name())]);
            roff.text([roman(format!("{help}{now}{fate}{by}."))]);
        }
    };
    let mut all = Vec::new();
    books.each(&mut |counter| all.push(counter));
    section(&mut roff, false, all);
    roff.control("PP", []);
    roff.text(words(
        "For each ring; in `rings` without the prefix `ring_`, as metrics `tp_packets`, `tp_drops` and `shed_data` alone, with the labels `interface` and `class`; `synledger_worker_frames_total` has the frames by worker:",
    ));
    section(&mut roff, true, of(&RingCounts::default()));
    roff.control("PP", []);
    roff.text(words(
        "For each output; in `outputs` without the prefix `records_`, as metrics `written`, `dropped` (by cause) and `pending`, with the label `output`; `synledger_records_dropped_by_kind_total` has the kinds that were lost, of all outputs:",
    ));
    section(&mut roff, true, of(&OutputCounts::default()));
    roff.control("PP", []);
    roff.text(words(
        "For each block list; in `responders` without the prefix `responder_`, as metrics `added`, `listed`, `refused` and `write_failures`, with the label `responder`:",
    ));
    section(&mut roff, true, of(&ResponderCounts::default()));
    roff.render()
}

/// Every counter of a struct.
fn of(counters: &impl Counters) -> Vec<Counter> {
    let mut all = Vec::new();
    counters.each(&mut |counter| all.push(counter));
    all
}

/// Text between backticks is bold.
fn words(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    let shown = |(at, part): (usize, &str)| match at % 2 {
        0 => roman(part),
        _ => bold(part),
    };
    parts.map(shown).collect()
}

/// Completions for bash, zsh and fish, under the file names that the shells look for.
pub fn completions() -> Vec<Written> {
    let shells = [
        (Shell::Bash, "synledger.bash"),
        (Shell::Zsh, "_synledger"),
        (Shell::Fish, "synledger.fish"),
    ];
    let one = |(shell, name): (Shell, &str)| {
        let mut bytes = Vec::new();
        clap_complete::generate(shell, &mut program(), "synledger", &mut bytes);
        let generated = String::from_utf8_lossy(&bytes);
        let bytes = interfaces::with_interfaces(shell, &generated).into_bytes();
        let name = name.to_owned();
        Written { name, bytes }
    };
    shells.into_iter().map(one).collect()
}

/// A configuration file with every flag at its default, commented out.
pub fn example() -> Written {
    let program = program();
    let run = program.find_subcommand("run").expect("it is there");
    Written {
        name: "synledger.toml".to_owned(),
        bytes: example::example(run).into_bytes(),
    }
}

/// Writes all pages, completions and the example into a folder, and creates it.
///
/// # Errors
///
/// If the folder or a file in it cannot be written.
pub fn write_all(folder: &Path) -> io::Result<Vec<String>> {
    std::fs::create_dir_all(folder)?;
    let pages = commands()
        .iter()
        .map(page)
        .collect::<io::Result<Vec<_>>>()?;
    let mut names = Vec::new();
    let others = completions()
        .into_iter()
        .chain([glossary_page(), example()]);
    for Written { name, bytes } in pages.into_iter().chain(others) {
        std::fs::write(folder.join(&name), bytes)?;
        names.push(name);
    }
    Ok(names)
}
