//! Flags that do not fit one another.

use crate::capture::mode::FanoutMode;
use crate::capture::tunnels::Tunnels;
use crate::error::ConfigError;
use crate::log::anonymize::Anonymizer;
use crate::words::shown;
use std::path::Path;

/// The kernel's own hashes do not bring the directions of what is inside a tunnel together.
pub(super) fn tunnels_need_class(tunnels: &Tunnels, fanout: FanoutMode) -> Result<(), ConfigError> {
    if !tunnels.any() || fanout == FanoutMode::Class {
        return Ok(());
    }
    Err(ConfigError(format!(
        "--decap: needs --fanout class, for with --fanout {} the directions of a connection in a tunnel may meet \
         different workers; leave --decap out, or use --fanout class",
        fanout.word()
    )))
}

/// The key of `--anonymize`; `acts`: something acts on real addresses.
pub(super) fn anonymizer(
    path: Option<&Path>,
    acts: bool,
) -> Result<Option<Anonymizer>, ConfigError> {
    let Some(path) = path else { return Ok(None) };
    let wrong = |why: &str| ConfigError(format!("--anonymize {why}"));
    if acts {
        let path = shown(path);
        let why =
            "--block and --output blocklist: act on real addresses and write them: leave one out";
        return Err(wrong(&format!("{path}: {why}")));
    }
    Anonymizer::read(path).map(Some).map_err(|why| wrong(&why))
}
