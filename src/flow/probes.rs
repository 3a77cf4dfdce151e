//! Probes and loads: what segments, datagrams and ICMP messages tell where there is no attempt.

use super::Flows;
use super::conn::{Conns, UDP};
use super::record::{FlowEvent, Outcome, Technique, Waited, When};
use super::tcp::Sender;
use crate::decode::Headers;
use crate::decode::key::Key;
use crate::decode::packet::{
    Icmp,
    tcp_flags::{ACK, FIN, PSH, RST, SYN, URG},
};

/// How a segment takes effect that waited for a SYN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Late {
    pub when: When,
    pub segment: Waited,
}

/// Ports below are those of services.
const SERVICES_END: u16 = 1024;

/// The technique of a segment that no stack sends: one with none of SYN, ACK, RST.
pub(super) fn technique_of(flags: u8) -> Option<Technique> {
    const XMAS: u8 = FIN | PSH | URG;
    if flags & (SYN | ACK | RST) != 0 {
        return None;
    }
    Some(match flags & XMAS {
        0 => Technique::Null,
        FIN => Technique::Fin,
        XMAS => Technique::Xmas,
        _ => Technique::Flags,
    })
}

/// The technique of a segment with ACK that opens a midstream flow, should a RST answer it. With payload it is none: it
/// belongs to a connection whose start was not captured.
pub(super) fn technique_if_refused(segment: &Headers) -> Option<Technique> {
    if segment.flags & (SYN | ACK | RST) != ACK || segment.payload_len > 0 {
        return None;
    }
    Some(match segment.flags & FIN {
        0 => Technique::Ack,
        _ => Technique::Maimon,
    })
}

/// The RST of a stack that has no connection for a segment with ACK (RFC 9293, 3.10.7.1): without ACK.
pub(super) fn is_bare_reset(segment: &Headers) -> bool {
    segment.flags & (SYN | ACK | RST) == RST
}

/// To a multicast group or to all hosts of a link: that probes no host.
fn is_to_many(key: &Key) -> bool {
    match key.v6() {
        true => key.dst >> 120 == 0xff,
        false => key.dst >> 28 == 0xe || key.dst == u128::from(u32::MAX),
    }
}

/// From a service's port to a client's, with payload: an answer whose question was not seen. No service answers with
/// nothing, but scanners ask so, and may ask from a service's port.
fn is_stray_answer(opener: &Headers) -> bool {
    let key = &opener.key;
    let has_payload = opener.payload_len > 0 || opener.first_fragment;
    has_payload && key.src_port() < SERVICES_END && key.dst_port() >= SERVICES_END
}

/// How IPv6 finds neighbours and multicast listeners (RFC 4861, RFC 2710, RFC 3810).
fn is_discovery(icmp: &Icmp) -> bool {
    icmp.v6 && matches!(icmp.kind, 130..=137 | 143)
}

impl Conns {
    /// Packets that each side of an entry has sent, originator first.
    fn packets(&self, at: u32) -> [u64; 2] {
        self.slab.get(at).packets(self.cold(at))
    }

    /// See [`super::conn::Hot::probe_before_answer`].
    fn probe_before_answer(&self, at: u32, reset_seq: u32) -> Option<Technique> {
        let hot = self.slab.get(at);
        hot.probe_before_answer(self.cold(at), reset_seq)
    }
}

impl Flows {
    /// Emits and counts an outcome.
    pub(super) fn report(
        &mut self,
        (outcome, who): (Outcome, &Key),
        late: Option<Late>,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        self.counts.note_outcome(outcome);
        let event = FlowEvent::Outcome {
            tuple: who.tuple(),
            outcome,
            waited: late.map(|late| late.segment),
        };
        out(late.map_or(When::Packet, |late| late.when), event);
    }

    /// Reports a segment without attempt and connection if its flags make it a probe. `held`: its flow among the others.
    pub(super) fn report_flags(
        &mut self,
        segment: &Headers,
        held: Option<u32>,
        late: Option<Late>,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let Some(technique) = technique_of(segment.flags) else {
            return;
        };
        let is_connection = held.is_some_and(|at| self.others.slab.get(at).has_attempt());
        if !is_connection {
            let what = (Outcome::Probe(technique), &segment.key);
            self.report(what, late, out);
        }
    }

    /// Accounts a segment to a flow among the others, and reports the RST that answers a probe.
    pub(super) fn account_segment(
        &mut self,
        (at, sender): (u32, Sender),
        segment: &Headers,
        now: i64,
        late: Option<Late>,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        if sender == Sender::Resp
            && is_bare_reset(segment)
            && let Some(technique) = self.others.probe_before_answer(at, segment.seq)
        {
            let what = (Outcome::Probe(technique), &segment.key.reversed());
            self.report(what, late, out);
        }
        let counts = &mut self.counts;
        self.others.account(at, segment, sender, now, counts);
    }

    /// Reports what the first datagram of a flow tells.
    pub(super) fn report_opening(
        &mut self,
        at: u32,
        datagram: &Headers,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let key = &datagram.key;
        if key.proto() != UDP || is_to_many(key) {
            return;
        }
        if is_stray_answer(datagram) {
            return self.report((Outcome::StrayAnswer, key), None, out);
        }
        self.others.slab.get_mut(at).set_asks();
        self.report((Outcome::UdpOpened, key), None, out);
    }

    /// Reports what a datagram tells that was just accounted to a flow which was there before it.
    pub(super) fn report_datagram(
        &mut self,
        (at, sender): (u32, Sender),
        datagram: &Headers,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let key = &datagram.key;
        let [sent, answers] = self.others.packets(at);
        match sender {
            Sender::Resp if answers == 1 && self.others.slab.get(at).asks() => {
                let what = (Outcome::UdpAnswered, &key.reversed());
                self.report(what, None, out);
            }
            Sender::Orig
                if answers == 0
                    && (sent - 1).is_multiple_of(u64::from(Outcome::DATAGRAMS))
                    && !is_to_many(key) =>
            {
                self.report((Outcome::Datagrams, key), None, out);
            }
            _ => {}
        }
    }

    /// Reports an ICMP message of this key.
    pub(super) fn report_message(
        &mut self,
        icmp: &Icmp,
        key: &Key,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        if !is_discovery(icmp) {
            self.report((Outcome::Icmp, key), None, out);
        }
    }
}
