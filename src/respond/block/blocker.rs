//! Decides whom the firewall blocks: by detections, by hand, and by lists.

use super::batch::{self, NotTaken};
use super::desk::{Reply, Request, Row, Told, Wish};
use super::enforcer::{Enforcer, OFFENDERS_PER_BLOCK};
use super::firewall::{Element, Firewall, Order};
use super::memory::{Offenders, Rate, Said};
use super::orders::{Done, Pending, Purpose, Refusal};
use super::plan::BlockPlan;
use super::table::{Block, Blocks, Severity};
use crate::books::blocks::{BlockCounts, BlockRefusal, Origin, Removal, Unwished};
use crate::books::responder::ResponderCounts;
use crate::inspect::detection::{AlertStatus, Detection, Proof};
use crate::log::block_record::shown;
use crate::log::block_record::{Cause, Why};
use crate::log::event::Body;
use crate::log::notice::Notice;
use crate::log::reached::LogTime;
use crate::log::tap::{Listener, TapEvent};
use crate::respond::guard::{self, Guard, Shared};
use crate::words::many;
use crossbeam::channel::Receiver;
use ipnet::IpNet;
use std::collections::HashMap;
use std::sync::Arc;

/// The monotonic clock, nanoseconds.
pub type SteadyClock = Box<dyn Fn() -> i64 + Send>;

/// The policy of `--block`.
pub struct Blocker {
    plan: Arc<BlockPlan>,
    /// A reload changes it.
    newest: Shared<BlockPlan>,
    guard: Guard,
    rate: Rate,
    requests: Receiver<Request>,
    enforcer: Enforcer,
    clock: SteadyClock,
}

impl Blocker {
    /// `newest` changes with reloads; its mode, its socket and the group of that never do.
    pub fn new(
        newest: Shared<BlockPlan>,
        firewall: Box<dyn Firewall>,
        guard: Guard,
        requests: Receiver<Request>,
        clock: SteadyClock,
    ) -> Self {
        let plan = guard::newest(&newest);
        Self {
            rate: Rate::per_minute(plan.rate),
            enforcer: Enforcer::new(&plan, firewall),
            plan,
            newest,
            guard,
            requests,
            clock,
        }
    }

    /// Goes by the newest plan. Blocks keep their times; where there are more than it allows, they leave with the next one.
    fn renew_plan(&mut self, now_ns: i64) {
        let newest = guard::newest(&self.newest);
        if Arc::ptr_eq(&newest, &self.plan) {
            return;
        }
        self.plan = newest;
        self.rate.change_max(self.plan.rate);
        self.enforcer.change_plan(&self.plan);
        self.withdraw_guarded(now_ns);
    }

    /// Notes something about the firewall, at `wall_ns` of the wall clock.
    pub fn note(&mut self, text: String, wall_ns: i64) {
        self.enforcer.journal.wall_ns = wall_ns;
        self.enforcer.journal.note("block_firewall", text);
    }

    /// Its maximum memory.
    pub fn memory_bytes(plan: &BlockPlan) -> u64 {
        let one = Blocks::BYTES + OFFENDERS_PER_BLOCK * Offenders::BYTES;
        // Orders, and a list for a person.
        let orders = 2 * size_of::<(Pending, Order)>() + 2 * size_of::<Row>();
        let rate = usize::try_from(plan.rate).unwrap_or(usize::MAX) * size_of::<i64>();
        (plan.max * (one + orders) + rate + Said::BYTES) as u64
    }

    /// Handles a detection: at most one block.
    fn on_detection(&mut self, detection: &Detection, due: LogTime) {
        self.enforcer.journal.counts.detections += 1;
        let unwished = match source(detection, self.plan.prefix6) {
            None => Err(Unwished::NoSource),
            Some(_) if detection.status == AlertStatus::BelowVerdict => Err(Unwished::NotAsked),
            Some(_) if !self.plan.asks_for(detection) => Err(Unwished::NotAsked),
            Some(net) if self.enforcer.blocks.covering(&net).is_some() => Err(Unwished::Already),
            Some(net) => Ok(net),
        };
        let net = match unwished {
            Ok(net) => net,
            Err(why) => {
                self.enforcer.journal.counts.unwished[why as usize] += 1;
                return;
            }
        };
        let now_ns = (self.clock)();
        let why = Why::Detection(cause(detection, net));
        self.enforcer.journal.counts.wanted[Origin::Detection as usize] += 1;
        if let Some(reason) = self.refusal(net, detection, &why, now_ns) {
            return self
                .enforcer
                .journal
                .refuse(net, why, (reason, None), now_ns);
        }
        let nth = self.enforcer.offenders.next(&net, now_ns);
        let block = Block {
            nth,
            due_wall_ns: Some(due.wall_ns),
            ..Block::asked(why, self.plan.time_s(nth), self.enforcer.journal.wall_ns)
        };
        self.enforcer.order_new(net, block, None, now_ns);
        self.enforcer.send(now_ns);
    }

    /// Why a source is not blocked, if so; else the rate has counted it.
    fn refusal(
        &mut self,
        net: IpNet,
        detection: &Detection,
        why: &Why,
        now_ns: i64,
    ) -> Option<BlockRefusal> {
        let of_status = match detection.status {
            AlertStatus::Allowed => Some(BlockRefusal::Allowed),
            // Scans that are out of scope come from this host.
            AlertStatus::OutOfScope => Some(BlockRefusal::OwnAddress),
            AlertStatus::Alert | AlertStatus::BelowVerdict => None,
        };
        let of = &detection.source;
        let is_network = net.prefix_len() < net.max_prefix_len();
        let is_contacted = of.contacted || of.friendly || is_network && of.subnet_contacted;
        let is_unproven = detection.proof < Proof::Handshake && !self.plan.unproven;
        let refusal = (self.guard.spares(&net, self.plan.private))
            .or((self.enforcer.is_over()).then_some(BlockRefusal::NoAnswer))
            .or(of_status)
            .or(is_contacted.then_some(BlockRefusal::ContactedFirst))
            .or(is_unproven.then_some(BlockRefusal::Unproven))
            .or((!self.may_have_room(Severity::of(why))).then_some(BlockRefusal::Full));
        if refusal.is_some() || self.rate.take(now_ns) {
            return refusal;
        }
        if self.rate.is_first_refused(now_ns) {
            let text = format!(
                "more than {} in a minute are to be blocked: further ones are not, until fewer are; they are detected \
                 all the same. --block-rate is the limit",
                many(self.plan.rate, "source")
            );
            self.enforcer.journal.note("block_rate", text);
        }
        Some(BlockRefusal::Rate)
    }

    /// Whether there is room, or one less or as severe to make it.
    fn may_have_room(&self, severity: Severity) -> bool {
        let first = self.enforcer.blocks.first_to_leave();
        self.enforcer.blocks.staying() < self.plan.max
            || first.is_some_and(|(first, _)| first <= severity)
    }

    /// Takes over what the kernel has that is no block, or orders it to leave.
    fn adopt(&mut self, element: &Element, now_ns: i64) {
        let net = element.net;
        self.enforcer.journal.counts.wanted[Origin::Adopted as usize] += 1;
        let is_full = self.enforcer.blocks.staying() >= self.plan.max;
        let refusal =
            (self.guard.spares(&net, self.plan.private)).or(is_full.then_some(BlockRefusal::Full));
        let Some(reason) = refusal else {
            return self.enforcer.adopt(element, now_ns);
        };
        self.enforcer.push(net, Purpose::Stray, None, now_ns);
        let refusal = (reason, None);
        self.enforcer
            .journal
            .refuse(net, Why::Found, refusal, now_ns);
    }

    fn hear(&mut self, now_ns: i64) {
        for element in self.enforcer.hear(now_ns) {
            self.adopt(&element, now_ns);
        }
        self.enforcer.expire(now_ns);
    }

    /// Removes what the guard spares by now.
    fn withdraw_guarded(&mut self, now_ns: i64) {
        for net in self.enforcer.blocks.nets() {
            let is_staying = |block: &Block| block.leaving.is_none();
            if self.enforcer.blocks.get(&net).is_some_and(is_staying)
                && self.guard.spares(&net, self.plan.private).is_some()
            {
                self.enforcer
                    .order_to_leave(net, Removal::Guarded, None, now_ns);
            }
        }
    }

    fn serve(&mut self, now_ns: i64) {
        while let Ok(Request { wish, reply }) = self.requests.try_recv() {
            match wish {
                Wish::List => drop(reply.send(Told::Rows(self.rows()))),
                Wish::Add { nets, why } => self.add(nets, &why, reply, now_ns),
                Wish::Remove(net) => self.remove(net, reply, now_ns),
                Wish::Flush => self.flush(reply, now_ns),
            }
        }
    }

    fn rows(&self) -> Vec<Row> {
        let row = |(&net, block): (&IpNet, &Block)| Row {
            net,
            why: block.why.clone(),
            since_ns: block.since_wall_ns,
            until_ns: block.end_ns.map(|_| block.until_wall_ns),
            dropped: block.dropped,
        };
        self.enforcer.blocks.iter().map(row).collect()
    }

    /// Blocks by hand or from a list: all that the guard lets through at once, or none if there is no room for them.
    fn add(&mut self, nets: Vec<(IpNet, u32)>, why: &Why, reply: Reply, now_ns: i64) {
        if self.enforcer.is_over() {
            let text = "the block helper is gone for good: start synledger again".to_owned();
            return drop(reply.send(Told::Refused(text)));
        }
        let mut times_s = HashMap::new();
        for &(net, time_s) in &nets {
            // Of one that is named twice, the first counts.
            times_s.entry(net).or_insert(time_s);
        }
        let nets = nets.into_iter().map(|(net, _)| net).collect();
        let batch = batch::check(nets, &self.enforcer.blocks, |net| {
            self.guard.spares(net, self.plan.private)
        });
        let room = self.plan.max - self.enforcer.blocks.staying().min(self.plan.max);
        if batch.new.len() > room {
            let new = match batch.new.len() {
                1 => "1 block is new".to_owned(),
                count => format!("{count} blocks are new"),
            };
            let text = format!(
                "{new}, and there is room for {room}: raise --block-max, or remove some; nothing was changed"
            );
            return drop(reply.send(Told::Refused(text)));
        }
        let origin = match why {
            Why::Import(_) => Origin::Import,
            _ => Origin::Hand,
        };
        let mut done = Done::default();
        for NotTaken {
            net,
            at,
            reason,
            why: words,
        } in batch.refused
        {
            if let Some(reason) = reason {
                self.enforcer.journal.counts.wanted[origin as usize] += 1;
                self.enforcer
                    .journal
                    .refuse(net, why.clone(), (reason, None), now_ns);
            }
            done.refused.push(Refusal {
                net,
                at: Some(at),
                why: words,
            });
        }
        let answers = batch.new.len() + batch.renewed.len();
        if answers == 0 {
            return drop(reply.send(Told::Done(done)));
        }
        let ticket = Some(self.enforcer.tickets.open(answers, done, reply));
        for net in batch.new {
            self.enforcer.journal.counts.wanted[origin as usize] += 1;
            let block = Block::asked(why.clone(), times_s[&net], self.enforcer.journal.wall_ns);
            self.enforcer.order_new(net, block, ticket, now_ns);
        }
        for net in batch.renewed {
            let renewal = Some(why.clone());
            let blocks = &mut self.enforcer.blocks;
            blocks.change(&net, |block| block.renewal = renewal);
            self.enforcer
                .push(net, Purpose::Renew(times_s[&net]), ticket, now_ns);
        }
    }

    fn remove(&mut self, net: IpNet, reply: Reply, now_ns: i64) {
        let text = match self.enforcer.blocks.get(&net) {
            Some(block) if block.leaving.is_none() => {
                let ticket = self.enforcer.tickets.open(1, Done::default(), reply);
                // Whoever lets it in forgives.
                self.enforcer.offenders.forget(&net);
                return self
                    .enforcer
                    .order_to_leave(net, Removal::ByHand, Some(ticket), now_ns);
            }
            Some(_) => "it is being removed already".to_owned(),
            None => match self.enforcer.blocks.covering(&net) {
                Some(larger) => format!("{} is not blocked by itself: {larger} is", shown(net)),
                None => format!("{} is not blocked", shown(net)),
            },
        };
        let _ = reply.send(Told::Refused(text));
    }

    fn flush(&mut self, reply: Reply, now_ns: i64) {
        let ticket = self.enforcer.tickets.open(1, Done::default(), reply);
        self.enforcer.flush(ticket, now_ns);
    }
}

/// Whom a detection accuses: an address, or the network that stands for it; in IPv6 at least that of `prefix6` bits. An
/// IPv4-mapped address in an IPv6 header stays what it is, and no host is blamed for it.
fn source(detection: &Detection, prefix6: u8) -> Option<IpNet> {
    let src = detection.subject.src()?;
    let whole = IpNet::from(src).prefix_len();
    let length = detection.src_prefix.unwrap_or(whole);
    let length = if src.is_ipv6() {
        length.min(prefix6)
    } else {
        length
    };
    IpNet::new(src, length).ok().map(|net| net.trunc())
}

/// The evidence for a block of `net`.
fn cause(detection: &Detection, net: IpNet) -> Cause {
    let src = detection
        .subject
        .src()
        .filter(|_| detection.src_prefix.is_none());
    Cause {
        src: src.filter(|src| IpNet::from(*src) != net),
        kind: detection.kind,
        verdict: detection.verdict,
        proof: detection.proof,
        dst: detection.subject.dst(),
        count: detection.extent.count(),
        evidence: detection.evidence,
    }
}

impl Listener for Blocker {
    fn on_event(&mut self, event: TapEvent<'_>) {
        if let Body::Alert(detection) = &event.event.body {
            self.on_detection(detection, event.due);
        }
    }

    fn tick(&mut self, _: LogTime, now_ns: i64) {
        self.enforcer.journal.wall_ns = now_ns;
        let steady_ns = (self.clock)();
        self.hear(steady_ns);
        self.renew_plan(steady_ns);
        if self.guard.renew() {
            self.withdraw_guarded(steady_ns);
        }
        self.serve(steady_ns);
        self.enforcer.send(steady_ns);
        self.enforcer.ask(steady_ns);
    }

    fn finish(&mut self, _: LogTime, now_ns: i64) {
        self.enforcer.journal.wall_ns = now_ns;
        let steady_ns = (self.clock)();
        self.hear(steady_ns);
        self.enforcer.close(self.plan.keep, steady_ns);
    }

    fn take_notice(&mut self) -> Option<Notice> {
        self.enforcer.journal.take()
    }

    fn counts(&self) -> Vec<ResponderCounts> {
        Vec::new()
    }

    fn block_counts(&self) -> Option<BlockCounts> {
        Some(self.enforcer.counts())
    }
}

#[cfg(test)]
mod tests;
