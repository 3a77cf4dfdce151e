//! Streams that pause: what has come is read, and nothing is read twice or lost.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::craft::{Seen, read};
use super::every_format;
use crate::capture::pcap::source::About;
use crate::capture::pcap::{CaptureReader, ReadError, ReadErrorKind, STDIN_NAME};

/// Gives one byte, then pauses, and so on.
struct Dripping {
    bytes: Vec<u8>,
    at: usize,
    paused: bool,
}

impl Read for Dripping {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.paused = !self.paused;
        if self.paused {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let left = &self.bytes[self.at..];
        let bytes = left.len().min(1);
        into[..bytes].copy_from_slice(&left[..bytes]);
        self.at += bytes;
        Ok(bytes)
    }
}

/// Reads everything, asking again whenever nothing was at hand; also how often that was.
fn patiently(mut reader: CaptureReader) -> (Vec<Seen>, Option<ReadError>, usize) {
    let (mut frames, mut pauses) = (Vec::new(), 0);
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => frames.push(Seen::of(&frame)),
            Ok(None) => return (frames, None, pauses),
            Err(error) if error.kind() == ReadErrorKind::NotYet => pauses += 1,
            Err(error) => return (frames, Some(error), pauses),
        }
    }
}

#[test]
fn a_pause_before_each_byte_changes_neither_frames_nor_errors() {
    for made in every_format() {
        let all = made.bytes.len();
        for cut in (1..all).step_by(61).chain([all]) {
            let bytes = made.bytes[..cut].to_vec();
            let (frames, error) = read(&bytes);
            let dripping = Dripping {
                bytes,
                at: 0,
                paused: false,
            };
            let about = Arc::<About>::default();
            let reader = CaptureReader::new("made".into(), Box::new(dripping), about, None);
            let (slow, slow_error, pauses) = patiently(reader);
            assert_eq!(slow, frames, "cut at {cut}");
            let text = |error: Option<ReadError>| error.map(|error| error.to_string());
            assert_eq!(text(slow_error), text(error), "cut at {cut}");
            assert!(pauses >= cut, "{pauses} pauses in {cut} bytes");
        }
    }
}

#[test]
fn frames_that_have_come_do_not_wait_for_half_a_frame() {
    for made in every_format() {
        let (stream, mut writer) = io::pipe().expect("a pipe");
        let mut reader = CaptureReader::follow(STDIN_NAME.into(), || Ok(stream)).expect("a thread");
        let kind = |reader: &mut CaptureReader| match reader.next_frame() {
            Ok(frame) => Ok(frame.is_some()),
            Err(error) => Err(error.kind()),
        };
        assert_eq!(kind(&mut reader), Err(ReadErrorKind::NotYet), "no byte yet");
        let two = made.boundaries.iter().find(|(_, frames)| *frames == 2);
        let half = two.expect("two frames").0 + 9;
        writer.write_all(&made.bytes[..half]).expect("a reader");
        let give_up = Instant::now() + Duration::from_secs(10);
        let mut frames = 0;
        while frames < 2 && Instant::now() < give_up {
            frames += usize::from(kind(&mut reader) == Ok(true));
        }
        assert_eq!(frames, 2);
        assert_eq!(
            kind(&mut reader),
            Err(ReadErrorKind::NotYet),
            "half a frame"
        );
        writer.write_all(&made.bytes[half..]).expect("a reader");
        drop(writer);
        let (rest, error, _) = patiently(reader);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(rest, made.frames[2..]);
    }
}

#[test]
fn a_named_pipe_is_opened_without_waiting_for_its_writer() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let made = every_format().remove(0);
    let mut reader = CaptureReader::open(&path).expect("it does not wait");
    assert_eq!(
        reader.next_frame().expect_err("no writer").kind(),
        ReadErrorKind::NotYet
    );
    let bytes = made.bytes.clone();
    let writer = std::thread::spawn(move || std::fs::write(path, bytes));
    let (frames, error, _) = patiently(reader);
    writer.join().expect("no panic").expect("written");
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames, made.frames);
}

#[test]
fn a_packed_stream_is_unpacked_while_others_wait() {
    let made = every_format().remove(0);
    for pack in [super::gzip, super::zstd] {
        let packed = pack(&made.bytes);
        let reader = CaptureReader::follow("made".into(), || Ok(io::Cursor::new(packed)));
        let (frames, error, _) = patiently(reader.expect("a thread"));
        assert!(error.is_none(), "{error:?}");
        assert_eq!(frames, made.frames);
    }
    let nothing = CaptureReader::follow("made".into(), || Ok(io::empty()));
    let (_, error, _) = patiently(nothing.expect("a thread"));
    assert_eq!(
        error.expect("nothing").to_string(),
        "made: the file is empty"
    );
}
