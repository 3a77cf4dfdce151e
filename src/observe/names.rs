//! Every counter that is shown, under one name: `NAME` in EVE's `synledger.books`, `synledger_NAME_total` in
//! the metrics.

use crate::books::Books;
use crate::decode::Unread;
use crate::decode::packet::Reach;
use crate::locality::Direction;
use crate::witness::WitnessCounts;
use crate::witness::excuses::Excuse;
use crate::witness::reports::Fate;

/// A counter, or counters of one name told apart by one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name, without prefix and suffix.
    pub name: &'static str,
    /// What it counts, as a phrase.
    pub help: &'static str,
    /// What tells its counters apart; `None`: there is one.
    pub label: Option<&'static str>,
    /// Values of the label with the counts; one entry with an empty value where there is no label.
    pub counts: Vec<(&'static str, u64)>,
}

/// Every counter of these books that is shown by itself. Rings and outputs, whose labels are not known
/// before the run, are shown by whoever has them.
pub fn families(books: &Books) -> Vec<Family> {
    let single = |(name, help, count)| Family {
        name,
        help,
        label: None,
        counts: vec![("", count)],
    };
    let mut all: Vec<Family> = packets(books).into_iter().map(single).collect();
    all.extend(connections(books).into_iter().map(single));
    all.extend(scans(books).into_iter().map(single));
    if let Some(filtered) = books.filtered {
        let help = "Frames that the filter of --capture control rejected";
        all.push(single(("filtered_frames", help, filtered)));
    }
    if let Some(refused) = books.refused {
        let help = "Data frames that the kernel refused under load, before the copy";
        all.push(single(("shed_in_kernel", help, refused)));
    }
    all.extend(labelled(books));
    all.extend(books.witness.iter().flat_map(witness));
    all
}

/// What another pair of eyes says.
fn witness_singles(counts: &WitnessCounts) -> [Single; 10] {
    [
        ("witness_frames", "Frames of the sample", counts.frames),
        (
            "witness_dropped",
            "Frames for which the witness's ring had no room",
            counts.dropped,
        ),
        (
            "witness_unread",
            "Frames of the sample that are no SYN to the other library",
            counts.unread,
        ),
        (
            "witness_retransmitted",
            "SYNs of the sample of a known attempt",
            counts.retransmitted,
        ),
        ("witness_seen", "Attempts that the witness saw", counts.seen),
        (
            "witness_missing",
            "Attempts that the witness saw and the ledger lacks",
            counts.missing,
        ),
        (
            "witness_told",
            "Attempts of the sample that the ledger has",
            counts.told,
        ),
        (
            "witness_extra",
            "Attempts of the sample that the ledger has and the witness did not see",
            counts.extra,
        ),
        (
            "witness_beyond",
            "Attempts of the sample whose SYN its filter does not reach",
            counts.beyond,
        ),
        (
            "witness_reports_dropped",
            "Attempts of the sample for which a shard's queue to the witness was full",
            counts.reports_dropped,
        ),
    ]
}

fn witness(counts: &WitnessCounts) -> Vec<Family> {
    let single = |(name, help, count)| Family {
        name,
        help,
        label: None,
        counts: vec![("", count)],
    };
    let family = |name, help, label, counts| Family {
        name,
        help,
        label: Some(label),
        counts,
    };
    let excused = |counts: [u64; Excuse::COUNT]| {
        let each = Excuse::ALL.into_iter().zip(counts);
        each.map(|(excuse, count)| (excuse.word(), count)).collect()
    };
    let singles = witness_singles(counts).into_iter();
    let mut all: Vec<Family> = singles.map(single).collect();
    let agreed = Fate::ALL.into_iter().zip(counts.agreed);
    all.push(family(
        "witness_agreed",
        "Attempts that both have",
        "fate",
        agreed.map(|(fate, count)| (fate.word(), count)).collect(),
    ));
    all.push(family(
        "witness_excused",
        "Attempts that the ledger lacks for a reason that the books tell",
        "cause",
        excused(counts.excused),
    ));
    all.push(family(
        "witness_extra_excused",
        "Attempts that the witness lacks for a reason that the books tell",
        "cause",
        excused(counts.extra_excused),
    ));
    all
}

type Single = (&'static str, &'static str, u64);

fn packets(books: &Books) -> [Single; 9] {
    let (shards, flow) = (&books.shards, &books.shards.flow);
    [
        ("frames", "Frames read", shards.frames),
        ("packets", "Frames that could be decoded", shards.packets),
        (
            "misrouted_frames",
            "Frames in another ring than the fanout program chooses",
            shards.misrouted,
        ),
        (
            "late_packets",
            "Packets stamped before the packet time reached so far",
            shards.late,
        ),
        (
            "frames_cut_by_depth",
            "Frames cut by the capture depth before their transport header",
            shards.cut_by_depth,
        ),
        ("icmp_errors", "ICMP errors", flow.icmp_errors),
        (
            "fragments",
            "Later fragments, and first ones too short for a header",
            flow.fragments,
        ),
        (
            "fragment_bytes",
            "Bytes of later fragments, attributed to no flow",
            flow.fragment_bytes,
        ),
        (
            "late_records",
            "Records written behind a later one",
            books.late_records,
        ),
    ]
}

fn connections(books: &Books) -> [Single; 16] {
    let (shards, flow) = (&books.shards, &books.shards.flow);
    [
        ("syn_packets", "SYNs without ACK", flow.syn_packets),
        ("new_connections", "Connection attempts", flow.attempts),
        (
            "syn_retransmitted",
            "SYNs of a known attempt",
            flow.retransmitted,
        ),
        (
            "syn_other_interface",
            "SYNs of an attempt known from another interface",
            flow.other_interface_syns,
        ),
        (
            "connections_not_asked",
            "Attempts in a direction that was not asked for",
            shards.attempts_not_asked,
        ),
        (
            "folded_connections",
            "Attempts that flood records tell of instead of lines of their own",
            books.attempts_folded(),
        ),
        (
            "flood_records",
            "Records of many attempts to one destination",
            books.folds.records,
        ),
        (
            "answered_connections",
            "Attempts with SYN+ACK",
            flow.answered,
        ),
        (
            "established_connections",
            "Attempts whose client proved the handshake",
            flow.established,
        ),
        (
            "refused_connections",
            "Attempts with RST or ICMP unreachable",
            flow.refused,
        ),
        (
            "unanswered_connections",
            "Attempts that nothing answered within 5 s",
            flow.unanswered(),
        ),
        ("flows_opened", "Flows opened", flow.opened),
        (
            "flows_merged",
            "Second attempts of a simultaneous open, merged into the first",
            flow.merged,
        ),
        (
            "midstream_flows",
            "TCP flows first seen without their SYN",
            flow.midstream,
        ),
        (
            "preexisting_flows",
            "Midstream flows that were open at the start",
            flow.preexisting,
        ),
        (
            "preexisting_dropped",
            "Connections open at the start that found no room in their list",
            flow.preexisting_dropped,
        ),
    ]
}

fn scans(books: &Books) -> [Single; 6] {
    let (shards, scan) = (&books.shards, &books.shards.port_scan);
    [
        (
            "detections",
            "Rising edges, doublings and summaries",
            shards.detections,
        ),
        (
            "port_scans_ended",
            "Port scans with their summary",
            scan.ended,
        ),
        (
            "port_scans_without_map",
            "Port scans for which there was no room to keep every port",
            scan.without_map,
        ),
        (
            "contacts_sent",
            "Contacts handed to their owners",
            shards.contacts_sent,
        ),
        (
            "contacts_merged",
            "Contacts that their owners took",
            shards.contacts_merged,
        ),
        (
            "contacts_dropped",
            "Contacts for which an owner's queue had no room",
            shards.contacts_dropped,
        ),
    ]
}

fn labelled(books: &Books) -> [Family; 6] {
    let (shards, flow) = (&books.shards, &books.shards.flow);
    let family = |name, help, label, counts| Family {
        name,
        help,
        label: Some(label),
        counts,
    };
    let unread = Unread::ALL.map(|why| (why.word(), shards.unread[why.index()]));
    let astray = Reach::ALL
        .into_iter()
        .filter(|reach| *reach != Reach::Plain);
    let astray = astray.map(|reach| (reach.word(), shards.syn_outside_class[reach.index()]));
    let scans = Direction::ALL.map(|way| (way.word(), shards.port_scans[way as usize]));
    [
        family(
            "unread_frames",
            "Frames that could not be decoded",
            "cause",
            unread.to_vec(),
        ),
        family(
            "syn_outside_class",
            "SYNs without ACK that came by another class than open",
            "reach",
            astray.collect(),
        ),
        family(
            "flows_closed",
            "Flow records",
            "reason",
            flow.closed_by_reason().collect(),
        ),
        family(
            "port_scans",
            "Port scans: rising edges, alerted on or not",
            "direction",
            scans.to_vec(),
        ),
        family(
            "detections_withheld",
            "Detections that are no alert: not asked for, or of an allowed source",
            "reason",
            vec![
                ("out_of_scope", shards.detections_out_of_scope),
                ("allowed", shards.detections_allowed),
            ],
        ),
        family(
            "missed",
            "Everything lost: frames, contacts, records, what full tables pushed out",
            "cause",
            books.losses().to_vec(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_differ_and_labelled_counts_add_up_to_what_they_are_parts_of() {
        let mut books = Books {
            nic_drops: 9,
            ..Books::default()
        };
        let mut count = 0;
        books.shards.each(&mut |_, counter| {
            count += 1;
            *counter = count;
        });
        books.shards.syn_outside_class[Reach::Plain.index()] = 0;
        let all = families(&books);
        let names: BTreeSet<&str> = all.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), all.len());
        let sum = |name: &str| -> u64 {
            let family = all.iter().find(|family| family.name == name);
            let counts = &family.expect(name).counts;
            let values: BTreeSet<&str> = counts.iter().map(|(value, _)| *value).collect();
            assert_eq!(values.len(), counts.len(), "{name}");
            counts.iter().map(|(_, count)| count).sum()
        };
        let shards = &books.shards;
        assert_eq!(sum("unread_frames"), shards.unread.iter().sum::<u64>());
        assert_eq!(
            sum("syn_outside_class"),
            shards.syn_outside_class.iter().sum::<u64>()
        );
        assert_eq!(sum("port_scans"), shards.port_scans.iter().sum::<u64>());
        assert_eq!(sum("flows_closed"), shards.flow.closed_all());
        assert_eq!(sum("missed"), books.missed());
        let withheld = shards.detections_out_of_scope + shards.detections_allowed;
        assert_eq!(sum("detections_withheld"), withheld);
    }
}
