//! Flows without a proven handshake: midstream TCP, connections that outlived their attempts, UDP, ICMP, other protocols.

use super::Flows;
use super::attempt::Attempts;
use super::attempt::bits::ANSWERED;
use super::conn::{Conn, Conns, TCP, UDP};
use super::letters;
use super::probes::{Late, technique_if_refused};
use super::record::{EndReason, FlowEvent, Outcome, When};
use super::tcp::{self, Sender};
use crate::decode::Headers;
use crate::decode::key::Key;
use crate::decode::packet::{
    Icmp, Packet, Quoted,
    tcp_flags::{ACK, FIN, RST, SYN},
};
use std::cmp::Reverse;

/// The type that answers an ICMP message, or that it answers, as Zeek pairs them.
fn counterpart(v6: bool, kind: u8) -> Option<u8> {
    Some(match (v6, kind) {
        (true, 128 | 130 | 133 | 135 | 139 | 144) | (false, 13 | 15 | 17) => kind + 1,
        (true, 129 | 131 | 134 | 136 | 140 | 145) | (false, 14 | 16 | 18 | 10) => kind - 1,
        (false, 9) => 10,
        (false, 0) => 8,
        (false, 8) => 0,
        _ => return None,
    })
}

fn is_error(icmp: &Icmp) -> bool {
    match icmp.v6 {
        true => matches!(icmp.kind, 1..=4),
        false => matches!(icmp.kind, 3 | 4 | 5 | 11 | 12),
    }
}

/// Destination unreachable, but for "fragmentation needed".
fn is_unreachable(icmp: &Icmp) -> bool {
    match icmp.v6 {
        true => icmp.kind == 1,
        false => icmp.kind == 3 && icmp.code != 4,
    }
}

impl Flows {
    /// A packet of a flow that needs no handshake.
    pub(super) fn on_other(
        &mut self,
        packet: &Headers,
        hash: u64,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let (key, counts) = (&packet.key, &mut self.counts);
        let found = self.others.find(hash, key, now, counts, out);
        let Some((at, sender)) = found else {
            let conn = Conn::new(*key, packet, now);
            let at = self.open_other(hash, conn, now, out);
            let counts = &mut self.counts;
            self.others.account(at, packet, Sender::Orig, now, counts);
            return self.report_opening(at, packet, out);
        };
        let counts = &mut self.counts;
        let accounted = self.others.account(at, packet, sender, now, counts);
        if accounted && packet.key.proto() == UDP {
            self.report_datagram((at, sender), packet, out);
        }
    }

    fn open_other(
        &mut self,
        hash: u64,
        conn: Conn,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> u32 {
        self.counts.flows_opened += 1;
        self.counts.flows_open += 1;
        let evicted = |counts: &mut super::FlowCounts| counts.evicted_others += 1;
        let counts = &mut self.counts;
        self.others.insert(hash, conn, now, evicted, counts, out)
    }

    /// Lets the flows go on that outlived their attempts. One of which only silence says that it is alive takes no other's
    /// place: where a server sends SYN cookies, each spoofed SYN is one.
    #[inline]
    pub(super) fn take_outlived(&mut self, out: &mut impl FnMut(When, FlowEvent)) {
        let outlived = &mut self.attempts.outlived;
        if outlived.len() > 1 {
            let order = |(conn, horizon_ns): &(Conn, i64)| (*horizon_ns, conn.order());
            outlived.sort_unstable_by_key(|one| Reverse(order(one)));
        }
        while let Some((conn, horizon_ns)) = self.attempts.outlived.pop() {
            let hash = self.hasher.hash(&conn.key);
            let since = (horizon_ns, When::Deadline(horizon_ns));
            if conn.is_silent() && self.others.slab.is_full() {
                let (reason, counts) = (EndReason::Timeout, &mut self.counts);
                (self.others).tell((|| conn, None), reason, since.1, counts, out);
                continue;
            }
            self.move_flow(conn, hash, since, out);
        }
    }

    /// Moves the flow of an attempt that both sides have closed: it ends as a connection does, though nobody saw the
    /// client's proof.
    pub(super) fn move_closed(
        &mut self,
        at: u32,
        hash: u64,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        if self.attempts.is_closed(at) {
            self.take_outlived(out);
            self.release_all(hash, now, out);
            let conn = self.attempts.take_flow(at, now);
            self.move_flow(conn, hash, (now, When::Packet), out);
        }
    }

    /// Adds the flow of an answered attempt. One of its ports that was here before ends.
    fn move_flow(
        &mut self,
        conn: Conn,
        hash: u64,
        (since_ns, when): (i64, When),
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        self.release_due(since_ns, out);
        let (others, counts) = (&mut self.others, &mut self.counts);
        let before = (since_ns, when);
        others.make_way((hash, &conn.key), i64::MAX, before, counts, out);
        let evicted = |counts: &mut super::FlowCounts| counts.evicted_others += 1;
        others.insert(hash, conn, since_ns, evicted, counts, out);
    }

    /// A segment without an attempt or a connection.
    pub(super) fn on_midstream(
        &mut self,
        segment: &Headers,
        hash: u64,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        self.take_outlived(out);
        self.release_due(now, out);
        let (key, counts) = (&segment.key, &mut self.counts);
        if let Some(found) = self.others.find(hash, key, now, counts, out) {
            self.report_flags(segment, Some(found.0), None, out);
            return self.account_segment(found, segment, now, None, out);
        }
        if !self.early.holds(hash) && self.is_behind_a_close(segment, hash, now) {
            self.report_flags(segment, None, None, out);
            self.counts.packets_after_end += 1;
            // A stack sends a FIN again, for longer and longer, and no RST.
            if segment.flags & RST == 0 {
                self.others.note_close(key, now);
            }
        } else if !self.waits(segment, hash, now, out) {
            self.add_midstream(segment, hash, now, None, out);
        }
    }

    /// Accounts a segment to a flow whose SYN was not seen. `late`: it waited for one.
    pub(super) fn add_midstream(
        &mut self,
        segment: &Headers,
        hash: u64,
        now: i64,
        late: Option<Late>,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let (key, counts) = (&segment.key, &mut self.counts);
        let found = self.others.find(hash, key, now, counts, out);
        self.report_flags(segment, found.map(|(at, _)| at), late, out);
        let found = match found {
            Some(found) => found,
            None => self.open_midstream(segment, hash, now, late, out),
        };
        self.account_segment(found, segment, now, late, out);
    }

    /// Opens a flow whose SYN was not seen, and tells who sends the segment.
    fn open_midstream(
        &mut self,
        segment: &Headers,
        hash: u64,
        now: i64,
        late: Option<Late>,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> (u32, Sender) {
        let key = &segment.key;
        let flipped = segment.flags & (SYN | ACK) == SYN | ACK;
        let (orig, sender) = match flipped {
            true => (key.reversed(), Sender::Resp),
            false => (*key, Sender::Orig),
        };
        // The kernel's list knows no tags.
        let listed = key.with_tags(0).canonical();
        let preexisting = self.preexisting.binary_search(&listed).is_ok();
        let mut conn = Conn {
            flipped,
            preexisting,
            ..Conn::new(orig, segment, now)
        };
        conn.next[sender as usize] = tcp::end_of(segment);
        conn.next[1 - sender as usize] = segment.ack;
        self.counts.midstream_flows += 1;
        self.counts.preexisting_flows += u64::from(preexisting);
        if flipped {
            letters::push_letter(&mut conn.history, b'^');
        }
        let at = self.open_other(hash, conn, now, out);
        if !preexisting && segment.flags & RST != 0 {
            self.report((Outcome::StrayRst, key), late, out);
        }
        if !preexisting && let Some(technique) = technique_if_refused(segment) {
            self.others.slab.get_mut(at).set_probe(technique);
        }
        (at, sender)
    }

    /// Whether a segment without a flow is what a closed connection sends again. Data alone is not: a connection whose
    /// SYN was missed is to be seen.
    fn is_behind_a_close(&self, segment: &Headers, hash: u64, now: i64) -> bool {
        let ends = segment.payload_len == 0 || segment.flags & (FIN | RST) != 0;
        let tables = [&self.established, &self.others];
        let closed = |table: &Conns| table.closed_lately(hash, now);
        ends && segment.flags & SYN == 0 && tables.into_iter().any(closed)
    }

    /// An ICMP or ICMPv6 message.
    pub(super) fn on_icmp(
        &mut self,
        packet: &Packet,
        icmp: &Icmp,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let other = counterpart(icmp.v6, icmp.kind).unwrap_or(icmp.code);
        let proto = if icmp.v6 { 58 } else { 1 };
        let (kind, other) = (u16::from(icmp.kind), u16::from(other));
        let key = Key::new(packet.src, packet.dst, kind, other, proto).with_id(icmp.id);
        let key = self.key(packet, key);
        let headers = Headers::new(packet, key, icmp.payload_len);
        self.report_message(icmp, &key, out);
        if is_error(icmp) {
            self.counts.icmp_errors += 1;
            if let (true, Some(quoted)) = (is_unreachable(icmp), &icmp.quoted) {
                self.on_unreachable(packet, quoted, now, out);
            }
            return;
        }
        self.on_other(&headers, self.hasher.hash(&key), now, out);
    }

    fn on_unreachable(
        &mut self,
        packet: &Packet,
        quoted: &Quoted,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let (src, dst) = (quoted.src_port, quoted.dst_port);
        let key = Key::new(quoted.src, quoted.dst, src, dst, quoted.proto);
        let key = self.key(packet, key);
        let hash = self.hasher.hash(&key);
        match quoted.proto {
            TCP => {}
            UDP => return self.on_refused_datagram(&key, hash, now, out),
            _ => return,
        }
        let is_known = self.refuse_quoted(&key, hash, quoted.seq, now, out);
        if let Some(seq) = quoted.seq.filter(|_| !is_known) {
            self.release_due(now, out);
            let quoted = Headers {
                key,
                seq,
                ..Headers::default()
            };
            self.error_waits(quoted, hash, now);
        }
    }

    /// An ICMP error quotes a datagram of this key.
    fn on_refused_datagram(
        &mut self,
        key: &Key,
        hash: u64,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let counts = &mut self.counts;
        if let Some((at, Sender::Orig)) = self.others.find(hash, key, now, counts, out)
            && self.others.slab.get_mut(at).note_unreachable()
        {
            self.report((Outcome::UdpRefused, key), None, out);
        }
    }

    /// Ends the attempt of a quoted SYN as refused. False: there is none that waits for an answer.
    pub(super) fn refuse_quoted(
        &mut self,
        key: &Key,
        hash: u64,
        isn: Option<u32>,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> bool {
        let wanted = |table: &Attempts, at, sender| {
            let entry = table.ring.get(at);
            sender == Sender::Orig
                && entry.open()
                && !entry.has(ANSWERED)
                && isn.is_none_or(|isn| isn == entry.isn)
        };
        let Some((at, _)) = self.newest(hash, key, [isn, None], now, out, wanted) else {
            return false;
        };
        self.counts.icmp_refused += 1;
        self.refuse(at, out);
        true
    }
}
