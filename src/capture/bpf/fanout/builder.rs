//! What both ways of the program share: its use, its slots, its exits, the class and the hash.

use super::Keys;
use crate::capture::bpf::asm::{Asm, Label};
use crate::capture::frame::LinkType;
use crate::capture::tunnels::Tunnels;

/// The use of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `PACKET_FANOUT_CBPF`: returns the member.
    Fanout,
    /// A socket's own filter: returns this many bytes to keep for control and open, 0 for data.
    Filter {
        /// Bytes to keep.
        snaplen: u32,
    },
    /// The filter of a data ring under load. It returns 0 for bulk data: UDP that is no tunnel, and TCP that neither opens, answers
    /// nor ends a connection. It keeps this many bytes of every other frame, and of frames that it cannot follow.
    /// A frame cut within its headers is refused. It reads nothing but the frame's bytes.
    Bulk {
        /// What the frames start with.
        link: LinkType,
        /// Bytes to keep.
        snaplen: u32,
    },
}

// Slots of M, in addition to those of steps.
/// Where the IP header starts.
pub(super) const IP: u32 = 1;
/// class × workers.
pub(super) const CLASS: u32 = 2;
/// Where the source address starts.
pub(super) const ADDRESS: u32 = 5;
pub(super) const FAMILY: u32 = 6;
pub(super) const PROTOCOL: u32 = 7;
/// A first fragment: more follow.
pub(super) const MORE: u32 = 8;
/// Bytes behind the IP header that are in this fragment.
pub(super) const ROOM: u32 = 9;
/// Where the upper header starts.
pub(super) const UPPER_AT: u32 = 10;
/// The same, from the start of the IP header.
pub(super) const REACH: u32 = 11;
/// The hash of the source's end.
const SOURCE: u32 = 12;
pub(super) const QUOTED: u32 = 13;

pub(super) const TCP: u32 = 6;
pub(super) const UDP: u32 = 17;

pub(super) struct Builder<'k> {
    pub(super) a: Asm,
    pub(super) keys: &'k Keys,
    pub(super) workers: u32,
    pub(super) tunnels: &'k Tunnels,
    pub(super) zero: Label,
    /// The general way: X = where the IP header starts.
    pub(super) v4: Label,
    pub(super) v6: Label,
    pub(super) tcp: Label,
    pub(super) udp: Label,
    pub(super) open: Label,
    pub(super) control: Label,
    /// Bulk data; only the hash is left.
    pub(super) bulk: Label,
    /// Only the hash is left.
    pub(super) hash: Label,
}

impl<'k> Builder<'k> {
    pub(super) fn new(keys: &'k Keys, workers: u32, tunnels: &'k Tunnels) -> Self {
        let mut a = Asm::default();
        Self {
            zero: a.label(),
            v4: a.label(),
            v6: a.label(),
            tcp: a.label(),
            udp: a.label(),
            open: a.label(),
            control: a.label(),
            bulk: a.label(),
            hash: a.label(),
            a,
            keys,
            workers,
            tunnels,
        }
    }

    /// A = the worker, by the rule of [`super::flow_hash`] and [`super::worker`]. `port` and `word` load what both ends have of it, the
    /// source's first; `word` leaves X as it is.
    pub(super) fn hash(
        &mut self,
        words: u8,
        port: impl Fn(&mut Asm, usize),
        word: impl Fn(&mut Asm, usize, u32),
    ) {
        let (a, keys) = (&mut self.a, self.keys);
        for end in [0, 1] {
            port(a, end);
            a.mul(keys.port);
            a.add(keys.start);
            for i in 0..u32::from(words) {
                // X is the sum so far: no slot of M between two loads.
                a.tax();
                word(a, end, 4 * i);
                a.mul(keys.word[i as usize]);
                a.rsh(16);
                a.mul(keys.fold[i as usize]);
                a.add_x();
            }
            a.or(1);
            if end == 0 {
                a.st(SOURCE);
            }
        }
        a.ldx_mem(SOURCE);
        a.mul_x();
        a.mix();
        a.mul(keys.last);
        a.rsh(16);
        a.mul(self.workers);
        a.rsh(16);
    }
}

/// Jumps by the flags in A.
pub(super) fn class(a: &mut Asm, open: Label, control: Label, bulk: Label) {
    let (syn, ack) = (a.label(), a.label());
    a.jset(0x02, syn, None);
    a.jset(0x04, control, None);
    a.jset(0x10, ack, open);
    a.bind(ack);
    a.jset(0x01, control, bulk);
    a.bind(syn);
    a.jset(0x10, control, open);
}
