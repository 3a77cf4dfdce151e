//! Checks the flags about blocking.

use super::flags::{BlockArgs, SOCKET};
use crate::error::ConfigError;
use crate::respond::block::plan::{BlockMode, BlockPlan, TIMES_MAX};
use std::path::PathBuf;

/// The plan of `--block`; `None`: off.
///
/// # Errors
///
/// [`ConfigError`] names the flag, its value and its range.
pub fn plan(args: BlockArgs) -> Result<Option<BlockPlan>, ConfigError> {
    let times = args.block_times.len();
    if times > TIMES_MAX {
        return Err(ConfigError(format!(
            "--block-times: {times} times; at most {TIMES_MAX}"
        )));
    }
    if let Some(socket) = &args.status_socket
        && (socket.as_os_str().is_empty() || socket.ends_with("/"))
    {
        let says = "--status-socket: name a file";
        return Err(ConfigError(says.to_owned()));
    }
    if args.block == BlockMode::Off {
        return Ok(None);
    }
    Ok(Some(BlockPlan {
        mode: args.block,
        on: args.block_on,
        times_s: args.block_times.iter().map(|time| time.0).collect(),
        max: usize::try_from(args.block_max).unwrap_or(usize::MAX),
        rate: args.block_rate,
        unproven: args.block_unproven,
        private: args.block_private,
        prefix6: args.block_prefix6,
        keep: args.block_keep,
        socket: args.status_socket.unwrap_or_else(|| PathBuf::from(SOCKET)),
        group: args.status_group,
    }))
}

/// Whether the socket is where it is without `--status-socket`: its directory is then made.
pub(crate) fn is_default_socket(plan: &BlockPlan) -> bool {
    plan.socket.as_os_str() == SOCKET
}
