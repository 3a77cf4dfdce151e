//! A flow of the model.

use super::stream::Hole;
use super::{ACK, Ends, FIN, RST, SECOND, SYN, back};
use crate::capture::tunnels::Inside;
use crate::decode::packet::{Packet, Tcp};
use crate::flow::record::{
    Basis, ConnState, EndReason, FiveTuple, FlowEvent, FlowRecord, History, Outcome, Technique,
    Volume, When,
};

#[derive(Clone)]
pub struct Flow {
    pub ends: Ends,
    pub isn: u32,
    /// Where each side's first packet was seen.
    pub interfaces: [Option<u16>; 2],
    pub first: i64,
    pub touched: i64,
    pub start: i64,
    pub end: i64,
    pub volumes: [Volume; 2],
    pub letters: Vec<u8>,
    pub server_isn: Option<u32>,
    pub by_data: bool,
    /// Sequence numbers behind the SYN that each side used.
    pub sent: [u32; 2],
    /// What the client acknowledged last.
    pub acked: Option<u32>,
    pub syn_payload: u32,
    pub reset: Option<usize>,
    pub odd: bool,
    pub near: bool,
    pub open: bool,
    pub promoted: bool,
    pub reopened: bool,
    pub told: [bool; 2],
    pub proven: bool,
    pub midstream: bool,
    pub flipped: bool,
    pub rival: bool,
    pub twin: bool,
    /// Sequence numbers that come next, of a connection or a flow without an attempt.
    pub next: [u32; 2],
    pub hole: Option<Hole>,
    /// Midstream, its first segment is a probe if a bare RST with this number comes first.
    pub asks: Option<(u32, Technique)>,
}

impl Flow {
    pub fn new(ends: Ends, packet: &Packet, now: i64) -> Self {
        Self {
            ends,
            isn: 0,
            interfaces: [None; 2],
            first: now,
            touched: now,
            start: packet.ts_ns,
            end: packet.ts_ns,
            volumes: [Volume::default(); 2],
            letters: Vec::new(),
            server_isn: None,
            by_data: false,
            sent: [0; 2],
            acked: None,
            syn_payload: 0,
            reset: None,
            odd: false,
            near: true,
            open: true,
            promoted: false,
            reopened: false,
            told: [false; 2],
            proven: false,
            midstream: false,
            flipped: false,
            rival: false,
            twin: false,
            next: [0; 2],
            hole: None,
            asks: None,
        }
    }

    pub fn side(&self, ends: Ends) -> Option<usize> {
        [self.ends, back(self.ends)].iter().position(|e| *e == ends)
    }

    pub fn here(&self, packet: &Packet, side: usize) -> bool {
        self.interfaces[side].is_none_or(|interface| interface == packet.interface)
    }

    pub fn letter(&mut self, letter: u8) {
        if !self.letters.contains(&letter) && self.letters.len() < 16 {
            self.letters.push(letter);
        }
    }

    /// Notes how far a side has sent.
    pub fn note_sent(&mut self, tcp: &Tcp, side: usize) {
        let f = tcp.flags;
        let base = [Some(self.isn), self.server_isn][side];
        if let Some(base) = base.filter(|&base| {
            f & RST == 0 && f & (SYN | ACK) != 0 && (f & SYN == 0 || tcp.seq == base)
        }) {
            let length = tcp.payload_len + u32::from(f & SYN != 0) + u32::from(f & FIN != 0);
            let behind = (tcp.seq.wrapping_add(length)).wrapping_sub(base.wrapping_add(1));
            if behind.wrapping_sub(self.sent[side]) < 1 << 30 {
                self.sent[side] = behind;
            }
        }
    }

    pub fn add(&mut self, packet: &Packet, tcp: &Tcp, side: usize, now: i64) {
        let was_closed = self.closed();
        self.interfaces[side].get_or_insert(packet.interface);
        let volume = &mut self.volumes[side];
        volume.packets += 1;
        volume.bytes += u64::from(packet.wire_len);
        volume.payload_bytes += u64::from(tcp.payload_len);
        volume.ip_bytes += u64::from(packet.ip_len.min(packet.wire_len));
        volume.tcp_flags |= tcp.flags;
        self.end = self.end.max(packet.ts_ns);
        self.touched = self.touched.max(now);
        let f = tcp.flags;
        self.note_sent(tcp, side);
        if side == 0 && f & ACK != 0 {
            self.acked = Some(tcp.ack);
        }
        let known: &[u8] = [b"SHFRDAIQ", b"shfrdaiq"][side];
        let before = self.letters.iter().any(|letter| known.contains(letter));
        let multiple = [SYN, FIN, RST].iter().filter(|flag| f & **flag != 0);
        let letter = match multiple.count() {
            0 if tcp.payload_len > 0 => Some(b'd'),
            0 if f & ACK != 0 => Some(b'a'),
            0 => None,
            1 if f & SYN != 0 => Some(if f & ACK != 0 { b'h' } else { b's' }),
            1 if f & FIN != 0 => Some(b'f'),
            1 => Some(b'r'),
            _ if f & FIN != 0 && f & RST != 0 => Some(b'i'),
            _ => Some(b'q'),
        };
        if let Some(letter) = letter {
            self.letter(if side == 0 {
                letter.to_ascii_uppercase()
            } else {
                letter
            });
        }
        if self.proven || self.midstream {
            self.follow(tcp, side, self.server_isn.is_none() && !before);
        }
        // Attempts note a reset by its numbers only.
        if (self.proven || self.midstream) && f & RST != 0 && !was_closed {
            self.reset = Some(side);
        }
    }

    /// The numbers that an attempt's sides send next.
    pub fn numbers(&self) -> [u32; 2] {
        let next = |isn: u32, sent: u32| isn.wrapping_add(1).wrapping_add(sent);
        [
            next(self.isn, self.sent[0]),
            self.server_isn.map_or(0, |isn| next(isn, self.sent[1])),
        ]
    }

    /// How far the numbers of a segment are from what comes next.
    pub fn distance(&self, tcp: &Tcp, side: usize) -> u64 {
        let apart = |a: u32, b: u32| u64::from(a.wrapping_sub(b).min(b.wrapping_sub(a)));
        let acked = apart(tcp.ack, self.next[1 - side]);
        apart(tcp.seq, self.next[side]) + if tcp.flags & ACK != 0 { acked } else { 0 }
    }

    pub fn fins(&self) -> [bool; 2] {
        [0, 1].map(|side| self.volumes[side].tcp_flags & FIN != 0)
    }

    pub fn closed(&self) -> bool {
        self.reset.is_some() || self.fins() == [true, true]
    }

    pub fn state(&self, attempt: bool) -> ConnState {
        let mut fins = self.fins();
        if attempt && self.odd {
            fins[0] = false;
        }
        let answered = self.proven || self.server_isn.is_some();
        match (attempt, answered, self.reset) {
            (_, true, Some(0)) => ConnState::Rsto,
            (_, true, Some(_)) => ConnState::Rstr,
            (_, true, None) => match fins {
                [true, true] => ConnState::Sf,
                [true, false] => ConnState::S2,
                [false, true] => ConnState::S3,
                [false, false] => ConnState::S1,
            },
            (true, false, Some(0)) => ConnState::Rstos0,
            (true, false, Some(_)) => ConnState::Rej,
            (true, false, None) if fins[0] => ConnState::Sh,
            (true, false, None) => ConnState::S0,
            (false, false, Some(1)) if self.flipped => ConnState::Rstrh,
            (false, false, None) if self.flipped && fins == [false, true] => ConnState::Shr,
            _ => ConnState::Oth,
        }
    }

    pub fn record(&self, attempt: bool, reason: EndReason) -> FlowEvent {
        let mut letters = [0; 16];
        let [orig, resp] = self.volumes_now();
        letters[..self.letters.len()].copy_from_slice(&self.letters);
        FlowEvent::Ended(FlowRecord {
            tuple: FiveTuple {
                src: self.ends.0,
                src_port: self.ends.1,
                dst: self.ends.2,
                dst_port: self.ends.3,
                proto: 6,
            },
            isn: self.isn,
            start_ns: self.start,
            end_ns: self.end,
            orig,
            resp,
            conn_state: self.state(attempt),
            history: History { letters },
            reason,
            basis: match (self.proven, self.server_isn) {
                (true, _) => Basis::Handshake,
                (false, Some(_)) if self.by_data => Basis::Data,
                (false, Some(_)) => Basis::Synack,
                (false, None) => Basis::None,
            },
            midstream: !attempt && !self.proven && self.server_isn.is_none(),
            preexisting: false,
            gso: false,
            fragmented: false,
            id: 0,
            joined: false,
            saturated: false,
            reopened: self.reopened,
            shed: false,
            inside: Inside::NONE,
            interim: false,
            part: 0,
            since_ns: self.start,
            total: false,
            interface: self.interfaces[0].or(self.interfaces[1]).expect("seen"),
            interface_resp: self.interfaces[1].or(self.interfaces[0]).expect("seen"),
            vlan: [0; 2],
            vlan_count: 0,
        })
    }

    pub fn ended(&self) -> EndReason {
        match (self.reset, self.closed()) {
            (Some(_), _) => EndReason::Rst,
            (None, true) => EndReason::Fin,
            (None, false) => EndReason::Timeout,
        }
    }

    pub fn deadline(&self) -> i64 {
        self.touched + SECOND * if self.closed() { 5 } else { 300 }
    }

    /// When its attempt ends without another packet.
    pub fn due(&self) -> i64 {
        let waits = self.server_isn.is_none() && !self.reopened;
        self.first + SECOND * if waits { 5 } else { 130 }
    }

    /// The order of records.
    pub fn order(&self) -> impl Ord + use<> {
        let ends = self.ends;
        (self.start, ends.0, ends.2, ends.1, ends.3, self.isn)
    }

    pub fn may_go_on(&self) -> bool {
        self.open && self.server_isn.is_some() && self.near && !self.odd
    }

    /// Somebody went on after the SYN+ACK.
    pub fn alive(&self) -> bool {
        let [client, server] = &self.volumes;
        self.may_go_on() && (client.tcp_flags & ACK != 0 || server.payload_bytes > 0)
    }

    pub fn reopen(&mut self, packet: &Packet) {
        self.open = true;
        self.reopened = true;
        self.server_isn = None;
        self.by_data = false;
        (self.sent, self.acked) = ([0; 2], None);
        self.reset = None;
        self.interfaces[1] = None;
        (self.start, self.end) = (packet.ts_ns, packet.ts_ns);
        self.volumes = [Volume::default(); 2];
        self.letters.clear();
    }

    /// A: answers, P: proves, R: refuses, X: resets.
    pub fn meaning(&self, tcp: &Tcp, side: usize) -> Option<char> {
        let f = tcp.flags;
        let plus = |a: u32, b: u32| a.wrapping_add(b);
        let acks = (0..=self.syn_payload).any(|n| tcp.ack == plus(plus(self.isn, 1), n));
        let answered = self.server_isn.is_some();
        let sent = if self.open { self.sent } else { [0; 2] };
        if side == 1 {
            if f & SYN != 0 {
                return (f & (ACK | RST | FIN) == ACK && acks).then_some('A');
            }
            // The server accepted what came after the SYN.
            let behind = tcp.ack.wrapping_sub(plus(self.isn, 1));
            let names_it = f & ACK != 0 && behind <= sent[0].max(self.syn_payload);
            let new = names_it && (1..=65_536).any(|n| behind == self.syn_payload + n);
            let accepts = new && self.is_servers(tcp, sent[1]);
            // The client acknowledged what only now is seen of the server.
            let mut then = self.clone();
            then.note_sent(tcp, 1);
            let reached = self.server_isn.zip(self.acked);
            let reached = reached.map_or(0, |(s, acked)| acked.wrapping_sub(plus(s, 1)));
            let length = tcp.payload_len + u32::from(f & FIN != 0);
            let inside = (1..=length).any(|n| self.acked == Some(plus(tcp.seq, n)));
            let reached = self.open && inside && reached > self.sent[1] && reached <= then.sent[1];
            if (accepts || names_it && reached) && answered && !self.odd {
                return Some('P');
            }
            if f & RST != 0 {
                let follows =
                    self.server_isn.is_some_and(|s| tcp.seq == plus(s, 1)) && f & ACK == 0;
                let right = f & ACK != 0 && acks || answered && names_it || follows;
                return right.then_some(if answered { 'X' } else { 'R' });
            }
            let speaks = f & ACK != 0 && acks && (tcp.payload_len > 0 || f & FIN != 0);
            return (!answered && (accepts || speaks)).then_some('A');
        }
        if f & SYN != 0 {
            return None;
        }
        let ahead = |a: u32, b: u32| (1..1 << 31).contains(&a.wrapping_sub(b));
        if let Some(s) = self.server_isn.filter(|_| f & ACK != 0 && !self.odd) {
            let known = tcp.ack.wrapping_sub(plus(s, 1)) <= sent[1];
            if known && ahead(tcp.seq, self.isn) {
                return Some('P');
            }
        }
        let unseen = if answered { 16 << 20 } else { 0 };
        let most = sent[0].max(self.syn_payload).saturating_add(1 + unseen);
        (f & RST != 0 && tcp.seq.wrapping_sub(self.isn) <= most).then_some('X')
    }

    /// The number of a segment is near those of this attempt.
    pub fn is_near(&self, tcp: &Tcp, side: usize) -> bool {
        let near = |number: u32, isn: u32, side: usize| {
            u64::from(number.wrapping_sub(isn)) <= u64::from(self.sent[side]) + (16 << 20)
        };
        match (side, self.server_isn) {
            (0, _) => near(tcp.seq, self.isn, 0),
            _ if tcp.flags & ACK != 0 => near(tcp.ack, self.isn, 0),
            (_, server_isn) => server_isn.is_none_or(|s| near(tcp.seq, s, 1)),
        }
    }

    /// The number of a segment is near the server's.
    fn is_servers(&self, tcp: &Tcp, sent: u32) -> bool {
        let behind = |s: u32| tcp.seq.wrapping_sub(s.wrapping_add(1));
        let resets = tcp.flags & RST != 0;
        match (self.server_isn, self.acked) {
            (Some(s), _) if resets => behind(s) <= sent,
            (Some(s), _) if u64::from(behind(s)) <= u64::from(sent) + (16 << 20) => true,
            (_, Some(acked)) => {
                let apart = tcp.seq.wrapping_sub(acked);
                apart.min(apart.wrapping_neg()) <= 65_536
            }
            (_, None) => false,
        }
    }

    pub fn says(&self, outcome: Outcome) -> (When, FlowEvent) {
        let FlowEvent::Ended(record) = self.record(true, EndReason::Eof) else {
            unreachable!("a record is an end");
        };
        let tuple = record.tuple;
        (When::Packet, FlowEvent::outcome(tuple, outcome))
    }
}
