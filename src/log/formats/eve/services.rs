//! Names of this host's services: `service` of a record's destination, `services` of the ports of a scan.

use super::add_to_ours;
use crate::flow::record::{FiveTuple, proto_word};
use crate::host::services::Services;
use crate::inspect::detection::{Detection, Extent};
use crate::log::formats::append;
use std::io::Write as _;

/// Services that an alert lists.
const SERVICES_MAX: usize = 8;
/// Protocols whose listeners have names: TCP and UDP.
const PROTOCOLS: [u8; 2] = [6, 17];

/// Adds `,"service":"nginx.service"` to a whole record.
#[inline(never)]
pub(super) fn of_destination(out: &mut Vec<u8>, services: &Services, tuple: &FiveTuple) {
    if let Some(name) = services.service(tuple.proto, tuple.dst, tuple.dst_port) {
        add_to_ours(out, |out| {
            out.extend_from_slice(b",\"service\":");
            append::json_string(out, &name);
        });
    }
}

/// Appends `,"service":"sshd.service"` of the subject's port, or `,"services":[{"port":22,"service":"sshd.service"}]` of
/// the lowest [`SERVICES_MAX`] touched ports with one; nothing where the target is not this host, or has no service there.
pub(super) fn of_detection(out: &mut Vec<u8>, services: &Services, detection: &Detection) {
    let word = Some(detection.kind.about().proto);
    let Some(&proto) = PROTOCOLS.iter().find(|&&proto| proto_word(proto) == word) else {
        return;
    };
    let dst = detection.subject.dst();
    if let Some(port) = detection.subject.port() {
        if let Some(name) = services.service(proto, dst, port) {
            out.extend_from_slice(b",\"service\":");
            append::json_string(out, &name);
        }
        return;
    }
    let Extent::Ports { ranges, .. } = &detection.extent else {
        return;
    };
    let found = services.services(proto, dst, ranges, SERVICES_MAX);
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
