//! Reads a slow stream on a thread of its own: the caller is never blocked in read(2), or inside a decompressor,
//! while complete frames wait.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::error::Fault;

/// Without data, a read returns after this time.
const READ_TIMEOUT: Duration = Duration::from_millis(200);
/// Most uncompressed bytes of a piece.
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces in circulation.
const PIECES: usize = 4;

/// A buffer and its bytes in use.
type Piece = (Vec<u8>, usize);

/// The reading end. Without data for 200 ms, `read` returns [`io::ErrorKind::WouldBlock`]; call it again. It returns an
/// error of the stream once, then the end of the stream.
pub(super) struct Stream {
    full: Receiver<io::Result<Piece>>,
    empty: Sender<Vec<u8>>,
    piece: Piece,
    at: usize,
    /// When `read` last returned without data; at first, the start.
    idle_since: Instant,
}

impl Stream {
    /// Starts a thread that opens a stream and reads it, until its end or until the [`Stream`] is dropped.
    pub(super) fn start(
        open: impl FnOnce() -> Result<Box<dyn Read + Send>, Fault> + Send + 'static,
    ) -> io::Result<Self> {
        let (to_reader, full) = bounded(PIECES);
        let (empty, from_reader) = bounded(PIECES);
        for _ in 1..PIECES {
            let _ = empty.send(Vec::new());
        }
        thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || match open() {
                Ok(mut bytes) => pump(&mut bytes, &from_reader, &to_reader),
                Err(fault) => {
                    let _ = to_reader.send(Err(io::Error::other(fault)));
                }
            })?;
        Ok(Self {
            full,
            empty,
            piece: (Vec::new(), 0),
            at: 0,
            idle_since: Instant::now(),
        })
    }

    /// Waits for the next piece; false at the end.
    fn next_piece(&mut self) -> io::Result<bool> {
        let wait = READ_TIMEOUT.saturating_sub(self.idle_since.elapsed());
        match self.full.recv_timeout(wait) {
            Ok(next) => {
                let used = std::mem::replace(&mut self.piece, next?);
                self.at = 0;
                // Fails if the thread has ended, which is fine.
                let _ = self.empty.send(used.0);
                Ok(true)
            }
            Err(RecvTimeoutError::Timeout) => {
                self.idle_since = Instant::now();
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(RecvTimeoutError::Disconnected) => Ok(false),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.1 && !self.next_piece()? {
            return Ok(0);
        }
        let left = &self.piece.0[self.at..self.piece.1];
        let bytes = left.len().min(into.len());
        into[..bytes].copy_from_slice(&left[..bytes]);
        self.at += bytes;
        Ok(bytes)
    }
}

/// Reads until the stream ends or fails, or the receiver is gone.
fn pump(bytes: &mut dyn Read, empty: &Receiver<Vec<u8>>, full: &Sender<io::Result<Piece>>) {
    for mut piece in empty {
        // Allocates on first use only.
        piece.resize(PIECE_BYTES, 0);
        let have = loop {
            match bytes.read(&mut piece) {
                Ok(0) => return,
                Ok(have) => break have,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    // A descriptor that someone made non-blocking: try again.
                    thread::sleep(READ_TIMEOUT / 10);
                }
                Err(why) => {
                    let _ = full.send(Err(why));
                    return;
                }
            }
        };
        if full.send(Ok((piece, have))).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    fn quiet(stream: &mut Stream) -> bool {
        let answer = stream.read(&mut [0; 16]);
        answer.is_err_and(|why| why.kind() == ErrorKind::WouldBlock)
    }

    #[test]
    fn a_stream_that_waits_says_so_and_goes_on() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let mut stream = Stream::start(|| Ok(Box::new(reader))).expect("a thread");
        let begin = Instant::now();
        assert!(quiet(&mut stream) && quiet(&mut stream));
        let waited = begin.elapsed();
        assert!(
            waited >= READ_TIMEOUT * 2 - READ_TIMEOUT / 10,
            "twice: {waited:?}"
        );
        io::Write::write_all(&mut writer, b"frame").expect("a reader");
        let mut got = [0; 16];
        let have = std::iter::from_fn(|| Some(stream.read(&mut got)))
            .find_map(Result::ok)
            .expect("bytes come");
        assert_eq!(&got[..have], b"frame");
        drop(writer);
        let end = std::iter::from_fn(|| Some(stream.read(&mut [0; 16]))).find_map(Result::ok);
        assert_eq!((end, stream.read(&mut [0; 16]).ok()), (Some(0), Some(0)));
    }

    #[test]
    fn all_bytes_come_in_order_and_an_error_after_those_before_it() {
        struct Broken(u32);
        impl Read for Broken {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1001 => Err(io::Error::other("worn out")),
                    _ if self.0.is_multiple_of(7) => Err(ErrorKind::Interrupted.into()),
                    _ => {
                        into[..4].copy_from_slice(&self.0.to_be_bytes());
                        Ok(4)
                    }
                }
            }
        }
        let mut stream = Stream::start(|| Ok(Box::new(Broken(0)))).expect("a thread");
        let mut all = Vec::new();
        let why = loop {
            match stream.read_to_end(&mut all) {
                Ok(_) => panic!("it ended well"),
                Err(why) if why.kind() == ErrorKind::WouldBlock => {}
                Err(why) => break why,
            }
        };
        assert_eq!(why.to_string(), "worn out");
        let words = (1..=1000_u32).filter(|word| !word.is_multiple_of(7));
        let expected: Vec<u8> = words.flat_map(u32::to_be_bytes).collect();
        assert_eq!(all, expected);
        assert_eq!(stream.read(&mut [0; 4]).ok(), Some(0), "then its end");
    }
}
