//! Orders on their way to the firewall, in their order, and who waits for their answers.

use super::firewall::{Answer, Firewall, Order, Refused};
use ipnet::IpNet;
use std::collections::{HashMap, VecDeque};

/// An order that met no helper is sent again after so long.
const RETRY_NS: i64 = 1_000_000_000;
/// Most orders that are handed over at once.
const BATCH: usize = 512;

/// What an order is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A new block.
    New,
    /// The time of a block begins anew, seconds.
    Renew(u32),
    /// A block that the kernel has lost.
    Restore,
    /// A block leaves.
    Leave,
    /// An element leaves of which there is no block.
    Stray,
    /// All blocks leave.
    Flush,
}

/// The number of somebody who waits for answers.
pub type TicketId = u64;

/// An order, and who waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// `None`: everybody.
    pub net: Option<IpNet>,
    pub purpose: Purpose,
    pub ticket: Option<TicketId>,
}

/// All orders that are not answered.
#[derive(Debug, Default)]
pub struct Orders {
    queue: VecDeque<Pending>,
    /// Handed over, each as it was.
    sent: VecDeque<(Pending, Order)>,
    /// Those that met no helper.
    again: Vec<Pending>,
    /// When they are sent again.
    again_ns: i64,
}

impl Orders {
    pub fn push(&mut self, pending: Pending) {
        self.queue.push_back(pending);
    }

    /// Hands over as many as the firewall takes. `order` makes the order; `None`: there is nothing to order any more.
    /// Returns these.
    pub fn send(
        &mut self,
        firewall: &mut dyn Firewall,
        now_ns: i64,
        order: impl Fn(&Pending) -> Option<Order>,
    ) -> Vec<Pending> {
        let mut vain = Vec::new();
        if !self.again.is_empty() && self.again_ns <= now_ns {
            // In front: what was ordered since comes after them.
            for pending in self.again.drain(..).rev() {
                self.queue.push_front(pending);
            }
        }
        // Nothing overtakes an order that is to be sent again.
        while self.again.is_empty() && !self.queue.is_empty() {
            let (mut batch, mut orders) = (Vec::new(), Vec::new());
            while orders.len() < BATCH
                && let Some(pending) = self.queue.pop_front()
            {
                match order(&pending) {
                    Some(order) => {
                        batch.push(pending);
                        orders.push(order);
                    }
                    None => vain.push(pending),
                }
            }
            let taken = firewall.order(&orders).min(orders.len());
            let both = batch.iter().copied().zip(orders);
            self.sent.extend(both.take(taken));
            for pending in batch[taken..].iter().rev() {
                self.queue.push_front(*pending);
            }
            if taken < batch.len() {
                break;
            }
        }
        vain
    }

    /// The order that this answers; `None`: it was not sent. Answers come in the order of the orders.
    pub fn answered(&mut self, answer: &Answer) -> Option<Pending> {
        let at = self
            .sent
            .iter()
            .position(|(_, sent)| *sent == answer.order)?;
        self.sent.remove(at).map(|(pending, _)| pending)
    }

    /// Sends it again, later.
    pub fn send_again(&mut self, pending: Pending, now_ns: i64) {
        self.again.push(pending);
        self.again_ns = now_ns.saturating_add(RETRY_NS);
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.queue.len() + self.sent.len() + self.again.len()
    }
}

/// What became of orders that somebody waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// How many were carried out.
    pub carried_out: usize,
    /// The others.
    pub refused: Vec<Refusal>,
}

/// A network that was not blocked, or not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub net: IpNet,
    /// Its place in the request, from 0, where that is known: the same network may be there twice.
    pub at: Option<usize>,
    /// In words.
    pub why: String,
}

impl From<(IpNet, String)> for Refusal {
    fn from((net, why): (IpNet, String)) -> Self {
        Self { net, at: None, why }
    }
}

/// Who waits for answers, and for how many.
pub struct Tickets<R> {
    open: HashMap<TicketId, (usize, Done, R)>,
    number: TicketId,
}

impl<R> Default for Tickets<R> {
    fn default() -> Self {
        Self {
            open: HashMap::new(),
            number: 0,
        }
    }
}

impl<R> Tickets<R> {
    /// A ticket for so many answers, above 0.
    pub fn open(&mut self, answers: usize, done: Done, reply: R) -> TicketId {
        self.number += 1;
        self.open.insert(self.number, (answers, done, reply));
        self.number
    }

    /// Counts an answer; returns who waits for it, and for no other any more.
    pub fn close_one(
        &mut self,
        id: TicketId,
        carried_out: usize,
        refused: Option<(IpNet, String)>,
    ) -> Option<(R, Done)> {
        let (left, done, _) = self.open.get_mut(&id)?;
        *left -= 1;
        done.carried_out += carried_out;
        done.refused.extend(refused.map(Refusal::from));
        if *left > 0 {
            return None;
        }
        let (_, done, reply) = self.open.remove(&id)?;
        Some((reply, done))
    }
}

/// A refusal in words.
pub fn says(refused: Refused) -> String {
    match refused {
        Refused::Protected => "the firewall never blocks it".to_owned(),
        Refused::Full => "the kernel's set is full".to_owned(),
        Refused::Kernel(errno) => {
            let error = std::io::Error::from_raw_os_error(errno);
            format!("the kernel refused: {error}")
        }
        Refused::Gone => "the helper process is gone".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::firewall::Heard;
    use super::*;

    fn net(n: u8) -> IpNet {
        IpNet::from(std::net::IpAddr::from([192, 0, 2, n]))
    }

    fn leave(n: u8) -> Pending {
        Pending {
            net: Some(net(n)),
            purpose: Purpose::Leave,
            ticket: None,
        }
    }

    fn order(pending: &Pending) -> Option<Order> {
        pending.net.map(|net| Order::Remove { net })
    }

    /// Takes so many orders at a time.
    struct Narrow(usize, Vec<Order>);

    impl Firewall for Narrow {
        fn order(&mut self, orders: &[Order]) -> usize {
            let taken = orders.len().min(self.0);
            self.1.extend(&orders[..taken]);
            taken
        }
        fn ask(&mut self) {}
        fn poll(&mut self, _: &mut dyn FnMut(Heard)) {}
        fn close(&mut self, _: bool, _: u32) -> bool {
            true
        }
    }

    fn answer(n: u8) -> Answer {
        Answer {
            order: Order::Remove { net: net(n) },
            result: Ok(()),
        }
    }

    #[test]
    fn what_is_not_taken_stays_in_its_place() {
        let (mut orders, mut firewall) = (Orders::default(), Narrow(2, Vec::new()));
        (1..=5).for_each(|n| orders.push(leave(n)));
        orders.push(Pending {
            net: None,
            ..leave(0)
        });
        let sent = (0..3).flat_map(|_| orders.send(&mut firewall, 0, order));
        let vain: Vec<Option<IpNet>> = sent.map(|pending| pending.net).collect();
        assert_eq!(vain, [None]);
        let all = (1..=5).map(|n| Order::Remove { net: net(n) });
        assert_eq!(firewall.1, all.collect::<Vec<_>>(), "each once, in order");
        assert_eq!(orders.answered(&answer(1)), Some(leave(1)));
        assert_eq!(orders.answered(&answer(1)), None);
        assert_eq!(orders.len(), 4);
    }

    #[test]
    fn an_order_that_met_no_helper_goes_again_before_those_behind_it() {
        let (mut orders, mut firewall) = (Orders::default(), Narrow(9, Vec::new()));
        (1..=2).for_each(|n| orders.push(leave(n)));
        orders.send(&mut firewall, 0, order);
        for n in 1..=2 {
            let pending = orders.answered(&answer(n)).expect("it was sent");
            orders.send_again(pending, 0);
        }
        orders.push(leave(3));
        orders.send(&mut firewall, RETRY_NS - 1, order);
        assert_eq!(firewall.1.len(), 2, "not yet");
        orders.send(&mut firewall, RETRY_NS, order);
        let all = [1, 2, 1, 2, 3].map(|n| Order::Remove { net: net(n) });
        assert_eq!(firewall.1, all);
    }

    #[test]
    fn a_ticket_ends_with_its_last_answer() {
        let mut tickets = Tickets::default();
        let id = tickets.open(2, Done::default(), "who");
        assert_eq!(tickets.close_one(id, 1, None), None);
        let refused = (net(1), "no".to_owned());
        let done = Done {
            carried_out: 1,
            refused: vec![refused.clone().into()],
        };
        assert_eq!(tickets.close_one(id, 0, Some(refused)), Some(("who", done)));
        assert_eq!(tickets.close_one(id, 1, None), None);
    }
}
