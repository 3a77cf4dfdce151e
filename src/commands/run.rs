//! provisional
use super::Failure;
use crate::cli::RunArgs;
use crate::config::RunConfig;
/// run
/// # Errors
/// x
pub fn run(args: RunArgs) -> Result<u8, Failure> {
    let config = RunConfig::new(args)?;
    let _ = config;
    Ok(0)
}
