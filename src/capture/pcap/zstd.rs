//! All frames of a zstd stream, as one stream of bytes.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::error::{Fault, ReadErrorKind};

/// A last, empty, raw block and room for a checksum. After damage it makes the decoder return the window that it
/// still holds (RFC 8878, section 3.1.1.2).
const LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// Unpacks zstd frames one after the other; skippable frames are skipped.
///
/// The window of a frame is limited to 128 MiB (`DEFAULT_MAX_WINDOW_SIZE`), as `zstd` itself does.
pub(super) struct ZstdReader<R> {
    compressed: R,
    decoder: FrameDecoder,
    in_frame: bool,
    /// Reported behind the bytes before it.
    broken: Option<io::Error>,
}

impl<R: BufRead> ZstdReader<R> {
    pub(super) fn new(compressed: R) -> Self {
        Self {
            compressed,
            decoder: FrameDecoder::new(),
            in_frame: false,
            broken: None,
        }
    }

    /// Starts the next frame; false at the end of the stream.
    fn start_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.compressed.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.init(&mut self.compressed) {
                Ok(()) => {
                    self.in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => self.skip(length)?,
                Err(why) => return Err(self.why_broken(&why)),
            }
        }
    }

    fn skip(&mut self, length: u32) -> io::Result<()> {
        let mut skipped = (&mut self.compressed).take(u64::from(length));
        if io::copy(&mut skipped, &mut io::sink())? < u64::from(length) {
            return Err(cut());
        }
        Ok(())
    }

    /// The cause: the file could not be read, ended too early, or is damaged.
    fn why_broken(&mut self, why: &FrameDecoderError) -> io::Error {
        match self.compressed.fill_buf() {
            Err(io) => io,
            Ok([]) => cut(),
            Ok(_) => damaged(&why.to_string()),
        }
    }

    /// Decodes until the decoder has output or the frame ends.
    fn decode(&mut self) {
        while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
            let one = BlockDecodingStrategy::UptoBlocks(1);
            if let Err(why) = self.decoder.decode_blocks(&mut self.compressed, one) {
                self.broken = Some(self.why_broken(&why));
                let one = BlockDecodingStrategy::UptoBlocks(1);
                if self.decoder.decode_blocks(&LAST_BLOCK[..], one).is_err() {
                    self.in_frame = false;
                    return;
                }
            }
        }
    }

    /// Ends a frame without output left and checks its checksum.
    fn end_frame(&mut self) {
        self.in_frame = false;
        let stored = self.decoder.get_checksum_from_data();
        if self.broken.is_none()
            && stored.is_some()
            && stored != self.decoder.get_calculated_checksum()
        {
            self.broken = Some(damaged("the checksum is wrong"));
        }
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if self.in_frame {
                self.decode();
                let bytes = self.decoder.read(into)?;
                if bytes > 0 {
                    return Ok(bytes);
                }
                self.end_frame();
            }
            if let Some(why) = self.broken.take() {
                return Err(why);
            }
            if !self.start_frame()? {
                return Ok(0);
            }
        }
    }
}

fn cut() -> io::Error {
    let what = "the zstd data ends too early";
    io::Error::other(Fault::whole(ReadErrorKind::Truncated, what))
}

fn damaged(why: &str) -> io::Error {
    let what = format!("the zstd data: {why}");
    io::Error::other(Fault::whole(ReadErrorKind::Damaged, what))
}
