//! What is blocked does not arrive, whatever way it takes; all else does.

use super::super::common::netns::{SENDER, SENSOR};
use super::super::host::{add, kill_hard, remove, wait_until};
use super::super::packets::{
    BAD, GOOD, OURS, arrives, drops_what_is_blocked, drops_whole_prefixes, listen, with_neighbour,
    with_server_behind,
};
use super::{assert_nothing_left, mode_of, started, with_xdp};
use nix::sys::socket::{MsgFlags, recv};
use packet::{Tap, TxSocket};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;
use synledger::firewall::Order;

#[test]
fn packets_of_a_blocked_address_are_dropped_and_counted_and_those_of_others_arrive() {
    with_xdp(|| {
        let peer = with_neighbour();
        let mut host = started();
        assert_eq!(mode_of(SENSOR), "xdp", "in the driver of veth");
        assert!(host.has_notice("native mode"), "{:?}", host.notices);
        drops_what_is_blocked(&mut host, &peer);
        host.end();
        assert_nothing_left(SENSOR);
    });
}

#[test]
fn a_blocked_prefix_drops_every_address_in_it_and_no_other() {
    with_xdp(|| {
        let peer = with_neighbour();
        let mut host = started();
        drops_whole_prefixes(&mut host, &peer);
        host.end();
    });
}

#[test]
fn a_block_ends_by_itself_even_if_no_process_lives_and_hides_no_wider_one() {
    with_xdp(|| {
        let peer = with_neighbour();
        let mut host = started();
        let sockets = OURS.map(listen);
        host.done(add(BAD[1], 3));
        host.done(add(GOOD[0], 3));
        host.done(add("198.51.100.0/24", 600));
        // Its helper cannot remove what is over any more.
        host.pids().iter().for_each(|pid| kill_hard(*pid));
        assert!(!arrives(&peer, BAD[1], &sockets[1]), "{}", BAD[1]);
        assert!(!arrives(&peer, GOOD[0], &sockets[0]), "{}", GOOD[0]);
        wait_until("end of the block", || arrives(&peer, BAD[1], &sockets[1]));
        std::thread::sleep(Duration::from_millis(500));
        assert!(!arrives(&peer, GOOD[0], &sockets[0]), "by the wider block");
        assert!(arrives(&peer, BAD[0], &sockets[0]));
        drop(host);
        let mut next = started();
        assert_eq!(next.nets(), ["198.51.100.0/24"]);
        next.done(add("198.51.100.77", 1));
        std::thread::sleep(Duration::from_millis(2_500));
        assert_eq!(next.nets(), ["198.51.100.0/24"]);
        next.end();
    });
}

#[test]
fn a_flush_lets_everybody_in_and_orders_around_it_keep_their_order() {
    with_xdp(|| {
        let peer = with_neighbour();
        let mut host = started();
        let socket = listen(OURS[0]);
        let orders = [
            add(BAD[0], 600),
            add("2001:db8:9::/48", 600),
            Order::Flush,
            add("198.51.100.77", 600),
            remove("198.51.100.77"),
            add("198.51.100.77", 300),
            remove("198.51.100.99"),
        ];
        assert_eq!(host.order(&orders), [Ok(()); 7]);
        assert!(arrives(&peer, BAD[0], &socket), "flushed");
        let elements = host.elements();
        assert_eq!(elements.len(), 1);
        assert!((295..=300).contains(&elements[0].expires_s));
        host.end();
    });
}

#[test]
fn forwarded_packets_of_a_blocked_address_are_dropped_too() {
    with_xdp(|| {
        let (peer, _server, socket) = with_server_behind();
        let mut host = started();
        host.done(add(BAD[0], 600));
        assert!(!arrives(&peer, BAD[0], &socket), "blocked");
        assert!(arrives(&peer, GOOD[0], &socket), "the innocent neighbour");
        assert_eq!(host.dropped(BAD[0]), 1);
        host.end();
    });
}

/// A datagram behind these tags, from one address to another that is nobody's.
fn frame(from: &str, tags: &[u16]) -> Vec<u8> {
    let from: IpAddr = from.parse().expect("an address");
    let to: IpAddr = match from {
        IpAddr::V4(_) => "192.0.2.99".parse().expect("an address"),
        IpAddr::V6(_) => "2001:db8:0:7::99".parse().expect("an address"),
    };
    let ip = craft::Ip::new(from, to, 17).bytes(&[0, 9, 0, 9, 0, 8, 0, 0]);
    let link = tags
        .iter()
        .fold(craft::Link::ethernet(), |link, tpid| link.tag(*tpid, 5));
    link.frame(&ip)
}

fn index(device: &str) -> u32 {
    nix::net::if_::if_nametoindex(device).expect("it is there")
}

/// Frames at a tap since the last call that end like each of these: VLAN tags are taken out on the way.
fn seen(tap: &Tap, like: [&[u8]; 2]) -> [u64; 2] {
    let ends = like.map(|frame| &frame[frame.len() - 28..]);
    let mut buffer = [0; 2_048];
    let mut counts = [0, 0];
    while let Ok(length) = recv(tap.as_fd().as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
        for (count, end) in counts.iter_mut().zip(ends) {
            *count += u64::from(buffer[..length].ends_with(end));
        }
    }
    counts
}

#[test]
fn counters_are_those_of_the_frames_that_were_sent_with_and_without_tags() {
    const FRAMES: u64 = 300;
    with_xdp(|| {
        let peer = with_neighbour();
        let mut host = started();
        let tap = Tap::open(index(SENSOR), true).expect("a tap");
        tap.set_receive_queue(4 << 20).expect("room");
        for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100]] {
            for (bad, good) in [(BAD[0], GOOD[0]), (BAD[1], GOOD[1])] {
                let (bad_frame, good_frame) = (frame(bad, tags), frame(good, tags));
                host.done(add(bad, 600));
                let frames = [bad_frame.clone(), good_frame.clone()];
                peer.run(move || {
                    let socket = TxSocket::open(index(SENDER)).expect("a sender");
                    for _ in 0..FRAMES {
                        frames
                            .iter()
                            .for_each(|one| socket.send(one).expect("sent"));
                        // The receiving queue of veth has 256 places.
                        std::thread::sleep(Duration::from_micros(50));
                    }
                });
                // The last frames may be on their way.
                std::thread::sleep(Duration::from_millis(200));
                let element = host.elements().remove(0);
                let bytes = FRAMES * bad_frame.len() as u64;
                assert_eq!(element.dropped, Some((FRAMES, bytes)), "{bad} {tags:x?}");
                let counts = seen(&tap, [&bad_frame, &good_frame]);
                assert_eq!(counts, [0, FRAMES], "{bad} and {good} {tags:x?}");
                host.done(remove(bad));
            }
        }
        host.end();
    });
}

#[test]
fn an_element_that_is_given_again_goes_on_counting() {
    with_xdp(|| {
        let peer = with_neighbour();
        let mut host = started();
        let socket = listen(OURS[0]);
        host.done(add(BAD[0], 600));
        assert!(!arrives(&peer, BAD[0], &socket), "blocked");
        host.done(add(BAD[0], 900));
        assert!(host.elements()[0].expires_s > 800);
        assert_eq!(host.dropped(BAD[0]), 1);
        assert!(!arrives(&peer, BAD[0], &socket), "still blocked");
        assert_eq!(host.dropped(BAD[0]), 2);
        host.vanish();
        let mut next = started();
        assert_eq!(next.dropped(BAD[0]), 2, "adopted with its count");
        next.end();
    });
}
