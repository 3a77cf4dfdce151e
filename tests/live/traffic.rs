//! Crafted frames and their sender.

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

/// A flow between two hosts that do not exist.
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

    /// Sends frames of conversations with this host, whose address is `us`: its own go out at its own interface.
    pub fn exchange(veth: Veth, us: [u8; 4], frames: &[Vec<u8>]) {
        let [theirs, ours] =
            [veth.sender, veth.sensor].map(|end| TxSocket::open(end).expect("it opens"));
        for frame in frames {
            // Of plain Ethernet and IPv4.
            let sender = if frame[26..30] == us { &ours } else { &theirs };
            sender.send(frame).expect("a frame is sent");
        }
    }

    /// Sends a scan of four ports from host number `from`.
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

/// Sends a SYN each `pause` while `during` runs; errors of a link that is down are ignored.
pub fn with_trickle<T>(veth: Veth, pause: Duration, during: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let sender = Sender::new(veth);
            let mut from = 1 << 20;
            while !stop.load(Ordering::Relaxed) {
                let _ = sender.0.send(&frame(flow(from, 1024, 9, 443), from));
                from += 1;
                thread::sleep(pause);
            }
        });
        // Drop stops the thread, also when `during` panics: the scope waits for it.
        let _end = SetAtEnd(&stop);
        during()
    })
}
