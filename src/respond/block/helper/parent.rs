//! The sensor's half: orders to the helper, and what comes back. Never waits.

use super::ELEMENTS_MAX;
use super::process::{self, Start};
use super::protocol::{
    DATAGRAM_BYTES_MAX, Incident, RECORDS_MAX, Reply, Request, TEXT_BYTES_MAX, Then,
    decode_replies, encode_requests,
};
use crate::respond::block::firewall::{Answer, Element, Firewall, Heard, Order, Refused};
use crate::time::clock::monotonic_ns;
use ipnet::IpNet;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Child;

/// Most orders without an answer.
const OPEN_MAX: usize = 4_096;
/// Most datagrams of one [`Firewall::poll`].
const DATAGRAMS_MAX: usize = 64;
/// Wait for a helper that could not begin.
const CLOSE_MS: u32 = 1_000;
const DELAY_NS_MIN: i64 = 100_000_000;
const DELAY_NS_MAX: i64 = 60_000_000_000;

/// The host's firewall, by way of a helper process.
#[derive(Debug)]
pub struct Helper {
    program: PathBuf,
    start: Start,
    link: Option<Link>,
    /// The last keeper, until its exit status is known.
    child: Option<Child>,
    delay_ns: i64,
    /// When to start a helper again.
    due_ns: Option<i64>,
    /// The next order's number.
    next_id: u64,
    /// Not sent yet.
    waiting: VecDeque<(u64, Order)>,
    /// Sent and not answered, in the order of their numbers.
    sent: VecDeque<(u64, Order)>,
    asks: bool,
    /// Elements whose counts are asked for, before any order that waits.
    counts: VecDeque<IpNet>,
    /// For the next [`Firewall::poll`].
    ready: VecDeque<Heard>,
    /// A helper has said hello before.
    was_greeted: bool,
    is_unbuilt: bool,
    /// A helper has said its last word.
    is_closed: bool,
    /// None is started after this one.
    is_last: bool,
    /// No helper can be started any more.
    is_over: bool,
}

/// A helper, which may not have said hello yet.
#[derive(Debug)]
struct Link {
    socket: OwnedFd,
    /// Its number, from its hello.
    epoch: Option<u32>,
    /// The list that is coming in.
    elements: Vec<Element>,
    /// The sentence that is coming in.
    text: Vec<u8>,
}

impl Helper {
    /// Starts the helper from `program`, which is `/proc/self/exe` but in tests. Call it before other threads start, in
    /// the network namespace of the firewall.
    ///
    /// The first [`Heard::Elements`] says that orders are carried out: with what an earlier run has left.
    ///
    /// # Errors
    ///
    /// Those of `socketpair` and of starting a process; EINVAL for other than 1 to [`ELEMENTS_MAX`] elements.
    pub fn start(program: &Path, start: Start) -> io::Result<Self> {
        if !(1..=ELEMENTS_MAX).contains(&start.elements_max) {
            return Err(Errno::EINVAL.into());
        }
        let mut helper = Self {
            program: program.to_path_buf(),
            start,
            link: None,
            child: None,
            delay_ns: DELAY_NS_MIN,
            due_ns: None,
            next_id: 1,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            asks: false,
            counts: VecDeque::new(),
            ready: VecDeque::new(),
            was_greeted: false,
            is_unbuilt: false,
            is_closed: false,
            is_last: false,
            is_over: false,
        };
        helper.launch()?;
        Ok(helper)
    }

    /// Waits at most `ms` milliseconds until the helper carries out orders. What it says is for the next
    /// [`Firewall::poll`].
    ///
    /// # Errors
    ///
    /// One sentence: why it does not. The helper is gone then.
    pub fn wait_until_built(&mut self, ms: u32) -> Result<(), String> {
        let until_ns = monotonic_ns() + i64::from(ms) * 1_000_000;
        loop {
            self.receive();
            if self
                .ready
                .iter()
                .any(|one| matches!(one, Heard::Elements(_)))
            {
                return Ok(());
            }
            let said = self.ready.iter().rev().find_map(|one| match one {
                Heard::Notice(text) if self.is_unbuilt => Some(text.clone()),
                _ => None,
            });
            let why = match &self.link {
                _ if said.is_some() => said,
                None => Some("the helper has ended".to_owned()),
                Some(_) if monotonic_ns() > until_ns => Some("the helper says nothing".to_owned()),
                Some(_) => None,
            };
            if let Some(why) = why {
                self.close(false, CLOSE_MS);
                return Err(why);
            }
            if let Some(link) = &self.link {
                let mut fds = [PollFd::new(link.socket.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut fds, PollTimeout::from(100_u16));
            }
        }
    }

    /// Process id of the keeper, whose child is the worker; `None` while there is no helper.
    pub fn keeper(&self) -> Option<u32> {
        self.link.as_ref()?;
        self.child.as_ref().map(Child::id)
    }

    /// Starts none after this one: the sensor has no privilege for another.
    pub fn start_no_other(&mut self) {
        self.is_last = true;
    }

    fn launch(&mut self) -> io::Result<()> {
        let (child, socket) = process::start(&self.program, &self.start)?;
        self.child = Some(child);
        self.link = Some(Link {
            socket,
            epoch: None,
            elements: Vec::new(),
            text: Vec::new(),
        });
        Ok(())
    }

    fn notice(&mut self, text: impl Into<String>) {
        self.ready.push_back(Heard::Notice(text.into()));
    }

    /// Answers these orders: nobody else will.
    fn give_up(&mut self, orders: impl IntoIterator<Item = (u64, Order)>) {
        for (_, order) in orders {
            let result = Err(Refused::Gone);
            self.ready
                .push_back(Heard::Answer(Answer { order, result }));
        }
    }

    /// Sends what the socket takes.
    fn send_waiting(&mut self) {
        while let Some(link) = &self.link {
            let Some(epoch) = link.epoch else { return };
            let counts = self.counts.len().min(RECORDS_MAX / 2);
            let count = match counts == self.counts.len() {
                true => self.waiting.len().min(RECORDS_MAX - 1 - counts),
                false => 0,
            };
            let nets = self.counts.iter().take(counts);
            let orders = self.waiting.iter().take(count);
            let mut requests: Vec<Request> = nets
                .map(|&net| Request::Count { net })
                .chain(orders.map(|&(id, order)| Request::Order { id, order }))
                .collect();
            if self.asks && counts == self.counts.len() && count == self.waiting.len() {
                requests.push(Request::Ask);
            }
            if requests.is_empty() {
                return;
            }
            match send_datagram(&link.socket, &encode_requests(epoch, &requests)) {
                Ok(()) => {
                    self.counts.drain(..counts);
                    self.sent.extend(self.waiting.drain(..count));
                    self.asks &= requests.last() != Some(&Request::Ask);
                }
                Err(Errno::EAGAIN | Errno::ENOBUFS) => return,
                Err(_) => return self.lose(),
            }
        }
    }

    /// Reads what has come.
    fn receive(&mut self) {
        let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
        for _ in 0..DATAGRAMS_MAX {
            let Some(link) = &self.link else { return };
            match recv(link.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return self.lose(),
                Ok(length) => {
                    // What is no reply came from no helper of ours.
                    if let Some((epoch, replies)) = decode_replies(&buffer[..length]) {
                        for reply in replies {
                            self.on_reply(epoch, reply);
                        }
                    }
                }
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                Err(_) => return self.lose(),
            }
        }
    }

    fn on_reply(&mut self, epoch: u32, reply: Reply) {
        let Some(link) = &mut self.link else { return };
        match reply {
            Reply::Hello => {
                link.epoch = Some(epoch);
                link.elements.clear();
                link.text.clear();
                let orphans: Vec<_> = self.sent.drain(..).collect();
                self.give_up(orphans);
                if self.was_greeted {
                    self.notice("the block helper had ended and was started again");
                }
                self.was_greeted = true;
                self.delay_ns = DELAY_NS_MIN;
            }
            // Of a helper that has died.
            _ if link.epoch != Some(epoch) => {}
            Reply::Answer { id, result } => self.on_answer(id, result),
            Reply::Element(element) => link.elements.push(element),
            Reply::Counted { net, dropped } => {
                self.ready.push_back(Heard::Counted { net, dropped });
            }
            Reply::ElementsEnd => {
                let elements = std::mem::take(&mut link.elements);
                if std::mem::take(&mut self.is_unbuilt) {
                    self.notice(self.start.method.sentences.built);
                }
                self.ready.push_back(Heard::Elements(elements));
            }
            Reply::Incident(incident) => {
                match incident {
                    Incident::Unbuilt(_) | Incident::Foreign => self.is_unbuilt = true,
                    Incident::Repaired(_) => self.is_unbuilt = false,
                    _ => {}
                }
                self.notice((self.start.method.sentences.of)(incident));
            }
            Reply::Text(part) => {
                link.text.extend(part.bytes());
                link.text.truncate(TEXT_BYTES_MAX);
                if part.then != Then::More {
                    let text = std::mem::take(&mut link.text);
                    self.is_unbuilt |= part.then == Then::Unbuilt;
                    self.notice(String::from_utf8_lossy(&text));
                }
            }
            Reply::Closed => self.is_closed = true,
        }
    }

    fn on_answer(&mut self, id: u64, result: Result<(), Refused>) {
        let skipped = self.sent.iter().take_while(|(one, _)| *one < id).count();
        let skipped: Vec<_> = self.sent.drain(..skipped).collect();
        self.give_up(skipped);
        if let Some((_, order)) = self.sent.pop_front_if(|(one, _)| *one == id) {
            self.ready
                .push_back(Heard::Answer(Answer { order, result }));
        }
    }

    /// Keeper and worker are gone.
    fn lose(&mut self) {
        self.link = None;
        self.counts.clear();
        let orphans: Vec<_> = self.sent.drain(..).chain(self.waiting.drain(..)).collect();
        self.give_up(orphans);
        self.due_ns = Some(monotonic_ns() + self.delay_ns);
    }

    /// Takes the keeper's exit status, when there is one.
    fn reap(&mut self) {
        let status = self.child.as_mut().and_then(|child| child.try_wait().ok());
        let Some(Some(status)) = status else { return };
        self.child = None;
        if self.link.is_some() {
            self.notice(format!(
                "half of the block helper ended ({status}): blocking goes on, but what is left is not started again \
                 if it ends, too"
            ));
            return;
        }
        let again = match self.is_last || process::is_hopeless(status) {
            true => {
                self.due_ns = None;
                self.is_over = true;
                let needs = self.start.method.sentences.needs;
                format!(
                    "it is not started again, as only a start of synledger has {needs} for it: no block is added or \
                     removed until then"
                )
            }
            false => "it will be started again".to_owned(),
        };
        self.notice(format!(
            "the block helper ended ({status}): what is blocked stays so until its time; {again}"
        ));
    }

    /// Starts a helper again when it is time, with a longer wait after each that said no hello.
    fn restart(&mut self) {
        self.reap();
        let is_due = self.due_ns.is_some_and(|due_ns| due_ns <= monotonic_ns());
        if !is_due || self.link.is_some() || self.child.is_some() {
            return;
        }
        self.delay_ns = self.delay_ns.saturating_mul(2).min(DELAY_NS_MAX);
        self.due_ns = None;
        if let Err(error) = self.launch() {
            self.notice(format!("the block helper cannot be started: {error}"));
            self.due_ns = Some(monotonic_ns() + self.delay_ns);
        }
    }

    /// Waits until `until_ns` for the helper to take the close request, and for all that it has to say.
    fn farewell(&mut self, keep: bool, until_ns: i64) {
        // Which helper was asked: one that is started again does not read what its predecessor was told.
        let mut asked = None;
        loop {
            self.receive();
            self.send_waiting();
            let Some(link) = self.link.as_ref().filter(|_| !self.is_closed) else {
                return;
            };
            if asked != link.epoch
                && self.waiting.is_empty()
                && let Some(epoch) = link.epoch
            {
                let request = encode_requests(epoch, &[Request::Close { keep }]);
                if send_datagram(&link.socket, &request).is_ok() {
                    asked = Some(epoch);
                }
            }
            let left_ms = (until_ns - monotonic_ns()) / 1_000_000;
            let Ok(left_ms) = u16::try_from(left_ms.min(i64::from(u16::MAX))) else {
                return;
            };
            let mut events = PollFlags::POLLIN;
            if asked != link.epoch {
                events |= PollFlags::POLLOUT;
            }
            let mut fds = [PollFd::new(link.socket.as_fd(), events)];
            if poll(&mut fds, PollTimeout::from(left_ms)) == Ok(0) {
                return;
            }
        }
    }
}

fn send_datagram(socket: &OwnedFd, datagram: &[u8]) -> Result<(), Errno> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    send(socket.as_raw_fd(), datagram, flags).map(drop)
}

impl Firewall for Helper {
    fn order(&mut self, orders: &[Order]) -> usize {
        if self.is_over {
            self.give_up(orders.iter().map(|order| (0, *order)));
            return orders.len();
        }
        if self.link.is_none() {
            return 0;
        }
        let room = OPEN_MAX.saturating_sub(self.waiting.len() + self.sent.len());
        let taken = orders.len().min(room);
        for order in &orders[..taken] {
            self.waiting.push_back((self.next_id, *order));
            self.next_id += 1;
        }
        self.send_waiting();
        taken
    }

    fn ask(&mut self) {
        self.asks = true;
        self.send_waiting();
    }

    fn count(&mut self, nets: &[IpNet]) {
        if self.link.is_some() {
            let room = OPEN_MAX.saturating_sub(self.counts.len());
            self.counts.extend(nets.iter().take(room));
            self.send_waiting();
        }
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn poll(&mut self, heard: &mut dyn FnMut(Heard)) {
        self.receive();
        self.restart();
        self.send_waiting();
        for one in self.ready.drain(..) {
            heard(one);
        }
    }

    fn close(&mut self, keep: bool, ms: u32) -> bool {
        let until_ns = monotonic_ns() + i64::from(ms) * 1_000_000;
        self.farewell(keep, until_ns);
        // Without its end of the pair the helper ends in any case.
        self.link = None;
        self.due_ns = None;
        let orphans: Vec<_> = self.sent.drain(..).chain(self.waiting.drain(..)).collect();
        self.give_up(orphans);
        if !self.is_closed {
            let left = match keep {
                true => "",
                false => self.start.method.sentences.left,
            };
            self.notice(format!("the block helper gave no last answer{left}"));
        }
        while let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) if monotonic_ns() < until_ns => {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                _ => self.child = None,
            }
        }
        self.is_closed
    }
}
