//! Parts of flows that last (`--active-timeout`): what their interim records have reported.
//!
//! The tables go on counting the whole flow. Beside them lies what was reported so far, and a record of a part has the
//! difference: so nothing is counted twice, and whoever decides by volumes sees whole flows. A record is due at the
//! start of a slot of the timer wheel. All packets from then on belong to the next part: in `read` the first packet of
//! a slot is preceded by a sweep.

use super::Conn;
use crate::flow::record::{EndReason, FlowRecord, Volume};
use crate::flow::table::prefault;
use crate::flow::table::timers::{slot_of, slot_start};
use crate::snapshot::snapshot;
use crate::sys::huge_pages::with_room;

/// The records of one flow so far.
#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Reported {
    /// When the next one is due.
    due_ns: i64,
    since_ns: i64,
    records: u16,
    orig: Volume,
    resp: Volume,
}

/// The parts of all flows of a table.
pub struct Parts {
    /// `--active-timeout`; `None`: off.
    every_ns: Option<i64>,
    /// By position in the table; empty if the table was made without parts.
    reported: Vec<Reported>,
}

snapshot! {
    [] Parts;
    lists: reported;
    fixed: every_ns;
}

/// The start of the first slot that begins at or after a time.
fn slot_from(time_ns: i64) -> i64 {
    slot_start(slot_of(time_ns.saturating_sub(1)).saturating_add(1))
}

impl Parts {
    pub const BYTES: usize = size_of::<Reported>();

    /// Reserves all memory for `capacity` flows; 0: there are no parts.
    pub fn new(capacity: usize) -> Self {
        Self {
            every_ns: None,
            reported: with_room(capacity),
        }
    }

    /// Turns interim records on. Before the first flow.
    pub fn set_every(&mut self, every_ns: i64) {
        self.every_ns = Some(every_ns);
    }

    pub fn prefault(&mut self, capacity: usize) {
        if self.every_ns.is_some() {
            prefault(&mut self.reported, capacity, Reported::default());
        }
    }

    /// Whether flows have parts.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.every_ns.is_some()
    }

    /// When the first record of a flow is due that comes into the table at `watermark_ns`.
    pub fn first_due(&self, watermark_ns: i64) -> i64 {
        match self.every_ns {
            Some(every_ns) => slot_from(watermark_ns.saturating_add(every_ns)),
            None => i64::MAX,
        }
    }

    /// Begins the first part of a flow that is new in the table.
    pub fn begin(&mut self, at: u32, start_ns: i64, due_ns: i64) {
        if !self.is_on() {
            return;
        }
        let one = Reported {
            due_ns,
            since_ns: start_ns,
            ..Reported::default()
        };
        match self.reported.get_mut(at as usize) {
            Some(place) => *place = one,
            None => self.reported.push(one),
        }
    }

    /// When the next record is due.
    pub fn due(&self, at: u32) -> i64 {
        match self.every_ns {
            Some(_) => self.reported[at as usize].due_ns,
            None => i64::MAX,
        }
    }

    /// When the timer of a flow is due that ends at `end_ns` without another packet. One that ends in the slot of its
    /// next interim record needs none: entries of a slot are sorted once.
    #[inline]
    pub fn timer(&self, at: u32, is_closed: bool, end_ns: i64) -> i64 {
        if !self.is_on() {
            return end_ns;
        }
        let due_ns = self.due(at);
        match is_closed || slot_of(end_ns) <= slot_of(due_ns) {
            true => end_ns,
            false => due_ns,
        }
    }

    /// Ends the part that is due at `watermark_ns`; `None`: it has no packets. `conn` without bytes that may still come.
    pub fn cut(&mut self, at: u32, conn: &Conn, watermark_ns: i64) -> Option<(i64, FlowRecord)> {
        let every_ns = slot_from(self.every_ns?);
        let one = &mut self.reported[at as usize];
        let due_ns = one.due_ns;
        let passed = watermark_ns.saturating_sub(due_ns) / every_ns;
        one.due_ns = due_ns.saturating_add(every_ns.saturating_mul(passed + 1));
        let packets = |orig: &Volume, resp: &Volume| orig.packets + resp.packets;
        if packets(&conn.orig, &conn.resp) == packets(&one.orig, &one.resp) {
            return None;
        }
        let mut record = one.rest_of(&conn.record(EndReason::Timeout, conn.state()));
        record.interim = true;
        (one.orig, one.resp) = (conn.orig, conn.resp);
        one.records = one.records.saturating_add(1);
        one.since_ns = due_ns;
        Some((due_ns, record))
    }

    /// What was reported of a flow; `None`: nothing yet.
    pub fn of(&self, at: u32) -> Option<Reported> {
        let one = self.reported.get(at as usize)?;
        (one.records > 0).then_some(*one)
    }
}

impl Reported {
    /// The part of a flow's record that was not reported.
    pub fn rest_of(&self, whole: &FlowRecord) -> FlowRecord {
        FlowRecord {
            orig: whole.orig.without(&self.orig),
            resp: whole.resp.without(&self.resp),
            part: self.records,
            // A part without packets takes no time.
            since_ns: self.since_ns.min(whole.end_ns),
            ..*whole
        }
    }
}
