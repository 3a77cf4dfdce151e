//! The command line.

use crate::store::Place;
use clap::Parser;
use std::path::PathBuf;
use std::time::Duration;

/// Turns the segments of a synledger sensor into Parquet files.
///
/// The sensor writes segments with `--output parquet:…` and starts this program where it lies beside its own. Started by
/// hand or by a service of its own, it works on the same spool; two never work on one spool at a time.
#[derive(Clone, Debug, Parser)]
#[command(name = "synledger-parquet", version, max_term_width = 100)]
pub struct Flags {
    /// The folder in which the sensor closes segments.
    #[arg(long, value_name = "DIR")]
    pub spool: PathBuf,
    /// Where files go: a folder, or s3://BUCKET/PREFIX.
    ///
    /// A file's path is date=YYYY-MM-DD/hour=HH/sensor=NAME/TIME-HASH.parquet, UTC, and follows from its rows: a retry
    /// overwrites itself.
    #[arg(long, value_name = "DIR|s3://BUCKET/PREFIX")]
    pub to: Place,
    /// Name of the sensor whose moments this host has.
    ///
    /// With the machine's number it tells at which moment of a period this host uploads, and how it spreads its retries.
    /// Files have the name that is in their segment. Default: empty.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub sensor: String,
    /// Server of the bucket, as URL.
    ///
    /// Default: AWS_ENDPOINT_URL, then Amazon's of the region AWS_REGION.
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    pub endpoint: Option<String>,
    /// Allow a server without TLS.
    #[arg(long)]
    pub allow_http: bool,
    /// File with credentials.
    ///
    /// Lines NAME = VALUE with the names AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION, in
    /// upper or lower case. Not for everybody to read. Default: the environment.
    #[arg(long, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Upload once in this many seconds, at a moment of this host.
    ///
    /// 0 to 86400; 0: look for segments all the time. Default: 60.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub period: u32,
    /// Upload at most so many MiB a second.
    ///
    /// 1 to 100000. Default: no limit.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: Option<u32>,
    /// End once the spool is empty.
    #[arg(long)]
    pub once: bool,
    /// End as with --once, once standard input has ended: for the sensor that starts it.
    #[arg(long)]
    pub until_eof: bool,
    /// Print what would be put where, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

impl Flags {
    /// How long a period is.
    pub fn period(&self) -> Duration {
        Duration::from_secs(self.period.into())
    }

    /// Bytes a second at most.
    pub fn rate(&self) -> Option<u64> {
        self.rate.map(|mib| u64::from(mib) << 20)
    }
}

/// A URL with a host and without a user: what it has before an `@` would be in every error.
fn endpoint(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match rest {
        None | Some("") => Err("must begin with https:// or http://".to_owned()),
        Some(rest) if rest.contains('@') => {
            Err("has a user: name credentials by the environment or --credentials".to_owned())
        }
        Some(_) => Ok(text.trim_end_matches('/').to_owned()),
    }
}
