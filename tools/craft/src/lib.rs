//! Builds frames and captures for tests: seeded, byte for byte repeatable.
//!
//! From the inside out:
//!
//! ```text
//! Tcp · Udp · icmp ─▶ Ip (options, extension headers, fragments) ─▶ Link (VLAN, PPPoE, MPLS) ─▶ Frame ─▶ Capture ─▶ pcap · pcapng
//! ```
//!
//! [`scenarios`], [`probes`] and [`crowds`] make the captures that real collections lack; [`merge`] and [`mutate`] derive more
//! from any capture. [`benign`] makes an hour of traffic that only looks like scans. No clock and no random source is
//! read: a seed gives the same bytes everywhere.

mod benign;
mod capture;
mod ip;
mod link;
mod pcap;
mod rng;
mod scenario;
mod transport;

pub use benign::{BENIGN, Benign, Naive, benign, manifest};
pub use capture::{Capture, Frame, merge, mutate};
pub use ip::{Ext, Ip, checksum};
pub use link::{Link, LinkType};
pub use pcap::{PcapError, PcapFormat, read_pcap};
pub use rng::Rng;
pub use scenario::{crowds, probes, scenarios};
pub use transport::{ACK, CWR, ECE, FIN, Flow, PSH, RST, SYN, Tcp, URG, Udp, icmp};
