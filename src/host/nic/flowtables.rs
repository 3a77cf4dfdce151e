//! Flowtables of nftables: which devices forward established connections by hardware, past every tap.
//!
//! A flowtable in software shows its packets to taps; one with `flags offload` does not.
//!
//! Source: `linux/netfilter/nf_tables.h`, `linux/netfilter/nfnetlink.h`.

use crate::host::netlink::{Message, Netlink, attributes};
use crate::words::until_zero;
use nix::sys::socket::SockProtocol;
use std::io;

/// `NFNL_SUBSYS_NFTABLES << 8`, with `NFT_MSG_NEWFLOWTABLE` and `NFT_MSG_GETFLOWTABLE`.
const NEW: u16 = 10 << 8 | 22;
const GET: u16 = 10 << 8 | 23;
/// Bytes of `struct nfgenmsg`. All 0: every family.
const GENERIC_BYTES: usize = 4;
const NAME: u16 = 2;
const HOOK: u16 = 3;
const FLAGS: u16 = 7;
const HOOK_DEVICES: u16 = 3;
const DEVICE_NAME: u16 = 1;
/// `NFT_FLOWTABLE_HW_OFFLOAD`; the attribute is big-endian.
const HARDWARE: u32 = 1;

/// A flowtable that hardware executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flowtable {
    pub name: String,
    /// Names of its devices.
    pub devices: Vec<String>,
}

/// Flowtables with hardware offload in the calling thread's namespace.
///
/// # Errors
///
/// Those of nfnetlink: EPERM without CAP_NET_ADMIN.
pub(crate) fn hardware_flowtables() -> io::Result<Vec<Flowtable>> {
    let mut netlink = Netlink::open(SockProtocol::NetlinkNetFilter, 0, false)?;
    netlink.dump(GET, &[0; GENERIC_BYTES], hardware)
}

fn hardware(message: Message<'_>) -> Option<Flowtable> {
    if message.kind != NEW {
        return None;
    }
    let mut found = Flowtable {
        name: String::new(),
        devices: Vec::new(),
    };
    let mut flags = 0;
    for (kind, value) in attributes(message.body.get(GENERIC_BYTES..)?) {
        match kind {
            NAME => found.name = until_zero(value),
            FLAGS => flags = u32::from_be_bytes(*value.first_chunk()?),
            HOOK => {
                let mut hook = attributes(value);
                let devices = hook.find(|(kind, _)| *kind == HOOK_DEVICES);
                let devices = attributes(devices.map_or(&[], |(_, value)| value));
                let names = devices.filter(|(kind, _)| *kind == DEVICE_NAME);
                found.devices = names.map(|(_, value)| until_zero(value)).collect();
            }
            _ => {}
        }
    }
    (flags & HARDWARE != 0).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).expect("short");
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// A flowtable `f` of two devices, with these flags, as the kernel dumps it.
    fn dumped(flags: u32) -> Option<Flowtable> {
        let devices = ["eth0\0", "eth1\0"].map(|name| attribute(DEVICE_NAME, name.as_bytes()));
        // Nested attributes carry a flag in their kind.
        let nested = |kind: u16, value: &[u8]| attribute(kind | 0x8000, value);
        let hook = nested(HOOK_DEVICES, &devices.concat());
        let body = [
            vec![2, 0, 0, 0],
            attribute(1, b"t\0"),
            attribute(NAME, b"f\0"),
            nested(HOOK, &hook),
            attribute(FLAGS, &flags.to_be_bytes()),
        ];
        hardware(Message {
            kind: NEW,
            flags: 0,
            sequence: 0,
            port: 0,
            body: &body.concat(),
        })
    }

    #[test]
    fn only_flowtables_of_hardware_are_named_with_their_devices() {
        assert_eq!(dumped(0), None);
        assert_eq!(dumped(2), None, "counters alone");
        let found = dumped(3).expect("by hardware");
        assert_eq!(found.name, "f");
        assert_eq!(found.devices, ["eth0", "eth1"]);
    }
}
