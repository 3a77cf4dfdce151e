//! A connection to its two parts, and back.

use super::{
    BY_DATA, COUNT_BITS, COUNT_MASK, Cold, FLIPPED, FRAGMENTED, GSO, Hot, INSIDE, PREEXISTING,
    PROVEN, REOPENED, RESET_ORIG, RESET_RESP, RIVAL, SATURATED, SPLIT, SYNACK, TCP, TWIN, high,
    key, low, upper,
};
use crate::capture::tunnels::Inside;
use crate::decode::vlan;
use crate::flow::conn::Conn;
use crate::flow::letters;
use crate::flow::record::{Basis, History, Volume};
use crate::flow::tcp::Sender;

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
    let link = |side: &Volume| side.bytes.saturating_sub(side.ip_bytes);
    let counts =
        |side: &Volume| (low(link(side)) & COUNT_MASK) << 16 | low(side.packets) & COUNT_MASK;
    let mut hot = Hot {
        touched_ns: conn.touched_ns,
        end_ns: conn.end_ns,
        ends: conn.key.ends(),
        ports: conn.key.ports,
        kind: conn.key.kind(),
        counts: sides.map(counts),
        bytes: sides.map(|side| low(side.bytes)),
        next: conn.next,
        flags: flags
            .iter()
            .fold(0, |all, (flag, set)| all | (flag * u16::from(*set))),
        seen: letters::bits_of(&conn.history),
        interface: conn.interface,
        tcp_flags: sides.map(|side| side.tcp_flags),
    };
    if conn.key.proto() != TCP {
        hot.next = sides.map(|side| low(side.payload_bytes));
    }
    let inside = conn.inside.bits() << INSIDE;
    let mut cold = Cold {
        start_ns: conn.start_ns,
        ends: [conn.key.src, conn.key.dst].map(upper),
        packets: sides.map(|side| low(side.packets >> COUNT_BITS)),
        link: sides.map(|side| low(link(side) >> COUNT_BITS)),
        bytes: sides.map(|side| high(side.bytes)),
        isn: conn.isn,
        history: (&conn.history).into(),
        vlan: vlan::pack_under(conn.key.tags(), conn.vlan, conn.vlan_count) | inside,
        interface_resp: conn.interface_resp,
        ..Cold::default()
    };
    for (i, side) in sides.into_iter().enumerate() {
        hot.set_payload(&mut cold, i, side.payload_bytes);
    }
    debug_assert!(
        sides.iter().all(|side| side.missed_bytes == 0),
        "followed later"
    );
    (hot, cold)
}

/// As [`unpack`], but bytes that may still come are not missing.
pub fn unpack_settled(hot: &Hot, cold: &Cold) -> Conn {
    let mut conn = unpack(hot, cold);
    let [orig, resp] = cold.missed_bytes.map(u64::from);
    (conn.orig.missed_bytes, conn.resp.missed_bytes) = (orig, resp);
    conn
}

pub fn unpack(hot: &Hot, cold: &Cold) -> Conn {
    let volume = |sender: Sender| {
        let i = sender as usize;
        let bytes = u64::from(cold.bytes[i]) << 32 | u64::from(hot.bytes[i]);
        Volume {
            packets: hot.packets(cold)[i],
            bytes,
            payload_bytes: hot.payload(cold, i),
            ip_bytes: bytes.saturating_sub(hot.link(cold, i)),
            retransmitted_packets: cold.retransmitted_packets[i].into(),
            retransmitted_bytes: cold.retransmitted_bytes[i].into(),
            missed_bytes: hot.missed(cold, sender),
            tcp_flags: hot.tcp_flags[i],
        }
    };
    let interface_resp = match hot.has(SPLIT) {
        true => cold.interface_resp,
        false => hot.interface,
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
        orig: volume(Sender::Orig),
        resp: volume(Sender::Resp),
        isn: cold.isn,
        history: History::from(cold.history),
        interface: hot.interface,
        interface_resp,
        vlan,
        vlan_count,
        rival: hot.has(RIVAL),
        twin: hot.has(TWIN),
        next: hot.next,
        reset: hot.reset(),
        basis,
        midstream: !hot.has_attempt() && hot.proto() == TCP,
        flipped: hot.has(FLIPPED),
        preexisting: hot.has(PREEXISTING),
        inside: Inside::of_bits(cold.vlan >> INSIDE),
        gso: hot.has(GSO),
        fragmented: hot.has(FRAGMENTED),
        saturated: hot.has(SATURATED),
        reopened: hot.proto() == TCP && hot.has(REOPENED),
    }
}
