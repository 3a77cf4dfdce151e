//! The command line.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use loadtest::cli::{FloodArgs, ReconcileArgs, SearchArgs};
use loadtest::experiments::books::BooksArgs;
use loadtest::experiments::compare::CompareArgs;
use loadtest::experiments::harm::HarmArgs;
use loadtest::experiments::hidden::HiddenArgs;
use loadtest::experiments::latency::LatencyArgs;
use loadtest::experiments::overload::OverloadArgs;
use loadtest::experiments::rings::RingsArgs;
use loadtest::lab::stop;
use loadtest::receivers::bare::BareArgs;
use loadtest::report::ReportArgs;
use loadtest::say;

/// Floods a sensor, closes its outer books, measures what it costs. Needs root; makes network namespaces of
/// its own and removes them.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 all held; 1 it ran, and something that must hold does not; 2 it could not run; 128 and N: signal N ended \
        it, and what it had made is removed."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
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
    /// Make the page of all figures, or write the tables of a README anew, from the CSV
    Report(ReportArgs),
    /// Count frames with a reader that does nothing else: the floor that receivers are compared with
    Bare(BareArgs),
    /// Remove what runs that were cut off left behind: namespaces, control groups, folders
    Clean,
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    // It has a way of its own to be stopped: with its report.
    let set = match command {
        Command::Bare(_) => Ok(()),
        _ => stop::on_signals(),
    };
    let done = set.and_then(|()| run(&command));
    // Once a signal has come this does not return: what failed, failed by it.
    let _leave = stop::leave();
    match done {
        Ok(held) if held => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            say!("loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// `false`: it ran, and what must hold does not.
fn run(command: &Command) -> Result<bool> {
    match command {
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
            let mut gone = loadtest::lab::clean()?;
            gone.extend(loadtest::lab::throttle::clean());
            gone.extend(loadtest::experiments::reconcile::Scratch::clean());
            for name in gone {
                say!("removed {name}");
            }
            Ok(true)
        }
    }
}
