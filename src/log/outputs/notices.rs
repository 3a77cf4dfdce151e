//! Records about the outputs themselves.

use crate::books::record_kind::EventKind;
use crate::log::formats::stamp::Stamp;
use crate::log::notice::Notice;
use crate::log::sinks::recovery::Recovery;
use serde_json::{Map, Value};

/// A record that an earlier run left without its end.
pub(super) fn torn_notice(output: usize, bytes: u64, now_ns: i64) -> Notice {
    let output = output + 1;
    Notice::Lifecycle {
        ts_ns: now_ns,
        word: "torn_record",
        text: format!(
            "output {output}: the last record of an earlier run was not whole; its {bytes} bytes were cut off"
        ),
        details: vec![
            ("output".into(), Value::from(output)),
            ("bytes".into(), Value::from(bytes)),
        ],
    }
}

/// A file that could not be rotated, compressed or removed.
pub(super) fn rotation_notice(text: String, now_ns: i64) -> Notice {
    Notice::Lifecycle {
        ts_ns: now_ns,
        word: "rotation_failed",
        text,
        details: Vec::new(),
    }
}

/// Records lost by one output, or in the queues before all of them.
pub(super) fn recovery_notice(output: Option<usize>, recovery: &Recovery, now_ns: i64) -> Notice {
    let mut lost = Map::new();
    let mut words = Vec::new();
    for kind in EventKind::ALL {
        let count = recovery.lost[kind as usize];
        if count > 0 {
            words.push(format!("{count} {}", kind.word()));
            lost.insert(kind.word().into(), count.into());
        }
    }
    let mut since = Vec::new();
    Stamp::spaced().append_seconds(&mut since, recovery.since_ns);
    let since = String::from_utf8_lossy(&since).into_owned();
    let (cause, words) = (recovery.cause.word(), words.join(", "));
    let who = output.map_or("full queues".into(), |at| format!("output {}", at + 1));
    let mut details = vec![
        ("cause".into(), Value::from(cause)),
        ("lost".into(), Value::Object(lost)),
        ("since_ns".into(), Value::from(recovery.since_ns)),
    ];
    details.extend(output.map(|at| ("output".into(), Value::from(at + 1))));
    Notice::Lifecycle {
        ts_ns: now_ns,
        word: "output_recovered",
        text: format!("{who} lost {words} since {since} ({cause})"),
        details,
    }
}
