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
use crate::receivers::bare::BareArgs;
use crate::report::ReportArgs;
use crate::say;
use crate::send::FloodArgs;

/// Floods a sensor, closes its outer books, measures what it costs. Needs root; makes network namespaces of
/// its own and removes them.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 all held; 1 it ran, and something that must hold does not; 2 it could not run; 128 and N: signal N ended \
        it, and what it had made is removed."
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
    /// Flood the sensor and hold its books against what was sent, by class, by count and by identity
    Reconcile(ReconcileArgs),
    /// Reconcile every load at 0.5, 1 and 2 times the rate without loss and as fast as it goes, at each depth
    Books(BooksArgs),
    /// Flood at half the rate without loss with rings and blocks of many sizes: nothing may be dropped or shed
    Rings(RingsArgs),
    /// Give the sensor too little CPU for data, or for SYNs, and see what it loses
    Overload(OverloadArgs),
    /// Scan with nmap inside a spoofed flood and see how soon the sensor says so
    HiddenScan(HiddenArgs),
    /// Measure the time from a packet's stamp to its line in the log, idle and at half the rate without loss
    Latency(LatencyArgs),
    /// Compare with a bare reader, tcpdump, Suricata, nfpcapd, softflowd, and from files with argus and tshark
    Compare(CompareArgs),
    /// Load a web server without and with a sensor on its host, in pairs
    Harm(HarmArgs),
    /// Make the page of all figures, or write the tables of loadtest/RESULTS.md anew, from the CSV
    Report(ReportArgs),
    /// Count frames with a reader that does nothing else: the floor that receivers are compared with
    Bare(BareArgs),
    /// Remove what runs that were cut off left behind: namespaces, control groups, folders
    Clean,
}

impl Command {
    /// Runs it; gives `false` if something that must hold does not.
    ///
    /// # Errors
    ///
    /// When it could not run.
    pub fn run(&self) -> Result<bool> {
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
                Ok(true)
            }
        }
    }
}
