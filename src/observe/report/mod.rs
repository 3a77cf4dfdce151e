//! The books as text for a person.

use super::losses;
use crate::books::Books;
use crate::books::blocks::{BlockBooks, BlockRefusal, Removal};
use crate::books::responder::{Refusal, ResponderCounts};
use crate::books::witness::WitnessCounts;
use crate::capture::tunnels::Tunnel;
use crate::decode::Unread;
use crate::decode::checksums::Checksum;
use crate::decode::tunnel::Unopened;
use crate::words::many;
use std::fmt::Write as _;

/// The books in about ten lines, for standard error.
pub fn ten_lines(books: &Books) -> String {
    lines(books, true)
}

/// [`ten_lines`] of captures that were not read to their ends: nothing is known of the rest.
pub fn ten_lines_of_a_part(books: &Books) -> String {
    lines(books, false)
}

fn lines(books: &Books, is_whole: bool) -> String {
    let shards = &books.shards;
    let flow = &shards.flow;
    let unread: u64 = shards.unread_frames.iter().sum();
    let mut text = String::new();
    let mut line = |what: String| {
        let _ = writeln!(text, "{what}");
    };
    offered(books, &mut line);
    order(books, &mut line);
    let causes = causes(books);
    let causes = if causes.is_empty() {
        String::new()
    } else {
        format!(": {}", causes.join(", "))
    };
    line(format!(
        "{}, {} not decoded{causes}",
        many(shards.packets, "packet"),
        many(unread, "frame")
    ));
    tunnels(books, &mut line);
    checksums(books, &mut line);
    line(format!(
        "{}: {}, {} retransmitted, {} seen at another interface",
        many(flow.syn_packets, "SYN"),
        many(flow.new_connections, "new connection"),
        flow.syn_retransmitted,
        flow.syn_other_interface
    ));
    line(format!(
        "{} answered, {} established, {} refused, {} unanswered{}",
        flow.answered_connections,
        flow.established_connections,
        flow.refused_connections,
        flow.unanswered(),
        match flow.without_outcome() {
            0 => String::new(),
            without_outcome => format!(", {without_outcome} without outcome"),
        }
    ));
    line(scans(books));
    let tables = flow.evicted() - flow.evicted_fragments;
    line(format!(
        "{} ended, {} evicted from full tables",
        many(flow.closed_all(), "flow"),
        if tables == 1 {
            "1 entry".to_owned()
        } else {
            format!("{tables} entries")
        }
    ));
    logged(books, &mut line);
    overflowed(books, &mut line);
    if shards.frames_cut_by_depth > 0 {
        line(format!(
            "{} cut before the transport header: --capture full keeps them whole",
            many(shards.frames_cut_by_depth, "frame")
        ));
    }
    under_load(books, &mut line);
    if let Some(witness) = &books.witness {
        line(self::witness(witness));
    }
    missed(books, is_whole, &mut line);
    line(verdict(books, is_whole));
    text
}

/// What `--decap` met.
fn tunnels(books: &Books, line: &mut impl FnMut(String)) {
    let counts = &books.shards.tunnels;
    let opened = named(&Tunnel::ALL.map(Tunnel::word), &counts.tunnels_opened);
    let unopened = named(&Unopened::ALL.map(Unopened::word), &counts.tunnels_unopened);
    if !opened.is_empty() {
        let frames = many(counts.decapsulated_frames, "frame");
        line(format!("tunnels of {frames} opened: {opened}"));
    }
    if !unopened.is_empty() {
        let all = many(counts.tunnels_unopened.iter().sum::<u64>(), "tunnel");
        line(format!("{all} not opened: {unopened}"));
    }
}

/// Counts that are not 0, with their words.
fn named(words: &[&str], counts: &[u64]) -> String {
    let all = words.iter().zip(counts).filter(|(_, count)| **count > 0);
    let all: Vec<String> = all.map(|(word, count)| format!("{count} {word}")).collect();
    all.join(", ")
}

/// What `--checksums verify` found.
fn checksums(books: &Books, line: &mut impl FnMut(String)) {
    // Fewer bad ones say nothing about the capture.
    const BAD_MIN: u64 = 10;
    let counts = &books.shards.checksums;
    let found = named(&Checksum::ALL.map(Checksum::word), &counts.checksums);
    let refused = Unread::ALL.into_iter().filter(|why| why.is_checksum());
    let bad: u64 = refused
        .map(|why| books.shards.unread_frames[why.index()])
        .sum();
    if !found.is_empty() || bad > 0 {
        let found = if found.is_empty() {
            "none good"
        } else {
            &found
        };
        line(format!(
            "checksums: {found}, {bad} bad: these frames are refused"
        ));
    }
    let computed = bad + counts.checksums[Checksum::Right.index()];
    if bad >= BAD_MIN && bad > computed / 2 {
        line(
            "warning: most checksums are bad, as where the sender captured before its NIC computed them: leave \
             --checksums verify out"
                .to_owned(),
        );
    }
}

/// Frames of captures whose time stamps are out of order.
pub(super) fn order(books: &Books, line: &mut impl FnMut(String)) {
    let Some(reading) = &books.reading else {
        return;
    };
    for (count, one, what) in [
        (
            reading.frames_reordered,
            "frame",
            "put in the order of time",
        ),
        (
            reading.reorder_window_full,
            "frame",
            "left in its place, for too many lay between",
        ),
        (
            reading.stamps_outlying,
            "time stamp",
            "off by over ten minutes: the frame counts at the time before it",
        ),
        (
            reading.clock_restarts,
            "epoch",
            "of a clock that started again: what was open ended there",
        ),
    ] {
        if count > 0 {
            line(format!("{} {what}", many(count, one)));
        }
    }
}

/// Losses, each with what to change.
fn missed(books: &Books, is_whole: bool, line: &mut impl FnMut(String)) {
    let losses = losses::all(books);
    for loss in &losses {
        let (says, change) = (loss.sentence(), loss.advice());
        line(format!("missed: {says}; {change}"));
    }
    if !is_whole {
        line("missed: whatever the captures hold beyond where their reading ended".to_owned());
    } else if losses.is_empty() {
        line("nothing was missed".to_owned());
    }
}

/// Records of outputs and responders.
fn logged(books: &Books, line: &mut impl FnMut(String)) {
    if books.attempts_folded() > 0 {
        line(format!(
            "{} folded into {}",
            many(books.attempts_folded(), "new connection"),
            many(books.log.flood_records, "flood record")
        ));
    }
    for output in &books.outputs {
        let folded = match output.folded() {
            0 => String::new(),
            folded => format!(", {folded} folded"),
        };
        line(format!(
            "{}: {} written{folded}, {} dropped",
            output.name,
            output.written(),
            output.dropped()
        ));
    }
    for responder in &books.responders {
        let (name, counts) = (&responder.name, &responder.counts);
        line(format!(
            "{name}: {} listed, {} added{}",
            many(counts.listed, "source"),
            counts.added,
            refused(counts)
        ));
    }
    if let Some(books) = &books.blocks {
        line(blocks(books));
    }
}

/// What became of wishes for blocks.
fn blocks(books: &BlockBooks) -> String {
    let (mode, counts) = (&books.name, &books.counts);
    let of = |words: &[&str], all: &[u64]| {
        let all = words.iter().zip(all).filter(|(_, count)| **count > 0);
        let all: Vec<String> = all.map(|(word, count)| format!("{count} {word}")).collect();
        match all.is_empty() {
            true => String::new(),
            false => format!(" ({})", all.join(", ")),
        }
    };
    let sum = |all: &[u64]| all.iter().sum::<u64>();
    let refused = of(&BlockRefusal::ALL.map(BlockRefusal::word), &counts.refused);
    let removed = of(&Removal::ALL.map(Removal::word), &counts.removed);
    let slowest = match counts.delays.count {
        0 => String::new(),
        _ => format!(
            "; the slowest took {:.1} ms",
            counts.delays.max_us as f64 / 1e3
        ),
    };
    format!(
        "--block {mode}: {} wanted: {} there, {} refused{refused}, {} expired, {} removed{removed}; {} dropped{slowest}",
        many(sum(&counts.wanted), "block"),
        counts.in_kernel + counts.in_flight,
        sum(&counts.refused),
        counts.expired,
        sum(&counts.removed),
        many(counts.dropped_packets, "packet"),
    )
}

/// Detections that a responder did not list, by reason.
fn refused(counts: &ResponderCounts) -> String {
    let reasons = Refusal::ALL.into_iter().zip(counts.refused);
    let reasons: Vec<String> = reasons
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    if reasons.is_empty() {
        return String::new();
    }
    let sum: u64 = counts.refused.iter().sum();
    format!(
        "; {} not listed: {}",
        many(sum, "detection"),
        reasons.join(", ")
    )
}

/// Losses by full tables.
fn overflowed(books: &Books, line: &mut impl FnMut(String)) {
    let (flow, scan) = (&books.shards.flow, &books.shards.detectors.sum());
    let tables = flow.evicted() - flow.evicted_fragments;
    if tables + scan.subjects_evicted + scan.episodes_evicted + scan.without_list > 0 {
        line(format!(
            "tables overflowed: {tables} entries of flows, {} of detectors, {} evicted, {} without room for all their ports or hosts; \
             raise --memory-mib",
            scan.subjects_evicted,
            many(scan.episodes_evicted, "scan"),
            many(scan.without_list, "scan"),
        ));
    }
    if flow.flows_without_volumes > 0 {
        line(format!(
            "{} attempts without room to count their later packets (their records say saturated); \
             raise --memory-mib",
            flow.flows_without_volumes
        ));
    }
    if flow.evicted_fragments > 0 {
        line(format!(
            "{} halves of TCP headers in fragments were evicted by newer ones",
            flow.evicted_fragments
        ));
    }
}

/// Load shedding, and how far back full tables reach.
fn under_load(books: &Books, line: &mut impl FnMut(String)) {
    let shed = &books.shards.shed;
    let steps: u64 = shed.up.iter().chain(&shed.down).sum();
    if steps > 0 {
        let seconds = |level: usize| shed.spent_us[level] as f64 / 1e6;
        let refused = match books.shed_in_kernel {
            Some(refused) => format!("{refused} frames"),
            None => "frames that were not counted".to_owned(),
        };
        line(format!(
            "shed in {steps} steps: {refused} refused in the kernel; {:.1} s at level 1, {:.1} s at 2, {:.1} s at 3",
            seconds(1),
            seconds(2),
            seconds(3)
        ));
    }
    let evicted =
        books.shards.flow.evicted_attempts + books.shards.detectors.sum().subjects_evicted;
    if evicted > 0 {
        let reach = books.shards.horizons.seconds();
        let reach: Vec<String> = reach
            .map(|(name, _, value)| format!("{name} {value:.3}"))
            .collect();
        line(format!(
            "how far full tables reached at the end: {}",
            reach.join(", ")
        ));
    }
}

fn witness(counts: &WitnessCounts) -> String {
    let sum = |counts: &[u64]| counts.iter().sum::<u64>();
    format!(
        "witness: {} attempts seen, {} agreed, {} MISSING in the ledger, {} only there; {} excused, {} waiting",
        counts.seen,
        sum(&counts.agreed),
        counts.missing,
        counts.extra,
        sum(&counts.excused) + sum(&counts.extra_excused),
        counts.waiting + counts.told_waiting
    )
    .replace(" 0 MISSING", " 0 missing")
}

/// Scans, and how many were withheld.
fn scans(books: &Books) -> String {
    let shards = &books.shards;
    let mut text = shards.scans_said();
    text += &format!(", {} about them", many(shards.detections, "record"));
    if shards.detections_out_of_scope > 0 {
        let withheld = shards.detections_out_of_scope;
        text +=
            &format!(", {withheld} not shown (scans by this host: --scan-scope all shows them)");
    }
    if shards.detections_allowed > 0 {
        text += &format!(", {} withheld by --allow", shards.detections_allowed);
    }
    if shards.detections_below_verdict > 0 {
        let withheld = shards.detections_below_verdict;
        text += &format!(", {withheld} below the verdict of --alert");
    }
    text
}

/// Frames of the kernel or of a capture, and losses before the rings.
fn offered(books: &Books, line: &mut impl FnMut(String)) {
    let shards = &books.shards;
    if books.rings.is_empty() {
        line(format!("{} read", many(shards.frames, "frame")));
    } else {
        let packets: u64 = books.rings.iter().map(|ring| ring.tp_packets).sum();
        let drops: u64 = books.rings.iter().map(|ring| ring.tp_drops).sum();
        let shed: u64 = books.rings.iter().map(|ring| ring.shed_data).sum();
        line(format!(
            "{} offered by the kernel: {} read, {drops} dropped by full rings, {shed} shed",
            many(packets, "frame"),
            shards.frames
        ));
        let filtered = match books.filtered {
            Some(0) => String::new(),
            Some(filtered) => format!(", {filtered} rejected by the filter"),
            None => ", rejected by the filter: not counted".to_owned(),
        };
        line(format!(
            "before the rings: {} lost by network cards, {} by the kernel's backlog{filtered}",
            books.host.nic_drops, books.host.softnet_drops
        ));
    }
}

fn verdict(books: &Books, is_whole: bool) -> String {
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
        let what = match books.missed() {
            _ if !is_whole => "all that was read is accounted for".to_owned(),
            0 if !books.complete() => "all that was counted is accounted for".to_owned(),
            0 => "all is accounted for".to_owned(),
            _ => "all is accounted for, with what was missed".to_owned(),
        };
        format!(
            "the books close: {what}; {} identities hold",
            books.identities().len()
        )
    } else {
        format!("THE BOOKS DO NOT CLOSE:\n{}", open.join("\n"))
    }
}

pub(super) fn causes(books: &Books) -> Vec<String> {
    Unread::ALL
        .into_iter()
        .map(|why| (why.word(), books.shards.unread_frames[why.index()]))
        .filter(|(_, count)| *count > 0)
        .map(|(word, count)| format!("{count} {word}"))
        .collect()
}

#[cfg(test)]
mod tests;
