//! What a driver says about itself through `SIOCETHTOOL`: offloads, rings, queues, hashing.
//!
//! Only questions are asked; nothing is ever set. Many drivers answer only some of them, and
//! `None` means that this one was not answered.

#![allow(
    unsafe_code,
    reason = "SIOCETHTOOL takes a pointer to a command-dependent structure"
)]

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType};

use super::NAME_BYTES_MAX;
use crate::host::netlink::u32_at;

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GRINGPARAM: u32 = 0x10;
const ETHTOOL_GTSO: u32 = 0x1e;
const ETHTOOL_GGSO: u32 = 0x23;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_GRXFH: u32 = 0x29;
const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETHTOOL_GRSSH: u32 = 0x46;
const ETH_FLAG_LRO: u32 = 1 << 15;

/// Bytes of `struct ethtool_rxfh` before its table and key.
const RXFH_BYTES: usize = 24;
/// The longest hash key asked for, in bytes. Drivers have 40 to 64.
const KEY_BYTES_MAX: usize = 256;
/// Room for any answer we ask for.
const ANSWER_BYTES: usize = RXFH_BYTES + KEY_BYTES_MAX;

/// Kinds of packets that receive hashing may treat differently: ethtool's word, and the kernel's number.
pub const FLOW_TYPES: [(&str, u32); 4] = [("tcp4", 1), ("udp4", 2), ("tcp6", 5), ("udp6", 6)];

/// What a driver said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ethtool {
    /// The kernel merges received segments (generic receive offload).
    pub gro: Option<bool>,
    /// The NIC merges received segments (large receive offload).
    pub lro: Option<bool>,
    /// The NIC splits sent segments (TCP segmentation offload).
    pub tso: Option<bool>,
    /// The kernel splits sent segments late (generic segmentation offload).
    pub gso: Option<bool>,
    /// Receive descriptors: in use, and at most.
    pub rx_ring: Option<(u32, u32)>,
    /// Receive queues: in use, and at most.
    pub rx_channels: Option<(u32, u32)>,
    /// Whether the hash function gives both directions of a connection the same receive queue, if it is
    /// given the right fields.
    pub rss: Rss,
    /// Length of the hash key, in bytes.
    pub rss_key_bytes: Option<u32>,
    /// The fields that are hashed (`RXH_*` bits), for each of [`FLOW_TYPES`].
    pub hash_fields: [Option<u64>; FLOW_TYPES.len()],
}

/// Whether these fields are the same for both directions of a connection, once those of source and
/// destination are exchanged: addresses both or neither, ports both or neither, and nothing else.
///
/// Source: `ethtool_rxfh_config_is_sym` in the kernel's net/ethtool/common.c.
pub fn fields_are_symmetric(fields: u64) -> bool {
    const ADDRESSES: u64 = 1 << 4 | 1 << 5; // RXH_IP_SRC, RXH_IP_DST
    const PORTS: u64 = 1 << 6 | 1 << 7; // RXH_L4_B_0_1, RXH_L4_B_2_3
    let both_or_neither = |pair: u64| fields & pair == 0 || fields & pair == pair;
    fields & !(ADDRESSES | PORTS) == 0 && both_or_neither(ADDRESSES) && both_or_neither(PORTS)
}

/// Whether receive hashing is symmetric, as far as a driver says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rss {
    /// The driver does not say.
    #[default]
    Unknown,
    /// The key repeats every 16 bits, or the NIC mixes both directions before it hashes.
    Symmetric,
    /// The directions of a connection hash apart.
    Asymmetric,
}

/// Asks the driver of the interface `name`.
///
/// # Errors
///
/// When there is no socket to ask through. Unanswered questions are no errors.
pub fn ask(name: &str) -> io::Result<Ethtool> {
    let ethtool = Asker::new(name)?;
    let (rss, rss_key_bytes) = ethtool.rss();
    Ok(Ethtool {
        gro: ethtool.value(ETHTOOL_GGRO).map(|value| value != 0),
        lro: ethtool
            .value(ETHTOOL_GFLAGS)
            .map(|flags| flags & ETH_FLAG_LRO != 0),
        tso: ethtool.value(ETHTOOL_GTSO).map(|value| value != 0),
        gso: ethtool.value(ETHTOOL_GGSO).map(|value| value != 0),
        rx_ring: ethtool.rx_ring(),
        rx_channels: ethtool.rx_channels(),
        rss,
        rss_key_bytes,
        hash_fields: FLOW_TYPES.map(|(_, flow_type)| ethtool.hash_fields(flow_type)),
    })
}

/// `struct ifreq`, with the member of its union that `SIOCETHTOOL` reads.
#[repr(C)]
struct IfReq {
    name: [u8; libc::IFNAMSIZ],
    data: *mut c_void,
    rest: [u8; 16],
}

const _: () = assert!(size_of::<libc::ifreq>() <= size_of::<IfReq>());
const _: () = assert!(std::mem::offset_of!(libc::ifreq, ifr_ifru) == libc::IFNAMSIZ);

/// A question's words on their way in, the answer's on their way out.
#[repr(C, align(8))]
struct Answer([u8; ANSWER_BYTES]);

impl Answer {
    fn word(&self, index: usize) -> u32 {
        u32_at(&self.0, index * 4).unwrap_or(0)
    }
}

struct Asker {
    socket: OwnedFd,
    name: [u8; libc::IFNAMSIZ],
}

impl Asker {
    fn new(name: &str) -> io::Result<Self> {
        if name.len() > NAME_BYTES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut padded = [0; libc::IFNAMSIZ];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        let socket = socket::socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        Ok(Self {
            socket,
            name: padded,
        })
    }

    /// One question: the command, then `words`. `None` if the driver does not answer it.
    fn ask(&self, command: u32, words: &[u32]) -> Option<Answer> {
        let mut answer = Answer([0; ANSWER_BYTES]);
        for (index, word) in [command].iter().chain(words).enumerate() {
            answer.0[index * 4..][..4].copy_from_slice(&word.to_ne_bytes());
        }
        let mut request = IfReq {
            name: self.name,
            data: answer.0.as_mut_ptr().cast(),
            rest: [0; 16],
        };
        // SAFETY: `request` is at least as large as the kernel's ifreq and starts with a
        // zero-ended name; `data` points to ANSWER_BYTES writable bytes that live through the call.
        // The commands of this file write a fixed structure of at most 192 bytes (ethtool_rxnfc), except
        // GRSSH, which writes RXFH_BYTES and the key size that `rss` passed in, at most KEY_BYTES_MAX.
        let code = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        (code == 0).then_some(answer)
    }

    /// The one value of a `struct ethtool_value`.
    fn value(&self, command: u32) -> Option<u32> {
        Some(self.ask(command, &[])?.word(1))
    }

    /// `struct ethtool_ringparam`: rx_max_pending is word 1, rx_pending word 5.
    fn rx_ring(&self) -> Option<(u32, u32)> {
        let answer = self.ask(ETHTOOL_GRINGPARAM, &[])?;
        Some((answer.word(5), answer.word(1)))
    }

    /// `struct ethtool_channels`: max_rx, max_combined are words 1 and 4, the counts 5 and 8.
    fn rx_channels(&self) -> Option<(u32, u32)> {
        let answer = self.ask(ETHTOOL_GCHANNELS, &[])?;
        let sum = |rx, combined| answer.word(rx).saturating_add(answer.word(combined));
        Some((sum(5, 8), sum(1, 4)))
    }

    /// `struct ethtool_rxnfc`: flow_type is word 1, data words 2 and 3.
    fn hash_fields(&self, flow_type: u32) -> Option<u64> {
        let answer = self.ask(ETHTOOL_GRXFH, &[flow_type])?;
        let halves = [answer.word(2), answer.word(3)].map(u32::to_ne_bytes);
        let bytes = halves.concat().try_into().expect("two words");
        Some(u64::from_ne_bytes(bytes))
    }

    /// Asks for the sizes, then for the key alone: a table size of 0 leaves the table out. Also the length
    /// of the key.
    fn rss(&self) -> (Rss, Option<u32>) {
        let Some(sizes) = self.ask(ETHTOOL_GRSSH, &[]) else {
            return (Rss::Unknown, None);
        };
        let length = sizes.word(3);
        let key_bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if key_bytes == 0 || key_bytes > KEY_BYTES_MAX {
            return (Rss::Unknown, None);
        }
        let Some(answer) = self.ask(ETHTOOL_GRSSH, &[0, 0, length]) else {
            return (Rss::Unknown, Some(length));
        };
        // Byte 17 is input_xfrm (Linux 6.8): 1 XORs both directions, 2 ORs and XORs them.
        let key = &answer.0[RXFH_BYTES..][..key_bytes];
        (symmetry(answer.0[16], answer.0[17], key), Some(length))
    }
}

/// What the hash function, its input transformation and its key say about symmetry.
///
/// A Toeplitz key of period 16 bits gives a word the same hash at every place, so that exchanged
/// addresses and ports hash the same.
fn symmetry(function: u8, transformation: u8, key: &[u8]) -> Rss {
    const TOEPLITZ: u8 = 1;
    if matches!(transformation, 1 | 2) {
        return Rss::Symmetric;
    }
    // A key of zeros is what a driver shows that keeps the true one to itself.
    if function != TOEPLITZ || key.iter().all(|&byte| byte == 0) {
        return Rss::Unknown;
    }
    match key.windows(3).all(|window| window[0] == window[2]) {
        true => Rss::Symmetric,
        false => Rss::Asymmetric,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_period_16_bits_is_symmetric_and_only_that() {
        let periodic: Vec<u8> = [0x6d, 0x5a].into_iter().cycle().take(40).collect();
        assert_eq!(symmetry(1, 0, &periodic), Rss::Symmetric);
        let mut other = periodic.clone();
        other[39] ^= 1;
        assert_eq!(symmetry(1, 0, &other), Rss::Asymmetric);
        assert_eq!(symmetry(1, 1, &other), Rss::Symmetric);
        assert_eq!(symmetry(1, 0, &[0; 40]), Rss::Unknown);
        assert_eq!(symmetry(4, 0, &periodic), Rss::Unknown);
    }

    #[test]
    fn fields_are_symmetric_in_pairs_and_only_those() {
        let (src, dst, first, second) = (1 << 4, 1 << 5, 1 << 6, 1 << 7);
        for pairs in [0, src | dst, src | dst | first | second] {
            assert!(fields_are_symmetric(pairs), "{pairs:#x}");
        }
        let flow_label = 1 << 9;
        for odd in [src, dst, first, src | dst | second, src | dst | flow_label] {
            assert!(!fields_are_symmetric(odd), "{odd:#x}");
        }
    }

    #[test]
    fn the_loopback_device_answers_and_a_missing_one_does_not() {
        let lo = ask("lo").expect("a socket");
        assert_eq!(lo.rx_ring, None, "lo has no ring");
        assert_eq!(lo.rss, Rss::Unknown);
        assert_eq!(ask("not-there").expect("a socket"), Ethtool::default());
        assert!(ask("a-name-of-16-byte").is_err());
    }
}
