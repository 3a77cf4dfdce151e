//! Events from shards to the logger, and their total order.

use super::fold::Fold;
use crate::books::record_kind::EventKind;
use crate::flow::record::{Attempt, FlowRecord};
use crate::inspect::detection::{AlertStatus, Detection};
use std::cmp::Ordering;

/// Content of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "queues are preallocated; attempts and flows must not be boxed"
)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub enum Body {
    /// A new connection attempt.
    NewConnection(Attempt),
    /// A flow ended, or a part of one that goes on.
    Flow(FlowRecord),
    /// A detection; rare, hence boxed.
    Alert(Box<Detection>),
    /// Folded attempts; rare, hence boxed.
    Folded(Box<Fold>),
}

/// Orders events of one position, independent of their shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub enum Step {
    /// A deadline (ns of packet time) that the frame at this position made due.
    Timer(i64),
    /// Made by the frame itself: number within the frame, and time stamp of the frame.
    Frame(u16, i64),
    /// Made by the owner of a contact of the frame: number within the frame, and time stamp of the frame.
    Contact(u16, i64),
    /// Made by the end of the run. `read`: the newest time stamp; live, a time after all others.
    End(i64),
}

impl Step {
    /// The time at which the event became due, ns: packet time in `read`, run time live. In log order it never
    /// decreases while the frames' time stamps do not.
    pub fn due_ns(self) -> i64 {
        match self {
            Self::Timer(ts_ns)
            | Self::Frame(_, ts_ns)
            | Self::Contact(_, ts_ns)
            | Self::End(ts_ns) => ts_ns,
        }
    }

    /// Whether the end of the run made the event.
    pub fn is_end(self) -> bool {
        matches!(self, Self::End(_))
    }
}

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Event {
    /// `read`: the frame's number. Live: the packet's time stamp in ns.
    pub position: u64,
    /// Order within a position.
    pub step: Step,
    /// Its content.
    pub body: Body,
}

impl Body {
    /// The kind of its record.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::NewConnection(_) | Self::Folded(_) => EventKind::Connection,
            Self::Flow(_) => EventKind::Flow,
            Self::Alert(_) => EventKind::Alert,
        }
    }

    /// A detection that is no alert: no output gets it.
    pub fn is_withheld(&self) -> bool {
        matches!(self, Self::Alert(detection) if detection.status != AlertStatus::Alert)
    }

    fn rank(&self) -> u8 {
        match self {
            Self::NewConnection(_) => 0,
            Self::Flow(_) => 1,
            Self::Alert(_) => 2,
            Self::Folded(_) => 3,
        }
    }

    /// Order by content, independent of the number of shards.
    fn cmp_order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::NewConnection(a), Self::NewConnection(b)) => {
                (a.ts_ns, a.tuple, a.isn).cmp(&(b.ts_ns, b.tuple, b.isn))
            }
            (Self::Flow(a), Self::Flow(b)) => flow_order(a).cmp(&flow_order(b)),
            (Self::Alert(a), Self::Alert(b)) => a.order().cmp(&b.order()),
            (Self::Folded(a), Self::Folded(b)) => a.order().cmp(&b.order()),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// The order in which shards end flows, made total. Of an attempt and a flow without one that are equal up to there, the
/// attempt comes first, as where a sweep ends both.
fn flow_order(flow: &FlowRecord) -> impl Ord {
    let key = (flow.tuple, flow.id, flow.joined);
    let content = (flow.start_ns, key, flow.isn);
    (content, flow.midstream, flow.reason, flow.end_ns, flow.part)
}

impl Event {
    /// The time that its record carries: a flow's is that of its last packet.
    pub fn ts_ns(&self) -> i64 {
        match &self.body {
            Body::NewConnection(attempt) => attempt.ts_ns,
            Body::Flow(flow) => flow.end_ns,
            Body::Alert(detection) => detection.ts_ns,
            Body::Folded(fold) => fold.last_ns,
        }
    }

    /// Shifts every time of the record, from run time to the wall clock.
    pub fn shift(&mut self, by_ns: i64) {
        let shift = |ts_ns: &mut i64| *ts_ns = ts_ns.saturating_add(by_ns);
        match &mut self.body {
            Body::NewConnection(attempt) => shift(&mut attempt.ts_ns),
            Body::Flow(flow) => {
                shift(&mut flow.start_ns);
                shift(&mut flow.since_ns);
                shift(&mut flow.end_ns);
            }
            Body::Alert(detection) => {
                shift(&mut detection.ts_ns);
                shift(&mut detection.first_ns);
                shift(&mut detection.last_ns);
            }
            Body::Folded(fold) => {
                shift(&mut fold.first_ns);
                shift(&mut fold.last_ns);
            }
        }
    }

    /// The log's order: position, step, then content.
    pub fn cmp_order(&self, other: &Self) -> Ordering {
        (self.position, self.step)
            .cmp(&(other.position, other.step))
            .then_with(|| self.body.cmp_order(&other.body))
    }
}
