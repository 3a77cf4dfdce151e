//! The model's segments without attempt and connection: they wait, open flows, and may be probes.

use super::flow::Flow;
use super::{ACK, Ends, FIN, Naive, RST, SECOND, SYN, back, ends_of};
use crate::decode::packet::Packet;
use crate::flow::record::{FiveTuple, FlowEvent, Outcome, Technique, Waited, When};

const PSH: u8 = 8;
const URG: u8 = 32;

impl Naive {
    /// Sends segments on that waited; `when` says when those of a time leave.
    pub(super) fn release(
        &mut self,
        which: impl Fn(&(Packet, i64)) -> bool,
        when: impl Fn(i64) -> When,
    ) {
        let all = std::mem::take(&mut self.waiting);
        let (due, left): (Vec<_>, Vec<_>) = all.into_iter().partition(which);
        self.waiting = left;
        for (packet, since) in due {
            let late = Some(when(since));
            self.probe_by_flags(&packet, late);
            self.on_midstream(&packet, since, late);
        }
    }

    pub(super) fn release_over(&mut self, now: i64) {
        self.release(
            |(_, since)| since + SECOND <= now,
            |since| When::Deadline(since + SECOND),
        );
    }

    pub(super) fn release_now(&mut self, which: impl Fn(&Packet) -> bool) {
        self.release(|(packet, _)| which(packet), |_| When::Packet);
    }

    fn say(&mut self, ends: Ends, outcome: Outcome, packet: &Packet, late: Option<When>) {
        let event = FlowEvent::Outcome {
            tuple: FiveTuple {
                src: ends.0,
                src_port: ends.1,
                dst: ends.2,
                dst_port: ends.3,
                proto: 6,
            },
            outcome,
            waited: late.map(|_| Waited {
                ts_ns: packet.ts_ns,
                interface: packet.interface,
                tags: 0,
            }),
        };
        self.said.push((late.unwrap_or(When::Packet), event));
    }

    /// A segment with none of SYN, ACK, RST that belongs to no attempt. A connection that outlived its attempt, and so is
    /// among the midstream flows, has it.
    pub(super) fn probe_by_flags(&mut self, packet: &Packet, late: Option<When>) {
        let (tcp, ends) = (packet.tcp().expect("the model reads TCP"), ends_of(packet));
        let mut mine = self.midstream.iter().filter(|c| c.side(ends).is_some());
        let is_connection = mine.any(|c| c.server_isn.is_some());
        if tcp.flags & (SYN | ACK | RST) != 0 || is_connection {
            return;
        }
        let has = |flag: u8| tcp.flags & flag != 0;
        let technique = match (has(FIN), has(PSH), has(URG)) {
            (false, false, false) => Technique::Null,
            (true, false, false) => Technique::Fin,
            (true, true, true) => Technique::Xmas,
            _ => Technique::Flags,
        };
        self.say(ends, Outcome::Probe(technique), packet, late);
    }

    pub(super) fn on_midstream(&mut self, packet: &Packet, now: i64, late: Option<When>) {
        let (tcp, ends) = (packet.tcp().expect("the model reads TCP"), ends_of(packet));
        let f = tcp.flags;
        let known = self.midstream.iter().position(|c| c.side(ends).is_some());
        let at = known.unwrap_or_else(|| {
            let flipped = f & (SYN | ACK) == SYN | ACK;
            let mut flow = Flow::new(if flipped { back(ends) } else { ends }, packet, now);
            flow.midstream = true;
            flow.flipped = flipped;
            if flipped {
                flow.letter(b'^');
            }
            if f & RST != 0 {
                self.say(ends, Outcome::StrayRst, packet, late);
            }
            if f & ACK != 0 && f & (SYN | RST) == 0 && tcp.payload_len == 0 {
                let technique = match f & FIN {
                    0 => Technique::Ack,
                    _ => Technique::Maimon,
                };
                flow.asks = Some((tcp.ack, technique));
            }
            self.midstream.push(flow);
            self.midstream.len() - 1
        });
        let flow = &mut self.midstream[at];
        let side = flow.side(ends).expect("found by it");
        let first = side == 1 && flow.volumes[1].packets == 0;
        let silent = flow.volumes[0].payload_bytes == 0;
        let probe = flow.asks.filter(|(ack, _)| *ack == tcp.seq);
        if flow.here(packet, side) {
            flow.add(packet, tcp, side, now);
        }
        if let Some((_, technique)) = probe
            && first
            && silent
            && f & RST != 0
            && f & (SYN | ACK) == 0
        {
            self.say(back(ends), Outcome::Probe(technique), packet, late);
        }
    }
}
