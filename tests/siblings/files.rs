//! Siblings at the edges of files and interfaces.

use super::common::NANOS;
use super::common::said::{both_orders, write};
use super::*;
use craft::RST;

#[test]
fn a_conversation_over_two_files() {
    let mut kind = Kind::new("rotated_1 and rotated_2");
    for ends in Ends::ALL {
        let talk = Talk::of(ends);
        let segments = talk.whole();
        let right = Right::established(talk.flow_of("SF", &segments))
            .count("packets_other_interface", 0)
            .count("midstream_flows", 0);
        let all = capture(&segments, 10 * MS);
        for cut in 1..segments.len() {
            let end = ["pcap", "pcapng"][cut % 2];
            let dir = kind.dir.path();
            let head = write(dir, &format!("cap_1.{end}"), &all, |at| at < cut);
            let tail = write(dir, &format!("cap_2.{end}"), &all, |at| at >= cut);
            let files = &both_orders([head, tail])[cut / 2 % 2];
            kind.check(ends, &format!("cut at {cut}"), files, &right);
        }
    }
    kind.end();
}

/// One whole conversation, five refused ports; what goes up is seen at one interface, what goes down at the other.
#[test]
fn a_tap_with_an_interface_for_each_direction() {
    let mut kind = Kind::new("tap_pair");
    for ends in Ends::ALL {
        let talk = Talk::of(ends);
        let segments = talk.whole();
        let mut right = Right::established(talk.flow_of("SF", &segments))
            .count("packets_other_interface", 0)
            .count("port_scan_started", 1);
        right.outcomes = [6, 1, 1, 5];
        let mut all = segments.clone();
        for port in 1..=5 {
            let flow = talk.flow.to_port(port).from_port(6000 + port);
            let refused = Talk { flow, ..talk };
            let mut reset = refused.syn_ack();
            (reset.flags, reset.seq) = (RST | ACK, 0);
            let pair = [refused.syn(), reset];
            right.flows.push(refused.flow_of("REJ", &pair));
            all.extend(pair);
        }
        for up_at in [0, 1] {
            let mut tap = capture(&all, 10 * MS);
            for (frame, tcp) in tap.frames.iter_mut().zip(&all) {
                let is_up = tcp.flow.src == talk.flow.src;
                frame.interface = if is_up { up_at } else { 1 - up_at };
            }
            let file = kind.file("tap.pcapng", &tap.to_pcapng());
            kind.check(ends, &format!("up at {up_at}"), &[file], &right);
        }
    }
    kind.end();
}

/// Each frame at one interface, then at another, whose numbers only the cooked header holds.
#[test]
fn a_cooked_capture_of_two_interfaces() {
    let mut kind = Kind::new("any_sll2_two_interfaces");
    let link = Link::new(LinkType::Sll2);
    for ends in Ends::ALL {
        let talk = Talk::of(ends);
        let segments = talk.whole();
        let copies = u64::try_from(segments.len()).expect("few") - 1;
        let right = Right::established(talk.flow_of("SF", &segments))
            .count("syn_retransmitted", 0)
            .count("syn_other_interface", 1)
            .count("packets_other_interface", copies);
        // The numbers differ in their first byte, or in their last.
        for indices in [[3, 5], [5, 3], [3, 3 << 24]] {
            for apart_ns in [0, 4_000, 9 * MS] {
                let mut any = Capture::new("any", LinkType::Sll2);
                for (at, tcp) in (0..).zip(&segments) {
                    for (copy, index) in (0..).zip(indices) {
                        let mut bytes = frame(&link, tcp);
                        bytes[4..8].copy_from_slice(&u32::to_be_bytes(index));
                        any.push(START_NS + at * 10 * MS + copy * apart_ns, bytes);
                    }
                }
                let what = format!("interfaces {indices:?}, {apart_ns} ns apart");
                let file = kind.file("any.pcap", &any.to_pcap(NANOS));
                kind.check(ends, &what, &[file], &right);
            }
        }
    }
    kind.end();
}
