//! Checks the flags about blocking, and about the status socket.

use super::flags::{BlockArgs, SOCKET};
use crate::error::ConfigError;
use crate::observe::status::StatusPlan;
use crate::respond::block::plan::{BlockMode, BlockPlan, TIMES_MAX};
use std::path::{Path, PathBuf};

/// What these flags ask for.
#[derive(Debug)]
pub struct Blocking {
    /// `--block`; `None`: off.
    pub block: Option<BlockPlan>,
    /// The status socket; `None`: there is none.
    pub status: Option<StatusPlan>,
}

impl Blocking {
    /// Checks the flags.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the flag, its value and its range.
    pub fn new(args: BlockArgs) -> Result<Self, ConfigError> {
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
        let blocks = args.block != BlockMode::Off;
        let socket = args.status_socket;
        let socket = socket.or_else(|| blocks.then(|| PathBuf::from(SOCKET)));
        let group = args.status_group;
        let block = blocks.then(|| BlockPlan {
            mode: args.block,
            on: args.block_on,
            times_s: args.block_times.iter().map(|time| time.0).collect(),
            max: usize::try_from(args.block_max).unwrap_or(usize::MAX),
            rate: args.block_rate,
            unproven: args.block_unproven,
            private: args.block_private,
            prefix6: args.block_prefix6,
            keep: args.block_keep,
        });
        Ok(Self {
            block,
            status: socket.map(|socket| StatusPlan { socket, group }),
        })
    }
}

/// Whether the socket is where it is by default: its directory is then made.
pub(crate) fn is_default_socket(socket: &Path) -> bool {
    socket.as_os_str() == SOCKET
}
