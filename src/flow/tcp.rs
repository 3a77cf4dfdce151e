//! What a segment's flags and numbers say: history letters, Zeek's states, sequence arithmetic.

use super::record::{ConnState, History, Volume};
use crate::decode::packet::{
    Tcp,
    tcp_flags::{ACK, FIN, RST, SYN},
};

/// Who sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The originator of the flow.
    Orig,
    /// The responder.
    Resp,
}

/// `a` lies after `b`, modulo 2^32.
#[allow(
    clippy::cast_possible_wrap,
    reason = "the sign of the difference is meant, RFC 9293 3.4"
)]
pub fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// `number` is one of `from ..= from + span`, modulo 2^32.
pub fn within(number: u32, from: u32, span: u32) -> bool {
    number.wrapping_sub(from) <= span
}

/// Appends a letter that is not there yet.
pub fn push_letter(history: &mut History, letter: u8) {
    for place in &mut history.letters {
        if *place == letter {
            return;
        }
        if *place == 0 {
            *place = letter;
            return;
        }
    }
}

/// Appends what a segment says, in Zeek's letters (upper case: originator).
pub fn push_segment(history: &mut History, sender: Sender, tcp: &Tcp) {
    let mut push = |letter: u8| {
        let letter = match sender {
            Sender::Orig => letter.to_ascii_uppercase(),
            Sender::Resp => letter,
        };
        push_letter(history, letter);
    };
    if tcp.flags & SYN != 0 {
        push(if tcp.flags & ACK == 0 { b's' } else { b'h' });
    }
    if tcp.flags & FIN != 0 {
        push(b'f');
    }
    if tcp.flags & RST != 0 {
        push(b'r');
    }
    if tcp.payload_len > 0 {
        push(b'd');
    } else if tcp.flags & (ACK | SYN | FIN | RST) == ACK {
        push(b'a');
    }
}

/// The state of a connection that was answered, from the flags of both sides and who reset it.
pub fn answered_state(orig: &Volume, resp: &Volume, reset: Option<Sender>) -> ConnState {
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
