//! The process that takes over.

use super::state::{SensorState, Terms};
use super::{Named, group_name, sensor_name, worker_name};
use crate::capture::bpf::counted::RejectCounter;
use crate::host::sandbox::Sandbox;
use crate::sensor::live::{Supervisor, startup};
use crate::sensor::worker::handover::{RingState, WorkerState};
use crate::shard::Shard;
use crate::snapshot::misfit;
use crate::sys::memfd;
use crate::time::clock::monotonic_ns;
use borsh::BorshDeserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What nobody has read for longer is a gap: a minute.
const AGE_MAX_NS: i64 = 60_000_000_000;

type Memory = BufReader<io::Take<File>>;
/// The sockets of a group, and its counter of filtered frames.
pub(in crate::sensor::live) type Sockets = (Vec<OwnedFd>, Option<Arc<RejectCounter>>);

/// All that another process has handed over.
pub(in crate::sensor::live) struct Inherited {
    pub state: SensorState,
    pub workers: Vec<WorkerState>,
    /// Behind each worker's state its shard's.
    shards: Vec<Memory>,
    pub sockets: Vec<Sockets>,
}

impl Inherited {
    /// Takes the descriptors of another process, if its state is whole and one for this process.
    ///
    /// # Errors
    ///
    /// One sentence: why not.
    pub(in crate::sensor::live) fn open(
        terms: &Terms,
        named: Named,
        workers: usize,
    ) -> Result<Self, String> {
        let mut named: BTreeMap<String, OwnedFd> = named.into_iter().collect();
        let mut memory = |name: String| {
            let fd = named
                .remove(&name)
                .ok_or_else(|| format!("{name} is missing"))?;
            memfd::open(fd).map_err(|error| format!("{name}: {error}"))
        };
        let mut own = memory(sensor_name())?;
        let theirs = Terms::deserialize_reader(&mut own).map_err(|error| error.to_string())?;
        if let Some(why) = terms.refusal(&theirs) {
            return Err(why);
        }
        let state = SensorState::deserialize_reader(&mut own).map_err(|error| error.to_string())?;
        let age_ns = monotonic_ns().saturating_sub(state.stopped_ns);
        if !(0..=AGE_MAX_NS).contains(&age_ns) {
            return Err(format!("it is {} s old", age_ns / 1_000_000_000));
        }
        let (mut states, mut shards) = (Vec::new(), Vec::new());
        for id in 0..workers {
            let mut from = memory(worker_name(id))?;
            let state = WorkerState::deserialize_reader(&mut from);
            states.push(state.map_err(|error| format!("{}: {error}", worker_name(id)))?);
            shards.push(from);
        }
        let sockets = state
            .groups
            .each
            .iter()
            .enumerate()
            .map(|(interface, group)| {
                let mut take = |at: usize| {
                    let name = group_name(interface, at);
                    named
                        .remove(&name)
                        .ok_or_else(|| format!("{name} is missing"))
                };
                let sockets: Result<Vec<OwnedFd>, String> =
                    (0..group.sockets()).map(&mut take).collect();
                let sockets = sockets?;
                let counter = match group.has_counter {
                    true => Some([take(group.sockets())?, take(group.sockets() + 1)?]),
                    false => None,
                };
                let counter = counter.map(RejectCounter::adopt).transpose();
                let counter =
                    counter.map_err(|error| format!("the counter of filtered frames: {error}"))?;
                Ok((sockets, counter.map(Arc::new)))
            });
        let sockets = sockets.collect::<Result<Vec<Sockets>, String>>()?;
        Ok(Self {
            state,
            workers: states,
            shards,
            sockets,
        })
    }

    /// Fills fresh shards.
    ///
    /// # Errors
    ///
    /// It does not fit: the shards must not be used.
    pub(in crate::sensor::live) fn restore(&mut self, shards: &mut [Shard]) -> io::Result<()> {
        // Dropped one by one: the memory is needed.
        for (id, mut from) in std::mem::take(&mut self.shards).into_iter().enumerate() {
            let shard = shards
                .get_mut(id)
                .ok_or_else(|| misfit("more shards than workers"))?;
            let inbound = shard.restore(&mut from)?;
            if from.read(&mut [0])? > 0 {
                return Err(misfit("a shard has more than that"));
            }
            for (sender, contacts) in inbound.into_iter().enumerate() {
                let sender = shards.get_mut(sender);
                let sender = sender.ok_or_else(|| misfit("contacts of another worker"))?;
                sender.resend(id, contacts)?;
            }
        }
        let waiting = std::mem::take(&mut self.state.log.waiting);
        for (shard, events) in shards.iter_mut().zip(waiting) {
            shard.outbox.requeue(events)?;
        }
        Ok(())
    }

    /// Where each ring is read on, by interface and member.
    pub(in crate::sensor::live) fn places(&self) -> BTreeMap<(u16, u32), RingState> {
        let rings = self.workers.iter().flat_map(|worker| &worker.rings);
        rings
            .map(|ring| ((ring.interface, ring.member), *ring))
            .collect()
    }
}

impl Supervisor<'_> {
    /// Goes on with the rings of another process, and reports that.
    pub(in crate::sensor::live) fn go_on(
        &mut self,
        inherited: &Inherited,
        interfaces: usize,
        sandbox: &Sandbox,
    ) {
        let books = self.books();
        self.statistics.go_on(books.clone());
        self.losses.go_on(&books);
        self.scans_out_of_scope.go_on(&books.shards);
        let names = self.links.groups.names().join(", ");
        let SensorState {
            process,
            stopped_ns,
            ..
        } = inherited.state;
        let unread_ms = monotonic_ns().saturating_sub(stopped_ns) as f64 / 1e6;
        let text = format!(
            "took over from process {process}: watching {names} on; nobody read the rings for {unread_ms:.0} ms"
        );
        let details = [("process", json!(process)), ("unread_ms", json!(unread_ms))];
        self.messenger.line(&format!(
            "{text} (process {}); Ctrl-C ends it",
            std::process::id()
        ));
        self.messenger.record_with("taken_over", text, details);
        let resources = startup::resources(self.config, interfaces);
        self.messenger.line(&format!(
            "{}\nsynledger: {}",
            resources.trim_end().trim_start_matches("synledger: "),
            sandbox.describe()
        ));
        self.kept.go_on(&self.messenger);
        let status = format!("STATUS=watching {names}");
        self.service.manager.notify(&["READY=1", &status]);
    }
}
