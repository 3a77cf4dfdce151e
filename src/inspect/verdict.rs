//! What a detection is worth: whether it was a scan.
//!
//! The asked rule fires on what it counts, and says nothing about intent: a client that opens four services of a server
//! fulfils it, too. The verdict beside it follows from outcomes. Each place that fails is four times as likely with a
//! scanner as with a benign source, each that answers four times less (success rates of 0.2 and 0.8), so that the
//! likelihood ratio is 4^(failed − answered): four failures decide at 1 % of errors. Source: Jung, Paxson, Berger,
//! Balakrishnan, "Fast Portscan Detection Using Sequential Hypothesis Testing", IEEE S&P 2004.

use super::detection::{Evidence, SourceEvidence, Technique, Verdict};
use super::detector::Judge;

/// ln 99 / ln 4, rounded up: failures without an answer that decide at 1 % of errors of both kinds.
const DECIDES: i64 = 4;
/// A benign source answers in four cases of five, a scanner's places fail as often.
const RATIO: u32 = 4;
/// Dark addresses that decide, as in Zeek's simple-scan.
const DARK: u32 = 3;
/// Ports of one destination that are more than what remains of connections.
const REMAINS: u64 = 10;
/// Half-open probes that are suspicious: load balancers make such checks, too.
const HALF_OPEN: u32 = 3;

/// Failures less answers: the logarithm of the likelihood ratio in units of ln 4.
pub fn score(evidence: &Evidence) -> i64 {
    i64::from(evidence.refused) + i64::from(evidence.unanswered) - i64::from(evidence.answered)
}

/// The verdict over a rule that counts failures and touches of a source.
fn of_outcomes(evidence: &Evidence, source: &SourceEvidence) -> Verdict {
    let failed = evidence.refused + evidence.unanswered;
    let score = score(evidence);
    // Nearly everything fails here, and with all else that the source did within the last half hour, too: a monitor
    // of forty hosts is no scanner of the one that is down.
    let fails = |failed: u32, answered: u32| failed >= RATIO.saturating_mul(answered);
    let fails_everywhere = fails(
        source.places.saturating_sub(source.answered),
        source.answered,
    );
    let is_scan = score >= DECIDES && fails(failed, evidence.answered) && fails_everywhere;
    if is_scan || source.dark >= DARK {
        Verdict::Scan
    } else if score >= DECIDES / 2 || source.dark > 0 || source.half_open >= HALF_OPEN {
        Verdict::Suspicious
    } else {
        Verdict::Unproven
    }
}

/// The verdict over probes of so many ports.
fn of_techniques(ports: u64, source: &SourceEvidence) -> Verdict {
    // No stack sends such segments. ACK and FIN+ACK outside a connection may be what is left of one.
    match Technique::any_certain(source.techniques) || ports >= REMAINS {
        true => Verdict::Scan,
        false => Verdict::Suspicious,
    }
}

/// The verdict over so many ports or hosts; `None`: the kind has none.
pub fn verdict(
    (judge, ports): (Judge, u64),
    evidence: &Evidence,
    source: &SourceEvidence,
) -> Option<Verdict> {
    let verdict = match judge {
        Judge::Nobody => return None,
        // Closed ports that many sources share. Each may be forged.
        Judge::Crowd => Verdict::Suspicious,
        Judge::Outcomes => of_outcomes(evidence, source),
        Judge::Techniques => of_techniques(ports, source),
    };
    // Whom the target contacted first, may call back: one level less. It is no excuse for everything.
    let excused = match verdict {
        Verdict::Scan => Verdict::Suspicious,
        _ => Verdict::Unproven,
    };
    let is_certain = judge == Judge::Techniques && Technique::any_certain(source.techniques);
    let is_excused = source.friendly && !is_certain && source.dark < DARK;
    Some(if is_excused { excused } else { verdict })
}

#[cfg(test)]
mod tests;
