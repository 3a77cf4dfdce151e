//! Flags of flow records.

use super::OUTPUT;
use crate::words::whole;
use clap::Args;

/// How flows are reported.
#[derive(Debug, Clone, Args)]
pub struct FlowArgs {
    /// Report flows that last each SECONDS.
    ///
    /// 5 to 86400; 0 is off. A connection or flow that goes on for longer makes an interim record each SECONDS in which it
    /// has packets, and a last one at its end. Volumes of each count from the record before on, so that their sum is the
    /// flow; nothing is counted twice. EVE marks them with `interim`, `part` and `since`; for IPFIX flowEndReason is 2. An
    /// attempt that nobody proves makes none for its first 130 s. With a value all outputs with flow records get interim
    /// records. Without one only ipfix: and netflow9: do, each 60 seconds, if there is one at the start; other outputs
    /// have one record of the whole flow. The tables then hold fewer flows in the same memory.
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = seconds,
        help_heading = OUTPUT
    )]
    pub active_timeout: Option<u32>,
}

fn seconds(value: &str) -> Result<u32, String> {
    match value {
        "0" => Ok(0),
        _ => whole::<u32>(5..=86_400)(value),
    }
}
