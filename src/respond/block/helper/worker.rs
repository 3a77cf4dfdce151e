//! The helper that changes the firewall: reads orders, checks them, carries them out, answers.

use super::backend::{Backend, Unbuilt};
use super::gate::{Checked, check};
use super::outbox::{Outbox, Sent};
use super::own::OwnAddresses;
use super::process::Start;
use super::protected::is_protected;
use super::protocol::{DATAGRAM_BYTES_MAX, Incident, Reply, Then};
use crate::respond::block::firewall::{Order, Refused};
use crate::time::clock::monotonic_ns;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

/// Most datagrams of one round: their orders share transactions.
const DATAGRAMS_MAX: usize = 32;
/// Time between two tries to build the table.
const AGAIN_NS: i64 = 5_000_000_000;
/// A table that another process owns: tries at the start, and the time between two.
const OWNED_TRIES: u32 = 10;
const OWNED_PAUSE: Duration = Duration::from_millis(100);
/// Least time between two repairs: another program may undo them.
const REPAIR_PAUSE_NS: i64 = 1_000_000_000;
/// Time for the other changes of somebody who changes our table.
const REPAIR_DELAY_NS: i64 = 50_000_000;
/// Longest wait for the sensor to read the last replies.
const FAREWELL_MS: u16 = 1_000;

/// Why the helper ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The sensor has ended, with or without a word.
    Closed,
    /// Something failed that a new helper may have.
    Failed,
}

struct Worker<'a> {
    socket: BorrowedFd<'a>,
    epoch: u32,
    backend: Box<dyn Backend>,
    own: OwnAddresses,
    outbox: Outbox,
    /// Why there is no table now.
    unbuilt: Option<Unbuilt>,
    /// There has been one.
    was_built: bool,
    /// When to build or repair it.
    due_ns: Option<i64>,
    repaired_ns: i64,
}

/// Works for the sensor at the other end of `socket` until that closes.
pub fn work(socket: BorrowedFd<'_>, epoch: u32, start: &Start) -> End {
    let mut outbox = Outbox::new(epoch);
    outbox.push(Reply::Hello);
    let backend = (start.method.open)(start.elements_max, &start.words);
    let (own, backend) = match (OwnAddresses::open(), backend) {
        (Ok(own), Ok(backend)) => (own, backend),
        (Err(error), _) | (_, Err(error)) => {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            outbox.push(Reply::Incident(Incident::Unbuilt(errno.cast_unsigned())));
            let _ = outbox.send(socket);
            return End::Failed;
        }
    };
    let mut worker = Worker {
        socket,
        epoch,
        backend,
        own,
        outbox,
        unbuilt: None,
        was_built: false,
        due_ns: None,
        repaired_ns: i64::MIN / 2,
    };
    worker.build();
    loop {
        if let Some(end) = worker.round() {
            return end;
        }
    }
}

impl Worker<'_> {
    /// Waits for something to do and does it. Returns why the helper ends, if it does.
    fn round(&mut self) -> Option<End> {
        if self.outbox.send(self.socket) == Sent::Closed {
            return Some(End::Closed);
        }
        self.wait();
        match self.own.heard_of_change() {
            Ok(true) => {
                if let Some(end) = self.renew_own() {
                    return Some(end);
                }
                self.backend.on_links_changed();
            }
            Ok(false) => {}
            Err(_) => return Some(End::Failed),
        }
        if self.backend.has_changed() {
            self.repair_soon(REPAIR_DELAY_NS);
        }
        let now_ns = monotonic_ns();
        if self.backend.due_ns().is_some_and(|due_ns| due_ns <= now_ns) {
            self.backend.on_due(now_ns);
        }
        if self.due_ns.is_some_and(|due_ns| due_ns <= now_ns) {
            self.due_ns = None;
            self.build();
        }
        if !self.outbox.has_room() {
            return None;
        }
        let end = self.read_requests();
        self.take_said();
        end
    }

    fn take_said(&mut self) {
        for said in self.backend.take_said() {
            self.outbox.push_said(said);
        }
    }

    fn wait(&self) {
        let mut events = PollFlags::empty();
        if self.outbox.has_room() {
            events |= PollFlags::POLLIN;
        }
        if !self.outbox.is_empty() {
            events |= PollFlags::POLLOUT;
        }
        let mut fds = vec![
            PollFd::new(self.socket, events),
            PollFd::new(self.own.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(changes) = self.backend.changes() {
            fds.push(PollFd::new(changes, PollFlags::POLLIN));
        }
        let due_ns = self.due_ns.into_iter().chain(self.backend.due_ns()).min();
        let left_ns = due_ns.map(|due_ns| due_ns - monotonic_ns());
        let timeout = left_ns.map_or(PollTimeout::NONE, |left_ns| {
            let left_ms = left_ns.max(0) / 1_000_000 + 1;
            PollTimeout::from(u16::try_from(left_ms).unwrap_or(u16::MAX))
        });
        // An interrupted wait is followed by a look at everything.
        let _ = poll(&mut fds, timeout);
    }

    /// Builds the table, or builds it again.
    fn build(&mut self) {
        let now_ns = monotonic_ns();
        let was_unbuilt = self.unbuilt.take();
        let built = match self.was_built {
            true => self.backend.repair(now_ns),
            false => self.adopt_when_free(was_unbuilt.is_none()),
        };
        if let Err(why) = built {
            if was_unbuilt.as_ref() != Some(&why) {
                self.say_unbuilt(&why);
            }
            self.unbuilt = Some(why);
            self.due_ns = Some(now_ns + AGAIN_NS);
            return;
        }
        if self.was_built {
            self.repaired_ns = now_ns;
            let elements = u32::try_from(self.backend.count()).unwrap_or(u32::MAX);
            self.outbox
                .push(Reply::Incident(Incident::Repaired(elements)));
        }
        self.was_built = true;
        self.take_said();
        // A sensor that reads nothing must not make the list of replies grow with every repair.
        if self.outbox.has_room() {
            self.send_elements();
        }
    }

    fn say_unbuilt(&mut self, why: &Unbuilt) {
        match why {
            Unbuilt::Foreign => self.outbox.push(Reply::Incident(Incident::Foreign)),
            Unbuilt::Kernel(errno) => {
                let errno = errno.cast_unsigned();
                self.outbox.push(Reply::Incident(Incident::Unbuilt(errno)));
            }
            Unbuilt::Because(text) | Unbuilt::Busy(text) => {
                self.outbox.push_text(text, Then::Unbuilt)
            }
        }
    }

    /// [`Self::adopt`]; the first time it waits a second for an owner: the helper of a sensor that was killed may be
    /// about to end.
    fn adopt_when_free(&mut self, is_first: bool) -> Result<(), Unbuilt> {
        for _ in 0..if is_first { OWNED_TRIES } else { 0 } {
            match self.adopt() {
                Err(Unbuilt::Kernel(libc::EPERM) | Unbuilt::Busy(_)) => {
                    std::thread::sleep(OWNED_PAUSE)
                }
                other => return other,
            }
        }
        self.adopt()
    }

    /// Takes over the table of an earlier run, or builds the first one.
    fn adopt(&mut self) -> Result<(), Unbuilt> {
        let own = self.own.all();
        let found = self
            .backend
            .adopt(&|net| is_protected(net, own), monotonic_ns())?;
        if let Some(elements) = found {
            let elements = u32::try_from(elements).unwrap_or(u32::MAX);
            self.outbox
                .push(Reply::Incident(Incident::Adopted(elements)));
        }
        Ok(())
    }

    fn repair_soon(&mut self, delay_ns: i64) {
        if self.due_ns.is_none() {
            let earliest_ns = self.repaired_ns.saturating_add(REPAIR_PAUSE_NS);
            self.due_ns = Some(earliest_ns.max(monotonic_ns() + delay_ns));
        }
    }

    /// Lists the addresses of this host, and lets in what has become one. Without a list nothing may be blocked.
    fn renew_own(&mut self) -> Option<End> {
        match self.own.renew() {
            Ok(true) => self.let_own_in(),
            Ok(false) => {}
            Err(_) => return Some(End::Failed),
        }
        None
    }

    fn let_own_in(&mut self) {
        let own = self.own.all();
        let nets = self.backend.matching(&|net| is_protected(net, own));
        let orders: Vec<Order> = nets.into_iter().map(|net| Order::Remove { net }).collect();
        let removed = self.backend.apply(&orders, monotonic_ns());
        let count = removed.iter().filter(|answer| answer.is_ok()).count();
        if count > 0 {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.outbox.push(Reply::Incident(Incident::Owned(count)));
        }
    }

    fn send_elements(&mut self) {
        match self.backend.list() {
            Ok(elements) => {
                for element in elements {
                    self.outbox.push(Reply::Element(element));
                }
                self.outbox.push(Reply::ElementsEnd);
            }
            // Somebody removed the table. The list follows when it is there again.
            Err(_) => self.repair_soon(0),
        }
    }

    /// Reads what is there, and carries it out.
    fn read_requests(&mut self) -> Option<End> {
        let (datagrams, is_closed) = self.receive();
        let end = is_closed.then_some(End::Closed);
        if datagrams.is_empty() {
            return end;
        }
        // After the last order came, so that none is checked against an older list.
        if let Some(failed) = self.renew_own() {
            return Some(failed);
        }
        let mut orders: Vec<(u64, Result<Order, Refused>)> = Vec::new();
        for datagram in datagrams {
            let Ok(checked) = check(&datagram, self.epoch, self.own.all()) else {
                self.outbox.push(Reply::Incident(Incident::Malformed));
                continue;
            };
            for request in checked {
                match request {
                    Checked::Order { id, order } => orders.push((id, Ok(order))),
                    Checked::Refused { id, why } => orders.push((id, Err(why))),
                    // Before the orders of this round, so also before the one that removes it.
                    Checked::Count { net } => {
                        let dropped = self.backend.counted(net);
                        let reply = dropped.map(|dropped| Reply::Counted { net, dropped });
                        reply.into_iter().for_each(|one| self.outbox.push(one));
                    }
                    Checked::Ask => {
                        self.carry_out(&mut orders);
                        self.send_elements();
                    }
                    Checked::Close { keep } => {
                        self.carry_out(&mut orders);
                        self.close(keep);
                        return Some(End::Closed);
                    }
                }
            }
        }
        self.carry_out(&mut orders);
        end
    }

    /// The datagrams that are there, and whether the sensor has closed its end.
    fn receive(&self) -> (Vec<Vec<u8>>, bool) {
        let mut datagrams = Vec::new();
        let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
        while datagrams.len() < DATAGRAMS_MAX {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return (datagrams, true),
                Ok(length) => datagrams.push(buffer[..length].to_vec()),
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(_) => return (datagrams, true),
            }
        }
        (datagrams, false)
    }

    /// Carries out the orders that were not refused, and answers all of them in their order.
    fn carry_out(&mut self, orders: &mut Vec<(u64, Result<Order, Refused>)>) {
        let good: Vec<Order> = orders.iter().filter_map(|(_, order)| order.ok()).collect();
        let answers = match &self.unbuilt {
            None => self.backend.apply(&good, monotonic_ns()),
            Some(why) => vec![Err(why.refusal()); good.len()],
        };
        let mut answers = answers.into_iter();
        for (id, order) in orders.drain(..) {
            let result = match order {
                Ok(_) => answers.next().unwrap_or(Err(Refused::Gone)),
                Err(why) => Err(why),
            };
            self.outbox.push(Reply::Answer { id, result });
        }
    }

    fn close(&mut self, keep: bool) {
        let is_ours = self.was_built;
        let keep = keep && self.backend.count() > 0;
        if is_ours && let Err(errno) = self.backend.close(keep) {
            let errno = errno.cast_unsigned();
            self.outbox
                .push(Reply::Incident(Incident::NotRemoved(errno)));
        }
        self.take_said();
        self.outbox.push(Reply::Closed);
        while self.outbox.send(self.socket) == Sent::Later {
            let mut fds = [PollFd::new(self.socket, PollFlags::POLLOUT)];
            if !poll(&mut fds, PollTimeout::from(FAREWELL_MS)).is_ok_and(|ready| ready > 0) {
                return;
            }
        }
    }
}
