//! Builds one capture: a clock, link headers, and the usual segments.

use std::net::IpAddr;

use crate::capture::Capture;
use crate::ip::Ip;
use crate::link::Link;
use crate::rng::Rng;
use crate::transport::{ACK, FIN, Flow, PSH, SYN, Tcp, Udp};

/// One second.
pub(super) const SECOND: i64 = 1_000_000_000;
/// The window of `port_scan`.
pub(super) const WINDOW: i64 = 60 * SECOND;
/// The horizon within which a SYN is a retransmission.
pub(super) const HORIZON: i64 = 130 * SECOND;
/// Time 0 of most captures: 2023-11-14.
pub(super) const START: i64 = 1_700_000_000 * SECOND;

/// A random client and server from the documentation ranges, with ports.
pub(super) fn flow(rng: &mut Rng, v6: bool) -> Flow {
    let (client, server) = (rng.next_u8(), rng.next_u8());
    let src_port = 1024 + rng.next_u16() % 60_000;
    if v6 {
        let group = |last: u8| [0x2001, 0xDB8, 0, 0, 0, 0, 0, u16::from(last)];
        let server = [0x2001, 0xDB8, 1, 0, 0, 0, 0, u16::from(server)];
        Flow::v6(group(client), src_port, server, 80)
    } else {
        Flow::v4([192, 0, 2, client], src_port, [198, 51, 100, server], 80)
    }
}

/// A capture under construction.
pub(super) struct Scene {
    /// The frames so far.
    pub(super) capture: Capture,
    /// Time of the next frame.
    pub(super) now: i64,
    link: Link,
}

impl Scene {
    /// An empty capture, its clock at [`START`].
    pub(super) fn new(name: &str, link: Link) -> Self {
        Self {
            capture: Capture::new(name, link.kind),
            now: START,
            link,
        }
    }

    /// Sets the clock to `ns` after [`START`].
    pub(super) fn at(&mut self, ns: i64) -> &mut Self {
        self.now = START + ns;
        self
    }

    /// Sets the clock to `now`.
    pub(super) fn at_time(&mut self, now: i64) -> &mut Self {
        self.now = now;
        self
    }

    /// Moves the clock.
    pub(super) fn wait(&mut self, ns: i64) -> &mut Self {
        self.now += ns;
        self
    }

    /// An IP packet with `payload`.
    pub(super) fn ip(&mut self, ip: &Ip, payload: &[u8]) -> &mut Self {
        self.raw(&ip.bytes(payload))
    }

    /// IP bytes as they are.
    pub(super) fn raw(&mut self, ip: &[u8]) -> &mut Self {
        let frame = self.link.frame(ip);
        self.capture.push(self.now, frame);
        self
    }

    /// A segment.
    pub(super) fn tcp(&mut self, tcp: &Tcp) -> &mut Self {
        let ip = Ip::new(tcp.flow.src, tcp.flow.dst, 6);
        self.ip(&ip, &tcp.bytes())
    }

    /// A segment without data.
    pub(super) fn bare(&mut self, flow: Flow, flags: u8, seq: u32, ack: u32) -> &mut Self {
        self.tcp(&Tcp::new(flow, flags, seq).ack(ack))
    }

    /// A SYN with the options that stacks send.
    pub(super) fn syn(&mut self, flow: Flow, isn: u32) -> &mut Self {
        let options = [2, 4, 5, 0xB4, 4, 2, 1, 3, 3, 7];
        self.tcp(&Tcp::new(flow, SYN, isn).options(&options))
    }

    /// The server's answer to a SYN of `flow` with `isn`.
    pub(super) fn syn_ack(&mut self, flow: Flow, isn: u32, server_isn: u32) -> &mut Self {
        self.bare(flow.reversed(), SYN | ACK, server_isn, isn.wrapping_add(1))
    }

    /// Three segments, 10 ms apart; leaves the clock 10 ms after the last.
    pub(super) fn handshake(&mut self, flow: Flow, isn: u32, server_isn: u32) -> &mut Self {
        let (next, server_next) = (isn.wrapping_add(1), server_isn.wrapping_add(1));
        self.syn(flow, isn).wait(SECOND / 100);
        self.syn_ack(flow, isn, server_isn).wait(SECOND / 100);
        self.bare(flow, ACK, next, server_next).wait(SECOND / 100)
    }

    /// A segment with data.
    pub(super) fn data(&mut self, flow: Flow, seq: u32, ack: u32, data: &[u8]) -> &mut Self {
        self.tcp(&Tcp::new(flow, PSH | ACK, seq).ack(ack).data(data))
            .wait(SECOND / 1000)
    }

    /// FIN from the client, FIN from the server, last ACK.
    pub(super) fn close(&mut self, flow: Flow, seq: u32, ack: u32) -> &mut Self {
        self.bare(flow, FIN | ACK, seq, ack).wait(SECOND / 1000);
        self.bare(flow.reversed(), FIN | ACK, ack, seq.wrapping_add(1))
            .wait(SECOND / 1000);
        self.bare(flow, ACK, seq.wrapping_add(1), ack.wrapping_add(1))
            .wait(SECOND / 1000)
    }

    /// A UDP datagram that only moves packet time.
    pub(super) fn bystander(&mut self, (src, dst): (IpAddr, IpAddr)) -> &mut Self {
        let udp = Udp::new(
            Flow {
                src,
                dst,
                src_port: 53,
                dst_port: 53,
            },
            b"tick",
        );
        self.ip(&Ip::new(src, dst, 17), &udp.bytes())
    }

    /// SYNs to ports, each at its time after [`START`], each with its own sequence number.
    pub(super) fn touches(&mut self, flow: Flow, touches: &[(i64, u16)]) -> &mut Self {
        for (&(ns, port), isn) in touches.iter().zip(1000_u32..) {
            self.at(ns).syn(flow.to_port(port), isn);
        }
        self
    }
}
