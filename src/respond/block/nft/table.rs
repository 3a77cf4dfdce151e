//! Our table in the kernel, and what is in it.

use super::attributes::Batch;
use super::elements::{self, GETSETELEM};
use super::nfnetlink::{Aborted, Changes, Nfnetlink};
use super::objects::{self, Features, FoundTable, GETCHAIN, GETSET, GETTABLE};
use super::set_key::SetKey;
use crate::respond::block::firewall::{Element, Order, Refused};
use crate::respond::block::helper::{FOR_S_MAX, LeftElement, Unbuilt, in_runs};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

/// Most orders of one transaction.
const ORDERS_MAX: usize = 256;
/// Room of a set for elements that have expired and are not collected yet.
const SIZE_SPARE: u32 = 1_024;
/// An element is taken for gone so long after its time: the kernel's clock and ours may differ by a little.
const GRACE_NS: i64 = 2_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// How a table is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Most elements, of all sets together.
    pub elements_max: u32,
    /// Tables may have owners.
    pub may_own: bool,
    /// Adding a known element starts its time anew (Linux 6.12); before, the kernel ignores it in silence.
    pub refreshes: bool,
}

impl From<Aborted> for Unbuilt {
    fn from(aborted: Aborted) -> Self {
        Self::Kernel(aborted.errno())
    }
}

/// The table `inet synledger`.
#[derive(Debug)]
pub struct Table {
    kernel: Nfnetlink,
    pub(super) setup: Setup,
    /// Those of the last build.
    features: Features,
    sets: BTreeSet<SetKey>,
    /// Every element with the end of its time by CLOCK_MONOTONIC.
    known: HashMap<IpNet, i64>,
}

impl Table {
    /// Opens the sockets. The table is not there yet.
    ///
    /// # Errors
    ///
    /// Those of netlink.
    pub fn open(setup: Setup) -> io::Result<Self> {
        Ok(Self {
            kernel: Nfnetlink::open()?,
            setup,
            features: Features {
                owner: setup.may_own,
                counters: true,
            },
            sets: BTreeSet::new(),
            known: HashMap::new(),
        })
    }

    /// Features of the table as it was built.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Number of elements, of which some may have expired just now.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Elements that satisfy `is`.
    pub fn matching(&self, is: impl Fn(IpNet) -> bool) -> Vec<IpNet> {
        self.known.keys().copied().filter(|net| is(*net)).collect()
    }

    /// A subscription to changes that others make.
    ///
    /// # Errors
    ///
    /// Those of netlink.
    pub fn watch(&self) -> io::Result<Changes> {
        Changes::watch(self.kernel.port()?)
    }

    /// Finds the table of an earlier run. `None`: there is none.
    ///
    /// # Errors
    ///
    /// [`Unbuilt::Foreign`] if a table of this name has sets of other names or kinds, other chains, or other objects and no
    /// sets.
    pub fn find(&mut self) -> Result<Option<Vec<Element>>, Unbuilt> {
        let request = objects::name_request();
        let Some(found) = self.found()? else {
            return Ok(None);
        };
        let sets = self
            .kernel
            .dump(GETSET, &request, |message| objects::parse_set(message.body))?;
        let sets: Option<BTreeSet<SetKey>> = sets.into_iter().collect();
        let chains = self.kernel.dump(GETCHAIN, &request, |message| {
            objects::is_our_chain(message.body)
        })?;
        match sets.filter(|_| chains.iter().all(|is_ours| *is_ours)) {
            Some(sets) if !sets.is_empty() || found.objects == 0 => self.sets = sets,
            _ => return Err(Unbuilt::Foreign),
        }
        Ok(Some(self.list()?))
    }

    /// What the kernel says of a table of our name; `None`: there is none.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn found(&mut self) -> io::Result<Option<FoundTable>> {
        self.kernel
            .get(GETTABLE, &objects::name_request(), |message| {
                objects::parse_table(message.body)
            })
    }

    /// Every element with an end, which is at most [`FOR_S_MAX`] away: somebody else may have added one that lives longer
    /// than any block can. One without an end is no block.
    ///
    /// # Errors
    ///
    /// Those of [`Self::list_all`].
    pub fn list(&mut self) -> io::Result<Vec<Element>> {
        let timed = |one: LeftElement| {
            let left_s = u32::try_from(one.left_s?).unwrap_or(FOR_S_MAX);
            Some(Element {
                net: one.net,
                expires_s: left_s.min(FOR_S_MAX),
                dropped: one.dropped,
            })
        };
        Ok(self.list_all()?.into_iter().filter_map(timed).collect())
    }

    /// Every element as the kernel has it.
    ///
    /// # Errors
    ///
    /// The kernel's answer; ENOENT if the table or a set is gone.
    pub fn list_all(&mut self) -> io::Result<Vec<LeftElement>> {
        let mut all = Vec::new();
        for &key in &self.sets {
            let request = elements::elements_request(key);
            let parts = self.kernel.dump(GETSETELEM, &request, |message| {
                Some(elements::parse_elements(message.body, key))
            })?;
            all.extend(parts.into_iter().flatten());
        }
        Ok(all)
    }

    /// Packets and bytes that an element has dropped; `None`: it is not there, or nothing is counted.
    pub fn counted(&mut self, net: IpNet) -> Option<(u64, u64)> {
        if !self.known.contains_key(&net) {
            return None;
        }
        let (key, request) = (SetKey::of(net), elements::element_request(net));
        let found = self.kernel.get(GETSETELEM, &request, |message| {
            elements::parse_elements(message.body, key).pop()
        });
        found.ok()??.dropped
    }

    /// Builds the table with these elements, in one transaction; one that is there is replaced. Of too many elements
    /// those that live longest are taken.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn build(&mut self, mut elements: Vec<Element>, now_ns: i64) -> Result<(), Unbuilt> {
        let max = usize::try_from(self.setup.elements_max).unwrap_or(usize::MAX);
        // One in its last second would get a whole one.
        elements.retain(|element| element.expires_s > 0);
        if elements.len() > max {
            elements.sort_unstable_by_key(|element| std::cmp::Reverse(element.expires_s));
            elements.truncate(max);
        }
        let mut by_set: BTreeMap<SetKey, Vec<Element>> = BTreeMap::new();
        for key in SetKey::HOSTS {
            by_set.entry(key).or_default();
        }
        for element in &elements {
            let set = by_set.entry(SetKey::of(element.net)).or_default();
            set.push(*element);
        }
        self.features = self.build_with_some(&by_set)?;
        self.sets = by_set.into_keys().collect();
        let end = |element: &Element| now_ns + i64::from(element.expires_s) * SECOND_NS;
        let known = elements.iter().map(|element| (element.net, end(element)));
        self.known = known.collect();
        Ok(())
    }

    /// Tries with all features first. Returns those that the kernel took.
    fn build_with_some(
        &mut self,
        by_set: &BTreeMap<SetKey, Vec<Element>>,
    ) -> Result<Features, Unbuilt> {
        let mut last = Unbuilt::Kernel(libc::EOPNOTSUPP);
        for counters in [true, false] {
            for owner in [true, false] {
                let features = Features { owner, counters };
                if owner && !self.setup.may_own {
                    continue;
                }
                match self.build_with(by_set, features) {
                    Ok(()) => return Ok(features),
                    Err(refused @ Unbuilt::Kernel(libc::EINVAL | libc::EOPNOTSUPP)) => {
                        last = refused;
                    }
                    Err(other) => return Err(other),
                }
            }
        }
        Err(last)
    }

    fn build_with(
        &mut self,
        by_set: &BTreeMap<SetKey, Vec<Element>>,
        features: Features,
    ) -> Result<(), Unbuilt> {
        let found = self.found()?;
        let mut batch = Batch::new(self.kernel.next_sequence());
        if found.is_some() {
            objects::delete_table(&mut batch);
        }
        objects::new_table(&mut batch, features);
        objects::new_chain(&mut batch);
        for (key, elements) in by_set {
            objects::new_set(&mut batch, *key, self.set_size(), features);
            elements::restore(&mut batch, *key, elements, features);
        }
        Ok(self.kernel.commit(batch)?)
    }

    fn set_size(&self) -> u32 {
        self.setup.elements_max.saturating_add(SIZE_SPARE)
    }

    /// Builds the table anew after somebody changed it, with every element that should be there.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn repair(&mut self, now_ns: i64) -> Result<(), Unbuilt> {
        // What was counted is taken along, where the elements are still there.
        let there = self.list().unwrap_or_default();
        let counted: HashMap<IpNet, _> = there.iter().map(|one| (one.net, one.dropped)).collect();
        let left_s = |end_ns: i64| u32::try_from((end_ns - now_ns) / SECOND_NS).unwrap_or(0);
        let wanted = self.known.iter().map(|(&net, &end_ns)| Element {
            net,
            expires_s: left_s(end_ns),
            dropped: counted.get(&net).copied().flatten(),
        });
        let wanted = wanted.collect();
        self.build(wanted, now_ns)
    }

    /// Carries out orders; returns an answer to each. An order that is refused does not keep others from being carried
    /// out.
    pub fn apply(&mut self, orders: &[Order], now_ns: i64) -> Vec<Result<(), Refused>> {
        in_runs(orders, ORDERS_MAX, |run| match run {
            [Order::Flush] => vec![self.flush()],
            run => self.apply_run(run, now_ns),
        })
    }

    /// Removes the table.
    ///
    /// # Errors
    ///
    /// The kernel's, but that there is none.
    pub fn remove(&mut self) -> Result<(), Aborted> {
        let mut batch = Batch::new(self.kernel.next_sequence());
        objects::delete_table(&mut batch);
        match self.kernel.commit(batch) {
            Err(aborted) if aborted.errno() != libc::ENOENT => Err(aborted),
            _ => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), Refused> {
        let mut batch = Batch::new(self.kernel.next_sequence());
        for key in &self.sets {
            elements::flush(&mut batch, *key);
        }
        match self.kernel.commit(batch) {
            // Without a table there are no elements, either; the next order finds that out.
            Err(aborted) if aborted.errno() != libc::ENOENT => {
                Err(Refused::Kernel(aborted.errno()))
            }
            _ => {
                self.known.clear();
                Ok(())
            }
        }
    }

    /// Orders about different elements, in one transaction; where some are refused, again without these.
    fn apply_run(&mut self, orders: &[Order], now_ns: i64) -> Vec<Result<(), Refused>> {
        let mut answers = self.decided(orders, now_ns);
        let mut repaired = false;
        // Each round answers at least one order, or is the one after a repair.
        for _ in 0..orders.len() + 2 {
            let attempt = self.encode(orders, &answers);
            if attempt.batch.is_empty() {
                break;
            }
            let new_sets = attempt.new_sets;
            let refused = match self.kernel.commit(attempt.batch) {
                Ok(()) => {
                    self.sets.extend(new_sets);
                    break;
                }
                Err(Aborted::Messages(refused)) => refused,
                Err(Aborted::Whole(errno)) => {
                    self.resync(now_ns);
                    fail(&mut answers, errno);
                    break;
                }
            };
            let mut lost = None;
            for (sequence, errno) in refused {
                match attempt.places.get(&sequence) {
                    Some(&at) => match refusal(orders[at], errno) {
                        Some(answer) => answers[at] = Some(answer),
                        None => lost = Some(errno),
                    },
                    None => lost = Some(errno),
                }
            }
            if let Some(errno) = lost {
                if repaired || errno != libc::ENOENT || self.repair(now_ns).is_err() {
                    fail(&mut answers, errno);
                    break;
                }
                repaired = true;
            }
        }
        self.remember(orders, answers, now_ns)
    }

    /// Answers that need no kernel: to the removal of what is not there, and beyond the limit.
    fn decided(&mut self, orders: &[Order], now_ns: i64) -> Vec<Option<Result<(), Refused>>> {
        let max = usize::try_from(self.setup.elements_max).unwrap_or(usize::MAX);
        if self.known.len() + orders.len() > max {
            self.known.retain(|_, end_ns| *end_ns + GRACE_NS > now_ns);
        }
        let mut count = self.known.len();
        let mut decide = |order: &Order| match order {
            Order::Remove { net } => match self.known.contains_key(net) {
                true => {
                    count -= 1;
                    None
                }
                false => Some(Ok(())),
            },
            Order::Add { net, .. } if !self.known.contains_key(net) => {
                if count >= max {
                    return Some(Err(Refused::Full));
                }
                count += 1;
                None
            }
            _ => None,
        };
        orders.iter().map(&mut decide).collect()
    }

    fn encode(&self, orders: &[Order], answers: &[Option<Result<(), Refused>>]) -> Attempt {
        let mut attempt = Attempt {
            batch: Batch::new(self.kernel.next_sequence()),
            places: HashMap::new(),
            new_sets: BTreeSet::new(),
        };
        let open = orders.iter().zip(answers).enumerate();
        for (at, (order, _)) in open.filter(|(_, (_, answer))| answer.is_none()) {
            let batch = &mut attempt.batch;
            let (first, last) = match *order {
                Order::Flush => continue,
                Order::Remove { net } => {
                    let one = elements::remove(batch, net);
                    (one, one)
                }
                Order::Add { net, for_s } => {
                    let key = SetKey::of(net);
                    if !self.sets.contains(&key) && attempt.new_sets.insert(key) {
                        objects::new_set(batch, key, self.set_size(), self.features);
                    }
                    let first = elements::add(batch, net, for_s);
                    let mut last = first;
                    if self.known.contains_key(&net) && !self.setup.refreshes {
                        // The first one is for an element that has expired meanwhile: only what is there can be
                        // removed.
                        elements::remove(batch, net);
                        last = elements::add(batch, net, for_s);
                    }
                    (first, last)
                }
            };
            attempt.places.extend((first..=last).map(|one| (one, at)));
        }
        attempt
    }

    /// Makes all final: what has no answer yet was carried out.
    fn remember(
        &mut self,
        orders: &[Order],
        answers: Vec<Option<Result<(), Refused>>>,
        now_ns: i64,
    ) -> Vec<Result<(), Refused>> {
        let answers = answers.into_iter().map(|answer| answer.unwrap_or(Ok(())));
        let answers: Vec<_> = answers.collect();
        for (order, _) in orders.iter().zip(&answers).filter(|(_, it)| it.is_ok()) {
            match *order {
                Order::Add { net, for_s } => {
                    self.known
                        .insert(net, now_ns + i64::from(for_s) * SECOND_NS);
                }
                Order::Remove { net } => {
                    self.known.remove(&net);
                }
                Order::Flush => {}
            }
        }
        answers
    }

    /// Takes these for elements that are there, so that they can be removed.
    pub fn know(&mut self, nets: &[IpNet]) {
        self.known.extend(nets.iter().map(|&net| (net, i64::MAX)));
    }

    /// Learns what is in the kernel: after an answer was lost.
    fn resync(&mut self, now_ns: i64) {
        if let Ok(there) = self.list() {
            let end = |one: &Element| now_ns + i64::from(one.expires_s) * SECOND_NS;
            self.known = there.iter().map(|one| (one.net, end(one))).collect();
        }
    }
}

/// A transaction, and whose its messages are.
struct Attempt {
    batch: Batch,
    /// Sequence number → index of the order.
    places: HashMap<u32, usize>,
    new_sets: BTreeSet<SetKey>,
}

/// The answer to an order whose message was refused; `None`: the table or its set is not there.
fn refusal(order: Order, errno: i32) -> Option<Result<(), Refused>> {
    match (order, errno) {
        // It has expired.
        (Order::Remove { .. }, libc::ENOENT) => Some(Ok(())),
        (_, libc::ENOENT) => None,
        (_, libc::ENFILE) => Some(Err(Refused::Full)),
        (_, errno) => Some(Err(Refused::Kernel(errno))),
    }
}

/// Answers what has no answer yet.
fn fail(answers: &mut [Option<Result<(), Refused>>], errno: i32) {
    for answer in answers.iter_mut().filter(|answer| answer.is_none()) {
        *answer = Some(Err(Refused::Kernel(errno)));
    }
}
