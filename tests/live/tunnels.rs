//! Tunnels that `--decap` opens: at each depth, with several workers, and as this kernel writes them.

use super::conversation::Conversation;
use super::sensor::{Ended, Sensor, of_type};
use super::traffic::Sender;
use crate::common::netns::{SENSOR, ip, try_ip, with_veth};
use crate::common::{RUN, syn, synledger};
use craft::{Ext, Flow, Ip, Link, Udp};
use nix::sys::signal::Signal;
use packet::TxSocket;

const PAIRS: u8 = 12;

fn inner(pair: u8) -> Flow {
    Flow::v4([192, 0, 2, pair], 1024, [198, 51, 100, pair], 443)
}

/// A frame between two hosts in one of five kinds of tunnels. Of VXLAN and Geneve the source port is another one in each
/// direction, as by the hash of what is inside.
fn wrapped(pair: u8, frame: &[u8], back: bool) -> Vec<u8> {
    let [a, b] = if back { [2, 1] } else { [1, 2] };
    let from = 50_000 + 7 * u16::from(pair) + 100 * u16::from(back);
    let six = |last| [0x2001, 0xdb8, 0, 0, 0, 0, u16::from(pair), last];
    let (v4, v6) = (
        Flow::v4([10, 0, pair, a], from, [10, 0, pair, b], 4789),
        Flow::v6(six(u16::from(a)), from, six(u16::from(b)), 6081),
    );
    let ip4 = |proto, payload: &[u8]| Ip::new(v4.src, v4.dst, proto).bytes(payload);
    let outer = match pair % 5 {
        0 => ip4(
            17,
            &Udp::new(v4, &[&[8, 0, 0, 0, 0, 0, 7, 0], frame].concat()).bytes(),
        ),
        1 => {
            let data = [&[0, 0, 0x65, 0x58, 0, 0, 7, 0], frame].concat();
            Ip::new(v6.src, v6.dst, 17).bytes(&Udp::new(v6, &data).bytes())
        }
        2 => ip4(
            47,
            &[&[0x20, 0, 0x08, 0, 0, 0, 0, 9], &frame[14..]].concat(),
        ),
        3 => ip4(4, &frame[14..]),
        // As Linux writes IPv4 in IPv6: with an encapsulation limit.
        _ => Ip::new(v6.src, v6.dst, 4)
            .ext(Ext::padding(60, 8))
            .bytes(&frame[14..]),
    };
    Link::ethernet().frame(&outer)
}

fn assert_all_inside(ended: &Ended, depth: &str) {
    ended.assert_exact();
    let new = ended.lines(": New connection: 192.0.2.");
    assert_eq!(new.len(), usize::from(PAIRS), "{depth}: {}", ended.text);
    let all = u64::from(PAIRS);
    assert_eq!(ended.outcomes(), [all, all, 0], "{depth}: {}", ended.stderr);
    let last = of_type(&ended.eve, "stats").last().expect("the last books");
    let books = &last["synledger"]["totals"]["books"];
    assert_eq!(books["misrouted_frames"], 0, "{depth}: {books:#}");
    assert_eq!(books["syn_outside_class"]["tunnel"], all, "{depth}");
    assert_eq!(books["frames_cut_by_depth"], 0, "{depth}");
    assert_eq!(books["tunnels_opened"]["geneve"], 9, "{depth}: {books:#}");
}

#[test]
fn connections_in_tunnels_are_whole_at_every_depth_whatever_the_number_of_workers() {
    for (depth, workers) in [
        ("headers", "3"),
        ("control", "3"),
        ("full", "1"),
        ("headers", "2"),
    ] {
        with_veth(move |veth| {
            let args = ["--workers", workers, "--capture", depth, "--decap", "all"];
            let sensor = Sensor::start(&args);
            let sender = Sender::new(veth);
            // One handshake segment at a time, of all pairs.
            for at in 0..3 {
                for pair in 1..=PAIRS {
                    let frames = Conversation::new(inner(pair)).handshake();
                    sender.send(&wrapped(pair, &frames[at], at == 1));
                }
            }
            assert_all_inside(&sensor.stop(Signal::SIGINT), depth);
        });
    }
}

/// Devices of this kernel: what it wraps is opened.
#[test]
fn tunnels_as_this_kernel_writes_them_are_opened() {
    with_veth(|_| {
        ip(&format!("address add 10.0.0.1/24 dev {SENSOR}"));
        ip(&format!(
            "neighbour add 10.0.0.2 lladdr 02:00:00:00:00:09 dev {SENSOR}"
        ));
        let ends = "remote 10.0.0.2 local 10.0.0.1";
        let mut made = Vec::new();
        for device in [
            format!("vx0 type vxlan id 7 dstport 8472 {ends}"),
            "gv0 type geneve id 7 remote 10.0.0.2".to_owned(),
            format!("gt0 type gretap key 9 csum {ends}"),
        ] {
            let name = &device[..3];
            match try_ip(&format!("link add {device}")) {
                Err(why) => eprintln!("skipped: {name}: {why}"),
                Ok(()) => {
                    ip(&format!("link set {name} up"));
                    made.push(name.to_owned());
                }
            }
        }
        let mut command = synledger();
        command.args(RUN).args([
            "-i",
            SENSOR,
            "--workers",
            "2",
            "--memory-mib",
            "128",
            "--ring-mib",
            "8",
        ]);
        let sensor = Sensor::start_command(command.args(["--decap", "vxlan:8472,geneve,gre"]));
        for (pair, name) in (1..).zip(&made) {
            let index = nix::net::if_::if_nametoindex(name.as_str()).expect("it was just made");
            let sender = TxSocket::open(index).expect("a sender opens");
            let frame = Link::ethernet().frame(&syn(inner(pair), 7));
            sender.send(&frame).expect("a frame goes out");
        }
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        let new = ended.lines(": New connection: 192.0.2.");
        assert_eq!(new.len(), made.len(), "{made:?}: {}", ended.text);
        for word in ["vx0", "gv0", "gt0"] {
            let hint = ended.stderr.contains(&format!("{word} to -i"));
            assert!(!hint, "{}", ended.stderr);
        }
    });
}
