//! Broken files: what can be read is read, the place is named, nothing panics.

use std::io::{self, Read};
use std::path::Path;

use super::craft::{
    Made, Random, block, drain, gzip, interface, payload, pcap, pcap_header, pcapng, read, section,
    zstd,
};
use super::{MAGICS, every_format};
use crate::capture::pcap::{CaptureReader, Order, ReadErrorKind};

/// Frames before a cut, by what was made.
fn frames_before(made: &Made, cut: usize) -> usize {
    let whole = made.boundaries.iter().filter(|(end, _)| *end <= cut);
    whole.map(|(_, frames)| *frames).max().unwrap_or(0)
}

#[test]
fn a_file_cut_anywhere_gives_the_frames_before_the_cut() {
    for made in every_format() {
        for cut in 0..made.bytes.len() {
            let (frames, error) = read(&made.bytes[..cut]);
            assert_eq!(frames, made.frames[..frames_before(&made, cut)], "{cut}");
            let kind = error.as_ref().map(|why| why.kind());
            let boundary = made.boundaries.iter().rfind(|(end, _)| *end <= cut);
            match (cut, boundary) {
                (0, _) => assert_eq!(kind, Some(ReadErrorKind::Empty)),
                (..4, _) => assert_eq!(kind, Some(ReadErrorKind::UnknownType), "{cut}"),
                (_, Some((end, _))) if *end == cut => assert_eq!(kind, None, "{cut}"),
                (_, place) => {
                    assert_eq!(kind, Some(ReadErrorKind::Truncated), "{cut}");
                    let place = place.map_or(0, |(end, _)| *end as u64);
                    assert_eq!(error.and_then(|why| why.offset()), Some(place));
                }
            }
        }
    }
}

#[test]
fn a_packed_file_cut_anywhere_gives_a_prefix_and_an_error() {
    for made in every_format() {
        for packed in [gzip(&made.bytes), zstd(&made.bytes)] {
            for cut in 0..packed.len() {
                let (frames, error) = read(&packed[..cut]);
                assert_eq!(frames, made.frames[..frames.len()], "{cut}");
                assert!(error.is_some(), "{cut} of {}", packed.len());
            }
        }
    }
}

/// A file of several deflate and zstd blocks, half of it hard to compress.
fn long_pcap() -> Made {
    let mut made = pcap(Order::Little, MAGICS[0]);
    let mut random = Random(7);
    for index in 0..3_000 {
        let mut bytes = payload(1, 200);
        if index % 2 == 0 {
            bytes.fill_with(|| random.below(256) as u8);
        }
        for word in [1, 2, 200, 200] {
            made.u32(Order::Little, word);
        }
        made.bytes.extend(&bytes);
        made.boundary();
    }
    made
}

#[test]
fn a_long_packed_file_is_read_almost_up_to_its_damage() {
    let made = long_pcap();
    let whole = read(&made.bytes).0;
    for (pack, lost_most) in [(gzip as fn(&[u8]) -> Vec<u8>, 40), (zstd, 700)] {
        let packed = pack(&made.bytes);
        for part in 1..8 {
            let cut = packed.len() * part / 8;
            let (frames, error) = read(&packed[..cut]);
            let error = error.expect("cut");
            assert_eq!(error.kind(), ReadErrorKind::Truncated, "{error}");
            assert!(frames == whole[..frames.len()], "not a prefix at {cut}");
            let fair = whole.len() * part / 8;
            assert!(
                frames.len() + lost_most > fair,
                "{} of {fair}",
                frames.len()
            );
            let mut flipped = packed.clone();
            flipped[cut] ^= 0x55;
            let (_, error) = read(&flipped);
            let kind = error.expect("flipped").kind();
            assert!(matches!(
                kind,
                ReadErrorKind::Damaged | ReadErrorKind::Truncated
            ));
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let mut random = Random(0x5eed);
    let mut unharmed = 0;
    for made in every_format() {
        for packed in [made.bytes.clone(), gzip(&made.bytes), zstd(&made.bytes)] {
            for _ in 0..400 {
                let mut bytes = packed.clone();
                for _ in 0..=random.below(3) {
                    let at = random.below(bytes.len());
                    bytes[at] = random.below(256) as u8;
                }
                let (frames, error) = read(&bytes);
                assert!(frames.len() <= bytes.len());
                unharmed += usize::from(error.is_none());
            }
        }
    }
    eprintln!("{unharmed} of 9600 flipped files were read to their end");
}

/// The sentence a reader ends with.
fn sentence(bytes: &[u8]) -> String {
    read(bytes).1.expect("broken").to_string()
}

#[test]
fn a_damaged_file_is_told_in_one_sentence() {
    let mut huge = pcap(Order::Little, MAGICS[0]);
    for word in [1, 2, u32::MAX, u32::MAX] {
        huge.u32(Order::Little, word);
    }
    assert_eq!(
        sentence(&huge.bytes),
        "made: damaged at byte 166, record 5: \
         the record claims 4294967295 bytes, at most 1048576 are read"
    );
    let cut = pcap(Order::Big, MAGICS[0]);
    assert_eq!(
        sentence(&cut.bytes[..cut.bytes.len() - 45]),
        "made: cut short at byte 89, record 4: ends in the middle of a record: 16 of 61 bytes"
    );
    assert_eq!(
        sentence(&pcap_header(Order::Big, MAGICS[0], (3, 7), 1).bytes),
        "made: pcap version 3.7; version 2 is read"
    );
    let packed = gzip(&cut.bytes);
    let end = packed.len();
    assert_eq!(
        sentence(&packed[..end - 1]),
        "made: cut short at byte 166, record 5: the gzip data ends too early"
    );
    let mut packed = zstd(&cut.bytes);
    *packed.last_mut().expect("not empty") ^= 1;
    assert_eq!(
        sentence(&packed),
        "made: damaged at byte 166, record 5: the zstd data: the checksum is wrong"
    );
}

#[test]
fn a_damaged_block_is_told_in_one_sentence() {
    let base = || {
        let mut made = Made::default();
        section(&mut made, Order::Little);
        interface(&mut made, Order::Little, 1, 0, &[]);
        made
    };
    let mut wrong = base();
    block(&mut wrong, Order::Little, 6, &[9, 0, 0, 0].repeat(5));
    assert_eq!(
        sentence(&wrong.bytes),
        "made: damaged at byte 48, block 3: a frame of interface 9, but the section describes 1"
    );
    let mut wrong = base();
    block(&mut wrong, Order::Little, 6, &[[0; 12], [8; 12]].concat());
    assert!(
        sentence(&wrong.bytes).ends_with("a frame of 134744072 bytes in a block with room for 4")
    );
    for kind in [1, 77] {
        let mut wrong = base();
        block(&mut wrong, Order::Little, kind, &[0; 8]);
        *wrong.bytes.last_mut().expect("not empty") = 1;
        let end =
            format!("block 3: the block (type {kind:#x}) starts as 20 bytes but ends as 16777236");
        assert!(sentence(&wrong.bytes).ends_with(&end));
    }
    let mut wrong = base();
    wrong.u32(Order::Little, 6);
    wrong.u32(Order::Little, 30);
    assert!(sentence(&wrong.bytes).contains("claims 30 bytes: must be at least 32 and a multiple"));
    let mut wrong = base();
    wrong.u32(Order::Little, 6);
    wrong.u32(Order::Little, 0xffff_fff0);
    assert!(sentence(&wrong.bytes).ends_with("claims 4294967280 bytes, at most 67108864 are read"));
    let mut wrong = pcapng(Order::Little);
    wrong.bytes[8] = 0;
    assert!(sentence(&wrong.bytes).ends_with("byte order 0x003c2b1a instead of 0x1a2b3c4d"));
}

#[test]
fn what_is_no_capture_is_told_in_one_sentence() {
    let reads = "pcap and pcapng are read, plain or in gzip or zstd";
    assert_eq!(sentence(b""), "made: the file is empty");
    assert_eq!(sentence(&gzip(b"")), "made: the gzip data holds nothing");
    assert_eq!(
        sentence(b"hi"),
        format!("made: not a capture file of a known type: the first bytes are 68 69; {reads}")
    );
    assert_eq!(
        sentence(&zstd(b"hello, world")),
        format!(
            "made: not a capture file of a known type: the first bytes inside the zstd data are \
             68 65 6c 6c 6f 2c 20 77; {reads}"
        )
    );
    assert!(sentence(b"\xfd7zXZ\0...").contains(" (xz: unpack it first); "));
    assert!(sentence(&gzip(&gzip(b"x"))).contains(" (gzip, twice); "));
}

#[test]
fn what_cannot_be_opened_is_told_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let told = |path: &Path| {
        let why = CaptureReader::open(path).err().expect("cannot be opened");
        (
            why.kind(),
            why.to_string().replace(&path.display().to_string(), "X"),
        )
    };
    let (kind, text) = told(folder.path());
    assert_eq!(kind, ReadErrorKind::IsDirectory);
    assert_eq!(text, "X: is a directory, not a capture file");
    let path = folder.path().join("x.pcap");
    assert_eq!(
        told(&path),
        (ReadErrorKind::NotFound, "X: no such file".to_owned())
    );
    std::fs::write(&path, b"").expect("written");
    assert_eq!(
        told(&path),
        (ReadErrorKind::Empty, "X: the file is empty".to_owned())
    );
    let secret = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o0);
    std::fs::set_permissions(&path, secret).expect("changed");
    if std::fs::File::open(&path).is_ok() {
        eprintln!("skipped: no permission: this user may read everything");
        return;
    }
    let text = "X: no permission to read it".to_owned();
    assert_eq!(told(&path), (ReadErrorKind::Permission, text));
}

/// A stream that fails like a disk in its middle.
struct Failing(io::Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into)? {
            0 => Err(io::Error::from_raw_os_error(5)),
            bytes => Ok(bytes),
        }
    }
}

#[test]
fn a_disk_that_fails_is_not_called_damage() {
    let made = pcap(Order::Little, MAGICS[0]);
    for (bytes, name) in [
        (made.bytes.clone(), "plain"),
        (gzip(&made.bytes), "gzip"),
        (zstd(&made.bytes), "zstd"),
    ] {
        let stream = Failing(io::Cursor::new(bytes));
        let reader = CaptureReader::from_reader(name, stream, None).expect("its head is sound");
        let (frames, error) = drain(reader);
        assert_eq!(frames, made.frames);
        let error = error.expect("it failed");
        assert_eq!(error.kind(), ReadErrorKind::Io, "{error}");
        assert!(
            error
                .to_string()
                .ends_with(": Input/output error (os error 5)"),
            "{error}"
        );
    }
}
