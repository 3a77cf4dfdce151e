//! Benign traffic that looks like scans: an hour of each of twelve kinds, and backscatter.
//!
//! Realistic in what matters to a scan detector: who opens what to whom and when, how it ends, and
//! the failures that such traffic has. Data is short. Addresses: 10.0.0.0/8, 192.0.2.0/24 and
//! 2001:db8::/33 are ours, 198.18.0.0/15 and 2001:db8:8000::/33 the Internet's.

mod backscatter;
mod hour;
mod mail;
mod manifest;
mod monitor;
mod office;
mod payload;
mod peers;
mod servers;
mod talk;
mod web;

use std::net::IpAddr;

use self::hour::Hour;
pub use self::manifest::manifest;
use crate::capture::Capture;
use crate::rng::Rng;

/// What is known about a capture of benign traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Benign {
    /// Its name, one of [`BENIGN`].
    pub kind: &'static str,
    /// The seed that made it.
    pub seed: u64,
    /// Its length in minutes.
    pub minutes: u16,
    /// Number of frames.
    pub frames: usize,
    /// Addresses that a rule may take for scanners.
    pub sources: Vec<IpAddr>,
    /// What naive rules would call a scan in an hour of it.
    pub naive: Vec<Naive>,
}

impl Benign {
    /// Its file name.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.pcap", self.kind)
    }
}

/// A rule that looks at numbers only, and finds a scan where there is none.
///
/// Rules: `port_scan` (SYNs to 4 TCP ports of one destination in 60 s), `host_sweep` (to one port of
/// 25 destinations in 60 s), `slow_scan` (to 10 pairs of destination and port in 8 hours),
/// `udp_scan` (datagrams to 10 UDP ports of one destination in 60 s) and `stealth_scan` (segments
/// other than SYNs, of no connection that was opened, to 3 ports of one destination in 60 s). No
/// capture has 20 failing ports of one destination in 60 s, or comes near the rates of a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Naive {
    /// The rule.
    pub rule: &'static str,
    /// Why its condition is met.
    pub because: &'static str,
}

fn naive(rule: &'static str, because: &'static str) -> Naive {
    Naive { rule, because }
}

/// What a builder knows about its capture.
struct Known {
    sources: Vec<IpAddr>,
    naive: Vec<Naive>,
}

/// Fills an hour.
type Build = fn(&mut Hour) -> Known;

const BUILDS: [Build; BENIGN.len()] = [
    peers::sharing,
    office::logon,
    office::ftp,
    web::browsers,
    monitor::health_checks,
    servers::carrier_nat,
    servers::load_balancer,
    mail::mail,
    mail::resolver,
    web::crawler,
    peers::calls,
    monitor::monitoring,
    backscatter::one_victim,
    backscatter::many_victims,
    backscatter::cookies,
];

/// Names of the captures, lower case words joined by `-`.
pub const BENIGN: [&str; 15] = [
    "file-sharing",
    "domain-logon",
    "ftp",
    "browsers",
    "health-checks",
    "carrier-nat",
    "load-balancer",
    "mail",
    "resolver",
    "crawler",
    "calls",
    "monitoring",
    "backscatter-one-victim",
    "backscatter-many-victims",
    "backscatter-cookies",
];

/// The benign capture of this kind, the same for the same seed; `None` if [`BENIGN`] has no such.
///
/// A capture shorter than an hour has less of everything, and may lack what takes long.
#[must_use]
pub fn benign(kind: &str, seed: u64, minutes: u16) -> Option<(Capture, Benign)> {
    let index = BENIGN.iter().position(|name| *name == kind)?;
    let mut seeds = Rng::new(seed);
    let own = (0..=index).map(|_| seeds.next_u64()).last()?;
    let mut hour = Hour::new(BENIGN[index], own, minutes);
    let known = BUILDS[index](&mut hour);
    let capture = hour.finish();
    let benign = Benign {
        kind: BENIGN[index],
        seed,
        minutes,
        frames: capture.frames.len(),
        sources: known.sources,
        naive: known.naive,
    };
    Some((capture, benign))
}
