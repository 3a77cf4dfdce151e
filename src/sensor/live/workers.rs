//! The workers' threads: started, pinned, and kept up to date.

use super::messenger::Messenger;
use crate::host::cpus::{self, Pins};
use crate::host::sandbox::{Sandbox, Thread};
use crate::sensor::Board;
use crate::sensor::threads::{pin, spawn};
use crate::sensor::worker::handover::WorkerState;
use crate::sensor::worker::load::{LoadControl, ShedStep};
use crate::sensor::worker::ring::LiveRing;
use crate::sensor::worker::rings::Rings;
use crate::sensor::worker::{Change, Worker};
use crate::settings::RunConfig;
use crate::shard::Shard;
use crate::time::clock::{Clock, RunTime};
use crossbeam::channel::{Sender, unbounded};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::Duration;

/// Channels to one worker.
struct ToWorker {
    rings: Sender<LiveRing>,
    changes: Sender<Change>,
}

pub(super) struct Workers<'a> {
    config: &'a RunConfig,
    run_time: RunTime,
    steps: Sender<ShedStep>,
    to_workers: Vec<ToWorker>,
    pins: Pins,
    sandbox: Sandbox,
    /// Copies of their counters.
    pub board: Board,
}

impl<'a> Workers<'a> {
    /// Starts none yet. Their steps of load shedding go to `steps`.
    pub(super) fn new(
        config: &'a RunConfig,
        run_time: RunTime,
        steps: Sender<ShedStep>,
        sandbox: Sandbox,
    ) -> Self {
        Self {
            config,
            run_time,
            steps,
            to_workers: Vec::new(),
            pins: Pins::default(),
            sandbox,
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
        before: Option<&WorkerState>,
    ) {
        let id = self.to_workers.len();
        let (to_rings, new_rings) = unbounded();
        let (to_changes, changes) = unbounded();
        self.to_workers.push(ToWorker {
            rings: to_rings,
            changes: to_changes,
        });
        let mut load = LoadControl::new(id, self.config, self.steps.clone());
        match before {
            // Of its own making: it fits, or load shedding starts anew.
            Some(before) => drop(load.restore(&before.load)),
            None => shard.flows.hear_all(load.hears_all),
        }
        let block_timeout = Duration::from_millis(u64::from(self.config.block_timeout_ms));
        self.board.publish(id, &shard.counts);
        let worker = Worker {
            id,
            shard,
            rings: Rings::new(rings, block_timeout),
            new_rings,
            changes,
            clock: Clock::new(&self.run_time),
            now_ns: before.map_or(i64::MIN, |before| before.now_ns),
            load,
        };
        let cpu = self.config.common.cores.get(id).copied();
        let thread = cpu.map(|cpu| self.pins.add(cpu));
        let (board, pass) = (self.board.clone(), self.sandbox.pass(Thread::Worker));
        spawn(scope, format!("worker-{id}"), move || {
            pin(cpu, id);
            if let Some(thread) = thread {
                thread.store(cpus::thread_id(), Ordering::Release);
            }
            pass.enter();
            worker.run(drain, |shard| board.publish(id, &shard.counts));
        });
    }

    pub(super) fn run_time(&self) -> &RunTime {
        &self.run_time
    }

    /// Sends each worker its rings of an interface that came back.
    pub(super) fn send_rings(&self, rings: Vec<Vec<LiveRing>>) {
        for (worker, rings) in self.to_workers.iter().zip(rings) {
            for ring in rings {
                let _ = worker.rings.send(ring);
            }
        }
    }

    /// Sends all workers a change, which each puts in force between two batches of frames.
    pub(super) fn send(&self, change: &Change) {
        for worker in &self.to_workers {
            let _ = worker.changes.send(change.clone());
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
