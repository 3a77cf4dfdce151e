//! What an alert says of a detection: Suricata's `alert`, and ours under `synledger`.

use super::{GID, flag, number, word};
use crate::inspect::detection::{Detection, Extent, Phase};
use crate::log::formats::append;
use crate::log::formats::stamp::Stamp;

/// `,"proto":"TCP","alert":{…}`.
pub(super) fn signature(out: &mut Vec<u8>, detection: &Detection) {
    let about = detection.kind.about();
    let number_of_phase = match detection.phase {
        Phase::Started => 1,
        Phase::Continues => 2,
        Phase::Ended => 3,
    };
    let verb = detection.phase.verb();
    word(out, "proto", "TCP");
    out.extend_from_slice(b",\"alert\":{\"action\":\"allowed\"");
    number(out, "gid", u64::from(GID));
    let id = about.signature * 10 + number_of_phase;
    number(out, "signature_id", u64::from(id));
    number(out, "rev", 1);
    let text = format!("synledger {} {verb}", about.title.to_lowercase());
    out.extend_from_slice(b",\"signature\":");
    append::json_string(out, &text);
    word(out, "category", about.category);
    let severity = match detection.phase {
        Phase::Ended => 3,
        Phase::Started | Phase::Continues => 2,
    };
    number(out, "severity", severity);
    out.push(b'}');
}

/// `,"synledger":{"scan":{…}}`; `first` remembers the last second.
pub(super) fn scan(out: &mut Vec<u8>, detection: &Detection, first: &mut Stamp) {
    out.extend_from_slice(b",\"synledger\":{\"scan\":{\"kind\":");
    append::json_string(out, detection.kind.word());
    word(out, "phase", detection.phase.word());
    match &detection.extent {
        Extent::Ports { count, ranges } => {
            number(out, "ports", u64::from(*count));
            number(out, "hosts", 1);
            out.extend_from_slice(b",\"port_list\":\"");
            let listed = append::ranges(out, ranges);
            out.push(b'"');
            let more = u64::from(*count).saturating_sub(listed);
            number(out, "ports_not_listed", more);
        }
        Extent::Hosts { count } => {
            number(out, "ports", 1);
            number(out, "hosts", u64::from(*count));
        }
    }
    out.extend_from_slice(b",\"window_s\":");
    window(out, detection.window_ns);
    flag(out, "exact", detection.exact);
    flag(out, "complete", detection.complete);
    out.extend_from_slice(b",\"first\":\"");
    first.append_micros(out, detection.first_ns);
    out.extend_from_slice(b"\",\"evidence\":{\"refused\":");
    let evidence = &detection.evidence;
    append::int(out, evidence.refused);
    number(out, "unanswered", u64::from(evidence.unanswered));
    number(out, "answered", u64::from(evidence.answered));
    number(out, "pending", u64::from(evidence.pending));
    out.push(b'}');
    word(out, "proof", detection.proof.word());
    out.extend_from_slice(b"}}");
}

/// Seconds as a JSON number, without decimals where the window is whole.
pub(super) fn window(out: &mut Vec<u8>, window_ns: i64) {
    append::int(out, window_ns / 1_000_000_000);
    let rest = window_ns.unsigned_abs() % 1_000_000_000;
    if rest > 0 {
        out.push(b'.');
        append::padded(out, rest, 9);
    }
}
