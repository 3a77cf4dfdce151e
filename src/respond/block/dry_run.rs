//! `--block dry-run`: a firewall that carries out every order in memory alone.

use super::firewall::{Answer, Element, Firewall, Heard, Order};
use crate::time::clock::monotonic_ns;
use ipnet::IpNet;
use std::collections::{BTreeMap, VecDeque};

const SECOND_NS: i64 = 1_000_000_000;
/// Most answers that wait: what is more is not taken.
const ANSWERS_MAX: usize = 4096;

/// Keeps elements as a kernel would, and drops nothing.
#[derive(Debug, Default)]
pub struct DryRun {
    /// CLOCK_MONOTONIC of each element's end.
    ends_ns: BTreeMap<IpNet, i64>,
    answers: VecDeque<Answer>,
    is_asked: bool,
}

impl DryRun {
    fn carry_out(&mut self, order: Order, now_ns: i64) {
        match order {
            Order::Add { net, for_s } => {
                let end_ns = now_ns + i64::from(for_s) * SECOND_NS;
                self.ends_ns.insert(net, end_ns);
            }
            Order::Remove { net } => drop(self.ends_ns.remove(&net)),
            Order::Flush => self.ends_ns.clear(),
        }
        let result = Ok(());
        self.answers.push_back(Answer { order, result });
    }

    fn elements(&mut self, now_ns: i64) -> Vec<Element> {
        self.ends_ns.retain(|_, end_ns| *end_ns > now_ns);
        let element = |(&net, &end_ns): (&IpNet, &i64)| Element {
            net,
            expires_s: u32::try_from((end_ns - now_ns) / SECOND_NS).unwrap_or(u32::MAX),
            dropped: None,
        };
        self.ends_ns.iter().map(element).collect()
    }
}

impl Firewall for DryRun {
    fn order(&mut self, orders: &[Order]) -> usize {
        let room = ANSWERS_MAX - self.answers.len();
        let now_ns = monotonic_ns();
        for order in orders.iter().take(room) {
            self.carry_out(*order, now_ns);
        }
        orders.len().min(room)
    }

    fn ask(&mut self) {
        self.is_asked = true;
    }

    fn poll(&mut self, heard: &mut dyn FnMut(Heard)) {
        for answer in self.answers.drain(..) {
            heard(Heard::Answer(answer));
        }
        if std::mem::take(&mut self.is_asked) {
            heard(Heard::Elements(self.elements(monotonic_ns())));
        }
    }

    fn close(&mut self, _keep: bool, _ms: u32) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(firewall: &mut DryRun) -> Vec<Heard> {
        let mut all = Vec::new();
        firewall.poll(&mut |one| all.push(one));
        all
    }

    #[test]
    fn orders_are_answered_in_their_order_and_elements_are_what_is_left() {
        let mut firewall = DryRun::default();
        let net = |text: &str| text.parse::<IpNet>().expect("a network");
        let (one, two) = (net("192.0.2.1/32"), net("2001:db8::/64"));
        let add = |net| Order::Add { net, for_s: 600 };
        let orders = [add(one), add(two), Order::Remove { net: one }];
        assert_eq!(firewall.order(&orders), 3);
        firewall.ask();
        let mut all = heard(&mut firewall);
        let Some(Heard::Elements(elements)) = all.pop() else {
            panic!("elements come last");
        };
        let answers = orders.map(|order| {
            Heard::Answer(Answer {
                order,
                result: Ok(()),
            })
        });
        assert_eq!(all, answers);
        assert_eq!(elements.len(), 1);
        assert_eq!((elements[0].net, elements[0].dropped), (two, None));
        assert!((598..=600).contains(&elements[0].expires_s));
        assert_eq!(heard(&mut firewall), []);
        let short = Order::Add { net: one, for_s: 0 };
        assert_eq!(firewall.order(&[short, Order::Flush, short]), 3);
        firewall.ask();
        let last = heard(&mut firewall).pop();
        assert_eq!(last, Some(Heard::Elements(Vec::new())), "its time is over");
    }

    #[test]
    fn no_more_is_taken_than_answers_have_room() {
        let mut firewall = DryRun::default();
        let many = vec![Order::Flush; ANSWERS_MAX + 5];
        assert_eq!(firewall.order(&many), ANSWERS_MAX);
        assert_eq!(firewall.order(&many), 0);
        assert_eq!(heard(&mut firewall).len(), ANSWERS_MAX);
        assert_eq!(firewall.order(&many[..5]), 5);
    }
}
