//! An IPFIX collector that counts TCP connections in softflowd's flow records.
//!
//! Source: RFC 7011 (messages, sets, templates), RFC 5103 (both directions in one record).

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sys::socket::{setsockopt, sockopt};

/// Receive buffer, for bursts of records.
const RECEIVE_BUFFER: usize = 64 << 20;
const READ_TIMEOUT: Duration = Duration::from_millis(50);

const MESSAGE_HEADER: usize = 16;
const TEMPLATES: u16 = 2;
/// The lowest set id of data records.
const RECORDS: u16 = 256;
const PROTOCOL: u16 = 4;
const TCP_FLAGS: u16 = 6;
const TCP: u8 = 6;
const SYN: u8 = 2;
const ENTERPRISE: u16 = 0x8000;
const VARIABLE: usize = 0xffff;

/// Counts in a thread of its own, until [`Collector::finish`].
#[derive(Debug)]
pub struct Collector {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Collector {
    /// Listens on a free port of the calling thread's namespace.
    ///
    /// # Errors
    ///
    /// When no port can be opened.
    pub fn new() -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("a port to collect at")?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).context("SO_RCVBUFFORCE")?;
        socket
            .set_read_timeout(Some(READ_TIMEOUT))
            .context("a timeout")?;
        let port = socket.local_addr().context("its own port")?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || collect(&socket, &stopped));
        Ok(Self { port, stop, thread })
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Counts the connections of all messages received. To be called after the exporter has ended.
    ///
    /// # Errors
    ///
    /// When a message could not be read.
    pub fn finish(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let counted = self.thread.join();
        counted.map_err(|_| anyhow!("the collector panicked"))?
    }
}

fn collect(socket: &UdpSocket, stop: &AtomicBool) -> Result<u64> {
    let (mut message, mut templates) = (vec![0; 65_536], Templates::default());
    loop {
        let ending = stop.load(Ordering::Relaxed);
        match socket.recv(&mut message) {
            Ok(len) => templates
                .add(&message[..len])
                .context("a message that is not IPFIX")?,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if ending {
                    return Ok(templates.connections);
                }
            }
            Err(error) => return Err(error).context("the collector's socket"),
        }
    }
}

/// Offsets of the fields that are read, in a record of one template.
#[derive(Clone, Debug, Default)]
struct Layout {
    len: usize,
    protocol: Option<usize>,
    /// Last byte of the TCP flags, of each direction.
    flags: Vec<usize>,
}

#[derive(Debug, Default)]
struct Templates {
    layouts: HashMap<u16, Layout>,
    connections: u64,
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

impl Templates {
    /// Counts the connections of a message; `None` if it is malformed.
    fn add(&mut self, message: &[u8]) -> Option<()> {
        let mut rest = message.get(MESSAGE_HEADER..)?;
        while rest.len() >= 4 {
            let (id, len) = (half(rest, 0)?, usize::from(half(rest, 2)?));
            let set = rest.get(4..len)?;
            match id {
                TEMPLATES => self.learn(set)?,
                RECORDS.. => self.count(id, set),
                _ => {}
            }
            rest = &rest[len..];
        }
        Some(())
    }

    fn learn(&mut self, mut set: &[u8]) -> Option<()> {
        while set.len() >= 4 {
            let (id, fields) = (half(set, 0)?, half(set, 2)?);
            let (mut at, mut layout) = (4, Layout::default());
            for _ in 0..fields {
                let (field, len) = (half(set, at)?, usize::from(half(set, at + 2)?));
                if len == VARIABLE {
                    return None;
                }
                at += if field & ENTERPRISE == 0 { 4 } else { 8 };
                match field & !ENTERPRISE {
                    PROTOCOL => layout.protocol = Some(layout.len),
                    TCP_FLAGS => layout.flags.push(layout.len + len - 1),
                    _ => {}
                }
                layout.len += len;
            }
            self.layouts.insert(id, layout);
            set = &set[at..];
        }
        Some(())
    }

    fn count(&mut self, id: u16, set: &[u8]) {
        let Some(layout) = self.layouts.get(&id).filter(|layout| layout.len > 0) else {
            return;
        };
        for record in set.chunks_exact(layout.len) {
            let is_tcp = layout.protocol.is_some_and(|at| record[at] == TCP);
            let has_syn = layout.flags.iter().any(|&at| record[at] & SYN != 0);
            self.connections += u64::from(is_tcp && has_syn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(id: u16, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len() + 4).expect("short");
        [&id.to_be_bytes()[..], &len.to_be_bytes(), body].concat()
    }

    fn message(sets: &[Vec<u8>]) -> Vec<u8> {
        [vec![0; MESSAGE_HEADER], sets.concat()].concat()
    }

    /// Port, protocol, flags of two bytes, flags of the other direction.
    fn template() -> Vec<u8> {
        let halves: [u16; 13] = [
            300,
            4,
            7,
            2,
            PROTOCOL,
            1,
            TCP_FLAGS,
            2,
            TCP_FLAGS | ENTERPRISE,
            1,
            0,
            29305,
            0,
        ];
        halves[..12]
            .iter()
            .flat_map(|half| half.to_be_bytes())
            .collect()
    }

    #[test]
    fn tcp_with_a_syn_in_either_direction_is_a_connection() {
        let mut templates = Templates::default();
        let records = [
            [0, 80, TCP, 0, SYN, 0],
            [0, 80, TCP, 0, 0x10, SYN],
            [0, 80, TCP, 0, 0x10, 0x10],
            [0, 53, 17, 0, SYN, SYN],
        ];
        let sent = message(&[set(TEMPLATES, &template()), set(300, &records.concat())]);
        templates.add(&sent).expect("a message");
        assert_eq!(templates.connections, 2);
        // Later messages may lack the template; padding is no record.
        let padded = [&records[0][..], &[0, 0]].concat();
        templates
            .add(&message(&[set(300, &padded)]))
            .expect("a message");
        templates
            .add(&message(&[set(301, &padded)]))
            .expect("of an unknown template");
        assert_eq!(templates.connections, 3);
    }

    #[test]
    fn a_cut_message_has_no_connection() {
        let sent = message(&[
            set(TEMPLATES, &template()),
            set(300, &[0, 80, TCP, 0, SYN, 0]),
        ]);
        for len in 0..sent.len() {
            let mut templates = Templates::default();
            let _ = templates.add(&sent[..len]);
            assert_eq!(templates.connections, 0, "{len}");
        }
    }

    #[test]
    fn records_sent_to_the_port_are_counted() {
        let collector = match Collector::new() {
            Ok(collector) => collector,
            Err(error) => {
                eprintln!("skipped: {error:#}");
                return;
            }
        };
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let to = (Ipv4Addr::LOCALHOST, collector.port());
        let sent = message(&[
            set(TEMPLATES, &template()),
            set(300, &[0, 80, TCP, 0, SYN, 0]),
        ]);
        for _ in 0..10 {
            socket.send_to(&sent, to).expect("sent");
        }
        assert_eq!(collector.finish().expect("counted"), 10);
    }
}
