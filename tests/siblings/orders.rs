//! Siblings whose events come in each order.

use super::*;

/// A tap or a mirror port shows the handshake out of order; stamps are those of the tap.
#[test]
fn the_handshake_in_each_order() {
    let mut kind = Kind::new("synack_before_syn");
    for ends in Ends::ALL {
        let talk = Talk::of(ends);
        let whole = talk.whole();
        let (handshake, rest) = whole.split_at(3);
        for order in ORDERS {
            let shuffled = reordered(handshake, order);
            for apart_ns in [20_000, 200 * MS] {
                let what = format!("{order:?}, {apart_ns} ns apart");
                let right = Right::established(talk.flow_of("S1", &shuffled));
                let alone = capture(&shuffled, apart_ns);
                kind.check_capture(ends, &format!("alone, {what}"), &alone, &right);
                let right = Right::established(talk.flow_of("SF", &whole));
                let all = capture(&[&shuffled, rest].concat(), apart_ns);
                kind.check_capture(ends, &what, &all, &right);
            }
        }
    }
    kind.end();
}

/// The stamps are right; only the order of the frames in the file is not.
#[test]
fn the_frames_of_the_handshake_in_each_order_of_the_file() {
    let mut kind = Kind::new("synack_before_syn_in_file_only");
    for ends in Ends::ALL {
        let talk = Talk::of(ends);
        let whole = talk.whole();
        for apart_ns in [30_000, 4 * MS] {
            for order in ORDERS {
                let mut all = capture(&whole, apart_ns);
                let shuffled = reordered(&all.frames, order);
                all.frames[..3].clone_from_slice(&shuffled);
                // Those behind a frame that is newer.
                let overtaken = (1..3).filter(|&at| order[..at].iter().max() > Some(&order[at]));
                let overtaken = u64::try_from(overtaken.count()).expect("few");
                let right = Right::established(talk.flow_of("SF", &whole))
                    .count("frames_reordered", overtaken)
                    .count("packets_early", 0)
                    .count("late_packets", 0);
                let what = format!("{order:?}, {apart_ns} ns apart");
                kind.check_capture(ends, &what, &all, &right);
            }
        }
    }
    kind.end();
}

/// The client acknowledges the SYN alone, a part of the data, or all of it; never more than was sent.
#[test]
fn data_in_the_syn_ack_in_each_order() {
    let mut kind = Kind::new("synack_with_data");
    for ends in Ends::ALL {
        let talk = Talk::of(ends);
        for (len, acked) in [(6, 6), (6, 0), (6, 7), (1400, 700)] {
            let data = vec![b'b'; usize::try_from(len).expect("short")];
            let handshake = [
                talk.syn(),
                talk.syn_ack().data(&data),
                talk.up(ACK, 0, acked, &[]),
            ];
            for order in ORDERS {
                let mut all = reordered(&handshake, order);
                all.push(talk.up(PSH | ACK, 0, acked, b"q"));
                let mut right = Right::established(talk.flow_of("S1", &all));
                right.outcomes[2] = u64::from(acked <= len);
                let what = format!("{acked} of {len} bytes acknowledged, {order:?}");
                kind.check_capture(ends, &what, &capture(&all, MS), &right);
            }
        }
    }
    kind.end();
}

/// The server speaks first: behind the SYN come its SYN+ACK, its banner, and the first ACK of the client, which covers
/// both, in each order.
#[test]
fn the_banner_and_the_first_ack_in_each_order() {
    let mut kind = Kind::new("first_ack_covers_banner");
    let banner = b"SSH-2.0-x\r\n";
    let len = u32::try_from(banner.len()).expect("short");
    for ends in Ends::ALL {
        let talk = Talk::of(ends);
        // Data before the bare ACK, or none.
        for data in [&b""[..], b"SSH-2.0-y\r\n"] {
            let events = [
                talk.syn_ack(),
                talk.down(PSH | ACK, 0, 0, banner),
                talk.up(PSH | ACK, 0, len, data),
            ];
            let sent = u32::try_from(data.len()).expect("short");
            let rest = match sent {
                0 => vec![],
                _ => vec![talk.up(ACK, sent, len, &[]), talk.down(ACK, len, sent, &[])],
            };
            for order in ORDERS {
                let events = reordered(&events, order);
                let all = [&[talk.syn()], &events[..], &rest].concat();
                let right = Right::established(talk.flow_of("S1", &all));
                let what = format!("{sent} bytes up, {order:?}");
                kind.check_capture(ends, &what, &capture(&all, MS), &right);
            }
        }
    }
    kind.end();
}
