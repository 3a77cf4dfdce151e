//! `man FOLDER`: writes the manual pages and completions there.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("man: name a folder to write to");
        return ExitCode::from(2);
    };
    match man::write_all(&folder) {
        Ok(names) => {
            eprintln!("man: {} in {}", names.join(", "), folder.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("man: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}
