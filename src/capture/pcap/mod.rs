//! Frames from capture files: pcap and pcapng, plain or in gzip or zstd.
//!
//! In: a path or a stream of untrusted bytes. Out: [`Frame`]s in the file's order. Memory is bounded for any input.
//! Damage is an error with its byte offset; all frames before it are read, which is why the parser is our own. A
//! frame borrows from the read buffer until the next call: no copy, no allocation.

pub mod batch;
mod buffer;
pub(crate) mod chunk;
mod classic;
mod error;
pub mod files;
pub(crate) mod jumps;
mod lanes;
mod link_names;
mod lookahead;
mod ng;
pub(crate) mod order;
mod series;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod zstd;

use crate::words::shown;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::capture::frame::{Frame, LinkType};

use batch::{Like, Record};
use buffer::Buffer;
use classic::Classic;
use error::Fault;
pub use error::{ReadError, ReadErrorKind};
pub(crate) use link_names::link_name;
use ng::Ng;
use source::About;
use stream::Stream;

/// Limit of a frame in any file: 16 MiB.
pub const FRAME_MAX_BYTES: usize = 16 << 20;

/// Most interfaces kept of a file. Frames of later ones get the index [`u16::MAX`].
pub const INTERFACES_MAX: usize = 1 << 16;

/// Standard input in messages.
pub(crate) const STDIN_NAME: &str = "standard input";

/// An interface that frames of a capture file were taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceInfo {
    /// The name that the file gives it; pcap files give none. At most 255 bytes are kept.
    pub name: Option<String>,
    /// What its frames start with.
    pub link: LinkType,
    /// Its index in its section; 0 in pcap files.
    pub position: usize,
}

/// A frame in the buffer.
struct BufferedFrame {
    record: Record,
    /// Index among the interfaces of this file.
    interface: usize,
    link: LinkType,
}

enum Format {
    Pcap(Classic),
    Pcapng(Ng),
}

/// Reads the frames of one capture file or stream.
pub struct CaptureReader {
    name: String,
    buffer: Buffer,
    /// `None` before the first bytes.
    format: Option<Format>,
    interfaces: Vec<InterfaceInfo>,
    /// The frame in the buffer.
    current: Option<BufferedFrame>,
    about: Arc<About>,
    total_bytes: Option<u64>,
    finished: bool,
}

impl CaptureReader {
    /// Opens a capture file and detects its format. A named pipe or a device is opened and read on another thread, as
    /// [`CaptureReader::from_stdin`] does.
    ///
    /// # Errors
    ///
    /// Every [`ReadErrorKind`] but `NotYet` can occur.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let name = shown(path);
        let slow = std::fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir());
        if slow {
            let path = path.to_path_buf();
            return Self::follow(name, move || source::open(&path).map(|(file, _)| file));
        }
        match source::open(path) {
            Ok((file, total_bytes)) => Self::from_reader(&name, file, total_bytes),
            Err(fault) => Err(fault.of(&name)),
        }
    }

    /// Reads a capture from standard input, on another thread: [`CaptureReader::next_frame`] waits for at most
    /// 200 ms, then gives [`ReadErrorKind::NotYet`]. It also reports an unknown format.
    ///
    /// # Errors
    ///
    /// The system has no thread to give.
    pub fn from_stdin() -> Result<Self, ReadError> {
        Self::follow(STDIN_NAME.to_owned(), || Ok(std::io::stdin()))
    }

    /// Reads a capture from any stream of `total_bytes`, if known; `name` is for error messages.
    ///
    /// # Errors
    ///
    /// Every [`ReadErrorKind`] but `NotYet` and those of opening a file can occur.
    pub fn from_reader(
        name: &str,
        stream: impl Read + Send + 'static,
        total_bytes: Option<u64>,
    ) -> Result<Self, ReadError> {
        let about = Arc::new(About::default());
        let bytes = match source::unpack(stream, &about) {
            Ok(bytes) => bytes,
            Err(fault) => return Err(fault.of(name)),
        };
        let mut reader = Self::new(name.to_owned(), bytes, about, total_bytes);
        reader.detect()?;
        Ok(reader)
    }

    /// Opens and reads a stream on another thread.
    fn follow<R: Read + Send + 'static>(
        name: String,
        open: impl FnOnce() -> Result<R, Fault> + Send + 'static,
    ) -> Result<Self, ReadError> {
        let about = Arc::new(About::default());
        let to_reader = Arc::clone(&about);
        match Stream::start(move || source::unpack(open()?, &to_reader)) {
            Ok(stream) => Ok(Self::new(name, Box::new(stream), about, None)),
            Err(why) => Err(Fault {
                source: Some(why),
                ..Fault::whole(ReadErrorKind::Io, "cannot be read on another thread")
            }
            .of(&name)),
        }
    }

    fn new(
        name: String,
        bytes: Box<dyn Read + Send>,
        about: Arc<About>,
        total_bytes: Option<u64>,
    ) -> Self {
        Self {
            name,
            buffer: Buffer::new(bytes),
            format: None,
            interfaces: Vec::new(),
            current: None,
            about,
            total_bytes,
            finished: false,
        }
    }

    #[cold]
    fn detect(&mut self) -> Result<(), ReadError> {
        match detect(&mut self.buffer, &self.about, &mut self.interfaces) {
            Ok(format) => self.format = Some(format),
            Err(fault) => return Err(self.name_fault(fault)),
        }
        Ok(())
    }

    /// The next frame, in the file's order; `None` at the end and after an error other than
    /// [`ReadErrorKind::NotYet`].
    ///
    /// Time stamps are exact to the nanosecond, clamped to `i64`. A Simple Packet Block has none: its
    /// frame gets the time of the frame before it, or 0. `wire_len` is at least the caplen.
    ///
    /// # Errors
    ///
    /// [`ReadErrorKind::Damaged`], [`ReadErrorKind::Truncated`] or [`ReadErrorKind::Io`], once;
    /// all frames before the place that it names were returned by earlier calls.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, ReadError> {
        self.advance()?;
        Ok(self.frame())
    }

    /// Steps to the next frame and returns its time stamp; as [`CaptureReader::next_frame`] otherwise.
    ///
    /// # Errors
    ///
    /// As [`CaptureReader::next_frame`].
    pub(super) fn advance(&mut self) -> Result<Option<i64>, ReadError> {
        self.current = None;
        if self.finished {
            return Ok(None);
        }
        if self.format.is_none() {
            self.detect()?;
        }
        let (buffer, found) = (&mut self.buffer, &mut self.current);
        let next = match &mut self.format {
            Some(Format::Pcap(pcap)) => pcap.next(buffer, found),
            Some(Format::Pcapng(pcapng)) => pcapng.next(buffer, &mut self.interfaces, found),
            None => unreachable!("just detected"),
        };
        if let Err(fault) = next {
            return Err(self.name_fault(fault));
        }
        let ts_ns = self.current.as_ref().map(|found| found.record.ts_ns);
        self.finished = ts_ns.is_none();
        Ok(ts_ns)
    }

    /// Takes frames that follow the last one in the buffer, are of its interface, and have times from the first to the
    /// last of these. Returns what all of them start with; `None` where that frame is not known.
    fn batch(&mut self, times_ns: (i64, i64), records: &mut Vec<Record>) -> Option<LinkType> {
        let before = self.frame()?;
        let like = Like {
            times_ns,
            interface: self.current.as_ref()?.interface,
            link: before.link,
            sll2_index: lanes::sll2_index(before.bytes),
        };
        match self.format.as_mut()? {
            Format::Pcap(pcap) => pcap.batch(&mut self.buffer, &like, records),
            Format::Pcapng(pcapng) => pcapng.batch(&mut self.buffer, &like, records),
        }
        Some(like.link)
    }

    /// The bytes of which records give places.
    fn taken(&self) -> &[u8] {
        self.buffer.taken()
    }

    /// The frame that [`CaptureReader::advance`] stepped to. Its interface is the index in this file, at most
    /// [`u16::MAX`].
    #[inline]
    pub(super) fn frame(&self) -> Option<Frame<'_>> {
        let found = self.current.as_ref()?;
        let Record {
            ts_ns,
            at,
            caplen,
            wire_len,
        } = found.record;
        Some(Frame {
            bytes: &self.buffer.taken()[at..][..caplen as usize],
            wire_len,
            ts_ns,
            interface: u16::try_from(found.interface).unwrap_or(u16::MAX),
            link: found.link,
            vlan: None,
            gso: false,
            incoming: false,
        })
    }

    /// Adds number and file name; ends the reading, except for `NotYet`.
    #[cold]
    fn name_fault(&mut self, fault: Fault) -> ReadError {
        self.finished = fault.kind != ReadErrorKind::NotYet;
        let fault = match &self.format {
            Some(Format::Pcap(pcap)) => fault.numbered("record", pcap.records + 1),
            Some(Format::Pcapng(pcapng)) => fault.numbered("block", pcapng.blocks + 1),
            None => fault,
        };
        fault.of(&self.name)
    }

    /// The interfaces so far.
    ///
    /// A pcapng file describes an interface before its first frame. Each section has interfaces of its own: [`files`]
    /// joins those that are one.
    pub fn interfaces(&self) -> &[InterfaceInfo] {
        &self.interfaces
    }

    /// The file's path, as [`shown`], or `standard input`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes read of the stored file so far; ahead of the frames.
    pub fn bytes_read(&self) -> u64 {
        self.about.bytes_read.load(Ordering::Relaxed)
    }

    /// Length of the stored file; `None` if it is no regular file.
    pub fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }
}

fn detect(
    buffer: &mut Buffer,
    about: &About,
    interfaces: &mut Vec<InterfaceInfo>,
) -> Result<Format, Fault> {
    let have = buffer.fill(8)?;
    let packing = about.packing.get().copied();
    if have == 0 {
        let packing = packing.unwrap_or("file");
        let what = format!("the {packing} data holds nothing");
        return Err(Fault::whole(ReadErrorKind::Empty, what));
    }
    let head = buffer.peek(have.min(8));
    if head.starts_with(&ng::MAGIC) {
        return Ok(Format::Pcapng(Ng::new()));
    }
    match classic::Layout::of(head) {
        Some(layout) => {
            let (pcap, interface) = Classic::new(buffer, layout)?;
            interfaces.push(interface);
            Ok(Format::Pcap(pcap))
        }
        None => Err(unknown(head, packing)),
    }
}

fn unknown(head: &[u8], packing: Option<&str>) -> Fault {
    let hex: Vec<String> = head.iter().map(|byte| format!("{byte:02x}")).collect();
    let inside = packing.map_or_else(String::new, |packing| format!(" inside the {packing} data"));
    let looks = match head {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => " (xz: unpack it first)",
        [b'B', b'Z', b'h', ..] => " (bzip2: unpack it first)",
        [0x04, 0x22, 0x4d, 0x18, ..] => " (lz4: unpack it first)",
        [b'P', b'K', 3, 4, ..] => " (zip: unpack it first)",
        [b's', b'n', b'o', b'o', b'p', 0, ..] => " (snoop)",
        _ if head.starts_with(&source::GZIP_MAGIC) => " (gzip, twice)",
        _ => "",
    };
    let what = format!(
        "not a capture file of a known type: the first bytes{inside} are {}{looks}; \
         pcap and pcapng are read, plain or in gzip or zstd",
        hex.join(" ")
    );
    Fault::whole(ReadErrorKind::UnknownType, what)
}

/// The link type of a LINKTYPE_ or DLT_ number.
///
/// 12 and 14 are DLT_RAW of most systems and of OpenBSD; old programs wrote them into files.
///
/// Source: <https://www.tcpdump.org/linktypes.html>.
fn link_type(number: u32) -> LinkType {
    match number {
        0 => LinkType::Null,
        1 => LinkType::Ethernet,
        12 | 14 | 101 | 228 | 229 => LinkType::RawIp,
        108 => LinkType::Loop,
        113 => LinkType::LinuxSll,
        276 => LinkType::LinuxSll2,
        other => LinkType::Other(other),
    }
}

/// The byte order of a file or section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    /// The 16-bit number at `at`, which must be inside `bytes`.
    #[inline]
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let number = u16::from_le_bytes(*bytes[at..].first_chunk().expect("inside"));
        match self {
            Order::Little => number,
            Order::Big => number.swap_bytes(),
        }
    }

    /// The 32-bit number at `at`, which must be inside `bytes`.
    #[inline]
    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let number = u32::from_le_bytes(*bytes[at..].first_chunk().expect("inside"));
        match self {
            Order::Little => number,
            Order::Big => number.swap_bytes(),
        }
    }
}
