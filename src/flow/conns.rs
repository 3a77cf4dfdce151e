//! Connections past their attempt, and flows that never had one: two tables of one kind.

use super::counts::FlowCounts;
use super::key::Key;
use super::record::{Basis, ConnState, EndReason, FlowEvent, FlowRecord, History, Volume, When};
use super::slab::Slab;
use super::tcp::{self, Sender};
use super::timers;
use crate::decode::packet::{
    Fragment, Packet, Tcp,
    tcp_flags::{FIN, RST},
};
use std::cmp::Ordering;

/// A TCP connection is idle after this.
pub const TCP_IDLE_NS: i64 = 300_000_000_000;
/// Any other flow is idle after this.
pub const OTHER_IDLE_NS: i64 = 60_000_000_000;
/// A closed connection waits this long for stragglers.
pub const LINGER_NS: i64 = 5_000_000_000;

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

/// A connection or flow.
#[derive(Clone, Copy, Debug)]
pub struct Conn {
    /// Originator first.
    pub key: Key,
    /// Stamp of the first packet.
    pub start_ns: i64,
    /// Newest stamp.
    pub end_ns: i64,
    /// Watermark at the last packet.
    pub touched_ns: i64,
    /// Originator to responder.
    pub orig: Volume,
    /// Responder to originator.
    pub resp: Volume,
    /// Client's initial sequence number; the identifier of an ICMP echo.
    pub isn: u32,
    /// Zeek's letters.
    pub history: History,
    /// First interface.
    pub interface: u16,
    /// VLANs of the first packet.
    pub vlan: [u16; 2],
    /// How many of them.
    pub vlan_count: u8,
    /// Who reset it first, unless both had sent FIN before.
    pub reset: Option<Sender>,
    /// The handshake was proven.
    pub proven: bool,
    /// The first packet was a SYN+ACK.
    pub flipped: bool,
    /// A younger attempt on the same ports was answered: it is asked first.
    pub rival: bool,
    /// Listed as open at the start.
    pub preexisting: bool,
    /// Some frame held several segments.
    pub gso: bool,
    /// Some packet was a fragment.
    pub fragmented: bool,
    /// A counter reached its limit.
    pub saturated: bool,
}

/// Adds a packet to one direction.
pub fn add_volume(volume: &mut Volume, wire_len: u32, payload: u32, flags: u8) {
    volume.packets += 1;
    volume.bytes += u64::from(wire_len);
    volume.payload_bytes += u64::from(payload);
    volume.tcp_flags |= flags;
}

impl Conn {
    /// A flow without packets, as `packet` would open it.
    pub fn new(key: Key, packet: &Packet, watermark_ns: i64) -> Self {
        Self {
            key,
            start_ns: packet.ts_ns,
            end_ns: packet.ts_ns,
            touched_ns: watermark_ns,
            orig: Volume::default(),
            resp: Volume::default(),
            isn: u32::from(key.id),
            history: History::default(),
            interface: packet.interface,
            vlan: packet.vlan,
            vlan_count: packet.vlan_count,
            reset: None,
            proven: false,
            flipped: false,
            rival: false,
            preexisting: false,
            gso: false,
            fragmented: false,
            saturated: false,
        }
    }

    fn closed(&self) -> bool {
        self.reset.is_some() || self.orig.tcp_flags & self.resp.tcp_flags & FIN != 0
    }

    /// When it ends if nothing more comes.
    pub fn deadline(&self) -> i64 {
        let idle = if self.key.proto != TCP {
            OTHER_IDLE_NS
        } else if self.closed() {
            LINGER_NS
        } else {
            TCP_IDLE_NS
        };
        self.touched_ns.saturating_add(idle)
    }

    /// Accounts a packet; says whether it closed the connection.
    pub fn add(
        &mut self,
        packet: &Packet,
        tcp: Option<&Tcp>,
        payload: u32,
        sender: Sender,
        watermark_ns: i64,
    ) -> bool {
        let was_closed = self.closed();
        let volume = match sender {
            Sender::Orig => &mut self.orig,
            Sender::Resp => &mut self.resp,
        };
        let flags = tcp.map_or(0, |tcp| tcp.flags);
        add_volume(volume, packet.wire_len, payload, flags);
        self.end_ns = self.end_ns.max(packet.ts_ns);
        self.touched_ns = watermark_ns;
        self.gso |= packet.gso;
        self.fragmented |= packet.fragment == Fragment::First;
        if let Some(tcp) = tcp {
            tcp::push_segment(&mut self.history, sender, tcp);
            if flags & RST != 0 && !was_closed {
                self.reset = Some(sender);
            }
        } else if payload > 0 {
            tcp::push_letter(
                &mut self.history,
                if sender == Sender::Orig { b'D' } else { b'd' },
            );
        }
        !was_closed && self.closed()
    }

    /// Why it ends at its deadline.
    pub fn natural_reason(&self) -> EndReason {
        if self.reset.is_some() {
            EndReason::Rst
        } else if self.closed() {
            EndReason::Fin
        } else {
            EndReason::Timeout
        }
    }

    fn state(&self) -> ConnState {
        if self.key.proto == UDP {
            return if self.resp.packets > 0 {
                ConnState::Sf
            } else {
                ConnState::S0
            };
        }
        if self.proven {
            return tcp::answered_state(&self.orig, &self.resp, self.reset);
        }
        if self.flipped {
            let fin = |volume: &Volume| volume.tcp_flags & FIN != 0;
            if self.reset == Some(Sender::Resp) {
                return ConnState::Rstrh;
            }
            if self.reset.is_none() && fin(&self.resp) && !fin(&self.orig) {
                return ConnState::Shr;
            }
        }
        ConnState::Oth
    }

    /// Its record.
    pub fn record(&self, reason: EndReason) -> FlowRecord {
        FlowRecord {
            tuple: self.key.tuple(),
            id: self.key.id,
            joined: self.key.joined,
            isn: self.isn,
            start_ns: self.start_ns,
            end_ns: self.end_ns,
            orig: self.orig,
            resp: self.resp,
            conn_state: self.state(),
            history: self.history,
            reason,
            basis: if self.proven {
                Basis::Handshake
            } else {
                Basis::None
            },
            midstream: !self.proven && self.key.proto == TCP,
            preexisting: self.preexisting,
            gso: self.gso,
            fragmented: self.fragmented,
            saturated: self.saturated,
            shed: false,
            interface: self.interface,
            vlan: self.vlan,
            vlan_count: self.vlan_count,
        }
    }

    /// Order of records by content.
    pub fn cmp_content(&self, other: &Self) -> Ordering {
        (self.start_ns, self.key, self.isn).cmp(&(other.start_ns, other.key, other.isn))
    }
}

/// A table of connections.
pub struct Conns {
    /// Entries and timers.
    pub slab: Slab<Conn>,
    /// Somebody asks for the records of ended flows.
    pub telling: bool,
}

impl Conns {
    /// Takes all memory for `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        let nobody = std::net::IpAddr::from([0; 4]);
        let empty = Packet {
            ts_ns: 0,
            wire_len: 0,
            interface: 0,
            vlan: [0; 2],
            vlan_count: 0,
            src: nobody,
            dst: nobody,
            fragment: Fragment::Whole,
            reach: crate::decode::packet::Reach::Plain,
            gso: false,
            transport: crate::decode::packet::Transport::Other { proto: 0 },
        };
        let key = Key::new(nobody, nobody, 0, 0, 0);
        Self {
            slab: Slab::new(capacity, Conn::new(key, &empty, 0)),
            telling: true,
        }
    }

    /// The live entry of `key`, and who of it sends; an expired one ends here.
    pub fn find(
        &mut self,
        hash: u64,
        key: &Key,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> Option<(u32, Sender)> {
        let hits = self.slab.hits(hash);
        for &at in hits.as_slice() {
            let found = &self.slab.get(at).key;
            let sender = if found == key {
                Sender::Orig
            } else if *found == key.reversed() {
                Sender::Resp
            } else {
                continue;
            };
            if self.settle(at, watermark_ns, counts, out) {
                return Some((at, sender));
            }
            return None;
        }
        None
    }

    /// Ends the entry if its deadline has come; says whether it lives.
    pub fn settle(
        &mut self,
        at: u32,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> bool {
        let deadline = self.slab.get(at).deadline();
        if deadline > watermark_ns {
            return true;
        }
        let reason = self.slab.get(at).natural_reason();
        self.end(at, reason, When::Deadline(deadline), counts, out);
        false
    }

    /// Ends an entry.
    pub fn end(
        &mut self,
        at: u32,
        reason: EndReason,
        when: When,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        counts.closed[reason as usize] += 1;
        counts.open -= 1;
        if self.telling {
            out(when, FlowEvent::Ended(self.slab.get(at).record(reason)));
        } else {
            counts.untold += 1;
        }
        self.slab.remove(at);
    }

    /// Puts an entry in; where there is no room, closed ones leave first, then the longest idle.
    pub fn insert(
        &mut self,
        hash: u64,
        conn: Conn,
        watermark_ns: i64,
        evicted: impl Fn(&mut FlowCounts),
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> u32 {
        let slot = timers::slot_of(conn.deadline());
        // Both the pool and the buckets may be full: then two entries leave.
        loop {
            if let Some(at) = self.slab.insert(hash, conn, slot) {
                return at;
            }
            let rivals = self.slab.rivals(hash);
            let mut left = false;
            for &at in rivals.as_slice() {
                left |= !self.settle(at, watermark_ns, counts, out);
            }
            if left {
                continue;
            }
            let victim = rivals.as_slice().iter().copied().min_by(|&a, &b| {
                let (a, b) = (self.slab.get(a), self.slab.get(b));
                (!a.closed(), a.touched_ns)
                    .cmp(&(!b.closed(), b.touched_ns))
                    .then_with(|| a.cmp_content(b))
            });
            let victim = victim.expect("what is full holds entries");
            evicted(counts);
            self.end(victim, EndReason::Evicted, When::Packet, counts, out);
        }
    }

    /// Accounts a packet to an entry and moves its timer if the deadline came nearer.
    pub fn add(
        &mut self,
        at: u32,
        packet: &Packet,
        tcp: Option<&Tcp>,
        payload: u32,
        sender: Sender,
        watermark_ns: i64,
    ) {
        let conn = self.slab.get_mut(at);
        if conn.add(packet, tcp, payload, sender, watermark_ns) {
            let slot = timers::slot_of(conn.deadline());
            self.slab.wheel.unlink(at);
            self.slab.wheel.link(at, slot);
        }
    }
}
