//! Zeek's states, sequence arithmetic.

use super::record::{ConnState, Volume};
use crate::decode::Headers;
use crate::decode::packet::tcp_flags::{ACK, FIN, SYN};

/// The largest window of TCP, RFC 7323 2.3: numbers farther apart belong together in no way that was seen.
pub(super) const WINDOW_MAX: u32 = 1 << 30;

/// The side of a flow that sent a packet; also its index in per-side arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub(crate) enum Sender {
    Orig,
    Resp,
}

/// `a` lies after `b`, modulo 2^32.
#[allow(
    clippy::cast_possible_wrap,
    reason = "the sign of the difference is meant, RFC 9293 3.4"
)]
pub(super) fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// `number` is one of `from ..= from + span`, modulo 2^32.
pub(super) fn within(number: u32, from: u32, span: u32) -> bool {
    number.wrapping_sub(from) <= span
}

/// The sequence number behind a segment.
pub(super) fn end_of(segment: &Headers) -> u32 {
    let one = |flag: u8| u32::from(segment.flags & flag != 0);
    let length = segment.payload_len.wrapping_add(one(SYN) + one(FIN));
    segment.seq.wrapping_add(length)
}

/// Whether anything was seen of an answered connection behind its SYN+ACK.
pub(super) fn goes_on(orig: &Volume, resp: &Volume) -> bool {
    orig.tcp_flags & ACK != 0 || resp.payload_bytes > 0
}

/// The state of an answered connection; `reset` is the side that sent the first RST.
pub(super) fn answered_state(orig: &Volume, resp: &Volume, reset: Option<Sender>) -> ConnState {
    match reset {
        Some(Sender::Orig) => ConnState::Rsto,
        Some(Sender::Resp) => ConnState::Rstr,
        None => match (orig.tcp_flags & FIN != 0, resp.tcp_flags & FIN != 0) {
            (true, true) => ConnState::Sf,
            (true, false) => ConnState::S2,
            (false, true) => ConnState::S3,
            (false, false) => ConnState::S1,
        },
    }
}
