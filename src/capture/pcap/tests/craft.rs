//! Capture files made byte by byte, and what a reader must see in them.

use std::io::{Cursor, Write};

use super::super::batch::FRAMES_MAX;
use super::super::files::{Files, Next};
use super::super::{CaptureReader, Order, ReadError};
use crate::capture::frame::{Frame, LinkType};

/// A frame as the reader gave it, or as it must give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) bytes: Vec<u8>,
    pub(super) wire_len: u32,
    pub(super) ts_ns: i64,
    pub(super) interface: u16,
    pub(super) link: LinkType,
}

impl Seen {
    pub(super) fn of(frame: &Frame<'_>) -> Self {
        Self {
            bytes: frame.bytes.to_vec(),
            wire_len: frame.wire_len,
            ts_ns: frame.ts_ns,
            interface: frame.interface,
            link: frame.link,
        }
    }
}

/// A file with, for each place where a cut does no damage, the frames before it.
#[derive(Clone, Default)]
pub(super) struct Made {
    pub(super) bytes: Vec<u8>,
    /// Length up to a boundary, and how many frames end there or before.
    pub(super) boundaries: Vec<(usize, usize)>,
    pub(super) frames: Vec<Seen>,
}

impl Made {
    pub(super) fn boundary(&mut self) {
        self.boundaries.push((self.bytes.len(), self.frames.len()));
    }

    pub(super) fn u16(&mut self, order: Order, value: u16) {
        self.bytes.extend(match order {
            Order::Little => value.to_le_bytes(),
            Order::Big => value.to_be_bytes(),
        });
    }

    pub(super) fn u32(&mut self, order: Order, value: u32) {
        self.bytes.extend(match order {
            Order::Little => value.to_le_bytes(),
            Order::Big => value.to_be_bytes(),
        });
    }
}

/// Reads everything, frame by frame and in batches; the error is the one that ended it.
pub(super) fn read(bytes: &[u8]) -> (Vec<Seen>, Option<ReadError>) {
    let open = || CaptureReader::from_reader("made", Cursor::new(bytes.to_vec()), None);
    let reader = match open() {
        Ok(reader) => reader,
        Err(why) => return (Vec::new(), Some(why)),
    };
    let (frames, error) = drain(reader);
    let mut files = Files::of_reader(open().expect("as before"));
    let mut batched = in_batches(&mut files);
    for (batched, frame) in batched.iter_mut().zip(&frames) {
        // There it is an index of the run.
        batched.interface = frame.interface;
    }
    assert!(batched == frames, "{} of {}", batched.len(), frames.len());
    let errors = files.take_errors().into_iter();
    let errors: Vec<_> = errors.map(|(_, why)| why.to_string()).collect();
    let expected: Vec<_> = error.iter().map(ToString::to_string).collect();
    assert_eq!(errors, expected);
    (frames, error)
}

/// What captures give in batches.
pub(super) fn in_batches(files: &mut Files) -> Vec<Seen> {
    let mut frames = Vec::new();
    loop {
        match files.next_batch() {
            Next::Frames(batch) => {
                let before = frames.len();
                frames.extend(batch.frames().map(|frame| Seen::of(&frame)));
                assert!((1..=FRAMES_MAX).contains(&(frames.len() - before)));
            }
            Next::Pause => panic!("files never wait"),
            Next::End => return frames,
        }
    }
}

pub(super) fn drain(mut reader: CaptureReader) -> (Vec<Seen>, Option<ReadError>) {
    let mut frames = Vec::new();
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => frames.push(Seen::of(&frame)),
            Ok(None) => return (frames, None),
            Err(why) => {
                assert!(matches!(reader.next_frame(), Ok(None)), "not finished");
                return (frames, Some(why));
            }
        }
    }
}

/// A payload that differs from frame to frame.
pub(super) fn payload(index: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u8).wrapping_mul(31).wrapping_add(index))
        .collect()
}

/// The file header of a pcap file.
pub(super) fn pcap_header(order: Order, magic: u32, version: (u16, u16), link: u32) -> Made {
    let mut made = Made::default();
    made.u32(order, magic);
    made.u16(order, version.0);
    made.u16(order, version.1);
    for word in [0, 0, 65_535, link] {
        made.u32(order, word);
    }
    made.boundary();
    made
}

/// Four frames of different lengths, one of them empty, in a pcap file.
pub(super) fn pcap(order: Order, magic: u32) -> Made {
    let mut made = pcap_header(order, magic, (2, 4), 1);
    let unit_ns = if magic == 0xa1b2_3c4d { 1 } else { 1000 };
    for (index, len) in [3_usize, 0, 14, 61].into_iter().enumerate() {
        let seconds = 1_700_000_000 + index as u32;
        for word in [seconds, 123_456 + index as u32, len as u32, len as u32 + 5] {
            made.u32(order, word);
        }
        if magic == 0xa1b2_cd34 {
            made.bytes.extend([7; 8]);
        }
        let bytes = payload(index as u8, len);
        made.bytes.extend(&bytes);
        made.frames.push(Seen {
            bytes,
            wire_len: len as u32 + 5,
            ts_ns: i64::from(seconds) * 1_000_000_000 + (123_456 + index as i64) * unit_ns,
            interface: 0,
            link: LinkType::Ethernet,
        });
        made.boundary();
    }
    made
}

/// Adds a block with padding; `body` is already in the byte order.
pub(super) fn block(made: &mut Made, order: Order, kind: u32, body: &[u8]) {
    let len = 12 + body.len().next_multiple_of(4);
    made.u32(order, kind);
    made.u32(order, len as u32);
    made.bytes.extend(body);
    made.bytes.resize(made.bytes.len().next_multiple_of(4), 0);
    made.u32(order, len as u32);
    made.boundary();
}

/// A section header.
pub(super) fn section(made: &mut Made, order: Order) {
    let mut body = Made::default();
    body.u32(order, 0x1a2b_3c4d);
    body.u16(order, 1);
    body.u16(order, 0);
    body.bytes.extend([0xff; 8]);
    block(made, order, 0x0a0d_0d0a, &body.bytes);
}

/// An interface description with options.
pub(super) fn interface(
    made: &mut Made,
    order: Order,
    link: u16,
    snaplen: u32,
    options: &[(u16, &[u8])],
) {
    let mut body = Made::default();
    body.u16(order, link);
    body.u16(order, 0);
    body.u32(order, snaplen);
    for (code, value) in options {
        body.u16(order, *code);
        body.u16(order, value.len() as u16);
        body.bytes.extend(*value);
        body.bytes.resize(body.bytes.len().next_multiple_of(4), 0);
    }
    if !options.is_empty() {
        body.u32(order, 0);
    }
    block(made, order, 1, &body.bytes);
}

/// An Enhanced Packet Block with a comment; the frame must be seen as `seen`.
pub(super) fn enhanced(made: &mut Made, order: Order, local: u32, ticks: u64, seen: Seen) {
    let mut body = Made::default();
    let caplen = seen.bytes.len() as u32;
    let (high, low) = ((ticks >> 32) as u32, ticks as u32);
    for word in [local, high, low, caplen, seen.wire_len] {
        body.u32(order, word);
    }
    body.bytes.extend(&seen.bytes);
    body.bytes.resize(body.bytes.len().next_multiple_of(4), 0);
    body.u16(order, 1);
    body.u16(order, 3);
    body.bytes.extend(b"why\0");
    body.u32(order, 0);
    made.frames.push(seen);
    block(made, order, 6, &body.bytes);
}

/// A frame with an index into the file's interfaces.
pub(super) fn seen(index: u8, len: usize, ts_ns: i64, interface: u16, link: LinkType) -> Seen {
    Seen {
        bytes: payload(index, len),
        wire_len: len as u32 + 9,
        ts_ns,
        interface,
        link,
    }
}

/// Two sections with interfaces, unknown blocks, and every block type that holds a frame.
pub(super) fn pcapng(order: Order) -> Made {
    let mut made = Made::default();
    section(&mut made, order);
    interface(&mut made, order, 1, 0, &[(2, b"eth0"), (9, &[9])]);
    interface(&mut made, order, 101, 20, &[(2, b"tun0\0\0")]);
    block(&mut made, order, 0x0bad, b"unknown");
    let first = seen(1, 5, 1_700_000_000_123_456_789, 0, LinkType::Ethernet);
    enhanced(&mut made, order, 0, 1_700_000_000_123_456_789, first);
    let second = seen(2, 8, 1_700_000_001_000_007_000, 1, LinkType::RawIp);
    enhanced(&mut made, order, 1, 1_700_000_001_000_007, second);
    // A Simple Packet Block: interface 0, time of the frame before it.
    let simple = Seen {
        wire_len: 6,
        ..seen(3, 6, 1_700_000_001_000_007_000, 0, LinkType::Ethernet)
    };
    let mut body = Made::default();
    body.u32(order, 6);
    body.bytes.extend(&simple.bytes);
    made.frames.push(simple);
    block(&mut made, order, 3, &body.bytes);
    // The obsolete Packet Block: 16 bits of interface, 16 of drops.
    let old = seen(4, 7, 1_000_000_000, 1, LinkType::RawIp);
    let mut body = Made::default();
    body.u16(order, 1);
    body.u16(order, 99);
    for word in [0, 1_000_000, 7, old.wire_len] {
        body.u32(order, word);
    }
    body.bytes.extend(&old.bytes);
    made.frames.push(old);
    block(&mut made, order, 2, &body.bytes);
    // The second section has the other byte order and an interface of its own.
    let other = match order {
        Order::Little => Order::Big,
        Order::Big => Order::Little,
    };
    section(&mut made, other);
    interface(&mut made, other, 276, 65_535, &[(9, &[0x80 | 10])]);
    let last = seen(5, 33, 2_500_000_000, 2, LinkType::LinuxSll2);
    enhanced(&mut made, other, 0, 2_560, last);
    made
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    ruzstd::encoding::compress_to_vec(bytes, level)
}

/// xorshift64: the same numbers for the same seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
