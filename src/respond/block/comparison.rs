//! The books of blocks against the kernel: which blocks it has lost, and what it has that is no block.

use super::firewall::Element;
use super::table::Blocks;
use ipnet::IpNet;
use std::collections::{BTreeMap, HashMap};

/// Between two comparisons.
const EVERY_NS: i64 = 10_000_000_000;
/// What was lost and ordered again is looked at again after so long.
const SOON_NS: i64 = 1_000_000_000;
/// An answer that does not come is asked for again after so long.
const PATIENCE_NS: i64 = 30_000_000_000;
/// What ends so soon may be there or not.
const NEAR_END_NS: i64 = 3_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// When the kernel was asked, and what has changed since.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Asked, and not answered yet.
    asked_ns: Option<i64>,
    /// When to ask again.
    next_ns: Option<i64>,
    /// Networks whose block changed lately, and when.
    changed_ns: HashMap<IpNet, i64>,
}

/// What a comparison finds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Blocks that the kernel should have, but for those that changed meanwhile, and how many of them it has; `None`:
    /// nobody had asked.
    pub compared: Option<(usize, usize)>,
    /// Blocks that it does not have.
    pub lost: Vec<IpNet>,
    /// Elements that are no blocks.
    pub strange: Vec<Element>,
}

impl Comparison {
    /// Whether to ask for the elements now; if so, they are asked for.
    pub fn is_due(&mut self, now_ns: i64) -> bool {
        if self.next_ns.is_some_and(|next_ns| now_ns < next_ns) {
            return false;
        }
        self.asked_ns = Some(now_ns);
        self.next_ns = Some(now_ns.saturating_add(PATIENCE_NS));
        self.changed_ns
            .retain(|_, then_ns| then_ns.saturating_add(PATIENCE_NS) > now_ns);
        true
    }

    /// The next time is now, unless an answer is on its way.
    pub fn hasten(&mut self) {
        if self.asked_ns.is_none() {
            self.next_ns = None;
        }
    }

    /// The block of `net` changes, or an order about it goes out or is answered.
    pub fn note(&mut self, net: IpNet, now_ns: i64) {
        self.changed_ns.insert(net, now_ns);
    }

    /// Compares with the elements of the kernel. Those that nobody asked for are of a helper that has just been started:
    /// they are asked for at once.
    pub fn compare(&mut self, elements: &[Element], blocks: &Blocks, now_ns: i64) -> Found {
        let asked_ns = self.asked_ns.take();
        self.next_ns = asked_ns.map(|_| now_ns.saturating_add(EVERY_NS));
        let since_ns = asked_ns.unwrap_or(now_ns.saturating_sub(NEAR_END_NS));
        let changed = |net: &IpNet| {
            let then_ns = self.changed_ns.get(net);
            then_ns.is_some_and(|then_ns| *then_ns >= since_ns)
        };
        let by_net: BTreeMap<IpNet, &Element> = elements.iter().map(|one| (one.net, one)).collect();
        let is_strange = |one: &&Element| {
            let ends_ns = i64::from(one.expires_s) * SECOND_NS;
            blocks.get(&one.net).is_none() && !changed(&one.net) && ends_ns > NEAR_END_NS
        };
        let mut found = Found {
            strange: elements.iter().filter(is_strange).copied().collect(),
            ..Found::default()
        };
        if asked_ns.is_none() {
            return found;
        }
        let is_sure = |end_ns: i64| end_ns > now_ns.saturating_add(NEAR_END_NS);
        let mut ours = 0;
        for (&net, block) in blocks.iter() {
            let settled = block.leaving.is_none() && block.end_ns.is_some_and(is_sure);
            if !settled || changed(&net) {
                continue;
            }
            ours += 1;
            if !by_net.contains_key(&net) {
                found.lost.push(net);
            }
        }
        found.compared = Some((ours, ours - found.lost.len()));
        if !found.lost.is_empty() {
            self.next_ns = Some(now_ns.saturating_add(SOON_NS));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Block;
    use super::*;
    use crate::books::blocks::Removal;
    use crate::log::block_record::Why;

    const S: i64 = SECOND_NS;

    fn net(n: u8) -> IpNet {
        IpNet::from(std::net::IpAddr::from([192, 0, 2, n]))
    }

    fn element(n: u8, expires_s: u32) -> Element {
        Element {
            net: net(n),
            expires_s,
            dropped: None,
        }
    }

    #[test]
    fn what_is_lost_and_what_is_strange_is_found_but_not_what_changed_meanwhile() {
        let mut blocks = Blocks::default();
        for n in 1..=6 {
            let end_ns = Some(if n == 6 { 11 * S } else { 600 * S });
            let block = Block {
                end_ns,
                leaving: (n == 5).then_some(Removal::ByHand),
                ..Block::asked(Why::Found, 600, 0)
            };
            blocks.insert(net(n), block);
        }
        blocks.insert(net(7), Block::asked(Why::Found, 600, 0));
        let mut comparison = Comparison::default();
        comparison.note(net(1), 9 * S);
        assert!(comparison.is_due(10 * S) && !comparison.is_due(11 * S));
        comparison.note(net(3), 10 * S);
        comparison.note(net(8), 10 * S);
        let elements = [
            element(1, 590),
            element(8, 60),
            element(9, 60),
            element(10, 3),
        ];
        let found = comparison.compare(&elements, &blocks, 10 * S);
        let expected = Found {
            compared: Some((3, 1)),
            lost: vec![net(2), net(4)],
            strange: vec![element(9, 60)],
        };
        assert_eq!(found, expected);
        assert!(!comparison.is_due(11 * S - 1) && comparison.is_due(11 * S));
        let elements: Vec<Element> = (1..=6).map(|n| element(n, 590)).collect();
        let found = comparison.compare(&elements, &blocks, 12 * S);
        assert_eq!((found.compared, found.lost), (Some((4, 4)), vec![]));
        assert!(!comparison.is_due(22 * S - 1) && comparison.is_due(22 * S));
    }

    #[test]
    fn elements_that_nobody_asked_for_accuse_the_kernel_of_nothing_and_are_asked_for_at_once() {
        let mut blocks = Blocks::default();
        let end_ns = Some(600 * S);
        let block = Block {
            end_ns,
            ..Block::asked(Why::Found, 600, 0)
        };
        blocks.insert(net(1), block);
        let mut comparison = Comparison::default();
        assert!(comparison.is_due(0));
        comparison.compare(&[element(1, 590)], &blocks, S);
        assert!(!comparison.is_due(2 * S));
        let found = comparison.compare(&[], &blocks, 2 * S);
        assert_eq!(found, Found::default());
        assert!(comparison.is_due(2 * S));
        let found = comparison.compare(&[], &blocks, 2 * S);
        assert_eq!(found.lost, [net(1)]);
    }

    #[test]
    fn an_answer_that_does_not_come_is_asked_for_again() {
        let mut comparison = Comparison::default();
        assert!(comparison.is_due(0) && !comparison.is_due(PATIENCE_NS - 1));
        assert!(comparison.is_due(PATIENCE_NS));
    }
}
