//! Requests of people to the blocker, which answers them on the logger's thread.

use super::orders::Done;
use crate::log::block_record::Why;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use ipnet::IpNet;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Requests that wait at most: those of all clients of the status socket.
const WAITING_MAX: usize = 64;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// All blocks.
    List,
    /// Blocks each of these for so many seconds, for this reason: all that the guard lets through, or none if there is no
    /// room.
    Add { nets: Vec<(IpNet, u32)>, why: Why },
    /// Lets it in again.
    Remove(IpNet),
    /// Lets everybody in again.
    Flush,
}

/// A block, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub net: IpNet,
    pub why: Why,
    /// The wall clock; nanoseconds since the Unix epoch.
    pub since_ns: i64,
    /// The wall clock; `None`: the kernel has not answered yet.
    pub until_ns: Option<i64>,
    /// Packets and bytes, where they are counted.
    pub dropped: Option<(u64, u64)>,
}

/// What the blocker answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// All blocks.
    Rows(Vec<Row>),
    /// The answer of the firewall to all that was ordered, and what was not.
    Done(Done),
    /// Nothing was changed. One sentence.
    Refused(String),
}

/// Where an answer goes; taking it never waits.
pub type Reply = oneshot::Sender<Told>;

/// A request with the place of its answer.
#[derive(Debug)]
pub struct Request {
    pub wish: Wish,
    pub reply: Reply,
}

/// Where requests are handed in. Clones share it.
#[derive(Clone, Debug)]
pub struct Desk {
    requests: Sender<Request>,
    /// `--block`'s word.
    pub mode: &'static str,
    pub sensor: Arc<str>,
}

impl Desk {
    /// A desk, and where its requests come out.
    pub fn open(mode: &'static str, sensor: &str) -> (Self, Receiver<Request>) {
        let (requests, receiver) = bounded(WAITING_MAX);
        let desk = Self {
            requests,
            mode,
            sensor: sensor.into(),
        };
        (desk, receiver)
    }

    /// Hands a request in; its answer will come out. The error is one sentence.
    pub fn hand_in(&self, wish: Wish) -> Result<oneshot::Receiver<Told>, String> {
        let (reply, answer) = oneshot::channel();
        match self.requests.try_send(Request { wish, reply }) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => Err("too many requests wait; try again".to_owned()),
            Err(TrySendError::Disconnected(_)) => Err("the sensor is ending".to_owned()),
        }
    }
}
