//! Zeek's history letters: which one a segment adds, and how a table keeps them.

use super::record::{HISTORY_MAX, History};
use super::tcp::Sender;
use crate::decode::Headers;
use crate::decode::packet::tcp_flags::{ACK, FIN, RST, SYN};

/// Letters that a packet adds, each once in either direction; lower case is the responder's. `i`: FIN with RST. `q`: SYN
/// with FIN or RST.
const ONCE: [u8; 8] = *b"shfrdaiq";
/// Shift from a responder's letter bit to the originator's.
const UPPER: usize = ONCE.len();
/// The responder's bit of `d`; that of `a` stands behind it.
const DATA: usize = 4;
/// Letters by their number, 5 bits each, and below [`Letters`]' zero. `g`: a gap. `t`: retransmission. `^`: the flow was
/// turned round.
const NUMBERED: [u8; 21] = *b"shfrdaiqgtSHFRDAIQGT^";
const NUMBER_BITS: u32 = 5;

/// A history in 12 bytes: numbers of letters, first appearance lowest.
#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub(super) struct Letters {
    words: [u32; 3],
}

impl Letters {
    fn bits(self) -> u128 {
        let [a, b, c] = self.words.map(u128::from);
        c << 64 | b << 32 | a
    }

    /// Appends letters, each unless it is there.
    #[cold]
    #[inline(never)]
    pub fn push(&mut self, change: impl FnOnce(&mut History)) {
        let mut history = History::from(*self);
        change(&mut history);
        *self = Self::from(&history);
    }
}

/// The number of each letter of [`NUMBERED`]; of every other byte 0.
#[allow(clippy::cast_possible_truncation, reason = "at most 21")]
const NUMBERS: [u8; 256] = {
    let (mut numbers, mut at) = ([0; 256], 0);
    while at < NUMBERED.len() {
        at += 1;
        numbers[NUMBERED[at - 1] as usize] = at as u8;
    }
    numbers
};

impl From<&History> for Letters {
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    fn from(history: &History) -> Self {
        let letters = history.letters.iter().take(history.len());
        let bits = letters.zip(0..).fold(0, |bits, (letter, nth)| {
            bits | u128::from(NUMBERS[usize::from(*letter)]) << (NUMBER_BITS * nth)
        });
        Self {
            words: [0, 32, 64].map(|from| (bits >> from) as u32),
        }
    }
}

impl From<Letters> for History {
    #[allow(clippy::cast_possible_truncation, reason = "the lowest bits")]
    fn from(letters: Letters) -> Self {
        let (mut history, mut bits) = (Self::default(), letters.bits());
        for place in &mut history.letters {
            // Most histories are short.
            if bits == 0 {
                break;
            }
            let number = bits as usize & ((1 << NUMBER_BITS) - 1);
            let letter = NUMBERED.get(number.wrapping_sub(1));
            *place = letter.copied().unwrap_or(0);
            bits >>= NUMBER_BITS;
        }
        history
    }
}

const _: () = assert!(HISTORY_MAX * NUMBER_BITS as usize <= 96);

/// Appends a letter, if there is room.
pub(super) fn append_letter(history: &mut History, letter: u8) {
    if let Some(place) = history.letters.iter_mut().find(|place| **place == 0) {
        *place = letter;
    }
}

/// Appends a letter unless it is there.
pub(super) fn push_letter(history: &mut History, letter: u8) {
    if !history.letters.contains(&letter) {
        append_letter(history, letter);
    }
}

/// A side's form of a lower-case letter.
pub(super) fn letter_of(letter: u8, sender: Sender) -> u8 {
    match sender {
        Sender::Orig => letter.to_ascii_uppercase(),
        Sender::Resp => letter,
    }
}

/// The bit of the letter that a segment adds. Source: `update_history` in Zeek's `TCPSessionAdapter.cc`.
#[inline(always)]
pub(super) fn letter_bit(segment: &Headers, sender: Sender) -> u16 {
    let flags = segment.flags;
    let bit = match flags & (SYN | FIN | RST) {
        0 if segment.payload_len > 0 => 1 << DATA,
        0 => u16::from(flags & ACK != 0) << (DATA + 1),
        SYN => 1 << u16::from(flags & ACK != 0),
        FIN => 1 << 2,
        RST => 1 << 3,
        both if both & (FIN | RST) == FIN | RST => 1 << 6,
        _ => 1 << 7,
    };
    match sender {
        Sender::Orig => bit << UPPER,
        Sender::Resp => bit,
    }
}

/// The bit of the letter that a segment adds which has ACK, but not SYN, FIN or RST.
#[inline(always)]
pub(super) fn plain_letter(segment: &Headers, sender: Sender) -> u16 {
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

/// All bits of a side.
pub(super) fn bits_of_side(sender: Sender) -> u16 {
    match sender {
        Sender::Orig => 0xff << UPPER,
        Sender::Resp => 0xff,
    }
}

/// Appends the letters of `bits` that are not there yet, in the order of [`ONCE`].
pub(super) fn push_letters(history: &mut History, mut bits: u16) {
    while bits != 0 {
        let bit = bits.trailing_zeros() as usize;
        push_letter(
            history,
            match ONCE.get(bit) {
                Some(letter) => *letter,
                None => ONCE[bit - UPPER].to_ascii_uppercase(),
            },
        );
        bits &= bits - 1;
    }
}

/// The bit of each letter of [`ONCE`]; of every other byte none.
const BITS: [u16; 256] = {
    let (mut bits, mut at) = ([0; 256], 0);
    while at < ONCE.len() {
        bits[ONCE[at] as usize] = 1 << at;
        bits[ONCE[at].to_ascii_uppercase() as usize] = 1 << (at + UPPER);
        at += 1;
    }
    bits
};

/// The bits of a history.
pub(super) fn bits_of(history: &History) -> u16 {
    let letters = history.letters.iter();
    letters.fold(0, |bits, letter| bits | BITS[usize::from(*letter)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_adds_zeeks_letter() {
        for (flags, payload_len, sender, letters) in [
            (SYN, 0, Sender::Orig, "S"),
            (SYN | ACK, 0, Sender::Resp, "h"),
            (ACK, 0, Sender::Orig, "A"),
            (ACK, 9, Sender::Orig, "D"),
            (0, 9, Sender::Resp, "d"),
            (ACK | FIN, 9, Sender::Resp, "f"),
            (RST, 0, Sender::Resp, "r"),
            (FIN | RST, 0, Sender::Orig, "I"),
            (SYN | FIN | RST, 0, Sender::Resp, "i"),
            (SYN | FIN, 0, Sender::Orig, "Q"),
            (SYN | RST | ACK, 0, Sender::Resp, "q"),
            (0, 0, Sender::Orig, ""),
        ] {
            let segment = Headers {
                flags,
                payload_len,
                ..Headers::default()
            };
            let mut history = History::default();
            push_letters(&mut history, letter_bit(&segment, sender));
            let written = &history.letters[..history.len()];
            assert_eq!(written, letters.as_bytes(), "{flags:#04x}");
            assert_eq!(
                letter_bit(&segment, sender),
                bits_of(&history),
                "{flags:#04x}"
            );
        }
    }

    #[test]
    fn twelve_bytes_hold_every_history() {
        let mut history = History::default();
        for first in 0..NUMBERED.len() {
            for nth in 0..HISTORY_MAX {
                history.letters[nth] = NUMBERED[(first + nth) % NUMBERED.len()];
                assert_eq!(History::from(Letters::from(&history)), history);
                assert_eq!(history.len(), nth + 1);
            }
            history = History::default();
        }
        assert_eq!(History::from(Letters::default()), history);
    }
}
