//! How the interfaces of the namespace hang together: masters and members, upper and lower devices, tunnels.
//!
//! Source: `linux/if_link.h`.

use super::list::{IFINFO_BYTES, link};
use crate::host::netlink::{Message, Netlink, attributes, u32_at};
use crate::words::until_zero;
use nix::sys::socket::SockProtocol;
use std::io;

const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
/// Kinds whose `IFLA_LINK` is the device that their frames pass, too; a veth's is the other end.
const STACKED: [&str; 6] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"];

/// An interface among the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Relation {
    pub name: String,
    pub ifindex: u32,
    /// The word of its driver: `bond`, `bridge`, `vlan`, `vxlan`, …; empty for hardware.
    pub kind: String,
    /// The bond, bridge or team that it is a member of.
    pub master: Option<u32>,
    /// The device that carries its frames.
    pub lower: Option<u32>,
    /// It is set up.
    pub up: bool,
}

/// All interfaces of the calling thread's namespace.
///
/// # Errors
///
/// Those of rtnetlink.
pub(crate) fn relations() -> io::Result<Vec<Relation>> {
    let mut netlink = Netlink::open(SockProtocol::NetlinkRoute, 0, false)?;
    netlink.dump(libc::RTM_GETLINK, &[0; IFINFO_BYTES], relation)
}

fn relation(message: Message<'_>) -> Option<Relation> {
    let interface = link(message)?;
    let mut found = Relation {
        name: interface.name,
        ifindex: interface.ifindex,
        up: interface.up,
        ..Relation::default()
    };
    let mut lower = None;
    for (kind, value) in attributes(message.body.get(IFINFO_BYTES..)?) {
        match kind {
            IFLA_LINK => lower = u32_at(value, 0),
            IFLA_MASTER => found.master = u32_at(value, 0),
            IFLA_LINKINFO => {
                let mut about = attributes(value);
                let word = about.find(|(kind, _)| *kind == IFLA_INFO_KIND);
                found.kind = word.map(|(_, value)| until_zero(value)).unwrap_or_default();
            }
            _ => {}
        }
    }
    found.lower = lower.filter(|_| STACKED.contains(&found.kind.as_str()));
    Some(found)
}
