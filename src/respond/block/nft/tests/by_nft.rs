//! Our messages against those that the program `nft` 1.0.6 sent for the same table, recorded by strace, and lists against
//! an answer of Linux 6.18.

use super::super::attributes::Batch;
use super::super::elements;
use super::super::objects::{self, Features};
use super::super::set_key::SetKey;
use crate::host::netlink::{Message, messages};
use crate::respond::block::firewall::Element;
use crate::respond::block::helper::LeftElement;
use ipnet::IpNet;

const FEATURES: Features = Features {
    owner: false,
    counters: true,
};

/// Attributes behind `struct nfgenmsg`, in hexadecimal digits.
const CHAIN: &str = "0e00010073796e6c65646765720000000f000300707265726f7574696e6700000b00070066696c746572000008000500\
    0000000114000480080001000000000008000200fffffed4";
const SET_V4: &str = "0e00010073796e6c65646765720000000d000200626c6f636b65643400000000080003000000001008000400000000070\
    80005000000000408000a00000000010c0009800800010000002b1008000c00000013880a000d000004020000000000140011800c00010063\
    6f756e7465720004000280";
const SET_V6_64: &str = "0e00010073796e6c656467657200000010000200626c6f636b6564365f3634000800030000000010080004000000000\
    8080005000000001008000a00000000020c0009800800010000002b1008000c00000013880a000d000004020000000000140011800c000100\
    636f756e7465720004000280";
const RULE_V4: &str = "0e00010073796e6c65646765720000000f000200707265726f7574696e670000ec00048024000180090001006d657461\
    0000000014000280080002000000000f08000100000000012c00018008000100636d700020000280080001000000000108000200000000000\
    c0003800500010002000000340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c08\
    00040000000004340001800b0001006c6f6f6b757000002400028008000200000000010d000100626c6f636b6564340000000008000400000\
    00001300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000000";
const RULE_V6_64: &str = "0e00010073796e6c65646765720000000f000200707265726f7574696e6700005001048024000180090001006d6574\
    610000000014000280080002000000000f08000100000000012c00018008000100636d7000200002800800010000000001080002000000000\
    00c000380050001000a000000340001800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000\
    80800040000000010640001800c00010062697477697365005400028008000100000000010800020000000001080006000000000008000300\
    000000101800048014000100ffffffffffffffff0000000000000000180005801400010000000000000000000000000000000000340001800\
    b0001006c6f6f6b7570000024000280080002000000000110000100626c6f636b6564365f3634000800040000000002300001800e00010069\
    6d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000000";
const ADD: &str = "0e00010073796e6c65646765720000000d000200626c6f636b656434000000000800040000000001200003801c0001800c0004\
    0000000000000927c00c00018008000100c0000207";
const REMOVE: &str = "0e00010073796e6c65646765720000000d000200626c6f636b6564340000000014000380100001800c00018008000100c0\
    000207";
const FLUSH: &str = "10000200626c6f636b6564365f3634000e00010073796e6c6564676572000000";
/// The kernel's list of a set: 192.0.2.7 with 540 of 600 seconds left.
const LISTED: &str = "010000000e00010073796e6c65646765720000000d000200626c6f636b6564340000000058000300540001000c0001000800\
    0100c00002072c0007000c000100636f756e746572001c0002000c00010000000000000000000c00020000000000000000000c000400000000\
    00000927c00c0005000000000000083d58";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(pair, 16).expect("digits")
    };
    digits.chunks(2).map(byte).collect()
}

/// Attributes as a tree, those of one level by their kind; their order within a kind stays.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tree {
    Value(Vec<u8>),
    Nest(Vec<(u16, Tree)>),
}

/// By hand, not by the parser under test.
fn tree(mut rest: &[u8]) -> Vec<(u16, Tree)> {
    let mut found = Vec::new();
    while rest.len() >= 4 {
        let length = usize::from(rest[0]) + usize::from(rest[1]) * 256;
        let (kind, nested) = (u16::from(rest[2]), rest[3] & 0x80 != 0);
        assert!(length >= 4 && length <= rest.len(), "{length} of {rest:x?}");
        let value = &rest[4..length];
        let value = match nested {
            true => Tree::Nest(tree(value)),
            false => Tree::Value(value.to_vec()),
        };
        found.push((kind, value));
        let padded = length.next_multiple_of(4);
        assert!(rest[length..padded].iter().all(|&byte| byte == 0));
        rest = &rest[padded..];
    }
    assert!(rest.is_empty());
    found.sort_by_key(|(kind, _)| *kind);
    found
}

/// The attributes of each message in a batch but the first and the last.
fn written(write: impl FnOnce(&mut Batch)) -> Vec<(u16, Vec<(u16, Tree)>)> {
    let mut batch = Batch::new(1);
    write(&mut batch);
    let (bytes, _) = batch.finish();
    let all: Vec<Message<'_>> = messages(&bytes).collect();
    let inside = &all[1..all.len() - 1];
    let of = |message: &Message<'_>| {
        assert_eq!(message.body[..4], [1, 0, 0, 0], "family inet");
        (message.kind & 0xff, tree(&message.body[4..]))
    };
    inside.iter().map(of).collect()
}

/// Without the attribute of this kind in the data of the expressions of this name.
fn without(mut rule: Vec<(u16, Tree)>, name: &str, kind: u16) -> Vec<(u16, Tree)> {
    let Some((_, Tree::Nest(expressions))) = rule.iter_mut().find(|(kind, _)| *kind == 4) else {
        panic!("a rule has expressions");
    };
    for (_, expression) in expressions {
        let Tree::Nest(parts) = expression else {
            panic!("name and data");
        };
        let is_it = parts[0].1 == Tree::Value([name.as_bytes(), &[0]].concat());
        if let (true, Tree::Nest(data)) = (is_it, &mut parts[1].1) {
            data.retain(|(one, _)| *one != kind);
        }
    }
    rule
}

#[test]
fn chain_sets_and_rules_are_those_of_nft() {
    let ours = written(objects::new_chain);
    assert_eq!(ours, [(3, tree(&bytes(CHAIN)))]);
    for (key, set, rule) in [
        (SetKey::V4(32), SET_V4, RULE_V4),
        (SetKey::V6(64), SET_V6_64, RULE_V6_64),
    ] {
        let ours = written(|batch| objects::new_set(batch, key, 11_024, FEATURES));
        assert_eq!(ours.len(), 2);
        // The set's number in its transaction is of no importance.
        let numberless = |set: &[(u16, Tree)]| {
            let set = set.iter().filter(|(kind, _)| *kind != 10).cloned();
            set.collect::<Vec<_>>()
        };
        assert_eq!(ours[0].0, 9);
        assert_eq!(numberless(&ours[0].1), numberless(&tree(&bytes(set))));
        assert_eq!(ours[1].0, 6);
        // nft also gives that number, and the default operation of a mask.
        let theirs = without(tree(&bytes(rule)), "lookup", 4);
        assert_eq!(ours[1].1, without(theirs, "bitwise", 6));
    }
}

#[test]
fn elements_are_added_and_removed_as_by_nft() {
    let net: IpNet = "192.0.2.7/32".parse().expect("a network");
    let ours = written(|batch| {
        elements::add(batch, net, 600);
        elements::remove(batch, net);
        elements::flush(batch, SetKey::V6(64));
    });
    // nft refers to the set by a number, too, and leaves the expiration to the kernel.
    let mut theirs = tree(&bytes(ADD));
    theirs.retain(|(kind, _)| *kind != 4);
    let mut added = ours[0].clone();
    let Tree::Nest(list) = &mut added.1[2].1 else {
        panic!("a list");
    };
    let Tree::Nest(element) = &mut list[0].1 else {
        panic!("an element");
    };
    let milliseconds = Tree::Value(600_000_u64.to_be_bytes().to_vec());
    assert_eq!(element.remove(2), (5, milliseconds));
    assert_eq!(added, (12, theirs));
    assert_eq!(ours[1], (14, tree(&bytes(REMOVE))));
    assert_eq!(ours[2], (14, tree(&bytes(FLUSH))));
}

#[test]
fn a_list_of_the_kernel_gives_the_element_that_was_added() {
    let body = bytes(LISTED);
    let net = "192.0.2.7/32".parse().expect("a network");
    let expected = LeftElement {
        net,
        // 539.992 s, rounded down.
        left_s: Some(539),
        dropped: Some((0, 0)),
    };
    assert_eq!(elements::parse_elements(&body, SetKey::V4(32)), [expected]);
    let with = |from: &str, to: &str| {
        let changed = LISTED.replace(from, to);
        assert_ne!(changed, LISTED);
        elements::parse_elements(&bytes(&changed), SetKey::V4(32))
    };
    let left = |left_s| [LeftElement { left_s, ..expected }];
    assert_eq!(with("83d58", "8413f"), left(Some(540)), "540.991 s");
    assert_eq!(with("927c0", "00000"), left(None), "no end");
    assert!(objects::is_about_us(&body));
    for cut in 0..body.len() {
        let some = elements::parse_elements(&body[..cut], SetKey::V4(32));
        assert!(some.is_empty(), "cut at {cut}: {some:?}");
    }
}

#[test]
fn restored_elements_are_listed_as_they_were_and_no_message_is_too_long() {
    let count = 3_000_u32;
    let all: Vec<Element> = (0..count)
        .map(|low| Element {
            net: IpNet::from(std::net::IpAddr::from(
                (0x2001_0db8_u128 << 96 | u128::from(low)).to_be_bytes(),
            )),
            expires_s: low + 1,
            dropped: (low % 2 == 0).then(|| (u64::from(low), u64::from(low) * 60)),
        })
        .collect();
    let mut batch = Batch::new(1);
    elements::restore(&mut batch, SetKey::V6(128), &all, FEATURES);
    let (bytes, next) = batch.finish();
    let messages: Vec<_> = messages(&bytes).collect();
    assert_eq!(messages.len(), usize::try_from(next).expect("few") - 1);
    let lists = &messages[1..messages.len() - 1];
    assert!(lists.len() > 3 && lists.iter().all(|list| list.body.len() < 65_000));
    let listed = lists
        .iter()
        .flat_map(|list| elements::parse_elements(list.body, SetKey::V6(128)));
    let expected = all.iter().map(|one| LeftElement {
        net: one.net,
        left_s: Some(u64::from(one.expires_s)),
        dropped: one.dropped,
    });
    assert_eq!(listed.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    // Only the last one asks for an answer.
    let flags: Vec<u16> = lists.iter().map(|list| list.flags & 0x4).collect();
    assert_eq!(flags.iter().sum::<u16>(), 4);
    assert_eq!(flags.last(), Some(&4));
}
