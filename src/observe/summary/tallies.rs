//! What a report counts of each event at the log's tap, in fixed memory.

use super::bins::Bins;
use super::reach::{Pool, Reach};
use super::scans::Scans;
use super::top::Top;
use crate::flow::record::{Basis, EndReason, FlowRecord};
use crate::log::event::Body;
use crate::log::tap::TapEvent;
use std::net::IpAddr;
use std::ops::AddAssign;

/// Sources, and destinations with their ports, that are counted at once.
const SOURCES_MAX: usize = 8192;
const DESTINATIONS_MAX: usize = 8192;

/// IP protocol number.
const TCP: u8 = 6;

words! {
    /// What came of an attempt, as the first record of its flow has it.
    pub enum AttemptOutcome {
        /// The client proved the handshake.
        Established = "established",
        /// The server answered; the client proved nothing.
        Answered = "answered",
        /// RST or ICMP unreachable.
        Refused = "refused",
        /// No answer within 5 s.
        Unanswered = "unanswered",
        /// Without an answer when the captures ended, or evicted from a full table before that.
        Undecided = "undecided",
    }
}

impl AttemptOutcome {
    /// `None`: the record is of no attempt, or of one that has an older record.
    fn of(flow: &FlowRecord) -> Option<Self> {
        if flow.tuple.proto != TCP || flow.midstream || flow.reopened {
            return None;
        }
        Some(match (flow.basis, flow.reason) {
            (Basis::Handshake, _) => Self::Established,
            (Basis::Synack | Basis::Data, _) => Self::Answered,
            (Basis::None, EndReason::Refused) => Self::Refused,
            (Basis::None, EndReason::Unanswered) => Self::Unanswered,
            (Basis::None, _) => Self::Undecided,
        })
    }
}

/// Attempts by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutcomeCounts(pub [u64; AttemptOutcome::COUNT]);

impl OutcomeCounts {
    /// All attempts.
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Attempts with this outcome.
    pub fn of(&self, outcome: AttemptOutcome) -> u64 {
        self.0[outcome.index()]
    }

    fn add(&mut self, outcome: AttemptOutcome) {
        self.0[outcome.index()] += 1;
    }
}

impl AddAssign<&Self> for OutcomeCounts {
    fn add_assign(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }
}

/// The attempts of a source.
#[derive(Debug, Default)]
pub struct SourceTally {
    pub outcomes: OutcomeCounts,
    pub reach: Reach,
}

/// An address and a port.
pub type Endpoint = (IpAddr, u16);

/// Everything that a report counts.
#[derive(Debug)]
pub struct Tallies {
    pub attempts: OutcomeCounts,
    pub over_time: Bins<OutcomeCounts>,
    pub sources: Top<IpAddr, SourceTally>,
    pub destinations: Top<Endpoint, OutcomeCounts>,
    pub scans: Scans,
    pool: Pool,
}

impl Default for Tallies {
    fn default() -> Self {
        Self {
            attempts: OutcomeCounts::default(),
            over_time: Bins::default(),
            sources: Top::new(SOURCES_MAX),
            destinations: Top::new(DESTINATIONS_MAX),
            scans: Scans::default(),
            pool: Pool::default(),
        }
    }
}

impl Tallies {
    /// Maximum memory.
    pub fn memory_bytes() -> u64 {
        Top::<IpAddr, SourceTally>::memory_bytes(SOURCES_MAX)
            + Pool::memory_bytes(SOURCES_MAX)
            + Top::<Endpoint, OutcomeCounts>::memory_bytes(DESTINATIONS_MAX)
            + Scans::memory_bytes()
    }

    /// Counts an event.
    pub fn on_event(
        &mut self,
        TapEvent {
            event, shift_ns, ..
        }: TapEvent<'_>,
    ) {
        match &event.body {
            // The record of the whole flow comes as well.
            Body::Flow(flow) if flow.is_part() => {}
            Body::Flow(flow) => self.on_flow(flow, shift_ns),
            Body::Alert(detection) => self.scans.on_detection(detection, shift_ns),
            // The record of an attempt's flow has its outcome, too. In `read` the logger folds behind the tap.
            Body::NewConnection(_) | Body::Folded(_) => {}
        }
    }

    fn on_flow(&mut self, flow: &FlowRecord, shift_ns: i64) {
        let Some(outcome) = AttemptOutcome::of(flow) else {
            return;
        };
        let tuple = &flow.tuple;
        self.attempts.add(outcome);
        let start_ns = flow.start_ns.saturating_add(shift_ns);
        self.over_time.at(start_ns).add(outcome);
        let (source, displaced) = self.sources.add(tuple.src);
        source.outcomes.add(outcome);
        source.reach.add(tuple.dst, tuple.dst_port, &mut self.pool);
        if let Some(SourceTally { reach, .. }) = displaced {
            self.pool.give_back(&reach);
        }
        let (destination, _) = self.destinations.add((tuple.dst, tuple.dst_port));
        destination.add(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::formats::samples;

    #[test]
    fn an_attempt_counts_once_with_what_first_came_of_it() {
        let flow = samples::flow_record();
        let with = |basis, reason| FlowRecord {
            basis,
            reason,
            ..flow
        };
        for (basis, reason, outcome) in [
            (
                Basis::Handshake,
                EndReason::Eof,
                AttemptOutcome::Established,
            ),
            (Basis::Synack, EndReason::Rst, AttemptOutcome::Answered),
            (Basis::Data, EndReason::Timeout, AttemptOutcome::Answered),
            (Basis::None, EndReason::Refused, AttemptOutcome::Refused),
            (
                Basis::None,
                EndReason::Unanswered,
                AttemptOutcome::Unanswered,
            ),
            (Basis::None, EndReason::Evicted, AttemptOutcome::Undecided),
            (Basis::None, EndReason::Eof, AttemptOutcome::Undecided),
        ] {
            let record = with(basis, reason);
            assert_eq!(
                AttemptOutcome::of(&record),
                Some(outcome),
                "{basis} {reason}"
            );
            let reopened = FlowRecord {
                reopened: true,
                ..record
            };
            assert_eq!(AttemptOutcome::of(&reopened), None);
        }
        let mut udp = flow;
        udp.tuple.proto = 17;
        let midstream = FlowRecord {
            midstream: true,
            ..flow
        };
        assert_eq!(
            [udp, midstream].map(|it| AttemptOutcome::of(&it)),
            [None; 2]
        );
    }
}
