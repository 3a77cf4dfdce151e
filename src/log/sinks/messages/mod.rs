//! Messages to a collector: joined from records, bounded, and never waited for in a live run.
//!
//! A datagram counts as written once the kernel took it. Over TCP a record counts as written once the collector's host
//! has acknowledged it: messages that were not acknowledged when a connection broke are sent again by the next one,
//! from their first byte, so that no message is there twice or by half. Without the acknowledgement of one that arrived,
//! which only a broken path swallows, it is sent twice.
//!
//! A collector that is down is tried again by a new socket: over UDP every two seconds, else once a second. Until then up to [`queue::BUFFER_MAX`] bytes
//! wait; further records are dropped and counted.

mod channel;
mod memory;
mod queue;
#[cfg(test)]
mod tests;

use super::descriptor::OpenError;
use super::lines::Patience;
use super::recovery::Recovery;
use super::spec::OutputSpec;
use super::{Carried, Entry, Moment, Sink};
use crate::books::output::Cause;
use crate::books::record_kind::KINDS;
use crate::log::formats::framing::{Framed, Framing, Messaging};
use crate::log::sinks::endpoint::{CollectorOptions, Endpoint};
use channel::{Channel, Ready};
use queue::{BUFFER_MAX, Queue};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes that cause messages to be sent.
const SEND_AT: usize = 32 << 10;
/// Messages over UDP that `read` sends without a pause.
const BURST: u32 = 32;
/// A wait, and how long all of them together may last without progress: at the end of a live run, and in `read`.
const WAIT: Duration = Duration::from_millis(1);
/// An idle connection is looked at after this time.
const LOOK_NS: i64 = 1_000_000_000;
const WAIT_NS: i64 = 1_000_000;
const END_WAITS: u32 = 1000;
const READ_WAITS: u32 = 60_000;

/// Buffered messages and their socket.
pub struct Messages {
    framing: Box<dyn Framing>,
    channel: Channel,
    queue: Queue,
    options: CollectorOptions,
    patience: Patience,
    /// Waits that are left before records are dropped.
    waits: u32,
    /// Messages since the last pause.
    burst: u32,
    /// When the collector was told what it must know; `None`: it was not.
    introduced_ns: Option<i64>,
    /// Introductions to a stream that are not handed over, and how many of them are not acknowledged.
    introduction: Vec<u8>,
    introduction_left: usize,
    /// When it was last looked whether the peer of a stream is there.
    looked_ns: i64,
    /// When a full buffer was last tried.
    tried_ns: i64,
    /// Losses of a running outage.
    outage: Option<Recovery>,
    recovered: Option<Recovery>,
}

impl Messages {
    /// Opens the socket of an output. A collector that is down is no error.
    ///
    /// # Errors
    ///
    /// Its name cannot be resolved.
    pub fn open(
        spec: &OutputSpec,
        endpoint: &Endpoint,
        how: &Messaging,
    ) -> Result<Self, OpenError> {
        let options = spec.collector;
        let channel = Channel::open(endpoint, options.mtu)
            .map_err(|source| OpenError::of_collector(endpoint.to_string(), source))?;
        let channel = match how.socket {
            Some(_) => channel.takes_memory(),
            None => channel,
        };
        let framing = (how.framing)(&Framed {
            transport: endpoint.transport(),
            domain: options.domain,
        });
        Ok(Self::new(framing, channel, options))
    }

    fn new(framing: Box<dyn Framing>, channel: Channel, options: CollectorOptions) -> Self {
        Self {
            framing,
            channel,
            queue: Queue::new(),
            options,
            patience: Patience::UntilTaken(Arc::default()),
            waits: READ_WAITS,
            burst: 0,
            introduced_ns: None,
            introduction: Vec::new(),
            introduction_left: 0,
            looked_ns: i64::MIN,
            tried_ns: i64::MIN,
            outage: None,
            recovered: None,
        }
    }

    fn cause(&self) -> Cause {
        let outage = self.outage.as_ref();
        outage.map_or(Cause::Slow, |outage| outage.cause)
    }

    fn on_failure(&mut self, cause: Cause, now_ns: i64) {
        let outage = self.outage.get_or_insert(Recovery {
            since_ns: now_ns,
            cause,
            lost: [0; KINDS],
        });
        outage.cause = cause;
    }

    fn drop_entry(&mut self, entry: Entry, cause: Cause) {
        self.queue.drop_entry(entry, cause);
        if let Some(outage) = &mut self.outage {
            outage.lost[entry.kind as usize] += entry.records();
        }
    }

    fn drop_first(&mut self, cause: Cause) {
        let lost = self.queue.drop_first(cause);
        if let Some(outage) = &mut self.outage {
            for (sum, lost) in outage.lost.iter_mut().zip(lost) {
                *sum += lost;
            }
        }
    }

    /// Sends what waits, as far as it can be sent without waiting longer than the patience lasts. Of a stream at most
    /// `keep` bytes shall wait for acknowledgements afterwards.
    fn send_all(&mut self, keep: usize, now_ns: i64) {
        self.queue.close();
        let mut now_ns = now_ns;
        loop {
            let before = self.queue.waiting_bytes();
            let done = self.send_some(now_ns);
            let done = match self.queue.waiting_bytes() > keep {
                true => done.and(Err(Cause::Slow)),
                false => done,
            };
            if self.queue.waiting_bytes() < before {
                self.waits = self.waits.max(self.waits_of_patience());
            }
            match done {
                Ok(()) => {
                    if let Some(outage) = self.outage.take() {
                        outage.join(&mut self.recovered);
                    }
                    return;
                }
                Err(cause) if !self.wait() => return self.on_failure(cause, now_ns),
                Err(_) => now_ns = now_ns.saturating_add(WAIT_NS),
            }
        }
    }

    fn waits_of_patience(&self) -> u32 {
        match &self.patience {
            Patience::Live => 0,
            Patience::UntilTaken(hurry) if hurry.load(Ordering::Relaxed) => 0,
            Patience::UntilTaken(_) => READ_WAITS,
        }
    }

    /// Waits a little. False: it has waited long enough.
    fn wait(&mut self) -> bool {
        match &self.patience {
            Patience::Live => return false,
            Patience::UntilTaken(hurry) if hurry.load(Ordering::Relaxed) => {
                self.waits = self.waits.min(END_WAITS);
            }
            Patience::UntilTaken(_) => {}
        }
        if self.waits == 0 {
            return false;
        }
        self.waits -= 1;
        match self.queue.unsent_bytes(self.channel.handed) {
            0 => std::thread::sleep(WAIT),
            _ => self.channel.wait(WAIT),
        }
        true
    }

    /// Sends until nothing waits, or why no more can be sent now.
    fn send_some(&mut self, now_ns: i64) -> Result<(), Cause> {
        match self.channel.ready(now_ns) {
            Ready::Up => {}
            Ready::New => self.introduced_ns = None,
            Ready::Down => return Err(Cause::Unreachable),
            Ready::Probe => {
                self.probe(now_ns);
                return Err(Cause::Unreachable);
            }
        }
        match self.channel.is_stream() {
            true => self.send_stream(now_ns),
            false => self.send_datagrams(now_ns),
        }
    }

    /// Sends one datagram that costs nothing if it is lost. Of two, the second would take the answer to the first as its
    /// own error, and the socket would look as if nobody had refused it.
    fn probe(&mut self, now_ns: i64) {
        let introductions = self.framing.introductions(self.channel.limit());
        let mut probe = introductions.into_iter().next().unwrap_or_default();
        self.framing.complete(&mut probe, now_ns);
        if self.channel.send(&probe).is_ok() {
            self.framing.sent(&probe);
        }
    }

    fn introduce(&mut self, now_ns: i64) -> Result<(), Cause> {
        let period_ns = i64::from(self.options.template_s) * 1_000_000_000;
        let is_due = |since_ns: i64| now_ns.saturating_sub(since_ns) >= period_ns;
        if !self.introduced_ns.is_none_or(is_due) {
            return Ok(());
        }
        for mut one in self.framing.introductions(self.channel.limit()) {
            self.framing.complete(&mut one, now_ns);
            let sent = self.channel.send(&one);
            sent.map_err(|error| self.failed(&error, now_ns))?;
            self.framing.sent(&one);
        }
        self.introduced_ns = Some(now_ns);
        Ok(())
    }

    /// The cause of a failed write; a collector that is gone is tried again later.
    fn failed(&mut self, error: &io::Error, now_ns: i64) -> Cause {
        let is_full = error.raw_os_error() == Some(libc::ENOBUFS);
        if is_full || matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
            return Cause::Slow;
        }
        self.channel.down(now_ns);
        Cause::Unreachable
    }

    fn send_datagrams(&mut self, now_ns: i64) -> Result<(), Cause> {
        // Of what is too large for the path the kernel says so once; then it sends it in fragments.
        let mut too_large = 0;
        self.introduce(now_ns)?;
        while let Some(next) = self.queue.first() {
            self.framing.complete(next, now_ns);
            match self.channel.send(next) {
                Ok(()) => {
                    self.framing.sent(next);
                    self.queue.settle_first();
                    too_large = 0;
                    self.pause();
                }
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    self.channel.measure_path();
                    too_large += 1;
                    if too_large == 3 {
                        self.on_failure(Cause::Io, now_ns);
                        self.drop_first(Cause::Io);
                        too_large = 0;
                    }
                }
                Err(error) => return Err(self.failed(&error, now_ns)),
            }
        }
        Ok(())
    }

    /// In `read`: lets a UDP collector keep up.
    fn pause(&mut self) {
        let Patience::UntilTaken(hurry) = &self.patience else {
            return;
        };
        if !self.channel.loses() || hurry.load(Ordering::Relaxed) {
            return;
        }
        self.burst += 1;
        if self.burst == BURST {
            self.burst = 0;
            std::thread::sleep(Duration::from_secs(1) * BURST / self.options.pace);
        }
    }

    fn send_stream(&mut self, now_ns: i64) -> Result<(), Cause> {
        if self.introduced_ns.is_none() {
            self.start_stream(now_ns);
        }
        // An idle connection is looked at once a second.
        if self.queue.is_empty() && now_ns.saturating_sub(self.looked_ns) < LOOK_NS {
            return Ok(());
        }
        self.looked_ns = now_ns;
        self.settle_acknowledged();
        if self.channel.is_closed() {
            self.break_off(now_ns);
            return Err(Cause::Unreachable);
        }
        while let Some(next) = self.queue.complete_next() {
            self.framing.complete(next, now_ns);
            self.framing.sent(next);
        }
        let done = self.write_stream();
        self.settle_acknowledged();
        done.map_err(|error| self.failed_stream(&error, now_ns))
    }

    fn failed_stream(&mut self, error: &io::Error, now_ns: i64) -> Cause {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::Interrupted => Cause::Slow,
            _ => {
                self.break_off(now_ns);
                Cause::Unreachable
            }
        }
    }

    /// What a new connection begins with.
    fn start_stream(&mut self, now_ns: i64) {
        self.framing.restart();
        self.queue.forget_completed();
        self.introduction.clear();
        for mut one in self.framing.introductions(self.channel.limit()) {
            self.framing.complete(&mut one, now_ns);
            self.framing.sent(&one);
            self.introduction.extend_from_slice(&one);
        }
        self.introduction_left = self.introduction.len();
        self.introduced_ns = Some(now_ns);
    }

    fn write_stream(&mut self) -> io::Result<()> {
        while !self.introduction.is_empty() {
            let count = self.channel.write(&self.introduction)?;
            self.introduction.drain(..count);
        }
        loop {
            let handed = self.channel.handed - self.introduction_left;
            let bytes = self.queue.completed(handed);
            if bytes.is_empty() {
                return Ok(());
            }
            self.channel.write(bytes)?;
        }
    }

    /// Counts as written what the peer has acknowledged.
    fn settle_acknowledged(&mut self) {
        let handed = self.channel.handed;
        let acknowledged = handed.saturating_sub(self.channel.unacknowledged());
        let introduced = acknowledged.min(self.introduction_left - self.introduction.len());
        self.introduction_left -= introduced;
        let settled = self.queue.settle(acknowledged - introduced);
        self.channel.handed -= introduced + settled;
    }

    /// The connection is over: what is not acknowledged is sent again by the next one.
    fn break_off(&mut self, now_ns: i64) {
        self.settle_acknowledged();
        self.introduction.clear();
        self.introduction_left = 0;
        self.queue.forget_completed();
        self.channel.down(now_ns);
    }

    #[cold]
    #[inline(never)]
    fn admit_late(&mut self, entry: Entry, at: Moment) -> bool {
        // While it takes nothing, one try for each time that the logger looks at the clock.
        if self.outage.is_none() || at.now_ns != self.tried_ns {
            self.tried_ns = at.now_ns;
            self.send_all(BUFFER_MAX / 2, at.now_ns);
        }
        let admits = self.queue.waiting_bytes() < BUFFER_MAX;
        if !admits {
            if self.outage.is_none() {
                self.on_failure(Cause::Slow, at.now_ns);
            }
            self.drop_entry(entry, self.cause());
        }
        admits
    }
}

impl Sink for Messages {
    fn admit(&mut self, entry: Entry, at: Moment) -> Option<&mut Vec<u8>> {
        if self.queue.waiting_bytes() >= BUFFER_MAX && !self.admit_late(entry, at) {
            return None;
        }
        Some(self.queue.begin(self.framing.as_mut()))
    }

    fn commit(&mut self, entry: Entry, at: Moment) -> bool {
        let limit = self.channel.limit();
        self.queue.end(entry, self.framing.as_mut(), limit);
        if self.queue.unsent_bytes(self.channel.handed) >= SEND_AT && self.outage.is_none() {
            self.send_all(usize::MAX, at.now_ns);
        }
        self.recovered.is_some()
    }

    fn flush(&mut self, at: Moment) {
        self.send_all(usize::MAX, at.now_ns);
    }

    /// Waits a second at most for a collector that does not take what is buffered.
    fn finish(&mut self, at: Moment) {
        if matches!(self.patience, Patience::Live) {
            self.set_patience(Patience::UntilTaken(Arc::new(AtomicBool::new(true))));
        }
        self.close(at);
    }

    fn close(&mut self, at: Moment) {
        self.send_all(0, at.now_ns);
        let cause = self.cause();
        if self.channel.is_stream() && !self.queue.is_empty() {
            self.break_off(at.now_ns);
        }
        while !self.queue.is_empty() {
            self.drop_first(cause);
        }
    }

    /// A new socket by the next message: another program may have the collector's address now.
    fn reopen(&mut self, _: Moment) -> Result<(), OpenError> {
        Ok(())
    }

    fn set_patience(&mut self, patience: Patience) {
        self.waits = match &patience {
            Patience::Live => 0,
            Patience::UntilTaken(hurry) if hurry.load(Ordering::Relaxed) => END_WAITS,
            Patience::UntilTaken(_) => READ_WAITS,
        };
        self.patience = patience;
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        self.recovered.take()
    }

    fn blocked(&self) -> Option<Cause> {
        self.outage.as_ref().map(|outage| outage.cause)
    }

    fn carried(&self) -> Carried {
        self.queue.carried()
    }
}
