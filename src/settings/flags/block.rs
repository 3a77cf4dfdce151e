//! Flags of `run` about blocking.

use super::BLOCKING;
use crate::respond::block::plan::{BlockMode, BlockOn, BlockTime, parse_on, parse_time};
use crate::words::whole;
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// Where the socket is without `--status-socket`.
pub const SOCKET: &str = "/run/synledger/synledger.sock";

/// `--block` and what belongs to it.
#[derive(Debug, Clone, Args)]
pub struct BlockArgs {
    /// Shut out by: nft, xdp, dry-run, off.
    ///
    /// `nft`: the kernel's nftables drop what comes from a blocked address, before connections are tracked, also what this host
    /// would forward. A helper process has CAP_NET_ADMIN and changes the table `inet synledger` alone; the sensor gives that
    /// capability up. `xdp`: an XDP program at the watched interfaces drops it, before the kernel spends memory on it; the helper
    /// has CAP_BPF, too, and replaces no other XDP program. The sensor sees nothing of what is dropped there. `synledger check`
    /// says where it fits. `dry-run`: decides, logs and counts as if, and changes nothing on this host. A block ends by itself (`--block-times`). Never blocked: this host, its gateways, name servers and time servers (where its
    /// configuration names them by address), peers of open SSH connections, sources of `--allow`, link-local, multicast and
    /// private networks, and whoever a host on our side connected to within the last half hour. `synledger block` lists and
    /// changes blocks while the run goes on.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "off",
        hide_possible_values = true,
        help_heading = BLOCKING
    )]
    pub block: BlockMode,
    /// What blocks: verdicts, kinds.
    ///
    /// A list. A verdict as in `--alert`: `scan`, `suspicious` (or a scan), `policy` (whatever fulfils a rule): detections
    /// with this verdict at least. A kind: port_scan, host_sweep, stealth_scan, udp_scan or slow_scan, whatever its verdict.
    /// One match is enough. What is below `--alert` never blocks, nor do floods and distributed scans, which have no one
    /// source. Of an IPv6 network the whole network is blocked.
    #[arg(
        long,
        value_name = "LIST",
        default_value = "scan",
        value_delimiter = ',',
        value_parser = parse_on,
        help_heading = BLOCKING
    )]
    pub block_on: Vec<BlockOn>,
    /// How long to block.
    ///
    /// A list of at most 16 times, 1s to 365d, such as 90s, 10m, 1h, 7d: the n-th block of a source takes the n-th time, later
    /// ones the last. A source is forgotten when the longest time has passed since its last block, when it is let in by hand,
    /// and when the run ends.
    #[arg(
        long,
        value_name = "TIMES",
        default_value = "10m,1h,24h,7d",
        value_delimiter = ',',
        value_parser = parse_time,
        help_heading = BLOCKING
    )]
    pub block_times: Vec<BlockTime>,
    /// Most blocks at once.
    ///
    /// 1 to 65536. Where there are so many, the least severe leaves for a new one that is as severe or more, and of those
    /// the oldest: verdict `scan` is more severe than `suspicious`, and blocks by hand are the most severe. Each takes about
    /// 2 KiB of `--memory-mib`.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10_000,
        value_parser = whole::<u32>(1..=65_536),
        help_heading = BLOCKING
    )]
    pub block_max: u32,
    /// Most blocks a minute.
    ///
    /// By detections; 1 to 10000. Above that nobody is blocked until fewer are. The log says so once, refused blocks are
    /// counted, and detection goes on. Blocks by hand do not count.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 60,
        value_parser = whole::<u32>(1..=10_000),
        help_heading = BLOCKING
    )]
    pub block_rate: u32,
    /// Block sources that may be forged, too.
    ///
    /// Without it a source is blocked only if it completed a handshake with what it scans (`proof`), so that nobody can
    /// have others blocked by packets in their name. A scan by SYNs alone that completes no connection is then not blocked.
    #[arg(long, help_heading = BLOCKING)]
    pub block_unproven: bool,
    /// Block private networks, too.
    ///
    /// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7.
    #[arg(long, help_heading = BLOCKING)]
    pub block_private: bool,
    /// Block IPv6 sources by prefix.
    ///
    /// 64 to 128, in bits. Whoever scans over IPv6 mostly has a whole /64: with 64 all of it is blocked for one proven address,
    /// and further addresses of it are the same block. If one address of the prefix must not be blocked (see --block),
    /// nothing of it is, not even the scanner's address. The same holds if a host on our side connected to any address of
    /// the /64 within the last half hour. Default: the
    /// address alone. IPv4 sources are blocked by address.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 128,
        value_parser = whole::<u8>(64..=128),
        help_heading = BLOCKING
    )]
    pub block_prefix6: u8,
    /// Keep blocks at the end of the run.
    ///
    /// They stay in the kernel until their time is over; the next run finds them there. Without it they end with the run. Of a
    /// dry run nothing stays, nor with `--block xdp` where nothing can have a name in /sys/fs/bpf.
    #[arg(long, help_heading = BLOCKING)]
    pub block_keep: bool,
    /// Socket of `synledger top` and `synledger block`.
    ///
    /// Made at the start with mode 0660, removed at the end. Root, the sensor's user and `--status-group` may use it. Default
    /// with `--block`: /run/synledger/synledger.sock, whose directory is made if it is missing. Without `--block`: none; one
    /// that is named serves `synledger top`.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = BLOCKING)]
    pub status_socket: Option<PathBuf>,
    /// Group that may use the socket.
    ///
    /// Its members may see what `synledger top` shows, and list and change blocks. The socket's group is then this one.
    /// Default: none.
    #[arg(long, value_name = "GROUP", help_heading = BLOCKING)]
    pub status_group: Option<String>,
}
