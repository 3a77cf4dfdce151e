//! Parses the command line, runs a subcommand, returns its exit code.

use std::process::ExitCode;

use clap::Parser;
use loadtest::cli::{Cli, Command};
use loadtest::judge::Verdict;
use loadtest::lab::stop;
use loadtest::{clean, say};

fn main() -> ExitCode {
    let command = Cli::parse().command;
    // `bare` handles the signals itself: it reports before it ends.
    let handled = match command {
        Command::Bare(_) => Ok(()),
        _ => stop::on_signals(clean::own),
    };
    let done = handled.and_then(|()| command.run());
    // Blocks for ever if a signal came: the signal caused the error then, so the error is not reported.
    let _defer = stop::defer();
    match done {
        Ok(findings) => {
            if let Some(summary) = findings.summary(command.require()) {
                say!("{summary}");
            }
            match findings.verdict(command.require()) {
                Verdict::Holds => ExitCode::SUCCESS,
                Verdict::Fails => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            say!("loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}
