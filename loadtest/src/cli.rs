//! The command line. The flags of a subcommand are declared beside the code that they configure.

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::clean;
use crate::experiments::books::BooksArgs;
use crate::experiments::compare::CompareArgs;
use crate::experiments::harm::HarmArgs;
use crate::experiments::hidden::HiddenArgs;
use crate::experiments::latency::LatencyArgs;
use crate::experiments::overload::OverloadArgs;
use crate::experiments::reconcile::ReconcileArgs;
use crate::experiments::rings::RingsArgs;
use crate::experiments::search::SearchArgs;
use crate::judge::{Findings, Require};
use crate::receivers::bare::BareArgs;
use crate::report::ReportArgs;
use crate::say;
use crate::send::FloodArgs;

/// Floods a sensor, reconciles its log with what was sent, measures its cost. Needs root; makes network
/// namespaces and removes them.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 measured, and nothing failed; 1 a frame or an attempt is unaccounted for, books do not close, a program \
        could not be measured, or, with --require, a target is missed; 2 it could not run, or a program that it measured died; \
        128+N signal N ended it, and its namespaces, folders and processes are removed."
)]
pub struct Cli {
    #[command(subcommand)]
    /// What to run.
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send traffic by a schedule and report what was sent, or write it to a capture
    Flood(FloodArgs),
    /// Find the highest rate at which the sensor loses nothing
    Search(SearchArgs),
    /// Flood the sensor and compare its books and its log with what was sent
    Reconcile(ReconcileArgs),
    /// Reconcile every load at each depth, at 0.5, 1 and 2 times the rate without loss and at the highest rate
    Books(BooksArgs),
    /// Flood at half the rate without loss, with many sizes of rings and blocks: no frame may be dropped or shed
    Rings(RingsArgs),
    /// Give the sensor too little CPU for data, or for SYNs, and measure what it loses
    Overload(OverloadArgs),
    /// Scan with nmap inside a spoofed flood and measure how soon the sensor reports the scan
    HiddenScan(HiddenArgs),
    /// Measure the time from a packet's time stamp to its log line, idle and at half the rate without loss
    Latency(LatencyArgs),
    /// Compare the sensor with other programs, live and from files
    Compare(CompareArgs),
    /// Load a web server in pairs of runs, without and with a sensor on its host
    Harm(HarmArgs),
    /// Make the HTML page of all figures, or rewrite the tables of loadtest/RESULTS.md, from the CSV
    Report(ReportArgs),
    /// Only count frames: the least work of a receiver, to compare others with
    Bare(BareArgs),
    /// Remove the namespaces, control groups and folders of runs that were killed
    Clean,
}

impl Command {
    /// Runs it; gives its failures and targets.
    ///
    /// # Errors
    ///
    /// When it could not run.
    pub fn run(&self) -> Result<Findings> {
        match self {
            Command::Flood(args) => args.run(),
            Command::Search(args) => args.run(),
            Command::Reconcile(args) => args.run(),
            Command::Books(args) => args.run(),
            Command::Rings(args) => args.run(),
            Command::Overload(args) => args.run(),
            Command::HiddenScan(args) => args.run(),
            Command::Latency(args) => args.run(),
            Command::Compare(args) => args.run(),
            Command::Harm(args) => args.run(),
            Command::Report(args) => args.run(),
            Command::Bare(args) => args.run(),
            Command::Clean => {
                for name in clean::left_behind()? {
                    say!("removed {name}");
                }
                Ok(Findings::default())
            }
        }
    }

    /// Whether a missed target decides the exit code.
    #[must_use]
    pub fn require(&self) -> Require {
        match self {
            Command::Rings(args) => args.require,
            Command::HiddenScan(args) => args.require,
            Command::Latency(args) => args.require,
            Command::Compare(args) => args.require,
            Command::Harm(args) => args.require,
            _ => Require::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_required_only_where_there_are_some() {
        for subcommand in ["rings", "hidden-scan", "latency", "compare", "harm"] {
            let require = |flags: &[&str]| {
                let words = [&["loadtest", subcommand], flags].concat();
                let cli = Cli::try_parse_from(words).expect(subcommand);
                cli.command.require()
            };
            assert_eq!(require(&[]), Require::default(), "{subcommand}");
            assert_ne!(require(&["--require"]), Require::default(), "{subcommand}");
        }
        for subcommand in ["books", "reconcile", "search", "report"] {
            let words = ["loadtest", subcommand, "--require"];
            assert!(Cli::try_parse_from(words).is_err(), "{subcommand}");
        }
    }
}
