//! Real TCP connections whose two ends, in two namespaces, one thread holds: no end sends before the other has read.

use super::peer::Peer;
use super::sensor::PATIENCE;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// TCP states of /proc/net/tcp after which a socket sends no segment by itself.
const SILENT: [&str; 2] = ["06", "0A"];

/// Which end closes first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Closer {
    Client,
    Server,
}

/// A listener in this namespace.
pub fn listen(peer: &Peer, address: SocketAddr) -> TcpListener {
    peer.run(move || TcpListener::bind(address))
        .expect("a listener")
}

/// Connects to `target` from this namespace; in each round the client sends so many bytes, then the server.
/// Returns the addresses of both ends as the server knows them.
pub fn talk(
    client: &Peer,
    target: SocketAddr,
    listener: &TcpListener,
    rounds: &[(usize, usize)],
    closer: Closer,
) -> (SocketAddr, SocketAddr) {
    let stream = client.run(move || TcpStream::connect_timeout(&target, PATIENCE));
    let mut client = stream.expect("a connection");
    let (mut server, from) = listener.accept().expect("a client");
    let ends = (from, server.local_addr().expect("an address"));
    for stream in [&client, &server] {
        let patience = Some(PATIENCE);
        stream.set_read_timeout(patience).expect("a patient socket");
    }
    for &(up, down) in rounds {
        pass(&mut client, &mut server, up);
        pass(&mut server, &mut client, down);
    }
    match closer {
        Closer::Client => close(client, server),
        Closer::Server => close(server, client),
    }
    ends
}

/// Passes so many bytes; they fit into the buffers of both sockets.
fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: usize) {
    from.write_all(&vec![b'.'; bytes]).expect("data is sent");
    let mut data = vec![0; bytes];
    to.read_exact(&mut data).expect("data arrives");
}

fn close(first: TcpStream, mut second: TcpStream) {
    drop(first);
    assert_eq!(second.read(&mut [0]).expect("the other end closes"), 0);
}

/// Connects to a port that nothing listens on.
pub fn refused(client: &Peer, target: SocketAddr) {
    let error = client.run(move || TcpStream::connect_timeout(&target, PATIENCE));
    let kind = error.expect_err("it is refused").kind();
    assert_eq!(kind, ErrorKind::ConnectionRefused, "{target}");
}

/// Waits until no connection of this namespace has anything left to send.
pub fn wait_until_silent(peer: &Peer) {
    peer.run(|| {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let busy: Vec<String> = ["tcp", "tcp6"].iter().flat_map(|file| busy(file)).collect();
            if busy.is_empty() {
                return;
            }
            assert!(Instant::now() < give_up, "open sockets: {busy:?}");
            thread::sleep(Duration::from_millis(5));
        }
    });
}

/// Sockets of this file in /proc/net that may send yet.
fn busy(file: &str) -> Vec<String> {
    let sockets = std::fs::read_to_string(format!("/proc/thread-self/net/{file}"));
    let sockets = sockets.expect("a file");
    let state = |line: &str| line.split_ascii_whitespace().nth(3).map(str::to_owned);
    let of_busy = |line: &&str| !SILENT.contains(&state(line).expect("a state").as_str());
    let lines = sockets.lines().skip(1);
    lines.filter(of_busy).map(str::to_owned).collect()
}
