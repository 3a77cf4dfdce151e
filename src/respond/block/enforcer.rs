//! The blocks and the firewall that carries them out: orders, answers, comparisons.
//!
//! A block leaves the table once: refused by the firewall, expired, or removed.

use super::comparison::Comparison;
use super::desk::{Reply, Told};
use super::firewall::{Answer, Element, Firewall, Heard, Order, Refused};
use super::journal::Journal;
use super::memory::Offenders;
use super::orders::{Orders, Pending, Purpose, TicketId, Tickets, says};
use super::plan::BlockPlan;
use super::table::{Block, Blocks};
use crate::books::blocks::{BlockCounts, BlockRefusal, Removal};
use crate::log::block_record::{Outcome, Why};
use crate::words::many;
use ipnet::IpNet;
use std::net::IpAddr;

const SECOND_NS: i64 = 1_000_000_000;
/// What a block has dropped is asked for so long before its end: the kernel's element ends a little earlier.
const COUNT_NS: i64 = SECOND_NS / 2;
/// For more ends than this at once, all elements are listed.
const COUNTS_MAX: usize = 64;
/// The end of a run waits so long for the firewall's answers.
const CLOSE_MS: u32 = 2_000;
/// Offenders that are remembered for each block that there may be.
pub const OFFENDERS_PER_BLOCK: usize = 4;

/// Blocks, ordered and carried out. Times in `now_ns` are of the monotonic clock: a firewall's do not follow steps of the
/// wall clock.
pub struct Enforcer {
    firewall: Box<dyn Firewall>,
    pub blocks: Blocks,
    pub journal: Journal,
    pub offenders: Offenders,
    pub tickets: Tickets<Reply>,
    orders: Orders,
    comparison: Comparison,
    /// Blocks that end until then have been counted for the last time.
    counted_ns: i64,
    max: usize,
    /// A source is forgotten so long after its block.
    memory_s: u32,
    is_closed: bool,
}

/// A start that failed: what an earlier run has blocked stays so, and nothing else is left behind.
impl Drop for Enforcer {
    fn drop(&mut self) {
        if !self.is_closed {
            self.firewall.close(true, CLOSE_MS);
        }
    }
}

impl Enforcer {
    pub fn new(plan: &BlockPlan, firewall: Box<dyn Firewall>) -> Self {
        Self {
            firewall,
            blocks: Blocks::default(),
            journal: Journal::new(plan.mode),
            offenders: Offenders::at_most(plan.max.saturating_mul(OFFENDERS_PER_BLOCK)),
            tickets: Tickets::default(),
            orders: Orders::default(),
            comparison: Comparison::default(),
            counted_ns: i64::MIN,
            max: plan.max,
            memory_s: plan.memory_s(),
            is_closed: false,
        }
    }

    /// Goes by another plan; its maximum is at most that of the start, which there is memory for.
    pub fn change_plan(&mut self, plan: &BlockPlan) {
        (self.max, self.memory_s) = (plan.max, plan.memory_s());
    }

    pub fn counts(&self) -> BlockCounts {
        BlockCounts {
            in_kernel: self.blocks.in_kernel() as u64,
            in_flight: self.blocks.in_flight() as u64,
            helper_gone: self.firewall.is_over().into(),
            ..self.journal.counts
        }
    }

    /// Whether nothing is carried out any more.
    pub fn is_over(&self) -> bool {
        self.firewall.is_over()
    }

    /// Orders a new block; where there is no room, another one leaves before.
    pub fn order_new(&mut self, net: IpNet, block: Block, ticket: Option<TicketId>, now_ns: i64) {
        // Several, where the kernel has kept some that were to leave.
        while self.blocks.staying() >= self.max
            && let Some((_, first)) = self.blocks.first_to_leave()
        {
            self.order_to_leave(first, Removal::Displaced, None, now_ns);
        }
        self.blocks.insert(net, block);
        self.push(net, Purpose::New, ticket, now_ns);
    }

    pub fn order_to_leave(
        &mut self,
        net: IpNet,
        why: Removal,
        ticket: Option<TicketId>,
        now_ns: i64,
    ) {
        self.blocks.change(&net, |block| block.leaving = Some(why));
        self.firewall.count(&[net]);
        self.push(net, Purpose::Leave, ticket, now_ns);
    }

    pub fn push(&mut self, net: IpNet, purpose: Purpose, ticket: Option<TicketId>, now_ns: i64) {
        self.comparison.note(net, now_ns);
        self.orders.push(Pending {
            net: Some(net),
            purpose,
            ticket,
        });
    }

    pub fn send(&mut self, now_ns: i64) {
        let blocks = &self.blocks;
        let order = |pending: &Pending| order(pending, blocks, now_ns);
        let vain = self.orders.send(self.firewall.as_mut(), now_ns, order);
        for pending in vain {
            let over = pending
                .net
                .map(|net| (net, "it has ended meanwhile".to_owned()));
            self.close_ticket(pending.ticket, 0, over);
        }
    }

    /// Takes what the firewall has to say; returns the elements of the kernel that are no blocks.
    pub fn hear(&mut self, now_ns: i64) -> Vec<Element> {
        let (mut heard, mut strange) = (Vec::new(), Vec::new());
        self.firewall.poll(&mut |one| heard.push(one));
        for one in heard {
            match one {
                Heard::Answer(answer) => self.on_answer(&answer, now_ns),
                Heard::Counted { net, dropped } => self.on_counted(net, dropped),
                Heard::Elements(elements) => strange.extend(self.on_elements(&elements, now_ns)),
                Heard::Notice(text) => self.journal.note("block_firewall", text),
            }
        }
        strange
    }

    fn on_answer(&mut self, answer: &Answer, now_ns: i64) {
        let Some(pending) = self.orders.answered(answer) else {
            return;
        };
        if let Some(net) = pending.net {
            self.comparison.note(net, now_ns);
        }
        let is_gone = answer.result == Err(Refused::Gone);
        if is_gone && !self.is_over() && !self.is_given_up(&pending) {
            return self.orders.send_again(pending, now_ns);
        }
        let refused = match (pending.purpose, pending.net) {
            (Purpose::Flush, _) => self.on_flushed(answer.result, now_ns),
            (Purpose::New | Purpose::Restore | Purpose::Renew(_), Some(net)) => {
                let for_s = match answer.order {
                    Order::Add { for_s, .. } => for_s,
                    _ => 0,
                };
                self.on_added(net, (pending.purpose, for_s), answer.result, now_ns)
            }
            (Purpose::Leave, Some(net)) => self.on_left(net, answer.result),
            _ => None,
        };
        let carried_out = usize::from(refused.is_none());
        self.close_ticket(pending.ticket, carried_out, refused);
    }

    fn close_ticket(
        &mut self,
        ticket: Option<TicketId>,
        carried_out: usize,
        refused: Option<(IpNet, String)>,
    ) {
        let closed = ticket.and_then(|id| self.tickets.close_one(id, carried_out, refused));
        if let Some((reply, done)) = closed {
            let _ = reply.send(Told::Done(done));
        }
    }

    /// A block that is to leave, and that the kernel never had: nothing has to be ordered any more.
    fn is_given_up(&self, pending: &Pending) -> bool {
        let block = pending.net.and_then(|net| self.blocks.get(&net));
        pending.purpose == Purpose::New
            && block.is_some_and(|block| block.leaving.is_some() && block.end_ns.is_none())
    }

    /// The firewall has answered an order to add for `for_s` seconds; returns the refusal in words.
    fn on_added(
        &mut self,
        net: IpNet,
        (purpose, for_s): (Purpose, u32),
        result: Result<(), Refused>,
        now_ns: i64,
    ) -> Option<(IpNet, String)> {
        let block = self.blocks.get(&net)?;
        match result {
            Ok(()) => {
                self.on_carried_out(net, (purpose, for_s), now_ns);
                None
            }
            // The old time goes on, for the old reason.
            Err(refused) if matches!(purpose, Purpose::Renew(_)) => {
                self.blocks.change(&net, |block| block.renewal = None);
                Some((net, says(refused)))
            }
            Err(Refused::Gone) if block.leaving.is_some() => {
                self.end(net, block.leaving);
                Some((net, says(Refused::Gone)))
            }
            Err(refused) => {
                let why = block.why.clone();
                self.blocks.remove(&net);
                let (reason, errno) = match refused {
                    Refused::Protected => (BlockRefusal::FirewallGuard, None),
                    Refused::Full => (BlockRefusal::KernelFull, None),
                    Refused::Kernel(errno) => (BlockRefusal::KernelError, Some(errno)),
                    Refused::Gone => (BlockRefusal::NoAnswer, None),
                };
                self.journal.refuse(net, why, (reason, errno), now_ns);
                Some((net, says(refused)))
            }
        }
    }

    fn on_carried_out(&mut self, net: IpNet, (purpose, for_s): (Purpose, u32), now_ns: i64) {
        let wall_ns = self.journal.wall_ns;
        let is_renewed = matches!(purpose, Purpose::Renew(_));
        let started = self.blocks.change(&net, |block| {
            if let Purpose::Renew(for_s) = purpose {
                block.for_s = for_s;
                block.why = block.renewal.take().unwrap_or_else(|| block.why.clone());
            }
            let length_ns = i64::from(block.for_s) * SECOND_NS;
            match purpose {
                // The kernel's time began later than that of the order.
                Purpose::Restore => {
                    block.end_ns = block
                        .end_ns
                        .max(Some(now_ns + i64::from(for_s) * SECOND_NS));
                }
                Purpose::Renew(_) => {
                    block.end_ns = Some(now_ns + length_ns);
                    block.until_wall_ns = wall_ns + length_ns;
                }
                _ => {
                    block.end_ns = Some(now_ns + length_ns);
                    block.since_wall_ns = wall_ns;
                    block.until_wall_ns = wall_ns + length_ns;
                }
            }
            // An element that is given again may go on counting.
            if !is_renewed {
                block.element_dropped = (0, 0);
            }
            block.clone()
        });
        let Some(block) = started.filter(|_| purpose != Purpose::Restore) else {
            return;
        };
        let delay_us = block.due_wall_ns.filter(|_| !is_renewed).map(|due_ns| {
            let delay_ns = wall_ns.saturating_sub(due_ns).max(0);
            delay_ns.unsigned_abs() / 1000
        });
        if let Some(delay_us) = delay_us {
            self.journal.counts.delays.record(delay_us);
        }
        self.journal.counts.renewed += u64::from(is_renewed);
        if block.nth > 0 && !is_renewed {
            let length_s = i64::from(block.for_s) + i64::from(self.memory_s);
            self.offenders
                .note(net, block.nth, now_ns + length_s * SECOND_NS);
        }
        let outcome = Outcome::Blocked {
            for_s: block.for_s,
            until_ns: block.until_wall_ns,
            nth: if is_renewed { 0 } else { block.nth },
            delay_us,
            renewed: is_renewed,
        };
        self.journal.record(net, block.why, outcome);
    }

    /// The firewall has answered an order to remove; returns the refusal in words.
    fn on_left(&mut self, net: IpNet, result: Result<(), Refused>) -> Option<(IpNet, String)> {
        let leaving = self.blocks.get(&net)?.leaving?;
        match result {
            // It has expired meanwhile.
            Ok(()) | Err(Refused::Kernel(libc::ENOENT)) => {
                self.end(net, Some(leaving));
                None
            }
            Err(refused) => {
                self.journal.counts.remove_failures += 1;
                self.blocks.change(&net, |block| block.leaving = None);
                Some((net, says(refused)))
            }
        }
    }

    fn on_flushed(&mut self, result: Result<(), Refused>, now_ns: i64) -> Option<(IpNet, String)> {
        let flushed = |block: &Block| block.leaving == Some(Removal::ByHand);
        for net in self.blocks.nets() {
            if !self.blocks.get(&net).is_some_and(flushed) {
                continue;
            }
            self.comparison.note(net, now_ns);
            match result {
                Ok(()) => self.end(net, Some(Removal::ByHand)),
                Err(_) => {
                    self.journal.counts.remove_failures += 1;
                    self.blocks.change(&net, |block| block.leaving = None);
                }
            }
        }
        let nobody = IpNet::from(IpAddr::from([0; 4]));
        result.err().map(|refused| (nobody, says(refused)))
    }

    /// A block leaves the table; `None`: its time is over.
    fn end(&mut self, net: IpNet, removal: Option<Removal>) {
        if let Some(block) = self.blocks.remove(&net) {
            self.journal.end(net, block, removal);
        }
    }

    /// The kernel's element has dropped so much. A block that the kernel does not have yet is not meant: an older one was.
    fn on_counted(&mut self, net: IpNet, dropped: (u64, u64)) {
        let block = self.blocks.get(&net);
        if block.is_none_or(|block| block.end_ns.is_none()) {
            return;
        }
        let new = self
            .blocks
            .change(&net, |block| block.count_dropped(dropped));
        let (packets, bytes) = new.unwrap_or_default();
        self.journal.counts.dropped_packets += packets;
        self.journal.counts.dropped_bytes += bytes;
    }

    /// Compares with the kernel: counts what was dropped, orders again what it has lost, returns what it has more.
    fn on_elements(&mut self, elements: &[Element], now_ns: i64) -> Vec<Element> {
        let found = self.comparison.compare(elements, &self.blocks, now_ns);
        for element in elements {
            if let Some(dropped) = element.dropped {
                self.on_counted(element.net, dropped);
            }
        }
        if let Some((ours, kernel)) = found.compared {
            self.journal.counts.compared_ours = ours as u64;
            self.journal.counts.compared_kernel = kernel as u64;
        }
        if !found.lost.is_empty() {
            let lost = many(found.lost.len(), "block");
            let text =
                format!("the kernel has lost {lost}: ordered again for the time that is left");
            self.journal.note("block_restored", text);
        }
        for net in found.lost {
            self.journal.counts.restored += 1;
            self.push(net, Purpose::Restore, None, now_ns);
        }
        found.strange
    }

    /// Takes over an element of the kernel. What it dropped before is not this run's.
    pub fn adopt(&mut self, element: &Element, now_ns: i64) {
        let (net, for_s, wall_ns) = (element.net, element.expires_s, self.journal.wall_ns);
        let length_ns = i64::from(for_s) * SECOND_NS;
        let until_ns = wall_ns + length_ns;
        let block = Block {
            end_ns: Some(now_ns + length_ns),
            until_wall_ns: until_ns,
            element_dropped: element.dropped.unwrap_or_default(),
            dropped: element.dropped.map(|_| (0, 0)),
            ..Block::asked(Why::Found, for_s, wall_ns)
        };
        self.blocks.insert(net, block);
        let outcome = Outcome::Blocked {
            for_s,
            until_ns,
            nth: 0,
            delay_us: None,
            renewed: false,
        };
        self.journal.record(net, Why::Found, outcome);
    }

    /// Orders everybody to leave.
    pub fn flush(&mut self, ticket: TicketId, now_ns: i64) {
        // For the last counts.
        self.comparison.hasten();
        self.ask(now_ns);
        for net in self.blocks.nets() {
            self.comparison.note(net, now_ns);
            let leaving = Some(Removal::ByHand);
            self.blocks.change(&net, |block| block.leaving = leaving);
        }
        self.offenders.forget_all();
        self.orders.push(Pending {
            net: None,
            purpose: Purpose::Flush,
            ticket: Some(ticket),
        });
    }

    /// Asks for the kernel's elements where that is due, and what blocks have dropped that end soon.
    pub fn ask(&mut self, now_ns: i64) {
        let until_ns = now_ns.saturating_add(COUNT_NS);
        let ending = self.blocks.ending((self.counted_ns, until_ns));
        self.counted_ns = until_ns;
        match ending.len() {
            0 => {}
            1..=COUNTS_MAX => self.firewall.count(&ending),
            _ => self.comparison.hasten(),
        }
        if self.comparison.is_due(now_ns) {
            self.firewall.ask();
        }
    }

    /// Ends the blocks whose time is over.
    pub fn expire(&mut self, now_ns: i64) {
        while let Some(net) = self.blocks.expired(now_ns) {
            self.comparison.note(net, now_ns);
            self.end(net, None);
        }
        self.offenders.expire(now_ns);
    }

    /// The run ends. What the firewall has not answered by then is refused; without `keep` no block stays, but where the firewall is gone:
    /// then the books say that the kernel has it.
    pub fn close(&mut self, keep: bool, now_ns: i64) {
        self.send(now_ns);
        self.is_closed = true;
        if !keep {
            // For the last counts.
            self.firewall.ask();
        }
        let stays = !self.firewall.close(keep, CLOSE_MS) || keep;
        self.hear(now_ns);
        for net in self.blocks.nets() {
            let Some(block) = self.blocks.get(&net) else {
                continue;
            };
            match (block.end_ns, block.leaving) {
                (_, Some(leaving)) if keep || !stays => self.end(net, Some(leaving)),
                (None, _) => {
                    let why = block.why.clone();
                    self.blocks.remove(&net);
                    let reason = (BlockRefusal::NoAnswer, None);
                    self.journal.refuse(net, why, reason, now_ns);
                }
                (Some(_), _) if !stays => self.end(net, Some(Removal::EndOfRun)),
                // The kernel has it.
                (Some(_), _) => {}
            }
        }
    }
}

/// The order of a pending one, as of now; `None`: its reason is gone.
fn order(pending: &Pending, blocks: &Blocks, now_ns: i64) -> Option<Order> {
    let Some(net) = pending.net else {
        return Some(Order::Flush);
    };
    let block = || blocks.get(&net);
    let for_s = match pending.purpose {
        Purpose::Flush => return Some(Order::Flush),
        Purpose::Leave | Purpose::Stray => return Some(Order::Remove { net }),
        Purpose::New => block()?.for_s,
        Purpose::Renew(for_s) => block().map(|_| for_s)?,
        Purpose::Restore => {
            // Rounded down: the kernel has no block longer than the books.
            let left_s = block()?.end_ns?.saturating_sub(now_ns) / SECOND_NS;
            u32::try_from(left_s).ok().filter(|&left_s| left_s > 0)?
        }
    };
    Some(Order::Add { net, for_s })
}
