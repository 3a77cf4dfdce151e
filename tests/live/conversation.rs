//! Frames of a TCP connection between two hosts that do not exist.

use crate::common::NANOS;
use craft::{ACK, Capture, FIN, Flow, Ip, Link, LinkType, PSH, SYN, Tcp};
use std::path::{Path, PathBuf};

/// A connection's link headers, flow and initial sequence numbers. Sequence numbers in its methods are relative, as
/// in Wireshark: 0 is the initial one of its side.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub link: Link,
    pub flow: Flow,
    pub isn: u32,
    pub server_isn: u32,
}

impl Conversation {
    /// In plain Ethernet, with sequence numbers that wrap during the connection.
    pub fn new(flow: Flow) -> Self {
        Self {
            link: Link::ethernet(),
            flow,
            isn: u32::MAX - 5,
            server_isn: u32::MAX - 9,
        }
    }

    /// A segment from the client.
    pub fn up(&self, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Vec<u8> {
        let (seq, ack) = (
            self.isn.wrapping_add(seq),
            self.server_isn.wrapping_add(ack),
        );
        segment(&self.link, self.flow, flags, (seq, ack), data)
    }

    /// A segment from the server.
    pub fn down(&self, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Vec<u8> {
        let (seq, ack) = (
            self.server_isn.wrapping_add(seq),
            self.isn.wrapping_add(ack),
        );
        let link = self.link.clone().reversed();
        segment(&link, self.flow.reversed(), flags, (seq, ack), data)
    }

    /// SYN, SYN+ACK, ACK.
    pub fn handshake(&self) -> Vec<Vec<u8>> {
        vec![
            self.up(SYN, 0, 0, b""),
            self.down(SYN | ACK, 0, 1, b""),
            self.up(ACK, 1, 1, b""),
        ]
    }

    /// From SYN to the last ACK: the client sends segments of these lengths, then the server.
    pub fn whole(&self, up: &[u32], down: &[u32]) -> Vec<Vec<u8>> {
        let bytes = |length: u32| vec![b'.'; length as usize];
        let (mut seq, mut server_seq) = (1, 1);
        let mut frames = self.handshake();
        for &length in up {
            frames.push(self.up(PSH | ACK, seq, server_seq, &bytes(length)));
            seq += length;
            frames.push(self.down(ACK, server_seq, seq, b""));
        }
        for &length in down {
            frames.push(self.down(PSH | ACK, server_seq, seq, &bytes(length)));
            server_seq += length;
            frames.push(self.up(ACK, seq, server_seq, b""));
        }
        frames.push(self.up(FIN | ACK, seq, server_seq, b""));
        frames.push(self.down(FIN | ACK, server_seq, seq + 1, b""));
        frames.push(self.up(ACK, seq + 1, server_seq + 1, b""));
        frames
    }
}

fn segment(link: &Link, flow: Flow, flags: u8, (seq, ack): (u32, u32), data: &[u8]) -> Vec<u8> {
    let ack = if flags & ACK == 0 { 0 } else { ack };
    let tcp = Tcp::new(flow, flags, seq).ack(ack).data(data);
    link.frame(&Ip::new(flow.src, flow.dst, 6).bytes(&tcp.bytes()))
}

/// Writes a capture of these frames, 1 ms apart.
pub fn write(dir: &Path, frames: &[Vec<u8>]) -> PathBuf {
    let mut capture = Capture::new("conversations", LinkType::Ethernet);
    for (at, frame) in (0_i64..).zip(frames) {
        capture.push(1_700_000_000_000_000_000 + at * 1_000_000, frame.clone());
    }
    let path = dir.join("conversations.pcap");
    std::fs::write(&path, capture.to_pcap(NANOS)).expect("a capture file");
    path
}
