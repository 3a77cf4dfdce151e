//! From a path or a stream to uncompressed bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use flate2::bufread::MultiGzDecoder;

use super::error::{Fault, ReadErrorKind};
use super::zstd::ZstdReader;

/// Compressed bytes read ahead.
const COMPRESSED_BUFFER_BYTES: usize = 256 * 1024;

/// Compressed bytes for one call of the inflater. flate2 loses the output of a call that meets damage
/// (`zio::read`): this limits the loss.
const INFLATE_BYTES: usize = 1024;

pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Facts of a stream that is read, perhaps on another thread.
#[derive(Debug, Default)]
pub(super) struct About {
    /// Bytes taken from the file or stream so far, as they are stored.
    pub(super) bytes_read: AtomicU64,
    /// `gzip` or `zstd`, where the bytes are compressed.
    pub(super) packing: OnceLock<&'static str>,
}

/// Opens a regular file, a pipe or a device; also gives the length of a regular file.
pub(super) fn open(path: &Path) -> Result<(File, Option<u64>), Fault> {
    let file = File::open(path).map_err(cannot_open)?;
    let about = file.metadata().map_err(cannot_open)?;
    if about.is_dir() {
        let what = "is a directory, not a capture file";
        return Err(Fault::whole(ReadErrorKind::IsDirectory, what));
    }
    Ok((file, about.is_file().then_some(about.len())))
}

fn cannot_open(why: io::Error) -> Fault {
    let (kind, what) = match why.kind() {
        io::ErrorKind::NotFound => (ReadErrorKind::NotFound, "no such file"),
        io::ErrorKind::PermissionDenied => (ReadErrorKind::Permission, "no permission to read it"),
        io::ErrorKind::IsADirectory => (ReadErrorKind::IsDirectory, "is a directory"),
        _ => (ReadErrorKind::Io, "cannot be opened"),
    };
    Fault {
        source: (kind == ReadErrorKind::Io).then_some(why),
        ..Fault::whole(kind, what)
    }
}

/// The uncompressed bytes of a stream; its first bytes tell whether it is compressed.
pub(super) fn unpack(
    stream: impl Read + Send + 'static,
    about: &Arc<About>,
) -> Result<Box<dyn Read + Send>, Fault> {
    let mut counted = Counted {
        stream,
        about: Arc::clone(about),
    };
    let mut head = Vec::new();
    let read = (&mut counted).take(4).read_to_end(&mut head);
    read.map_err(|why| Fault {
        source: Some(why),
        ..Fault::at(ReadErrorKind::Io, 0, "could not be read")
    })?;
    if head.is_empty() {
        return Err(Fault::whole(ReadErrorKind::Empty, "the file is empty"));
    }
    let gzip = head.starts_with(&GZIP_MAGIC);
    let zstd = head.starts_with(&ZSTD_MAGIC) || is_skippable_zstd(&head);
    let whole = io::Cursor::new(head).chain(counted);
    if !gzip && !zstd {
        return Ok(Box::new(whole));
    }
    about
        .packing
        .get_or_init(|| if gzip { "gzip" } else { "zstd" });
    let compressed = BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, whole);
    Ok(match gzip {
        true => Box::new(GzipReader(MultiGzDecoder::new(SmallReads(compressed)))),
        false => Box::new(ZstdReader::new(compressed)),
    })
}

/// A zstd stream may begin with a skippable frame (pzstd writes one).
fn is_skippable_zstd(head: &[u8]) -> bool {
    head.len() == 4 && head[0] & 0xf0 == 0x50 && head[1..] == [0x2a, 0x4d, 0x18]
}

/// Counts the bytes read, for a progress bar.
struct Counted<R> {
    stream: R,
    about: Arc<About>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.stream.read(into)?;
        // Relaxed: for display only.
        self.about
            .bytes_read
            .fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

/// All members of a gzip file, one after the other.
struct GzipReader<R: Read>(MultiGzDecoder<SmallReads<R>>);

impl<R: Read> Read for GzipReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into).map_err(|why| {
            let (kind, what) = match why.kind() {
                io::ErrorKind::UnexpectedEof => (
                    ReadErrorKind::Truncated,
                    "the gzip data ends too early".to_owned(),
                ),
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                    (ReadErrorKind::Damaged, format!("the gzip data: {why}"))
                }
                _ => return why,
            };
            io::Error::other(Fault::whole(kind, what))
        })
    }
}

/// Gives at most [`INFLATE_BYTES`] of a buffer at a time.
struct SmallReads<R: Read>(BufReader<R>);

impl<R: Read> Read for SmallReads<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl<R: Read> BufRead for SmallReads<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let bytes = self.0.fill_buf()?;
        Ok(&bytes[..bytes.len().min(INFLATE_BYTES)])
    }

    fn consume(&mut self, bytes: usize) {
        self.0.consume(bytes);
    }
}
