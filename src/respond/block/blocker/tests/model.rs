//! Random runs against a model that keeps a plain list.

use super::*;
use crate::log::block_record::Why;
use crate::respond::block::desk::Wish;
use proptest::prelude::*;
use std::collections::HashMap;

/// What happens to one of a few sources.
#[derive(Clone, Copy, Debug)]
enum Step {
    Scan(u8),
    Hand(u8),
    Remove(u8),
    Flush,
    Pass(u16),
    /// The kernel refuses the next order.
    Refuse,
    /// The helper is gone for the next order.
    Gone,
    /// Somebody else flushes the kernel's sets.
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1_u8..8).prop_map(Step::Scan),
        2 => (1_u8..8).prop_map(Step::Hand),
        2 => (1_u8..8).prop_map(Step::Remove),
        1 => Just(Step::Flush),
        6 => (0_u16..900).prop_map(Step::Pass),
        1 => Just(Step::Refuse),
        1 => Just(Step::Gone),
        1 => Just(Step::Lose),
    ]
}

/// Ends of blocks by source, and how many blocks began and ended.
#[derive(Default)]
struct Model {
    ends_ns: HashMap<u8, i64>,
    /// Number of the newest block of a source, and when it is forgotten.
    offences: HashMap<u8, (u32, i64)>,
    began: u64,
    ended: u64,
}

impl Model {
    fn expire(&mut self, now_ns: i64) {
        let before = self.ends_ns.len();
        self.ends_ns.retain(|_, end_ns| *end_ns > now_ns);
        self.ended += (before - self.ends_ns.len()) as u64;
    }

    fn scan(&mut self, n: u8, now_ns: i64) {
        if self.ends_ns.contains_key(&n) {
            return;
        }
        let known = self.offences.get(&n).filter(|(_, end_ns)| *end_ns > now_ns);
        let nth = known.map_or(1, |(nth, _)| nth + 1);
        let for_s = [600, 3600, 86_400][nth.min(3) as usize - 1];
        self.ends_ns.insert(n, now_ns + for_s * S);
        self.offences
            .insert(n, (nth, now_ns + (for_s + 86_400) * S));
        self.began += 1;
    }
}

fn source(n: u8) -> String {
    format!("192.0.2.{n}")
}

fn hand(n: u8) -> Wish {
    Wish::Add {
        nets: vec![(net(&source(n)), 300)],
        why: Why::Hand("x".into()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// With a kernel that carries out everything, blocks are those of the list.
    #[test]
    fn blocks_are_those_of_a_list(steps in prop::collection::vec(step(), 1..60)) {
        let mut lab = Lab::new(BlockPlan { rate: 10_000, ..plan() });
        let mut model = Model::default();
        for step in steps {
            let now_ns = lab.now_ns();
            match step {
                Step::Scan(n) => {
                    lab.detect(&scan(&source(n)));
                    model.scan(n, now_ns);
                }
                Step::Hand(n) => {
                    lab.ask(hand(n));
                    let new = model.ends_ns.insert(n, now_ns + 300 * S).is_none();
                    model.began += u64::from(new);
                }
                Step::Remove(n) => {
                    lab.ask(Wish::Remove(net(&source(n))));
                    if model.ends_ns.remove(&n).is_some() {
                        model.ended += 1;
                        model.offences.remove(&n);
                    }
                }
                Step::Flush => {
                    lab.ask(Wish::Flush);
                    model.ended += model.ends_ns.len() as u64;
                    model.ends_ns.clear();
                    model.offences.clear();
                }
                Step::Pass(seconds) => {
                    lab.tick(i64::from(seconds));
                    lab.tick(0);
                    model.expire(lab.now_ns());
                }
                Step::Refuse | Step::Gone | Step::Lose => {}
            }
            let mut expected: Vec<IpNet> = model.ends_ns.keys().map(|n| net(&source(*n))).collect();
            expected.sort();
            let held: Vec<IpNet> = lab.with(|kernel| kernel.list().iter().map(|one| one.net).collect());
            prop_assert_eq!(&held, &expected);
            let counts = lab.counts();
            let ended = counts.expired + counts.removed.iter().sum::<u64>();
            prop_assert_eq!(counts.in_kernel, expected.len() as u64);
            prop_assert_eq!((counts.wanted.iter().sum::<u64>(), ended), (model.began, model.ended));
        }
    }

    /// Whatever the kernel answers, the books close, and no source is blocked that the books do not have.
    #[test]
    fn the_books_close_whatever_the_kernel_answers(
        steps in prop::collection::vec(step(), 1..80),
        keep: bool,
    ) {
        let mut lab = Lab::new(BlockPlan { max: 3, keep, rate: 20, ..plan() });
        for step in steps {
            match step {
                Step::Scan(n) => lab.hear(&scan(&source(n))),
                Step::Hand(n) => drop(lab.desk.hand_in(hand(n))),
                Step::Remove(n) => drop(lab.desk.hand_in(Wish::Remove(net(&source(n))))),
                Step::Flush => drop(lab.desk.hand_in(Wish::Flush)),
                Step::Pass(seconds) => lab.tick_unchecked(i64::from(seconds)),
                Step::Refuse => lab.with(|kernel| kernel.results.push_back(Err(Refused::Kernel(1)))),
                Step::Gone => lab.with(|kernel| kernel.results.push_back(Err(Refused::Gone))),
                Step::Lose => lab.with(|kernel| kernel.elements.clear()),
            }
            lab.assert_wanted_closed();
        }
        lab.with(|kernel| kernel.results.clear());
        for _ in 0..6 {
            lab.tick_unchecked(11);
        }
        lab.assert_closed();
        let ours = lab.counts().in_kernel;
        prop_assert_eq!(lab.counts().in_flight, 0);
        prop_assert!(lab.with(|kernel| kernel.list().len() as u64) <= ours);
        let kept = lab.counts().remove_failures;
        prop_assert!(ours <= 3 + kept, "but for those that the kernel did not let go");
        lab.blocker.finish(LogTime::default(), 1);
        lab.assert_wanted_closed();
        prop_assert_eq!(lab.counts().in_kernel, if keep { ours } else { 0 });
    }
}
