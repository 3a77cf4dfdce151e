//! `craft`: writes the crafted captures and benign traffic as files, and merges captures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use craft::{
    BENIGN, Capture, PcapFormat, benign, crowds, manifest, merge, probes, read_pcap, scenarios,
};

const USAGE: &str = "\
usage: craft scenarios [--family base|probes|crowds] [--seed N] --out DIR
                                                write NNN-name.pcap (.pcapng if several interfaces)
       craft benign [--seed N] [--minutes M] --out DIR
                                                write benign traffic, an hour of each kind, and what
                                                is known about it (benign.json)
       craft merge [--seed N] --out FILE IN...  merge pcap files of one link type by time";

/// The parsed command line.
struct Arguments {
    family: Family,
    seed: u64,
    minutes: Option<u16>,
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
    let plain = arguments.minutes.is_none();
    let done = match command.as_str() {
        "scenarios" if plain && arguments.inputs.is_empty() => write_scenarios(&arguments),
        "benign" if arguments.inputs.is_empty() => write_benign(&arguments),
        "merge" if plain && !arguments.inputs.is_empty() => write_merged(&arguments),
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
    let (mut seed, mut minutes, mut out, mut inputs) = (1, None, None, Vec::new());
    let mut family: Family = scenarios;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seed" => seed = words.next().and_then(|n| n.parse().ok()).ok_or(())?,
            "--minutes" => minutes = Some(words.next().and_then(|n| n.parse().ok()).ok_or(())?),
            "--family" => {
                family = match words.next().as_deref() {
                    Some("base") => scenarios,
                    Some("probes") => probes,
                    Some("crowds") => crowds,
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
        minutes,
        out: out.ok_or(())?,
        inputs,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn make_folder(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn write_scenarios(arguments: &Arguments) -> Result<(), String> {
    let folder = &arguments.out;
    make_folder(folder)?;
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

fn write_benign(arguments: &Arguments) -> Result<(), String> {
    let folder = &arguments.out;
    make_folder(folder)?;
    let mut known = Vec::new();
    for kind in BENIGN {
        let made = benign(kind, arguments.seed, arguments.minutes.unwrap_or(60));
        let (capture, about) = made.ok_or_else(|| format!("{kind}: no such kind"))?;
        write(
            &folder.join(about.file()),
            &capture.to_pcap(PcapFormat::NANOS),
        )?;
        known.push(about);
    }
    write(&folder.join("benign.json"), manifest(&known).as_bytes())
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
