//! Flags of tunnels.

use super::CAPTURE;
use crate::capture::tunnels::Choice;
use clap::Args;

/// The tunnels that are opened, in every subcommand.
#[derive(Debug, Clone, Args)]
pub struct TunnelArgs {
    /// Open tunnels: what is inside counts.
    ///
    /// `all`, or a list of `gre` (NVGRE too), `ipip`, `4in6`, `6in4`, `6in6`, `vxlan` and `geneve`; repeatable. VXLAN and
    /// Geneve are known by the UDP port that a packet goes to, 4789 and 6081; `vxlan:8472` names another one, up to four
    /// each. Of the packet inside come addresses, ports, VLAN tags, bytes and direction; the one around it counts only
    /// where the tunnel cannot be opened (`tunnels_unopened`, with the reason). In a frame up to four tunnels are opened,
    /// one of each kind. Whoever can send such a packet past the sensor can make it log connections that never were: name
    /// what your network has. In `run` both directions of a tunnel meet at one worker, whatever is inside, as data: under
    /// overload its SYNs are lost with data; it needs `--fanout class`. A tunnel's device that is watched as well shows
    /// each packet twice. Default: off.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        help_heading = CAPTURE
    )]
    pub decap: Vec<Choice>,
}
