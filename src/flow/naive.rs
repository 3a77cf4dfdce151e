//! The slow, obvious model of TCP flows: lists, searched from end to end; everything due is ended
//! before each packet. The tables must say what it says.

pub mod datagrams;
mod flow;
mod midstream;
mod stream;

use super::record::{Attempt, EndReason, FlowEvent, Outcome, When};
use crate::decode::packet::{Packet, Tcp};
use flow::Flow;

type Ends = (std::net::IpAddr, u16, std::net::IpAddr, u16);

const SECOND: i64 = 1_000_000_000;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Lists of everything.
#[derive(Default)]
pub struct Naive {
    tries: Vec<Flow>,
    proven: Vec<Flow>,
    midstream: Vec<Flow>,
    /// Segments that wait for their SYN, and since when.
    waiting: Vec<(Packet, i64)>,
    /// Connections that closed, and when.
    closed: Vec<(Ends, i64)>,
    /// What it said.
    pub said: Vec<(When, FlowEvent)>,
}

fn back(ends: Ends) -> Ends {
    (ends.2, ends.3, ends.0, ends.1)
}

fn ends_of(packet: &Packet) -> Ends {
    let tcp = packet.tcp().expect("the model reads TCP");
    (packet.src, tcp.src_port, packet.dst, tcp.dst_port)
}

/// SYN+ACK, or RST with a number.
fn may_answer(tcp: &Tcp) -> bool {
    let flags = tcp.flags & (SYN | ACK | RST | FIN);
    [SYN | ACK, RST | ACK, RST | ACK | FIN].contains(&flags)
}

fn bare_ack(tcp: &Tcp) -> bool {
    tcp.flags & (SYN | ACK | RST | FIN) == ACK && tcp.payload_len == 0
}

impl Naive {
    fn expire(&mut self, now: i64) {
        self.release_over(now);
        let mut due: Vec<_> = (0..self.tries.len())
            .filter(|&i| self.tries[i].open && self.tries[i].due() <= now)
            .collect();
        due.sort_by_key(|&i| (self.tries[i].due(), self.tries[i].order()));
        for i in due {
            let t = &mut self.tries[i];
            let due = t.due();
            if t.alive() {
                self.go_on(i, due, When::Deadline(due));
                continue;
            }
            t.open = false;
            let reason = match t.server_isn {
                Some(_) => EndReason::Timeout,
                None => EndReason::Unanswered,
            };
            let end = (When::Deadline(due), t.record(true, reason));
            self.said.push(end);
        }
        self.tries.retain(|t| t.first + 130 * SECOND > now);
        for list in [&mut self.proven, &mut self.midstream] {
            for flow in list.iter().filter(|flow| flow.deadline() <= now) {
                let end = flow.record(false, flow.ended());
                self.said.push((When::Deadline(flow.deadline()), end));
                if flow.closed() {
                    self.closed.push((flow.ends, flow.deadline()));
                }
            }
            list.retain(|flow| flow.deadline() > now);
        }
    }

    /// The flow of an answered attempt goes on among those without one.
    fn go_on(&mut self, i: usize, since: i64, when: When) {
        if when == When::Packet {
            let ends = self.tries[i].ends;
            self.release_now(|packet| [ends, back(ends)].contains(&ends_of(packet)));
        }
        let t = &mut self.tries[i];
        let mut flow = t.clone();
        (t.open, t.promoted) = (false, true);
        flow.midstream = true;
        flow.next = flow.numbers();
        flow.touched = match when {
            When::Deadline(_) => flow.end.clamp(flow.first, since),
            _ => since,
        };
        let ends = flow.ends;
        let mine = |c: &Flow| c.side(ends).is_some() && c.deadline() > since;
        if let Some(old) = self.midstream.iter().position(mine) {
            let old = self.midstream.remove(old);
            if old.closed() {
                self.closed.push((old.ends, since));
            }
            self.said.push((when, old.record(false, old.ended())));
        }
        self.midstream.push(flow);
    }

    /// Takes the time of a packet that is no segment.
    pub fn on_time(&mut self, now: i64) {
        self.expire(now);
    }

    /// Takes a segment.
    pub fn on_packet(&mut self, packet: &Packet, now: i64) {
        self.expire(now);
        let (tcp, ends) = (packet.tcp().expect("the model reads TCP"), ends_of(packet));
        if tcp.flags & (SYN | ACK) == SYN {
            self.on_syn(packet, tcp, ends, now);
        } else {
            self.on_segment(packet, tcp, ends, now);
        }
    }

    fn on_syn(&mut self, packet: &Packet, tcp: &Tcp, ends: Ends, now: i64) {
        let known = |t: &Flow| t.ends == ends && t.isn == tcp.seq;
        if let Some(i) = self.tries.iter().position(known) {
            let t = &mut self.tries[i];
            if !t.here(packet, 0) {
                return;
            }
            if t.promoted {
                let same = |c: &&mut Flow| c.ends == ends && c.isn == tcp.seq;
                let mut kept = self.midstream.iter_mut().filter(|c| c.server_isn.is_some());
                let proven = self.proven.iter_mut().filter(same);
                let proven = proven.max_by_key(|c| c.order());
                if let Some(conn) = proven.or_else(|| kept.find(same)) {
                    conn.add(packet, tcp, 0, now);
                }
                return;
            }
            if !t.open {
                t.reopen(packet);
            }
            t.syn_payload = t.syn_payload.max(tcp.payload_len);
            t.add(packet, tcp, 0, now);
            return self.close(i, now);
        }
        let near = self
            .tries
            .iter()
            .filter(|t| t.near && t.side(ends).is_some());
        let mut t = Flow::new(ends, packet, now);
        t.near = near.count() < 4;
        t.isn = tcp.seq;
        t.odd = tcp.flags & (FIN | RST) != 0;
        t.syn_payload = tcp.payload_len;
        t.add(packet, tcp, 0, now);
        let FlowEvent::Ended(record) = t.record(true, EndReason::Eof) else {
            unreachable!("a record is an end");
        };
        let attempt = Attempt {
            ts_ns: packet.ts_ns,
            tuple: record.tuple,
            isn: t.isn,
            odd: t.odd,
            interface: packet.interface,
            vlan: [0; 2],
            vlan_count: 0,
        };
        self.said.push((When::Packet, FlowEvent::Attempt(attempt)));
        self.tries.push(t);
        let mine = |(packet, _): &(Packet, i64)| [ends, back(ends)].contains(&ends_of(packet));
        let answers = |(packet, _): &(Packet, i64)| {
            let answer = packet.tcp().expect("the model reads TCP");
            let acked = answer.ack.wrapping_sub(tcp.seq.wrapping_add(1));
            let sent = answer.seq.wrapping_sub(tcp.seq.wrapping_add(1));
            let answers =
                ends_of(packet) == back(ends) && may_answer(answer) && acked <= tcp.payload_len;
            answers || ends_of(packet) == ends && bare_ack(answer) && sent <= tcp.payload_len
        };
        if self.waiting.iter().any(answers) {
            let all = std::mem::take(&mut self.waiting);
            let (early, left): (Vec<_>, Vec<_>) = all.into_iter().partition(mine);
            self.waiting = left;
            for (packet, _) in early {
                let tcp = packet.tcp().expect("the model reads TCP");
                self.on_segment(&packet, tcp, ends_of(&packet), now);
            }
        }
    }

    fn on_segment(&mut self, packet: &Packet, tcp: &Tcp, ends: Ends, now: i64) {
        let conn = self.proven.iter().position(|c| c.side(ends).is_some());
        let first = tcp.flags & (SYN | RST) != 0;
        let rival = conn.is_some_and(|c| self.proven[c].rival);
        let ask = first || rival || conn.is_none();
        if ask && self.on_attempt(packet, tcp, ends, now) {
            return;
        }
        let mine = (0..self.proven.len()).filter(|&c| self.proven[c].side(ends).is_some());
        let nearest = mine.min_by_key(|&c| {
            let flow = &self.proven[c];
            let side = flow.side(ends).expect("filtered by it");
            let order = (
                flow.start,
                flow.ends.0,
                flow.ends.2,
                flow.ends.1,
                flow.ends.3,
            );
            (flow.distance(tcp, side), order, flow.isn)
        });
        let conn = if rival { nearest } else { conn };
        if let Some(c) = conn {
            let side = self.proven[c].side(ends).expect("found by it");
            if self.proven[c].here(packet, side) {
                self.proven[c].add(packet, tcp, side, now);
            }
            return;
        }
        let stray = self.tries.iter().enumerate();
        let stray = stray.filter(|(_, t)| t.near && t.open && t.side(ends).is_some());
        let is_of_attempt = stray.clone().next().is_some();
        let known = self.midstream.iter().position(|c| c.side(ends).is_some());
        let of_stray = |(_, t): &(usize, &Flow)| {
            known.is_none() || t.is_near(tcp, t.side(ends).expect("found by it"))
        };
        let stray = stray.max_by_key(|(_, t)| (t.first, t.isn, t.ends.0, t.ends.2, t.ends.1));
        if let Some((i, _)) = stray.filter(of_stray) {
            let t = &mut self.tries[i];
            let side = t.side(ends).expect("found by it");
            if t.here(packet, side) {
                t.add(packet, tcp, side, now);
                self.close(i, now);
            }
            return;
        }
        let late = self.closed_lately(ends, now);
        let again = tcp.flags & (FIN | RST) != 0 || tcp.payload_len == 0;
        let mine = |(packet, _): &(Packet, i64)| [ends, back(ends)].contains(&ends_of(packet));
        let before = self.waiting.iter().filter(|one| mine(one)).count();
        if known.is_none() && before == 0 && late && again && tcp.flags & SYN == 0 {
            if tcp.flags & RST == 0 {
                self.closed.push((ends, now));
            }
            self.probe_by_flags(packet, None);
            return;
        }
        if known.is_none() && (before > 0 || may_answer(tcp) || bare_ack(tcp)) {
            if before < 4 {
                return self.waiting.push((*packet, now));
            }
            self.release_now(|packet| [ends, back(ends)].contains(&ends_of(packet)));
        }
        if !is_of_attempt {
            self.probe_by_flags(packet, None);
        }
        self.on_midstream(packet, now, None);
    }

    fn closed_lately(&self, ends: Ends, now: i64) -> bool {
        let mut mine = self
            .closed
            .iter()
            .filter(|(of, _)| [*of, back(*of)].contains(&ends));
        mine.any(|(_, closed)| now < closed + 120 * SECOND)
    }

    fn on_attempt(&mut self, packet: &Packet, tcp: &Tcp, ends: Ends, now: i64) -> bool {
        let named = |t: &Flow| {
            let side = t.side(ends)?;
            let exact = [tcp.ack, tcp.seq].contains(&t.isn.wrapping_add(1));
            let meaning = t.meaning(tcp, side)?;
            let fits = if meaning == 'P' { t.open } else { !t.promoted };
            (fits && (t.near || exact)).then_some(meaning)
        };
        let found = (0..self.tries.len()).filter(|&i| named(&self.tries[i]).is_some());
        let Some(i) = found.max_by_key(|&i| {
            let t = &self.tries[i];
            (t.open, t.first, t.isn, t.ends.0, t.ends.2, t.ends.1)
        }) else {
            return false;
        };
        let meaning = named(&self.tries[i]).expect("found by it");
        let t = &mut self.tries[i];
        let side = t.side(ends).expect("found by it");
        if (side == 0 || t.open) && !t.here(packet, side) {
            return true;
        }
        if !t.open {
            let late = meaning == 'A' && t.server_isn.is_none() || meaning == 'R' && !t.told[1];
            if !late {
                return true;
            }
            t.reopen(packet);
        }
        match meaning {
            'A' => self.answer(i, packet, tcp, ends, now),
            'P' => self.promote(i, packet, tcp, ends, now),
            _ => {
                let bare = tcp.flags & (SYN | ACK | RST) == RST;
                let scans = side == 0 && bare && tcp.seq == t.isn.wrapping_add(1);
                if scans && t.server_isn.is_some() && !t.by_data {
                    self.said.push(t.says(Outcome::HalfOpen));
                }
                t.add(packet, tcp, side, now);
                t.reset = Some(side);
                if meaning == 'R' && !std::mem::replace(&mut t.told[1], true) {
                    self.said.push(t.says(Outcome::Refused));
                }
                t.open = false;
                let reason = match meaning {
                    'R' => EndReason::Refused,
                    _ => EndReason::Rst,
                };
                self.said.push((When::Packet, t.record(true, reason)));
            }
        }
        true
    }

    fn answer(&mut self, i: usize, packet: &Packet, tcp: &Tcp, ends: Ends, now: i64) {
        let t = &mut self.tries[i];
        if t.server_isn.is_none() {
            let syn = tcp.flags & SYN != 0;
            t.server_isn = Some(tcp.seq.wrapping_sub(u32::from(!syn)));
            t.by_data = !syn;
            if !std::mem::replace(&mut t.told[0], true) {
                self.said.push(t.says(Outcome::Answered));
            }
            let first = tcp.seq.wrapping_add(u32::from(syn));
            let length = tcp.payload_len + u32::from(tcp.flags & FIN != 0);
            let known = t.acked.is_some_and(|ack| ack.wrapping_sub(first) <= length);
            if known && !t.odd {
                return self.promote(i, packet, tcp, ends, now);
            }
            let old = self.proven.iter_mut().find(|c| c.side(ends).is_some());
            old.into_iter().for_each(|c| c.rival = true);
        }
        let t = &mut self.tries[i];
        let side = t.side(ends).expect("its own packet");
        t.add(packet, tcp, side, now);
        self.close(i, now);
    }

    /// An answered attempt that both sides have closed goes on as a closed connection.
    fn close(&mut self, i: usize, now: i64) {
        if self.tries[i].may_go_on() && self.tries[i].closed() {
            self.go_on(i, now, When::Packet);
        }
    }

    fn promote(&mut self, i: usize, packet: &Packet, tcp: &Tcp, ends: Ends, now: i64) {
        let mut conn = self.tries[i].clone();
        (self.tries[i].open, self.tries[i].promoted) = (false, true);
        let twins = self.tries.iter().enumerate();
        let mut twins =
            twins.filter(|(j, t)| *j != i && t.near && t.open && t.side(ends).is_some());
        let twin = twins.next().is_some();
        let partner = self.tries.iter_mut().find(|t| {
            let twin = t.ends == back(conn.ends) && Some(t.isn) == conn.server_isn;
            twin && t.open && t.near && !t.odd
        });
        let mut next = conn.numbers();
        if let Some(t) = partner {
            let mut other = t.clone();
            (t.open, t.promoted) = (false, true);
            if (other.first, other.ends.0, other.ends.2, other.ends.1)
                < (conn.first, conn.ends.0, conn.ends.2, conn.ends.1)
            {
                std::mem::swap(&mut conn, &mut other);
            }
            next = conn.numbers();
            let theirs = other.numbers();
            let later = |a: u32, b: u32| (1..1 << 31).contains(&a.wrapping_sub(b));
            if other.server_isn.is_some() && later(theirs[1], next[0]) {
                next[0] = theirs[1];
            }
            if conn.server_isn.is_none() || later(theirs[0], next[1]) {
                next[1] = theirs[0];
            }
            if conn.interfaces[1].is_none() {
                conn.interfaces[1] = other.interfaces[0];
            }
            for side in [0, 1] {
                let theirs = other.volumes[1 - side];
                let mine = &mut conn.volumes[side];
                mine.packets += theirs.packets;
                mine.bytes += theirs.bytes;
                mine.ip_bytes += theirs.ip_bytes;
                mine.payload_bytes += theirs.payload_bytes;
                mine.tcp_flags |= theirs.tcp_flags;
            }
            for letter in other.letters {
                conn.letter(letter ^ 0x20);
            }
            conn.start = conn.start.min(other.start);
            conn.end = conn.end.max(other.end);
        }
        let began = self.tries[i].first;
        let mine = |c: &Flow| c.side(ends).is_some();
        let stays = |c: &Flow| c.twin && !c.closed() && c.touched >= began;
        let all = std::mem::take(&mut self.proven);
        let (gone, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|c| mine(c) && !stays(c));
        self.proven = left;
        for old in gone {
            if old.closed() {
                self.closed.push((old.ends, old.touched));
            }
            self.said
                .push((When::Packet, old.record(false, old.ended())));
        }
        let rivals = self.proven.iter_mut().filter(|c| mine(c));
        conn.rival = rivals.map(|c| c.rival = true).count() > 0 || twin;
        conn.twin = twin;
        conn.next = next;
        conn.proven = true;
        let side = conn.side(ends).expect("its own packet");
        conn.add(packet, tcp, side, now);
        self.proven.push(conn);
        self.said.push(self.tries[i].says(Outcome::Established));
    }

    /// Attempts beyond the fourth of their endpoints.
    pub fn far(&self) -> usize {
        self.tries.iter().filter(|t| !t.near).count()
    }

    /// Ends everything.
    pub fn finish(&mut self, now: i64) {
        self.release_over(now);
        self.release(|_| true, |_| When::End);
        self.expire(now);
        let tries = self.tries.iter().filter(|t| t.open);
        let tries = tries.map(|t| t.record(true, EndReason::Eof));
        let rest = self.proven.iter().chain(&self.midstream);
        let rest = rest.map(|c| c.record(false, EndReason::Eof));
        let ends: Vec<_> = tries.chain(rest).map(|e| (When::End, e)).collect();
        self.said.extend(ends);
    }
}
