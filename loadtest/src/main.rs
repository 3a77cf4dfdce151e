//! The command line.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Floods a sensor, closes its outer books, measures what it costs. Needs root; makes network namespaces of
/// its own and removes them.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Remove namespaces that a run which was cut off left behind
    Clean,
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(closed) if closed => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// `false`: it ran, and what must hold does not.
fn run(command: &Command) -> Result<bool> {
    match command {
        Command::Clean => {
            for name in loadtest::lab::clean()? {
                eprintln!("removed {name}");
            }
            Ok(true)
        }
    }
}
