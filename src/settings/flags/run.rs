//! Flags of `run`.

use super::rings::RingArgs;
use super::{BEHAVIOUR, CAPTURE, CommonArgs, DETECTION, InterfaceArgs, OUTPUT, RESOURCES};
use crate::capture::mode::CaptureDepth;
use crate::observe::address::MetricsAddress;
use crate::settings::presets::Preset;
use crate::words::whole;
use clap::Args;

/// Flags of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Which interfaces.
    #[command(flatten)]
    pub interfaces: InterfaceArgs,
    /// Keep headers, control or full.
    ///
    /// What is kept: `headers` every packet, cut to its headers; `control` only packets that open, answer or end a
    /// connection, at a fraction of the cost; `full` all bytes.
    #[arg(
        long,
        value_name = "DEPTH",
        default_value = "headers",
        hide_possible_values = true,
        help_heading = CAPTURE
    )]
    pub capture: CaptureDepth,
    /// Take frames of other hosts, too.
    ///
    /// Asks the interface for them (PACKET_MR_PROMISC): for mirror ports.
    #[arg(long, help_heading = CAPTURE)]
    pub promiscuous: bool,
    /// Alert on exposed scans, or all.
    ///
    /// What alerts are for: `exposed` scans of this host and through it; `all` also scans by this host, of others
    /// (out) and of itself (local, as on lo). What is not shown is counted.
    #[arg(
        long,
        value_name = "SCOPE",
        default_value = "exposed",
        hide_possible_values = true,
        help_heading = DETECTION
    )]
    pub scan_scope: ScanScope,
    /// Scans of an address or the host.
    ///
    /// What a scan is of: `address` each destination by itself; `host` all of this host's addresses as one, and
    /// alerts name the address that the deciding packet went to.
    #[arg(
        long,
        value_name = "TARGET",
        default_value = "address",
        hide_possible_values = true,
        help_heading = DETECTION
    )]
    pub scan_target: ScanTarget,
    /// Flags that `read` has too.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The rings.
    #[command(flatten)]
    pub rings: RingArgs,
    /// Size of one block of the data ring.
    ///
    /// In KiB (tp_block_size): a power of two, 64 to 4096. Outside `--fanout class` it is that of the one ring. A
    /// ring holds whole blocks, at least 8: if fewer fit, the run is refused and says what fits. Default: 256, or
    /// 1024 with `--capture full`, halved (not below 64) until the ring has 16 blocks. Blocks of opening and control
    /// packets have 64 KiB, halved in the same way (not below 16); with `--capture full` 128 KiB, or this size if it
    /// is given. A frame that is longer than a block is cut to it.
    #[arg(long, value_name = "KIB", value_parser = block_kib, help_heading = RESOURCES)]
    pub block_kib: Option<u32>,
    /// Longest wait for a block to fill.
    ///
    /// In milliseconds, 1 to 1000 (tp_retire_blk_tov): a part-filled block is handed over after it. The floor of log
    /// delay.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 20,
        value_parser = whole::<u32>(1..=1000),
        help_heading = RESOURCES
    )]
    pub block_timeout_ms: u32,
    /// Shed data when a worker is late.
    ///
    /// `auto` lets go of data, never of a new connection or a scan (rings that are full all the same lose what
    /// comes, counted by class). First the kernel refuses bulk data, then data packets go back unread, last the
    /// lines of single attempts are folded into counts. Each step is logged, and what was let go of is counted as
    /// missed; `off` leaves it to full rings. Needs `--fanout class`; without CAP_BPF what the kernel refuses is not
    /// counted.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        help_heading = RESOURCES
    )]
    pub shed: ShedMode,
    /// Fold attempts above N a second.
    ///
    /// Attempts a second to one destination and port that are written one by one, 0 to 1000000000; those above, and
    /// all of the next second, are folded into one record a second: an exact count, about how many sources, first
    /// and last time, the prefixes that sent most. Nothing is lost, only folded. Each worker takes its share of N,
    /// at least 1. What finds no room in the log is folded, too. 0 never folds: then that is lost, and counted.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        value_parser = whole::<u32>(0..=1_000_000_000),
        help_heading = OUTPUT
    )]
    pub fold: u32,
    /// Alert lines a second at most.
    ///
    /// 0 to 1000000; what is withheld is counted and said. 0 is no limit.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = whole::<u32>(0..=1_000_000),
        help_heading = OUTPUT
    )]
    pub alert_rate: u32,
    /// Time between statistics records.
    ///
    /// Seconds between two records of statistics, 0 to 86400; 0 leaves none but the last one of the run. Readers
    /// made for Suricata's records expect one every 8 s: `--stats-interval 8`. `stats` records before the last leave
    /// out what is 0.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = whole::<u32>(0..=86_400),
        help_heading = OUTPUT
    )]
    pub stats_interval: u32,
    /// Serve Prometheus metrics here; off by default.
    ///
    /// At /metrics, and a health check at /healthz, on this address, for example 127.0.0.1:9477. A name
    /// (localhost:9477) is each of its addresses, :9477 every address of this host. While something is lost, or a
    /// watched interface is down or gone, /healthz answers `degraded` with the reasons, /healthz?strict with
    /// status 503.
    #[arg(
        long,
        value_name = "ADDR",
        value_parser = str::parse::<MetricsAddress>,
        help_heading = OUTPUT
    )]
    pub metrics: Option<MetricsAddress>,
    /// Flags by name: watch, edge or ledger.
    ///
    /// `watch` is for a person at a terminal: every flag has its default.
    ///
    /// `edge` is a service that costs little. It counts connections and writes no record of each, for a log file has
    /// no bound of its own yet:
    ///
    /// `--capture control --metrics 127.0.0.1:9477`
    /// `--output eve:/var/log/synledger/eve.json,events=alert+stats+lifecycle`
    ///
    /// `ledger` is a service that writes every connection and flow; its file wants to be rotated:
    ///
    /// `--capture headers --metrics 127.0.0.1:9477` `--output eve:/var/log/synledger/eve.json`
    ///
    /// The configuration file wins over a preset, the command line over both; `--dry-run` shows what is in force.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "watch",
        hide_possible_values = true,
        help_heading = BEHAVIOUR,
        display_order = 0
    )]
    pub preset: Preset,
    /// Wait for interfaces that are not there yet.
    ///
    /// For what `-i` names: interfaces by name, and with `auto` a default route. For services that start at boot.
    /// Without it, only globs wait. SIGINT and SIGTERM end the wait with exit code 0.
    #[arg(long, help_heading = BEHAVIOUR)]
    pub wait: bool,
    /// A second look at one in N connections.
    ///
    /// A socket of its own keeps one in N connections' SYNs, another library reads them, and each
    /// attempt of them that the ledger lacks, or has alone, is a record and a count; with `--strict` exit code 3. 1
    /// to 65536; 0 is off. Takes a thread, 6 MiB, 1 MiB of ring per interface, and about a microsecond for each SYN
    /// of the sample; it remembers 65,536 attempts for 140 s: with more than N x 468 new connections a second what
    /// it forgot is excused. Needs `--fanout class`.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        value_parser = whole::<u32>(0..=65_536),
        help_heading = BEHAVIOUR
    )]
    pub witness: u32,
    /// Show settings and memory, try to open, and stop.
    ///
    /// Prints which settings were given and where, and the memory a run would take, line by line; tries whether
    /// packet sockets, outputs and the metrics address can be opened, without creating or changing anything; and
    /// stops. Exit code 1, with the reasons, if it would not start.
    #[arg(long, help_heading = BEHAVIOUR)]
    pub dry_run: bool,
    /// Say more about settings and resources.
    ///
    /// At the start: which settings were given and where, what each ring holds and absorbs, fanout, memory line by
    /// line.
    #[arg(short, long, conflicts_with = "quiet", help_heading = BEHAVIOUR)]
    pub verbose: bool,
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

fn block_kib(value: &str) -> Result<u32, String> {
    let range = "must be a power of two from 64 to 4096";
    let kib: u32 = value.parse().map_err(|_| range.to_owned())?;
    if (64..=4096).contains(&kib) && kib.is_power_of_two() {
        Ok(kib)
    } else {
        Err(range.to_owned())
    }
}
