//! Main's side of the witness: its sockets, excuses for differences, and reported disagreements.

mod disagreements;
mod grants;

use super::messenger::Messenger;
use crate::books::shard::ShardCounts;
use crate::books::witness::WitnessCounts;
use crate::capture::bpf::sample::Sample;
use crate::error::Failure;
use crate::host::nic::Interface;
use crate::log::formats::interfaces::Interfaces;
use crate::observe::terminal::print_to_stderr;
use crate::sensor::group::LiveGroup;
use crate::settings::RunConfig;
use crate::shard::Shard;
use crate::time::clock::{Clock, RunTime};
use crate::witness::reports;
use crate::witness::thread::{Excuses, Parts, Snapshot, Witness};
use crate::witness::watch::{self, Socket, SocketCounts, WitnessRing};
use crossbeam::channel::{Sender, unbounded};
use disagreements::Disagreements;
use grants::Grants;
use std::sync::{Arc, Mutex};

pub(super) struct Watching {
    sample: Sample,
    sockets: Vec<Socket>,
    /// Of re-created interfaces; the thread may still read from them.
    replaced: Vec<Socket>,
    to_thread: Sender<WitnessRing>,
    to_comparison: Sender<Excuses>,
    snapshot: Arc<Mutex<Snapshot>>,
    pub(super) grants: Grants,
    /// Sum of its sockets' counters.
    counted: SocketCounts,
    disagreements: Disagreements,
}

/// The witness and main's side of it, behind closed gates; `None` without `--witness`.
pub(super) fn prepare(
    config: &RunConfig,
    run_time: &RunTime,
    nics: &[Interface],
    shards: &mut [Shard],
    (names, messenger): (Interfaces, Messenger),
) -> Result<Option<(Watching, Witness)>, Failure> {
    let Some(one_in) = config.witness else {
        return Ok(None);
    };
    let sample = Sample::random(one_in).map_err(Failure::run)?;
    let key = || getrandom::u64().map_err(|error| Failure::run(std::io::Error::other(error)));
    let keys = [key()?, key()?];
    let (mut sockets, mut rings) = (Vec::new(), Vec::new());
    for (interface, nic) in (0..u16::MAX).zip(nics) {
        let (socket, ring) = watch::open(nic, interface).map_err(Failure::run)?;
        sockets.push(socket);
        rings.push(ring);
    }
    let each = shards.iter_mut().map(|shard| {
        let (reporter, reports) = reports::queue(sample.clone());
        shard.outbox.set_witness(reporter);
        reports
    });
    let reports = each.collect();
    let ((to_thread, new_rings), (to_comparison, excuses)) = (unbounded(), unbounded());
    let snapshot = Arc::new(Mutex::new(Snapshot::default()));
    let witness = Witness::new(Parts {
        sample: sample.clone(),
        keys,
        reports,
        rings,
        new_rings,
        excuses,
        clock: Clock::new(run_time),
        snapshot: Arc::clone(&snapshot),
    });
    let watching = Watching {
        sample,
        sockets,
        replaced: Vec::new(),
        to_thread,
        to_comparison,
        snapshot,
        grants: Grants::new(Clock::new(run_time)),
        counted: SocketCounts::default(),
        disagreements: Disagreements {
            names,
            run_time: run_time.clone(),
            messenger,
        },
    };
    Ok(Some((watching, witness)))
}

impl Watching {
    /// Admits the sample. After the sensor's own gates: earlier frames are excused.
    pub(super) fn open_gates(&mut self) -> Result<(), Failure> {
        for socket in &self.sockets {
            socket.open_gate(&self.sample).map_err(Failure::run)?;
        }
        self.grants.gates_opened();
        Ok(())
    }

    /// Refuses every frame from now on. Before the sensor's own gates.
    pub(super) fn close_gates(&mut self) {
        self.grants.gates_close();
        for socket in &self.sockets {
            if let Err(error) = socket.close_gate() {
                print_to_stderr(&format!("synledger: {error}\n"));
            }
        }
    }

    /// Replaces the socket of an interface that came back.
    pub(super) fn reopen(&mut self, nic: &Interface, interface: u16) -> Result<(), String> {
        let (socket, ring) = watch::open(nic, interface).map_err(|error| error.to_string())?;
        socket
            .open_gate(&self.sample)
            .map_err(|error| error.to_string())?;
        let _ = self.to_thread.send(ring);
        if let Some(old) = self
            .sockets
            .iter_mut()
            .find(|one| one.interface == interface)
        {
            let old = std::mem::replace(old, socket);
            old.abandon();
            self.replaced.push(old);
        }
        self.grants.link_changed(interface);
        Ok(())
    }

    /// Sends new excuses to the comparison and reports its disagreements. Call once a second, after an update of the
    /// rings. `shards` may be younger than the rings' counters.
    pub(super) fn update<'a>(
        &mut self,
        groups: impl Iterator<Item = &'a mut LiveGroup>,
        shards: impl FnOnce() -> ShardCounts,
    ) {
        let now_ns = self.grants.now_ns();
        let shards = shards();
        // The sample's frames are in class open; while the fanout changes they may be in any class.
        let astray = shards.misrouted_frames > 0;
        for group in groups {
            self.grants.lost(group.interface, group.take_lost(), astray);
        }
        let sockets = self.sockets.iter().chain(&self.replaced);
        for socket in sockets {
            let new = socket.take_counts();
            self.counted.packets += new.packets;
            self.counted.dropped += new.dropped;
            self.grants
                .witness_dropped(socket.interface, new.dropped, now_ns);
        }
        self.replaced.retain(|socket| !socket.is_released());
        let _ = self.to_comparison.send(self.grants.take(&shards, now_ns));
        let found = std::mem::take(&mut Snapshot::lock(&self.snapshot).disagreements);
        for disagreement in &found {
            self.disagreements.report(disagreement);
        }
    }

    pub(super) fn counts(&self) -> WitnessCounts {
        WitnessCounts {
            packets: self.counted.packets,
            dropped: self.counted.dropped,
            capacity: watch::capacity() * self.sockets.len() as u64,
            ..Snapshot::lock(&self.snapshot).counts
        }
    }

    /// Entries held, and capacity.
    pub(super) fn occupancy(&self) -> (u64, u64) {
        Snapshot::lock(&self.snapshot).occupancy
    }
}
