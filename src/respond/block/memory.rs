//! What is remembered of sources: how often they were blocked, how fast blocks came, which refusals are logged.

use crate::books::blocks::BlockRefusal;
use ipnet::IpNet;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

const MINUTE_NS: i64 = 60_000_000_000;
/// A refusal of the same source for the same reason has a record again after so long.
pub const SAID_NS: i64 = 3600 * 1_000_000_000;
/// Most refusals that are remembered, hence most records of them within [`SAID_NS`].
pub const SAID_MAX: usize = 4096;

/// How often sources were blocked.
#[derive(Debug)]
pub struct Offenders {
    /// The newest block, counted from 1, and when it is forgotten.
    all: HashMap<IpNet, (u32, i64)>,
    by_end: BTreeSet<(i64, IpNet)>,
    max: usize,
}

impl Offenders {
    /// Bytes of one.
    pub const BYTES: usize = 2 * (size_of::<(IpNet, (u32, i64))>() + size_of::<(i64, IpNet)>());

    pub fn at_most(max: usize) -> Self {
        Self {
            all: HashMap::new(),
            by_end: BTreeSet::new(),
            max,
        }
    }

    /// The number of the next block of this source.
    pub fn next(&self, net: &IpNet, now_ns: i64) -> u32 {
        let known = self.all.get(net).filter(|(_, end_ns)| *end_ns > now_ns);
        known.map_or(1, |(nth, _)| nth.saturating_add(1))
    }

    /// A block was the `nth`; it is forgotten at `end_ns`. Where there is no room, who is forgotten first makes it.
    pub fn note(&mut self, net: IpNet, nth: u32, end_ns: i64) {
        self.forget(&net);
        if self.all.len() >= self.max
            && let Some(&(_, first)) = self.by_end.first()
        {
            self.forget(&first);
        }
        self.all.insert(net, (nth, end_ns));
        self.by_end.insert((end_ns, net));
    }

    pub fn forget(&mut self, net: &IpNet) {
        if let Some((_, end_ns)) = self.all.remove(net) {
            self.by_end.remove(&(end_ns, *net));
        }
    }

    pub fn forget_all(&mut self) {
        self.all.clear();
        self.by_end.clear();
    }

    /// Forgets those whose time has come.
    pub fn expire(&mut self, now_ns: i64) {
        while let Some(&(end_ns, net)) = self.by_end.first()
            && end_ns <= now_ns
        {
            self.forget(&net);
        }
    }
}

/// The blocks of the last minute.
#[derive(Debug)]
pub struct Rate {
    max: usize,
    times_ns: VecDeque<i64>,
    /// When one was refused last.
    refused_ns: Option<i64>,
}

impl Rate {
    pub fn per_minute(max: u32) -> Self {
        Self {
            max: usize::try_from(max).unwrap_or(usize::MAX),
            times_ns: VecDeque::new(),
            refused_ns: None,
        }
    }

    /// Allows so many from now on.
    pub fn change_max(&mut self, max: u32) {
        self.max = usize::try_from(max).unwrap_or(usize::MAX);
    }

    /// Whether one more is allowed now, and counts it if so.
    pub fn take(&mut self, now_ns: i64) -> bool {
        while let Some(&first_ns) = self.times_ns.front()
            && first_ns.saturating_add(MINUTE_NS) <= now_ns
        {
            self.times_ns.pop_front();
        }
        let allowed = self.times_ns.len() < self.max;
        if allowed {
            self.times_ns.push_back(now_ns);
        }
        allowed
    }

    /// One was refused; returns whether it is the first for a minute.
    pub fn is_first_refused(&mut self, now_ns: i64) -> bool {
        let before = self.refused_ns.replace(now_ns);
        before.is_none_or(|before| now_ns.saturating_sub(before) >= MINUTE_NS)
    }
}

/// Refusals that have a record.
#[derive(Debug, Default)]
pub struct Said {
    all: HashSet<(IpNet, BlockRefusal)>,
    /// In the order of time.
    times: VecDeque<(i64, (IpNet, BlockRefusal))>,
    /// How many of them are of reasons that anybody can cause without end.
    cheap: usize,
}

/// Anybody can cause as many refusals as addresses that it forges.
fn is_cheap(reason: BlockRefusal) -> bool {
    use BlockRefusal::{Full, Private, Rate, Unproven};
    matches!(reason, Unproven | Rate | Full | Private)
}

impl Said {
    /// Bytes of all.
    pub const BYTES: usize = SAID_MAX * 4 * size_of::<(i64, (IpNet, BlockRefusal))>();

    /// Whether this refusal gets a record. At most half of the room is for reasons that anybody can cause.
    pub fn is_due(&mut self, net: IpNet, reason: BlockRefusal, now_ns: i64) -> bool {
        while let Some(&(then_ns, key)) = self.times.front()
            && then_ns.saturating_add(SAID_NS) <= now_ns
        {
            self.times.pop_front();
            self.all.remove(&key);
            self.cheap -= usize::from(is_cheap(key.1));
        }
        let has_room = match is_cheap(reason) {
            true => self.cheap < SAID_MAX / 2,
            false => self.times.len() - self.cheap < SAID_MAX / 2,
        };
        if !has_room || !self.all.insert((net, reason)) {
            return false;
        }
        self.cheap += usize::from(is_cheap(reason));
        self.times.push_back((now_ns, (net, reason)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn net(n: u32) -> IpNet {
        IpNet::from(std::net::IpAddr::from(n.to_be_bytes()))
    }

    #[test]
    fn an_offender_is_counted_until_it_is_forgotten() {
        let mut offenders = Offenders::at_most(2);
        assert_eq!(offenders.next(&net(1), 0), 1);
        offenders.note(net(1), 1, 10);
        assert_eq!(offenders.next(&net(1), 9), 2);
        assert_eq!(offenders.next(&net(1), 10), 1);
        offenders.note(net(1), 2, 30);
        offenders.note(net(2), 1, 20);
        offenders.note(net(3), 1, 40);
        let next = [1, 2, 3].map(|n| offenders.next(&net(n), 9));
        assert_eq!(next, [3, 1, 2], "2 made room");
        offenders.expire(30);
        assert_eq!((offenders.all.len(), offenders.by_end.len()), (1, 1));
        offenders.forget_all();
        assert_eq!(offenders.next(&net(3), 9), 1);
    }

    #[test]
    fn no_minute_has_more_than_the_rate() {
        let mut rate = Rate::per_minute(3);
        let taken: Vec<bool> = (0..6).map(|at| rate.take(at * 10 * S)).collect();
        assert_eq!(taken, [true, true, true, false, false, false]);
        assert!(rate.take(60 * S) && !rate.take(60 * S));
        assert!(rate.is_first_refused(60 * S) && !rate.is_first_refused(100 * S));
        assert!(!rate.is_first_refused(159 * S) && rate.is_first_refused(219 * S));
    }

    #[test]
    fn a_refusal_is_said_once_an_hour_and_floods_leave_room_for_others() {
        let mut said = Said::default();
        let unproven = BlockRefusal::Unproven;
        assert!(said.is_due(net(1), unproven, 0));
        assert!(!said.is_due(net(1), unproven, SAID_NS - 1));
        assert!(said.is_due(net(1), BlockRefusal::Gateway, 0));
        assert!(said.is_due(net(1), unproven, SAID_NS));
        let due = (2..10_000).filter(|&n| said.is_due(net(n), unproven, SAID_NS));
        assert_eq!(due.count(), SAID_MAX / 2 - 1);
        assert!(said.is_due(net(2), BlockRefusal::SshPeer, SAID_NS));
        assert!(said.is_due(net(9_999), unproven, 2 * SAID_NS));
        assert_eq!((said.all.len(), said.times.len(), said.cheap), (1, 1, 1));
    }
}
