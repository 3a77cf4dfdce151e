//! Traffic between peers: file sharing, and calls.

use super::hour::{Host, Hour, MINUTE, MS, Path, SECOND, inside, public, public_v6};
use super::payload::{bittorrent, dht, noise, rtcp, rtp, stun};
use super::talk::{By, Talk};
use super::{Known, naive};
use crate::transport::Flow;

/// The port on which the file sharing node listens, TCP and UDP.
const NODE_PORT: u16 = 51_413;

/// What becomes of a connection to a peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Served,
    Silent,
    Refused,
    Rejected,
}

/// A peer, its port, and whether it can be reached.
#[derive(Clone, Copy)]
struct Peer {
    host: Host,
    port: u16,
    fate: Fate,
}

/// A file sharing node and 300 peers, half of which are gone.
pub(super) fn sharing(hour: &mut Hour) -> Known {
    let node = hour.near(inside(40, 0, 20));
    let mut peers = Vec::new();
    for i in 0..300 {
        let fate = match i % 20 {
            0..=9 => Fate::Served,
            10..=16 => Fate::Silent,
            17 | 18 => Fate::Refused,
            _ => Fate::Rejected,
        };
        let (host, port) = (hour.remote(), hour.port(10_000, 65_535));
        peers.push(Peer { host, port, fate });
    }
    for peer in peers
        .iter()
        .filter(|peer| peer.fate == Fate::Served)
        .take(15)
    {
        let path = hour.path(node, peer.host, peer.port);
        let at = hour.between(0, MINUTE);
        let talk = hour.resume(at, path);
        trade(hour, talk);
    }
    // A new file: the node looks for peers fast, later from time to time.
    let fast = hour.end / 3;
    let mut opens = hour.times(0, 5 * SECOND / 2);
    opens.retain(|&at| at < fast);
    opens.extend(hour.times(fast, 6 * SECOND));
    for at in opens {
        let peer = hour.pick(&peers);
        dial_peer(hour, at, node, peer);
    }
    for at in hour.times(0, 8 * SECOND) {
        let peer = hour.pick(&peers).host;
        let path = hour.path(peer, node, NODE_PORT);
        pieces(hour, at, path);
    }
    for at in hour.times(0, 8 * SECOND) {
        lookup(hour, at, node, &peers);
    }
    let alive: Vec<Peer> = peers
        .iter()
        .copied()
        .filter(|peer| peer.fate == Fate::Served)
        .collect();
    for at in hour.times(0, 3 * SECOND) {
        let peer = hour.pick(&alive);
        let flow = dht_flow(node, peer).reversed();
        let (question, answer) = (dht(&mut hour.rng, false), dht(&mut hour.rng, true));
        hour.udp(at, flow, &question);
        hour.udp(at + MS / 2, flow.reversed(), &answer);
    }
    Known {
        sources: vec![node.address],
        naive: vec![naive(
            "slow_scan",
            "the node tries many ports of many peers, and half of that fails",
        )],
    }
}

fn dial_peer(hour: &mut Hour, at: i64, node: Host, peer: Peer) {
    let path = hour.path(node, peer.host, peer.port);
    match peer.fate {
        Fate::Served => pieces(hour, at, path),
        Fate::Silent => drop(hour.silent(at, path, 2)),
        Fate::Refused => drop(hour.refused(at, path)),
        Fate::Rejected => drop(hour.rejected(at, path, false)),
    }
}

/// Handshakes, then a few pieces, and an end that is not always a clean one.
fn pieces(hour: &mut Hour, at: i64, path: Path) {
    let mut talk = hour.open(at, path);
    let (hello, answer) = (bittorrent(&mut hour.rng), bittorrent(&mut hour.rng));
    hour.exchange(&mut talk, &hello, &answer);
    trade(hour, talk);
}

fn trade(hour: &mut Hour, mut talk: Talk) {
    for _ in 0..hour.between(0, 4) {
        talk.now += hour.between(SECOND, 20 * SECOND);
        let (request, piece) = (noise(&mut hour.rng, 17), noise(&mut hour.rng, 2000));
        hour.exchange(&mut talk, &request, &piece);
    }
    match hour.rng.below(3) {
        0 => hour.close(talk, By::Client),
        1 => hour.close(talk, By::Server),
        _ => hour.reset(talk, By::Client),
    };
}

fn dht_flow(node: Host, peer: Peer) -> Flow {
    Flow {
        src: node.address,
        dst: peer.host.address,
        src_port: NODE_PORT,
        dst_port: peer.port,
    }
}

/// One search in the distributed table: eight peers are asked, those that are gone twice.
fn lookup(hour: &mut Hour, at: i64, node: Host, peers: &[Peer]) {
    for i in 0..8 {
        let peer = hour.pick(peers);
        let (flow, sent) = (dht_flow(node, peer), at + i * 150 * MS);
        let question = dht(&mut hour.rng, false);
        let packet = hour.udp(sent, flow, &question);
        let answered = sent + hour.jitter(peer.host.delay_ns);
        match peer.fate {
            Fate::Served => {
                let answer = dht(&mut hour.rng, true);
                hour.udp(answered, flow.reversed(), &answer);
            }
            Fate::Silent => drop(hour.udp(sent + 2 * SECOND, flow, &question)),
            Fate::Refused => hour.unreachable(answered, flow.dst, &packet, false),
            Fate::Rejected => hour.unreachable(answered, flow.dst, &packet, true),
        }
    }
}

/// Telephone calls of an exchange through one gateway, and calls between browsers.
pub(super) fn calls(hour: &mut Hour) -> Known {
    let exchange = hour.near(public(60));
    let gateway = hour.remote();
    for at in hour.times(0, 10 * SECOND) {
        telephone(hour, at, exchange, gateway);
    }
    let browsers: Vec<_> = (1..=10)
        .map(|i| (hour.near(inside(80, 0, i)), hour.near(public_v6(80, i))))
        .collect();
    let (server, relay) = (hour.remote(), hour.remote());
    for at in hour.times(0, MINUTE / 2) {
        let (v4, v6) = hour.pick(&browsers);
        browser_call(hour, at, (v4, v6), server, relay);
    }
    Known {
        sources: vec![exchange.address, gateway.address],
        naive: vec![naive(
            "udp_scan",
            "RTP and RTCP of each call have new ports of the gateway, and of the exchange",
        )],
    }
}

/// SIP and media of one call. The exchange's ports and the gateway's are even and random, RTCP uses
/// the next ones.
fn telephone(hour: &mut Hour, at: i64, exchange: Host, gateway: Host) {
    let sip = Flow {
        src: exchange.address,
        dst: gateway.address,
        src_port: 5060,
        dst_port: 5060,
    };
    let rtt = hour.jitter(gateway.delay_ns);
    let call = hour.rng.next_u32();
    let message = |line: &str| format!("{line}\r\nCall-ID: {call}\r\n\r\n").into_bytes();
    hour.udp(at, sip, &message("INVITE sip:100@example.net SIP/2.0"));
    hour.udp(at + rtt, sip.reversed(), &message("SIP/2.0 100 Trying"));
    let begin = at + hour.between(2 * SECOND, 9 * SECOND);
    hour.udp(begin, sip.reversed(), &message("SIP/2.0 200 OK"));
    hour.udp(begin + MS, sip, &message("ACK sip:100@example.net SIP/2.0"));
    let end = begin + hour.between(20 * SECOND, 110 * SECOND);
    let even = |port: u16| port & !1;
    let media = Flow {
        src_port: even(hour.port(10_000, 20_000)),
        dst_port: even(hour.port(16_384, 32_766)),
        ..sip
    };
    stream(hour, media, begin + 5 * MS, end, rtt);
    hour.udp(end, sip, &message("BYE sip:100@example.net SIP/2.0"));
    hour.udp(end + rtt, sip.reversed(), &message("SIP/2.0 200 OK"));
}

/// Media both ways: words of 0.2 s, then comfort noise each second; reports each 5 s.
fn stream(hour: &mut Hour, media: Flow, begin: i64, end: i64, rtt: i64) {
    let answer = rtt.min(195 * MS);
    for (flow, from) in [(media, begin), (media.reversed(), begin + answer)] {
        let id = hour.rng.next_u32();
        let (mut at, mut sequence) = (from, hour.rng.next_u16());
        while at < end {
            let speaking = at - from < SECOND / 5;
            let packet = rtp(&mut hour.rng, sequence, id, !speaking);
            hour.udp(at, flow, &packet);
            sequence = sequence.wrapping_add(1);
            at += if speaking { 20 * MS } else { SECOND };
        }
        let reports = Flow {
            src_port: flow.src_port + 1,
            dst_port: flow.dst_port + 1,
            ..flow
        };
        let mut at = from + SECOND / 10;
        while at < end {
            hour.udp(at, reports, &rtcp(id));
            at += 5 * SECOND;
        }
    }
}

/// A call of a browser: it asks a server for its address, then checks 12 candidates of the other
/// browser, most of which are addresses in a network that it cannot reach.
fn browser_call(hour: &mut Hour, at: i64, (v4, v6): (Host, Host), server: Host, relay: Host) {
    let own = hour.ephemeral(v4.address);
    let other = hour.remote();
    let other_v6 = hour.remote_v6();
    let discovery = hour.path(v4, server, 3478).flow.from_port(own);
    ask_stun(hour, at, discovery, Some(server.delay_ns), 1);
    let mut candidates = Vec::new();
    for i in 0..12 {
        let host = match i {
            0..=3 => hour.near(inside(192 + i, 168, 7)),
            4..=6 => other,
            7..=9 => relay,
            _ => other_v6,
        };
        candidates.push((host, hour.port(32_768, 65_535)));
    }
    let chosen = 4 + hour.rng.index(6);
    for (i, (host, port)) in candidates.into_iter().enumerate() {
        let from = if host.address.is_ipv6() { v6 } else { v4 };
        let flow = hour.path(from, host, port).flow.from_port(own);
        let sent = at + SECOND + i64::try_from(i).expect("few") * 50 * MS;
        let answers = (i == chosen).then_some(host.delay_ns);
        let tries = if answers.is_some() { 1 } else { 4 };
        let packet = ask_stun(hour, sent, flow, answers, tries);
        if answers.is_some() {
            let length = hour.between(10 * SECOND, 40 * SECOND);
            stream_one_port(hour, flow, sent + SECOND, sent + length, host.delay_ns);
        } else if i == 5 && hour.percent(50) {
            let delay = hour.jitter(host.delay_ns);
            hour.unreachable(sent + delay, host.address, &packet, false);
        }
    }
}

/// STUN requests at 0, 0.5, 1.5, 3.5 s until one is answered. Returns the first packet.
fn ask_stun(hour: &mut Hour, at: i64, flow: Flow, answers: Option<i64>, tries: usize) -> Vec<u8> {
    let transaction = hour.rng.next_u64();
    let request = stun(transaction, false);
    let packet = hour.udp(at, flow, &request);
    for after in [500, 1500, 3500].iter().take(tries - 1) {
        hour.udp(at + after * MS, flow, &request);
    }
    if let Some(delay) = answers {
        let answered = at + hour.jitter(delay);
        hour.udp(answered, flow.reversed(), &stun(transaction, true));
    }
    packet
}

/// Media of a browser: all on one port, RTCP as well.
fn stream_one_port(hour: &mut Hour, media: Flow, begin: i64, end: i64, delay: i64) {
    for (flow, from) in [(media, begin), (media.reversed(), begin + delay)] {
        let id = hour.rng.next_u32();
        let mut at = from;
        let mut sequence = 0;
        while at < end {
            let packet = rtp(&mut hour.rng, sequence, id, true);
            hour.udp(at, flow, &packet);
            sequence += 1;
            at += SECOND;
        }
    }
}
