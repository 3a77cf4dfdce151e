//! Counters of the flow stage.

use super::record::{EndReason, Outcome};
use crate::counters::counters;

counters! {
    /// The flow stage. Identities: [`FlowCounts::identities`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
    pub struct FlowCounts "" {
        flow_packets: "Packets given to the flow stage",
        packets_accounted: "Packets accounted to a flow",
        syn_packets: "SYNs without ACK, those joined from fragments included",
        new_connections: "Connection attempts",
        syn_retransmitted: "SYNs of a known attempt",
        syn_other_interface: "SYNs of an attempt known from another interface",
        syn_joined: "SYNs whose header was joined from fragments",
        syn_joined_elsewhere: "SYNs joined from fragments, of an attempt known from another interface",
        packets_other_interface: "Other packets of a flow known from another interface",
        packets_early: "Packets that came before their SYN, and answered it when it came",
        packets_waiting (gauge): "Packets that wait for a SYN, for a second at most",
        packets_pushed_out: "Packets that waited less than a second for a SYN, as newer ones needed the room",
        packets_martian: "Packets but SYNs that came in from outside with an address of this host as their source: they belong to no flow, and prove and refuse nothing",
        packets_after_end: "Packets of an attempt or a connection that had ended",
        icmp_errors: "ICMP errors",
        icmp_refused: "ICMP errors that refused an attempt",
        icmp_messages: "ICMP and ICMPv6 messages, but neighbour and listener discovery",
        fragments: "Later fragments, and first ones too short for a header",
        fragment_bytes: "Bytes of later fragments, accounted to no flow",
        headers_joined: "Headers joined from two fragments",
        answered_connections: "Attempts with SYN+ACK, or with data of the server where that was not seen",
        refused_connections: "Attempts with RST or ICMP unreachable",
        established_connections: "Attempts whose handshake was proven by a number that only the other side could know",
        half_open_probes: "Answered attempts that the client reset with the number of a SYN scanner's stack",
        stealth_probes: "Segments of no connection that probe a port: NULL, FIN, XMAS and other flags, ACK and FIN+ACK answered by RST",
        stray_resets: "RSTs of no attempt, connection or flow",
        udp_opened: "UDP flows opened, but for multicast and answers whose question was not seen",
        udp_answered: "Of these, answered by a datagram",
        udp_refused: "Of these, refused by an ICMP error",
        datagram_marks: "Times that 64 more datagrams went to a responder that has sent none",
        stray_answers: "UDP flows opened by an answer whose question was not seen",
        midstream_flows: "TCP flows first seen without their SYN",
        preexisting_flows: "Midstream flows that were open at the start",
        preexisting_dropped: "Connections open at the start that the list had no room for",
        flows_opened: "Flows opened",
        flows_reopened: "Attempts reopened after their end",
        flows_closed (count by reason EndReason): "Flows ended",
        flows_untold: "Flows ended without a record, as no output wants it",
        flow_parts: "Records of parts of flows that last longer than --active-timeout: interim ones, and the last one of each such flow",
        flows_merged: "Second attempts of a simultaneous open, merged into the first",
        flows_open (gauge): "Flows open now",
        evicted_attempts (loss): "Attempts evicted from a full table: a repeated SYN may then count as a new connection",
        evicted_established (loss): "Established connections evicted from a full table",
        evicted_others (loss): "Other flows evicted from a full table",
        evicted_fragments (loss): "Halves of fragmented TCP headers, evicted for newer ones",
        flows_without_volumes (loss): "Attempts without room for the volumes of later packets; their records say saturated",
    }
}

impl FlowCounts {
    /// Counts a new attempt and its flow.
    #[inline]
    pub(super) fn note_new(&mut self) {
        self.new_connections += 1;
        self.flows_opened += 1;
        self.flows_open += 1;
    }

    /// Counts what is no outcome of an attempt, and half-open probes.
    pub(super) fn note_outcome(&mut self, outcome: Outcome) {
        let counter = match outcome {
            // Counted where they come about, once for each attempt.
            Outcome::Answered | Outcome::Refused | Outcome::Established => return,
            Outcome::HalfOpen => &mut self.half_open_probes,
            Outcome::Probe(_) => &mut self.stealth_probes,
            Outcome::UdpOpened => &mut self.udp_opened,
            Outcome::UdpAnswered => &mut self.udp_answered,
            Outcome::UdpRefused => &mut self.udp_refused,
            Outcome::Datagrams => &mut self.datagram_marks,
            Outcome::StrayAnswer => &mut self.stray_answers,
            Outcome::StrayRst => &mut self.stray_resets,
            Outcome::Icmp => &mut self.icmp_messages,
        };
        *counter += 1;
    }

    /// All flows that ended.
    pub fn closed_all(&self) -> u64 {
        self.flows_closed.iter().sum()
    }

    /// Attempts and flows evicted from full tables.
    pub fn evicted(&self) -> u64 {
        self.evicted_attempts
            + self.evicted_established
            + self.evicted_others
            + self.evicted_fragments
    }

    /// Attempts that nothing answered in time.
    pub fn unanswered(&self) -> u64 {
        self.flows_closed[EndReason::Unanswered as usize]
    }

    /// Attempts without an outcome: still open at the end, or evicted.
    pub fn without_outcome(&self) -> u64 {
        let decided = self.answered_connections + self.refused_connections + self.unanswered();
        self.new_connections.saturating_sub(decided)
    }

    /// Name, left side and right side of each identity.
    pub fn identities(&self) -> [(&'static str, u64, u64); 3] {
        let elsewhere = self.syn_other_interface - self.syn_joined_elsewhere;
        let explained = self.packets_accounted
            + self.packets_other_interface
            + elsewhere
            + self.packets_martian
            + self.packets_after_end
            + self.packets_waiting
            + self.icmp_errors
            + self.fragments;
        let syns = self.new_connections + self.syn_retransmitted + self.syn_other_interface;
        [
            (
                "flow_packets = packets_accounted + packets_other_interface + syn_other_interface + packets_martian + packets_after_end + packets_waiting + icmp_errors + fragments - syn_joined_elsewhere",
                self.flow_packets,
                explained,
            ),
            (
                "syn_packets = new_connections + syn_retransmitted + syn_other_interface",
                self.syn_packets,
                syns,
            ),
            (
                "flows_opened = flows_closed + flows_merged + flows_open",
                self.flows_opened,
                self.closed_all() + self.flows_merged + self.flows_open,
            ),
        ]
    }

    #[cfg(test)]
    pub(crate) fn check(&self) -> Result<(), String> {
        for (name, left, right) in self.identities() {
            if left != right {
                return Err(format!("{name}: {left} != {right}"));
            }
        }
        Ok(())
    }
}
