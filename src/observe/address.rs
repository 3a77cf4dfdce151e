//! Addresses where `--metrics` listens.

use socket2::{Domain, Socket, Type};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::str::FromStr;

const FORMS: &str = "must be ADDRESS:PORT or NAME:PORT, such as 127.0.0.1:9477, [::1]:9477 or localhost:9477; \
     :9477 is that port of every address. Or unix:/PATH, a socket; or textfile:/FOLDER, a file for node_exporter";
/// As in std's `TcpListener::bind`.
const BACKLOG: i32 = 128;

/// An address of `--metrics`, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsAddress {
    value: String,
    /// Not empty, without duplicates.
    addresses: Vec<SocketAddr>,
}

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        let addresses = match value.parse::<SocketAddr>() {
            Ok(address) => vec![address],
            Err(_) => by_name(value)?,
        };
        let value = value.to_owned();
        Ok(Self { value, addresses })
    }
}

/// `NAME:PORT`, or `:PORT` and `*:PORT` for every address, as exporters for Prometheus have it.
fn by_name(value: &str) -> Result<Vec<SocketAddr>, String> {
    let (name, port) = value.rsplit_once(':').ok_or(FORMS)?;
    let port: u16 = port.parse().map_err(|_| FORMS)?;
    if matches!(name, "" | "*") {
        let (v6, v4) = (Ipv6Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
        return Ok(vec![(v6, port).into(), (v4, port).into()]);
    }
    let of_a_name = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    if !name.chars().all(of_a_name) {
        return Err(FORMS.to_owned());
    }
    let unknown = |why: String| format!("no address is known for {name}: {why}; {FORMS}");
    let found = (name, port).to_socket_addrs();
    let mut addresses = Vec::new();
    for address in found.map_err(|error| unknown(error.to_string()))? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Err(unknown("the resolver knows none".to_owned())),
        false => Ok(addresses),
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)
    }
}

impl MetricsAddress {
    /// The URL of the metrics for a browser on this host.
    pub fn url(&self) -> String {
        let (host, port) = self.value.rsplit_once(':').unwrap_or_default();
        match host {
            "" | "*" => format!("http://localhost:{port}/metrics (and on every other address)"),
            _ => format!("http://{}/metrics", self.value),
        }
    }

    /// Whether somebody listens there.
    pub fn is_in_use(&self) -> bool {
        let kind = self.listen().map_err(|error| error.kind());
        kind.is_err_and(|kind| kind == ErrorKind::AddrInUse)
    }

    /// Listens at each of the addresses that this host has.
    ///
    /// # Errors
    ///
    /// An address is in use, the user may not bind it, or the host has none of them.
    pub fn listen(&self) -> io::Result<Vec<TcpListener>> {
        if let [address] = self.addresses[..] {
            return Ok(vec![TcpListener::bind(address)?]);
        }
        let mut listeners = Vec::new();
        let mut lacking = None;
        for &address in &self.addresses {
            match listen_apart(address) {
                Ok(listener) => listeners.push(listener),
                Err(error) if is_lacking(&error) => lacking = Some(error),
                Err(error) => return Err(error),
            }
        }
        match lacking {
            Some(error) if listeners.is_empty() => Err(error),
            _ => Ok(listeners),
        }
    }
}

/// Whether the host has no such address, as one without IPv6 or without IPv4.
fn is_lacking(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// Listens with IPV6_V6ONLY: IPv4 has a listener of its own on the same port.
fn listen_apart(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<MetricsAddress, String> {
        value.parse()
    }

    #[test]
    fn an_address_is_what_it_says_and_a_name_all_that_it_means() {
        for value in ["127.0.0.1:9477", "[::1]:9477", "[::]:9477"] {
            let address = read(value).expect(value);
            assert_eq!(address.addresses, [value.parse().expect("an address")]);
            assert_eq!(address.to_string(), value);
            assert_eq!(address.url(), format!("http://{value}/metrics"));
        }
        let local = read("localhost:9477").expect("every host has it");
        assert!(!local.addresses.is_empty());
        for address in &local.addresses {
            assert!(address.ip().is_loopback() && address.port() == 9477);
        }
        assert_eq!(local.url(), "http://localhost:9477/metrics");
        for value in [":9477", "*:9477"] {
            let every = read(value).expect(value);
            let all: [SocketAddr; 2] =
                ["[::]:9477", "0.0.0.0:9477"].map(|address| address.parse().expect("an address"));
            assert_eq!(every.addresses, all);
            let url = "http://localhost:9477/metrics (and on every other address)";
            assert_eq!(every.url(), url);
        }
    }

    #[test]
    fn what_is_no_address_is_answered_with_the_forms() {
        // No name server is asked about a label of 64 letters.
        let long = format!("{}:9477", "x".repeat(64));
        for value in [
            "",
            "9477",
            "localhost",
            "localhost:",
            "localhost:65536",
            "[::1:9477",
            "a b:1",
        ] {
            assert_eq!(read(value), Err(FORMS.to_owned()), "{value:?}");
        }
        let error = read(&long).expect_err("no such name");
        let says = format!("no address is known for {}: ", "x".repeat(64));
        assert!(
            error.starts_with(&says) && error.ends_with(FORMS),
            "{error}"
        );
    }

    #[test]
    fn each_address_is_listened_at_and_one_in_use_is_an_error() {
        let of = |addresses: &[&str], port: u16| MetricsAddress {
            value: "test".to_owned(),
            addresses: addresses
                .iter()
                .map(|ip| SocketAddr::new(ip.parse().expect("an address"), port))
                .collect(),
        };
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("bound").port();
        let error = of(&["127.0.0.2", "127.0.0.1"], port).listen();
        assert_eq!(error.expect_err("in use").kind(), ErrorKind::AddrInUse);
        assert!(of(&["127.0.0.1"], port).is_in_use());
        drop(free);
        assert!(!of(&["127.0.0.1"], port).is_in_use());
        let two = of(&["127.0.0.2", "127.0.0.1"], port).listen();
        assert_eq!(two.expect("both are free").len(), 2);
        // 240.0.0.0/4 is nobody's.
        let one = of(&["240.0.0.1", "127.0.0.1"], port).listen();
        assert_eq!(one.expect("one will do").len(), 1);
        let none = of(&["240.0.0.1", "240.0.0.2"], port).listen();
        let kind = none.expect_err("none is here").kind();
        assert_eq!(kind, ErrorKind::AddrNotAvailable);
    }
}
