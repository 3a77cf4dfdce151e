//! Flags of `top`.

use super::{BEHAVIOUR, SOCKET};
use crate::settings::given::Given;
use crate::words::whole;
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// Help of the keys.
pub(crate) const TOP_KEYS: &str = "\
Keys: q quit; p pause; s sort rows by attempts or by name; / filter rows by words, Enter to keep, Esc to clear; arrows, PgUp, PgDn
scroll the list of scans; h help. Colours are left out where NO_COLOR is set. Counts of sources and destinations are about the last
30 to 60 s, or since somebody looks.
";

/// Flags of `top`.
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// Socket of the sensor.
    ///
    /// As in its `--status-socket`.
    #[arg(
        long,
        value_name = "PATH",
        default_value = SOCKET,
        value_hint = ValueHint::FilePath,
        help_heading = BEHAVIOUR
    )]
    pub socket: PathBuf,
    /// Seconds between two looks.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = whole::<u64>(1..=60),
        help_heading = BEHAVIOUR
    )]
    pub interval: u64,
    /// Print one screen and end.
    ///
    /// After one interval, since rates need two looks. Where standard input or output is no terminal this is the default.
    #[arg(long, help_heading = BEHAVIOUR)]
    pub once: bool,
    /// With --once: print one JSON object.
    ///
    /// What the sensor says, and `rates`: what each of `counters` grew by in a second.
    #[arg(long, requires = "once", help_heading = BEHAVIOUR)]
    pub json: bool,
    /// Nothing: it reads no configuration file.
    #[arg(skip)]
    pub given: Given,
}
