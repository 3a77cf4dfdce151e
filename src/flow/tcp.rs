//! History letters, Zeek's states, sequence arithmetic.

use super::record::{ConnState, History, Volume};
use crate::decode::Headers;
use crate::decode::packet::tcp_flags::{ACK, FIN, RST, SYN};

/// The side of a flow that sent a packet; also its index in per-side arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub(crate) enum Sender {
    Orig,
    Resp,
}

/// History letters in the order in which one segment adds them; lower case is the responder's.
const LETTERS: [u8; 6] = *b"shfrda";
/// Shift from a responder's letter bit to the originator's.
const UPPER: usize = LETTERS.len();
/// The responder's bit of `d`.
const DATA: usize = 4;

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

/// Appends a letter unless it is there.
pub(super) fn push_letter(history: &mut History, letter: u8) {
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

/// The bits of the letters that a segment adds.
#[inline(always)]
pub(super) fn letters_of(segment: &Headers, sender: Sender) -> u16 {
    let flags = segment.flags;
    let has = |flag: u8| u16::from(flags & flag != 0);
    let syn = has(SYN) << u16::from(flags & ACK != 0);
    let data = u16::from(segment.payload_len > 0);
    let ack = u16::from(flags & (ACK | SYN | FIN | RST) == ACK) & !data;
    let bits = syn | has(FIN) << 2 | has(RST) << 3 | data << DATA | ack << 5;
    match sender {
        Sender::Orig => bits << UPPER,
        Sender::Resp => bits,
    }
}

/// The bit of the letter that a segment adds which has ACK, but not SYN, FIN or RST.
#[inline(always)]
pub(super) fn plain_letter(segment: &Headers, sender: Sender) -> u16 {
    // `a` stands behind `d`.
    data_letter(sender) << u16::from(segment.payload_len == 0)
}

/// The bit of a letter for payload.
#[inline(always)]
pub(super) fn data_letter(sender: Sender) -> u16 {
    match sender {
        Sender::Orig => 1 << (DATA + UPPER),
        Sender::Resp => 1 << DATA,
    }
}

/// Appends the letters of `bits` that are not there yet, in the order of [`LETTERS`].
pub(super) fn push_letters(history: &mut History, mut bits: u16) {
    while bits != 0 {
        let bit = bits.trailing_zeros() as usize;
        push_letter(
            history,
            match LETTERS.get(bit) {
                Some(letter) => *letter,
                None => LETTERS[bit - UPPER].to_ascii_uppercase(),
            },
        );
        bits &= bits - 1;
    }
}

/// The bit of each letter; of every other byte none.
const BITS: [u16; 256] = {
    let (mut bits, mut at) = ([0; 256], 0);
    while at < LETTERS.len() {
        bits[LETTERS[at] as usize] = 1 << at;
        bits[LETTERS[at].to_ascii_uppercase() as usize] = 1 << (at + UPPER);
        at += 1;
    }
    bits
};

/// The bits of a history.
pub(super) fn bits_of(history: &History) -> u16 {
    let letters = history.letters.iter();
    letters.fold(0, |bits, letter| bits | BITS[usize::from(*letter)])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_adds_its_letters_in_order() {
        for (flags, payload_len, sender, letters) in [
            (SYN, 0, Sender::Orig, "S"),
            (SYN | ACK, 0, Sender::Resp, "h"),
            (ACK, 0, Sender::Orig, "A"),
            (ACK | FIN, 9, Sender::Resp, "fd"),
            (0xff, 9, Sender::Orig, "HFRD"),
            (SYN | FIN | RST, 0, Sender::Resp, "sfr"),
            (0, 0, Sender::Orig, ""),
        ] {
            let segment = Headers {
                flags,
                payload_len,
                ..Headers::default()
            };
            let mut history = History::default();
            push_letters(&mut history, letters_of(&segment, sender));
            let written = &history.letters[..history.len()];
            assert_eq!(written, letters.as_bytes(), "{flags:#04x}");
            assert_eq!(
                letters_of(&segment, sender),
                bits_of(&history),
                "{flags:#04x}"
            );
        }
    }
}
