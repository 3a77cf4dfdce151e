//! Flags: the kernel's name in brackets, unit, range, default and consequence in the help of each.

use crate::host::addresses::{Direction, parse_network};
use crate::log::formats::text::TextFormat;
use crate::log::sinks::spec;
use crate::respond;
use crate::settings::given::Given;
use crate::shard::policy::{Allowed, parse_allowed};
use crate::words::whole;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueHint};
use ipnet::IpNet;
use std::path::PathBuf;

mod rings;
mod run;

pub use rings::{RING_MIB_MAX, RingArgs};
pub use run::{RunArgs, ScanScope, ScanTarget, ShedMode};

/// A ledger of every new connection, with the books closed.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
#[command(
    after_long_help = "Exit codes: 0 all well; 1 could not start, a run-time fault, a damaged capture, a read that was \
stopped, or an output that lost records; 2 usage; 3 the books did not close or, with --strict, something was missed."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What signals do to `run`, for its help.
const RUN_SIGNALS: &str = "Signals: SIGINT and SIGTERM end it with its books (a second one at once, without them); \
SIGUSR1 shows the books so far on standard error; SIGHUP opens the log files anew.";

/// What signals do to `read`, for its help.
const READ_SIGNALS: &str = "Signals: SIGINT and SIGTERM stop it: it says at which frame, shows the books of what it read, \
and exits with 1, for the log is not whole (a second one ends it at once); SIGUSR1 shows the books so far on standard \
error; SIGHUP opens the log files anew.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch interfaces: log new TCP connections and port scans as they happen.
    #[command(after_long_help = RUN_SIGNALS)]
    Run(RunArgs),
    /// Read capture files: same pipeline, same log.
    ///
    /// pcap and pcapng, plain, in gzip or zstd; `-` is standard input.
    #[command(after_long_help = READ_SIGNALS)]
    Read(ReadArgs),
    /// Say whether this host is ready, what to change, and why.
    ///
    /// Capabilities, limits, offloads, queues.
    Check(CheckArgs),
}

impl Command {
    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Read(_) => "read",
            Self::Check(_) => "check",
        }
    }
}

/// Headings of the help, in its order.
pub const HEADINGS: [&str; 5] = [CAPTURE, DETECTION, OUTPUT, RESOURCES, BEHAVIOUR];
const CAPTURE: &str = "Capture";
const DETECTION: &str = "Detection";
const OUTPUT: &str = "Output";
const RESOURCES: &str = "Resources";
pub(super) const BEHAVIOUR: &str = "Behaviour";

/// Which interfaces.
#[derive(Debug, Clone, Args)]
pub struct InterfaceArgs {
    /// Names, globs, !not, auto or any.
    ///
    /// Interfaces: names, globs (`ens*`), `!` takes out (`!veth*`), `auto`: every device that carries a default
    /// route, or `any`: all that can be read; repeatable. A list of nothing but `!` means all others, not those of
    /// `auto`.
    #[arg(
        short,
        long = "interface",
        value_name = "LIST",
        default_value = "auto",
        value_delimiter = ',',
        help_heading = CAPTURE
    )]
    pub interfaces: Vec<String>,
}

/// Threads and memory, in every subcommand.
#[derive(Debug, Clone, Args)]
pub struct SizeArgs {
    /// Worker threads, 1 to 64.
    ///
    /// `read` gives the same log with any number. Default: a quarter of the allowed CPUs, 1 to 4.
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=64), help_heading = RESOURCES)]
    pub workers: Option<u16>,
    /// Memory of the process.
    ///
    /// In MiB, 16 to 1048576: tables, queues, buffers, and the program itself. What is not needed elsewhere goes to
    /// the tables. Full tables push out the oldest entries, and the books say so. The least depends on workers and
    /// outputs (one of each: 16, in `read` 32): less is refused, and the refusal says how much is needed. More than
    /// is available is refused, too. In `run` rings come on top (`--ring-mib`), and `--dry-run` prints every line of
    /// the sum.
    #[arg(
        long,
        value_name = "MIB",
        default_value_t = 256,
        value_parser = whole::<u32>(16..=1_048_576),
        help_heading = RESOURCES
    )]
    pub memory_mib: u32,
}

/// The configuration file, in every subcommand.
#[derive(Debug, Clone, Args)]
pub struct FileArgs {
    /// Take flags from this TOML file.
    ///
    /// Its keys are the names of flags without dashes in front: `ring-mib = 128`, `interface = ["eth0", "ens*"]`,
    /// `promiscuous = true`. A flag on the command line wins, and replaces a list as a whole; `--no-NAME` takes back
    /// a flag that has no value or no default, as `NAME = false` does in the file. One file serves every
    /// subcommand: keys that only another one has are checked and left out. Default for `run` and `check`:
    /// /etc/synledger/synledger.toml, if it is there; `read` takes a file only if it is named here. At most 1 MiB.
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        overrides_with = "no_config",
        help_heading = BEHAVIOUR
    )]
    pub config: Option<PathBuf>,
    /// Take no configuration file.
    ///
    /// Not even /etc/synledger/synledger.toml.
    #[arg(long, overrides_with = "config", help_heading = BEHAVIOUR)]
    pub no_config: bool,
    /// Which flags were given, and where.
    #[arg(skip)]
    pub given: Given,
}

/// Flags of `read`.
#[derive(Debug, Clone, Args)]
pub struct ReadArgs {
    /// Captures; - is standard input.
    ///
    /// They are read one after the other as one stream. Of what comes slowly, through a pipe, frames are logged
    /// within about 200 ms.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Flags that `run` has too.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Fold attempts as run does; off by default.
    ///
    /// Those above N a second of packet time to one destination and port. Without a number 1000, at most
    /// 1000000000; 0 never folds.
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1000",
        value_parser = whole::<u32>(0..=1_000_000_000),
        help_heading = OUTPUT
    )]
    pub fold: Option<u32>,
    /// Alert lines a second at most.
    ///
    /// Per second of packet time, 0 to 1000000; 0 is no limit.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        value_parser = whole::<u32>(0..=1_000_000),
        help_heading = OUTPUT
    )]
    pub alert_rate: u32,
    /// Seed of the keyed hashes, for tests.
    ///
    /// The log is the same with every seed. Default: random.
    #[arg(
        long,
        value_name = "N",
        value_parser = whole::<u64>(0..=u64::MAX),
        help_heading = BEHAVIOUR
    )]
    pub seed: Option<u64>,
}

/// Flags of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Which interfaces.
    #[command(flatten)]
    pub interfaces: InterfaceArgs,
    /// The rings of the run that is meant.
    #[command(flatten)]
    pub rings: RingArgs,
    /// Its threads and memory.
    #[command(flatten)]
    pub size: SizeArgs,
    /// The file that describes it.
    #[command(flatten)]
    pub file: FileArgs,
    /// Print JSON.
    ///
    /// One object: whether it is ready, how many failed, warnings, and all findings.
    #[arg(long, help_heading = BEHAVIOUR)]
    pub json: bool,
}

/// Flags that `run` and `read` share.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    /// What is detected.
    #[command(flatten)]
    pub detectors: crate::inspect::Flags,
    /// Networks or addresses that are ours.
    ///
    /// For the direction of connections; repeatable. `run` adds this host's own addresses.
    #[arg(
        long,
        value_name = "CIDR",
        value_delimiter = ',',
        value_parser = parse_network,
        help_heading = DETECTION
    )]
    pub local: Vec<IpNet>,
    /// Withhold alerts about these sources.
    ///
    /// Sources in this network, or this address; repeatable. Their scans are counted all the same. With a port
    /// ([2001:db8::/32]:443 for IPv6), an alert is withheld only if each port of the scan is allowed to its source:
    /// one that is not, and all of the scan is told.
    #[arg(
        long,
        value_name = "CIDR[:PORT]",
        value_delimiter = ',',
        value_parser = parse_allowed,
        help_heading = DETECTION
    )]
    pub allow: Vec<Allowed>,
    /// Where the log goes.
    #[arg(
        long,
        value_name = "SPEC",
        default_value = "text:-",
        long_help = spec::help() + &respond::help(),
        help_heading = OUTPUT
    )]
    pub output: Vec<String>,
    /// Begin lines as challenge or full.
    ///
    /// How lines of text begin, in every text output. Default: `challenge` for - and terminals, `full` for files.
    #[arg(
        long,
        value_name = "FORMAT",
        hide_possible_values = true,
        help_heading = OUTPUT
    )]
    pub text_format: Option<TextFormat>,
    /// Log only these directions.
    ///
    /// Connections that go in, out, local, transit or unknown; repeatable. Others are counted.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = direction(),
        hide_possible_values = true,
        help_heading = OUTPUT
    )]
    pub direction: Vec<Direction>,
    /// Name of this sensor in the log.
    ///
    /// Default: the host's name.
    #[arg(long, value_name = "NAME", help_heading = OUTPUT)]
    pub sensor: Option<String>,
    /// How many threads, how much memory.
    #[command(flatten)]
    pub size: SizeArgs,
    /// CPUs to pin workers to, such as 2,3,6-8.
    ///
    /// At least one a worker. Isolated CPUs (isolcpus) may be named. Default: no choice of ours in `read`; the last
    /// of the allowed CPUs in `run`.
    #[arg(long, value_name = "LIST", help_heading = RESOURCES)]
    pub cores: Option<String>,
    /// The configuration file.
    #[command(flatten)]
    pub file: FileArgs,
    /// Exit with 3 when anything was missed.
    ///
    /// Not only when the books did not close. Also when whoever reads standard output leaves before the end.
    #[arg(long, help_heading = BEHAVIOUR)]
    pub strict: bool,
    /// Say nothing on standard error but errors.
    ///
    /// Records that an output lost are one, lost frames are not.
    #[arg(short, long, help_heading = BEHAVIOUR)]
    pub quiet: bool,
}

/// Directions have no help of their own.
fn direction() -> impl TypedValueParser<Value = Direction> {
    PossibleValuesParser::new(Direction::ALL.map(Direction::word))
        .map(|word| word.parse().expect("one of the words"))
}

#[cfg(test)]
mod tests;
