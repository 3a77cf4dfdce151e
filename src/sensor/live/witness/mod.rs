//! Main's side of the witness: its sockets, what may excuse differences, and what it found.

mod disagreements;
mod grants;

use super::messenger::Messenger;
use crate::books::shard::ShardCounts;
use crate::books::witness::WitnessCounts;
use crate::capture::bpf::sample::Sample;
use crate::error::Failure;
use crate::host::nic::Interface;
use crate::log::formats::interfaces::Interfaces;
use crate::sensor::group::LiveGroup;
use crate::settings::RunConfig;
use crate::shard::Shard;
use crate::time::clock::{Clock, RunTime};
use crate::witness::reports;
use crate::witness::thread::{Known, Parts, Shown, Witness, shown};
use crate::witness::watch::{self, Moved, Socket, WitnessRing};
use crossbeam::channel::{Sender, unbounded};
use disagreements::Disagreements;
use grants::Grants;
use std::sync::{Arc, Mutex};

/// What main holds of a witness.
pub(super) struct Watching {
    sample: Sample,
    sockets: Vec<Socket>,
    /// Of interfaces that were re-created; the thread may still read from them.
    replaced: Vec<Socket>,
    to_thread: Sender<WitnessRing>,
    to_comparison: Sender<Known>,
    shown: Arc<Mutex<Shown>>,
    grants: Grants,
    /// What its sockets have counted.
    moved: Moved,
    disagreements: Disagreements,
}

/// The witness and main's side of it, behind closed gates; nothing without `--witness`.
///
/// # Errors
///
/// What the kernel refuses.
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
    let ((to_thread, new_rings), (to_comparison, known)) = (unbounded(), unbounded());
    let shown = Arc::new(Mutex::new(Shown::default()));
    let witness = Witness::new(Parts {
        sample: sample.clone(),
        keys,
        reports,
        rings,
        new_rings,
        known,
        clock: Clock::new(run_time),
        shown: Arc::clone(&shown),
    });
    let watching = Watching {
        sample,
        sockets,
        replaced: Vec::new(),
        to_thread,
        to_comparison,
        shown,
        grants: Grants::new(Clock::new(run_time)),
        moved: Moved::default(),
        disagreements: Disagreements {
            names,
            run_time: run_time.clone(),
            messenger,
        },
    };
    Ok(Some((watching, witness)))
}

impl Watching {
    /// Lets the sample in. After the sensor's own gates: what came before is the ledger's alone.
    pub(super) fn open_gates(&mut self) -> Result<(), Failure> {
        for socket in &self.sockets {
            socket.open_gate(&self.sample).map_err(Failure::run)?;
        }
        self.grants.gates_opened();
        Ok(())
    }

    /// Lets nothing in any more. Before the sensor's own gates.
    pub(super) fn close_gates(&mut self) {
        self.grants.gates_close();
        for socket in &self.sockets {
            if let Err(error) = socket.close_gate() {
                eprintln!("synledger: {error}");
            }
        }
    }

    /// The link of an interface changed: sockets leave and come back one by one.
    pub(super) fn on_link_change(&mut self, interface: u16) {
        self.grants.link_changed(interface);
    }

    /// The clock was set: stamps around that are put into run time as well as can be.
    pub(super) fn on_clock_step(&mut self) {
        self.grants.clock_stepped();
    }

    /// A socket on an interface that is back, in the place of the lost one.
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
        self.on_link_change(interface);
        Ok(())
    }

    /// Once a second, behind an update of the rings: what the books say now, to the comparison; what it found,
    /// to the log, the first ten. `shards` may be younger than the rings' counters.
    pub(super) fn look<'a>(
        &mut self,
        groups: impl Iterator<Item = &'a mut LiveGroup>,
        shards: impl FnOnce() -> ShardCounts,
    ) {
        let now_ns = self.grants.now_ns();
        let shards = shards();
        // What the sample's filter reaches is in class open; a changing fanout may put it anywhere.
        let astray = shards.misrouted_frames > 0;
        for group in groups {
            self.grants.lost(group.interface, group.take_lost(), astray);
        }
        let sockets = self.sockets.iter().chain(&self.replaced);
        for (interface, moved) in sockets.map(|socket| (socket.interface, socket.moved())) {
            self.moved.packets += moved.packets;
            self.moved.dropped += moved.dropped;
            self.grants
                .witness_dropped(interface, moved.dropped, now_ns);
        }
        self.replaced.retain(|socket| !socket.is_let_go());
        let _ = self.to_comparison.send(self.grants.take(&shards, now_ns));
        let found = std::mem::take(&mut shown(&self.shown).disagreements);
        for disagreement in &found {
            self.disagreements.report(disagreement);
        }
    }

    /// What was counted.
    pub(super) fn counts(&self) -> WitnessCounts {
        WitnessCounts {
            packets: self.moved.packets,
            dropped: self.moved.dropped,
            capacity: watch::capacity() * self.sockets.len() as u64,
            ..shown(&self.shown).counts
        }
    }

    /// Entries held, and room.
    pub(super) fn occupancy(&self) -> (u64, u64) {
        shown(&self.shown).occupancy
    }
}
