//! Elements of our sets as messages of nftables: added, removed, restored, listed.
//!
//! Source: `linux/netfilter/nf_tables.h`.

use super::attributes::{Attributes, Batch, LIST_BYTES_MAX};
use super::objects::{
    DATA_VALUE, EXPR_DATA, EXPR_NAME, Features, LIST_ELEM, NLM_F_CREATE, TABLE, of_inet, text,
    value,
};
use super::set_key::{SetKey, key_bytes};
use crate::host::netlink::attributes;
use crate::respond::block::firewall::Element;
use crate::respond::block::helper::LeftElement;
use ipnet::IpNet;

/// `NFT_MSG_*`.
const NEWSETELEM: u8 = 12;
pub const GETSETELEM: u8 = 13;
const DELSETELEM: u8 = 14;

const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const ELEM_KEY: u16 = 1;
const ELEM_TIMEOUT: u16 = 4;
const ELEM_EXPIRATION: u16 = 5;
const ELEM_EXPR: u16 = 7;
const ELEM_EXPRESSIONS: u16 = 11;
const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;

/// Appends one new element that lives for `for_s` seconds.
pub fn add(batch: &mut Batch, net: IpNet, for_s: u32) -> u32 {
    let life_ms = u64::from(for_s) * 1_000;
    batch.message(NEWSETELEM, NLM_F_CREATE, |list| {
        of_set(list, SetKey::of(net));
        list.nested(LIST_ELEMENTS, |list| {
            list.nested(LIST_ELEM, |element| {
                // Both, so that Linux 6.12 and later starts the time of a known element anew.
                element.u64(ELEM_TIMEOUT, life_ms);
                element.u64(ELEM_EXPIRATION, life_ms);
                key_attribute(element, net);
            });
        });
    })
}

/// Appends the removal of one element.
pub fn remove(batch: &mut Batch, net: IpNet) -> u32 {
    batch.message(DELSETELEM, 0, |list| {
        of_set(list, SetKey::of(net));
        list.nested(LIST_ELEMENTS, |list| {
            list.nested(LIST_ELEM, |element| key_attribute(element, net));
        });
    })
}

/// Appends the removal of all elements of a set.
pub fn flush(batch: &mut Batch, key: SetKey) -> u32 {
    batch.message(DELSETELEM, 0, |list| of_set(list, key))
}

/// Appends these elements of one set with the time that they have left, and with what they have counted so far.
pub fn restore(batch: &mut Batch, key: SetKey, mut elements: &[Element], features: Features) {
    while !elements.is_empty() {
        batch.message(NEWSETELEM, NLM_F_CREATE, |list| {
            of_set(list, key);
            let start = list.written();
            list.nested(LIST_ELEMENTS, |list| {
                while let Some((first, rest)) = elements.split_first()
                    && list.written() - start < LIST_BYTES_MAX
                {
                    list.nested(LIST_ELEM, |one| whole_element(one, first, features));
                    elements = rest;
                }
            });
        });
    }
}

fn whole_element(to: &mut Attributes<'_>, element: &Element, features: Features) {
    let left_ms = u64::from(element.expires_s.max(1)) * 1_000;
    to.u64(ELEM_TIMEOUT, left_ms);
    to.u64(ELEM_EXPIRATION, left_ms);
    key_attribute(to, element.net);
    if let Some((packets, bytes)) = element.dropped.filter(|_| features.counters) {
        to.nested(ELEM_EXPR, |counter| {
            counter.text(EXPR_NAME, "counter");
            counter.nested(EXPR_DATA, |data| {
                data.u64(COUNTER_BYTES, bytes);
                data.u64(COUNTER_PACKETS, packets);
            });
        });
    }
}

fn of_set(list: &mut Attributes<'_>, key: SetKey) {
    list.text(LIST_TABLE, TABLE);
    list.text(LIST_SET, &key.name());
}

fn key_attribute(element: &mut Attributes<'_>, net: IpNet) {
    element.nested(ELEM_KEY, |key| key.bytes(DATA_VALUE, &key_bytes(net)));
}

/// Attributes of a request for all elements of a set.
pub fn elements_request(key: SetKey) -> Vec<u8> {
    let mut bytes = super::attributes::INET.to_vec();
    of_set(&mut Attributes::to(&mut bytes), key);
    bytes
}

/// Attributes of a request for one element.
pub fn element_request(net: IpNet) -> Vec<u8> {
    let mut bytes = elements_request(SetKey::of(net));
    Attributes::to(&mut bytes).nested(LIST_ELEMENTS, |list| {
        list.nested(LIST_ELEM, |element| key_attribute(element, net));
    });
    bytes
}

fn u64_of(bytes: &[u8], kind: u16) -> Option<u64> {
    Some(u64::from_be_bytes(value(bytes, kind)?.try_into().ok()?))
}

/// Parses the body of one message of a list of elements.
pub fn parse_elements(body: &[u8], key: SetKey) -> Vec<LeftElement> {
    let list = of_inet(body).and_then(|rest| value(rest, LIST_ELEMENTS));
    attributes(list.unwrap_or_default())
        .filter(|(kind, _)| *kind == LIST_ELEM)
        .filter_map(|(_, element)| parse_element(element, key))
        .collect()
}

fn parse_element(element: &[u8], key: SetKey) -> Option<LeftElement> {
    let address = value(value(element, ELEM_KEY)?, DATA_VALUE)?;
    let timeout_ms = u64_of(element, ELEM_TIMEOUT);
    let left_ms = match timeout_ms {
        // Linux 6.12 and later say so of one without an end.
        Some(0) => None,
        _ => u64_of(element, ELEM_EXPIRATION).or(timeout_ms),
    };
    Some(LeftElement {
        net: key.net(address)?,
        // Nobody is blocked for longer than was said.
        left_s: left_ms.map(|left_ms| left_ms / 1_000),
        dropped: counted(element),
    })
}

/// Packets and bytes of the counter in an element.
fn counted(element: &[u8]) -> Option<(u64, u64)> {
    let one = value(element, ELEM_EXPR);
    let counter = one.or_else(|| value(value(element, ELEM_EXPRESSIONS)?, LIST_ELEM))?;
    if text(value(counter, EXPR_NAME)?) != "counter" {
        return None;
    }
    let data = value(counter, EXPR_DATA)?;
    Some((u64_of(data, COUNTER_PACKETS)?, u64_of(data, COUNTER_BYTES)?))
}
