//! A blocker with a clock and a firewall that tests hold.

use super::*;
use crate::books::blocks::BlockCounts;
use crate::host::addresses::Localities;
use crate::inspect::Kind;
use crate::inspect::detection::{Phase, Subject, Verdict};
use crate::log::block_record::{BlockRecord, Outcome};
use crate::log::formats::samples::{self, TS_NS};
use crate::respond::block::desk::Desk;
use crate::respond::block::firewall::{Answer, Heard, Refused};
use crate::respond::block::plan::{BlockMode, BlockOn};
use crate::respond::guard::{Shared, Surroundings};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

pub const S: i64 = 1_000_000_000;

/// A kernel in memory, whose answers tests decide.
#[derive(Debug, Default)]
pub struct Kernel {
    pub elements: BTreeMap<IpNet, i64>,
    /// Every order that was taken.
    pub orders: Vec<Order>,
    /// `None`: all elements are asked for.
    unanswered: VecDeque<Option<Order>>,
    pub room: usize,
    /// Results of orders to come; empty: carried out.
    pub results: VecDeque<Result<(), Refused>>,
    /// Takes no orders.
    pub is_stuck: bool,
    /// Keeps its answers.
    pub is_slow: bool,
    pub dropped: Option<(u64, u64)>,
    pub closed: Option<bool>,
    /// Ends without a last answer.
    pub is_gone: bool,
    /// Answers every order with [`Refused::Gone`], for good.
    pub is_over: bool,
    pub heard: Vec<Heard>,
    pub now_ns: i64,
}

impl Kernel {
    fn answer(&mut self) -> Vec<Heard> {
        let mut all = std::mem::take(&mut self.heard);
        while let Some(asked) = self.unanswered.pop_front() {
            let Some(order) = asked else {
                all.push(Heard::Elements(self.list()));
                continue;
            };
            let result = self
                .results
                .pop_front()
                .unwrap_or_else(|| self.carry_out(order));
            all.push(Heard::Answer(Answer { order, result }));
        }
        all
    }

    fn carry_out(&mut self, order: Order) -> Result<(), Refused> {
        let now_ns = self.now_ns;
        self.elements.retain(|_, end_ns| *end_ns > now_ns);
        if self.is_over {
            return Err(Refused::Gone);
        }
        match order {
            Order::Add { net, for_s } => {
                if self.room > 0 && self.elements.len() >= self.room {
                    return Err(Refused::Full);
                }
                self.elements.insert(net, now_ns + i64::from(for_s) * S);
            }
            Order::Remove { net } => {
                let gone = self.elements.remove(&net);
                return gone.map(|_| ()).ok_or(Refused::Kernel(libc::ENOENT));
            }
            Order::Flush => self.elements.clear(),
        }
        Ok(())
    }

    pub fn list(&self) -> Vec<Element> {
        let alive = self
            .elements
            .iter()
            .filter(|(_, end_ns)| **end_ns > self.now_ns);
        let element = |(&net, &end_ns): (&IpNet, &i64)| Element {
            net,
            expires_s: u32::try_from((end_ns - self.now_ns) / S).expect("short"),
            dropped: self.dropped,
        };
        alive.map(element).collect()
    }
}

#[derive(Clone, Debug, Default)]
pub struct Handle(pub Arc<Mutex<Kernel>>);

impl Firewall for Handle {
    fn order(&mut self, orders: &[Order]) -> usize {
        let mut kernel = self.0.lock().expect("no panic");
        if kernel.is_stuck {
            return 0;
        }
        kernel.orders.extend(orders);
        kernel.unanswered.extend(orders.iter().copied().map(Some));
        orders.len()
    }

    fn ask(&mut self) {
        self.0.lock().expect("no panic").unanswered.push_back(None);
    }

    fn count(&mut self, nets: &[IpNet]) {
        let mut kernel = self.0.lock().expect("no panic");
        let there = kernel.list();
        let counted = there.iter().filter(|one| nets.contains(&one.net));
        let counted: Vec<Heard> = counted
            .filter_map(|one| Some((one.net, one.dropped?)))
            .map(|(net, dropped)| Heard::Counted { net, dropped })
            .collect();
        kernel.heard.extend(counted);
    }

    fn is_over(&self) -> bool {
        self.0.lock().expect("no panic").is_over
    }

    fn poll(&mut self, heard: &mut dyn FnMut(Heard)) {
        let mut kernel = self.0.lock().expect("no panic");
        if !kernel.is_slow {
            kernel.answer().into_iter().for_each(heard);
        }
    }

    fn close(&mut self, keep: bool, _: u32) -> bool {
        let mut kernel = self.0.lock().expect("no panic");
        kernel.closed = Some(keep);
        !kernel.is_gone
    }
}

pub struct Lab {
    pub blocker: Blocker,
    pub kernel: Handle,
    pub desk: Desk,
    now_ns: Arc<AtomicI64>,
    pub around: Shared<Surroundings>,
    newest: Shared<BlockPlan>,
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub fn net(text: &str) -> IpNet {
    crate::host::addresses::parse_network(text).expect("a network")
}

pub fn plan() -> BlockPlan {
    BlockPlan {
        mode: BlockMode::DryRun,
        on: vec![BlockOn::Verdict(Verdict::Scan)],
        times_s: vec![600, 3600, 86_400],
        max: 100,
        rate: 60,
        unproven: false,
        private: false,
        prefix6: 128,
        keep: false,
    }
}

/// A scan by `src`, with a handshake and the verdict scan.
pub fn scan(src: &str) -> Detection {
    Detection {
        subject: Subject::Pair {
            src: ip(src),
            dst: ip("198.51.100.1"),
        },
        proof: Proof::Handshake,
        verdict: Some(Verdict::Scan),
        ..samples::scan(Phase::Started, vec![(80, 83)], 4)
    }
}

pub fn sweep(src: &str) -> Detection {
    Detection {
        kind: Kind::HostSweep,
        ..scan(src)
    }
}

impl Lab {
    /// This host is 198.51.100.1 and 2001:db8:a::1, its gateway 198.51.100.254; 203.0.113.0/24 and 2001:db8:d::1 are
    /// allowed.
    pub fn new(plan: BlockPlan) -> Self {
        let ours = Localities::live([ip("198.51.100.1"), ip("2001:db8:a::1")], &[]);
        let around = Surroundings::of([ip("198.51.100.254")]);
        let around: Shared<Surroundings> = Arc::new(RwLock::new(Arc::new(around)));
        let guard = Guard::allowing(
            &Arc::new(RwLock::new(Arc::new(ours))),
            &around,
            [net("203.0.113.0/24"), net("2001:db8:d::1")],
        );
        let (desk, requests) = Desk::open("dry-run", "edge");
        let now_ns = Arc::new(AtomicI64::new(0));
        let read = Arc::clone(&now_ns);
        let clock = Box::new(move || read.load(Ordering::Relaxed));
        let kernel = Handle::default();
        let newest: Shared<BlockPlan> = Arc::new(RwLock::new(Arc::new(plan)));
        let firewall = Box::new(kernel.clone());
        let mut lab = Self {
            blocker: Blocker::new(Arc::clone(&newest), firewall, guard, requests, clock),
            kernel,
            desk,
            now_ns,
            around,
            newest,
        };
        lab.tick(0);
        lab
    }

    /// A reload.
    pub fn change_plan(&mut self, plan: BlockPlan) {
        *self.newest.write().expect("not poisoned") = Arc::new(plan);
        // Orders, then answers.
        self.tick(0);
        self.tick(0);
    }

    pub fn now_ns(&self) -> i64 {
        self.now_ns.load(Ordering::Relaxed)
    }

    /// So many seconds pass, and the kernel has what it should.
    pub fn tick(&mut self, seconds: i64) {
        self.tick_unchecked(seconds);
        self.assert_closed();
    }

    /// So many seconds pass.
    pub fn tick_unchecked(&mut self, seconds: i64) {
        self.pass(seconds * S);
    }

    /// So many nanoseconds pass.
    pub fn pass(&mut self, ns: i64) {
        let now_ns = self.now_ns.fetch_add(ns, Ordering::Relaxed) + ns;
        self.kernel.0.lock().expect("no panic").now_ns = now_ns;
        let wall_ns = TS_NS + now_ns;
        self.blocker.tick(LogTime::default(), wall_ns);
        self.assert_wanted_closed();
    }

    /// A detection, due 5 ms ago, and the firewall's answer.
    pub fn detect(&mut self, detection: &Detection) {
        self.hear(detection);
        self.tick(0);
    }

    pub fn hear(&mut self, detection: &Detection) {
        let due = LogTime::packet(TS_NS + self.now_ns() - S / 200);
        self.blocker.on_detection(detection, due);
        self.assert_wanted_closed();
    }

    pub fn counts(&self) -> BlockCounts {
        self.blocker.block_counts().expect("it keeps them")
    }

    pub fn refused(&self, reason: BlockRefusal) -> u64 {
        self.counts().refused[reason as usize]
    }

    /// Every identity.
    pub fn assert_closed(&self) {
        let counts = self.counts();
        assert_eq!(counts.compared_ours, counts.compared_kernel, "{counts:?}");
        self.assert_wanted_closed();
    }

    /// Every identity but that about the kernel.
    pub fn assert_wanted_closed(&self) {
        let counts = self.counts();
        let sum = |all: &[u64]| all.iter().sum::<u64>();
        let by_detections = counts.wanted[Origin::Detection as usize];
        assert_eq!(counts.detections, sum(&counts.unwished) + by_detections);
        let there = counts.in_kernel + counts.in_flight;
        let gone = sum(&counts.refused) + counts.expired + sum(&counts.removed);
        assert_eq!(sum(&counts.wanted), there + gone, "{counts:?}");
    }

    pub fn records(&mut self) -> Vec<BlockRecord> {
        let mut all = Vec::new();
        while let Some(notice) = self.blocker.take_notice() {
            if let Notice::Block(record) = notice {
                all.push(*record);
            }
        }
        all
    }

    /// `blocked 600`, `refused gateway`, `ended expired`, each behind its network.
    pub fn said(&mut self) -> Vec<String> {
        let said = |record: &BlockRecord| {
            let net = crate::log::block_record::shown(record.net);
            match &record.outcome {
                Outcome::Blocked { for_s, renewed, .. } => {
                    let word = if *renewed { "renewed" } else { "blocked" };
                    format!("{net} {word} {for_s}")
                }
                Outcome::Refused { reason, .. } => format!("{net} refused {reason}"),
                Outcome::Ended { cause, .. } => format!("{net} ended {cause}"),
            }
        };
        self.records().iter().map(said).collect()
    }

    /// Words of records about the blocker itself.
    pub fn notes(&mut self) -> Vec<&'static str> {
        let mut all = Vec::new();
        while let Some(notice) = self.blocker.take_notice() {
            if let Notice::Lifecycle { word, .. } = notice {
                all.push(word);
            }
        }
        all
    }

    pub fn ask(&mut self, wish: Wish) -> Told {
        let mut answer = self.desk.hand_in(wish).expect("there is room");
        self.tick(0);
        self.tick(0);
        answer.try_recv().expect("it is answered")
    }

    pub fn with<T>(&self, change: impl FnOnce(&mut Kernel) -> T) -> T {
        change(&mut self.kernel.0.lock().expect("no panic"))
    }
}
