//! Every counter of the detectors, with the identities that it is a part of.

use synledger::inspect::contact::Owner;
use synledger::inspect::detection::Kind;

pub const GATE: &str = "contacts_merged of the source = sources_held_back + sources_passed";
const PASSED: &str = "_unheard = sources_passed";
pub const TO_TARGETS: &str = "_unheard = contacts_merged of the target";
const PHASES: &str = "detections = started + continued + ended of all kinds";

/// Counters of one detector, and whether each is of contacts, of rising edges, of other detections, or of none.
const COUNTERS: [(&str, char); 10] = [
    ("touches", 'c'),
    ("outcomes", 'c'),
    ("unheard", 'c'),
    ("started", 's'),
    ("continued", 'd'),
    ("ended", 'd'),
    ("subjects_evicted", '-'),
    ("subjects_forgotten", '-'),
    ("episodes_evicted", '-'),
    ("without_list", '-'),
];

/// Whose contacts each kind gets.
pub fn owner(kind: Kind) -> Owner {
    match kind {
        Kind::PortScan | Kind::HostSweep | Kind::StealthScan | Kind::UdpScan | Kind::SlowScan => {
            Owner::Source
        }
        _ => Owner::Target,
    }
}

/// Name of each counter, and parts of the names of its identities.
pub fn table() -> Vec<(String, Vec<String>)> {
    let mut table: Vec<(String, Vec<String>)> = [
        ("sources_held_back", &[GATE][..]),
        ("sources_passed", &[GATE, PASSED]),
        ("sources_networks_held_back", &[]),
        ("sources_networks_passed", &[PASSED]),
        ("sources_new", &[]),
        ("sources_evicted", &[]),
        ("sources_forgotten", &[]),
    ]
    .map(|(name, parts)| {
        (
            name.to_owned(),
            parts.iter().map(ToString::to_string).collect(),
        )
    })
    .to_vec();
    for kind in Kind::ALL {
        let word = kind.word();
        let scans = format!("{word}_started = scans");
        table.push((format!("scans {word}"), vec![scans.clone()]));
        for (counter, of) in COUNTERS {
            let parts = match of {
                'c' => vec![format!(
                    "{word}_touches + {word}_outcomes + {word}_unheard = "
                )],
                's' => vec![PHASES.to_owned(), scans.clone()],
                'd' => vec![PHASES.to_owned()],
                _ => Vec::new(),
            };
            table.push((format!("{word}_{counter}"), parts));
        }
    }
    table
}
