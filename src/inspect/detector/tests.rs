//! Deadlines of all detectors over random contacts.

use crate::inspect::contact::Contact;
use crate::inspect::detection::Detection;
use crate::inspect::lab::{self, Lab, step, traffic};
use crate::inspect::setting::Setting;
use proptest::prelude::*;

/// One step: its contacts, whether they are of another shard, and whether a chunk ends behind it.
type Part = (Vec<(Contact, Setting)>, bool, bool);

/// The detections with their deadlines or packet times, in this order.
fn found(parts: &[Part], with_borders: bool) -> Vec<(i64, Detection)> {
    let mut lab = Lab::new(lab::all_rules());
    let mut found = Vec::new();
    for (contacts, is_foreign, is_border) in parts {
        for (contact, setting) in contacts {
            let now_ns = lab.pass(contact.ts_ns);
            if *is_foreign {
                continue;
            }
            lab.on_with(contact, *setting);
            take(&mut lab, now_ns, &mut found);
        }
        if with_borders && *is_border {
            let now_ns = lab.pass(i64::MIN);
            lab.expire(now_ns);
            take(&mut lab, now_ns, &mut found);
        }
    }
    let now_ns = lab.pass(i64::MIN);
    lab.expire(now_ns);
    take(&mut lab, now_ns, &mut found);
    lab.finish();
    let at_end = lab.found.drain(..).map(|(_, one)| (i64::MAX, one));
    found.extend(at_end);
    found.sort_by_key(|one| (one.0, one.1.order()));
    found
}

fn take(lab: &mut Lab, now_ns: i64, found: &mut Vec<(i64, Detection)>) {
    let new = lab.found.drain(..);
    found.extend(new.map(|(deadline_ns, one)| (deadline_ns.unwrap_or(now_ns), one)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn chunks_may_end_anywhere_and_the_same_is_found_in_the_same_order(
        steps in prop::collection::vec((step(), 0..10_u8), 1..250),
    ) {
        let lab = Lab::new(lab::OFF);
        let (steps, marks): (Vec<_>, Vec<u8>) = steps.into_iter().unzip();
        let marks = marks.iter().map(|mark| (mark % 5 == 0, mark % 2 == 0));
        let parts: Vec<Part> = traffic(&lab, &steps).into_iter().zip(marks)
            .map(|(contacts, (is_foreign, is_border))| (contacts, is_foreign, is_border))
            .collect();
        prop_assert_eq!(found(&parts, true), found(&parts, false));
    }
}
