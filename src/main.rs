//! The program: arguments → configuration → run → exit code.

use std::path::Path;
use std::process::ExitCode;
use synledger::commands;
use synledger::error::Failure;
use synledger::settings::arguments::{self, Refused};
use synledger::settings::file::DEFAULT_PATH;
use synledger::settings::flags::Command;

fn main() -> ExitCode {
    commands::install_panic_hook();
    if let Some(code) = commands::helper(std::env::args_os()) {
        return ExitCode::from(code);
    }
    let mut cli = match arguments::parse(std::env::args_os(), Path::new(DEFAULT_PATH)) {
        Ok(cli) => cli,
        Err(Refused::CommandLine(error)) => commands::refuse(error),
        Err(Refused::File(error)) => return failed(&error.into()),
    };
    let given = arguments::given(&mut cli).clone();
    if let Some(note) = given.note(cli.command.name()) {
        commands::say(&note);
    }
    let outcome = match cli.command {
        Command::Run(args) => commands::run(args),
        Command::Read(args) => commands::read(args),
        Command::Check(args) => commands::check(&args),
        Command::Block(args) => commands::block(&args),
        Command::Top(args) => commands::top(&args),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(Failure::Usage(text)) => failed(&Failure::Usage(given.explain(&text))),
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> ExitCode {
    commands::say(&failure);
    ExitCode::from(failure.code())
}
