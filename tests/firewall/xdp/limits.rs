//! What the helper refuses, whatever it is told, and what it may do.

use super::super::common::netns::{SENSOR, ip};
use super::super::guard::{
    PROTECTED, Victim, lets_in_what_the_host_gets, privileges, refuses_what_is_protected,
    with_addresses,
};
use super::super::host::{Host, add, refuses_what_is_new_when_full};
use super::super::packets::with_neighbour;
use super::{assert_nothing_left, started, with_xdp};
use ipnet::IpNet;
use std::net::IpAddr;
use synledger::firewall::{Firewall, Refused};
use synledger::xdp;

#[test]
fn addresses_that_must_not_be_blocked_are_refused_and_the_others_of_the_batch_are_not() {
    with_xdp(|| {
        with_addresses();
        let mut host = started();
        refuses_what_is_protected(&mut host);
        host.end();
    });
}

#[test]
fn a_blocked_address_that_the_host_gets_is_let_in_and_refused_from_then_on() {
    with_xdp(|| {
        with_addresses();
        let mut host = started();
        lets_in_what_the_host_gets(&mut host);
        // Also in maps that are taken over.
        host.vanish();
        ip(&format!("addr add 198.51.100.10/32 dev {SENSOR}"));
        let next = started();
        assert_eq!(next.lists[0], []);
        next.end();
    });
}

#[test]
fn a_full_set_refuses_what_is_new_and_nothing_else() {
    with_xdp(|| {
        let _peer = with_neighbour();
        let mut host = Host::with(xdp::start(3, &[SENSOR.to_owned()]));
        refuses_what_is_new_when_full(&mut host);
        host.end();
    });
}

#[test]
fn ten_thousand_elements_are_taken_listed_taken_over_and_removed() {
    with_xdp(|| {
        let _peer = with_neighbour();
        let mut host = started();
        let net = |number: u32| {
            format!(
                "198.{}.{}.{}",
                18 + number / 62_500,
                number / 250 % 250,
                1 + number % 250
            )
        };
        for start in (0..10_000).step_by(1_000) {
            let some: Vec<_> = (start..start + 1_000)
                .map(|n| add(&net(n), 3_600))
                .collect();
            assert_eq!(host.order(&some), vec![Ok(()); 1_000]);
        }
        assert_eq!(host.order(&[add("203.0.113.1", 60)]), [Err(Refused::Full)]);
        assert_eq!(host.elements().len(), 10_000);
        host.vanish();
        let mut next = started();
        assert_eq!(next.lists[0].len(), 10_000);
        next.done(synledger::firewall::Order::Flush);
        assert_eq!(next.elements(), []);
        next.end();
    });
}

#[test]
fn the_helper_has_two_capabilities_and_no_more() {
    with_xdp(|| {
        let _peer = with_neighbour();
        let host = started();
        let pids = host.pids();
        assert_eq!(pids.len(), 2, "keeper and worker");
        // CAP_NET_ADMIN is bit 12, CAP_BPF bit 39.
        let worker = privileges(pids[1]);
        for expected in [
            "CapInh ",
            "CapPrm 8000001000",
            "CapEff 8000001000",
            "CapAmb ",
            "NoNewPrivs 1",
        ] {
            assert!(worker.iter().any(|line| line == expected), "{worker:?}");
        }
        let keeper = privileges(pids[0]);
        for expected in ["CapPrm 8000001000", "CapEff 8000001000", "NoNewPrivs 1"] {
            assert!(keeper.iter().any(|line| line == expected), "{keeper:?}");
        }
        host.end();
    });
}

#[test]
fn no_message_makes_the_helper_block_what_is_protected() {
    with_xdp(|| {
        with_addresses();
        let victim = Victim::start(&["xdp", "1000", SENSOR]);
        victim.hear_messages();
        victim.end();
        // By another helper, that takes over what is there without the addresses of this host.
        ip("addr flush dev sensor");
        ip("addr flush dev sender");
        let mut host = Host::begin(xdp::start(1_000, &[SENSOR.to_owned()]));
        host.wait("maps", |host| !host.lists.is_empty());
        let elements = host.elements();
        assert!(
            elements.len() > 3,
            "the helper blocked only {}",
            elements.len()
        );
        let protected: Vec<IpAddr> = PROTECTED
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        for net in elements.iter().map(|element| element.net) {
            assert!(!protected.iter().any(|one| net.contains(one)), "{net}");
            assert_eq!(net, IpNet::trunc(&net));
            assert!(
                net.prefix_len() >= if net.addr().is_ipv4() { 16 } else { 32 },
                "{net}"
            );
        }
        eprintln!("{} elements, none of them protected", elements.len());
        assert!(host.nft.close(false, 10_000));
        assert_nothing_left(SENSOR);
    });
}
