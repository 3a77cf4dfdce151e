//! The books for a person (ten lines, as tcpdump's users expect) and for a machine (EVE `stats`).

use crate::books::Books;
use crate::decode::Unread;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// The books in about ten lines, for standard error.
pub fn ten_lines(books: &Books) -> String {
    let shards = &books.shards;
    let flow = &shards.flow;
    let scan = &shards.port_scan;
    let unread: u64 = shards.unread.iter().sum();
    let mut text = String::new();
    let mut line = |what: String| {
        let _ = writeln!(text, "{what}");
    };
    offered(books, &mut line);
    let causes = causes(books);
    let causes = if causes.is_empty() {
        String::new()
    } else {
        format!(": {}", causes.join(", "))
    };
    line(format!(
        "{} packets, {unread} frames not read{causes}",
        shards.packets
    ));
    line(format!(
        "{} SYNs: {} new connections, {} retransmitted, {} seen at another interface",
        flow.syn_packets, flow.attempts, flow.retransmitted, flow.other_interface_syns
    ));
    line(format!(
        "{} answered, {} established, {} refused, {} unanswered",
        flow.answered,
        flow.established,
        flow.refused,
        flow.unanswered()
    ));
    line(format!(
        "{} port scans, {} lines about them",
        scan.started, shards.detections
    ));
    line(format!(
        "{} flows ended, {} pushed out of full tables",
        flow.closed_all(),
        flow.evicted()
    ));
    for output in &books.outputs {
        line(format!(
            "{}: {} written, {} dropped",
            output.name,
            output.written(),
            output.dropped()
        ));
    }
    if flow.evicted() + scan.pair_evicted + scan.episode_evicted > 0 {
        line(format!(
            "tables overflowed: {} flows, {} pairs, {} scans pushed out; raise --memory-mib",
            flow.evicted(),
            scan.pair_evicted,
            scan.episode_evicted
        ));
    }
    line(verdict(books));
    text
}

/// What came from the kernel or a capture, and what was lost before.
fn offered(books: &Books, line: &mut impl FnMut(String)) {
    let shards = &books.shards;
    if books.rings.is_empty() {
        line(format!("{} frames read", shards.frames));
    } else {
        let packets: u64 = books.rings.iter().map(|ring| ring.tp_packets).sum();
        let drops: u64 = books.rings.iter().map(|ring| ring.tp_drops).sum();
        let shed: u64 = books.rings.iter().map(|ring| ring.shed_data).sum();
        line(format!(
            "{packets} frames offered by the kernel: {} read, {drops} dropped by full rings, {shed} shed",
            shards.frames
        ));
        let filtered = match books.filtered {
            Some(0) => String::new(),
            Some(filtered) => format!(", {filtered} rejected by the filter"),
            None => ", rejected by the filter: not counted".to_owned(),
        };
        line(format!(
            "before the rings: {} lost by network cards, {} by the kernel's backlog{filtered}",
            books.nic_drops, books.softnet_drops
        ));
    }
}

fn verdict(books: &Books) -> String {
    let open: Vec<String> = books
        .identities()
        .iter()
        .filter(|identity| !identity.holds())
        .map(|identity| {
            format!(
                "  {}: {} against {}",
                identity.name, identity.left, identity.right
            )
        })
        .collect();
    if open.is_empty() {
        format!(
            "the books close: {} identities, {} missed with a cause",
            books.identities().len(),
            books.missed()
        )
    } else {
        format!("THE BOOKS DO NOT CLOSE:\n{}", open.join("\n"))
    }
}

fn causes(books: &Books) -> Vec<String> {
    Unread::ALL
        .into_iter()
        .map(|why| (why.word(), books.shards.unread[why.index()]))
        .filter(|(_, count)| *count > 0)
        .map(|(word, count)| format!("{count} {word}"))
        .collect()
}

/// The `stats` object of an EVE record.
pub fn to_json(books: &Books) -> Value {
    let packets: u64 = books.rings.iter().map(|ring| ring.tp_packets).sum();
    let drops: u64 = books.rings.iter().map(|ring| ring.tp_drops).sum();
    json!({
        "capture": { "kernel_packets": packets, "kernel_drops": drops },
        "synledger": books_json(books),
    })
}

fn books_json(books: &Books) -> Value {
    let shards = &books.shards;
    let flow = &shards.flow;
    let scan = &shards.port_scan;
    let unread: Map<String, Value> = Unread::ALL
        .into_iter()
        .map(|why| (why.word().to_owned(), json!(shards.unread[why.index()])))
        .filter(|(_, count)| count != 0)
        .collect();
    let rings: Vec<Value> = books
        .rings
        .iter()
        .map(|ring| {
            json!({
                "ring": ring.name, "tp_packets": ring.tp_packets, "tp_drops": ring.tp_drops,
                "tp_freezes": ring.tp_freezes, "frames_read": ring.frames_read, "shed_data": ring.shed_data,
            })
        })
        .collect();
    let identities: Vec<Value> = books
        .identities()
        .iter()
        .map(|one| json!({ "identity": one.name, "left": one.left, "right": one.right, "holds": one.holds() }))
        .collect();
    json!({
        "books": {
            "frames": shards.frames, "packets": shards.packets, "unread": unread,
            "misrouted": shards.misrouted, "late": shards.late,
            "syn_packets": flow.syn_packets, "attempts": flow.attempts, "retransmitted": flow.retransmitted,
            "other_interface": flow.other_interface_syns,
            "answered": flow.answered, "established": flow.established, "refused": flow.refused,
            "unanswered": flow.unanswered(), "fragment_bytes": flow.fragment_bytes,
            "flows_opened": flow.opened, "flows_closed": flow.closed_all(), "flows_evicted": flow.evicted(),
            "scans_started": scan.started, "scans_ended": scan.ended, "detections": shards.detections,
            "pair_evicted": scan.pair_evicted, "episode_evicted": scan.episode_evicted,
            "contacts_sent": shards.contacts_sent, "contacts_merged": shards.contacts_merged,
            "contacts_dropped": shards.contacts_dropped,
            "rings": rings, "nic_drops": books.nic_drops, "softnet_drops": books.softnet_drops,
            "filtered": books.filtered,
        },
        "complete": books.missed() == 0,
        "missed": books.missed(),
        "closed": books.closed(),
        "identities": identities,
    })
}
