//! The slow, obvious model of what datagrams and ICMP messages tell: a list of UDP flows, searched from end to end.

use super::{Ends, SECOND, back};
use crate::decode::packet::{Fragment, Icmp, Packet, Transport};
use crate::flow::record::{FiveTuple, FlowEvent, Outcome, When};
use std::net::IpAddr;

struct Udp {
    ends: Ends,
    touched: i64,
    /// Where each side's first datagram was seen, and how many came there.
    interfaces: [Option<u16>; 2],
    datagrams: [u64; 2],
    told: bool,
    refused: bool,
}

/// A list of UDP flows.
#[derive(Default)]
pub struct Datagrams {
    flows: Vec<Udp>,
    /// What it said.
    pub said: Vec<(When, FlowEvent)>,
}

fn to_many(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}

impl Datagrams {
    fn say(&mut self, ends: Ends, proto: u8, outcome: Outcome) {
        let tuple = FiveTuple {
            src: ends.0,
            src_port: ends.1,
            dst: ends.2,
            dst_port: ends.3,
            proto,
        };
        self.said
            .push((When::Packet, FlowEvent::outcome(tuple, outcome)));
    }

    /// Takes a packet; reads datagrams and ICMP messages.
    pub fn on_packet(&mut self, packet: &Packet, now: i64) {
        self.flows.retain(|flow| now < flow.touched + 60 * SECOND);
        match &packet.transport {
            Transport::Udp(udp) => {
                let ends = (packet.src, udp.src_port, packet.dst, udp.dst_port);
                let empty = udp.payload_len == 0 && packet.fragment == Fragment::Whole;
                self.on_datagram((ends, empty), packet.interface, now);
            }
            Transport::Icmp(icmp) => self.on_message(packet, icmp),
            _ => {}
        }
    }

    fn on_datagram(&mut self, (ends, empty): (Ends, bool), interface: u16, now: i64) {
        let mine = |flow: &Udp| flow.ends == ends || flow.ends == back(ends);
        let Some(at) = self.flows.iter().position(mine) else {
            let answers = ends.1 < 1024 && ends.3 >= 1024 && !empty;
            let told = !answers && !to_many(ends.2);
            if told {
                self.say(ends, 17, Outcome::UdpOpened);
            } else if !to_many(ends.2) {
                self.say(ends, 17, Outcome::StrayAnswer);
            }
            return self.flows.push(Udp {
                ends,
                touched: now,
                interfaces: [Some(interface), None],
                datagrams: [1, 0],
                told,
                refused: false,
            });
        };
        let flow = &mut self.flows[at];
        let side = usize::from(flow.ends != ends);
        if *flow.interfaces[side].get_or_insert(interface) != interface {
            return;
        }
        flow.touched = flow.touched.max(now);
        flow.datagrams[side] += 1;
        let (told, sent, asked) = (flow.told, flow.datagrams, flow.ends);
        if side == 1 && sent[1] == 1 && told {
            self.say(asked, 17, Outcome::UdpAnswered);
        }
        if side == 0 && sent[1] == 0 && sent[0] % 64 == 1 && !to_many(ends.2) {
            self.say(asked, 17, Outcome::Datagrams);
        }
    }

    fn on_message(&mut self, packet: &Packet, icmp: &Icmp) {
        let (proto, other, unreachable) = match (icmp.v6, icmp.kind) {
            (false, 0) => (1, 8, false),
            (false, 8) => (1, 0, false),
            (true, 128) => (58, 129, false),
            (true, 135) => (58, 136, false),
            (false, 3) => (1, icmp.code, icmp.code != 4),
            (true, 1) => (58, icmp.code, true),
            (true, _) => (58, icmp.code, false),
            (false, _) => (1, icmp.code, false),
        };
        let discovers =
            icmp.v6 && [130, 131, 132, 133, 134, 135, 136, 137, 143].contains(&icmp.kind);
        if !discovers {
            let (kind, other) = (u16::from(icmp.kind), u16::from(other));
            self.say((packet.src, kind, packet.dst, other), proto, Outcome::Icmp);
        }
        let Some(quoted) = icmp
            .quoted
            .filter(|quoted| unreachable && quoted.proto == 17)
        else {
            return;
        };
        let ends = (quoted.src, quoted.src_port, quoted.dst, quoted.dst_port);
        let mut mine = self.flows.iter_mut().filter(|flow| flow.ends == ends);
        let refused = mine.find(|flow| flow.told && !flow.refused);
        if refused.map(|flow| flow.refused = true).is_some() {
            self.say(ends, 17, Outcome::UdpRefused);
        }
    }
}
