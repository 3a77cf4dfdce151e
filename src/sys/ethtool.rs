//! The ioctl `SIOCETHTOOL`, read only.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::words::until_zero;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType};

const SIOCETHTOOL: libc::Ioctl = 0x8946;
/// Bytes of `struct ethtool_rxfh` before its table and key.
pub const RXFH_BYTES: usize = 24;
/// The longest hash key asked for, in bytes. Drivers have 40 to 64.
pub const KEY_BYTES_MAX: usize = 256;
const ANSWER_BYTES: usize = RXFH_BYTES + KEY_BYTES_MAX;

/// `ETHTOOL_GSSET_INFO`, `ETHTOOL_GSTRINGS`, `ETHTOOL_GSTATS`.
const GSSET_INFO: u32 = 0x37;
const GSTRINGS: u32 = 0x1b;
const GSTATS: u32 = 0x1d;
/// `ETH_SS_STATS`.
const SET_OF_COUNTERS: u32 = 1;
/// `ETH_GSTRING_LEN`.
const STRING_BYTES: usize = 32;
/// Most counters of a driver. One with 128 queues has some 4,000.
const COUNTERS_MAX: usize = 16_384;

/// A request that reads. No answer is longer than [`Answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// `struct ethtool_drvinfo`.
    Driver,
    /// `struct ethtool_ringparam`.
    Ring,
    /// `struct ethtool_value`: segmentation of TCP.
    Tso,
    /// `struct ethtool_value`: generic segmentation.
    Gso,
    /// `struct ethtool_value`: flags of the device.
    Flags,
    /// `struct ethtool_value`: generic receive offload.
    Gro,
    /// `struct ethtool_channels`.
    Channels,
    /// `struct ethtool_rxnfc`: hashed fields of packets of this kernel flow type.
    HashFields(u32),
    /// `struct ethtool_rxfh`: the sizes of table and key.
    RssSizes,
    /// `struct ethtool_rxfh` with a key of so many bytes, at most [`KEY_BYTES_MAX`], and no table.
    RssKey(u32),
}

impl Question {
    /// The command and what follows it; `None` if the answer would be too long.
    fn words(self) -> Option<[u32; 4]> {
        Some(match self {
            Self::Driver => [0x03, 0, 0, 0],
            Self::Ring => [0x10, 0, 0, 0],
            Self::Tso => [0x1e, 0, 0, 0],
            Self::Gso => [0x23, 0, 0, 0],
            Self::Flags => [0x25, 0, 0, 0],
            Self::HashFields(flow_type) => [0x29, flow_type, 0, 0],
            Self::Gro => [0x2b, 0, 0, 0],
            Self::Channels => [0x3c, 0, 0, 0],
            Self::RssSizes => [0x46, 0, 0, 0],
            Self::RssKey(bytes) if bytes as usize <= KEY_BYTES_MAX => [0x46, 0, 0, bytes],
            Self::RssKey(_) => return None,
        })
    }
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

/// The structure of the request, overwritten by the answer.
#[repr(C, align(8))]
pub struct Answer(pub [u8; ANSWER_BYTES]);

impl Answer {
    /// The 32-bit word at `index`.
    ///
    /// # Panics
    ///
    /// Beyond the end.
    pub fn word(&self, index: usize) -> u32 {
        let bytes = self.0[index * 4..].first_chunk();
        u32::from_ne_bytes(*bytes.expect("within the answer"))
    }
}

/// A socket for requests about one interface.
pub struct Asker {
    socket: OwnedFd,
    name: [u8; libc::IFNAMSIZ],
}

impl Asker {
    /// # Errors
    ///
    /// The name is too long, or no socket can be opened.
    pub fn new(name: &str) -> io::Result<Self> {
        // A zero ends it.
        if name.len() >= libc::IFNAMSIZ {
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

    /// The driver's own counters, by its names; empty if it has none, or more than [`COUNTERS_MAX`].
    pub fn counters(&self) -> Vec<(String, u64)> {
        let Some(names) = self.list(GSTRINGS, STRING_BYTES) else {
            return Vec::new();
        };
        let Some(values) = self.list(GSTATS, 8) else {
            return Vec::new();
        };
        let name = |bytes: &[u8]| until_zero(bytes).trim().to_owned();
        let value = |bytes: &[u8]| u64::from_ne_bytes(*bytes.first_chunk().expect("eight"));
        let names = names.chunks_exact(STRING_BYTES).map(name);
        names.zip(values.chunks_exact(8).map(value)).collect()
    }

    /// The entries of a list of the driver's counters, each of `entry_bytes` bytes; `None`: there is none.
    fn list(&self, command: u32, entry_bytes: usize) -> Option<Vec<u8>> {
        // The mask asks for one set; its size is the word behind it (`struct ethtool_sset_info`).
        let mut sizes = [GSSET_INFO, 0, 1 << SET_OF_COUNTERS, 0, 0];
        // SAFETY: the kernel writes a word for each set in the mask: one, the last.
        unsafe { self.call(sizes.as_mut_ptr().cast()) }?;
        let count = usize::try_from(sizes[4]).ok()?;
        if !(1..=COUNTERS_MAX).contains(&count) {
            return None;
        }
        // The kernel writes as many as the driver has then: twice the room, in case its queues become more meanwhile.
        let head_bytes = match command {
            GSTRINGS => 12,
            _ => 8,
        };
        let mut words = vec![0_u32; head_bytes / 4 + 2 * COUNTERS_MAX * entry_bytes / 4];
        words[0] = command;
        match command {
            GSTRINGS => words[1] = SET_OF_COUNTERS,
            _ => words[1] = sizes[4],
        }
        // SAFETY: a head, then entries: at most 2 * COUNTERS_MAX, as argued above; both commands write nothing else.
        unsafe { self.call(words.as_mut_ptr().cast()) }?;
        let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
        Some(bytes[head_bytes..][..count * entry_bytes].to_vec())
    }

    /// # Safety
    ///
    /// `data` points to a structure of a command that reads, with room for all that the kernel writes.
    unsafe fn call(&self, data: *mut c_void) -> Option<()> {
        let mut request = IfReq {
            name: self.name,
            data,
            rest: [0; 16],
        };
        // SAFETY: `request` is at least as large as the kernel's ifreq and starts with a zero-ended name; the rest is
        // the caller's promise.
        let code = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        (code == 0).then_some(())
    }

    /// The answer; `None` if the driver has none.
    pub fn ask(&self, question: Question) -> Option<Answer> {
        let mut answer = Answer([0; ANSWER_BYTES]);
        for (index, word) in question.words()?.iter().enumerate() {
            answer.0[index * 4..][..4].copy_from_slice(&word.to_ne_bytes());
        }
        // SAFETY: `data` points to ANSWER_BYTES writable bytes that live through the call.
        // The commands of `Question` write a fixed structure of at most 196 bytes (ethtool_drvinfo), except
        // the one for the key, which writes RXFH_BYTES and as many bytes as were asked for, at most KEY_BYTES_MAX.
        unsafe { self.call(answer.0.as_mut_ptr().cast()) }?;
        Some(answer)
    }
}
