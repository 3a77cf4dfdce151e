//! Flags of checksums.

use super::CAPTURE;
use clap::Args;

words! {
    /// `--checksums`.
    pub flag enum ChecksumMode {
        /// They are not looked at.
        Ignore = "ignore",
        /// What has a bad one is refused.
        Verify = "verify",
    }
}

/// Whether checksums are verified, in `run` and `read`.
#[derive(Debug, Clone, Args)]
pub struct ChecksumArgs {
    /// Checksums: ignore or verify.
    ///
    /// Of IPv4, TCP and UDP. `verify`: a packet with a bad one is refused, as its receiver does, and counted (`unread_frames`, cause
    /// `bad_ip_checksum`, `bad_tcp_checksum` or `bad_udp_checksum`). Else a forged packet that no host takes can end or
    /// open a connection in the log alone. In `run` the kernel says which are not computed yet (offload) and which the NIC
    /// has verified; both pass. A packet of which not all bytes are kept passes, too (`checksums`, outcome `cut`):
    /// `--capture headers` keeps 192 bytes of data packets and 256 of those that open or end a connection, all of most
    /// SYNs and RSTs; `--capture full` keeps everything. In `read` a capture made on the sending host has mostly bad ones,
    /// because its NIC computes them later: then ignore them. Verifying reads every byte. Not with `--witness`.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "ignore",
        hide_possible_values = true,
        help_heading = CAPTURE
    )]
    pub checksums: ChecksumMode,
}
