//! What the kernel says of XDP at an interface. Nothing is changed.
//!
//! Source: `linux/netdev.h`, `linux/genetlink.h`, `linux/if_link.h`.

use super::list::IFINFO_BYTES;
use crate::host::netlink::{Netlink, attributes, u16_at, u64_at};
use nix::sys::socket::SockProtocol;
use std::io;

/// `GENL_ID_CTRL`, and its command that finds a family by its name.
const CONTROL: u16 = 0x10;
const GETFAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// Bytes of `struct genlmsghdr`: command, version, reserved.
const GENERIC_BYTES: usize = 4;
/// The family `netdev` (Linux 6.3).
const NETDEV: &[u8; 8] = b"netdev\0\0";
const DEV_GET: u8 = 1;
const DEV_IFINDEX: u16 = 1;
const DEV_XDP_FEATURES: u16 = 3;
/// `NETDEV_XDP_ACT_BASIC`: the driver runs programs that let pass or drop.
const BASIC: u64 = 1;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;

/// XDP at an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Xdp {
    /// Its driver can run a program; `None`: the kernel does not say.
    pub native: Option<bool>,
    /// A program is there; `None`: the kernel does not say.
    pub taken: Option<bool>,
}

/// What the kernel says of the interface.
pub(crate) fn xdp(ifindex: u32) -> Xdp {
    Xdp {
        native: features(ifindex)
            .ok()
            .flatten()
            .map(|bits| bits & BASIC != 0),
        taken: is_taken(ifindex).ok().flatten(),
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("a few bytes");
    [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat()
}

fn request(command: u8, attribute: &[u8]) -> Vec<u8> {
    [&[command, 1, 0, 0], attribute].concat()
}

fn features(ifindex: u32) -> io::Result<Option<u64>> {
    let mut netlink = Netlink::open(SockProtocol::NetlinkGeneric, 0, false)?;
    let find = |body: &[u8], kind: u16| {
        let mut all = attributes(body.get(GENERIC_BYTES..)?);
        all.find_map(|(one, value)| (one == kind).then(|| value.to_vec()))
    };
    let name = request(GETFAMILY, &attribute(FAMILY_NAME, NETDEV));
    let family = netlink.get(CONTROL, &name, |message| find(message.body, FAMILY_ID))?;
    let Some(family) = family.and_then(|value| u16_at(&value, 0)) else {
        return Ok(None);
    };
    let device = request(DEV_GET, &attribute(DEV_IFINDEX, &ifindex.to_ne_bytes()));
    let found = netlink.get(family, &device, |message| {
        find(message.body, DEV_XDP_FEATURES)
    })?;
    Ok(found.and_then(|value| u64_at(&value, 0)))
}

fn is_taken(ifindex: u32) -> io::Result<Option<bool>> {
    let mut netlink = Netlink::open(SockProtocol::NetlinkRoute, 0, false)?;
    let mut body = [0; IFINFO_BYTES];
    body[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    netlink.get(libc::RTM_GETLINK, &body, |message| {
        let mut all = attributes(message.body.get(IFINFO_BYTES..)?);
        let (_, about) = all.find(|(kind, _)| *kind == IFLA_XDP)?;
        let (_, attached) = attributes(about).find(|(kind, _)| *kind == IFLA_XDP_ATTACHED)?;
        attached.first().map(|mode| *mode != 0)
    })
}
