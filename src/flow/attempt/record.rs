//! An attempt as a flow: its packets, its record, its promotion.

use super::Attempts;
use super::bits::*;
use super::tally::{Requester, Tally};
use crate::decode::Headers;
use crate::decode::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::flow::conn::Conn;
use crate::flow::counts::FlowCounts;
use crate::flow::record::{Basis, ConnState, EndReason, FlowRecord};
use crate::flow::tcp::{self, Sender};

/// Unseen bytes of a server that a client's FIN or RST may acknowledge and still prove the handshake. A random
/// number lies within so many once in 256 times.
pub(crate) const UNSEEN_BYTES: u32 = 16 << 20;

impl Attempts {
    /// Its tally, or one made of the entry while only the first SYN was seen.
    fn tally(&self, at: u32) -> Tally {
        let entry = self.ring.get(at);
        if entry.has(TALLY) {
            return *self.tallies.get(entry.rest);
        }
        let start_ns = super::start_ns(&self.tallies, entry);
        let mut tally = Tally {
            start_ns,
            end_ns: start_ns,
            bytes: [entry.rest, 0],
            packets: [1, 0],
            flags: [entry.syn_flags(), 0],
            ..Tally::default()
        };
        tcp::push_letter(&mut tally.history, b'S');
        tally
    }

    /// Accounts a segment.
    pub fn add(&mut self, at: u32, segment: &Headers, sender: Sender, counts: &mut FlowCounts) {
        let who = if segment.is_touch() {
            Requester::Syn
        } else {
            Requester::Answer
        };
        if !self.ring.get(at).has(TALLY) {
            self.give_tally(at, self.tally(at), who, counts);
        }
        let entry = self.ring.get_mut(at);
        let full = entry.has(TALLY) && self.tallies.get_mut(entry.rest).add(segment, sender);
        for (bit, set) in [
            (SATURATED, full),
            (GSO, segment.gso),
            (FRAGMENTED, segment.first_fragment),
        ] {
            entry.flags |= if set { bit } else { 0 };
        }
    }

    pub fn set_reset(&mut self, at: u32, sender: Sender) {
        self.ring.get_mut(at).flags |= match sender {
            Sender::Orig => RESET_ORIG,
            Sender::Resp => RESET_RESP,
        };
    }

    pub fn answer(&mut self, at: u32, server_isn: u32) {
        let entry = self.ring.get_mut(at);
        entry.flags |= ANSWERED;
        entry.word = server_isn;
    }

    fn reset(&self, at: u32) -> Option<Sender> {
        let entry = self.ring.get(at);
        if entry.has(RESET_ORIG) {
            Some(Sender::Orig)
        } else if entry.has(RESET_RESP) {
            Some(Sender::Resp)
        } else {
            None
        }
    }

    fn state(&self, at: u32, tally: &Tally) -> ConnState {
        let entry = self.ring.get(at);
        let reset = self.reset(at);
        if entry.has(ANSWERED) {
            let mut orig = tally.volume(Sender::Orig);
            if entry.has(ODD) {
                orig.tcp_flags &= !FIN;
            }
            return tcp::answered_state(&orig, &tally.volume(Sender::Resp), reset);
        }
        match reset {
            Some(Sender::Orig) => ConnState::Rstos0,
            Some(Sender::Resp) => ConnState::Rej,
            None if tally.flags[0] & FIN != 0 && !entry.has(ODD) => ConnState::Sh,
            None => ConnState::S0,
        }
    }

    pub fn record(&self, at: u32, reason: EndReason) -> FlowRecord {
        let entry = self.ring.get(at);
        let tally = self.tally(at);
        let basis = match entry.has(ANSWERED) {
            true => Basis::Synack,
            false => Basis::None,
        };
        let state = self.state(at, &tally);
        self.connection(at, &tally, 0).record(reason, state, basis)
    }

    /// The connection that the entry becomes.
    pub fn promoted(&self, at: u32, watermark_ns: i64) -> Conn {
        self.connection(at, &self.tally(at), watermark_ns)
    }

    #[inline(always)]
    fn connection(&self, at: u32, tally: &Tally, touched_ns: i64) -> Conn {
        let entry = self.ring.get(at);
        let (vlan, vlan_count) = entry.vlan();
        Conn {
            key: entry.key(),
            start_ns: tally.start_ns,
            end_ns: tally.end_ns,
            touched_ns,
            orig: tally.volume(Sender::Orig),
            resp: tally.volume(Sender::Resp),
            isn: entry.isn,
            history: tally.history,
            interface: entry.interface,
            vlan,
            vlan_count,
            reset: self.reset(at),
            proven: true,
            gso: entry.has(GSO),
            fragmented: entry.has(FRAGMENTED) || entry.has(JOINED),
            saturated: entry.has(SATURATED),
            ..Conn::default()
        }
    }

    /// How far the server's numbers may have advanced: bytes seen, a FIN, and bytes that may have been lost. Half of
    /// all numbers lie after its first one: too many against guesses.
    fn server_span(&self, at: u32) -> u32 {
        let entry = self.ring.get(at);
        let seen = if entry.has(TALLY) {
            self.tallies.get(entry.rest).payload[1]
        } else {
            0
        };
        seen.saturating_add(UNSEEN_BYTES + 1)
    }

    /// The effect of a segment of `sender` on the entry, by its sequence and acknowledgment numbers.
    pub fn effect(&self, at: u32, segment: &Headers, sender: Sender) -> Option<Effect> {
        let entry = self.ring.get(at);
        let next = entry.isn.wrapping_add(1);
        let span = self.syn_payload(at);
        let answered = entry.has(ANSWERED);
        let (ack, rst) = (segment.flags & ACK != 0, segment.flags & RST != 0);
        match sender {
            Sender::Resp => {
                let numbered = ack && tcp::within(segment.ack, next, span);
                if segment.flags & (SYN | ACK | RST | FIN) == SYN | ACK {
                    return numbered.then_some(Effect::Answer);
                }
                let follows = answered && segment.seq == entry.server_isn().wrapping_add(1);
                (rst && (numbered || (!ack && follows))).then_some(if answered {
                    Effect::Reset
                } else {
                    Effect::Refuse
                })
            }
            Sender::Orig => {
                if segment.flags & SYN != 0 {
                    return None;
                }
                if answered && ack && !entry.has(ODD) {
                    let server_next = entry.server_isn().wrapping_add(1);
                    let exact =
                        segment.ack == server_next && tcp::within(segment.seq, next, span) && !rst;
                    let ends = (rst || segment.flags & FIN != 0)
                        && tcp::after(segment.seq, entry.isn)
                        && tcp::within(segment.ack, server_next, self.server_span(at));
                    if exact || ends {
                        return Some(Effect::Prove);
                    }
                }
                (rst && tcp::within(segment.seq, entry.isn, span.saturating_add(1)))
                    .then_some(Effect::Reset)
            }
        }
    }
}

/// The effect of a segment on an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// SYN+ACK with the right number.
    Answer,
    /// The responder's RST before any answer.
    Refuse,
    /// RST of either side, without proof of the handshake.
    Reset,
    /// The client has received the SYN+ACK.
    Prove,
}
