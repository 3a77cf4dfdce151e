//! The program: arguments → configuration → run → exit code.

use clap::Parser;
use std::process::ExitCode;
use synledger::commands;
use synledger::settings::flags::{Cli, Command};

fn main() -> ExitCode {
    commands::end_with_a_sentence();
    let outcome = match Cli::parse().command {
        Command::Run(args) => commands::run(args),
        Command::Read(args) => commands::read(args),
        Command::Check(args) => commands::check(&args),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("synledger: {failure}");
            ExitCode::from(failure.code())
        }
    }
}
