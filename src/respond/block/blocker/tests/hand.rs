//! Blocks by hand and by lists.

use super::*;
use crate::log::block_record::Why;
use crate::respond::block::desk::{Told, Wish};
use crate::respond::block::orders::{Done, Refusal};

pub(super) fn add(nets: &[&str], for_s: u32) -> Wish {
    Wish::Add {
        nets: nets.iter().map(|text| (net(text), for_s)).collect(),
        why: Why::Hand("noisy".into()),
    }
}

fn import(nets: &[&str]) -> Wish {
    Wish::Add {
        nets: nets.iter().map(|text| (net(text), 60)).collect(),
        why: Why::Import("drop".into()),
    }
}

fn done(told: Told) -> (usize, Vec<(String, String)>) {
    let Told::Done(Done {
        carried_out,
        refused,
    }) = told
    else {
        panic!("{told:?}");
    };
    let text = |one: Refusal| (one.net.to_string(), one.why);
    (carried_out, refused.into_iter().map(text).collect())
}

#[test]
fn a_block_by_hand_passes_the_guard_and_is_answered_when_the_kernel_has_it() {
    let mut lab = Lab::new(BlockPlan { rate: 1, ..plan() });
    let told = lab.ask(add(&["192.0.2.1", "192.0.2.2", "198.51.100.254"], 90));
    let (carried_out, refused) = done(told);
    assert_eq!(carried_out, 2, "the rate is for detections");
    let says = "it has a gateway of this host".to_owned();
    assert_eq!(refused, [("198.51.100.254/32".to_owned(), says)]);
    let expected = [
        "198.51.100.254 refused gateway",
        "192.0.2.1 blocked 90",
        "192.0.2.2 blocked 90",
    ];
    assert_eq!(lab.said(), expected);
    let Told::Rows(rows) = lab.ask(Wish::List) else {
        panic!("rows");
    };
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].why.to_string(), "by hand: noisy");
    assert_eq!(rows[0].until_ns, Some(rows[0].since_ns + 90 * S));
}

#[test]
fn the_time_of_a_block_begins_anew_by_hand() {
    let mut lab = Lab::new(plan());
    lab.detect(&scan("192.0.2.9"));
    lab.tick(500);
    assert_eq!(done(lab.ask(add(&["192.0.2.9"], 300))), (1, Vec::new()));
    lab.tick(299);
    let expected = ["192.0.2.9 blocked 600", "192.0.2.9 renewed 300"];
    assert_eq!(lab.said(), expected);
    lab.tick(1);
    assert_eq!(lab.said(), ["192.0.2.9 ended expired"]);
    assert_eq!(lab.counts().renewed, 1);
}

#[test]
fn what_an_element_has_dropped_is_counted_once_also_when_its_time_begins_anew() {
    let mut lab = Lab::new(plan());
    lab.detect(&scan("192.0.2.9"));
    let mut counted = |packets: u64| {
        lab.with(|kernel| kernel.dropped = Some((packets, packets * 100)));
        lab.tick(11);
        lab.tick(0);
        let counts = lab.counts();
        (counts.dropped_packets, counts.dropped_bytes)
    };
    assert_eq!(counted(7), (7, 700));
    // The kernel's element goes on counting.
    assert_eq!(done(lab.ask(add(&["192.0.2.9"], 300))), (1, Vec::new()));
    let mut counted = |packets: u64| {
        lab.with(|kernel| kernel.dropped = Some((packets, packets * 100)));
        lab.tick(11);
        lab.tick(0);
        lab.counts().dropped_packets
    };
    assert_eq!([7, 9].map(&mut counted), [7, 9]);
    // Another one in its place, as before Linux 6.12 by nftables.
    assert_eq!([2, 3].map(&mut counted), [11, 12]);
}

#[test]
fn a_block_whose_new_time_the_kernel_refuses_keeps_its_time_and_reason() {
    let mut lab = Lab::new(plan());
    lab.detect(&scan("192.0.2.9"));
    lab.tick(500);
    lab.with(|kernel| kernel.results.push_back(Err(Refused::Kernel(1))));
    let (carried_out, refused) = done(lab.ask(add(&["192.0.2.9"], 300)));
    assert_eq!((carried_out, refused.len()), (0, 1));
    let Told::Rows(rows) = lab.ask(Wish::List) else {
        panic!("rows");
    };
    assert_eq!(rows[0].why.word(), "detection");
    lab.tick(100);
    assert_eq!(
        lab.said(),
        ["192.0.2.9 blocked 600", "192.0.2.9 ended expired"]
    );
}

#[test]
fn whoever_is_let_in_by_hand_is_forgiven() {
    let mut lab = Lab::new(plan());
    lab.detect(&scan("192.0.2.9"));
    assert_eq!(
        done(lab.ask(Wish::Remove(net("192.0.2.9")))),
        (1, Vec::new())
    );
    lab.detect(&scan("192.0.2.9"));
    let expected = [
        "192.0.2.9 blocked 600",
        "192.0.2.9 ended by_hand",
        "192.0.2.9 blocked 600",
    ];
    assert_eq!(lab.said(), expected);
    for (asked, says) in [
        ("192.0.2.7", "192.0.2.7 is not blocked"),
        ("192.0.2.0/24", "192.0.2.0/24 is not blocked"),
    ] {
        let told = lab.ask(Wish::Remove(net(asked)));
        assert_eq!(told, Told::Refused(says.to_owned()), "{asked}");
    }
    lab.ask(add(&["198.18.0.0/24"], 60));
    let told = lab.ask(Wish::Remove(net("198.18.0.1")));
    let says = "198.18.0.1 is not blocked by itself: 198.18.0.0/24 is".to_owned();
    assert_eq!(told, Told::Refused(says));
}

#[test]
fn a_flush_lets_everybody_in() {
    let mut lab = Lab::new(plan());
    lab.detect(&scan("192.0.2.9"));
    lab.ask(add(&["192.0.2.1", "2001:db8::/64"], 90));
    lab.records();
    assert_eq!(done(lab.ask(Wish::Flush)), (1, Vec::new()));
    assert_eq!(lab.said().len(), 3);
    let counts = lab.counts();
    assert_eq!(counts.removed[Removal::ByHand as usize], 3);
    assert_eq!(lab.with(|kernel| kernel.elements.len()), 0);
    lab.detect(&scan("192.0.2.9"));
    assert_eq!(lab.said(), ["192.0.2.9 blocked 600"], "forgiven");
    lab.with(|kernel| kernel.results.push_back(Err(Refused::Kernel(1))));
    let (carried_out, refused) = done(lab.ask(Wish::Flush));
    assert_eq!((carried_out, refused.len()), (0, 1));
    assert_eq!(
        (lab.counts().in_kernel, lab.counts().remove_failures),
        (1, 1)
    );
}

#[test]
fn an_import_is_carried_out_as_a_whole_or_not_at_all() {
    let mut lab = Lab::new(BlockPlan { max: 3, ..plan() });
    lab.ask(add(&["192.0.2.1"], 90));
    let told = lab.ask(import(&["192.0.2.2", "192.0.2.3", "192.0.2.4"]));
    let Told::Refused(says) = told else {
        panic!("{told:?}");
    };
    assert!(
        says.starts_with("3 blocks are new, and there is room for 2"),
        "{says}"
    );
    assert_eq!(lab.with(|kernel| kernel.orders.len()), 1);
    let told = lab.ask(import(&["192.0.2.1", "192.0.2.3", "10.0.0.1", "192.0.2.4"]));
    let (carried_out, refused) = done(told);
    assert_eq!((carried_out, refused.len()), (3, 1));
    let counts = lab.counts();
    assert_eq!(
        counts.wanted[Origin::Import as usize],
        3,
        "two new, one refused"
    );
    let Told::Rows(rows) = lab.ask(Wish::List) else {
        panic!("rows");
    };
    let whys: Vec<String> = rows.iter().map(|row| row.why.to_string()).collect();
    assert_eq!(whys, ["import: drop"; 3]);
}

#[test]
fn an_order_that_came_too_late_is_answered() {
    let mut lab = Lab::new(plan());
    lab.ask(add(&["192.0.2.1"], 10));
    lab.with(|kernel| kernel.is_stuck = true);
    let mut answer = lab.desk.hand_in(add(&["192.0.2.1"], 60)).expect("room");
    lab.tick(0);
    lab.tick(11);
    lab.with(|kernel| kernel.is_stuck = false);
    lab.tick(0);
    let told = answer.try_recv().expect("answered");
    let says = "it has ended meanwhile".to_owned();
    assert_eq!(done(told), (0, vec![("192.0.2.1/32".to_owned(), says)]));
}

#[test]
fn each_of_an_import_has_its_own_time_and_one_too_many_is_said_of_one() {
    let mut lab = Lab::new(BlockPlan { max: 2, ..plan() });
    let nets = [("192.0.2.2", 60), ("192.0.2.3", 90), ("192.0.2.2", 30)];
    let nets = nets.map(|(text, for_s)| (net(text), for_s)).to_vec();
    let why = Why::Import("drop".into());
    let (carried_out, refused) = done(lab.ask(Wish::Add { nets, why }));
    let twice = ("192.0.2.2/32".to_owned(), "it is named twice".to_owned());
    assert_eq!((carried_out, refused), (2, vec![twice]));
    assert_eq!(lab.said(), ["192.0.2.2 blocked 60", "192.0.2.3 blocked 90"]);
    let Told::Refused(says) = lab.ask(import(&["192.0.2.4"])) else {
        panic!("there is no room");
    };
    assert!(
        says.starts_with("1 block is new, and there is room for 0"),
        "{says}"
    );
}
