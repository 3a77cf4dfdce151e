//! A connection to its two parts, and back.

use super::{
    BY_DATA, Cold, FLIPPED, FRAGMENTED, GSO, Hot, PREEXISTING, PROVEN, REOPENED, RESET_ORIG,
    RESET_RESP, RIVAL, SATURATED, SPLIT, SYNACK, TCP, TWIN, high, key, low, whole,
};
use crate::decode::vlan;
use crate::flow::conn::Conn;
use crate::flow::record::{Basis, Volume};
use crate::flow::tcp::{self, Sender};

pub fn pack(conn: &Conn) -> (Hot, Cold) {
    // The client's interface is that of its SYN, also where the SYN is in an older record.
    let told_by_syn = conn.basis != Basis::None && conn.orig.packets == 0;
    let splits = told_by_syn || conn.interface != conn.interface_resp;
    let flags = [
        (RESET_ORIG, conn.reset == Some(Sender::Orig)),
        (RESET_RESP, conn.reset == Some(Sender::Resp)),
        (PROVEN, conn.basis == Basis::Handshake),
        (SYNACK, conn.basis == Basis::Synack),
        (BY_DATA, conn.basis == Basis::Data),
        (FLIPPED, conn.flipped),
        (PREEXISTING, conn.preexisting),
        (GSO, conn.gso),
        (FRAGMENTED, conn.fragmented),
        (SATURATED, conn.saturated),
        (REOPENED, conn.reopened),
        (SPLIT, splits),
        (RIVAL, conn.rival),
        (TWIN, conn.twin),
    ];
    let sides = [&conn.orig, &conn.resp];
    let hot = Hot {
        touched_ns: conn.touched_ns,
        end_ns: conn.end_ns,
        ends: conn.key.ends(),
        ports: conn.key.ports,
        kind: conn.key.kind(),
        packets: sides.map(|side| low(side.packets)),
        bytes: sides.map(|side| low(side.bytes)),
        payload: sides.map(|side| low(side.payload_bytes)),
        flags: flags
            .iter()
            .fold(0, |all, (flag, set)| all | (flag * u16::from(*set))),
        seen: tcp::bits_of(&conn.history),
        interface: conn.interface,
        tcp_flags: sides.map(|side| side.tcp_flags),
    };
    let cold = Cold {
        src: conn.key.src,
        dst: conn.key.dst,
        start_ns: conn.start_ns,
        packets: sides.map(|side| high(side.packets)),
        bytes: sides.map(|side| high(side.bytes)),
        payload: sides.map(|side| high(side.payload_bytes)),
        isn: conn.isn,
        history: conn.history,
        vlan: vlan::pack_under(conn.key.tags(), conn.vlan, conn.vlan_count),
        next: conn.next,
        interfaces: [conn.interface, conn.interface_resp],
    };
    (hot, cold)
}

pub fn unpack(hot: &Hot, cold: &Cold) -> Conn {
    let side = |i: usize| Volume {
        packets: whole(hot.packets[i], cold.packets[i]),
        bytes: whole(hot.bytes[i], cold.bytes[i]),
        payload_bytes: whole(hot.payload[i], cold.payload[i]),
        tcp_flags: hot.tcp_flags[i],
        ..Volume::default()
    };
    let [interface, interface_resp] = match hot.has(SPLIT) {
        true => cold.interfaces,
        false => [hot.interface; 2],
    };
    let (vlan, vlan_count) = vlan::unpack(cold.vlan);
    let basis = match hot.flags & (PROVEN | SYNACK | BY_DATA) {
        0 => Basis::None,
        SYNACK => Basis::Synack,
        BY_DATA => Basis::Data,
        _ => Basis::Handshake,
    };
    Conn {
        key: key(hot, cold),
        start_ns: cold.start_ns,
        end_ns: hot.end_ns,
        touched_ns: hot.touched_ns,
        orig: side(0),
        resp: side(1),
        isn: cold.isn,
        history: cold.history,
        interface,
        interface_resp,
        vlan,
        vlan_count,
        rival: hot.has(RIVAL),
        twin: hot.has(TWIN),
        next: cold.next,
        reset: hot.reset(),
        basis,
        midstream: !hot.has_attempt() && hot.proto() == TCP,
        flipped: hot.has(FLIPPED),
        preexisting: hot.has(PREEXISTING),
        gso: hot.has(GSO),
        fragmented: hot.has(FRAGMENTED),
        saturated: hot.has(SATURATED),
        reopened: hot.proto() == TCP && hot.has(REOPENED),
    }
}
