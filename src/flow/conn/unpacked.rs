//! A connection or flow, unpacked.

use super::{TCP, UDP};
use crate::capture::tunnels::Inside;
use crate::decode::Headers;
use crate::decode::key::Key;
use crate::decode::packet::tcp_flags::FIN;
use crate::flow::record::{Basis, ConnState, EndReason, FlowRecord, History, Volume};
use crate::flow::tcp::{self, Sender};

/// A connection or flow, unpacked. The fields are those of [`FlowRecord`].
#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub(crate) struct Conn {
    /// Originator first.
    pub key: Key,
    pub start_ns: i64,
    pub end_ns: i64,
    /// Watermark at the last packet.
    pub touched_ns: i64,
    pub orig: Volume,
    pub resp: Volume,
    /// Client's initial sequence number; the identifier of an ICMP echo.
    pub isn: u32,
    pub history: History,
    pub interface: u16,
    pub interface_resp: u16,
    pub vlan: [u16; 2],
    pub vlan_count: u8,
    /// The side that sent the first RST, unless both had sent FIN before.
    pub reset: Option<Sender>,
    /// What is known of its handshake; nothing without an attempt.
    pub basis: Basis,
    /// Another connection on the same ports lives, or may.
    pub rival: bool,
    /// Another attempt on the same ports was open when its handshake was proven.
    pub twin: bool,
    /// The sequence number that each side sends next, as far as was seen.
    pub next: [u32; 2],
    /// The first packet was a SYN+ACK.
    pub flipped: bool,
    /// TCP whose SYN was not seen.
    pub midstream: bool,
    pub preexisting: bool,
    pub inside: Inside,
    pub gso: bool,
    pub fragmented: bool,
    pub saturated: bool,
    /// Its attempt has an older record.
    pub reopened: bool,
}

impl Conn {
    /// A flow that a packet opens, which is not accounted yet.
    pub fn new(key: Key, packet: &Headers, watermark_ns: i64) -> Self {
        Self {
            key,
            start_ns: packet.ts_ns,
            end_ns: packet.ts_ns,
            touched_ns: watermark_ns,
            isn: u32::from(key.id()),
            interface: packet.interface,
            interface_resp: packet.interface,
            vlan: packet.vlan,
            vlan_count: packet.vlan_count,
            midstream: key.proto() == TCP,
            inside: packet.inside,
            ..Self::default()
        }
    }

    /// Nothing was seen of an answered attempt behind its SYN+ACK.
    pub fn is_silent(&self) -> bool {
        !tcp::goes_on(&self.orig, &self.resp)
    }

    /// Sort key of its record.
    pub fn order(&self) -> (i64, Key, u32) {
        (self.start_ns, self.key, self.isn)
    }

    pub fn state(&self) -> ConnState {
        if self.key.proto() == UDP {
            let is_answered = self.resp.packets > 0;
            return if is_answered {
                ConnState::Sf
            } else {
                ConnState::S0
            };
        }
        if self.basis != Basis::None {
            return tcp::answered_state(&self.orig, &self.resp, self.reset);
        }
        if self.flipped {
            let fin = |volume: &Volume| volume.tcp_flags & FIN != 0;
            match self.reset {
                Some(Sender::Resp) => return ConnState::Rstrh,
                None if fin(&self.resp) && !fin(&self.orig) => return ConnState::Shr,
                _ => {}
            }
        }
        ConnState::Oth
    }

    #[inline(always)]
    pub fn record(&self, reason: EndReason, conn_state: ConnState) -> FlowRecord {
        FlowRecord {
            tuple: self.key.tuple(),
            id: self.key.id(),
            joined: self.key.joined(),
            isn: self.isn,
            start_ns: self.start_ns,
            end_ns: self.end_ns,
            orig: self.orig,
            resp: self.resp,
            conn_state,
            history: self.history,
            reason,
            basis: self.basis,
            midstream: self.midstream,
            preexisting: self.preexisting,
            gso: self.gso,
            fragmented: self.fragmented,
            saturated: self.saturated,
            reopened: self.reopened,
            shed: false,
            inside: self.inside,
            interim: false,
            part: 0,
            since_ns: self.start_ns,
            total: false,
            interface: self.interface,
            interface_resp: self.interface_resp,
            vlan: self.vlan,
            vlan_count: self.vlan_count,
        }
    }
}
