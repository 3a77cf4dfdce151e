//! The blocks there are, and which of them has to make room.

use super::net_set::NetSet;
use crate::books::blocks::Removal;
use crate::inspect::detection::Verdict;
use crate::log::block_record::Why;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};

/// How bad it would be to let it in again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// What fulfils a rule.
    Policy,
    Suspicious,
    /// A scan, or a block of an earlier run.
    Scan,
    /// A person asked for it.
    Asked,
}

impl Severity {
    pub fn of(why: &Why) -> Self {
        match why {
            Why::Hand(_) | Why::Import(_) => Self::Asked,
            Why::Found => Self::Scan,
            Why::Detection(cause) => match cause.verdict {
                Some(Verdict::Scan) => Self::Scan,
                Some(Verdict::Suspicious) => Self::Suspicious,
                Some(Verdict::Unproven) | None => Self::Policy,
            },
        }
    }
}

/// A block.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub why: Why,
    /// Its whole time, seconds.
    pub for_s: u32,
    /// The how manyeth of its source; 0: not by a detection.
    pub nth: u32,
    /// The wall clock when the kernel said that it has it; before, when it was ordered.
    pub since_wall_ns: i64,
    /// The wall clock when it ends.
    pub until_wall_ns: i64,
    /// The wall clock when its detection was due.
    pub due_wall_ns: Option<i64>,
    /// When it ends, by the monotonic clock; `None`: the kernel does not have it yet.
    pub end_ns: Option<i64>,
    /// Its time was ordered to begin anew for this reason.
    pub renewal: Option<Why>,
    /// It was ordered to leave.
    pub leaving: Option<Removal>,
    /// Packets and bytes that it dropped; `None`: not counted.
    pub dropped: Option<(u64, u64)>,
    /// The same, of the kernel's element, which begins at 0 when it is ordered again.
    pub element_dropped: (u64, u64),
    /// Number of the order that made it: an older one has a smaller number.
    pub number: u64,
}

impl Block {
    /// A block that is to be ordered.
    pub fn asked(why: Why, for_s: u32, wall_ns: i64) -> Self {
        Self {
            why,
            for_s,
            nth: 0,
            since_wall_ns: wall_ns,
            until_wall_ns: wall_ns,
            due_wall_ns: None,
            end_ns: None,
            renewal: None,
            leaving: None,
            dropped: None,
            element_dropped: (0, 0),
            number: 0,
        }
    }

    /// Takes over what the kernel's element has dropped; returns how much of it is new.
    pub fn count_dropped(&mut self, element: (u64, u64)) -> (u64, u64) {
        let before = self.element_dropped;
        let restarted = element.0 < before.0 || element.1 < before.1;
        let before = if restarted { (0, 0) } else { before };
        let new = (element.0 - before.0, element.1 - before.1);
        let sum = self.dropped.unwrap_or_default();
        self.dropped = Some((sum.0 + new.0, sum.1 + new.1));
        self.element_dropped = element;
        new
    }
}

type Rank = (Severity, u64, IpNet);

/// All blocks.
#[derive(Debug, Default)]
pub struct Blocks {
    all: BTreeMap<IpNet, Block>,
    nets: NetSet,
    by_end: BTreeSet<(i64, IpNet)>,
    /// Those that are to stay, the first to make room first.
    by_rank: BTreeSet<Rank>,
    numbers: u64,
    /// How many the kernel has.
    in_kernel: usize,
}

impl Blocks {
    /// Bytes of one, in the trees whose nodes are at least half full.
    pub const BYTES: usize = 2
        * (size_of::<(IpNet, Block)>()
            + 2 * size_of::<IpNet>()
            + size_of::<(i64, IpNet)>()
            + size_of::<Rank>());

    pub fn get(&self, net: &IpNet) -> Option<&Block> {
        self.all.get(net)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&IpNet, &Block)> {
        self.all.iter()
    }

    /// How many are to stay.
    pub fn staying(&self) -> usize {
        self.by_rank.len()
    }

    pub fn in_kernel(&self) -> usize {
        self.in_kernel
    }

    pub fn in_flight(&self) -> usize {
        self.all.len() - self.in_kernel
    }

    /// The block that has all of `net`.
    pub fn covering(&self, net: &IpNet) -> Option<IpNet> {
        self.nets.covers(net)
    }

    /// Adds one of which there is none yet.
    pub fn insert(&mut self, net: IpNet, block: Block) {
        self.numbers += 1;
        let number = self.numbers;
        self.nets.insert(net);
        self.put(net, Block { number, ..block });
    }

    pub fn remove(&mut self, net: &IpNet) -> Option<Block> {
        let block = self.take(net)?;
        self.nets.remove(net);
        Some(block)
    }

    /// Changes one; returns what `change` does.
    pub fn change<T>(&mut self, net: &IpNet, change: impl FnOnce(&mut Block) -> T) -> Option<T> {
        let mut block = self.take(net)?;
        let done = change(&mut block);
        self.put(*net, block);
        Some(done)
    }

    fn take(&mut self, net: &IpNet) -> Option<Block> {
        let block = self.all.remove(net)?;
        self.by_rank.remove(&rank(net, &block));
        if let Some(end_ns) = block.end_ns {
            self.by_end.remove(&(end_ns, *net));
            self.in_kernel -= 1;
        }
        Some(block)
    }

    fn put(&mut self, net: IpNet, block: Block) {
        if block.leaving.is_none() {
            self.by_rank.insert(rank(&net, &block));
        }
        if let Some(end_ns) = block.end_ns {
            self.by_end.insert((end_ns, net));
            self.in_kernel += 1;
        }
        self.all.insert(net, block);
    }

    /// The least severe, and of those the oldest.
    pub fn first_to_leave(&self) -> Option<(Severity, IpNet)> {
        self.by_rank
            .first()
            .map(|&(severity, _, net)| (severity, net))
    }

    /// One whose time is over, and that was not ordered to leave.
    pub fn expired(&self, now_ns: i64) -> Option<IpNet> {
        let over = self
            .by_end
            .iter()
            .take_while(|(end_ns, _)| *end_ns <= now_ns);
        let mut over = over.map(|&(_, net)| net);
        over.find(|net| self.all[net].leaving.is_none())
    }

    /// Those that end after the first time and not after the second one.
    pub fn ending(&self, (after_ns, until_ns): (i64, i64)) -> Vec<IpNet> {
        let over = self.by_end.iter();
        let over = over.skip_while(|(end_ns, _)| *end_ns <= after_ns);
        let over = over.take_while(|(end_ns, _)| *end_ns <= until_ns);
        over.map(|&(_, net)| net).collect()
    }

    /// Networks of all blocks.
    pub fn nets(&self) -> Vec<IpNet> {
        self.all.keys().copied().collect()
    }
}

fn rank(net: &IpNet, block: &Block) -> Rank {
    (Severity::of(&block.why), block.number, *net)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::formats::samples;

    fn net(n: u8) -> IpNet {
        IpNet::from(std::net::IpAddr::from([192, 0, 2, n]))
    }

    fn of(verdict: Verdict) -> Why {
        let [blocked, ..] = samples::block();
        let Why::Detection(cause) = blocked.why else {
            panic!("by a detection");
        };
        Why::Detection(crate::log::block_record::Cause {
            verdict: Some(verdict),
            ..cause
        })
    }

    #[test]
    fn the_least_severe_leaves_first_and_of_those_the_oldest() {
        let mut blocks = Blocks::default();
        let all = [
            (1, of(Verdict::Scan)),
            (9, of(Verdict::Suspicious)),
            (3, of(Verdict::Suspicious)),
            (4, of(Verdict::Unproven)),
            (5, Why::Hand("x".into())),
            (6, Why::Found),
        ];
        for (n, why) in all {
            blocks.insert(net(n), Block::asked(why, 60, 0));
        }
        let mut order = Vec::new();
        while let Some((_, first)) = blocks.first_to_leave() {
            let removal = Some(Removal::Displaced);
            blocks.change(&first, |block| block.leaving = removal);
            order.push(first);
        }
        assert_eq!(order, [4, 9, 3, 1, 6, 5].map(net));
        assert_eq!((blocks.staying(), blocks.in_flight()), (0, 6));
    }

    #[test]
    fn a_block_expires_once_the_kernel_has_it_and_unless_it_leaves_anyway() {
        let mut blocks = Blocks::default();
        for n in 1..=3 {
            blocks.insert(net(n), Block::asked(Why::Found, 60, 0));
        }
        blocks.change(&net(1), |block| block.end_ns = Some(10));
        blocks.change(&net(2), |block| block.end_ns = Some(9));
        blocks.change(&net(2), |block| block.leaving = Some(Removal::ByHand));
        assert_eq!((blocks.in_kernel(), blocks.in_flight()), (2, 1));
        assert_eq!(blocks.expired(9), None);
        assert_eq!(blocks.expired(10), Some(net(1)));
        assert!(blocks.remove(&net(1)).is_some());
        assert_eq!(blocks.expired(99), None);
        assert_eq!(blocks.covering(&net(1)), None);
        assert_eq!(blocks.covering(&net(3)), Some(net(3)));
    }

    #[test]
    fn packets_of_an_element_that_began_anew_are_added() {
        let mut block = Block::asked(Why::Found, 60, 0);
        assert_eq!(block.count_dropped((5, 500)), (5, 500));
        assert_eq!(block.count_dropped((7, 700)), (2, 200));
        assert_eq!(block.count_dropped((1, 100)), (1, 100));
        assert_eq!(block.dropped, Some((8, 800)));
    }
}
