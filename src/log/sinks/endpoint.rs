//! Where messages go: a collector's address or a socket of this host, and the options of such outputs.

use crate::log::formats::framing::{Messaging, Transport};
use crate::words::shown;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

/// Least path MTU: what every host of IPv4 takes (RFC 791).
pub const MTU_MIN: u16 = 576;
/// What goes through Ethernet.
const MTU: u16 = 1500;
/// Seconds between templates.
const TEMPLATE_S: u32 = 60;
/// Messages a second to a UDP collector in `read`.
const PACE: u32 = 5000;

/// Syntax and range of `mtu=`.
pub const MTU_ALLOWED: &str = "mtu=576 to 9216";
/// Syntax and range of `template=`.
pub const TEMPLATE_ALLOWED: &str = "template=1 to 3600 (seconds)";
/// Syntax and range of `pace=`.
pub const PACE_ALLOWED: &str = "pace=1 to 1000000 (messages a second)";
/// Syntax and range of `domain=`.
pub const DOMAIN_ALLOWED: &str = "domain=0 to 4294967295";

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A host and a port.
    Internet {
        /// UDP or TCP.
        transport: Transport,
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A socket of this host that takes datagrams.
    Local(PathBuf),
}

impl Endpoint {
    /// Reads `udp://HOST:PORT`, `tcp://HOST`, `unix://PATH` or `PATH`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str, messaging: &Messaging) -> Result<Self, String> {
        if let (true, Some(socket)) = (text.is_empty(), messaging.socket) {
            return Ok(Self::Local(socket.into()));
        }
        let has = |transport| messaging.transports.contains(&transport);
        let (word, rest) = match text.split_once("://") {
            Some((word, rest)) => (word, rest),
            None if text.starts_with('/') => (Transport::Unix.word(), text),
            None => return Err(format!("\"{text}\" names no transport")),
        };
        let known = word
            .parse::<Transport>()
            .ok()
            .filter(|transport| has(*transport));
        let Some(transport) = known else {
            return Err(format!("\"{word}\" is no transport of it"));
        };
        if transport == Transport::Unix {
            return match rest.starts_with('/') {
                true => Ok(Self::Local(rest.into())),
                false => Err(format!("\"{rest}\" is no absolute path of a socket")),
            };
        }
        let (host, port) = host_and_port(rest)?;
        Ok(Self::Internet {
            transport,
            host: host.to_owned(),
            port: port.unwrap_or(messaging.port),
        })
    }

    /// How its messages travel.
    pub fn transport(&self) -> Transport {
        match self {
            Self::Internet { transport, .. } => *transport,
            Self::Local(_) => Transport::Unix,
        }
    }

    /// The port of a TCP collector, which the sandbox leaves open.
    pub fn tcp_port(&self) -> Option<u16> {
        match self {
            Self::Internet {
                transport: Transport::Tcp,
                port,
                ..
            } => Some(*port),
            _ => None,
        }
    }

    /// The addresses that its host has now.
    ///
    /// # Errors
    ///
    /// The name cannot be resolved.
    pub(super) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Internet { host, port, .. } => {
                Ok((host.as_str(), *port).to_socket_addrs()?.collect())
            }
            Self::Local(_) => Ok(Vec::new()),
        }
    }
}

/// Splits `HOST:PORT`; an IPv6 address is in brackets.
fn host_and_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("the bracket is not closed")?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(format!("\"{rest}\" behind the address")),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() || host.contains('/') {
        return Err(format!("\"{host}\" is no host"));
    }
    let number = |port: &str| {
        let number = port.parse::<u16>().ok().filter(|number| *number > 0);
        number.ok_or_else(|| {
            format!("\"{port}\" is no port (1 to 65535; an IPv6 address is in brackets)")
        })
    };
    Ok((host, port.map(number).transpose()?))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet {
                transport,
                host,
                port,
            } => match host.contains(':') {
                true => write!(f, "{transport}://[{host}]:{port}"),
                false => write!(f, "{transport}://{host}:{port}"),
            },
            Self::Local(path) => f.write_str(&shown(path)),
        }
    }
}

/// Options of outputs to collectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectorOptions {
    /// Largest packet, IP header included, where the path takes it.
    pub mtu: u16,
    /// Seconds between templates over UDP.
    pub template_s: u32,
    /// Messages a second over UDP in `read`.
    pub pace: u32,
    /// Observation domain or source id.
    pub domain: u32,
}

impl Default for CollectorOptions {
    fn default() -> Self {
        Self {
            mtu: MTU,
            template_s: TEMPLATE_S,
            pace: PACE,
            domain: 1,
        }
    }
}

impl CollectorOptions {
    /// Sets one option of a collector with this transport. `None`: there is no such option.
    pub fn set(
        &mut self,
        (messaging, transport): (&Messaging, Transport),
        name: &str,
        value: &str,
    ) -> Option<Result<(), (String, &'static str)>> {
        let udp = transport == Transport::Udp;
        let (wrong, templates) = (format!("{name}={value}"), messaging.templates);
        let number = |least: u32, most: u32, allowed: &'static str| {
            let number = value.parse::<u32>().ok();
            let fits = number.filter(|number| (least..=most).contains(number));
            fits.ok_or_else(|| (format!("\"{wrong}\" is out of range"), allowed))
        };
        let set = match name {
            "mtu" if udp && templates => number(MTU_MIN.into(), 9216, MTU_ALLOWED)
                .map(|mtu| self.mtu = u16::try_from(mtu).expect("at most 9216")),
            "template" if udp && templates => {
                number(1, 3600, TEMPLATE_ALLOWED).map(|seconds| self.template_s = seconds)
            }
            "pace" if udp => number(1, 1_000_000, PACE_ALLOWED).map(|pace| self.pace = pace),
            "domain" if templates => {
                number(0, u32::MAX, DOMAIN_ALLOWED).map(|domain| self.domain = domain)
            }
            _ => return None,
        };
        Some(set)
    }

    /// The options of a collector with this transport, each with its allowed values.
    pub fn allowed(messaging: &Messaging, transport: Transport) -> Vec<&'static str> {
        let (udp, templates) = (transport == Transport::Udp, messaging.templates);
        let all = [
            (MTU_ALLOWED, udp && templates),
            (TEMPLATE_ALLOWED, udp && templates),
            (PACE_ALLOWED, udp),
            (DOMAIN_ALLOWED, templates),
        ];
        let has = all.into_iter().filter(|(_, has)| *has);
        has.map(|(option, _)| option).collect()
    }
}
