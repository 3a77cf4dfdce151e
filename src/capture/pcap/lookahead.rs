//! A file of several, whose place among them one wrong time stamp must not change.

use std::collections::VecDeque;

use super::jumps::{self, Verdict, WITNESSES};
use super::{CaptureReader, ReadError};
use crate::capture::frame::Frame;

/// A frame that was read before its turn.
struct Kept {
    /// With no bytes of its own.
    frame: Frame<'static>,
    bytes: Vec<u8>,
}

/// Reads a capture; looks at the frames behind a jump of its time stamps.
pub(super) struct Lookahead {
    pub(super) reader: CaptureReader,
    /// Of a stream, or of a file that is read alone, no frame is copied.
    looks: bool,
    /// The current frame and those behind it; empty where the current one is the reader's.
    kept: VecDeque<Kept>,
    /// What came behind the kept frames.
    end: Option<Result<(), ReadError>>,
    /// The newest sound stamp.
    reached_ns: Option<i64>,
}

impl Lookahead {
    pub(super) fn new(reader: CaptureReader, looks: bool) -> Self {
        Self {
            reader,
            looks,
            kept: VecDeque::new(),
            end: None,
            reached_ns: None,
        }
    }

    /// Steps to the next frame and returns the time to which it belongs: its stamp or, of an outlier, the time of its
    /// neighbours. The frame keeps its stamp.
    ///
    /// # Errors
    ///
    /// As [`CaptureReader::next_frame`].
    #[inline]
    pub(super) fn advance(&mut self) -> Result<Option<i64>, ReadError> {
        if self.looks && (self.end.is_some() || !self.kept.is_empty()) {
            self.kept.pop_front();
            return self.current();
        }
        let ts_ns = self.reader.advance()?;
        match (ts_ns, self.reached_ns) {
            (Some(ts_ns), Some(reached_ns)) if !jumps::is_jump(reached_ns, ts_ns) => {
                self.reached_ns = Some(reached_ns.max(ts_ns));
            }
            (Some(_), _) if self.looks => {
                self.keep();
                return self.current();
            }
            _ => {}
        }
        Ok(ts_ns)
    }

    /// The time of the first kept frame, or how the capture ends.
    #[cold]
    fn current(&mut self) -> Result<Option<i64>, ReadError> {
        if self.kept.is_empty() && self.end.is_none() {
            return self.advance();
        }
        let Some(first) = self.kept.front() else {
            return match self.end.take() {
                Some(Err(error)) => Err(error),
                _ => Ok(None),
            };
        };
        let ts_ns = first.frame.ts_ns;
        let verdict = loop {
            let followers = self.kept.iter().skip(1).take(WITNESSES);
            let followers = followers.map(|kept| kept.frame.ts_ns);
            let verdict = jumps::judge(self.reached_ns, ts_ns, followers, self.end.is_some());
            if verdict != Verdict::Open {
                break verdict;
            }
            match self.reader.advance() {
                Ok(Some(_)) => self.keep(),
                Ok(None) => self.end = Some(Ok(())),
                Err(error) => self.end = Some(Err(error)),
            }
        };
        let belongs_ns = match verdict {
            Verdict::Outlier(belongs_ns) => belongs_ns,
            _ => ts_ns,
        };
        self.reached_ns = match (verdict, self.reached_ns) {
            (Verdict::Restart, _) | (_, None) => Some(belongs_ns),
            (_, Some(reached_ns)) => Some(reached_ns.max(belongs_ns)),
        };
        Ok(Some(belongs_ns))
    }

    /// Copies the reader's frame.
    fn keep(&mut self) {
        if let Some(frame) = self.reader.frame() {
            let bytes = frame.bytes.to_vec();
            let frame = Frame {
                bytes: &[],
                ..frame
            };
            self.kept.push_back(Kept { frame, bytes });
        }
    }

    /// The frame to which [`Lookahead::advance`] stepped.
    #[inline]
    pub(super) fn frame(&self) -> Option<Frame<'_>> {
        match self.kept.front() {
            Some(kept) => Some(Frame {
                bytes: &kept.bytes,
                ..kept.frame
            }),
            None => self.reader.frame(),
        }
    }
}
