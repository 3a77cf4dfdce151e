//! The workers' threads: started, pinned, and kept up to date.

use super::messenger::Messenger;
use crate::host::addresses::Localities;
use crate::host::cpus::{self, Pins};
use crate::sensor::Board;
use crate::sensor::threads::{pin, spawn};
use crate::sensor::worker::Worker;
use crate::sensor::worker::load::{LoadControl, ShedStep};
use crate::sensor::worker::ring::LiveRing;
use crate::sensor::worker::rings::Rings;
use crate::settings::RunConfig;
use crate::shard::Shard;
use crate::time::clock::{Clock, RunTime};
use crossbeam::channel::{Sender, unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::Duration;

/// Channels to one worker.
struct ToWorker {
    rings: Sender<LiveRing>,
    localities: Sender<Arc<Localities>>,
}

pub(super) struct Workers<'a> {
    config: &'a RunConfig,
    run_time: RunTime,
    steps: Sender<ShedStep>,
    to_workers: Vec<ToWorker>,
    pins: Pins,
    /// Copies of their counters.
    pub board: Board,
}

impl<'a> Workers<'a> {
    /// Starts none yet. Their steps of load shedding go to `steps`.
    pub(super) fn new(config: &'a RunConfig, run_time: RunTime, steps: Sender<ShedStep>) -> Self {
        Self {
            config,
            run_time,
            steps,
            to_workers: Vec::new(),
            pins: Pins::default(),
            board: Board::new(config.common.workers),
        }
    }

    /// Starts the next worker on its core.
    pub(super) fn spawn<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, '_>,
        drain: &'scope AtomicBool,
        mut shard: Shard,
        rings: Vec<LiveRing>,
    ) {
        let id = self.to_workers.len();
        let (to_rings, new_rings) = unbounded();
        let (to_localities, localities) = unbounded();
        self.to_workers.push(ToWorker {
            rings: to_rings,
            localities: to_localities,
        });
        let load = LoadControl::new(id, self.config, self.steps.clone());
        shard.flows.hear_all(load.hears_all);
        let block_timeout = Duration::from_millis(u64::from(self.config.block_timeout_ms));
        let worker = Worker {
            shard,
            rings: Rings::new(rings, block_timeout),
            new_rings,
            localities,
            clock: Clock::new(&self.run_time),
            now_ns: i64::MIN,
            load,
        };
        let cpu = self.config.common.cores.get(id).copied();
        let thread = cpu.map(|cpu| self.pins.add(cpu));
        let board = self.board.clone();
        spawn(scope, format!("worker-{id}"), move || {
            pin(cpu, id);
            if let Some(thread) = thread {
                thread.store(cpus::thread_id(), Ordering::Release);
            }
            worker.run(drain, |shard| board.publish(id, &shard.counts));
        });
    }

    /// Sends each worker its rings of an interface that came back.
    pub(super) fn send_rings(&self, rings: Vec<Vec<LiveRing>>) {
        for (worker, rings) in self.to_workers.iter().zip(rings) {
            for ring in rings {
                let _ = worker.rings.send(ring);
            }
        }
    }

    /// Sends all workers the new localities.
    pub(super) fn send_localities(&self, ours: &Arc<Localities>) {
        for worker in &self.to_workers {
            let _ = worker.localities.send(Arc::clone(ours));
        }
    }

    /// Moves workers away from CPUs that went offline, and back.
    pub(super) fn keep_pinned(&mut self, messenger: &Messenger) {
        for moved in self.pins.plan(&cpus::online(), cpus::allowed()) {
            let cpus::Moved { thread, from, to } = moved;
            let text = match self.pins.carry_out(&moved) {
                Ok(()) => format!("worker {thread} moved from CPU {from} to CPU {to}"),
                Err(errno) => {
                    format!("worker {thread} cannot move from CPU {from} to CPU {to}: {errno}")
                }
            };
            messenger.record("worker_moved", text);
        }
    }
}
