//! Random and changed datagrams at the gate. `SYNLEDGER_FUZZ=full` tries 1,000,000 instead of 100,000.

use super::super::gate::{Checked, FOR_S_MAX, check};
use super::super::protocol::{
    Incident, Part, RECORDS_MAX, Reply, Request, TEXT_BYTES_MAX, Then, decode_replies,
    decode_requests, encode_replies, encode_requests,
};
use super::Dice;
use crate::respond::block::firewall::{Element, Order, Refused};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const EPOCH: u32 = 3;

fn own() -> [IpAddr; 3] {
    ["192.0.2.1", "2001:db8:0:7::1", "10.1.2.3"].map(|text| text.parse().expect("an address"))
}

/// The same question as in `protected.rs`, answered address by address: the first, the last, the own ones.
fn must_not_be_blocked(net: IpNet) -> bool {
    let special = |address: IpAddr| match address {
        IpAddr::V4(v4) => {
            let first = v4.octets()[0];
            first == 0 || first == 127 || first >= 224 || v4.octets()[..2] == [169, 254]
        }
        IpAddr::V6(v6) => {
            let words = v6.segments();
            let nearly_none = words[..5] == [0; 5] && (words[5] == 0 || words[5] == 0xffff);
            nearly_none || words[0] >> 8 == 0xff || words[0] & 0xffc0 == 0xfe80
        }
    };
    let marks = [
        IpAddr::from(Ipv4Addr::UNSPECIFIED),
        Ipv4Addr::LOCALHOST.into(),
        Ipv4Addr::new(169, 254, 0, 0).into(),
        Ipv4Addr::new(224, 0, 0, 0).into(),
        Ipv4Addr::new(240, 0, 0, 0).into(),
        Ipv6Addr::UNSPECIFIED.into(),
        Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().into(),
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0).into(),
        Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(),
    ];
    let shortest = if net.addr().is_ipv4() { 16 } else { 32 };
    net.prefix_len() < shortest
        || special(net.network())
        || special(net.broadcast())
        || marks.iter().chain(&own()).any(|one| net.contains(one))
}

fn any_net(dice: &mut Dice) -> IpNet {
    let known = own();
    let address = match dice.below(5) {
        0 => IpAddr::from(
            u32::try_from(dice.next() >> 32)
                .expect("32 bits")
                .to_be_bytes(),
        ),
        1 => IpAddr::from((u128::from(dice.next()) << 64 | u128::from(dice.next())).to_be_bytes()),
        2 => known[dice.below(known.len())],
        3 => IpAddr::from(
            [
                [127, 0, 0, 1],
                [224, 0, 0, 9],
                [0, 0, 0, 0],
                [169, 254, 7, 7],
            ][dice.below(4)],
        ),
        _ => IpAddr::from([198, 51, 100, dice.byte()]),
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match dice.below(3) {
        0 => most,
        1 => most - most / 4,
        _ => u8::try_from(dice.below(usize::from(most) + 1)).expect("at most 128"),
    };
    IpNet::new(address, bits)
        .expect("at most that many")
        .trunc()
}

fn any_request(dice: &mut Dice) -> Request {
    let net = any_net(dice);
    let for_s = [1, 600, 0, FOR_S_MAX, FOR_S_MAX + 1, u32::MAX][dice.below(6)];
    let order = match dice.below(11) {
        0 => return Request::Ask,
        10 => return Request::Count { net },
        1 => {
            return Request::Close {
                keep: dice.below(2) == 0,
            };
        }
        2 => Order::Flush,
        3 | 4 => Order::Remove { net },
        _ => Order::Add { net, for_s },
    };
    Request::Order {
        id: dice.next(),
        order,
    }
}

fn any_requests(dice: &mut Dice) -> Vec<Request> {
    let count = 1 + dice.below(4);
    (0..count).map(|_| any_request(dice)).collect()
}

/// Changes a datagram in one way, or not at all.
fn change(datagram: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(datagram.len());
    match dice.below(12) {
        0 => datagram[at] = dice.byte(),
        1 => datagram[at] ^= 1 << dice.below(8),
        2 => datagram.truncate(at),
        3 => datagram.extend((0..dice.below(80)).map(|_| 0)),
        4 => datagram.iter_mut().for_each(|byte| *byte = dice.byte()),
        5 => datagram[at..]
            .iter_mut()
            .for_each(|byte| *byte = dice.byte()),
        _ => {}
    }
}

#[test]
fn no_datagram_gets_an_order_through_that_blocks_what_is_protected() {
    let rounds = match std::env::var("SYNLEDGER_FUZZ").as_deref() {
        Ok("full") => 1_000_000,
        _ => 100_000,
    };
    let mut dice = Dice(14);
    let (mut through, mut refused, mut malformed) = (0, 0, 0);
    for round in 0..rounds {
        let mut datagram = encode_requests(EPOCH, &any_requests(&mut dice));
        change(&mut datagram, &mut dice);
        let Ok(checked) = check(&datagram, EPOCH, &own()) else {
            malformed += 1;
            continue;
        };
        for one in checked {
            match one {
                Checked::Order {
                    order: Order::Add { net, for_s },
                    ..
                } => {
                    assert!(!must_not_be_blocked(net), "round {round}: {net}");
                    assert_eq!(net, net.trunc(), "round {round}");
                    assert!((1..=FOR_S_MAX).contains(&for_s), "round {round}: {for_s} s");
                    through += 1;
                }
                Checked::Refused {
                    why: Refused::Protected,
                    ..
                } => refused += 1,
                _ => {}
            }
        }
    }
    eprintln!(
        "{rounds} datagrams: {through} blocks allowed, {refused} protected, {malformed} malformed"
    );
    assert!(through > rounds / 10 && refused > rounds / 10 && malformed > rounds / 10);
}

#[test]
fn what_may_be_blocked_is_allowed_and_what_must_not_is_refused() {
    let mut dice = Dice(15);
    let (mut allowed, mut protected) = (0, 0);
    for _ in 0..20_000 {
        let net = any_net(&mut dice);
        let order = Order::Add { net, for_s: 60 };
        let datagram = encode_requests(EPOCH, &[Request::Order { id: 1, order }]);
        let expected = match must_not_be_blocked(net) {
            true => Checked::Refused {
                id: 1,
                why: Refused::Protected,
            },
            false => Checked::Order { id: 1, order },
        };
        assert_eq!(check(&datagram, EPOCH, &own()), Ok(vec![expected]), "{net}");
        *(if must_not_be_blocked(net) {
            &mut protected
        } else {
            &mut allowed
        }) += 1;
    }
    assert!(
        allowed > 5_000 && protected > 5_000,
        "{allowed} and {protected}"
    );
}

#[test]
fn orders_for_another_helper_are_left_out() {
    let order = Order::Flush;
    let datagram = encode_requests(EPOCH + 1, &[Request::Order { id: 1, order }]);
    assert_eq!(check(&datagram, EPOCH, &own()), Ok(Vec::new()));
}

#[test]
fn requests_and_replies_are_decoded_as_they_were_encoded_and_no_other_bytes_are_any() {
    let mut dice = Dice(16);
    for _ in 0..2_000 {
        let requests = any_requests(&mut dice);
        let datagram = encode_requests(EPOCH, &requests);
        assert_eq!(decode_requests(&datagram), Some((EPOCH, requests)));
        // Every byte has a meaning: another one is another message, or none.
        let at = dice.below(datagram.len());
        let mut other = datagram.clone();
        other[at] ^= 1 << dice.below(8);
        assert_ne!(
            decode_requests(&other),
            decode_requests(&datagram),
            "byte {at}"
        );
    }
    let net = any_net(&mut dice);
    let results = [
        Ok(()),
        Err(Refused::Protected),
        Err(Refused::Full),
        Err(Refused::Kernel(libc::EPERM)),
        Err(Refused::Gone),
    ];
    let mut replies: Vec<Reply> = vec![Reply::Hello, Reply::ElementsEnd, Reply::Closed];
    replies.extend(results.map(|result| Reply::Answer {
        id: dice.next(),
        result,
    }));
    for dropped in [None, Some((0, 0)), Some((u64::MAX, 7))] {
        replies.push(Reply::Element(Element {
            net,
            expires_s: 9,
            dropped,
        }));
    }
    let incidents = [
        Incident::NoOwner,
        Incident::Adopted(1),
        Incident::Repaired(2),
        Incident::Unbuilt(3),
        Incident::Foreign,
        Incident::Owned(4),
        Incident::Malformed,
        Incident::NotRemoved(5),
    ];
    replies.extend(incidents.map(Reply::Incident));
    for (text, then) in [("one", Then::End), (&"long".repeat(30), Then::Unbuilt)] {
        let parts = Part::all_of(text, then);
        let bytes: Vec<u8> = parts
            .iter()
            .flat_map(|part| part.bytes().to_vec())
            .collect();
        assert_eq!(bytes, text.as_bytes());
        replies.extend(parts.into_iter().map(Reply::Text));
    }
    let datagram = encode_replies(EPOCH, &replies);
    assert_eq!(decode_replies(&datagram), Some((EPOCH, replies)));
    assert_eq!(decode_replies(&datagram[..datagram.len() - 1]), None);
    let most = vec![Reply::Hello; RECORDS_MAX];
    assert_eq!(decode_replies(&encode_replies(1, &most)), Some((1, most)));
}

#[test]
fn of_a_text_that_is_too_long_the_end_is_told() {
    let too_long = "0123456789".repeat(TEXT_BYTES_MAX / 10) + "end";
    let parts = Part::all_of(&too_long, Then::End);
    let bytes: Vec<u8> = parts
        .iter()
        .flat_map(|part| part.bytes().to_vec())
        .collect();
    assert_eq!(bytes.len(), TEXT_BYTES_MAX);
    assert!(
        bytes.ends_with(b"789end"),
        "the end of a text that is too long"
    );
}
