//! Conversations whose directions come by different interfaces: a tap, and asymmetric routes.

use super::conversation::{Conversation, write};
use super::sensor::{Ended, Sensor, of_type, record_values, records};
use super::traffic::{Sender, flow};
use crate::common::netns::{Veth, ip, wait_for_end, with_veth};
use crate::common::read_logs;
use craft::{ACK, RST, SYN};
use nix::sys::signal::Signal;
use std::time::Duration;

/// Conversations and refused ports.
const COUNT: u16 = 20;

/// Frames in their order; true: from the client.
fn traffic() -> Vec<(bool, Vec<u8>)> {
    let mut frames = Vec::new();
    for i in 0..COUNT {
        let one = Conversation::new(flow(7, 20_000 + i, 1, 443));
        // Plain Ethernet and IPv4: the sender's address.
        let client = one.up(SYN, 0, 0, b"")[26..30].to_vec();
        let up = |frame: &Vec<u8>| frame[26..30] == client;
        let whole = one.whole(&[100, u32::from(i)], &[200]);
        frames.extend(whole.into_iter().map(|frame| (up(&frame), frame)));
        let refused = Conversation::new(flow(8, 30_000 + i, 1, 100 + i));
        frames.push((true, refused.up(SYN, 0, 0, b"")));
        frames.push((false, refused.down(RST | ACK, 0, 1, b"")));
    }
    frames
}

/// A second pair beside the one of the namespace.
fn second_pair() -> Veth {
    ip("link add sender2 mtu 9000 type veth peer name sensor2 mtu 9000");
    ip("link set sender2 up");
    ip("link set sensor2 up");
    wait_for_end("sensor2");
    let index = |name| nix::net::if_::if_nametoindex(name).expect("it was just made");
    Veth {
        sender: index("sender2"),
        sensor: index("sensor2"),
    }
}

/// Each direction by a pair of its own; with `copies` each frame by the other pair, too, a moment later.
fn seen_live(veth: Veth, copies: bool, workers: &str) -> Ended {
    let second = second_pair();
    let sensor = Sensor::start(&["-i", "sensor2", "--workers", workers]);
    let senders = [Sender::new(veth), Sender::new(second)];
    for (up, frame) in traffic() {
        senders[usize::from(!up)].send(&frame);
        std::thread::sleep(Duration::from_micros(300));
        if copies {
            senders[usize::from(up)].send(&frame);
            std::thread::sleep(Duration::from_micros(300));
        }
    }
    let ended = sensor.stop(Signal::SIGINT);
    ended.assert_exact();
    ended
}

fn assert_as_in_one_place(copies: bool, workers: &'static str) {
    with_veth(move |veth| {
        let dir = tempfile::tempdir().expect("a folder");
        let frames: Vec<_> = traffic().into_iter().map(|(_, frame)| frame).collect();
        let file = write(dir.path(), &frames);
        let (_, eve, output) = read_logs(dir.path(), &[], &[file]);
        assert!(output.status.success(), "{output:?}");
        let read = records(&String::from_utf8_lossy(&eve));

        let ended = seen_live(veth, copies, workers);
        assert_eq!(
            record_values(&ended.eve, "flow"),
            record_values(&read, "flow")
        );
        let count = u64::from(COUNT);
        assert_eq!(ended.outcomes(), [count; 3], "{}", ended.stderr);
        for flow in of_type(&ended.eve, "flow") {
            let names = (&flow["in_iface"], &flow["synledger"]["in_iface_resp"]);
            assert_eq!(names, (&"sensor".into(), &"sensor2".into()), "{flow}");
        }
    });
}

#[test]
fn a_tap_gives_what_a_capture_in_one_place_gives() {
    assert_as_in_one_place(false, "1");
    assert_as_in_one_place(false, "2");
}

#[test]
fn copies_of_a_direction_at_its_other_interface_count_as_copies() {
    assert_as_in_one_place(true, "2");
}
