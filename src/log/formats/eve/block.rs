//! Members of a record about a block: `src_ip` where it is of one address, all else ours.

use crate::log::block_record::{BlockRecord, Cause, Outcome, Why};
use crate::log::formats::append;
use crate::log::formats::stamp::Stamp;
use ipnet::IpNet;
use std::io::Write as _;

/// `,"event_type":"block","src_ip":"…","synledger":{"block":{…}}`.
pub(super) fn members(out: &mut Vec<u8>, record: &BlockRecord, stamp: &mut Stamp) {
    out.extend_from_slice(b",\"event_type\":\"block\"");
    let net: IpNet = record.net;
    let detected = match &record.why {
        Why::Detection(cause) => cause.src,
        _ => None,
    };
    let is_host = net.prefix_len() == net.max_prefix_len();
    if let Some(src) = detected.or(is_host.then(|| net.addr())) {
        let _ = write!(out, r#","src_ip":"{src}""#);
    }
    let (mode, dry_run) = (record.mode, record.dry_run);
    let _ = write!(
        out,
        r#","synledger":{{"block":{{"net":"{net}","mode":"{mode}","dry_run":{dry_run}"#
    );
    outcome(out, &record.outcome, stamp);
    why(out, &record.why);
    out.extend_from_slice(b"}}");
}

fn outcome(out: &mut Vec<u8>, outcome: &Outcome, stamp: &mut Stamp) {
    let _ = match *outcome {
        Outcome::Blocked {
            for_s,
            until_ns,
            nth,
            delay_us,
            renewed,
        } => {
            let _ = write!(out, r#","action":"blocked","for_s":{for_s},"until":""#);
            stamp.append_micros(out, until_ns);
            let _ = write!(out, r#"","renewed":{renewed}"#);
            if nth > 0 {
                let _ = write!(out, r#","nth":{nth}"#);
            }
            match delay_us {
                Some(delay_us) => write!(out, r#","delay_us":{delay_us}"#),
                None => Ok(()),
            }
        }
        Outcome::Refused { reason, errno } => {
            let _ = write!(out, r#","action":"refused","reason":"{reason}""#);
            match errno {
                Some(errno) => write!(out, r#","errno":{errno}"#),
                None => Ok(()),
            }
        }
        Outcome::Ended {
            cause,
            since_ns,
            dropped,
        } => {
            let _ = write!(out, r#","action":"ended","cause":"{cause}","since":""#);
            stamp.append_micros(out, since_ns);
            out.push(b'"');
            match dropped {
                Some((packets, bytes)) => {
                    write!(
                        out,
                        r#","dropped_packets":{packets},"dropped_bytes":{bytes}"#
                    )
                }
                None => Ok(()),
            }
        }
    };
}

fn why(out: &mut Vec<u8>, why: &Why) {
    let _ = write!(out, r#","why":"{}""#, why.word());
    match why {
        Why::Detection(cause) => evidence(out, cause),
        Why::Hand(words) => {
            out.extend_from_slice(b",\"words\":");
            append::json_string(out, words);
        }
        Why::Import(name) => {
            out.extend_from_slice(b",\"import\":");
            append::json_string(out, name);
        }
        Why::Found => {}
    }
}

fn evidence(out: &mut Vec<u8>, cause: &Cause) {
    let (kind, dst, count, proof) = (cause.kind, cause.dst, cause.count, cause.proof);
    let _ = write!(
        out,
        r#","kind":"{kind}","dest_ip":"{dst}","count":{count},"proof":"{proof}""#
    );
    if let Some(verdict) = cause.verdict {
        let _ = write!(out, r#","verdict":"{verdict}""#);
    }
    let of = &cause.evidence;
    let (refused, unanswered, answered) = (of.refused, of.unanswered, of.answered);
    let _ = write!(
        out,
        r#","evidence":{{"refused":{refused},"unanswered":{unanswered},"answered":{answered},"pending":{}}}"#,
        of.pending
    );
}
