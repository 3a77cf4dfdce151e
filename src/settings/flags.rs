//! Flags: the kernel's name in brackets, unit, range, default and consequence in the help of each.

use crate::capture::mode::{CaptureDepth, FanoutMode};
use crate::host::addresses::{Direction, parse_network};
use crate::log::formats::text::TextFormat;
use crate::observe::address::MetricsAddress;
use crate::shard::policy::{Allowed, parse_allowed};
use crate::words::whole;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use std::path::PathBuf;

/// A ledger of every new connection, with the books closed.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 all well; 1 could not start, a run-time fault, a damaged capture, a read that was \
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
    /// Watch interfaces: log every new TCP connection and TCP SYN port scan as it happens.
    #[command(after_help = RUN_SIGNALS)]
    Run(RunArgs),
    /// Read capture files (pcap, pcapng, plain, gzip or zstd; `-` is standard input): same pipeline, same log.
    #[command(after_help = READ_SIGNALS)]
    Read(ReadArgs),
    /// Is this host ready: capabilities, limits, offloads, queues; says what to change and why.
    Check(CheckArgs),
}

/// The upper end of `--ring-mib`.
pub const RING_MIB_MAX: u32 = 4096;

/// Which interfaces.
#[derive(Debug, Clone, Args)]
pub struct InterfaceArgs {
    /// Interfaces: names, globs (`ens*`), `!` takes out (`!veth*`), `auto`: every device that carries
    /// a default route, or `any`: all that can be read. A list of nothing but `!` means all others, not those
    /// of `auto`.
    #[arg(
        short,
        long = "interface",
        value_name = "LIST",
        default_value = "auto",
        value_delimiter = ','
    )]
    pub interfaces: Vec<String>,
}

/// Threads and memory, in every subcommand.
#[derive(Debug, Clone, Args)]
pub struct SizeArgs {
    /// Worker threads, 1 to 64. `read` gives the same log with any number.
    /// Default: a quarter of the allowed CPUs, 1 to 4.
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=64))]
    pub workers: Option<u16>,
    /// Memory of the process in MiB, at most 1048576: tables, queues, buffers, and the program itself. What is not
    /// needed elsewhere goes to the tables. Full tables push out the oldest entries, and the books say so. The least
    /// depends on workers and outputs (one of each: 16, in `read` 32): less is refused, and the refusal says how much
    /// is needed. More than is available is refused, too. In `run` rings come on top (`--ring-mib`), and `--dry-run`
    /// prints every line of the sum.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = whole::<u32>(16..=1_048_576))]
    pub memory_mib: u32,
}

/// The rings, in `run` and `check`.
#[derive(Debug, Clone, Args)]
pub struct RingArgs {
    /// How the kernel picks a worker (PACKET_FANOUT): `class` keeps packets that open or refuse a
    /// connection in rings of their own; `hash` is the kernel's; `cpu` and `qm` follow the receive queue, for
    /// ports that only receive (mirror ports) and whose receive hashing `check --fanout MODE` proves symmetric.
    /// Outside `class` only frame books and scan decisions are promised.
    #[arg(long, value_name = "MODE", default_value = "class", value_parser = fanout_mode)]
    pub fanout: FanoutMode,
    /// Ring memory of each worker in MiB, 4 to 4096, shared equally by the interfaces
    /// (tp_block_size x tp_block_nr). An interface's share goes by a quarter to opening packets, by an eighth to
    /// control, the rest to data; outside `--fanout class` it is one ring for all packets. A share is at least
    /// 1 MiB (512 KiB outside `class`): more interfaces need more. What is full loses frames, and the books say
    /// so. `--dry-run` prints each ring and the sum over all workers and interfaces: it is the kernel's memory,
    /// in no process and no cgroup.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = whole::<u32>(4..=RING_MIB_MAX))]
    pub ring_mib: u32,
    /// `--ring-mib` counts for each interface: with 10 interfaces, ten times the memory.
    #[arg(long)]
    pub ring_per_interface: bool,
}

/// Flags of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Which interfaces.
    #[command(flatten)]
    pub interfaces: InterfaceArgs,
    /// The rings.
    #[command(flatten)]
    pub rings: RingArgs,
    /// What is kept: `headers` every packet, cut to its headers; `control` only packets that open, answer
    /// or end a connection, at a fraction of the cost; `full` all bytes.
    #[arg(long, value_name = "DEPTH", default_value = "headers")]
    pub capture: CaptureDepth,
    /// Size of one block of the data ring in KiB (tp_block_size): a power of two, 64 to 4096.
    /// Outside `--fanout class` it is that of the one ring. A ring holds whole blocks, at least 8: if fewer fit,
    /// the run is refused and says what fits. Default: 256, or 1024 with `--capture full`, halved (not below 64)
    /// until the ring has 16 blocks. Blocks of opening and control packets have 64 KiB, halved in the same way
    /// (not below 16); with `--capture full` 128 KiB, or this size if it is given. A frame that is longer than a
    /// block is cut to it.
    #[arg(long, value_name = "KIB", value_parser = block_kib)]
    pub block_kib: Option<u32>,
    /// Hand over a part-filled block after MS milliseconds (tp_retire_blk_tov): the floor of log delay.
    /// 1 to 1000.
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = whole::<u32>(1..=1000))]
    pub block_timeout_ms: u32,
    /// What a worker does that falls behind: `auto` lets go of data, never of a new connection or a scan (rings
    /// that are full all the same lose what comes, counted by class). First
    /// the kernel refuses bulk data, then data packets go back unread, last the lines of single attempts are
    /// folded into counts. Each step is logged, and what was let go of is counted as missed; `off` leaves it to
    /// full rings. Needs `--fanout class`; without CAP_BPF what the kernel refuses is not counted.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub shed: ShedMode,
    /// Ask the interface for frames of other hosts too (PACKET_MR_PROMISC), for mirror ports.
    #[arg(long)]
    pub promiscuous: bool,
    /// Seconds between two records of statistics, 0 to 86400; 0 leaves none but the last one of the run.
    /// Readers made for Suricata's records expect one every 8 s: `--stats-interval 8`. `stats` records before the
    /// last leave out what is 0.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = whole::<u32>(0..=86_400))]
    pub stats_interval: u32,
    /// Serve Prometheus metrics at /metrics and a health check at /healthz on this address, for example
    /// 127.0.0.1:9477. A name (localhost:9477) is each of its addresses, :9477 every address of this host. While
    /// something is lost, or a watched interface is down or gone, /healthz answers `degraded` with the reasons,
    /// /healthz?strict with status 503. Off by
    /// default.
    #[arg(long, value_name = "ADDR", value_parser = str::parse::<MetricsAddress>)]
    pub metrics: Option<MetricsAddress>,
    /// Print what would run and the memory it takes, line by line; try whether packet sockets, outputs and
    /// the metrics address can be opened, without creating or changing anything; and stop. Exit code 1, with
    /// the reasons, if it would not start.
    #[arg(long)]
    pub dry_run: bool,
    /// Wait for what `-i` names and is not there yet: interfaces by name, and with `auto` a default route. For
    /// services that start at boot.
    ///
    /// Without it, only globs wait. SIGINT and SIGTERM end the wait with exit code 0.
    #[arg(long)]
    pub wait: bool,
    /// Say more about resources at the start: what each ring holds and absorbs, fanout, memory line by line.
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
    /// What alerts are for: `exposed` scans of this host and through it; `all` also scans by this host, of
    /// others (out) and of itself (local, as on lo). What is not shown is counted.
    #[arg(long, value_name = "SCOPE", default_value = "exposed")]
    pub scan_scope: ScanScope,
    /// What a scan is of: `address` each destination by itself; `host` all of this host's addresses as one, and
    /// alerts name the address that the deciding packet went to.
    #[arg(long, value_name = "TARGET", default_value = "address")]
    pub scan_target: ScanTarget,
    /// Compare the ledger with a second opinion: a socket of its own keeps one in N connections' SYNs, another
    /// library reads them, and each attempt of them that the ledger lacks, or has alone, is a record and a count;
    /// with `--strict` exit code 3. 1 to 65536; 0 is off. Takes a thread, 6 MiB, 1 MiB of ring per interface,
    /// and about a microsecond for each SYN of the sample; it remembers 65,536 attempts for 140 s: with more
    /// than N x 468 new connections a second what it forgot is excused. Needs `--fanout class`.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u32>(0..=65_536))]
    pub witness: u32,
    /// Flags that `read` has too.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Attempts a second to one destination and port that are written one by one; those above, and all of the
    /// next second, are folded into one record a second: an exact count, about how many sources, first and last
    /// time, the prefixes that sent most. Nothing is lost, only folded. Each worker takes its share of N, at least 1.
    /// What finds no room in the log is folded, too. 0 never folds: then that is lost, and counted.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = whole::<u32>(0..=1_000_000_000))]
    pub fold: u32,
    /// Alert lines per second at most; what is withheld is counted and said. 0 is no limit.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = whole::<u32>(0..=1_000_000))]
    pub alert_rate: u32,
}

/// Flags of `read`.
#[derive(Debug, Clone, Args)]
pub struct ReadArgs {
    /// Capture files, read one after the other as one stream; `-` is standard input. Of what comes slowly, through
    /// a pipe, frames are logged within about 200 ms.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Seed of the keyed hashes, for tests: the log is the same with every seed. Default: random.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(0..=u64::MAX))]
    pub seed: Option<u64>,
    /// Flags that `run` has too.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Fold attempts as `run` does: those above N a second of packet time to one destination and port. Without a
    /// number 1000. Off by default.
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1000", value_parser = whole::<u32>(1..=1_000_000_000))]
    pub fold: Option<u32>,
    /// Alert lines per second of packet time at most; 0 is no limit.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u32>(0..=1_000_000))]
    pub alert_rate: u32,
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
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Flags that `run` and `read` share.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    /// How many threads, how much memory.
    #[command(flatten)]
    pub size: SizeArgs,
    /// CPUs to pin workers to, for example 2,3,6-8; at least one a worker. Isolated CPUs (isolcpus) may be
    /// named. Default: no choice of ours in `read`; the last of the allowed CPUs in `run`.
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// What is detected.
    #[command(flatten)]
    pub detectors: crate::inspect::Flags,
    /// Networks or addresses that are ours, for the direction of connections; repeatable. `run` adds this
    /// host's own addresses.
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = parse_network)]
    pub local: Vec<IpNet>,
    /// Log connections of these directions only; the rest is counted.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = direction())]
    pub direction: Vec<Direction>,
    /// Withhold alerts about sources in this network, or about this address; repeatable. They are counted
    /// all the same. With a port ([2001:db8::/32]:443 for IPv6), an alert is withheld only if each port of
    /// the scan is allowed to its source: one that is not, and all of the scan is told.
    #[arg(long, value_name = "CIDR[:PORT]", value_delimiter = ',', value_parser = parse_allowed)]
    pub allow: Vec<Allowed>,
    /// Where the log goes: KIND:TARGET[,events=connection+alert+flow+stats+lifecycle]; KIND is text or
    /// eve, TARGET a file, - (or /dev/stdout) for standard output, or /dev/stderr; repeatable.
    #[arg(long, value_name = "SPEC", default_value = "text:-")]
    pub output: Vec<String>,
    /// How lines of text begin, in every text output. Default: challenge for - and terminals, full for files.
    #[arg(long, value_name = "FORMAT")]
    pub text_format: Option<TextFormat>,
    /// Name of this sensor in the log. Default: the host's name.
    #[arg(long, value_name = "NAME")]
    pub sensor: Option<String>,
    /// Exit with 3 when anything was missed, not only when the books did not close. Also when whoever reads
    /// standard output leaves before the end.
    #[arg(long)]
    pub strict: bool,
    /// Say nothing on standard error but errors; records that an output lost are one, lost frames are not.
    #[arg(short, long)]
    pub quiet: bool,
}

words! {
    /// `--shed`.
    pub flag enum ShedMode {
        /// Under load.
        Auto = "auto",
        /// Never.
        Off = "off",
    }
}

words! {
    /// `--scan-scope`.
    pub flag enum ScanScope {
        /// Directions `in` and `transit`.
        Exposed = "exposed",
        /// All directions.
        All = "all",
    }
}

words! {
    /// `--scan-target`.
    pub flag enum ScanTarget {
        /// Each destination address by itself.
        Address = "address",
        /// All of the host's own addresses as one.
        Host = "host",
    }
}

fn fanout_mode(value: &str) -> Result<FanoutMode, String> {
    value.parse().map_err(|()| match value {
        "lb" | "rnd" | "rollover" => format!(
            "`{value}` tears connections apart (packets of one connection reach different workers); \
             use class, hash, cpu or qm"
        ),
        _ => "must be class, hash, cpu or qm".to_owned(),
    })
}

/// Directions have no help of their own.
fn direction() -> impl TypedValueParser<Value = Direction> {
    PossibleValuesParser::new(Direction::ALL.map(Direction::word))
        .map(|word| word.parse().expect("one of the words"))
}

fn block_kib(value: &str) -> Result<u32, String> {
    let range = "must be a power of two from 64 to 4096";
    let kib: u32 = value.parse().map_err(|_| range.to_owned())?;
    if (64..=4096).contains(&kib) && kib.is_power_of_two() {
        Ok(kib)
    } else {
        Err(range.to_owned())
    }
}

#[cfg(test)]
mod tests;
