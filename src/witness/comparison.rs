//! Compares the attempts of witness and ledger.
//!
//! Both sides put attempts into one table; each is decided and counted [`SETTLE_NS`] later, in run time that both
//! have reached. The witness's own rule: an attempt is the first SYN of (addresses, ports, initial sequence number)
//! in [`HORIZON_NS`]. Stamps of one frame differ between two rings, and the ledger uses the time that all rings have
//! reached: within [`EDGE_NS`] of the horizon both sides may be right.

use super::Syn;
use super::excuses::{Grant, Grants, Lacks};
use super::reports::Report;
use super::table::{ENTRIES_MAX, FREE_ENTRY, LedgerState, Table, WitnessEntry};
use crate::books::witness::{Excuse, WitnessCounts};
use crate::time::durations::HORIZON_NS;

/// Distance from the horizon within which a SYN may be a retransmission or a new attempt.
pub const EDGE_NS: i64 = 10_000_000_000;
/// Time that an attempt waits for the other side.
pub const SETTLE_NS: i64 = 5_000_000_000;
/// Disagreements kept until main takes them.
const DISAGREEMENTS_MAX: usize = 10;

/// An attempt that one side lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disagreement {
    pub lacks: Lacks,
    pub syn: Syn,
    /// Run time of its SYN, ns.
    pub ts_ns: i64,
    pub interface: u16,
}

pub struct Comparison {
    table: Table,
    grants: Grants,
    /// Number of the first entry that may be undecided.
    undecided: u64,
    pub counts: WitnessCounts,
    /// The first disagreements since main took them.
    pub disagreements: Vec<Disagreement>,
}

impl Comparison {
    /// Allocates all its memory. `keys` are random.
    pub fn new(keys: [u64; 2]) -> Self {
        Self {
            table: Table::new(keys),
            grants: Grants::with_capacity(),
            undecided: 0,
            counts: WitnessCounts::default(),
            disagreements: Vec::with_capacity(DISAGREEMENTS_MAX),
        }
    }

    pub const fn memory_bytes() -> u64 {
        Table::memory_bytes()
            + Grants::memory_bytes()
            + (DISAGREEMENTS_MAX * size_of::<Disagreement>()) as u64
    }

    pub fn grant(&mut self, grant: Grant) {
        self.grants.add(grant);
    }

    /// A frame of the sample that the witness's library cannot read: an attempt of the ledger is excused.
    pub fn on_unread(&mut self, ts_ns: i64, interface: u16) {
        self.counts.frames += 1;
        self.counts.unread += 1;
        self.grant(Grant {
            excuse: Excuse::Unread,
            interface: Some(interface),
            from_ns: ts_ns.saturating_sub(SETTLE_NS),
            until_ns: ts_ns.saturating_add(SETTLE_NS),
            left: 1,
        });
    }

    /// A SYN of the sample, stamped `ts_ns`, at `now_ns`.
    pub fn on_syn(&mut self, syn: Syn, ts_ns: i64, interface: u16, now_ns: i64) {
        self.counts.frames += 1;
        let new = WitnessEntry {
            seen: true,
            ..entry(syn, ts_ns, interface, now_ns)
        };
        let Some(known) = self.table.find(&syn) else {
            return self.push(new);
        };
        let base_ns = known.base_ns;
        match Age::of(known, ts_ns) {
            Age::Old => self.push(new),
            Age::Edge if known.decided => self.push(WitnessEntry {
                edge: true,
                base_ns,
                ..new
            }),
            _ if known.seen || known.decided || known.ledger == LedgerState::OutOfReach => {
                self.counts.retransmitted += 1;
            }
            _ => {
                known.seen = true;
                self.counts.seen += 1;
                self.counts.waiting += 1;
            }
        }
    }

    /// A shard's report, received at `now_ns`.
    pub fn on_report(&mut self, report: &Report, now_ns: i64) {
        let Report { syn, ts_ns, .. } = *report;
        let new = entry(syn, ts_ns, report.interface, now_ns);
        if !report.in_reach {
            return self.on_out_of_reach(new);
        }
        self.counts.told += 1;
        let ledger = LedgerState::Attempt(report.fate);
        let new = WitnessEntry { ledger, ..new };
        let Some(known) = self.table.find(&syn) else {
            return self.push(new);
        };
        let base_ns = known.base_ns;
        match Age::of(known, ts_ns) {
            Age::Old => self.push(new),
            Age::Edge if known.decided => self.push(WitnessEntry {
                edge: true,
                base_ns,
                ..new
            }),
            _ if !known.decided && !matches!(known.ledger, LedgerState::Attempt(_)) => {
                known.ledger = ledger;
                self.counts.told_waiting += 1;
            }
            _ if known.ledger == LedgerState::Unknown => {
                known.ledger = ledger;
                // The ledger's horizon starts here.
                known.base_ns = ts_ns;
                self.counts.extra_excused[Excuse::Late as usize] += 1;
            }
            // Seen plain and wrapped: two workers may have reported it.
            _ if known.ledger == LedgerState::OutOfReach => {
                known.ledger = ledger;
                known.base_ns = ts_ns;
                self.counts.extra_excused[Excuse::OutOfReach as usize] += 1;
            }
            // Reported twice.
            _ => {
                known.base_ns = ts_ns;
                self.push(WitnessEntry {
                    indexed: false,
                    ..new
                });
            }
        }
    }

    fn on_out_of_reach(&mut self, new: WitnessEntry) {
        self.counts.beyond += 1;
        match self.table.find(&new.syn) {
            Some(known) if Age::of(known, new.ts_ns) == Age::Young => {
                if known.ledger == LedgerState::Unknown {
                    known.ledger = LedgerState::OutOfReach;
                    known.base_ns = new.ts_ns;
                }
            }
            _ => self.push(WitnessEntry {
                ledger: LedgerState::OutOfReach,
                decided: true,
                ..new
            }),
        }
    }

    fn push(&mut self, entry: WitnessEntry) {
        if self.table.is_full() {
            self.evict();
        }
        if !entry.decided {
            self.counts.seen += u64::from(entry.seen);
            self.counts.waiting += u64::from(entry.seen);
            self.counts.told_waiting += u64::from(matches!(entry.ledger, LedgerState::Attempt(_)));
        }
        self.table.push(entry);
    }

    /// Evicts the oldest entry. A retransmission of it will look like a new attempt.
    fn evict(&mut self) {
        let number = self.table.numbers().start;
        if number == self.undecided {
            self.undecided += 1;
            self.decide(number, true);
        }
        let Some(entry) = self.table.pop() else {
            return;
        };
        self.grant(Grant {
            excuse: Excuse::NoRoom,
            interface: None,
            from_ns: entry.ts_ns,
            until_ns: entry.ts_ns.saturating_add(HORIZON_NS + EDGE_NS),
            left: 1,
        });
    }

    /// Decides entries due at `limit_ns`, up to which both sides and the excuses are complete; drops entries older
    /// than the horizon.
    pub fn settle(&mut self, limit_ns: i64) {
        while self.undecided < self.table.numbers().end {
            let entry = self.table.get(self.undecided);
            if !entry.decided && entry.due_ns > limit_ns {
                break;
            }
            self.decide(self.undecided, false);
            self.undecided += 1;
        }
        while self.table.numbers().start < self.undecided {
            let oldest = self.table.get(self.table.numbers().start);
            if oldest.ts_ns.saturating_add(HORIZON_NS + EDGE_NS) > limit_ns {
                break;
            }
            self.table.pop();
        }
        self.grants
            .expire(limit_ns.saturating_sub(SETTLE_NS + EDGE_NS));
    }

    fn decide(&mut self, number: u64, evicted: bool) {
        let entry = self.table.get_mut(number);
        if entry.decided {
            return;
        }
        entry.decided = true;
        let entry = *entry;
        self.counts.waiting -= u64::from(entry.seen);
        self.counts.told_waiting -= u64::from(matches!(entry.ledger, LedgerState::Attempt(_)));
        let lacks = match (entry.seen, entry.ledger) {
            (true, LedgerState::Attempt(fate)) => {
                self.counts.agreed[fate as usize] += 1;
                self.table.get_mut(number).base_ns = entry.ts_ns;
                return;
            }
            (true, LedgerState::OutOfReach) => {
                self.counts.excused[Excuse::OutOfReach as usize] += 1;
                return;
            }
            (true, LedgerState::Unknown) => Lacks::Ledger,
            (false, LedgerState::Attempt(_)) => {
                self.table.get_mut(number).base_ns = entry.ts_ns;
                Lacks::Witness
            }
            (false, _) => return,
        };
        let excuse = if entry.edge {
            Some(Excuse::Horizon)
        } else if evicted {
            Some(Excuse::NoRoom)
        } else {
            self.grants.take(lacks, entry.interface, entry.ts_ns)
        };
        let counts = &mut self.counts;
        match (lacks, excuse) {
            (Lacks::Ledger, Some(excuse)) => counts.excused[excuse as usize] += 1,
            (Lacks::Witness, Some(excuse)) => counts.extra_excused[excuse as usize] += 1,
            (Lacks::Ledger, None) => counts.missing += 1,
            (Lacks::Witness, None) => counts.extra += 1,
        }
        if excuse.is_none() && self.disagreements.len() < DISAGREEMENTS_MAX {
            self.disagreements.push(Disagreement {
                lacks,
                syn: entry.syn,
                ts_ns: entry.ts_ns,
                interface: entry.interface,
            });
        }
    }

    /// Entries held, and capacity.
    pub fn occupancy(&self) -> (u64, u64) {
        let numbers = self.table.numbers();
        (numbers.end - numbers.start, ENTRIES_MAX as u64)
    }
}

/// Age of a known attempt when another SYN of it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Young,
    Edge,
    Old,
}

impl Age {
    fn of(known: &WitnessEntry, ts_ns: i64) -> Self {
        let age_ns = ts_ns.saturating_sub(known.base_ns);
        if age_ns <= HORIZON_NS - EDGE_NS {
            Self::Young
        } else if age_ns < HORIZON_NS + EDGE_NS {
            Self::Edge
        } else {
            Self::Old
        }
    }
}

fn entry(syn: Syn, ts_ns: i64, interface: u16, now_ns: i64) -> WitnessEntry {
    WitnessEntry {
        syn,
        ts_ns,
        base_ns: ts_ns,
        due_ns: now_ns.saturating_add(SETTLE_NS),
        interface,
        indexed: true,
        ..FREE_ENTRY
    }
}
