//! A file of several, whose place among them one wrong time stamp must not change.

use std::collections::VecDeque;

use super::batch::Record;
use super::jumps::{self, JUMP_NS, Verdict, WITNESSES};
use super::{CaptureReader, ReadError};
use crate::capture::frame::{Frame, LinkType};

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
    pub(super) fn advance(&mut self) -> Result<Option<i64>, ReadError> {
        if self.looks && self.is_ahead() {
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

    fn is_ahead(&self) -> bool {
        self.end.is_some() || !self.kept.is_empty()
    }

    /// Takes sound frames up to this time that are in the buffer; as [`CaptureReader::batch`].
    pub(super) fn batch(&mut self, until_ns: i64, records: &mut Vec<Record>) -> Option<LinkType> {
        if !self.looks {
            return self.reader.batch((i64::MIN, until_ns), records);
        }
        if self.is_ahead() {
            return None;
        }
        // No two of these times are a jump apart.
        let reached_ns = self.reached_ns?;
        let first_ns = reached_ns.saturating_sub(JUMP_NS / 2);
        let last_ns = reached_ns.saturating_add(JUMP_NS / 2).min(until_ns);
        let link = self.reader.batch((first_ns, last_ns), records);
        let newest_ns = records.iter().map(|record| record.ts_ns).max();
        self.reached_ns = newest_ns.max(self.reached_ns);
        link
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
