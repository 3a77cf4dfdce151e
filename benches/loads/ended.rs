//! Ends of the connections of [`super::loads::traffic`].

use super::loads::traffic::{time_ns, tuple};
use synledger::capture::tunnels::Inside;
use synledger::flow::record::{Basis, ConnState, EndReason, FlowRecord, History, Volume};
use synledger::log::event::{Body, Event, Step};

/// The log event of the end of connection `number`, after a second.
pub fn ended(number: u32) -> Event {
    let end_ns = time_ns(number);
    let volume = |packets, payload_bytes| Volume {
        packets,
        bytes: 54 * packets + payload_bytes,
        payload_bytes,
        ip_bytes: 40 * packets + payload_bytes,
        tcp_flags: 0x1b,
        ..Volume::default()
    };
    let body = Body::Flow(FlowRecord {
        tuple: tuple(number),
        id: 0,
        joined: false,
        isn: number.wrapping_mul(0x9e37_79b1),
        start_ns: end_ns - 1_000_000_000,
        end_ns,
        orig: volume(6, 300),
        resp: volume(4, 2800),
        conn_state: ConnState::Sf,
        history: History {
            letters: *b"ShADadFf\0\0\0\0\0\0\0\0",
        },
        reason: EndReason::Fin,
        basis: Basis::Handshake,
        midstream: false,
        preexisting: false,
        gso: false,
        fragmented: false,
        saturated: false,
        reopened: false,
        shed: false,
        inside: Inside::NONE,
        interim: false,
        part: 0,
        since_ns: end_ns - 1_000_000_000,
        total: false,
        interface: 0,
        interface_resp: 0,
        vlan: [0; 2],
        vlan_count: 0,
    });
    Event {
        position: u64::from(number),
        step: Step::Timer(end_ns),
        body,
    }
}
