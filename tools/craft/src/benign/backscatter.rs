//! Backscatter: what victims of a flood answer to us, because the flood carried our addresses.
//!
//! Rates stay below those of the flood rules: a flood that spoofs the whole Internet sends few
//! packets in the name of each address.

use std::net::IpAddr;

use super::hour::{Host, Hour, MINUTE, MS, SECOND, public, public_v6};
use super::talk::By;
use super::{Known, naive};
use crate::transport::{ACK, Flow, RST, SYN, Tcp, Udp, icmp};

/// Options of an answer without a SYN cookie.
const OPTIONS: [u8; 8] = [2, 4, 5, 0xB4, 1, 3, 3, 7];
/// Of an answer with one: a cookie has room for the segment size alone.
const COOKIE_OPTIONS: [u8; 4] = [2, 4, 5, 0xB4];

/// An address of ours at random. Every eighth is a host's; behind the rest nobody answers.
fn ours(hour: &mut Hour) -> (IpAddr, bool) {
    let last = u8::try_from(hour.between(1, 255)).expect("a byte");
    (public(last), last.is_multiple_of(8))
}

/// The flow of an answer by the victim's `port` to a random port of ours.
fn answer_to(hour: &mut Hour, victim: IpAddr, port: u16) -> (Flow, bool) {
    let (dst, alive) = ours(hour);
    let flow = Flow {
        src: victim,
        dst,
        src_port: port,
        dst_port: hour.port(1024, 65_535),
    };
    (flow, alive)
}

/// One victim whose SYN queue is full: SYN+ACK, repeated until it gives up, then RST.
pub(super) fn one_victim(hour: &mut Hour) -> Known {
    let victim = hour.remote();
    for begin in [10, 50, 85].map(|percent| hour.end * percent / 100) {
        for at in hour.times(begin, SECOND / 20) {
            if at > begin + 6 * MINUTE {
                break;
            }
            let port = hour.pick(&[80, 443, 443]);
            let (flow, alive) = answer_to(hour, victim.address, port);
            if hour.percent(75) {
                repeated_answer(hour, at, flow, alive);
            } else {
                let reset = Tcp::new(flow, RST | ACK, 0).ack(hour.rng.next_u32());
                hour.tcp(at, &reset);
            }
        }
    }
    visitors(hour, victim, 30);
    Known {
        sources: vec![victim.address],
        naive: vec![naive(
            "stealth_scan",
            "a rule that takes SYN+ACK and RST without a question for probes sees the victim scan us",
        )],
    }
}

/// A SYN+ACK to somebody who sent no SYN. A host resets it; where none is it comes again after 1, 3
/// and 7 s, and after the first our router may say that the host is unreachable.
fn repeated_answer(hour: &mut Hour, at: i64, flow: Flow, alive: bool) {
    let (seq, ack) = (hour.rng.next_u32(), hour.rng.next_u32());
    let answer = Tcp::new(flow, SYN | ACK, seq).ack(ack).options(&OPTIONS);
    let packet = hour.tcp(at, &answer);
    if alive {
        let reset = Tcp::new(flow.reversed(), RST, ack);
        hour.tcp(at + MS / 5, &reset);
        return;
    }
    for after in [1, 3, 7] {
        hour.tcp(at + after * SECOND, &answer);
    }
    if hour.percent(5) {
        let router = public(254);
        let error = icmp::error((router, flow.src), 3, 1, &packet, 548);
        hour.icmp(at + 900 * MS, (router, flow.src), &error);
    }
}

/// Clients of ours that want the victim's service meanwhile: half of them wait in vain.
fn visitors(hour: &mut Hour, victim: Host, clients: u8) {
    for i in 0..clients {
        let client = hour.near(public(8 * (1 + i % 30)));
        let at = hour.between(hour.end / 10, hour.end);
        let path = hour.path(client, victim, 443);
        if i % 2 == 0 {
            hour.silent(at, path, 3);
        } else {
            let mut talk = hour.open(at, path);
            hour.exchange(&mut talk, b"question", b"answer");
            hour.close(talk, By::Client);
        }
    }
}

/// What a victim of a flood of the given kind answers.
#[derive(Clone, Copy)]
enum Reaction {
    /// SYNs to closed ports: RST+ACK.
    ResetsSyn,
    /// ACKs that belong to no connection: RST.
    ResetsAck,
    /// Datagrams to closed ports.
    PortUnreachable,
    /// A router in front of a victim that is cut off.
    HostUnreachable,
    /// A filter in front of the victim.
    Prohibited,
    /// Packets loop in front of the victim.
    TimeExceeded,
    /// Pings.
    EchoReply,
}

/// 60 victims of floods of seven kinds, each for some minutes; every fifth by IPv6.
pub(super) fn many_victims(hour: &mut Hour) -> Known {
    const REACTIONS: [Reaction; 7] = [
        Reaction::ResetsSyn,
        Reaction::ResetsAck,
        Reaction::PortUnreachable,
        Reaction::HostUnreachable,
        Reaction::Prohibited,
        Reaction::TimeExceeded,
        Reaction::EchoReply,
    ];
    let mut sources = Vec::new();
    for i in 0..60 {
        let v6 = i % 5 == 4;
        let victim = if v6 { hour.remote_v6() } else { hour.remote() };
        let router = if v6 { hour.remote_v6() } else { hour.remote() };
        let (begin, length) = (
            hour.between(0, hour.end * 9 / 10),
            hour.between(MINUTE, 4 * MINUTE),
        );
        let gap = hour.between(20 * MS, 300 * MS);
        let flooded = hour.port(1, 65_535);
        let reaction = REACTIONS[i % REACTIONS.len()];
        sources.push(match reaction {
            Reaction::HostUnreachable | Reaction::Prohibited | Reaction::TimeExceeded => {
                router.address
            }
            _ => victim.address,
        });
        for at in hour.times(begin, gap) {
            if at > begin + length {
                break;
            }
            react(
                hour,
                at,
                (victim.address, router.address),
                flooded,
                reaction,
            );
        }
    }
    Known {
        sources,
        naive: vec![naive(
            "stealth_scan",
            "a rule that takes RST without a question for probes sees victims scan us",
        )],
    }
}

fn react(
    hour: &mut Hour,
    at: i64,
    (victim, router): (IpAddr, IpAddr),
    port: u16,
    reaction: Reaction,
) {
    let (mut answer, _) = answer_to(hour, victim, port);
    if victim.is_ipv6() {
        answer.dst = public_v6(1, hour.rng.next_u8());
    }
    let (seq, spoofed) = (hour.rng.next_u32(), answer.reversed());
    match reaction {
        Reaction::ResetsSyn => {
            hour.tcp(at, &Tcp::new(answer, RST | ACK, 0).ack(seq));
        }
        Reaction::ResetsAck => {
            hour.tcp(at, &Tcp::new(answer, RST, seq));
        }
        Reaction::EchoReply => {
            let ends = (victim, answer.dst);
            let message = icmp::echo(ends, true, port, answer.dst_port, &[0; 56]);
            hour.icmp(at, ends, &message);
        }
        Reaction::PortUnreachable => {
            let datagram = Udp::new(spoofed, &[0; 40]).bytes();
            let quoted = hour.unseen(spoofed, 17, &datagram);
            hour.unreachable(at, victim, &quoted, false);
        }
        Reaction::HostUnreachable | Reaction::Prohibited | Reaction::TimeExceeded => {
            let quoted = hour.unseen(spoofed, 6, &Tcp::new(spoofed, SYN, seq).bytes());
            let (kind, code) = match (reaction, router.is_ipv6()) {
                (Reaction::HostUnreachable, false) => (3, 1),
                (Reaction::HostUnreachable, true) => (1, 3),
                (Reaction::Prohibited, false) => (3, 13),
                (Reaction::Prohibited, true) => (1, 1),
                (_, false) => (11, 0),
                (_, true) => (3, 0),
            };
            let ends = (router, answer.dst);
            let message = icmp::error(ends, kind, code, &quoted, 548);
            hour.icmp(at, ends, &message);
        }
    }
}

/// A server that answers a flood with SYN cookies: one SYN+ACK for each SYN, never repeated. Real
/// clients of ours get theirs as well, and complete it.
pub(super) fn cookies(hour: &mut Hour) -> Known {
    let server = hour.remote();
    for begin in [hour.end / 6, hour.end * 2 / 3] {
        for at in hour.times(begin, SECOND / 120) {
            if at > begin + 3 * MINUTE {
                break;
            }
            let (flow, alive) = answer_to(hour, server.address, 443);
            let (cookie, ack) = (hour.rng.next_u32(), hour.rng.next_u32());
            let answer = Tcp::new(flow, SYN | ACK, cookie).ack(ack);
            hour.tcp(at, &answer.options(&COOKIE_OPTIONS));
            if alive {
                let reset = Tcp::new(flow.reversed(), RST, ack);
                hour.tcp(at + MS / 5, &reset);
            }
        }
    }
    for i in 0..200 {
        let client = hour.near(public(8 * (1 + i % 30)));
        let at = hour.between(0, hour.end * 99 / 100);
        let path = hour.path(client, server, 443);
        let mut talk = hour.open(at, path);
        hour.exchange(&mut talk, b"question", b"answer");
        hour.close(talk, By::Client);
    }
    Known {
        sources: vec![server.address],
        naive: vec![naive(
            "stealth_scan",
            "a rule that takes SYN+ACK without a question for probes sees the server scan us",
        )],
    }
}
