//! Flags of `run`.

use super::rings::RingArgs;
use super::{
    BEHAVIOUR, BlockArgs, CAPTURE, CommonArgs, DETECTION, InterfaceArgs, OUTPUT, RESOURCES,
};
use crate::capture::mode::CaptureDepth;
use crate::observe::target::MetricsTarget;
use crate::settings::presets::Preset;
use crate::words::whole;
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// Flags of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Which interfaces.
    #[command(flatten)]
    pub interfaces: InterfaceArgs,
    /// Depth: headers, control or full.
    ///
    /// `headers`: every packet, cut to its headers. `control`: only packets that open, answer or end a connection,
    /// at a fraction of the cost. An answered connection then ends with FIN, RST or after five days; where the server
    /// repeats its SYN+ACK, the handshake was not finished, and it ends after 130 s. UDP, pings and bare ACKs are not
    /// seen, hence no UDP scan, UDP flood, flood of pings or scan by ACK. `full`: all bytes.
    #[arg(
        long,
        value_name = "DEPTH",
        default_value = "headers",
        hide_possible_values = true,
        help_heading = CAPTURE
    )]
    pub capture: CaptureDepth,
    /// Receive frames for other hosts, too.
    ///
    /// Sets the interfaces to promiscuous mode (PACKET_MR_PROMISC), as for mirror ports.
    #[arg(long, help_heading = CAPTURE)]
    pub promiscuous: bool,
    /// Scope: exposed or all.
    ///
    /// Which scans are reported. `exposed`: those that come from elsewhere, whose target is this host or lies behind it
    /// (directions in and transit). `all`: scans by this host, too, of others (out) and of itself (local, as on lo).
    /// Scans that are not reported are counted. Floods and distributed scans, which have many sources, count as from
    /// elsewhere.
    #[arg(
        long,
        value_name = "SCOPE",
        default_value = "exposed",
        hide_possible_values = true,
        help_heading = DETECTION
    )]
    pub scan_scope: ScanScope,
    /// Target: address or host.
    ///
    /// What is one target of a scan. `address`: each destination address by itself. `host`: all addresses of this host
    /// as one; alerts name the destination of the deciding packet.
    #[arg(
        long,
        value_name = "TARGET",
        default_value = "address",
        hide_possible_values = true,
        help_heading = DETECTION
    )]
    pub scan_target: ScanTarget,
    /// Blocking.
    #[command(flatten)]
    pub blocking: BlockArgs,
    /// Flags that `read` has too.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The rings.
    #[command(flatten)]
    pub rings: RingArgs,
    /// Block size of the data ring, in KiB.
    ///
    /// A power of two, 64 to 4096 (tp_block_size). The kernel hands frames over in whole blocks, and cuts a frame
    /// that is longer than a block. A ring has at least 8 blocks: if fewer fit, the run is refused. Default: 256,
    /// or 1024 with `--capture full`; if the ring then has fewer than 16 blocks, they are halved, not below 64.
    /// Rings for opening and control packets have blocks of 64 KiB, halved in the same way, not below 16. With
    /// `--capture full` theirs have 128 KiB, or this size if it is given. With other modes than `--fanout class`,
    /// the one ring of a worker has this size. `--dry-run` prints each ring.
    #[arg(long, value_name = "KIB", value_parser = block_kib, help_heading = RESOURCES)]
    pub block_kib: Option<u32>,
    /// Longest wait for a block to fill.
    ///
    /// In milliseconds, 1 to 1000 (tp_retire_blk_tov). After this time the kernel hands over a block that is not
    /// full. A line can be as late as this; a shorter time costs more CPU.
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
    /// `auto`: a worker that falls behind drops data on purpose, so that no new connection and no scan by SYNs is lost.
    /// It has three steps. First the kernel rejects bulk data. Then the worker returns all data packets unread. Then
    /// new connections have no line each: their number is written once a second, as with `--fold`. Each step is
    /// logged, and data that were shed are counted as missed. If that is not enough, rings are full and drop
    /// packets, counted by class. `off`: no shedding. Needs `--fanout class`. Without CAP_BPF, packets that the
    /// kernel rejects are not counted.
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
    /// Per destination and port, 0 to 1000000000. If more than N attempts come in a second, those above N, and all
    /// of the next second, have no line each. One record a second has their exact count, the estimated number of
    /// sources, first and last time, and the source prefixes that sent most. No attempt is lost. Each worker has
    /// its share of N, at least 1. Attempts that find the log's queue full are folded, too. With 0 nothing is
    /// folded: attempts that find the queue full are lost, and counted.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        value_parser = whole::<u32>(0..=1_000_000_000),
        help_heading = OUTPUT
    )]
    pub fold: u32,
    /// Limit of alerts a second.
    ///
    /// 0 to 1000000; 0 is no limit. Withheld alerts are counted and reported.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = whole::<u32>(0..=1_000_000),
        help_heading = OUTPUT
    )]
    pub alert_rate: u32,
    /// Statistics interval, in seconds.
    ///
    /// 0 to 86400; 0 writes only the last one, at the end of the run. Readers made for Suricata's records expect
    /// one every 8 s: `--stats-interval 8`. `stats` records before the last omit zeros.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = whole::<u32>(0..=86_400),
        help_heading = OUTPUT
    )]
    pub stats_interval: u32,
    /// Serve Prometheus metrics. Repeatable.
    ///
    /// ADDRESS:PORT serves HTTP: /metrics, and a health check at /healthz, for example on 127.0.0.1:9477. A name
    /// (localhost:9477) means each of its addresses, :9477 every address of this host. unix:/PATH serves the same at a
    /// socket that its owner and group may use (mode 0660); a socket that nobody serves is replaced.
    /// textfile:/FOLDER writes FOLDER/synledger.prom every 5 s for the textfile collector of node_exporter, and removes
    /// it at the end. /healthz answers `ok`; `degraded` with the reasons while something is lost, or a watched interface
    /// is down or gone (/healthz?strict with status 503); `failing` and status 503 while a thread stands still, the books
    /// do not close, an output or a block list fails, or packets come that no capture sees. Default: off.
    #[arg(
        long,
        value_name = "TARGET",
        value_parser = str::parse::<MetricsTarget>,
        help_heading = OUTPUT
    )]
    pub metrics: Vec<MetricsTarget>,
    /// Set of flags: watch, edge or ledger.
    ///
    /// `watch` is for a person at a terminal: every flag has its default.
    ///
    /// `edge` is a service that costs little. It counts connections but writes no record of each. It takes at most
    /// 1 GiB of disk. It sees no UDP, see --capture:
    ///
    /// `--capture control --metrics 127.0.0.1:9477` `--state /var/lib/synledger`
    /// `--output eve:/var/log/synledger/eve.json,events=alert+stats+lifecycle+block` with
    /// `,rotate=1d,keep=1GiB` behind it
    ///
    /// `ledger` is a service that writes every connection and flow. It takes at most 8 GiB of disk:
    ///
    /// `--capture headers --metrics 127.0.0.1:9477` `--state /var/lib/synledger`
    /// `--output eve:/var/log/synledger/eve.json,rotate=1h,keep=8GiB`
    ///
    /// The configuration file overrides a preset, the command line both. `--dry-run` prints the flags in force.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "watch",
        hide_possible_values = true,
        help_heading = BEHAVIOUR,
        display_order = 0
    )]
    pub preset: Preset,
    /// Wait for interfaces that do not exist yet.
    ///
    /// For the names in `-i`, and with `auto` for a default route: for services that start at boot. Without it,
    /// only globs wait. SIGINT and SIGTERM end the wait with exit code 0.
    #[arg(long, help_heading = BEHAVIOUR)]
    pub wait: bool,
    /// Remember until when was watched, in DIR.
    ///
    /// In the file DIR/last-watched, renewed ten times a second. The next start then says from when to when nothing was
    /// watched, and why (`not_watched`). DIR is made if it is missing, for the user of --user, as whom the next run may start. A run does not start if it cannot write there, or if
    /// another one does; with the folder of a preset it starts and says so (`state_failed`). Default: off.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = BEHAVIOUR)]
    pub state: Option<PathBuf>,
    /// Take over from the run that listens at PATH.
    ///
    /// The run that listens at the socket PATH hands its rings, connections, scans and counters over to this one, and
    /// ends: while the rings hold what comes, no frame is lost and no record missing or doubled. If its settings or its
    /// version's state are others, it ends its records and stops, and this one starts anew. If nobody listens at PATH,
    /// this one just starts. Then it listens there itself, for the next one: its user and root may ask. A service needs no
    /// PATH: see RESTARTS in synledger-run(1). Default: off.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = BEHAVIOUR)]
    pub takeover: Option<PathBuf>,
    /// Check one in N connections a second time.
    ///
    /// 1 to 65536; 0 is off. A second socket receives the SYNs of one in N connections, and another library reads
    /// them. Each attempt that only one of both saw has a record and is counted; with `--strict` the exit code is
    /// then 3. It takes a thread, 6 MiB, 1 MiB of ring per interface, and about a microsecond for each SYN of the
    /// sample. It remembers 65,536 attempts for 140 s. Above N x 468 new connections a second it must forget some:
    /// these are not compared (`excused`). Needs `--fanout class` and
    /// `--key addresses`.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        value_parser = whole::<u32>(0..=65_536),
        help_heading = BEHAVIOUR
    )]
    pub witness: u32,
    /// User after the start, instead of synledger.
    ///
    /// Once sockets, rings, outputs and the block helper are open, `run` has no privilege left that it does not need. If
    /// it was started as root it goes on as this user; without the flag as `synledger`, if that user exists and may open
    /// the outputs again, else as root without its capabilities. The outputs and their folders must belong to the user:
    /// SIGHUP and rotation make files there. Only the main thread keeps CAP_NET_RAW, for an interface that is created
    /// anew. Each thread may make the system calls that it needs (seccomp), and the process opens no other files
    /// (Landlock): see SANDBOX in synledger-run(1).
    #[arg(long, value_name = "NAME", help_heading = BEHAVIOUR)]
    pub user: Option<String>,
    /// Keep all privileges of the start.
    ///
    /// To find out whether the sandbox is why something fails: whoever finds a fault in how packets are read then has all
    /// that the sensor had at its start, of root the whole host.
    #[arg(long, help_heading = BEHAVIOUR)]
    pub no_sandbox: bool,
    /// Show settings and memory, then stop.
    ///
    /// Prints the flags in force with their origin, and the memory of a run line by line. Tries whether packet
    /// sockets, outputs and the metrics address can be opened, without creating or changing anything. Exit code 1,
    /// with the reasons, if the run would not start.
    #[arg(long, help_heading = BEHAVIOUR)]
    pub dry_run: bool,
    /// Print more about settings and resources.
    ///
    /// At the start: the flags in force with their origin, what each ring holds and absorbs, fanout, memory line by
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
