//! An attempt as a flow: its packets, its record, its promotion.

use super::bits::*;
use super::tally::{Requester, Tally};
use super::{AttemptEntry, Attempts, BY_DATA, INSIDE, PLAIN_WIRE_MAX};
use crate::capture::tunnels::Inside;
use crate::decode::Headers;
use crate::decode::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::flow::conn::Conn;
use crate::flow::counts::FlowCounts;
use crate::flow::letters;
use crate::flow::record::{Basis, ConnState, EndReason, FlowEvent, FlowRecord, When};
use crate::flow::tcp::{self, Sender};

/// Bytes of one side that may have been missed.
const UNSEEN_BYTES: u32 = 16 << 20;
/// What a server that has acknowledged nothing lets a client send, and its FIN: the window of a SYN+ACK is not scaled
/// (RFC 7323, 2.2).
const FIRST_WINDOW: u32 = 1 << 16;

impl AttemptEntry {
    fn reset(&self) -> Option<Sender> {
        if self.has(RESET_ORIG) {
            Some(Sender::Orig)
        } else if self.has(RESET_RESP) {
            Some(Sender::Resp)
        } else {
            None
        }
    }
}

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
            bytes: [entry.rest >> 16 & PLAIN_WIRE_MAX, 0],
            ip_bytes: [entry.rest & 0xffff, 0],
            inside: Inside::of_bits(entry.rest >> INSIDE),
            packets: [1, 0],
            flags: [entry.syn_flags(), 0],
            ..Tally::default()
        };
        letters::push_letter(&mut tally.history, b'S');
        tally
    }

    /// Accounts a segment.
    pub fn add(&mut self, at: u32, segment: &Headers, sender: Sender, counts: &mut FlowCounts) {
        let who = if segment.is_touch() {
            Requester::Syn
        } else {
            Requester::Answer
        };
        self.want_tally(at, who, counts);
        let entry = self.ring.get_mut(at);
        let mut full = false;
        if entry.has(TALLY) {
            let tally = self.tallies.get_mut(entry.rest);
            full = tally.add(segment, sender);
            match sender {
                Sender::Orig => tally.note_sent(segment, sender, entry.isn),
                Sender::Resp if entry.has(ANSWERED) => tally.note_sent(segment, sender, entry.word),
                Sender::Resp => {}
            }
        }
        for (bit, set) in [
            (SATURATED, full),
            (GSO, segment.gso),
            (FRAGMENTED, segment.first_fragment),
        ] {
            entry.flags |= if set { bit } else { 0 };
        }
    }

    /// Whether a segment comes from the interface of its direction, as far as is known.
    pub fn comes_its_way(&self, at: u32, segment: &Headers, sender: Sender) -> bool {
        let entry = self.ring.get(at);
        match sender {
            Sender::Orig => entry.interface == segment.interface,
            Sender::Resp if entry.open() && entry.has(TALLY) => {
                let tally = self.tallies.get(entry.rest);
                tally.packets[1] == 0 || tally.interface == segment.interface
            }
            Sender::Resp => true,
        }
    }

    pub fn set_reset(&mut self, at: u32, sender: Sender) {
        self.ring.get_mut(at).flags |= match sender {
            Sender::Orig => RESET_ORIG,
            Sender::Resp => RESET_RESP,
        };
    }

    fn want_tally(&mut self, at: u32, who: Requester, counts: &mut FlowCounts) {
        if !self.ring.get(at).has(TALLY) {
            self.give_tally(at, self.tally(at), who, counts);
        }
    }

    /// Notes an answer: a SYN+ACK or, where that was not seen, what the server sent after it.
    pub fn answer(&mut self, at: u32, answer: &Headers, counts: &mut FlowCounts) {
        // The server's number takes the place of the SYN's delay.
        self.want_tally(at, Requester::Answer, counts);
        let entry = self.ring.get_mut(at);
        entry.flags |= ANSWERED;
        if answer.flags & SYN != 0 {
            entry.word = answer.seq;
        } else {
            entry.word = answer.seq.wrapping_sub(1);
            entry.vlan |= BY_DATA;
        }
    }

    /// The client has acknowledged this answer, before it was seen.
    pub fn was_acknowledged(&self, at: u32, answer: &Headers) -> bool {
        let entry = self.ring.get(at);
        let acked = |tally: &Tally| {
            let first = answer.seq.wrapping_add(u32::from(answer.flags & SYN != 0));
            let span = tcp::end_of(answer).wrapping_sub(first);
            tally.flags[0] & ACK != 0 && tcp::within(tally.acked, first, span)
        };
        entry.has(TALLY) && !entry.has(ODD) && acked(self.tallies.get(entry.rest))
    }

    fn state(&self, entry: &AttemptEntry, tally: &Tally) -> ConnState {
        let reset = entry.reset();
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
        let state = self.state(entry, &tally);
        self.connection(at, &tally, 0).record(reason, state)
    }

    /// Takes the flow of an attempt out of this table, as the connection that it becomes.
    pub fn take_flow(&mut self, at: u32, touched_ns: i64) -> Conn {
        let conn = self.connection(at, &self.tally(at), touched_ns);
        self.drop_tally(at);
        self.ring.get_mut(at).flags |= MOVED;
        conn
    }

    /// The tally of an attempt that may go on as a flow elsewhere.
    fn answered_tally(&self, at: u32) -> Option<&Tally> {
        let entry = self.ring.get(at);
        let may = entry.has(ANSWERED | TALLY) && entry.flags & (ODD | FAR) == 0;
        (may && entry.open()).then(|| self.tallies.get(entry.rest))
    }

    /// Both sides of an answered attempt have sent FIN.
    pub fn is_closed(&self, at: u32) -> bool {
        let tally = self.answered_tally(at);
        tally.is_some_and(|tally| tally.flags[0] & tally.flags[1] & FIN != 0)
    }

    /// An answered attempt is a connection, though unproven: one side went on after the SYN+ACK. Where that may not be
    /// captured: the server has not sent its SYN+ACK again, so the client's ACK came.
    fn is_alive(&self, at: u32) -> bool {
        self.answered_tally(at).is_some_and(|tally| {
            let [orig, resp] = [Sender::Orig, Sender::Resp].map(|side| tally.volume(side));
            let unheard = self.heard_ns > self.ring.get(at).first_ns;
            tcp::goes_on(&orig, &resp) || unheard && tally.packets[1] == 1
        })
    }

    /// The deadline of an open attempt is over: its flow ends, or goes on in another table if it is alive.
    pub fn end_at(
        &mut self,
        at: u32,
        deadline_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        if self.is_alive(at) {
            let entry = self.ring.get(at);
            let last_ns = self.tallies.get(entry.rest).end_ns;
            let touched_ns = last_ns.clamp(entry.first_ns, deadline_ns);
            let conn = self.take_flow(at, touched_ns);
            self.outlived.push((conn, deadline_ns));
        } else {
            let reason = self.ring.get(at).natural_reason();
            self.end(at, reason, When::Deadline(deadline_ns), counts, out);
        }
    }

    #[inline(always)]
    fn connection(&self, at: u32, tally: &Tally, touched_ns: i64) -> Conn {
        let entry = self.ring.get(at);
        let basis = match (entry.has(ANSWERED), entry.vlan & BY_DATA != 0) {
            (true, false) => Basis::Synack,
            (true, true) => Basis::Data,
            (false, _) => Basis::None,
        };
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
            interface_resp: match tally.packets[1] {
                0 => entry.interface,
                _ => tally.interface,
            },
            vlan,
            vlan_count,
            reset: entry.reset(),
            basis,
            next: [
                entry.isn.wrapping_add(1).wrapping_add(tally.sent[0]),
                match entry.has(ANSWERED) {
                    true => entry
                        .server_isn()
                        .wrapping_add(1)
                        .wrapping_add(tally.sent[1]),
                    false => 0,
                },
            ],
            inside: tally.inside,
            gso: entry.has(GSO),
            fragmented: entry.has(FRAGMENTED) || entry.has(JOINED),
            saturated: entry.has(SATURATED),
            reopened: entry.has(REOPENED),
            ..Conn::default()
        }
    }

    /// The effect of a segment of `sender` on the entry, by its sequence and acknowledgment numbers.
    pub fn effect(&self, at: u32, segment: &Headers, sender: Sender) -> Option<Effect> {
        match sender {
            Sender::Orig => self.effect_of_client(at, segment),
            Sender::Resp => self.effect_of_server(at, segment),
        }
    }

    /// A client proves that it received the SYN+ACK with a number from those that the server was seen to send. The
    /// first of them is random, so a blind guess is right once in 2^32 times, divided by the bytes seen. Numbers of
    /// bytes that may have been missed are not believed: half of all numbers lie after the first one.
    fn effect_of_client(&self, at: u32, segment: &Headers) -> Option<Effect> {
        let entry = self.ring.get(at);
        if segment.flags & SYN != 0 {
            return None;
        }
        let [sent, sent_by_server] = self.sent(at);
        let proves = entry.has(ANSWERED)
            && !entry.has(ODD)
            && segment.flags & ACK != 0
            && tcp::after(segment.seq, entry.isn)
            && tcp::within(
                segment.ack,
                entry.server_isn().wrapping_add(1),
                sent_by_server,
            );
        if proves {
            return Some(Effect::Prove);
        }
        let unseen = if entry.has(ANSWERED) { UNSEEN_BYTES } else { 0 };
        let span = sent.max(self.syn_payload(at)).saturating_add(1 + unseen);
        let resets = segment.flags & RST != 0 && tcp::within(segment.seq, entry.isn, span);
        resets.then_some(Effect::Reset)
    }

    /// A server that acknowledges what a client sent after its SYN has accepted the handshake: nobody but the server
    /// can tell us that. But it may speak of another connection on the same ports, which it had before (RFC 5961, 4: it
    /// acknowledges a spoofed SYN with that one's numbers), and a firewall may refuse a segment that it made up from the
    /// client's own: so the numbers of both sides are to be near, and a RST proves only with one that the server sent.
    fn effect_of_server(&self, at: u32, segment: &Headers) -> Option<Effect> {
        let entry = self.ring.get(at);
        let answered = entry.has(ANSWERED);
        let (ack, rst) = (segment.flags & ACK != 0, segment.flags & RST != 0);
        let acked = segment.ack.wrapping_sub(entry.isn.wrapping_add(1));
        let ([sent, _], syn_payload) = (self.sent(at), self.syn_payload(at));
        let numbered = ack && acked <= syn_payload;
        if segment.flags & SYN != 0 {
            let answers = segment.flags & (ACK | RST | FIN) == ACK && numbered;
            return answers.then_some(Effect::Answer);
        }
        let speaks_to_it = ack && acked <= sent.max(syn_payload);
        let accepts = speaks_to_it
            && acked > syn_payload
            && acked - syn_payload <= FIRST_WINDOW
            && self.is_of_its_server(at, segment);
        let proves = accepts || speaks_to_it && self.sends_what_was_acknowledged(at, segment);
        if proves && answered && !entry.has(ODD) {
            return Some(Effect::Prove);
        }
        if rst {
            let follows = answered && segment.seq == entry.server_isn().wrapping_add(1);
            let ends = numbered || answered && speaks_to_it;
            return (ends || (!ack && follows)).then_some(match answered {
                true => Effect::Reset,
                false => Effect::Refuse,
            });
        }
        let speaks = numbered && (segment.payload_len > 0 || segment.flags & FIN != 0);
        (!answered && (accepts || speaks)).then_some(Effect::Answer)
    }

    /// Whether a segment that has no effect bears a number near those of this attempt.
    pub fn is_near(&self, at: u32, segment: &Headers, sender: Sender) -> bool {
        let entry = self.ring.get(at);
        let [sent, sent_by_server] = self.sent(at);
        let within =
            |number, isn, sent: u32| tcp::within(number, isn, sent.saturating_add(UNSEEN_BYTES));
        match sender {
            Sender::Orig => within(segment.seq, entry.isn, sent),
            Sender::Resp if segment.flags & ACK != 0 => within(segment.ack, entry.isn, sent),
            Sender::Resp => {
                !entry.has(ANSWERED) || within(segment.seq, entry.server_isn(), sent_by_server)
            }
        }
    }

    /// A segment bears a number near those of the server that has answered or, before, of the one that the client
    /// acknowledges; a RST one that the server was seen to send.
    fn is_of_its_server(&self, at: u32, segment: &Headers) -> bool {
        let entry = self.ring.get(at);
        let [_, sent] = self.sent(at);
        let is_beyond = |unseen: u32| {
            let next = entry.server_isn().wrapping_add(1);
            !tcp::within(segment.seq, next, sent.saturating_add(unseen))
        };
        if entry.has(ANSWERED) && segment.flags & RST != 0 {
            return !is_beyond(0);
        }
        let is_near = |tally: &Tally| {
            let first = tally.acked.wrapping_sub(FIRST_WINDOW);
            tally.flags[0] & ACK != 0 && tcp::within(segment.seq, first, 2 * FIRST_WINDOW)
        };
        // Of two servers that answer, as behind one address, the client may have taken the other.
        entry.has(ANSWERED) && !is_beyond(UNSEEN_BYTES)
            || entry.has(TALLY) && is_near(self.tallies.get(entry.rest))
    }

    /// The client has acknowledged bytes of this segment of an answered attempt, before they were seen.
    fn sends_what_was_acknowledged(&self, at: u32, segment: &Headers) -> bool {
        let entry = self.ring.get(at);
        if !entry.open() || !entry.has(ANSWERED | TALLY) {
            return false;
        }
        let tally = self.tallies.get(entry.rest);
        let mut after = *tally;
        after.note_sent(segment, Sender::Resp, entry.server_isn());
        let acked = tally.acked.wrapping_sub(entry.server_isn().wrapping_add(1));
        let [_, sent] = tally.sent;
        let is_new = acked > sent && acked <= after.sent[1];
        let is_inside = tally.acked != segment.seq
            && tcp::within(
                tally.acked,
                segment.seq,
                tcp::end_of(segment).wrapping_sub(segment.seq),
            );
        tally.flags[0] & ACK != 0 && is_new && is_inside
    }

    /// How far each side was seen to send beyond its SYN, while the flow is open.
    fn sent(&self, at: u32) -> [u32; 2] {
        let entry = self.ring.get(at);
        match entry.has(TALLY) && !entry.has(ENDED) {
            true => self.tallies.get(entry.rest).sent,
            false => [0; 2],
        }
    }
}

/// The effect of a segment on an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// SYN+ACK with the right number, or what the server sent after it.
    Answer,
    /// The responder's RST before any answer.
    Refuse,
    /// RST of either side, without proof of the handshake.
    Reset,
    /// The client has received the SYN+ACK, says its segment or the server's.
    Prove,
}
