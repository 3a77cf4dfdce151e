//! Parses the command line, runs a subcommand, gives its exit code.

use std::process::ExitCode;

use clap::Parser;
use loadtest::cli::{Cli, Command};
use loadtest::lab::stop;
use loadtest::{clean, say};

fn main() -> ExitCode {
    let command = Cli::parse().command;
    // bare stops on a signal by itself, and reports.
    let handled = match command {
        Command::Bare(_) => Ok(()),
        _ => stop::on_signals(clean::own),
    };
    let done = handled.and_then(|()| command.run());
    // After a signal this does not return: an error is then the signal's doing, and is not reported.
    let _defer = stop::defer();
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say!("loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}
