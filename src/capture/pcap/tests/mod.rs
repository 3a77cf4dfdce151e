//! Whole files are read as they were made; broken ones say where.
#![allow(clippy::cast_possible_truncation, reason = "small numbers, made here")]

mod craft;
mod damage;
mod slow;

use std::io::Cursor;
use std::path::Path;

use super::files::Files;
use super::ng::{InterfaceClock, TIME_MAX_NS, TIME_MIN_NS};
use super::{CaptureReader, Order, ReadErrorKind};
use crate::capture::frame::LinkType;
use craft::{
    Made, Random, enhanced, gzip, in_batches, interface, pcap, pcap_header, pcapng, read, section,
    seen, zstd,
};

const ORDERS: [Order; 2] = [Order::Little, Order::Big];
const MAGICS: [u32; 3] = [0xa1b2_c3d4, 0xa1b2_3c4d, 0xa1b2_cd34];

/// Every format in both byte orders.
fn every_format() -> Vec<Made> {
    let mut all = Vec::new();
    for order in ORDERS {
        all.extend(MAGICS.map(|magic| pcap(order, magic)));
        all.push(pcapng(order));
    }
    all
}

#[test]
fn every_format_is_read_as_it_was_made() {
    for made in every_format() {
        let (frames, error) = read(&made.bytes);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(frames, made.frames);
    }
}

#[test]
fn packed_files_are_read_as_plain_ones() {
    for made in every_format() {
        for pack in [gzip, zstd] {
            let (frames, error) = read(&pack(&made.bytes));
            assert!(error.is_none(), "{error:?}");
            assert_eq!(frames, made.frames);
            // Cut anywhere and packed in two members or frames, it is still one stream.
            for cut in [1, 4, 24, 30, made.bytes.len() - 1] {
                let (head, tail) = made.bytes.split_at(cut);
                let (frames, error) = read(&[pack(head), pack(tail)].concat());
                assert!(error.is_none(), "{error:?}");
                assert_eq!(frames, made.frames);
            }
        }
    }
}

#[test]
fn skippable_zstd_frames_are_skipped() {
    let made = pcapng(Order::Little);
    let skippable = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let packed = [&skippable[..], &zstd(&made.bytes), &skippable].concat();
    let (frames, error) = read(&packed);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames, made.frames);
    let (frames, error) = read(&packed[..packed.len() - 1]);
    assert_eq!(frames, made.frames);
    assert_eq!(error.expect("cut").kind(), ReadErrorKind::Truncated);
}

#[test]
fn interfaces_are_numbered_over_the_file() {
    let made = pcapng(Order::Big);
    let mut reader =
        CaptureReader::from_reader("made", Cursor::new(made.bytes.clone()), None).expect("pcapng");
    let mut seen = Vec::new();
    while let Some(frame) = reader.next_frame().expect("sound") {
        seen.push(frame.interface);
    }
    assert_eq!(seen, [0, 1, 0, 1, 2]);
    let all = reader.interfaces().iter();
    let names: Vec<_> = all.map(|i| (i.name.as_deref(), i.position)).collect();
    assert_eq!(names, [(Some("eth0"), 0), (Some("tun0"), 1), (None, 0)]);
    assert_eq!(reader.interfaces()[2].link, LinkType::LinuxSll2);
    assert_eq!(reader.bytes_read(), made.bytes.len() as u64);
}

#[test]
fn link_types_have_their_numbers() {
    let table = [
        (0, LinkType::Null),
        (1, LinkType::Ethernet),
        (12, LinkType::RawIp),
        (14, LinkType::RawIp),
        (101, LinkType::RawIp),
        (228, LinkType::RawIp),
        (229, LinkType::RawIp),
        (108, LinkType::Loop),
        (113, LinkType::LinuxSll),
        (276, LinkType::LinuxSll2),
        (105, LinkType::Other(105)),
        // The upper half: FCS length 4 with its flag, reserved bits.
        (0x4400_0001, LinkType::Ethernet),
        (0x03ff_0071, LinkType::LinuxSll),
    ];
    for (number, link) in table {
        let made = pcap_header(Order::Big, MAGICS[0], (2, 4), number);
        let reader =
            CaptureReader::from_reader("made", Cursor::new(made.bytes), None).expect("pcap");
        assert_eq!(reader.interfaces()[0].link, link, "{number:#x}");
    }
}

#[test]
fn old_versions_swap_the_lengths() {
    let lengths = |version, first: u32, second: u32| {
        let mut made = pcap_header(Order::Little, MAGICS[0], version, 1);
        for word in [0, 0, first, second] {
            made.u32(Order::Little, word);
        }
        made.bytes.extend([0; 4]);
        let (frames, error) = read(&made.bytes);
        assert!(error.is_none(), "{error:?}");
        (frames[0].bytes.len(), frames[0].wire_len)
    };
    assert_eq!(lengths((2, 2), 90, 4), (4, 90));
    assert_eq!(lengths((2, 3), 90, 4), (4, 90));
    assert_eq!(lengths((2, 3), 4, 90), (4, 90));
    assert_eq!(lengths((543, 0), 90, 4), (4, 90));
    assert_eq!(lengths((2, 4), 4, 90), (4, 90));
    // A wire length below the caplen is raised to it.
    assert_eq!(lengths((2, 4), 4, 1), (4, 4));
}

#[test]
fn clocks_of_every_resolution_are_exact() {
    let ns = |resolution, offset_s, ticks| {
        InterfaceClock {
            resolution,
            offset_s,
        }
        .ns(ticks)
    };
    assert_eq!(ns(0, 0, 5), 5_000_000_000);
    assert_eq!(ns(3, 0, 1_700_000_000_123), 1_700_000_000_123_000_000);
    assert_eq!(ns(6, 0, 1_700_000_000_123_456), 1_700_000_000_123_456_000);
    assert_eq!(
        ns(9, 0, 1_700_000_000_123_456_789),
        1_700_000_000_123_456_789
    );
    assert_eq!(ns(12, 0, 1_234_567_890_123_999), 1_234_567_890_123);
    assert_eq!(ns(127, 0, u64::MAX), 0);
    assert_eq!(ns(28, 0, u64::MAX), 1);
    assert_eq!(ns(29, 0, u64::MAX), 0);
    assert_eq!(ns(0x80, 0, 7), 7_000_000_000);
    assert_eq!(ns(0x80 | 10, 0, 1_536), 1_500_000_000);
    assert_eq!(
        ns(0x80 | 32, 0, 1_700_000_000 << 32),
        1_700_000_000_000_000_000
    );
    assert_eq!(ns(0xff, 0, u64::MAX), 0);
    assert_eq!(ns(6, 1_700_000_000, 1), 1_700_000_000_000_001_000);
    assert_eq!(ns(6, -1, 250_000), -750_000_000);
    assert_eq!(ns(0, 0, u64::MAX), TIME_MAX_NS);
    assert_eq!(ns(6, i64::MAX, u64::MAX), TIME_MAX_NS);
    assert_eq!(ns(6, i64::MIN, 0), TIME_MIN_NS);
}

#[test]
fn time_options_are_read_in_both_byte_orders() {
    for order in ORDERS {
        let offset: i64 = -3_600;
        let bytes = match order {
            Order::Little => offset.to_le_bytes(),
            Order::Big => offset.to_be_bytes(),
        };
        let mut made = Made::default();
        section(&mut made, order);
        interface(
            &mut made,
            order,
            0,
            0,
            &[(3, b"text"), (9, &[3]), (14, &bytes)],
        );
        let frame = seen(0, 4, 1_000_000_000, 0, LinkType::Null);
        enhanced(&mut made, order, 0, 3_601_000, frame);
        let (frames, error) = read(&made.bytes);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(frames, made.frames);
    }
}

#[test]
fn a_simple_packet_ends_at_the_snaplen() {
    let mut made = Made::default();
    section(&mut made, Order::Little);
    interface(&mut made, Order::Little, 1, 5, &[]);
    let body = [&60_u32.to_le_bytes()[..], &[1, 2, 3, 4, 5, 0, 0, 0]].concat();
    craft::block(&mut made, Order::Little, 3, &body);
    let (frames, error) = read(&made.bytes);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames[0].bytes, [1, 2, 3, 4, 5]);
    assert_eq!((frames[0].wire_len, frames[0].ts_ns), (60, 0));
}

#[test]
fn frames_larger_than_the_snaplen_and_the_buffer_are_read() {
    for len in [65_536_usize, 300_000, 1 << 20] {
        let mut made = pcap(Order::Little, MAGICS[0]);
        for word in [1, 2, len as u32, len as u32] {
            made.u32(Order::Little, word);
        }
        made.bytes.extend(craft::payload(9, len));
        let (frames, error) = read(&made.bytes);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(frames[4].bytes, craft::payload(9, len));
    }
    let len = super::FRAME_MAX_BYTES;
    let mut made = pcapng(Order::Little);
    enhanced(
        &mut made,
        Order::Big,
        0,
        0,
        seen(7, len, 0, 2, LinkType::LinuxSll2),
    );
    enhanced(
        &mut made,
        Order::Big,
        0,
        0,
        seen(8, 1, 0, 2, LinkType::LinuxSll2),
    );
    let (frames, error) = read(&made.bytes);
    assert!(error.is_none(), "{error:?}");
    assert!(frames == made.frames);
}

#[test]
fn a_file_on_disk_knows_its_length() {
    let made = pcap(Order::Little, MAGICS[1]);
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), gzip(&made.bytes)).expect("written");
    let reader = CaptureReader::open(file.path()).expect("a capture");
    assert_eq!(reader.name(), file.path().display().to_string());
    assert_eq!(reader.total_bytes(), Some(gzip(&made.bytes).len() as u64));
    assert_eq!(craft::drain(reader).0, made.frames);
    let nothing = CaptureReader::open(Path::new("/nonexistent/x.pcap"));
    assert_eq!(
        nothing.err().map(|why| why.kind()),
        Some(ReadErrorKind::NotFound)
    );
}

#[test]
fn a_capture_that_is_not_open_yet_has_a_place() {
    let place = |paths: &[&str]| {
        let paths: Vec<_> = paths.iter().map(std::path::PathBuf::from).collect();
        Files::new(&paths, 0).place()
    };
    assert_eq!(place(&["-"]).as_deref(), Some("frame 0 of standard input"));
    assert_eq!(
        place(&["-", "/missing"]).as_deref(),
        Some("frame 0 of standard input (file 1 of 2)")
    );
}

/// A capture of frames that come every so often; two in three are of its first interface.
fn capture_of(number: u8, is_ng: bool, random: &mut Random) -> Made {
    const START_NS: i64 = 1_700_000_000_000_000_000;
    let order = Order::Big;
    let mut made = match is_ng {
        true => Made::default(),
        false => pcap_header(order, 0xa1b2_3c4d, (2, 4), 276),
    };
    if is_ng {
        section(&mut made, order);
        interface(&mut made, order, 1, 0, &[(9, &[9])]);
        interface(&mut made, order, 101, 0, &[(9, &[9])]);
    }
    let mut ts_ns = START_NS;
    for index in 0..600_u32 {
        // Often the same time, and now and then a while in which only others come.
        ts_ns += match random.below(50) {
            0 => 400_000_000,
            1..25 => 0,
            _ => 1_000_000,
        };
        let second = u16::from(random.below(3) == 0);
        let link = match (is_ng, second) {
            (false, _) => LinkType::LinuxSll2,
            (true, 0) => LinkType::Ethernet,
            (true, _) => LinkType::RawIp,
        };
        let mut frame = seen(number, 30, ts_ns, u16::from(number), link);
        frame.bytes[4..8].copy_from_slice(&u32::from(second).to_be_bytes());
        frame.bytes[8..12].copy_from_slice(&index.to_be_bytes());
        if is_ng {
            enhanced(&mut made, order, second.into(), ts_ns.unsigned_abs(), frame);
            continue;
        }
        let since_ns = ts_ns - START_NS;
        let words = [
            since_ns / 1_000_000_000 + 1_700_000_000,
            since_ns % 1_000_000_000,
            30,
            39,
        ];
        for word in words {
            made.u32(order, word as u32);
        }
        made.bytes.extend(&frame.bytes);
        made.frames.push(frame);
    }
    made
}

#[test]
fn captures_that_overlap_are_merged_by_time_and_of_equal_times_by_number() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut random = Random(11);
    for formats in [&[false][..], &[true], &[true, false], &[false, true, false]] {
        let made: Vec<_> = (0..)
            .zip(formats)
            .map(|(number, &is_ng)| capture_of(number, is_ng, &mut random))
            .collect();
        let path = |number: usize| dir.path().join(format!("{number}.pcap"));
        let mut expected = Vec::new();
        for (number, made) in made.iter().enumerate() {
            std::fs::write(path(number), &made.bytes).expect("a file");
            expected.extend(made.frames.clone());
        }
        expected.sort_by_key(|frame| (frame.ts_ns, frame.interface));
        let paths: Vec<_> = (0..made.len()).map(path).collect();
        let mut files = Files::new(&paths, 0);
        let mut found = in_batches(&mut files);
        assert_eq!(files.interfaces().len(), 2 * made.len(), "two in each");
        let ended: u64 = files.read().map(|ended| ended.frames).sum();
        assert_eq!(ended, 600 * made.len() as u64);
        let pairs = found.iter_mut().zip(&expected);
        let mut interfaces = std::collections::HashMap::new();
        for (found, expected) in pairs {
            let which = (expected.interface, expected.bytes[7]);
            let index = *interfaces.entry(which).or_insert(found.interface);
            assert_eq!(found.interface, index, "one interface, one index");
            found.interface = expected.interface;
        }
        assert!(found == expected, "{formats:?}");
    }
}
