//! What a detection is worth: whether it was a scan.
//!
//! The asked rule fires on what it counts, and says nothing about intent: a client that opens four services of a server
//! fulfils it, too. The verdict beside it follows from outcomes. Each place that fails is four times as likely with a
//! scanner as with a benign source, each that answers four times less (success rates of 0.2 and 0.8), so that the
//! likelihood ratio is 4^(failed − answered): four failures decide at 1 % of errors. Source: Jung, Paxson, Berger,
//! Balakrishnan, "Fast Portscan Detection Using Sequential Hypothesis Testing", IEEE S&P 2004.
//!
//! The test takes failures for independent. The silence of many hosts is, and so are refusals: somebody is there, and
//! says no to each. Silent ports of one host that answers nothing at all are not: it may be down, and then all its
//! services fail at once, for its honest clients, too. Such silence is suspicious, and a scan from ten ports on: few
//! clients use as many services of a host.
//!
//! UDP ports of traceroute are not meant to answer: their failures do not count.

use super::detection::{Evidence, Extent, SourceEvidence, Technique, Verdict};
use super::detector::Judge;

/// ln 99 / ln 4, rounded up: failures without an answer that decide at 1 % of errors of both kinds.
const DECIDES: i64 = 4;
/// A benign source answers in four cases of five, a scanner's places fail as often.
const RATIO: u32 = 4;
/// Dark addresses that decide, as in Zeek's simple-scan.
const DARK: u32 = 3;
/// Ports of one destination that are more than what remains of connections.
const REMAINS: u64 = 10;
/// Silent ports that are more than the services of one host that clients of it miss while it is down.
const SERVICES: u32 = 10;
/// Half-open probes that are suspicious: load balancers make such checks, too.
const HALF_OPEN: u32 = 3;

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What the kind of detection says about its source.
    pub judge: Judge,
    /// Ports, hosts or places.
    pub extent: &'a Extent,
    /// Every port or host is known: else the evidence is about some of them.
    pub is_whole: bool,
    /// What became of them.
    pub evidence: &'a Evidence,
    /// What else the source did.
    pub source: &'a SourceEvidence,
}

impl Case<'_> {
    /// Whether all that is known may come from one host that is down.
    fn may_be_down(&self) -> bool {
        let Evidence {
            refused, answered, ..
        } = *self.evidence;
        let is_one_host = matches!(self.extent, Extent::Ports { .. });
        let silent = match self.is_whole {
            true => failed(self.evidence),
            // How many there are, is not known: a third of what failed anywhere stands for them.
            false => failed(self.evidence).max(self.source.failed() / 3),
        };
        is_one_host && refused == 0 && answered == 0 && silent < SERVICES
    }
}

/// Failures that accuse.
fn failed(evidence: &Evidence) -> u32 {
    (evidence.refused + evidence.unanswered).saturating_sub(evidence.spared)
}

/// Failures that accuse less answers: the logarithm of the likelihood ratio in units of ln 4.
pub fn score(evidence: &Evidence) -> i64 {
    i64::from(failed(evidence)) - i64::from(evidence.answered)
}

/// The verdict over a rule that counts failures and touches of a source.
fn of_outcomes(case: &Case<'_>) -> Verdict {
    let Case {
        evidence, source, ..
    } = case;
    let score = score(evidence);
    // Nearly everything fails here, and with all else that the source did within the last half hour, too: a monitor
    // of forty hosts is no scanner of the one that is down.
    let fails = |failed: u32, answered: u32| failed >= RATIO.saturating_mul(answered);
    let fails_everywhere = fails(source.failed(), source.answered);
    let is_sure =
        score >= DECIDES && fails(failed(evidence), evidence.answered) && fails_everywhere;
    if is_sure && !case.may_be_down() || source.dark >= DARK {
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

/// The verdict; `None`: the kind has none.
pub fn verdict(case: &Case<'_>) -> Option<Verdict> {
    let Case { judge, source, .. } = *case;
    let verdict = match judge {
        Judge::Nobody => return None,
        // Closed ports that many sources share. Each may be forged.
        Judge::Crowd => Verdict::Suspicious,
        Judge::Outcomes => of_outcomes(case),
        Judge::Techniques => of_techniques(case.extent.count(), source),
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
