//! Maps, program and hooks as the backend of a worker.

use super::elements::{Elements, NAMES, Value};
use super::hooks::Hooks;
use super::left;
use super::notices::sentence;
use super::pins::{NoPins, Pins};
use super::stale::remove_stale;
use super::{prepare, program};
use crate::host::nic::NAME_BYTES_MAX;
use crate::respond::block::firewall::{Element, Order, Refused};
use crate::respond::block::helper::{Backend, Method, Said, Sentences, Start, Unbuilt, in_runs};
use crate::sys::bpf::{Map, Program, Rejected};
use crate::time::clock::monotonic_ns;
use ipnet::IpNet;
use std::collections::{BTreeSet, HashMap};
use std::io;

/// Interfaces of one helper at most.
const INTERFACES_MAX: usize = 1_024;
/// Room of a map for elements that are over and not removed yet.
const SIZE_SPARE: u32 = 1_024;
/// Most orders of one round.
const ORDERS_MAX: usize = 1_024;
/// Sentences that wait at most.
const SAID_MAX: usize = 64;
/// Bytes of the verifier's log that are said: its end has the reason.
const LOG_BYTES: usize = 2_048;
/// Time between two looks at interfaces that refuse the program.
const AGAIN_NS: i64 = 10_000_000_000;
/// Least time between two removals of what is over.
const SWEEP_NS: i64 = 1_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// Blocking by XDP.
pub static METHOD: Method = Method {
    word: left::WORD,
    capabilities: &prepare::CAPABILITIES,
    optional: &prepare::VERIFIER,
    prepare: prepare::prepare,
    takes: |names| {
        let is_name = |name: &String| (1..=NAME_BYTES_MAX).contains(&name.len());
        (1..=INTERFACES_MAX).contains(&names.len()) && names.iter().all(is_name)
    },
    open: |elements_max, names| Ok(Box::new(Xdp::new(elements_max, names))),
    left: left::find,
    sentences: Sentences {
        of: sentence,
        built: "sources are blocked by XDP now",
        left: ": XDP programs may still be at the interfaces (/sys/fs/bpf/synledger)",
        needs: "CAP_NET_ADMIN and CAP_BPF",
    },
};

/// For a helper that blocks at interfaces of these names.
pub fn start(elements_max: u32, names: &[String]) -> Start {
    Start {
        method: &METHOD,
        elements_max,
        words: names.to_vec(),
    }
}

/// What is in the kernel.
struct Built {
    elements: Elements,
    program: Program,
    /// `None`: nothing outlives this process.
    pins: Option<Pins>,
}

struct Xdp {
    elements_max: usize,
    /// Elements of a new map.
    room: u32,
    hooks: Hooks,
    names: Vec<String>,
    built: Option<Built>,
    /// Every element with its end by CLOCK_MONOTONIC.
    known: HashMap<IpNet, i64>,
    ends: BTreeSet<(i64, IpNet)>,
    /// When to remove what is over.
    swept_ns: i64,
    /// When to look at the interfaces again.
    look_ns: Option<i64>,
    said: Vec<Said>,
    /// Why nothing outlives the helper has been said.
    is_unpinned_said: bool,
}

impl Xdp {
    fn new(elements_max: u32, names: &[String]) -> Self {
        Self {
            elements_max: usize::try_from(elements_max).unwrap_or(usize::MAX),
            room: elements_max.saturating_add(SIZE_SPARE),
            hooks: Hooks::of(names),
            names: names.to_vec(),
            built: None,
            known: HashMap::new(),
            ends: BTreeSet::new(),
            swept_ns: i64::MIN / 2,
            look_ns: None,
            said: Vec::new(),
            is_unpinned_said: false,
        }
    }

    fn say(&mut self, texts: impl IntoIterator<Item = String>) {
        let room = SAID_MAX.saturating_sub(self.said.len());
        self.said
            .extend(texts.into_iter().take(room).map(Said::Text));
    }

    fn know(&mut self, net: IpNet, end_ns: i64) {
        self.forget(net);
        self.known.insert(net, end_ns);
        self.ends.insert((end_ns, net));
    }

    fn forget(&mut self, net: IpNet) {
        if let Some(end_ns) = self.known.remove(&net) {
            self.ends.remove(&(end_ns, net));
        }
    }

    /// Opens or makes the maps. Returns them, and whether an earlier run had left them.
    fn open_maps(&self, pins: Option<&Pins>) -> Result<(Elements, bool), Unbuilt> {
        let mut found = false;
        let mut open = |family: usize| -> Result<Map, Unbuilt> {
            let path = pins.map(|pins| pins.path(NAMES[family]));
            if let Some(path) = path.as_ref().filter(|path| path.exists()) {
                found = true;
                return Elements::pinned(path, family).ok_or_else(|| {
                    let path = path.display();
                    Unbuilt::Because(format!(
                        "{path} is no map of this program: nothing is blocked until it is removed"
                    ))
                });
            }
            let map = Elements::make(family, self.room)?;
            match path {
                Some(path) => map.pin(&path).map(|()| map).map_err(Unbuilt::from),
                None => Ok(map),
            }
        };
        let maps = [open(0)?, open(1)?];
        Ok((Elements::of(maps), found))
    }

    /// The folder of names; `None`, and said, if there cannot be one.
    fn open_pins(&mut self) -> Result<Option<Pins>, Unbuilt> {
        match Pins::open() {
            Ok(pins) => Ok(Some(pins)),
            Err(NoPins::Locked) => Err(Unbuilt::Busy(
                "another synledger blocks by XDP in this network namespace".to_owned(),
            )),
            Err(NoPins::Foreign(path)) => Err(Unbuilt::Because(format!(
                "{} belongs to somebody else: nothing is blocked until it is removed",
                path.display()
            ))),
            Err(NoPins::Missing(why)) => {
                let is_new = !std::mem::replace(&mut self.is_unpinned_said, true);
                self.say(is_new.then(|| format!(
                    "{why}: if the block helper is killed, all blocks end with it, and the next run finds none"
                )));
                Ok(None)
            }
        }
    }

    /// Knows what the maps have, but what is over, `is_protected`, or beyond the limit: that is removed.
    fn learn(
        &mut self,
        elements: &Elements,
        is_protected: &dyn Fn(IpNet) -> bool,
        now_ns: i64,
    ) -> io::Result<()> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (net, value) in elements.list()? {
            let end_ns = value.map(|value| value.end_ns);
            match end_ns.filter(|&end_ns| end_ns > now_ns && !is_protected(net)) {
                Some(end_ns) => good.push((end_ns, net)),
                None => bad.push(net),
            }
        }
        good.sort_unstable_by(|one, other| other.cmp(one));
        let beyond = good.split_off(good.len().min(self.elements_max));
        bad.extend(beyond.into_iter().map(|(_, net)| net));
        elements.remove(&bad);
        self.known.clear();
        self.ends.clear();
        good.into_iter()
            .for_each(|(end_ns, net)| self.know(net, end_ns));
        Ok(())
    }

    /// Opens or makes all of it. What was made for a run that cannot begin is removed.
    fn build(
        &mut self,
        is_protected: &dyn Fn(IpNet) -> bool,
        now_ns: i64,
    ) -> Result<Option<usize>, Unbuilt> {
        let pins = self.open_pins()?;
        let (elements, found) = self.open_maps(pins.as_ref())?;
        self.learn(&elements, is_protected, now_ns)?;
        let program = program::load(elements.maps());
        let adopted = match program {
            Ok(program) => {
                self.hooks = Hooks::of(&self.names);
                let said = self.hooks.adopt(&program, pins.as_ref());
                self.built = Some(Built {
                    elements,
                    program,
                    pins,
                });
                said.map_err(Unbuilt::from)
            }
            Err(rejected) => {
                self.close_pins(pins.as_ref(), found);
                return Err(Unbuilt::Because(refusal(&rejected)));
            }
        };
        let refused = self.hooks.all_refused();
        match (adopted, refused) {
            (Ok(said), None) => {
                self.say(said);
                self.look_later(now_ns);
                Ok(found.then_some(self.known.len()))
            }
            (Err(why), _) => {
                self.built = None;
                Err(why)
            }
            (Ok(_), Some(why)) => {
                if let Some(built) = self.built.take() {
                    self.close_pins(built.pins.as_ref(), found);
                }
                Err(Unbuilt::Because(format!(
                    "no interface takes the XDP program: {why}"
                )))
            }
        }
    }

    /// Removes the names of new maps, which nothing needs.
    fn close_pins(&self, pins: Option<&Pins>, found: bool) {
        if let Some(pins) = pins.filter(|_| !found) {
            NAMES.into_iter().for_each(|name| drop(pins.remove(name)));
            pins.remove_folder();
        }
    }

    /// Follows the interfaces.
    fn look(&mut self, now_ns: i64) {
        if let Some(built) = &self.built {
            match self.hooks.renew(&built.program, built.pins.as_ref()) {
                Ok(said) => self.say(said),
                Err(error) => self.say([format!("the interfaces cannot be followed: {error}")]),
            }
            self.look_later(now_ns);
        }
    }

    fn look_later(&mut self, now_ns: i64) {
        self.look_ns = self.hooks.is_any_refused().then_some(now_ns + AGAIN_NS);
    }

    /// Removes what is over.
    fn sweep(&mut self, now_ns: i64) {
        self.swept_ns = now_ns;
        let over: Vec<IpNet> = self
            .ends
            .iter()
            .take_while(|(end_ns, _)| *end_ns <= now_ns)
            .map(|(_, net)| *net)
            .collect();
        if let Some(built) = self.built.as_ref().filter(|_| !over.is_empty()) {
            built.elements.remove(&over);
        }
        over.into_iter().for_each(|net| self.forget(net));
    }

    fn flush(&mut self) -> Result<(), Refused> {
        let Some(built) = &self.built else {
            return Err(Refused::Gone);
        };
        let removed = built.elements.remove_all();
        let removed = removed.map_err(|error| Refused::Kernel(errno(&error)))?;
        self.known.clear();
        self.ends.clear();
        removed.map_err(Refused::Kernel)
    }

    /// Orders about different elements: what is added and what is removed in one call each.
    fn apply_run(&mut self, orders: &[Order], now_ns: i64) -> Vec<Result<(), Refused>> {
        if self.known.len() + orders.len() > self.elements_max {
            self.sweep(now_ns);
        }
        let Some(built) = &self.built else {
            return vec![Err(Refused::Gone); orders.len()];
        };
        let mut answers = vec![Ok(()); orders.len()];
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        let mut count = self.known.len();
        for (at, order) in orders.iter().enumerate() {
            match *order {
                Order::Add { net, for_s } => {
                    let is_known = self.known.contains_key(&net);
                    if !is_known && count >= self.elements_max {
                        answers[at] = Err(Refused::Full);
                        continue;
                    }
                    count += usize::from(!is_known);
                    // An element that is given again goes on counting.
                    let before = built.elements.get(net).filter(|_| is_known);
                    let value = Value {
                        end_ns: now_ns.saturating_add(i64::from(for_s) * SECOND_NS),
                        dropped: before.map_or((0, 0), |before| before.dropped),
                    };
                    added.push((at, net, value));
                }
                Order::Remove { net } => {
                    count -= usize::from(self.known.contains_key(&net));
                    removed.push((at, net));
                }
                Order::Flush => {}
            }
        }
        let nets: Vec<IpNet> = removed.iter().map(|(_, net)| *net).collect();
        let elements: Vec<_> = added.iter().map(|(_, net, value)| (*net, *value)).collect();
        let gone = built.elements.remove(&nets);
        let there = built.elements.add(&elements);
        for ((at, net), result) in removed.into_iter().zip(gone) {
            match result {
                Ok(()) => self.forget(net),
                Err(errno) => answers[at] = Err(Refused::Kernel(errno)),
            }
        }
        for ((at, net, value), result) in added.into_iter().zip(there) {
            match result {
                Ok(()) => self.know(net, value.end_ns),
                Err(libc::ENOSPC) => answers[at] = Err(Refused::Full),
                Err(errno) => answers[at] = Err(Refused::Kernel(errno)),
            }
        }
        answers
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// Why the program was not loaded, with the end of the verifier's log.
fn refusal(rejected: &Rejected) -> String {
    let log = rejected.log.trim();
    let start =
        (log.len().saturating_sub(LOG_BYTES)..log.len()).find(|&at| log.is_char_boundary(at));
    let log = &log[start.unwrap_or(0)..];
    let says = match log.is_empty() {
        true => String::new(),
        false => format!("; its verifier says: {log}"),
    };
    format!(
        "the kernel refuses the XDP program ({}){says}",
        rejected.error
    )
}

impl Backend for Xdp {
    fn adopt(
        &mut self,
        is_protected: &dyn Fn(IpNet) -> bool,
        now_ns: i64,
    ) -> Result<Option<usize>, Unbuilt> {
        let found = self.build(is_protected, now_ns)?;
        let pins = self.built.as_ref().and_then(|built| built.pins.as_ref());
        let left = pins.and_then(remove_stale);
        self.say(left);
        Ok(found)
    }

    fn repair(&mut self, now_ns: i64) -> Result<(), Unbuilt> {
        self.built = None;
        self.build(&|_| false, now_ns).map(drop)
    }

    fn apply(&mut self, orders: &[Order], now_ns: i64) -> Vec<Result<(), Refused>> {
        in_runs(orders, ORDERS_MAX, |run| match run {
            [Order::Flush] => vec![self.flush()],
            run => self.apply_run(run, now_ns),
        })
    }

    fn list(&mut self) -> io::Result<Vec<Element>> {
        let now_ns = monotonic_ns();
        self.look(now_ns);
        let Some(built) = &self.built else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let listed = built.elements.alive(now_ns)?;
        // Also what others have put there, so that it ends.
        for (end_ns, element) in &listed {
            if self.known.get(&element.net) != Some(end_ns) {
                self.know(element.net, *end_ns);
            }
        }
        Ok(listed.into_iter().map(|(_, element)| element).collect())
    }

    fn counted(&mut self, net: IpNet) -> Option<(u64, u64)> {
        let value = self.built.as_ref()?.elements.get(net)?;
        Some(value.dropped)
    }

    fn matching(&self, is: &dyn Fn(IpNet) -> bool) -> Vec<IpNet> {
        self.known.keys().copied().filter(|net| is(*net)).collect()
    }

    fn count(&self) -> usize {
        self.known.len()
    }

    fn close(&mut self, keep: bool) -> Result<(), i32> {
        let Some(built) = self.built.take() else {
            return Ok(());
        };
        if keep {
            if built.pins.is_none() {
                self.say(["the blocks end with this run: nothing keeps them".to_owned()]);
            }
            return Ok(());
        }
        let mut removed = vec![self.hooks.remove(built.pins.as_ref())];
        if let Some(pins) = &built.pins {
            removed.extend(NAMES.map(|name| pins.remove(name)));
            pins.remove_folder();
        }
        let failed = removed.into_iter().find_map(Result::err);
        failed.map_or(Ok(()), |error| Err(errno(&error)))
    }

    fn on_links_changed(&mut self) {
        self.look(monotonic_ns());
    }

    fn due_ns(&self) -> Option<i64> {
        let first = self.ends.first().map(|(end_ns, _)| *end_ns);
        let sweep_ns = first.map(|end_ns| end_ns.max(self.swept_ns + SWEEP_NS));
        sweep_ns.into_iter().chain(self.look_ns).min()
    }

    fn on_due(&mut self, now_ns: i64) {
        self.sweep(now_ns);
        if self.look_ns.is_some_and(|look_ns| look_ns <= now_ns) {
            self.look(now_ns);
        }
    }

    fn take_said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }
}
