//! Members of an alert: Suricata's `alert`, and ours under `synledger`.

use super::GID;
use crate::flow::conn::TCP;
use crate::host::services::Services;
use crate::inspect::detection::{Detection, Evidence, Extent, Phase};
use crate::log::formats::append;
use crate::log::formats::stamp::Stamp;
use std::io::Write as _;

/// Services that an alert lists.
const SERVICES_MAX: usize = 8;

/// `,"proto":"TCP","alert":{…}`.
pub(super) fn signature(out: &mut Vec<u8>, detection: &Detection) {
    let about = detection.kind.about();
    let (phase, severity) = match detection.phase {
        Phase::Started => (1, 2),
        Phase::Continues => (2, 2),
        Phase::Ended => (3, 3),
    };
    let (id, category) = (about.signature * 10 + phase, about.category);
    let (title, verb) = (about.title.to_lowercase(), detection.phase.verb());
    let _ = write!(
        out,
        concat!(
            r#","proto":"TCP","alert":{{"action":"allowed","gid":{GID},"signature_id":{id},"rev":1,"#,
            r#""signature":"synledger {title} {verb}","category":"{category}","severity":{severity}}}"#
        ),
        GID = GID,
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
    }
    out.extend_from_slice(b",\"window_s\":");
    window(out, detection.window_ns);
    let (exact, complete) = (detection.exact, detection.complete);
    let _ = write!(out, r#","exact":{exact},"complete":{complete},"first":""#);
    first.append_micros(out, detection.first_ns);
    let Evidence {
        refused,
        unanswered,
        answered,
        pending,
    } = detection.evidence;
    let _ = write!(
        out,
        concat!(
            r#"","evidence":{{"refused":{},"unanswered":{},"answered":{},"pending":{}}},"#,
            r#""proof":"{}"}}"#
        ),
        refused, unanswered, answered, pending, detection.proof
    );
}

/// `,"service":"sshd.service"` of the subject's port, or `,"services":[{"port":22,"service":"sshd.service"}]` of the
/// lowest [`SERVICES_MAX`] touched ports with one; nothing where the target is not this host, or has no service there.
pub(super) fn services(out: &mut Vec<u8>, detection: &Detection, services: &Services) {
    let dst = detection.subject.dst();
    if let Some(port) = detection.subject.port() {
        if let Some(name) = services.service(TCP, dst, port) {
            out.extend_from_slice(b",\"service\":");
            append::json_string(out, &name);
        }
        return;
    }
    let Extent::Ports { ranges, .. } = &detection.extent else {
        return;
    };
    let found = services.services(TCP, dst, ranges, SERVICES_MAX);
    for (i, (port, name)) in found.iter().enumerate() {
        let before = if i == 0 { ",\"services\":[" } else { "," };
        let _ = write!(out, r#"{before}{{"port":{port},"service":"#);
        append::json_string(out, name);
        out.push(b'}');
    }
    if !found.is_empty() {
        out.push(b']');
    }
}

/// Seconds as a JSON number, without decimals if the window is whole.
pub(super) fn window(out: &mut Vec<u8>, window_ns: i64) {
    let _ = write!(out, "{}", window_ns / 1_000_000_000);
    let rest = window_ns.unsigned_abs() % 1_000_000_000;
    if rest > 0 {
        let _ = write!(out, ".{rest:09}");
    }
}
