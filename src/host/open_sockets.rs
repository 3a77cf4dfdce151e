//! The host's open TCP connections.
//!
//! A connection older than the run has no SYN. Without this list that would count as loss.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::sys::socket::SockProtocol;

use super::netlink::{self, Message, Netlink};
use super::nic::read_proc_net;

pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Bytes of `struct inet_diag_req_v2`.
const REQUEST_BYTES: usize = 56;
/// IPPROTO_TCP and IPPROTO_UDP.
const TCP: u8 = 6;
const UDP: u8 = 17;
/// TCP_ESTABLISHED; also the state of a connected UDP socket.
const ESTABLISHED: u32 = 1;
/// TCP_CLOSE and TCP_LISTEN: states without a connection.
pub(super) const CLOSE: u32 = 7;
pub(super) const LISTEN: u32 = 10;

/// Local and remote end of a connection.
pub type Ends = (SocketAddr, SocketAddr);

/// TCP connections of the calling thread's namespace in any state but closed and listening; sorted, without
/// duplicates. IPv4 in IPv6 sockets is given as IPv4.
///
/// From `NETLINK_SOCK_DIAG`, or from `/proc/net/tcp` and `tcp6` on kernels without it.
///
/// # Errors
///
/// Those of `/proc`, after `NETLINK_SOCK_DIAG` failed.
pub fn connections() -> io::Result<Vec<Ends>> {
    let mut found = match from_sock_diag() {
        Ok(found) => found,
        Err(_) => from_proc(|_| true)?,
    };
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Remote addresses of established TCP connections to this port of the calling thread's namespace; IPv4 in IPv6 sockets
/// is given as IPv4.
///
/// # Errors
///
/// As [`connections`].
pub fn peers_of(port: u16) -> io::Result<Vec<IpAddr>> {
    let mut asked = [libc::AF_INET, libc::AF_INET6].map(|it| request(it, TCP, 1 << ESTABLISHED));
    // `idiag_sport` of `inet_diag_sockid`: the kernel passes over sockets with another local port
    // (`inet_diag_dump_icsk`).
    for request in &mut asked {
        request[8..10].copy_from_slice(&port.to_be_bytes());
    }
    let all = match dump(asked) {
        Ok(found) => found,
        Err(_) => from_proc(|state| state == ESTABLISHED)?,
    };
    let of_port = all.iter().filter(|(local, _)| local.port() == port);
    Ok(of_port.map(|(_, remote)| remote.ip()).collect())
}

/// Remote addresses of UDP sockets that are connected to this port.
///
/// # Errors
///
/// Those of `NETLINK_SOCK_DIAG`; a kernel without udp_diag has none to tell.
pub fn udp_peers(port: u16) -> io::Result<Vec<IpAddr>> {
    let found = dump([libc::AF_INET, libc::AF_INET6].map(|it| request(it, UDP, 1 << ESTABLISHED)))?;
    let of_port = found.iter().filter(|(_, remote)| remote.port() == port);
    let mut peers: Vec<IpAddr> = of_port.map(|(_, remote)| remote.ip()).collect();
    peers.sort_unstable();
    peers.dedup();
    Ok(peers)
}

fn from_sock_diag() -> io::Result<Vec<Ends>> {
    let states = !(1 << CLOSE | 1 << LISTEN);
    dump([libc::AF_INET, libc::AF_INET6].map(|family| request(family, TCP, states)))
}

/// The answers to a request about IPv4 and one about IPv6.
fn dump([v4, v6]: [[u8; REQUEST_BYTES]; 2]) -> io::Result<Vec<Ends>> {
    let mut netlink = Netlink::open(SockProtocol::NetlinkSockDiag, 0, false)?;
    let mut found = netlink.dump(SOCK_DIAG_BY_FAMILY, &v4, ends)?;
    match netlink.dump(SOCK_DIAG_BY_FAMILY, &v6, ends) {
        Ok(more) => found.extend(more),
        // A kernel without IPv6 has no such sockets.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

/// `struct inet_diag_req_v2`: family, protocol, extensions, pad, states (u32, a bit for each), then an empty
/// `inet_diag_sockid`.
pub(super) fn request(family: i32, proto: u8, states: u32) -> [u8; REQUEST_BYTES] {
    let mut bytes = [0; REQUEST_BYTES];
    bytes[0] = u8::try_from(family).expect("AF_INET and AF_INET6 are small");
    bytes[1] = proto;
    bytes[4..8].copy_from_slice(&states.to_ne_bytes());
    bytes
}

/// Reads `struct inet_diag_msg`: family, state, timer, retrans, then `inet_diag_sockid`: ports
/// (2 × 2 bytes, network order), source and destination (16 bytes each).
fn ends(message: Message<'_>) -> Option<Ends> {
    if message.kind != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let body = message.body;
    let address_bytes = match i32::from(*body.first()?) {
        libc::AF_INET => 4,
        libc::AF_INET6 => 16,
        _ => return None,
    };
    let ip = |at: usize| netlink::address(body.get(at..at + address_bytes)?);
    let port = |at: usize| Some(u16::from_be_bytes(*body.get(at..)?.first_chunk::<2>()?));
    pair(
        u32::from(*body.get(1)?),
        ip(8)?,
        port(4)?,
        ip(24)?,
        port(6)?,
    )
}

/// The ends of a connection; `None` by its state, or without a remote port.
fn pair(
    state: u32,
    local: IpAddr,
    local_port: u16,
    remote: IpAddr,
    remote_port: u16,
) -> Option<Ends> {
    let is_connection = state != CLOSE && state != LISTEN && remote_port != 0;
    let local = SocketAddr::new(local.to_canonical(), local_port);
    let remote = SocketAddr::new(remote.to_canonical(), remote_port);
    is_connection.then_some((local, remote))
}

/// Connections in the states that are asked for.
fn from_proc(is_asked: fn(u32) -> bool) -> io::Result<Vec<Ends>> {
    let mut found = from_text(&read_proc_net("tcp")?, is_asked);
    let tcp6 = read_proc_net("tcp6").unwrap_or_default();
    found.extend(from_text(&tcp6, is_asked));
    Ok(found)
}

/// Reads the text of `/proc/net/tcp` or `tcp6`. Source: `get_tcp4_sock` (net/ipv4/tcp_ipv4.c).
fn from_text(text: &str, is_asked: fn(u32) -> bool) -> Vec<Ends> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, local_port) = end_from_text(fields.next()?)?;
        let (remote, remote_port) = end_from_text(fields.next()?)?;
        let state = u32::from_str_radix(fields.next()?, 16).ok()?;
        pair(state, local, local_port, remote, remote_port).filter(|_| is_asked(state))
    };
    text.lines().skip(1).filter_map(line).collect()
}

/// `0100007F:0016`: words of the address as this machine's integers, then the port.
fn end_from_text(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match address.len() {
        8 => Some((Ipv4Addr::from(word(0)?).into(), port)),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            Some((Ipv6Addr::from(bytes).into(), port))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    #[cfg(target_endian = "little")]
    fn proc_text_gives_connections_and_no_listeners() {
        let tcp = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:0016 0200000A:C350 01 00000000:00000000 02:00000000 00000000     0        0 2 2
";
        let expected = "127.0.0.1:22 10.0.0.2:50000";
        let text = |ends: &Ends| format!("{} {}", ends.0, ends.1);
        assert_eq!(
            from_text(tcp, |_| true)
                .iter()
                .map(text)
                .collect::<Vec<_>>(),
            [expected]
        );
        for cut in 0..tcp.len() {
            assert!(from_text(&tcp[..cut], |_| true).len() <= 1);
        }
        assert_eq!(from_text(tcp, |state| state != ESTABLISHED), []);
        let tcp6 = "sl\n 0: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000001000000:0050 01\n";
        let (local, remote) = from_text(tcp6, |_| true)[0];
        assert_eq!(local.to_string(), "127.0.0.1:8080");
        assert_eq!(remote.to_string(), "[::1]:80");
    }

    #[test]
    fn a_short_message_is_no_connection() {
        let mut body = [0; 72];
        body[0] = 2;
        body[1] = 1;
        body[6..8].copy_from_slice(&443_u16.to_be_bytes());
        let message = |body| Message {
            kind: SOCK_DIAG_BY_FAMILY,
            flags: 0,
            sequence: 0,
            port: 0,
            body,
        };
        assert!(ends(message(&body)).is_some());
        for cut in 0..28 {
            assert_eq!(ends(message(&body[..cut])), None, "cut at {cut}");
        }
    }

    #[test]
    fn both_ends_of_a_connection_on_this_host_are_found_both_ways() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let client = TcpStream::connect(address).expect("a connection");
        let _server = listener.accept().expect("its other end");
        let here = client.local_addr().expect("its address");
        for (way, found) in [("sock_diag", connections()), ("proc", from_proc(|_| true))] {
            let found = found.unwrap_or_else(|error| panic!("{way}: {error}"));
            assert!(
                found.contains(&(here, address)),
                "{way}: {here} → {address}"
            );
            assert!(
                found.contains(&(address, here)),
                "{way}: {address} → {here}"
            );
        }
    }
}
