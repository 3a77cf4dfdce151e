//! What the BPF programs cost in the kernel, for each kind of plain frame.
//!
//! Frames go through a veth pair in a network namespace of the bench's own, with one program after another at work in
//! each round: the figure is the median difference to a program of one instruction in the same round. Needs root.

#[path = "../tests/common/netns.rs"]
mod netns;

use std::time::Instant;

use craft::{ACK, Flow, SYN};
use libc::sock_filter;
use netns::{Veth, with_veth};
use packet::{Tap, TxSocket};
use synledger::capture::bpf::depth::{control_only, headers, without_bulk};
use synledger::capture::bpf::fanout::{Keys, Mode, program};
use synledger::capture::frame::{Class, LinkType};
use synledger::capture::socket::{GATE, accept};
use synledger::capture::tunnels::Tunnels;

const ROUNDS: usize = 61;
const FRAMES: usize = 4_000;
const WORKERS: u32 = 4;
/// Bytes that filters keep.
const SNAPLEN: u32 = 192;

/// A plain frame of each kind.
fn frames() -> [(&'static str, Vec<u8>); 4] {
    let v4 = Flow::v4([192, 0, 2, 1], 1024, [10, 0, 0, 5], 80);
    let v6 = Flow::v6(
        [0xfd00, 0, 0, 0, 0, 0, 0, 1],
        1024,
        [0xfd00, 0, 0, 0, 0, 0, 0, 2],
        80,
    );
    let tcp = |flow: Flow, flags| {
        let segment = craft::Tcp::new(flow, flags, 1).bytes();
        craft::Ip::new(flow.src, flow.dst, 6).bytes(&segment)
    };
    let udp = craft::Udp::new(v4, &[0; 20]).bytes();
    let udp = craft::Ip::new(v4.src, v4.dst, 17).bytes(&udp);
    let ethernet = |ip: &[u8]| craft::Link::ethernet().frame(ip);
    [
        ("IPv4 SYN", ethernet(&tcp(v4, SYN))),
        ("IPv4 data", ethernet(&tcp(v4, ACK))),
        ("IPv4 UDP", ethernet(&udp)),
        ("IPv6 SYN", ethernet(&tcp(v6, SYN))),
    ]
}

/// Nanoseconds a frame, sent and run through the program at once: the kernel does both before `send` returns.
fn sent(socket: &TxSocket, frame: &[u8]) -> f64 {
    let begin = Instant::now();
    for _ in 0..FRAMES {
        socket.send(frame).expect("the link is up");
    }
    begin.elapsed().as_nanos() as f64 / FRAMES as f64
}

/// Prints what `install` of each program costs a frame, by the rounds' differences to `one`.
fn figure(
    what: &str,
    socket: &TxSocket,
    one: &[sock_filter],
    program: &[sock_filter],
    install: impl Fn(&[sock_filter]),
) {
    for (kind, frame) in frames() {
        let mut differences: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let [without, with] = [one, program].map(|program| {
                    install(program);
                    sent(socket, &frame)
                });
                with - without
            })
            .collect();
        differences.sort_by(f64::total_cmp);
        let quarter = ROUNDS / 4;
        eprintln!(
            "{what}, {kind}: {:.1} ns (quartiles {:.1} to {:.1}), {} instructions in all",
            differences[ROUNDS / 2],
            differences[quarter],
            differences[ROUNDS - 1 - quarter],
            program.len(),
        );
    }
}

/// A fanout group on one end of the pair, whose members keep nothing.
fn fanout(what: &str, listen: u32, socket: &TxSocket) {
    let members: Vec<Tap> = (0..Class::COUNT * WORKERS as usize)
        .map(|_| {
            let member = Tap::open(listen, true).expect("root may listen");
            member.filter(&GATE).expect("a filter");
            member.join(1).expect("the member joins");
            member
        })
        .collect();
    let program = program(&Keys::from_seed(1), WORKERS, Mode::Fanout);
    figure(what, socket, &GATE, &program, |program| {
        members[0]
            .set_fanout_program(program)
            .expect("the kernel takes it");
    });
}

/// Filters of a socket whose queue is always full, so that a frame that they keep goes no further.
fn filters(listen: u32, socket: &TxSocket) {
    let tap = Tap::open(listen, true).expect("root may listen");
    let programs = [
        (
            "headers",
            headers(LinkType::Ethernet, SNAPLEN, 2048, &Tunnels::NONE),
        ),
        (
            "without bulk",
            without_bulk(LinkType::Ethernet, SNAPLEN, &Tunnels::NONE),
        ),
        ("control only", control_only(SNAPLEN)),
    ];
    for (what, program) in programs {
        figure(
            &format!("filter, {what}"),
            socket,
            &accept(SNAPLEN),
            &program,
            |program| {
                tap.filter(program).expect("a filter");
            },
        );
    }
}

fn main() {
    with_veth(|Veth { sender, sensor }| {
        let socket = TxSocket::open(sender).expect("root may send");
        fanout("fanout, in", sensor, &socket);
        fanout("fanout, out", sender, &socket);
        filters(sensor, &socket);
    });
}
