//! The objects of our table as messages of nftables: table, chain, sets, rules.
//!
//! The chain is at the hook `prerouting`, which sees packets for this host and forwarded ones alike, with the priority
//! `raw`: before connection tracking, so that a dropped packet costs no entry there.
//!
//! Source: `linux/netfilter/nf_tables.h`.

use super::attributes::{Attributes, Batch, INET};
use super::set_key::SetKey;
use crate::host::netlink::{attributes, u32_at};

/// Name of the table, of the family `inet`.
pub const TABLE: &str = "synledger";
const CHAIN: &str = "prerouting";

/// `NFT_MSG_*`.
pub const NEWTABLE: u8 = 0;
pub const GETTABLE: u8 = 1;
pub const DELTABLE: u8 = 2;
const NEWCHAIN: u8 = 3;
pub const GETCHAIN: u8 = 4;
const NEWRULE: u8 = 6;
const NEWSET: u8 = 9;
pub const GETSET: u8 = 10;

pub(super) const NLM_F_CREATE: u16 = 0x400;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_APPEND: u16 = 0x800;

/// `NFT_TABLE_F_OWNER`, which the kernel removes when the owner ends.
const OWNER: u32 = 0x2;
/// `NFT_TABLE_F_PERSIST`.
const PERSIST: u32 = 0x4;
const TABLE_NAME: u16 = 1;
const TABLE_FLAGS: u16 = 2;
const TABLE_USE: u16 = 3;
const TABLE_OWNER: u16 = 7;

const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
/// `NF_INET_PRE_ROUTING`.
const PRE_ROUTING: u32 = 0;
/// `NF_IP_PRI_RAW`.
const RAW: i32 = -300;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LEN: u16 = 5;
const SET_DESC: u16 = 9;
const SET_ID: u16 = 10;
const SET_GC_INTERVAL: u16 = 12;
const SET_USERDATA: u16 = 13;
const SET_EXPR: u16 = 17;
const DESC_SIZE: u16 = 1;
/// `NFT_SET_TIMEOUT`.
const HAS_TIMEOUTS: u32 = 0x10;
/// The numbers of `ipv4_addr` and `ipv6_addr` in the program `nft`, which lists sets by them.
const TYPES: [u32; 2] = [7, 8];
/// For `nft`, too: keys are in network byte order (`NFTNL_UDATA_SET_KEYBYTEORDER`).
const BIG_ENDIAN_KEYS: [u8; 6] = [0, 4, 2, 0, 0, 0];
/// Expired elements count as elements of a set until the kernel has collected them.
const GC_INTERVAL_MS: u32 = 5_000;

const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
pub(super) const LIST_ELEM: u16 = 1;
pub(super) const EXPR_NAME: u16 = 1;
pub(super) const EXPR_DATA: u16 = 2;
/// `NFT_REG_1`, and the register of verdicts.
const REG_1: u32 = 1;
const REG_VERDICT: u32 = 0;
pub(super) const DATA_VALUE: u16 = 1;

/// What the kernel's nftables can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Tables have owners and outlive them (Linux 6.9).
    pub owner: bool,
    /// Elements count packets (Linux 5.7).
    pub counters: bool,
}

/// An nftables table, as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundTable {
    /// Objects in it.
    pub objects: u32,
    /// Who may change it.
    pub held: Held,
}

/// Who may change a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The socket with this port alone.
    By(u32),
    /// Everybody: its owner has ended.
    NoMore,
    /// Everybody: it never had an owner.
    Never,
}

/// Appends a table.
pub fn new_table(batch: &mut Batch, features: Features) -> u32 {
    batch.message(NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, |table| {
        table.text(TABLE_NAME, TABLE);
        table.u32(
            TABLE_FLAGS,
            if features.owner { OWNER | PERSIST } else { 0 },
        );
    })
}

/// A table that is never made.
const TRIED_TABLE: &str = "synledger-check";

/// Appends a table with an owner, and what the kernel then refuses, so that nothing of the batch is carried out. Returns the
/// sequence number of the table: no refusal of it means that tables may have owners.
pub fn try_owner(batch: &mut Batch) -> u32 {
    let tried = batch.message(NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, |table| {
        table.text(TABLE_NAME, TRIED_TABLE);
        table.u32(TABLE_FLAGS, OWNER | PERSIST);
    });
    batch.message(NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, |table| {
        table.text(TABLE_NAME, TRIED_TABLE);
    });
    tried
}

/// Appends the removal of our table with everything in it.
pub fn delete_table(batch: &mut Batch) -> u32 {
    batch.message(DELTABLE, 0, |table| table.text(TABLE_NAME, TABLE))
}

/// Appends the chain.
pub fn new_chain(batch: &mut Batch) {
    batch.message(NEWCHAIN, NLM_F_CREATE, |chain| {
        chain.text(CHAIN_TABLE, TABLE);
        chain.text(CHAIN_NAME, CHAIN);
        chain.text(CHAIN_TYPE, "filter");
        chain.u32(CHAIN_POLICY, NF_ACCEPT);
        chain.nested(CHAIN_HOOK, |hook| {
            hook.u32(HOOK_NUMBER, PRE_ROUTING);
            hook.u32(HOOK_PRIORITY, RAW.cast_unsigned());
        });
    });
}

/// Appends a set of at most `size` elements, and the rule that drops packets of its sources.
pub fn new_set(batch: &mut Batch, key: SetKey, size: u32, features: Features) {
    let name = key.name();
    // Unique in a transaction. The rule finds the set by its name.
    let id = batch.last();
    batch.message(NEWSET, NLM_F_CREATE, |set| {
        set.text(SET_TABLE, TABLE);
        set.text(SET_NAME, &name);
        set.u32(SET_FLAGS, HAS_TIMEOUTS);
        set.u32(SET_KEY_TYPE, key_type(key));
        set.u32(SET_KEY_LEN, key_bytes(key));
        set.u32(SET_ID, id);
        set.nested(SET_DESC, |about| about.u32(DESC_SIZE, size));
        set.u32(SET_GC_INTERVAL, GC_INTERVAL_MS);
        set.bytes(SET_USERDATA, &BIG_ENDIAN_KEYS);
        if features.counters {
            set.nested(SET_EXPR, |counter| {
                counter.text(EXPR_NAME, "counter");
                counter.nested(EXPR_DATA, |_| {});
            });
        }
    });
    batch.message(NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |rule| {
        rule.text(RULE_TABLE, TABLE);
        rule.text(RULE_CHAIN, CHAIN);
        rule.nested(RULE_EXPRESSIONS, |rule| drop_rule(rule, key, &name));
    });
}

/// `ip saddr @blocked4 drop`, or `ip saddr & 255.255.255.0 @blocked4_24 drop`.
fn drop_rule(rule: &mut Attributes<'_>, key: SetKey, name: &str) {
    const META_KEY: u16 = 2;
    const META_DREG: u16 = 1;
    const NFT_META_NFPROTO: u32 = 15;
    const CMP_SREG: u16 = 1;
    const CMP_OP: u16 = 2;
    const CMP_DATA: u16 = 3;
    const EQUAL: u32 = 0;
    const LOOKUP_SET: u16 = 1;
    const LOOKUP_SREG: u16 = 2;
    const IMMEDIATE_DREG: u16 = 1;
    const IMMEDIATE_DATA: u16 = 2;
    const DATA_VERDICT: u16 = 2;
    const VERDICT_CODE: u16 = 1;
    let family = match key {
        SetKey::V4(_) => libc::AF_INET,
        SetKey::V6(_) => libc::AF_INET6,
    };
    let family = u8::try_from(family).expect("families are small");
    expression(rule, "meta", |meta| {
        meta.u32(META_KEY, NFT_META_NFPROTO);
        meta.u32(META_DREG, REG_1);
    });
    expression(rule, "cmp", |cmp| {
        cmp.u32(CMP_SREG, REG_1);
        cmp.u32(CMP_OP, EQUAL);
        cmp.nested(CMP_DATA, |data| data.bytes(DATA_VALUE, &[family]));
    });
    load_source(rule, key);
    expression(rule, "lookup", |lookup| {
        lookup.text(LOOKUP_SET, name);
        lookup.u32(LOOKUP_SREG, REG_1);
    });
    expression(rule, "immediate", |immediate| {
        immediate.u32(IMMEDIATE_DREG, REG_VERDICT);
        immediate.nested(IMMEDIATE_DATA, |data| {
            data.nested(DATA_VERDICT, |verdict| verdict.u32(VERDICT_CODE, NF_DROP));
        });
    });
}

/// Loads the masked source address into the first register.
fn load_source(rule: &mut Attributes<'_>, key: SetKey) {
    const PAYLOAD_DREG: u16 = 1;
    const PAYLOAD_BASE: u16 = 2;
    const PAYLOAD_OFFSET: u16 = 3;
    const PAYLOAD_LEN: u16 = 4;
    const NETWORK_HEADER: u32 = 1;
    const BITWISE_SREG: u16 = 1;
    const BITWISE_DREG: u16 = 2;
    const BITWISE_LEN: u16 = 3;
    const BITWISE_MASK: u16 = 4;
    const BITWISE_XOR: u16 = 5;
    let (offset, length) = match key {
        SetKey::V4(_) => (12, 4),
        SetKey::V6(_) => (8, 16),
    };
    expression(rule, "payload", |payload| {
        payload.u32(PAYLOAD_DREG, REG_1);
        payload.u32(PAYLOAD_BASE, NETWORK_HEADER);
        payload.u32(PAYLOAD_OFFSET, offset);
        payload.u32(PAYLOAD_LEN, length);
    });
    let Some(mask) = key.mask() else { return };
    expression(rule, "bitwise", |bitwise| {
        bitwise.u32(BITWISE_SREG, REG_1);
        bitwise.u32(BITWISE_DREG, REG_1);
        bitwise.u32(BITWISE_LEN, length);
        bitwise.nested(BITWISE_MASK, |data| data.bytes(DATA_VALUE, &mask));
        let zeros = vec![0; mask.len()];
        bitwise.nested(BITWISE_XOR, |data| data.bytes(DATA_VALUE, &zeros));
    });
}

fn expression(rule: &mut Attributes<'_>, name: &str, write: impl FnOnce(&mut Attributes<'_>)) {
    rule.nested(LIST_ELEM, |element| {
        element.text(EXPR_NAME, name);
        element.nested(EXPR_DATA, write);
    });
}

/// Attributes of a request for our table, or for all of its sets.
pub fn name_request() -> Vec<u8> {
    let mut bytes = INET.to_vec();
    Attributes::to(&mut bytes).text(TABLE_NAME, TABLE);
    bytes
}

/// Attributes behind `struct nfgenmsg`, of a message of the family `inet`.
pub(super) fn of_inet(body: &[u8]) -> Option<&[u8]> {
    let (about, rest) = body.split_first_chunk::<4>()?;
    (about[0] == INET[0]).then_some(rest)
}

/// The value of the first attribute of this kind.
pub(super) fn value(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(one, value)| (one == kind).then_some(value))
}

pub(super) fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|&byte| byte == 0);
    std::str::from_utf8(&bytes[..end.unwrap_or(bytes.len())]).unwrap_or("")
}

/// Parses the body of an answer to [`GETTABLE`].
pub fn parse_table(body: &[u8]) -> Option<FoundTable> {
    let table = of_inet(body)?;
    let number = |kind| Some(u32::from_be(u32_at(value(table, kind)?, 0)?));
    let flags = number(TABLE_FLAGS).unwrap_or(0);
    let held = match (flags & OWNER != 0, flags & PERSIST != 0) {
        (true, _) => Held::By(number(TABLE_OWNER).unwrap_or(0)),
        (false, true) => Held::NoMore,
        (false, false) => Held::Never,
    };
    Some(FoundTable {
        objects: number(TABLE_USE)?,
        held,
    })
}

/// Parses the body of a set; `None`: it is in another table, `Some(None)`: it is none of our sets.
pub fn parse_set(body: &[u8]) -> Option<Option<SetKey>> {
    let set = of_inet(body).filter(|set| is_in_our_table(set, SET_TABLE))?;
    let number = |kind| Some(u32::from_be(u32_at(value(set, kind)?, 0)?));
    let key = SetKey::parse(text(value(set, SET_NAME).unwrap_or_default()));
    // With the names alone, another program's addresses could be meant for something else than to be dropped.
    let is_of_kind = |key: &SetKey| {
        number(SET_FLAGS) == Some(HAS_TIMEOUTS)
            && number(SET_KEY_TYPE) == Some(key_type(*key))
            && number(SET_KEY_LEN) == Some(key_bytes(*key))
    };
    Some(key.filter(is_of_kind))
}

/// Whether this is our chain; `None`: it is in another table.
pub fn is_our_chain(body: &[u8]) -> Option<bool> {
    let chain = of_inet(body).filter(|chain| is_in_our_table(chain, CHAIN_TABLE))?;
    Some(value(chain, CHAIN_NAME).is_some_and(|name| text(name) == CHAIN))
}

fn is_in_our_table(object: &[u8], kind: u16) -> bool {
    value(object, kind).is_some_and(|name| text(name) == TABLE)
}

/// The number of the type of a set's keys.
fn key_type(key: SetKey) -> u32 {
    TYPES[usize::from(key.address_bytes() == 16)]
}

fn key_bytes(key: SetKey) -> u32 {
    if key.address_bytes() == 16 { 16 } else { 4 }
}

/// Whether a notification is about our table or an object in it. Its name is the first attribute of each.
pub fn is_about_us(body: &[u8]) -> bool {
    let name = of_inet(body).and_then(|rest| value(rest, TABLE_NAME));
    name.is_some_and(|name| text(name) == TABLE)
}
