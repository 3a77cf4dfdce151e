//! `craft`: writes the crafted captures as files, and merges captures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use craft::{Capture, PcapFormat, merge, probes, read_pcap, scenarios};

const USAGE: &str = "\
usage: craft scenarios [--family base|probes] [--seed N] --out DIR
                                                write NNN-name.pcap (.pcapng if several interfaces)
       craft merge [--seed N] --out FILE IN...  merge pcap files of one link type by time";

/// The parsed command line.
struct Arguments {
    family: Family,
    seed: u64,
    out: PathBuf,
    inputs: Vec<PathBuf>,
}

/// Makes the captures of a family from a seed.
type Family = fn(u64) -> Vec<Capture>;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let Ok(arguments) = parse(words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let done = match command.as_str() {
        "scenarios" if arguments.inputs.is_empty() => write_scenarios(&arguments),
        "merge" if !arguments.inputs.is_empty() => write_merged(&arguments),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("craft: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, ()> {
    let (mut seed, mut out, mut inputs) = (1, None, Vec::new());
    let mut family: Family = scenarios;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seed" => seed = words.next().and_then(|n| n.parse().ok()).ok_or(())?,
            "--family" => {
                family = match words.next().as_deref() {
                    Some("base") => scenarios,
                    Some("probes") => probes,
                    _ => return Err(()),
                }
            }
            "--out" => out = Some(words.next().ok_or(())?.into()),
            flag if flag.starts_with('-') => return Err(()),
            input => inputs.push(input.into()),
        }
    }
    Ok(Arguments {
        family,
        seed,
        out: out.ok_or(())?,
        inputs,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn write_scenarios(arguments: &Arguments) -> Result<(), String> {
    let folder = &arguments.out;
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for (number, capture) in (arguments.family)(arguments.seed).iter().enumerate() {
        // A pcap file has no interface number for a frame.
        let (ending, bytes) = if capture.interfaces() > 1 {
            ("pcapng", capture.to_pcapng())
        } else {
            ("pcap", capture.to_pcap(PcapFormat::NANOS))
        };
        write(
            &folder.join(format!("{number:03}-{}.{ending}", capture.name)),
            &bytes,
        )?;
    }
    Ok(())
}

fn write_merged(arguments: &Arguments) -> Result<(), String> {
    let mut captures: Vec<Capture> = Vec::new();
    for path in &arguments.inputs {
        let at_path = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let bytes = fs::read(path).map_err(|error| at_path(&error))?;
        let capture = read_pcap("input", &bytes).map_err(|error| at_path(&error))?;
        if captures
            .first()
            .is_some_and(|first| first.link != capture.link)
        {
            return Err(at_path(&"another link type than the first file's"));
        }
        captures.push(capture);
    }
    let merged = merge(&captures, arguments.seed);
    write(&arguments.out, &merged.to_pcap(PcapFormat::NANOS))
}
