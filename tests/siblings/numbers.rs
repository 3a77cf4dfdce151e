//! Siblings of sequence numbers, closed connections and time stamps.

use super::common::said::SECOND;
use super::*;
use craft::Udp;

/// Both sides of a firewall that changes numbers: each side has its own handshake, on the same ports.
#[test]
fn both_sides_of_a_firewall() {
    let mut kind = Kind::new("isn_rewriting_firewall_two_sides");
    let tagged = |vlan| Link::ethernet().vlan(vlan);
    let links = [
        [tagged(10), tagged(20)],
        [tagged(20), tagged(10)],
        [Link::ethernet(), Link::ethernet()],
        [Link::ethernet().qinq(7, 10), Link::ethernet().qinq(7, 20)],
    ];
    for ends in Ends::ALL {
        let inner = Talk::of(ends);
        let outer = Talk {
            numbers: Numbers(1 << 30, 1 << 31),
            ..inner
        };
        let sides = [inner, outer].map(|talk| {
            let data = talk.up(PSH | ACK, 0, 0, &[b'x'; 10]);
            [talk.syn(), talk.syn_ack(), talk.ack(), data]
        });
        let flows = [(inner, &sides[0]), (outer, &sides[1])];
        let right = Right {
            outcomes: [2, 2, 2, 0],
            flows: flows.map(|(talk, all)| talk.flow_of("S1", all)).to_vec(),
            counts: vec![("syn_retransmitted", 0)],
        };
        for links in &links {
            // What goes up meets the inner side first, what goes down the outer one; or each side is seen alone first.
            for order in [
                [0, 4, 5, 1, 2, 6, 3, 7],
                [0, 4, 1, 5, 2, 6, 3, 7],
                [4, 0, 5, 1, 6, 2, 7, 3],
            ] {
                let mut all = Capture::new("firewall", LinkType::Ethernet);
                for (at, number) in (0..).zip(order) {
                    let side = number / 4;
                    let tcp = &sides[side][number % 4];
                    all.push(START_NS + at * 100_000, frame(&links[side], tcp));
                }
                let tags = links.each_ref().map(|link| &link.vlans);
                let what = format!("{order:?}, {tags:?}");
                kind.check_capture(ends, &what, &all, &right);
            }
        }
    }
    kind.end();
}

/// What a stack sends again of a closed connection.
#[test]
fn the_end_of_a_connection_again() {
    let mut kind = Kind::new("fin_again_after_linger");
    for ends in Ends::ALL {
        let talk = Talk::of(ends);
        let mut server_first = talk.whole();
        server_first.truncate(5);
        server_first.extend([
            talk.down(FIN | ACK, 200, 100, &[]),
            talk.up(FIN | ACK, 100, 201, &[]),
            talk.down(ACK, 201, 101, &[]),
        ]);
        for segments in [talk.whole(), server_first] {
            let right = Right::established(talk.flow_of("SF", &segments))
                .count("midstream_flows", 0)
                .count("flows_opened", 1);
            // The last FIN and its ACK; the ACK alone; the first FIN; all three.
            for again in [&[6, 7][..], &[7], &[5], &[5, 6, 7]] {
                for after in [6, 119] {
                    let mut all = capture(&segments, 10 * MS);
                    for (at, &number) in (0..).zip(again) {
                        let bytes = frame(&Link::ethernet(), &segments[number]);
                        all.push(START_NS + after * SECOND + at * 10 * MS, bytes);
                    }
                    let count = u64::try_from(again.len()).expect("few");
                    let right = Right {
                        flows: right.flows.clone(),
                        counts: right.counts.clone(),
                        ..right
                    };
                    let right = right.count("packets_after_end", count);
                    let what = format!("segments {again:?} after {after} s");
                    kind.check_capture(ends, &what, &all, &right);
                }
            }
        }
    }
    kind.end();
}

/// A SYN at 0, 200, 300 and 310 s, of which the second is a new attempt; among them a frame with a wrong stamp.
#[test]
fn a_frame_with_a_wrong_stamp() {
    let mut kind = Kind::new("one_stamp_in_2106");
    for ends in Ends::ALL {
        let flow = ends.flow();
        let syns = [(0, 1, 7), (200, 1, 7), (300, 2, 7), (310, 3, 8)];
        let udp = Udp::new(flow.from_port(53).to_port(53), b"");
        let udp = Ip::new(flow.src, flow.dst, 17).bytes(&udp.bytes());
        let udp = Link::ethernet().frame(&udp);
        let mut flows = vec!["S0 1 0 0 0".to_owned(); 5];
        flows.sort();
        for (wrong_ns, outlying) in [
            (4_294_967_000 * SECOND, 1),
            (START_NS + 3_600 * SECOND, 1),
            (START_NS + 310 * SECOND + 601 * SECOND, 1),
            (0, 0),
        ] {
            for place in 0..syns.len() {
                let mut all = Capture::new("stamp", LinkType::Ethernet);
                for (at, (second, port, isn)) in syns.into_iter().enumerate() {
                    if at == place {
                        all.push(wrong_ns, udp.clone());
                    }
                    let syn = Tcp::new(flow.from_port(1000 + port), SYN, isn);
                    all.push(START_NS + second * SECOND, frame(&Link::ethernet(), &syn));
                }
                // The first of all is one, too, so long before the others.
                let outlying = outlying.max(u64::from(place == 0));
                let right = Right {
                    outcomes: [4, 0, 0, 0],
                    flows: flows.clone(),
                    counts: vec![("stamps_outlying", outlying), ("clock_restarts", 0)],
                };
                let what = format!("{wrong_ns} before SYN {place}");
                kind.check_capture(ends, &what, &all, &right);
            }
        }
    }
    kind.end();
}
