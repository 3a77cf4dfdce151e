//! Data that all formats of a run share.

use super::interfaces::Interfaces;
use crate::host::services::Services;
use std::net::IpAddr;
use std::sync::Arc;

/// Direction of a connection from the first to the second address: `in`, `out`, `local`, `transit` or `unknown`.
pub type Direction = Arc<dyn Fn(IpAddr, IpAddr) -> &'static str + Send + Sync>;

/// Data that all renderers of a run share.
#[derive(Clone)]
pub struct Context {
    /// The sensor's name, `host` in each record.
    pub host: String,
    /// Names for `in_iface`.
    pub interfaces: Interfaces,
    /// Direction from source to destination.
    pub direction: Direction,
    /// Names of this host's services; `None` in `read`.
    pub services: Option<Services>,
    /// Positions are frame numbers of captures: records carry them as `pcap_cnt`, Suricata's word.
    pub frames: bool,
}
