//! The rules of detectors by brute force over a manifest: all touches are kept, each is evaluated with all others.

use super::manifest::{ACK, Content, FIN, Packet, RST, SYN, Segment};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

const SECOND_NS: i64 = 1_000_000_000;
const MINUTE_NS: i64 = 60 * SECOND_NS;
pub const DAY_US: i64 = 86_400_000_000;

/// A rule became true.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    pub kind: String,
    /// Time stamp of the deciding packet: microseconds of its day.
    pub day_us: i64,
    pub src: IpAddr,
    pub dst: IpAddr,
}

/// Microseconds of the day.
pub fn day_us(ts_ns: i64) -> i64 {
    ts_ns.div_euclid(1000).rem_euclid(DAY_US)
}

/// A touch: packet, and port or host.
#[derive(Clone, Copy)]
struct Touch {
    ts_ns: i64,
    src: IpAddr,
    dst: IpAddr,
    port: u16,
}

impl Touch {
    fn new(packet: &Packet, port: u16) -> Self {
        Self {
            ts_ns: packet.ts_ns,
            src: packet.src,
            dst: packet.dst,
            port,
        }
    }

    fn edge(&self, kind: &'static str) -> Edge {
        Edge {
            kind: kind.to_owned(),
            day_us: day_us(self.ts_ns),
            src: self.src,
            dst: self.dst,
        }
    }
}

/// Every rising edge of each rule, with its defaults, sorted.
pub fn edges(packets: &[Packet]) -> Vec<Edge> {
    let syns = touches(packets, |tcp| tcp.is_syn());
    let pair = |touch: &Touch| (touch.src, touch.dst);
    let port = |touch: &Touch| touch.port;
    let mut all = distinct("port_scan", &syns, pair, port, 4);
    let by_port = |touch: &Touch| (touch.src, touch.port);
    all.extend(distinct(
        "host_sweep",
        &syns,
        by_port,
        |touch| touch.dst,
        25,
    ));
    let probes = probes(packets);
    all.extend(distinct("stealth_scan", &probes, pair, port, 3));
    let opened = opened(packets);
    all.extend(distinct("udp_scan", &opened, pair, port, 10));
    all.extend(slow_scans(packets));
    all.sort();
    all
}

fn touches(packets: &[Packet], is: impl Fn(&Segment) -> bool) -> Vec<Touch> {
    let touch = |packet: &Packet| {
        let tcp = packet.tcp().filter(&is)?;
        Some(Touch::new(packet, tcp.dst_port))
    };
    packets.iter().filter_map(touch).collect()
}

/// Touches at which `least` items of a subject come to lie within a minute.
fn distinct<S: Copy + Eq + std::hash::Hash, I: Copy + Eq + std::hash::Hash>(
    kind: &'static str,
    touches: &[Touch],
    subject: impl Fn(&Touch) -> S,
    item: impl Fn(&Touch) -> I,
    least: usize,
) -> Vec<Edge> {
    let mut newest: HashMap<S, HashMap<I, i64>> = HashMap::new();
    let mut true_until: HashMap<S, i64> = HashMap::new();
    let mut edges = Vec::new();
    for touch in touches {
        let subject = subject(touch);
        let items = newest.entry(subject).or_default();
        let kept = items.entry(item(touch)).or_insert(touch.ts_ns);
        *kept = touch.ts_ns.max(*kept);
        let mut times: Vec<i64> = items.values().copied().collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        let within = times.iter().filter(|&&ts_ns| times[0] - ts_ns < MINUTE_NS);
        if within.count() < least {
            continue;
        }
        let is_new = |until: &i64| times[0] >= until + MINUTE_NS;
        if true_until.get(&subject).is_none_or(is_new) {
            edges.push(touch.edge(kind));
        }
        true_until.insert(subject, times[least - 1] + MINUTE_NS);
    }
    edges
}

type Ends = (IpAddr, u16, IpAddr, u16);

fn ends(packet: &Packet, tcp: &Segment) -> Ends {
    (packet.src, tcp.src_port, packet.dst, tcp.dst_port)
}

fn reversed((src, src_port, dst, dst_port): Ends) -> Ends {
    (dst, dst_port, src, src_port)
}

/// Touches of stealth_scan: segments without SYN, ACK and RST; SYN with FIN or RST; segments with ACK that opened
/// their flow, at the RST that answers them first.
fn probes(packets: &[Packet]) -> Vec<Touch> {
    let mut seen: HashSet<Ends> = HashSet::new();
    let mut open: HashMap<Ends, Segment> = HashMap::new();
    let mut found = Vec::new();
    for packet in packets {
        let Some(tcp) = packet.tcp() else { continue };
        let ends = ends(packet, &tcp);
        let there = reversed(ends);
        let is_first = !seen.contains(&ends) && !seen.contains(&there);
        seen.insert(ends);
        let flags = tcp.flags & (SYN | ACK | RST | FIN);
        let is_odd_syn = tcp.is_syn() && flags & (FIN | RST) != 0;
        if flags & (SYN | ACK | RST) == 0 || is_odd_syn {
            found.push(Touch::new(packet, tcp.dst_port));
        } else if flags & (SYN | ACK | RST) == ACK && tcp.payload == 0 && is_first {
            open.insert(ends, tcp);
        } else if let Some(probe) = open.remove(&there)
            && flags == RST
            && tcp.seq == probe.ack
        {
            found.push(Touch {
                ts_ns: packet.ts_ns,
                src: packet.dst,
                dst: packet.src,
                port: probe.dst_port,
            });
        }
    }
    found
}

/// Touches of udp_scan: datagrams that open a flow, and are no answers: these have payload.
fn opened(packets: &[Packet]) -> Vec<Touch> {
    let mut seen: HashSet<Ends> = HashSet::new();
    let mut found = Vec::new();
    for packet in packets {
        let Content::Udp {
            src_port,
            dst_port,
            len,
        } = packet.content
        else {
            continue;
        };
        let ends = (packet.src, src_port, packet.dst, dst_port);
        let is_first = !seen.contains(&reversed(ends)) && seen.insert(ends);
        let is_answer = src_port < 1024 && dst_port >= 1024 && len > 8;
        if is_first && !is_answer && !packet.dst.is_multicast() {
            found.push(Touch::new(packet, dst_port));
        }
    }
    found
}

/// One of the 12 newest pairs of destination and port of a source.
#[derive(Clone, Copy)]
struct Element {
    to: (IpAddr, u16),
    newest_ns: i64,
    answered: bool,
    refused: bool,
}

/// The elements of each source, and whether the rule is true there.
type Sources = HashMap<IpAddr, (Vec<Element>, bool)>;

/// slow_scan: of the 12 newest, 10 have failed, lie within 8 hours, and the oldest of these is a minute old.
fn slow_scans(packets: &[Packet]) -> Vec<Edge> {
    const KEPT: usize = 12;
    const LEAST: usize = 10;
    const WINDOW_NS: i64 = 8 * 3600 * SECOND_NS;
    let mut sources = Sources::new();
    let mut edges = Vec::new();
    for packet in packets {
        let Some(tcp) = packet.tcp() else { continue };
        if !tcp.is_syn() {
            answer(&mut sources, packet, &tcp);
            continue;
        }
        let to = (packet.dst, tcp.dst_port);
        let (elements, was_true) = sources.entry(packet.src).or_default();
        let now_ns = packet.ts_ns;
        match elements.iter_mut().find(|one| one.to == to) {
            Some(element) => element.newest_ns = now_ns,
            None => elements.push(Element {
                to,
                newest_ns: now_ns,
                answered: false,
                refused: false,
            }),
        }
        elements.sort_by_key(|one| std::cmp::Reverse(one.newest_ns));
        elements.truncate(KEPT);
        let silent = |one: &&Element| !one.refused && now_ns - one.newest_ns >= 5 * SECOND_NS;
        let failed = |one: &&Element| {
            !one.answered && (one.refused || silent(one)) && now_ns - one.newest_ns < WINDOW_NS
        };
        let failed: Vec<i64> = elements
            .iter()
            .filter(failed)
            .map(|one| one.newest_ns)
            .collect();
        let oldest = failed.iter().min().copied().unwrap_or(now_ns);
        let is_true = failed.len() >= LEAST && now_ns - oldest >= MINUTE_NS;
        if is_true && !*was_true {
            edges.push(Touch::new(packet, tcp.dst_port).edge("slow_scan"));
        }
        *was_true = is_true;
    }
    edges
}

/// Marks the element that a SYN+ACK or RST answers.
fn answer(sources: &mut Sources, packet: &Packet, tcp: &Segment) {
    let Some((elements, _)) = sources.get_mut(&packet.dst) else {
        return;
    };
    let to = (packet.src, tcp.src_port);
    if let Some(element) = elements.iter_mut().find(|one| one.to == to) {
        element.answered |= tcp.flags & (SYN | ACK) == SYN | ACK;
        element.refused |= tcp.flags & (RST | ACK) == RST | ACK;
    }
}

/// A flood rule, about: the packets that it counts may be fewer than these.
pub struct Flood {
    pub kind: &'static str,
    /// Packets a second that make a flood.
    pub least: u64,
    pub counts: fn(&Packet) -> bool,
}

/// Every flood rule, with its default.
pub const FLOODS: [Flood; 4] = [
    Flood {
        kind: "syn_flood",
        least: 1000,
        counts: |packet| packet.tcp().is_some_and(|tcp| tcp.is_syn()),
    },
    Flood {
        kind: "rst_flood",
        least: 5000,
        counts: |packet| packet.tcp().is_some_and(|tcp| tcp.flags & RST != 0),
    },
    Flood {
        kind: "udp_flood",
        least: 10_000,
        counts: |packet| matches!(packet.content, Content::Udp { .. }),
    },
    Flood {
        kind: "icmp_flood",
        least: 1000,
        counts: |packet| matches!(packet.content, Content::Icmp { .. }),
    },
];

/// Most packets of a kind to one destination within a second.
pub fn most_a_second(packets: &[Packet], is: fn(&Packet) -> bool) -> u64 {
    let mut times: HashMap<IpAddr, Vec<i64>> = HashMap::new();
    for packet in packets.iter().filter(|packet| is(packet)) {
        times.entry(packet.dst).or_default().push(packet.ts_ns);
    }
    let mut most = 0;
    for times in times.values() {
        let mut first = 0;
        for (at, ts_ns) in times.iter().enumerate() {
            while ts_ns - times[first] >= SECOND_NS {
                first += 1;
            }
            most = most.max(at + 1 - first);
        }
    }
    most as u64
}
