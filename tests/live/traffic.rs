//! Frames made here, sent by hand.

use crate::common::netns::Veth;
use crate::common::syn;
use craft::{Flow, Link};
use packet::TxSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

pub fn frame(flow: Flow, isn: u32) -> Vec<u8> {
    Link::ethernet().frame(&syn(flow, isn))
}

/// Between two hosts that are nobody's neighbours.
pub fn flow(from: u32, port: u16, to: u8, dst_port: u16) -> Flow {
    let [_, b, c, d] = from.to_be_bytes();
    Flow::v4([10, b, c, d], port, [198, 51, 100, to], dst_port)
}

pub struct Sender(pub TxSocket);

impl Sender {
    pub fn new(veth: Veth) -> Self {
        Self(TxSocket::open(veth.sender).expect("a sender opens"))
    }

    pub fn send(&self, frame: &[u8]) {
        self.0.send(frame).expect("a frame is sent");
    }

    /// A scan of four ports from a host of its own.
    pub fn scan(&self, from: u32) {
        for port in 80..84 {
            self.send(&frame(flow(from, 40_000 + port, 1, port), from));
        }
    }
}

struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A SYN each `pause`, as far as the link lets it, for as long as `during` runs.
pub fn with_trickle<T>(veth: Veth, pause: Duration, during: impl FnOnce() -> T) -> T {
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let sender = Sender::new(veth);
            let mut from = 1 << 20;
            while !enough.load(Ordering::Relaxed) {
                let _ = sender.0.send(&frame(flow(from, 1024, 9, 443), from));
                from += 1;
                thread::sleep(pause);
            }
        });
        // Dropped when `during` panics, too: the scope waits for the thread.
        let _end = SetAtEnd(&enough);
        during()
    })
}
