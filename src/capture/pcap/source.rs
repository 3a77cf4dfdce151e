//! From a path or a stream to uncompressed bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use flate2::bufread::MultiGzDecoder;

use super::error::{Fault, ReadErrorKind, Spoiled};
use super::zstd::ZstdReader;

/// Compressed bytes read ahead.
const COMPRESSED_BUFFER_BYTES: usize = 256 * 1024;

/// What an inflater is given at a time. flate2 forgets the output of a call that meets damage
/// (`zio::read`), so a sip is the most that is lost before the damage.
const SIP_BYTES: usize = 1024;

pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What is known of a stream while it is read, perhaps on another thread.
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

/// Looks at the first bytes and puts a decompressor before them where one is needed; gives uncompressed bytes.
pub(super) fn unpack(
    stream: impl Read + Send + 'static,
    about: &Arc<About>,
) -> Result<Box<dyn Read + Send>, Fault> {
    let mut counted = Counted {
        stream,
        about: Arc::clone(about),
    };
    let mut head = [0; 4];
    let have = read_up_to(&mut counted, &mut head).map_err(|why| Fault {
        source: Some(why),
        ..Fault::at(ReadErrorKind::Io, 0, "could not be read")
    })?;
    if have == 0 {
        return Err(Fault::whole(ReadErrorKind::Empty, "the file is empty"));
    }
    let whole = io::Cursor::new(head[..have].to_vec()).chain(counted);
    let packed = |packing| about.packing.get_or_init(|| packing);
    Ok(if head[..have].starts_with(&GZIP_MAGIC) {
        packed("gzip");
        Box::new(GzipReader::new(whole))
    } else if head[..have].starts_with(&ZSTD_MAGIC) || is_skippable_zstd(&head[..have]) {
        packed("zstd");
        let compressed = BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, whole);
        Box::new(ZstdReader::new(compressed))
    } else {
        Box::new(whole)
    })
}

/// A zstd stream may begin with a frame to be skipped (pzstd writes one).
fn is_skippable_zstd(head: &[u8]) -> bool {
    head.len() == 4 && head[0] & 0xf0 == 0x50 && head[1..] == [0x2a, 0x4d, 0x18]
}

/// Reads until `into` is full or the stream ends.
pub(super) fn read_up_to(stream: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < into.len() {
        match stream.read(&mut into[have..]) {
            Ok(0) => break,
            Ok(bytes) => have += bytes,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(have)
}

/// Counts what is read, for a progress bar on another thread's schedule.
struct Counted<R> {
    stream: R,
    about: Arc<About>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.stream.read(into)?;
        // Relaxed: a number to show, nothing is ordered by it.
        self.about
            .bytes_read
            .fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

/// All members of a gzip file, one after the other.
struct GzipReader<R: Read>(MultiGzDecoder<Sips<R>>);

impl<R: Read> GzipReader<R> {
    fn new(compressed: R) -> Self {
        let buffered = BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, compressed);
        Self(MultiGzDecoder::new(Sips(buffered)))
    }
}

impl<R: Read> Read for GzipReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into).map_err(|why| match why.kind() {
            io::ErrorKind::UnexpectedEof => Spoiled::error(
                ReadErrorKind::Truncated,
                "the gzip data ends too early".to_owned(),
            ),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                Spoiled::error(ReadErrorKind::Damaged, format!("the gzip data: {why}"))
            }
            _ => why,
        })
    }
}

/// Hands out a buffer's bytes in small pieces; see [`SIP_BYTES`].
struct Sips<R: Read>(BufReader<R>);

impl<R: Read> Read for Sips<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl<R: Read> BufRead for Sips<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let bytes = self.0.fill_buf()?;
        Ok(&bytes[..bytes.len().min(SIP_BYTES)])
    }

    fn consume(&mut self, bytes: usize) {
        self.0.consume(bytes);
    }
}
