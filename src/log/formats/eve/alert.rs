//! Members of an alert: Suricata's `alert`, and ours under `synledger`.

use super::GID;
use crate::inspect::detection::{
    Crowd, Detection, Evidence, Extent, Phase, Technique, TopSource, Verdict,
};
use crate::inspect::verdict;
use crate::log::formats::append;
use crate::log::formats::stamp::Stamp;
use std::io::Write as _;

/// 1, the most severe, to 3.
pub(crate) fn severity(detection: &Detection) -> u8 {
    match (detection.verdict, detection.phase) {
        (Some(Verdict::Scan) | None, Phase::Started | Phase::Continues) => 1,
        (Some(Verdict::Unproven), _) | (_, Phase::Ended) => 3,
        _ => 2,
    }
}

/// The members of `synledger` as an object of their own, instead of what `out` has.
pub(crate) fn evidence_of(out: &mut Vec<u8>, detection: &Detection, first: &mut Stamp) {
    const NAME: &[u8] = b",\"synledger\":";
    out.clear();
    scan(out, detection, first);
    out.push(b'}');
    out.drain(..NAME.len());
}

/// `,"proto":"TCP","alert":{…}`.
pub(super) fn signature(out: &mut Vec<u8>, detection: &Detection) {
    let about = detection.kind.about();
    let phase = 1 + detection.phase as u32;
    let severity = severity(detection);
    let (id, category) = (about.signature * 10 + phase, about.category);
    let (title, verb) = (about.title.to_lowercase(), detection.phase.verb());
    let _ = write!(
        out,
        concat!(
            r#","proto":"{proto}","alert":{{"action":"allowed","gid":{GID},"signature_id":{id},"rev":1,"#,
            r#""signature":"synledger {title} {verb}","category":"{category}","severity":{severity}}}"#
        ),
        GID = GID,
        proto = about.proto,
        id = id,
        title = title,
        verb = verb,
        category = category,
        severity = severity,
    );
}

/// `,"synledger":{"scan":{…}`, still open.
pub(super) fn scan(out: &mut Vec<u8>, detection: &Detection, first: &mut Stamp) {
    let (kind, phase) = (detection.kind, detection.phase);
    let _ = write!(
        out,
        r#","synledger":{{"scan":{{"kind":"{kind}","phase":"{phase}""#
    );
    if let Some(prefix) = detection.src_prefix {
        let _ = write!(out, r#","src_prefix":{prefix}"#);
    }
    match &detection.extent {
        Extent::Ports { count, ranges } => {
            let _ = write!(out, r#","ports":{count},"hosts":1,"port_list":""#);
            let listed = append::ranges(out, ranges);
            let more = u64::from(*count).saturating_sub(listed);
            let _ = write!(out, r#"","ports_not_listed":{more}"#);
        }
        Extent::Hosts { count } => {
            let _ = write!(out, r#","ports":1,"hosts":{count}"#);
        }
        Extent::Places { count } => {
            let _ = write!(out, r#","places":{count}"#);
        }
        Extent::Packets { count, peak } => {
            let _ = write!(out, r#","packets":{count},"peak":{peak}"#);
        }
    }
    out.extend_from_slice(b",\"window_s\":");
    append::window(out, detection.window_ns);
    let (exact, complete) = (detection.exact, detection.complete);
    let _ = write!(out, r#","exact":{exact},"complete":{complete},"first":""#);
    first.append_micros(out, detection.first_ns);
    out.push(b'"');
    if let Some(verdict) = detection.verdict {
        let _ = write!(out, r#","verdict":"{verdict}""#);
        evidence(out, detection);
    }
    if let Some(crowd) = &detection.crowd {
        many_sources(out, detection, crowd);
    }
    out.push(b'}');
}

/// `,"evidence":{…},"proof":"…"`.
fn evidence(out: &mut Vec<u8>, detection: &Detection) {
    let Evidence {
        refused,
        unanswered,
        answered,
        pending,
        ..
    } = detection.evidence;
    let _ = write!(
        out,
        r#","evidence":{{"refused":{refused},"unanswered":{unanswered},"answered":{answered},"pending":{pending}"#,
    );
    let _ = write!(out, r#","score":{}"#, verdict::score(&detection.evidence));
    if detection.subject.src().is_some() {
        let of = &detection.source;
        let (places, answered) = (of.places, of.answered);
        let _ = write!(
            out,
            r#","source":{{"places":{places},"answered":{answered}"#
        );
        let (half_open, dark, friendly) = (of.half_open, of.dark, of.friendly);
        let _ = write!(
            out,
            r#","half_open":{half_open},"dark":{dark},"friendly":{friendly},"techniques":["#
        );
        for (at, technique) in Technique::in_bits(of.techniques).enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(out, r#"{comma}"{technique}""#);
        }
        out.extend_from_slice(b"]}");
    }
    let _ = write!(out, r#"}},"proof":"{}""#, detection.proof);
}

/// `,"sources":…,"completed":…,"top_sources":[…]`.
fn many_sources(out: &mut Vec<u8>, detection: &Detection, crowd: &Crowd) {
    let _ = write!(out, r#","sources":{}"#, crowd.sources);
    if !matches!(detection.extent, Extent::Packets { .. }) {
        return;
    }
    if let Some(completed) = crowd.completed {
        let _ = write!(out, r#","completed":{completed}"#);
    }
    out.extend_from_slice(b",\"top_sources\":[");
    for (at, one) in crowd.top.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let TopSource {
            addr,
            packets,
            error,
        } = one;
        let _ = write!(
            out,
            r#"{comma}{{"src_ip":"{addr}","packets":{packets},"error":{error}}}"#
        );
    }
    out.push(b']');
}
