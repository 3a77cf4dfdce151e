//! Counters and records of blocks.

use super::memory::Said;
use super::plan::BlockMode;
use super::table::Block;
use crate::books::blocks::{BlockCounts, BlockRefusal, Removal};
use crate::log::block_record::{BlockRecord, Outcome, Why};
use crate::log::notice::Notice;
use ipnet::IpNet;
use std::collections::VecDeque;

/// What the log will have.
#[derive(Debug)]
pub struct Journal {
    mode: BlockMode,
    pub counts: BlockCounts,
    /// The wall clock at the last tick.
    pub wall_ns: i64,
    said: Said,
    notices: VecDeque<Notice>,
}

impl Journal {
    pub fn new(mode: BlockMode) -> Self {
        Self {
            mode,
            counts: BlockCounts::default(),
            wall_ns: 0,
            said: Said::default(),
            notices: VecDeque::new(),
        }
    }

    pub fn take(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Counts a refusal, and gives it a record unless a young one says the same.
    pub fn refuse(
        &mut self,
        net: IpNet,
        why: Why,
        (reason, errno): (BlockRefusal, Option<i32>),
        now_ns: i64,
    ) {
        self.counts.refused[reason.index()] += 1;
        if !self.said.is_due(net, reason, now_ns) {
            self.counts.records_unsaid += 1;
            return;
        }
        let reason = reason.word();
        self.record(net, why, Outcome::Refused { reason, errno });
    }

    /// Counts the end of a block, and gives it a record; without `removal` its time is over.
    pub fn end(&mut self, net: IpNet, block: Block, removal: Option<Removal>) {
        let cause = match removal {
            None => {
                self.counts.expired += 1;
                "expired"
            }
            Some(removal) => {
                self.counts.removed[removal as usize] += 1;
                removal.word()
            }
        };
        let outcome = Outcome::Ended {
            cause,
            since_ns: block.since_wall_ns,
            dropped: block.dropped,
        };
        self.record(net, block.why, outcome);
    }

    pub fn record(&mut self, net: IpNet, why: Why, outcome: Outcome) {
        let record = BlockRecord {
            ts_ns: self.wall_ns,
            net,
            why,
            outcome,
            mode: self.mode.word(),
            dry_run: self.mode == BlockMode::DryRun,
        };
        self.notices.push_back(Notice::Block(Box::new(record)));
    }

    /// A record about the blocker itself.
    pub fn note(&mut self, word: &'static str, text: String) {
        self.notices.push_back(Notice::Lifecycle {
            ts_ns: self.wall_ns,
            word,
            text,
            details: Vec::new(),
        });
    }
}
