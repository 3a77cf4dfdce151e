//! Flags. The help of each has the kernel's name in parentheses, unit, range, default and consequence.

use crate::host::addresses::{Direction, parse_network};
use crate::log::formats::text::TextFormat;
use crate::log::sinks::{rotation, spec};
use crate::observe::summary::{self, ReportSpec};
use crate::respond;
use crate::settings::given::Given;
use crate::shard::policy::{AlertLevel, Allowed, parse_allowed};
use crate::time::durations::{self, Reorder};
use crate::words::whole;
use clap::{Args, Parser, Subcommand, ValueHint};
use ipnet::IpNet;
use std::path::PathBuf;
use std::time::Duration;

mod block;
mod block_command;
mod checksums;
mod flows;
mod rings;
mod run;
mod top;
mod tunnels;

pub use block::{BlockArgs, SOCKET};
pub use block_command::{BlockAction, BlockCommandArgs, ListFormat};
pub use checksums::{ChecksumArgs, ChecksumMode};
pub use flows::FlowArgs;
pub use rings::{RING_MIB_MAX, RingArgs};
pub use run::{RunArgs, ScanScope, ScanTarget, ShedMode};
pub(crate) use top::TOP_KEYS;
pub use top::TopArgs;
pub use tunnels::TunnelArgs;

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

/// Signals of `run`, for its help.
const RUN_SIGNALS: &str = "Signals: SIGINT and SIGTERM end the run with its books (a second one at once, without them); \
SIGUSR1 prints the books so far on standard error; SIGHUP reopens the log files; SIGUSR2 hands over to the next process \
of the service.";

/// Signals of `read`, for its help.
const READ_SIGNALS: &str = "Signals: SIGINT and SIGTERM stop reading: it prints the number of the frame and the books so far, and \
exits with 1, because the log is incomplete (a second one ends it at once); SIGUSR1 prints the books so far on standard \
error; SIGHUP reopens the log files.";

/// The subcommands.
#[allow(clippy::large_enum_variant, reason = "there is one, at the start")]
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch interfaces: log new TCP connections, scans and floods as they happen.
    #[command(after_long_help = RUN_SIGNALS)]
    Run(RunArgs),
    /// Read capture files: same pipeline, same log.
    ///
    /// pcap and pcapng, plain, in gzip or zstd; `-` is standard input.
    #[command(after_long_help = READ_SIGNALS)]
    Read(ReadArgs),
    /// Check whether this host is ready: what to change, and why.
    ///
    /// Capabilities, limits, offloads, queues.
    Check(CheckArgs),
    /// List and change the blocks of a sensor that runs with --block.
    ///
    /// Asks over its socket: see `--status-socket` of `run`. Where no sensor answers, root lists, exports and removes what
    /// an earlier one left in the kernel.
    Block(BlockCommandArgs),
    /// Show a running sensor in the terminal: who connects, who scans, what was missed.
    ///
    /// Asks over its socket: see `--status-socket` of `run`.
    #[command(after_long_help = TOP_KEYS)]
    Top(TopArgs),
}

impl Command {
    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Read(_) => "read",
            Self::Check(_) => "check",
            Self::Block(_) => "block",
            Self::Top(_) => "top",
        }
    }
}

words! {
    /// `--key`.
    pub flag enum FlowKey {
        /// Addresses, protocol and ports.
        Addresses = "addresses",
        /// VLAN tags as well.
        Vlan = "vlan",
    }
}

/// Headings of the help, in its order.
pub const HEADINGS: [&str; 6] = [CAPTURE, DETECTION, BLOCKING, OUTPUT, RESOURCES, BEHAVIOUR];
const CAPTURE: &str = "Capture";
const DETECTION: &str = "Detection";
const BLOCKING: &str = "Blocking";
const OUTPUT: &str = "Output";
const RESOURCES: &str = "Resources";
pub(super) const BEHAVIOUR: &str = "Behaviour";

/// Which interfaces.
#[derive(Debug, Clone, Args)]
pub struct InterfaceArgs {
    /// Interfaces: names, globs, auto or any.
    ///
    /// A list of names, globs (`ens*`), exclusions (`!veth*`), `auto` (every device with a default route) or `any`
    /// (all of supported types); repeatable. A list of only exclusions means all other interfaces, not those of
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

/// What tells flows apart, in every subcommand.
#[derive(Debug, Clone, Args)]
pub struct KeyArgs {
    /// Flow key: addresses or vlan.
    ///
    /// What tells connections and sources apart. `addresses`: addresses, protocol and ports. `vlan`: also the outer two
    /// VLAN tags. Take it where several networks on one link use the same addresses: each network then has its own
    /// connections and scans. Do not take it where the two directions of a connection have different tags, as on a
    /// trunk that shows both sides of a router: every connection would look unanswered. A link and its VLAN device
    /// (eth0, eth0.10) are then two networks: watch only the link. Identifier 0 carries only a priority and counts as
    /// no tag. EVE's records of connections and flows have the tags as `vlan` either way, alerts only with `vlan`;
    /// lines of text about connections, conn.log, folded attempts, `--allow` and block lists know no tags. `check`
    /// says what the traffic on a link suggests.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "addresses",
        hide_possible_values = true,
        help_heading = CAPTURE
    )]
    pub key: FlowKey,
}

/// Threads and memory, in every subcommand.
#[derive(Debug, Clone, Args)]
pub struct SizeArgs {
    /// Worker threads, 1 to 64.
    ///
    /// `read` writes the same log with any number. With 1 here, or by default with one CPU, one thread reads, decides
    /// and writes; otherwise a thread that reads and one that writes come on top. Default: a quarter of the allowed CPUs,
    /// at least 1, at most 4.
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=64), help_heading = RESOURCES)]
    pub workers: Option<u16>,
    /// Memory of the process, in MiB.
    ///
    /// 16 to 1048576: tables, queues, buffers, and the program itself. The tables get what the rest does not need.
    /// Full tables evict their oldest entries, which the books count. The minimum depends on workers and outputs
    /// (with one of each 17, in `read` 34). Less than that, or more than is available, is refused. In `run` the
    /// rings come on top (`--ring-mib`). `run --dry-run` prints every line of the sum.
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
    /// Read flags from this TOML file.
    ///
    /// Its keys are the long names of flags without dashes in front: `ring-mib = 128`, `interface = ["eth0",
    /// "ens*"]`, `promiscuous = true`. A flag on the command line overrides the file, and replaces a list as a
    /// whole. To undo what the file sets: `--no-NAME`, such as `--no-promiscuous` or `--no-metrics`, for a flag
    /// that takes no value or has no default; for any other, its default value. One file may serve all
    /// subcommands: keys of other subcommands are checked and ignored; `check` reads all as `run` does. At most 1 MiB. Default for `run` and
    /// `check`: /etc/synledger/synledger.toml, if it exists; `read` has none.
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        overrides_with = "no_config",
        help_heading = BEHAVIOUR
    )]
    pub config: Option<PathBuf>,
    /// Read no configuration file.
    ///
    /// Ignores /etc/synledger/synledger.toml, too.
    #[arg(long, overrides_with = "config", help_heading = BEHAVIOUR)]
    pub no_config: bool,
    /// The flags given, and their origin.
    #[arg(skip)]
    pub given: Given,
}

/// Flags of `read`.
#[derive(Debug, Clone, Args)]
pub struct ReadArgs {
    /// Captures; - is standard input.
    ///
    /// All captures are one stream: files are read in the order of their first time stamps, and a conversation that
    /// `tcpdump -C` or `-G` cut is one flow. Files that overlap in time are merged, at most 16 at once, and have
    /// interfaces of their own, as those of a tap. Standard input and named pipes keep their place in the list.
    /// Frames from a slow pipe are logged within about 400 ms.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Flags that `run` has too.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Print a summary instead of the log.
    ///
    /// What the captures hold: attempts by outcome, the sources with most of them, scans and floods with their ports,
    /// the busiest destinations, and what is damaged or was missed. Without a value or as `text` it is printed on
    /// standard output after the last frame. `html:FILE` (`--report html:FILE`) writes a page with pictures: one file,
    /// which needs no network and is replaced atomically. Repeatable. There is then no log on standard output, unless
    /// `--output` asks for one; text stands behind the lines of `text:-`. Takes about 12 MiB of `--memory-mib`. Numbers
    /// that do not fit are marked as lower bounds or estimates. Default: off.
    #[arg(
        long,
        value_name = "FORM",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "text",
        value_parser = summary::spec::parse,
        help_heading = OUTPUT
    )]
    pub report: Vec<ReportSpec>,
    /// Fold attempts above N a second, as run does.
    ///
    /// Per destination and port, in packet time, 0 to 1000000000; 0 never folds. Without a number N is 1000.
    /// Default: off.
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
    /// Limit of alerts a second.
    ///
    /// In packet time, 0 to 1000000; 0 is no limit. Withheld alerts are counted and reported.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        value_parser = whole::<u32>(0..=1_000_000),
        help_heading = OUTPUT
    )]
    pub alert_rate: u32,
    /// Sort frames that are up to TIME late, 10ms by default.
    ///
    /// Packet time, 0 to 10s, such as 500us, 10ms, 1s; 0 keeps every frame in its place. A frame that comes later keeps
    /// its place and is counted (`late_packets`). At most 4096 frames and 1 MiB of headers are sorted at a time. Files
    /// that overlap by this time or less count as one capture that was cut; files that overlap by more count as
    /// captures of different interfaces.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10ms",
        hide_default_value = true,
        value_parser = durations::reorder,
        help_heading = BEHAVIOUR
    )]
    pub reorder: Reorder,
    /// Seed of the keyed hashes, for tests.
    ///
    /// A 64-bit number. The log is the same with every seed. Default: random.
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
    /// What is a flow in the run that is meant.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Its tunnels.
    #[command(flatten)]
    pub tunnels: TunnelArgs,
    /// Listen this long for VLAN tags.
    ///
    /// 0 to 60s, such as 500ms, 2s; 0 does not listen. Reads the headers of TCP and ARP that reach the interfaces
    /// anyway, to say whether `--key vlan` suits them: on a quiet link, listen longer. Sends nothing, and leaves
    /// promiscuous mode as it is. An interface takes 256 KiB of ring meanwhile. Needs CAP_NET_RAW; interfaces that are
    /// down are left out.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "2s",
        value_parser = durations::listen,
        help_heading = CAPTURE
    )]
    pub listen: Duration,
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
    /// One object: whether the host is ready, the numbers of failures and warnings, and all findings.
    #[arg(long, help_heading = BEHAVIOUR)]
    pub json: bool,
}

/// Flags that `run` and `read` share.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    /// What is a flow.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Which tunnels are opened.
    #[command(flatten)]
    pub tunnels: TunnelArgs,
    /// Whether checksums are verified.
    #[command(flatten)]
    pub checksums: ChecksumArgs,
    /// What is detected.
    #[command(flatten)]
    pub detectors: crate::inspect::Flags,
    /// How flows are reported.
    #[command(flatten)]
    pub flows: FlowArgs,
    /// Local networks and addresses.
    ///
    /// They determine the direction of connections; repeatable. `run` adds the addresses of this host.
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
    /// A network or an address; repeatable. Scans by these sources are counted, but not reported. With a port
    /// ([2001:db8::/32]:443 for IPv6) a scan is withheld only if each of its ports is allowed; a slow scan is not, as
    /// its ports are not known. Floods and distributed scans have many sources and are never withheld.
    #[arg(
        long,
        value_name = "CIDR[:PORT]",
        value_delimiter = ',',
        value_parser = parse_allowed,
        help_heading = DETECTION
    )]
    pub allow: Vec<Allowed>,
    /// Networks and addresses where nothing is.
    ///
    /// Unused addresses of yours; repeatable. In alerts about port, UDP and slow scans and host sweeps, a source that
    /// touched one of them within the last half hour is at least suspicious, after three the verdict is scan. To touch
    /// them is no alert by itself. Default: none.
    #[arg(
        long,
        value_name = "CIDR",
        value_delimiter = ',',
        value_parser = parse_network,
        help_heading = DETECTION
    )]
    pub dark: Vec<IpNet>,
    /// Least verdict of alerts.
    ///
    /// `policy`: whatever fulfils a rule, verdict unproven included. `suspicious`: what is suspicious or a scan. `scan`:
    /// only scans. The rest is counted (detections_below_verdict), but not reported, and comes on no block list; a scan
    /// whose verdict rises is reported then, as one that continues. Floods have no verdict and are always reported; alerts
    /// about IPv6 networks need `suspicious` at least.
    #[arg(
        long,
        value_name = "VERDICT",
        default_value = "policy",
        hide_possible_values = true,
        help_heading = DETECTION
    )]
    pub alert: AlertLevel,
    /// Where the log goes.
    #[arg(
        long,
        value_name = "SPEC",
        default_value = "text:-",
        long_help = spec::help() + &respond::help(),
        help_heading = OUTPUT
    )]
    pub output: Vec<String>,
    /// Limit of all rotated outputs together.
    ///
    /// 4MiB to 1024TiB, such as 500MiB, 2GiB: bytes of open and closed files of all outputs with `rotate=`, and what
    /// compression takes meanwhile. The oldest closed files are removed first, whichever output they are of. An output
    /// without rotate=SIZE gets a size of files that fits. At least four files of each output must fit. Default: no limit.
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = rotation::budget,
        help_heading = OUTPUT
    )]
    pub log_budget: Option<u64>,
    /// Prefix of text lines: short or full.
    ///
    /// `short`: date and time to the second, then the event. `full`: microseconds, interface and direction, too;
    /// a scan has the answers of its ports. Applies to every text output. Default: `short` for - and
    /// terminals, `full` for files.
    #[arg(
        long,
        value_name = "FORMAT",
        hide_possible_values = true,
        help_heading = OUTPUT
    )]
    pub text_format: Option<TextFormat>,
    /// Log only these directions.
    ///
    /// Of connections: in, out, local, transit or unknown; repeatable. Others are counted, not logged. Default:
    /// all.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        hide_possible_values = true,
        help_heading = OUTPUT
    )]
    pub direction: Vec<Direction>,
    /// Replace addresses by the key in FILE.
    ///
    /// Every address in every record, report and message becomes another one (Crypto-PAn with AES): the same in all formats
    /// and runs with this key, and two addresses with the same first n bits keep as many in common. FILE has 32 bytes and
    /// mode 0600: (umask 077; head -c 32 /dev/urandom > FILE). Flow identifiers and the Community ID follow from the new
    /// addresses; names of services are left out. Not hidden: ports, times, sizes, interfaces, VLANs, the sensor's name; and
    /// whoever can send packets here, or knows some of the addresses, recognises networks. Not with `blocklist:` or
    /// `--block`, which need real addresses and write them. Default: off.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = OUTPUT)]
    pub anonymize: Option<PathBuf>,
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
    /// Name at least as many CPUs as there are workers; each worker takes one. Isolated CPUs (isolcpus) are
    /// allowed. Default in `run`: the last of the allowed CPUs; in `read`: workers are not pinned.
    #[arg(long, value_name = "LIST", help_heading = RESOURCES)]
    pub cores: Option<String>,
    /// The configuration file.
    #[command(flatten)]
    pub file: FileArgs,
    /// Exit with code 3 if anything was missed.
    ///
    /// Without it only if the books do not close. A reader of standard output that ends early is a loss, too.
    #[arg(long, help_heading = BEHAVIOUR)]
    pub strict: bool,
    /// Print only errors on standard error.
    ///
    /// Lost records of an output are errors, lost frames are not.
    #[arg(short, long, help_heading = BEHAVIOUR)]
    pub quiet: bool,
}

#[cfg(test)]
mod tests;
