//! Replies on their way to the sensor.

use super::protocol::{Part, RECORDS_MAX, Reply, Said, Then, encode_replies};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, BorrowedFd};

/// With more waiting replies, no requests are read. A list of all elements may be longer.
const WAITING_MAX: usize = 4 * RECORDS_MAX;

/// How far it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All replies are sent.
    All,
    /// The socket takes no more now.
    Later,
    /// The sensor is gone.
    Closed,
}

/// Replies that are not sent yet.
#[derive(Debug)]
pub struct Outbox {
    epoch: u32,
    waiting: VecDeque<Reply>,
}

impl Outbox {
    /// Of the helper with this epoch.
    pub fn new(epoch: u32) -> Self {
        Self {
            epoch,
            waiting: VecDeque::new(),
        }
    }

    pub fn push(&mut self, reply: Reply) {
        self.waiting.push_back(reply);
    }

    /// A text; `last`: what follows it.
    pub fn push_text(&mut self, text: &str, last: Then) {
        self.waiting
            .extend(Part::all_of(text, last).into_iter().map(Reply::Text));
    }

    pub fn push_said(&mut self, said: Said) {
        match said {
            Said::Incident(incident) => self.push(Reply::Incident(incident)),
            Said::Text(text) => self.push_text(&text, Then::End),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether requests may be read, which have replies.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }

    /// Sends what the socket takes, without waiting.
    pub fn send(&mut self, socket: BorrowedFd<'_>) -> Sent {
        while !self.waiting.is_empty() {
            let count = self.waiting.len().min(RECORDS_MAX);
            let replies: Vec<Reply> = self.waiting.iter().take(count).copied().collect();
            let datagram = encode_replies(self.epoch, &replies);
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(socket.as_raw_fd(), &datagram, flags) {
                Ok(_) => drop(self.waiting.drain(..count)),
                Err(Errno::EAGAIN | Errno::ENOBUFS) => return Sent::Later,
                Err(Errno::EINTR) => {}
                Err(_) => return Sent::Closed,
            }
        }
        Sent::All
    }
}
