//! Main's side of the witness: its sockets, what may excuse differences, and what it found.

use super::Run;
use crate::books::shard::ShardCounts;
use crate::books::witness::{Excuse, WitnessCounts};
use crate::capture::bpf::sample::Sample;
use crate::capture::frame::Class;
use crate::counters::Counters as _;
use crate::error::Failure;
use crate::host::nic::Interface;
use crate::sensor::group::Lost;
use crate::settings::RunConfig;
use crate::shard::Shard;
use crate::time::clock::{Clock, Reading};
use crate::time::durations::HORIZON_NS;
use crate::witness::comparison::{Disagreement, EDGE_NS};
use crate::witness::excuses::{Grant, Lacks};
use crate::witness::reports;
use crate::witness::thread::{Known, Parts, Shown, Witness, shown};
use crate::witness::watch::{self, Moved, Socket, WitnessRing};
use crossbeam::channel::{Sender, unbounded};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// What is counted once a second may have happened this much before or after.
const COUNTED_NS: i64 = 1_000_000_000;
/// Links are heard of by netlink: this much later, and sockets follow as much later again.
const LINK_NS: i64 = 2_000_000_000;
/// Stamps of one moment differ by no more.
const STAMPS_NS: i64 = 100_000_000;

/// What main holds of a witness.
pub(super) struct Watching {
    sample: Sample,
    sockets: Vec<Socket>,
    /// Of interfaces that were re-created; the thread may still read from them.
    gone: Vec<Socket>,
    to_thread: Sender<WitnessRing>,
    to_comparison: Sender<Known>,
    shown: Arc<Mutex<Shown>>,
    clock: Clock,
    grants: Vec<Grant>,
    /// What its sockets have counted.
    moved: Moved,
    /// When the last grants were complete, and what had been counted by then.
    known_ns: i64,
    shards: ShardCounts,
}

/// The witness and main's side of it, behind closed gates; nothing without `--witness`.
///
/// # Errors
///
/// What the kernel refuses.
pub(super) fn prepare(
    config: &RunConfig,
    clock: Clock,
    nics: &[Interface],
    shards: &mut [Shard],
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
        clock: clock.clone(),
        shown: Arc::clone(&shown),
    });
    let watching = Watching {
        sample,
        sockets,
        gone: Vec::new(),
        to_thread,
        to_comparison,
        shown,
        clock,
        grants: Vec::new(),
        moved: Moved::default(),
        known_ns: i64::MIN,
        shards: ShardCounts::default(),
    };
    Ok(Some((watching, witness)))
}

impl Watching {
    fn now_ns(&mut self) -> i64 {
        self.clock.read(Reading::take())
    }

    /// Lets the sample in. After the sensor's own gates: what came before is the ledger's alone.
    pub(super) fn open_gates(&mut self) -> Result<(), Failure> {
        for socket in &self.sockets {
            socket.open_gate(&self.sample).map_err(Failure::run)?;
        }
        let now_ns = self.now_ns();
        self.allow(
            Excuse::Unwatched,
            None,
            i64::MIN,
            now_ns + STAMPS_NS,
            u64::MAX,
        );
        Ok(())
    }

    /// Lets nothing in any more. Before the sensor's own gates.
    pub(super) fn close_gates(&mut self) {
        let now_ns = self.now_ns();
        self.allow(
            Excuse::Unwatched,
            None,
            now_ns - STAMPS_NS,
            i64::MAX,
            u64::MAX,
        );
        for socket in &self.sockets {
            if let Err(error) = socket.close_gate() {
                eprintln!("synledger: {error}");
            }
        }
    }

    fn allow(
        &mut self,
        excuse: Excuse,
        interface: Option<u16>,
        from_ns: i64,
        until_ns: i64,
        left: u64,
    ) {
        self.grants.push(Grant {
            excuse,
            interface,
            from_ns,
            until_ns,
            left,
        });
    }

    /// The link of an interface changed: sockets leave and come back one by one.
    pub(super) fn on_link_change(&mut self, interface: u16) {
        let now_ns = self.now_ns();
        let (from_ns, until_ns) = (now_ns - LINK_NS, now_ns + LINK_NS);
        self.allow(
            Excuse::LinkChange,
            Some(interface),
            from_ns,
            until_ns,
            u64::MAX,
        );
    }

    /// The clock was set: stamps around that are put into run time as well as can be.
    pub(super) fn on_clock_step(&mut self) {
        let now_ns = self.now_ns();
        let until_ns = now_ns + HORIZON_NS + EDGE_NS;
        self.allow(
            Excuse::ClockStep,
            None,
            now_ns - EDGE_NS,
            until_ns,
            u64::MAX,
        );
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
            self.gone.push(old);
        }
        self.on_link_change(interface);
        Ok(())
    }

    /// What an interface's rings lost since they were asked last.
    pub(super) fn on_lost(&mut self, interface: u16, lost: Lost, astray: bool) {
        let (from_ns, until_ns) = (self.known_ns.saturating_sub(COUNTED_NS), self.now_ns());
        let until_ns = until_ns + COUNTED_NS;
        let mut dropped = lost.frames[Class::Open as usize];
        if astray {
            dropped = lost.frames.iter().sum();
            let excuse = Excuse::Filtered;
            self.allow(excuse, Some(interface), from_ns, until_ns, lost.filtered);
        }
        let excuse = Excuse::RingDrops;
        self.allow(excuse, Some(interface), from_ns, until_ns, dropped);
    }

    /// Reads the sockets, and hands over what may excuse differences, complete up to `now_ns`, when everything
    /// was about to be counted.
    fn tell_known(&mut self, shards: &ShardCounts, now_ns: i64) {
        let (from_ns, until_ns) = (
            self.known_ns.saturating_sub(COUNTED_NS),
            now_ns + COUNTED_NS,
        );
        let moved: Vec<(u16, Moved)> = self
            .sockets
            .iter()
            .chain(&self.gone)
            .map(|socket| (socket.interface, socket.moved()))
            .collect();
        self.gone.retain(|socket| !socket.is_let_go());
        for (interface, moved) in moved {
            self.moved.packets += moved.packets;
            self.moved.dropped += moved.dropped;
            let excuse = Excuse::WitnessDropped;
            self.allow(excuse, Some(interface), from_ns, until_ns, moved.dropped);
        }
        let new = shards.since(&self.shards);
        let again_ns = until_ns + HORIZON_NS + EDGE_NS;
        for (excuse, count) in [
            (Excuse::Evicted, new.flow.evicted_attempts),
            (Excuse::Misrouted, new.misrouted_frames),
        ] {
            self.allow(excuse, None, from_ns, again_ns, count);
        }
        self.shards = *shards;
        self.known_ns = now_ns;
        let grants = std::mem::take(&mut self.grants);
        let _ = self.to_comparison.send(Known {
            until_ns: now_ns,
            grants,
        });
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

impl Run<'_> {
    /// Once a second, behind an update of the rings: what the books say now, to the comparison; what it found,
    /// to the log, the first ten.
    pub(super) fn attend_witness(&mut self) {
        let Some(mut watching) = self.witness.take() else {
            return;
        };
        let now_ns = watching.now_ns();
        let shards = self.board.sum();
        // What the sample's filter reaches is in class open; a changing fanout may put it anywhere.
        let astray = shards.misrouted_frames > 0;
        for group in self.groups.iter_mut().chain(&mut self.gone) {
            watching.on_lost(group.interface, group.take_lost(), astray);
        }
        watching.tell_known(&shards, now_ns);
        let found = std::mem::take(&mut shown(&watching.shown).disagreements);
        for disagreement in &found {
            self.tell_disagreement(disagreement);
        }
        self.witness = Some(watching);
    }

    /// After all threads: compares what is left.
    pub(super) fn close_witness(&mut self, witness: Option<&mut Witness>) {
        let Some(witness) = witness else {
            return;
        };
        self.update_rings();
        self.attend_witness();
        witness.finish();
        self.attend_witness();
    }

    fn tell_disagreement(&self, disagreement: &Disagreement) {
        let Disagreement {
            lacks,
            syn,
            ts_ns,
            interface,
        } = *disagreement;
        let ends = syn.ends;
        let (word, says) = match lacks {
            Lacks::Ledger => (
                "witness_missing",
                "the ledger lacks an attempt that the witness saw",
            ),
            Lacks::Witness => (
                "witness_extra",
                "the ledger has an attempt that the witness did not see",
            ),
        };
        let (src, dst) = ((ends.src, ends.src_port), (ends.dst, ends.dst_port));
        let (src, dst) = (
            std::net::SocketAddr::from(src),
            std::net::SocketAddr::from(dst),
        );
        let name = self.names.name(interface).unwrap_or_default();
        let stamp_ns = ts_ns.saturating_add(self.run_time.wall_shift_ns(ts_ns));
        self.say_with(
            word,
            format!(
                "{says}: {src} -> {dst}, sequence number {}, on {name}",
                syn.isn
            ),
            vec![
                ("src_ip".to_owned(), json!(ends.src.to_string())),
                ("src_port".to_owned(), json!(ends.src_port)),
                ("dest_ip".to_owned(), json!(ends.dst.to_string())),
                ("dest_port".to_owned(), json!(ends.dst_port)),
                ("isn".to_owned(), json!(syn.isn)),
                ("in_iface".to_owned(), Value::from(name.as_str())),
                ("seen_ns".to_owned(), json!(stamp_ns)),
            ],
        );
    }
}
