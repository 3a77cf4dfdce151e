//! What the run counts, gathered once a second for the log and for scrapes.

use super::Run;
use crate::books::Books;
use crate::commands::logging;
use crate::live::LiveGroup;
use crate::log::notice::Notice;
use crate::report;
use crate::worker::wall_clock_ns;
use std::sync::PoisonError;

impl Run<'_> {
    pub(super) fn every_second(&mut self, stats: bool) {
        self.update_rings();
        let books = self.books();
        if stats {
            let text = format!(
                "{} frames, {} new connections",
                books.shards.frames, books.shards.flow.attempts
            );
            let value = report::to_json(&books);
            let _ = self.notices.send(Notice::Stats {
                ts_ns: wall_clock_ns(),
                value,
                text,
            });
        }
        let mut snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.ring_occupancy = self.groups.iter().flat_map(LiveGroup::occupancy).collect();
        snapshot.tables = self.tables(&books);
        snapshot.log_lag = self.log_lag();
        snapshot.books = books;
    }

    /// Name, entries held and room of each table, over all shards.
    fn tables(&self, books: &Books) -> Vec<(&'static str, u64, u64)> {
        let common = &self.config.common;
        let rooms = [
            common.flows.attempts,
            common.flows.established,
            common.flows.others,
            common.rule.pairs + common.rule.firsts,
        ];
        let names = ["attempts", "established", "other_flows", "pairs"];
        let all = names.into_iter().zip(books.shards.held).zip(rooms);
        all.map(|((name, held), room)| (name, held, (room * common.workers) as u64))
            .collect()
    }

    /// Seconds from time stamp to line: upper bounds with the counts below them, and the sum.
    fn log_lag(&self) -> (Vec<(f64, u64)>, f64) {
        const BOUNDS_US: [u64; 9] = [
            1_000,
            5_000,
            10_000,
            25_000,
            50_000,
            100_000,
            500_000,
            1_000_000,
            u64::MAX,
        ];
        let published = self
            .control
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(lag_us) = &published.lag_us else {
            return (Vec::new(), 0.0);
        };
        let seconds = |us: u64| {
            if us == u64::MAX {
                f64::MAX
            } else {
                us as f64 / 1e6
            }
        };
        let below = BOUNDS_US.map(|us| (seconds(us), lag_us.count_between(0, us)));
        (below.to_vec(), lag_us.mean() / 1e6 * lag_us.len() as f64)
    }

    pub(super) fn update_rings(&mut self) {
        for group in self.groups.iter_mut().chain(&mut self.gone) {
            group.update();
        }
        self.close_gone();
        if let Some(counters) = &mut self.nic_counters {
            let _ = counters.update();
        }
    }

    pub(super) fn books(&self) -> Books {
        let published = self
            .control
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let outputs = logging::books(&self.config.common.outputs, &published.outputs);
        let nic = |group: &LiveGroup| {
            let counters = self
                .nic_counters
                .as_ref()
                .and_then(|counters| counters.nic(group.ifindex));
            counters.map_or(0, |counters| counters.nic_drops())
        };
        Books {
            shards: self.board.sum(),
            rings: self.rings(),
            outputs,
            nic_drops: self.groups.iter().map(nic).sum(),
            softnet_drops: self
                .nic_counters
                .as_ref()
                .map_or(0, |counters| counters.softnet().total().dropped),
            filtered: self.filtered(),
            ..Books::default()
        }
    }
}
