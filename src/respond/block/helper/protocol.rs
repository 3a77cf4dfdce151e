//! What the sensor and the helper process send one another: datagrams of records of one size.
//!
//! A datagram is a header of [`HEADER_BYTES`] and one to [`RECORDS_MAX`] records. Header: magic number, epoch (u32),
//! number of records (u16), six zeros. Integers are little-endian. An address has 16 bytes, of which IPv4 uses the
//! first four. Bytes without a use are zero, or the datagram is refused.
//!
//! The epoch is the helper's number: one that was started again does not carry out the orders of its predecessor.

use crate::respond::block::firewall::{Element, Order, Refused};
use ipnet::IpNet;
use std::net::IpAddr;

/// With the version of the protocol in its last byte.
const MAGIC: [u8; 4] = *b"slb\x01";
/// Bytes before the records.
pub const HEADER_BYTES: usize = 16;
/// Most records of a datagram.
pub const RECORDS_MAX: usize = 128;
/// Bytes of one request.
pub const REQUEST_BYTES: usize = 32;
/// Bytes of one reply.
pub const REPLY_BYTES: usize = 48;
/// Bytes of text in one reply.
const PART_BYTES: usize = 40;
/// Longest text.
pub const TEXT_BYTES_MAX: usize = 8_192;
/// Bytes of the longest datagram.
pub const DATAGRAM_BYTES_MAX: usize = HEADER_BYTES + RECORDS_MAX * REPLY_BYTES;

/// From the sensor to the helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// An order with its number.
    Order { id: u64, order: Order },
    /// Asks for all elements.
    Ask,
    /// Asks what an element has dropped.
    Count { net: IpNet },
    /// The end of the run; `keep`: the table stays.
    Close { keep: bool },
}

/// What happened to the firewall, whose part of it that is ours is called table here. The numbers are those of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// The kernel's nftables has no owner and persist flags.
    NoOwner,
    /// A table of an earlier run was taken over, with so many elements.
    Adopted(u32),
    /// Somebody removed or changed the table; it was built again with so many elements.
    Repaired(u32),
    /// The table could not be built, and no order is carried out; the error number.
    Unbuilt(u32),
    /// A table of our name has other content.
    Foreign,
    /// So many blocked addresses became addresses of this host, and were let in.
    Owned(u32),
    /// A message that no sensor sends.
    Malformed,
    /// The table could not be removed at the end; the error number.
    NotRemoved(u32),
}

/// What there is to tell the sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// What happened, by its number.
    Incident(Incident),
    /// One sentence.
    Text(String),
}

/// What follows a part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The next part.
    More,
    /// Nothing.
    End,
    /// Nothing; the text says why no order is carried out.
    Unbuilt,
}

/// A part of a text; what follows its length is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    bytes: [u8; PART_BYTES],
    length: u8,
    pub then: Then,
}

impl Part {
    /// A text of at most [`TEXT_BYTES_MAX`] bytes in parts; of a longer one the end.
    pub fn all_of(text: &str, last: Then) -> Vec<Self> {
        let bytes = text.as_bytes();
        let bytes = &bytes[bytes.len().saturating_sub(TEXT_BYTES_MAX)..];
        let count = bytes.len().div_ceil(PART_BYTES);
        let part = |(at, some): (usize, &[u8])| {
            let mut part = Self {
                bytes: [0; PART_BYTES],
                length: u8::try_from(some.len()).expect("at most PART_BYTES"),
                then: if at + 1 == count { last } else { Then::More },
            };
            part.bytes[..some.len()].copy_from_slice(some);
            part
        };
        bytes.chunks(PART_BYTES).enumerate().map(part).collect()
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// From the helper to the sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The first of a helper.
    Hello,
    /// To the order with this number.
    Answer {
        id: u64,
        result: Result<(), Refused>,
    },
    /// One of all elements.
    Element(Element),
    /// The end of the list of all elements.
    ElementsEnd,
    /// What an element has dropped so far, packets and bytes.
    Counted { net: IpNet, dropped: (u64, u64) },
    /// What happened.
    Incident(Incident),
    /// A part of what happened, in words.
    Text(Part),
    /// The last of a helper.
    Closed,
}

/// Appends the header of a datagram of `count` records.
fn header(epoch: u32, count: usize) -> Vec<u8> {
    assert!((1..=RECORDS_MAX).contains(&count), "{count} records");
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&epoch.to_le_bytes());
    let count = u16::try_from(count).expect("at most RECORDS_MAX");
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.resize(HEADER_BYTES, 0);
    bytes
}

/// The epoch of a datagram and its records of `size` bytes; `None`: malformed.
fn records(datagram: &[u8], size: usize) -> Option<(u32, impl Iterator<Item = &[u8]>)> {
    let (header, rest) = datagram.split_at_checked(HEADER_BYTES)?;
    let count = usize::from(u16::from_le_bytes([header[8], header[9]]));
    let whole = header[..4] == MAGIC
        && header[10..].iter().all(|&byte| byte == 0)
        && (1..=RECORDS_MAX).contains(&count)
        && rest.len() == count * size;
    let epoch = u32_at(header, 4);
    whole.then(|| (epoch, rest.chunks_exact(size)))
}

fn u32_at(record: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(record[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(record: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(record[at..at + 8].try_into().expect("eight bytes"))
}

/// Family and prefix length at 2 and 3, the address at 16. The prefix must have no bits behind its length.
fn put_net(record: &mut [u8], net: IpNet) {
    record[3] = net.prefix_len();
    match net.network() {
        IpAddr::V4(address) => {
            record[2] = 4;
            record[16..20].copy_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            record[2] = 6;
            record[16..32].copy_from_slice(&address.octets());
        }
    }
}

fn net_at(record: &[u8]) -> Option<IpNet> {
    let address: [u8; 16] = record[16..32].try_into().expect("16 bytes");
    let address = match record[2] {
        4 if address[4..] == [0; 12] => {
            IpAddr::from([address[0], address[1], address[2], address[3]])
        }
        6 => IpAddr::from(address),
        _ => return None,
    };
    let net = IpNet::new(address, record[3]).ok()?;
    (net == net.trunc()).then_some(net)
}

const ADD: u8 = 1;
const REMOVE: u8 = 2;
const FLUSH: u8 = 3;
const ASK: u8 = 4;
const CLOSE: u8 = 5;
const COUNT: u8 = 6;

/// A datagram of requests: 1 to [`RECORDS_MAX`].
pub fn encode_requests(epoch: u32, requests: &[Request]) -> Vec<u8> {
    let mut bytes = header(epoch, requests.len());
    for request in requests {
        bytes.extend_from_slice(&encode_request(*request));
    }
    bytes
}

fn encode_request(request: Request) -> [u8; REQUEST_BYTES] {
    let mut record = [0; REQUEST_BYTES];
    match request {
        Request::Order { id, order } => {
            record[8..16].copy_from_slice(&id.to_le_bytes());
            match order {
                Order::Add { net, for_s } => {
                    record[0] = ADD;
                    record[4..8].copy_from_slice(&for_s.to_le_bytes());
                    put_net(&mut record, net);
                }
                Order::Remove { net } => {
                    record[0] = REMOVE;
                    put_net(&mut record, net);
                }
                Order::Flush => record[0] = FLUSH,
            }
        }
        Request::Ask => record[0] = ASK,
        Request::Count { net } => {
            record[0] = COUNT;
            put_net(&mut record, net);
        }
        Request::Close { keep } => {
            record[0] = CLOSE;
            record[1] = u8::from(keep);
        }
    }
    record
}

/// The requests of a datagram and their epoch; `None`: malformed, and nothing of it may be carried out.
pub fn decode_requests(datagram: &[u8]) -> Option<(u32, Vec<Request>)> {
    let (epoch, records) = records(datagram, REQUEST_BYTES)?;
    let requests = records.map(decode_request).collect::<Option<_>>()?;
    Some((epoch, requests))
}

fn decode_request(record: &[u8]) -> Option<Request> {
    let (for_s, id) = (u32_at(record, 4), u64_at(record, 8));
    let request = match record[0] {
        ADD => Request::Order {
            id,
            order: Order::Add {
                net: net_at(record)?,
                for_s,
            },
        },
        REMOVE => Request::Order {
            id,
            order: Order::Remove {
                net: net_at(record)?,
            },
        },
        FLUSH => Request::Order {
            id,
            order: Order::Flush,
        },
        ASK => Request::Ask,
        COUNT => Request::Count {
            net: net_at(record)?,
        },
        CLOSE => Request::Close {
            keep: record[1] == 1,
        },
        _ => return None,
    };
    // So no bits can be set that have no meaning.
    (encode_request(request) == record).then_some(request)
}

/// Packets and bytes at 32 and 40.
fn put_dropped(record: &mut [u8], (packets, bytes): (u64, u64)) {
    record[32..40].copy_from_slice(&packets.to_le_bytes());
    record[40..48].copy_from_slice(&bytes.to_le_bytes());
}

fn dropped_at(record: &[u8]) -> (u64, u64) {
    (u64_at(record, 32), u64_at(record, 40))
}

const HELLO: u8 = 1;
const ANSWER: u8 = 2;
const ELEMENT: u8 = 3;
const ELEMENTS_END: u8 = 4;
const INCIDENT: u8 = 5;
const CLOSED: u8 = 6;
const TEXT: u8 = 7;
const COUNTED: u8 = 8;

/// A datagram of replies: 1 to [`RECORDS_MAX`].
pub fn encode_replies(epoch: u32, replies: &[Reply]) -> Vec<u8> {
    let mut bytes = header(epoch, replies.len());
    for reply in replies {
        bytes.extend_from_slice(&encode_reply(*reply));
    }
    bytes
}

fn encode_reply(reply: Reply) -> [u8; REPLY_BYTES] {
    let mut record = [0; REPLY_BYTES];
    let mut number = 0_u32;
    match reply {
        Reply::Hello => record[0] = HELLO,
        Reply::Answer { id, result } => {
            record[0] = ANSWER;
            record[8..16].copy_from_slice(&id.to_le_bytes());
            record[1] = match result {
                Ok(()) => 0,
                Err(Refused::Protected) => 1,
                Err(Refused::Full) => 2,
                Err(Refused::Kernel(errno)) => {
                    number = errno.cast_unsigned();
                    3
                }
                Err(Refused::Gone) => 4,
            };
        }
        Reply::Element(element) => {
            record[0] = ELEMENT;
            number = element.expires_s;
            put_net(&mut record, element.net);
            if let Some(dropped) = element.dropped {
                record[1] = 1;
                put_dropped(&mut record, dropped);
            }
        }
        Reply::Counted { net, dropped } => {
            record[0] = COUNTED;
            put_net(&mut record, net);
            put_dropped(&mut record, dropped);
        }
        Reply::ElementsEnd => record[0] = ELEMENTS_END,
        Reply::Incident(incident) => {
            record[0] = INCIDENT;
            (record[1], number) = incident.code();
        }
        Reply::Text(part) => {
            record[0] = TEXT;
            record[1] = part.length;
            record[2] = match part.then {
                Then::More => 0,
                Then::End => 1,
                Then::Unbuilt => 2,
            };
            record[8..].copy_from_slice(&part.bytes);
        }
        Reply::Closed => record[0] = CLOSED,
    }
    record[4..8].copy_from_slice(&number.to_le_bytes());
    record
}

/// The replies of a datagram and their epoch; `None`: malformed.
pub fn decode_replies(datagram: &[u8]) -> Option<(u32, Vec<Reply>)> {
    let (epoch, records) = records(datagram, REPLY_BYTES)?;
    let replies = records.map(decode_reply).collect::<Option<_>>()?;
    Some((epoch, replies))
}

fn decode_reply(record: &[u8]) -> Option<Reply> {
    let (code, number, id) = (record[1], u32_at(record, 4), u64_at(record, 8));
    let reply = match record[0] {
        HELLO => Reply::Hello,
        ANSWER => Reply::Answer {
            id,
            result: match code {
                0 => Ok(()),
                1 => Err(Refused::Protected),
                2 => Err(Refused::Full),
                3 => Err(Refused::Kernel(number.cast_signed())),
                4 => Err(Refused::Gone),
                _ => return None,
            },
        },
        ELEMENT => Reply::Element(Element {
            net: net_at(record)?,
            expires_s: number,
            dropped: (code == 1).then(|| dropped_at(record)),
        }),
        COUNTED => Reply::Counted {
            net: net_at(record)?,
            dropped: dropped_at(record),
        },
        ELEMENTS_END => Reply::ElementsEnd,
        INCIDENT => Reply::Incident(Incident::of(code, number)?),
        TEXT => Reply::Text(part_at(record)?),
        CLOSED => Reply::Closed,
        _ => return None,
    };
    (encode_reply(reply) == record).then_some(reply)
}

fn part_at(record: &[u8]) -> Option<Part> {
    let bytes: [u8; PART_BYTES] = record[8..].try_into().expect("the rest of a reply");
    let unused = bytes.get(usize::from(record[1])..)?;
    unused.iter().all(|&byte| byte == 0).then_some(())?;
    Some(Part {
        bytes,
        length: record[1],
        then: match record[2] {
            0 => Then::More,
            1 => Then::End,
            2 => Then::Unbuilt,
            _ => return None,
        },
    })
}

impl Incident {
    fn code(self) -> (u8, u32) {
        match self {
            Self::NoOwner => (1, 0),
            Self::Adopted(elements) => (2, elements),
            Self::Repaired(elements) => (3, elements),
            Self::Unbuilt(errno) => (4, errno),
            Self::Foreign => (5, 0),
            Self::Owned(elements) => (6, elements),
            Self::Malformed => (7, 0),
            Self::NotRemoved(errno) => (8, errno),
        }
    }

    fn of(code: u8, number: u32) -> Option<Self> {
        Some(match code {
            1 => Self::NoOwner,
            2 => Self::Adopted(number),
            3 => Self::Repaired(number),
            4 => Self::Unbuilt(number),
            5 => Self::Foreign,
            6 => Self::Owned(number),
            7 => Self::Malformed,
            8 => Self::NotRemoved(number),
            _ => return None,
        })
    }
}
