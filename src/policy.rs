//! What the operator asked to see. Nothing here changes what is counted or decided.

use crate::cli::DirectionName;
use crate::locality::{Direction, Localities};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// What is asked for, and what is ours.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which addresses are ours.
    pub localities: Arc<Localities>,
    /// Directions of connections to log; empty: all.
    pub directions: Arc<[DirectionName]>,
    /// Alert on scans in every direction.
    pub all_scans: bool,
    /// Where `--scan-target host` applies: what stands for all of our addresses (IPv4, IPv6).
    pub host: Option<(IpAddr, IpAddr)>,
    /// Sources whose alerts are withheld.
    pub allow: Arc<[IpNet]>,
}

impl Policy {
    /// Whether a connection in this direction is asked for.
    pub fn wants_direction(&self, src: IpAddr, dst: IpAddr) -> bool {
        if self.directions.is_empty() {
            return true;
        }
        let name = match self.localities.direction(src, dst) {
            Direction::In => DirectionName::In,
            Direction::Out => DirectionName::Out,
            Direction::Local => DirectionName::Local,
            Direction::Transit => DirectionName::Transit,
            Direction::Unknown => DirectionName::Unknown,
        };
        self.directions.contains(&name)
    }

    /// Whether a scan in this direction is alerted on.
    pub fn in_scan_scope(&self, src: IpAddr, dst: IpAddr) -> bool {
        self.all_scans
            || !matches!(
                self.scan_direction(src, dst),
                Direction::Out | Direction::Local
            )
    }

    /// Which way a scan goes. Its target may be the address that stands for all of ours.
    pub fn scan_direction(&self, src: IpAddr, dst: IpAddr) -> Direction {
        let host = self.host.is_some_and(|(v4, v6)| dst == v4 || dst == v6);
        match self.localities.direction(src, dst) {
            Direction::Transit if host => Direction::In,
            Direction::Out if host => Direction::Local,
            direction => direction,
        }
    }

    /// Whether alerts about this source are withheld.
    pub fn is_allowed(&self, src: IpAddr) -> bool {
        self.allow.iter().any(|net| net.contains(&src))
    }

    /// The address that stands for `dst` in the scan rule.
    pub fn scan_target(&self, dst: IpAddr) -> IpAddr {
        match self.host {
            Some((v4, v6)) if self.localities.is_ours(dst) => {
                if dst.is_ipv4() {
                    v4
                } else {
                    v6
                }
            }
            _ => dst,
        }
    }
}
