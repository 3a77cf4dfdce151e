//! Connections: how they open, what they carry, how they end, and how they fail.

use super::hour::{Hour, MS, Path, SECOND};
use crate::transport::{ACK, FIN, Flow, PSH, RST, SYN, Tcp};

/// Options of a SYN and its answer: segment size, SACK permitted, window scale.
const OPTIONS: [u8; 10] = [2, 4, 5, 0xB4, 4, 2, 1, 3, 3, 7];
/// When a SYN is repeated: seconds after the first.
const REPEATS: [i64; 3] = [1, 3, 7];
/// Largest payload of a segment.
const SEGMENT: usize = 1448;

/// Which end sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Who opened the connection.
    Client,
    /// The other one.
    Server,
}

impl By {
    fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// An open connection and its next sequence numbers.
pub(super) struct Talk {
    path: Path,
    client_seq: u32,
    server_seq: u32,
    /// Time of its next segment, unless somebody waits.
    pub(super) now: i64,
}

impl Talk {
    fn flow(&self, by: By) -> Flow {
        match by {
            By::Client => self.path.flow,
            By::Server => self.path.flow.reversed(),
        }
    }

    /// Sequence and acknowledgment number of the next segment by `by`.
    fn numbers(&self, by: By) -> (u32, u32) {
        match by {
            By::Client => (self.client_seq, self.server_seq),
            By::Server => (self.server_seq, self.client_seq),
        }
    }

    fn advance(&mut self, by: By, len: u32) {
        let seq = match by {
            By::Client => &mut self.client_seq,
            By::Server => &mut self.server_seq,
        };
        *seq = seq.wrapping_add(len);
    }

    fn delay(&self, by: By) -> i64 {
        match by {
            By::Client => self.path.client_ns,
            By::Server => self.path.server_ns,
        }
    }
}

impl Hour {
    fn bare(&mut self, at: i64, flow: Flow, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
        self.tcp(at, &Tcp::new(flow, flags, seq).ack(ack))
    }

    fn syn(&mut self, at: i64, flow: Flow, isn: u32) -> Vec<u8> {
        self.tcp(at, &Tcp::new(flow, SYN, isn).options(&OPTIONS))
    }

    fn syn_ack(&mut self, at: i64, path: &Path, isn: u32, server_isn: u32) {
        let answer = Tcp::new(path.flow.reversed(), SYN | ACK, server_isn);
        self.tcp(at, &answer.ack(isn.wrapping_add(1)).options(&OPTIONS));
    }

    /// A handshake from `at` on. Where the SYN is lost behind the sensor it is repeated after 1 s.
    pub(super) fn open(&mut self, at: i64, path: Path) -> Talk {
        let (isn, server_isn) = (self.rng.next_u32(), self.rng.next_u32());
        self.syn(at, path.flow, isn);
        let mut now = at;
        if self.lost(&path) {
            now += SECOND;
            self.syn(now, path.flow, isn);
        }
        now += self.jitter(path.server_ns);
        self.syn_ack(now, &path, isn, server_isn);
        now += self.jitter(path.client_ns);
        let mut talk = Talk {
            path,
            client_seq: isn.wrapping_add(1),
            server_seq: server_isn.wrapping_add(1),
            now,
        };
        self.ack(&mut talk, By::Client);
        talk.now += self.jitter(MS / 5);
        talk
    }

    /// A connection that was opened before the capture begins.
    pub(super) fn resume(&mut self, at: i64, path: Path) -> Talk {
        Talk {
            path,
            client_seq: self.rng.next_u32(),
            server_seq: self.rng.next_u32(),
            now: at,
        }
    }

    /// A keep-alive probe of the client, and its answer.
    pub(super) fn keep_alive(&mut self, talk: &mut Talk) {
        self.probe(talk);
        self.ack(talk, By::Server);
    }

    /// A keep-alive probe to a server that was rebooted: it knows no such connection and resets it.
    pub(super) fn forgotten(&mut self, mut talk: Talk) {
        self.probe(&mut talk);
        self.bare(talk.now, talk.flow(By::Server), RST, talk.server_seq, 0);
    }

    /// An acknowledgment one byte back, as keep-alive timers send it (RFC 9293, 3.8.4).
    fn probe(&mut self, talk: &mut Talk) {
        let (seq, ack) = (talk.client_seq.wrapping_sub(1), talk.server_seq);
        self.bare(talk.now, talk.flow(By::Client), ACK, seq, ack);
        talk.now += self.jitter(talk.path.server_ns);
    }

    /// A segment without payload.
    fn segment(&mut self, talk: &mut Talk, by: By, flags: u8) {
        let (seq, ack) = talk.numbers(by);
        self.bare(talk.now, talk.flow(by), flags, seq, ack);
    }

    /// An acknowledgment.
    pub(super) fn ack(&mut self, talk: &mut Talk, by: By) {
        self.segment(talk, by, ACK);
    }

    /// Data of one end, in segments; the other end's answer is due after its delay.
    pub(super) fn say(&mut self, talk: &mut Talk, by: By, data: &[u8]) {
        let other = by.other();
        let parts = data.chunks(SEGMENT);
        let last = parts.len().saturating_sub(1);
        for (i, part) in parts.enumerate() {
            let (seq, ack) = talk.numbers(by);
            let flags = if i == last { PSH | ACK } else { ACK };
            let segment = Tcp::new(talk.flow(by), flags, seq).ack(ack).data(part);
            self.tcp(talk.now, &segment);
            talk.advance(by, u32::try_from(part.len()).expect("a segment is short"));
            talk.now += MS / 50;
            // Every second segment is acknowledged, the last one by what comes next.
            if i % 2 == 1 && i != last {
                talk.now += MS / 20;
                self.ack(talk, other);
            }
        }
        talk.now += self.jitter(talk.delay(other));
    }

    /// A question and its answer, acknowledged.
    pub(super) fn exchange(&mut self, talk: &mut Talk, question: &[u8], answer: &[u8]) {
        self.say(talk, By::Client, question);
        self.say(talk, By::Server, answer);
        self.ack(talk, By::Client);
        talk.now += MS / 10;
    }

    /// FIN by `first`, FIN by the other, last acknowledgment.
    pub(super) fn close(&mut self, mut talk: Talk, first: By) -> i64 {
        let second = first.other();
        self.segment(&mut talk, first, FIN | ACK);
        talk.advance(first, 1);
        talk.now += self.jitter(talk.delay(second));
        self.segment(&mut talk, second, FIN | ACK);
        talk.advance(second, 1);
        talk.now += self.jitter(talk.delay(first));
        self.ack(&mut talk, first);
        talk.now
    }

    /// The connection is cut off by RST and ACK. At times data of the other end is still under way:
    /// a RST without ACK answers it.
    pub(super) fn reset(&mut self, mut talk: Talk, by: By) -> i64 {
        self.segment(&mut talk, by, RST | ACK);
        if self.percent(30) {
            let other = by.other();
            let (seq, ack) = talk.numbers(other);
            let late = Tcp::new(talk.flow(other), PSH | ACK, seq).ack(ack);
            talk.now += self.jitter(talk.delay(other));
            self.tcp(talk.now, &late.data(&[0x17; 500]));
            talk.now += self.jitter(talk.delay(by));
            self.bare(talk.now, talk.flow(by), RST, ack, 0);
        }
        talk.now
    }

    /// A SYN to a closed port. Returns the time of the RST.
    pub(super) fn refused(&mut self, at: i64, path: Path) -> i64 {
        self.refused_times(at, path, 1)
    }

    /// As Windows does it: a refused SYN is repeated after 0.5 and 1 s.
    pub(super) fn refused_thrice(&mut self, at: i64, path: Path) -> i64 {
        self.refused_times(at, path, 3)
    }

    fn refused_times(&mut self, at: i64, path: Path, times: i64) -> i64 {
        let isn = self.rng.next_u32();
        let mut end = at;
        for i in 0..times {
            let sent = at + i * SECOND / 2;
            self.syn(sent, path.flow, isn);
            end = sent + self.jitter(path.server_ns);
            let (flow, ack) = (path.flow.reversed(), isn.wrapping_add(1));
            self.bare(end, flow, RST | ACK, 0, ack);
        }
        end
    }

    /// A SYN that nothing answers, repeated after 1, 3 and 7 s up to `repeats` times. Returns when
    /// the client gives up.
    pub(super) fn silent(&mut self, at: i64, path: Path, repeats: usize) -> i64 {
        let isn = self.rng.next_u32();
        self.syn(at, path.flow, isn);
        for after in &REPEATS[..repeats] {
            self.syn(at + after * SECOND, path.flow, isn);
        }
        at + [1, 3, 7, 10][repeats] * SECOND
    }

    /// A SYN that the server's host or a router answers by ICMP.
    pub(super) fn rejected(&mut self, at: i64, path: Path, filtered: bool) -> i64 {
        let isn = self.rng.next_u32();
        let syn = self.syn(at, path.flow, isn);
        let end = at + self.jitter(path.server_ns);
        self.unreachable(end, path.flow.dst, &syn, filtered);
        end
    }

    /// A SYN, its answer, and a RST without ACK at the acknowledged number: a half-open check, or
    /// the stack of a client whose program had given up. Returns the time of the RST.
    pub(super) fn half_open(&mut self, at: i64, path: Path) -> i64 {
        let (isn, server_isn) = (self.rng.next_u32(), self.rng.next_u32());
        self.syn(at, path.flow, isn);
        let answered = at + self.jitter(path.server_ns);
        self.syn_ack(answered, &path, isn, server_isn);
        let end = answered + self.jitter(path.client_ns);
        self.bare(end, path.flow, RST, isn.wrapping_add(1), 0);
        end
    }
}
